"""From a checkpoint to models/MODE.onnx: `python -m training.export general --data FOLDER`.

Exports the averaged weights, stored in half precision, compares ONNX Runtime with PyTorch (1e-4), measures the halo,
and prints the facts that belong on the card. The network's figures are written by benchmarks/quality.py, not here.
"""

import argparse
import hashlib
import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import yaml

from training.data import Patches
from training.net import UNet, multiply_adds_per_pixel
from training.train import HERE, recipe_of

OPSET = 17
TOLERANCE = 1e-4
HALO_TOLERANCE = 0.5 / 255  # rms change of the pixels at a tile's border: half an 8-bit level; the fade hides the rest


def exported(net: UNet, path: Path) -> None:
    """Write `net` as ONNX with dynamic height and width, named input `picture` and output `restored`."""
    free = {2: "height", 3: "width"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(),
            (torch.zeros(1, 3, 64, 64),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["picture"],
            output_names=["restored"],
            dynamic_axes={"picture": free, "restored": free},
        )
    onnx.save(_stored_in_half(onnx.load(path)), path)


def halved(net: UNet) -> UNet:
    """The network with its weights rounded to float16, which is what the file keeps: half the size, and on
    photographs no difference of an 8-bit level. It computes in float32 all the same."""
    for parameter in net.parameters():
        parameter.data = parameter.data.half().float()
    return net


def _stored_in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights as float16 under their names, each with a cast that ONNX Runtime folds away when it loads the file."""
    casts = []
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32:
            continue
        wide = f"{tensor.name}.float"
        for node in model.graph.node:
            node.input[:] = [wide if name == tensor.name else name for name in node.input]
        casts.append(onnx.helper.make_node("Cast", [tensor.name], [wide], to=onnx.TensorProto.FLOAT))
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), tensor.name))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


def measured_halo(
    session: onnxruntime.InferenceSession, samples: Patches, multiple_of: int, scale: int, crops: int = 24
) -> tuple[int, list[tuple[int, float]]]:
    """The context beyond which the rest of a picture no longer matters, and the curve that shows it.

    A strip of pixels is computed twice: with the whole patch around it, and with only `context` pixels beyond its
    border on one side, where zero padding then begins as it does at a tile's edge.
    """
    patches = [samples[i][0].numpy()[None] for i in range(crops)]
    whole = [session.run(None, {"picture": p})[0] for p in patches]
    side = patches[0].shape[3]
    edge = slice((side // 2 - 2) * scale, side // 2 * scale)
    curve: list[tuple[int, float]] = []
    for context in range(0, side // 2, multiple_of):
        keep = side // 2 + context
        changes = []
        for patch, full in zip(patches, whole, strict=True):
            part = session.run(None, {"picture": np.ascontiguousarray(patch[..., :keep])})[0]
            changes.append(np.abs(part[..., edge] - full[..., edge]).ravel())
        curve.append((context, float(np.sqrt(np.mean(np.square(np.concatenate(changes)))))))
        if curve[-1][1] <= HALO_TOLERANCE:
            break
    return curve[-1][0], curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=HERE / "runs")
    parser.add_argument("--to", type=Path, default=HERE.parent / "models", help="folder for the .onnx file")
    given = parser.parse_args()

    recipe = recipe_of(given.mode)
    state = torch.load(given.runs / given.mode / "last.pt", weights_only=True)
    net = UNet(**recipe["network"])
    net.load_state_dict(state["average"])
    net = halved(net)
    path = given.to / f"{given.mode}.onnx"
    exported(net, path)

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    multiple_of = 2 ** (len(recipe["network"]["widths"]) - 1)
    probe = np.random.default_rng(0).random((1, 3, 8 * multiple_of, 11 * multiple_of), dtype=np.float32)
    with torch.no_grad():
        truth = net(torch.from_numpy(probe)).numpy()
    difference = float(np.abs(session.run(None, {"picture": probe})[0] - truth).max())
    if difference > TOLERANCE:
        raise SystemExit(
            f"{path} differs from PyTorch by {difference:.2e}, more than {TOLERANCE:.0e}: not to be shipped"
        )

    # the widest context that can be measured is half of this: 128 pixels and more
    wide = dict(recipe, patch=max(256, 16 * multiple_of) * net.scale)
    halo, curve = measured_halo(session, Patches(given.data, wide, 64, first=10**9), multiple_of, net.scale)
    block = yaml.safe_dump(recipe, sort_keys=True)
    facts = {
        "file": path.name,
        "scale": net.scale,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "recipe_sha256": hashlib.sha256(block.encode()).hexdigest(),
        "steps": state["step"],
        "parameters": sum(p.numel() for p in net.parameters()),
        "multiply_adds_per_pixel": round(multiply_adds_per_pixel(net)),
        "multiple_of": multiple_of,
        "halo": halo,
        "difference_from_pytorch": float(f"{difference:.1e}"),
    }
    print(yaml.safe_dump(facts, sort_keys=False))
    print("halo curve (context in pixels, change):", json.dumps([(c, round(v * 255, 2)) for c, v in curve]))


if __name__ == "__main__":
    main()
