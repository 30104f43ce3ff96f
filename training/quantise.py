"""A network in 8-bit integers, and what it loses: `python -m training.quantise general --data FOLDER --to FOLDER`.

An experiment that the product does not use yet; README.md has its figures. Writes NAME.int8.onnx beside NAME.onnx when
it is worth it. Weights have a scale for each channel; the ranges of what lies between layers are measured on damaged
patches of the training data and cut at the 99.999th percentile. The level at full resolution, the enlarging and the
last addition stay in float32, because they decide about fine detail. The loss is measured on patches not used so far.
"""

import argparse
import hashlib
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import yaml
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from training.data import Patches
from training.train import HERE, recipe_of

PERCENTILE = 99.999
IN_FLOAT = re.compile(r"stem|head|enlarge|(down|up|grow|shrink)\.0\b")
MAY_LOSE_DB = 0.1
AS_MANY_STEPS = 10**9  # patches from there on: damage as at the end of the training, and none that was trained on


class Ranges(CalibrationDataReader):  # type: ignore[misc]
    """Damaged patches, one at a time, as the runtime's calibration asks for them."""

    def __init__(self, patches: Patches, count: int) -> None:
        self._left: Iterator[dict[str, np.ndarray]] = ({"picture": patches[i][0].numpy()[None]} for i in range(count))

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def quantised(source: Path, target: Path, patches: Patches, count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        prepared = Path(name) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        nodes = onnx.load(prepared).graph.node
        last_addition = [node.name for node in nodes if node.op_type == "Add"][-1:]
        quantize_static(
            str(prepared),
            str(target),
            Ranges(patches, count),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
            nodes_to_exclude=[node.name for node in nodes if IN_FLOAT.search(node.name)] + last_addition,
            extra_options={"CalibPercentile": PERCENTILE},
        )


def session_of(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def compared(one: Path, other: Path, patches: Patches, first: int, count: int) -> tuple[list[float], list[float]]:
    """(mean PSNR in dB, core-seconds) of each on patches that the ranges do not come from."""
    sessions = [session_of(one), session_of(other)]
    quality, seconds = [[], []], [0.0, 0.0]
    for index in range(first, first + count):
        dirty, clean = (patch.numpy()[None] for patch in patches[index])
        for which, session in enumerate(sessions):
            began = time.thread_time()
            answer = session.run(None, {"picture": dirty})[0]
            seconds[which] += time.thread_time() - began
            error = np.mean((np.clip(answer, 0, 1) - clean) ** 2)
            quality[which].append(10 * np.log10(1 / max(float(error), 1e-9)))
    return [float(np.mean(values)) for values in quality], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--to", type=Path, default=HERE.parent / "models", help="folder of the .onnx files")
    parser.add_argument("--patches", type=int, default=16, help="for the ranges; each takes about 200 MB of memory")
    parser.add_argument("--judged", type=int, default=32, help="other patches, for the comparison")
    given = parser.parse_args()

    recipe = recipe_of(given.mode)
    scale = recipe["network"].get("scale", 1)
    patches = Patches(given.data, dict(recipe, patch=256 * scale), 1 << 30, first=AS_MANY_STEPS)
    source, target = given.to / f"{given.mode}.onnx", given.to / f"{given.mode}.int8.onnx"
    quantised(source, target, patches, given.patches)
    (full, small), (slow, fast) = compared(source, target, patches, given.patches, given.judged)
    print(
        f"float32 {full:.3f} dB, int8 {small:.3f} dB; core-seconds {slow:.1f} and {fast:.1f}: {slow / fast:.2f} times"
    )
    if full - small >= MAY_LOSE_DB or slow / fast < 1.2:
        target.unlink()
        raise SystemExit("not worth it: nothing was written")
    print(yaml.safe_dump({"file": target.name, "sha256": hashlib.sha256(target.read_bytes()).hexdigest()}))


if __name__ == "__main__":
    main()
