"""One network by every way that this environment (benchmarks/peers.txt) has: FULL.onnx FLOAT16.onnx FOLDER TRIES.

FOLDER has the tile as noisy.npy, and clean.npy. Prints JSON; knows nothing of darkroomd.
"""

# mypy: ignore-errors
import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import openvino


def runtime(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda tile: session.run(None, {name: tile})[0]


def vino(path, shape, precision):
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape({model.input(0).any_name: list(shape)})
    how = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
    compiled = core.compile_model(model, "CPU", how)
    return lambda tile: compiled(tile)[0]


def main() -> None:
    full, narrow, folder, tries = sys.argv[1:]
    noisy, clean = (np.load(Path(folder) / f"{name}.npy").astype(np.float32) / 255 for name in ("noisy", "clean"))
    tile, truth = (np.ascontiguousarray(one.transpose(2, 0, 1)[None]) for one in (noisy, clean))
    ways = {
        "ONNX Runtime, float32": runtime(full),
        "ONNX Runtime, float16": runtime(narrow),
        "OpenVINO, float32": vino(full, tile.shape, "f32"),
        "OpenVINO, bfloat16": vino(full, tile.shape, "bf16"),
    }
    answers = {what: np.array(way(tile)) for what, way in ways.items()}
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(int(tries)):
        for what, way in ways.items():
            began = time.process_time()
            way(tile)
            seconds[what] = min(seconds[what], time.process_time() - began)
    exact = next(iter(answers.values()))
    comparable = exact.shape == truth.shape

    def psnr(answer):
        return 10 * np.log10(1 / np.mean((np.clip(answer, 0, 1) - truth) ** 2))

    told = [
        {
            "what": what,
            "seconds": seconds[what],
            "lost_db": float(psnr(answer) - psnr(exact)) if comparable else None,
            "mean": float(np.abs(answer - exact).mean()),
            "most": float(np.abs(answer - exact).max()),
        }
        for what, answer in answers.items()
    ]
    versions = f"ONNX Runtime {onnxruntime.__version__}, OpenVINO {openvino.__version__.partition('-')[0]}"
    print("\n" + json.dumps({"ways": told, "versions": versions}))


if __name__ == "__main__":
    main()
