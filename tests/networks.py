"""Networks made on the spot: one that changes nothing, and ones that misbehave in exactly one way."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper

SHAPE: list[str | int | None] = [1, 3, "height", "width"]


def network(nodes: list[onnx.NodeProto], constants: dict[str, Any] | None = None) -> bytes:
    """An ONNX file from nodes that lead from `picture` to `restored`."""
    ends: dict[str, list[str | int | None]] = {"picture": SHAPE, "restored": [1, 3, "rows", "columns"]}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends.items()]
    stored = [onnx.numpy_helper.from_array(np.asarray(v, np.float32), n) for n, v in (constants or {}).items()]
    graph = helper.make_graph(nodes, "test", values[:1], values[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def identity() -> bytes:
    return network([helper.make_node("Identity", ["picture"], ["restored"])])


def times(factor: float) -> bytes:
    """0 makes every tile black, nan makes it no picture at all."""
    return network([helper.make_node("Mul", ["picture", "factor"], ["restored"])], {"factor": factor})


def box_blur(radius: int) -> bytes:
    """The mean over (2 radius + 1)² pixels, with zeros beyond the tile as a convolution has: any seam would show."""
    side = 2 * radius + 1
    kernel = np.zeros((3, 1, side, side)) + 1 / side**2
    node = helper.make_node("Conv", ["picture", "kernel"], ["restored"], group=3, pads=[radius] * 4)
    return network([node], {"kernel": kernel})


def plus(red: float, green: float, blue: float) -> bytes:
    """All colours shifted."""
    shift = np.array([red, green, blue]).reshape(1, 3, 1, 1)
    return network([helper.make_node("Add", ["picture", "shift"], ["restored"])], {"shift": shift})


def at_most(brightest: float) -> bytes:
    return network([helper.make_node("Min", ["picture", "most"], ["restored"])], {"most": brightest})


def oversharpened(amount: float) -> bytes:
    """Every pixel, and so many times what it is above the mean of the 5 × 5 around it."""
    kernel = np.full((3, 1, 5, 5), -amount / 25)
    kernel[:, :, 2, 2] += 1 + amount
    node = helper.make_node("Conv", ["picture", "kernel"], ["restored"], group=3, pads=[2] * 4)
    return network([node], {"kernel": kernel})


def mosaic(side: int) -> bytes:
    """Blocks of one colour each."""
    shrink = helper.make_node("AveragePool", ["picture"], ["small"], kernel_shape=[side] * 2, strides=[side] * 2)
    grow = helper.make_node("Resize", ["small", "", "scales"], ["restored"], mode="nearest")
    return network([shrink, grow], {"scales": [1, 1, side, side]})


def even() -> bytes:
    """Each tile of one colour."""
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["mean"], axes=[2, 3]),
        helper.make_node("Sub", ["picture", "picture"], ["nothing"]),
        helper.make_node("Add", ["nothing", "mean"], ["restored"]),
    ]
    return network(nodes)


def by_its_own_mean(share: float) -> bytes:
    """Each tile lighter by a share of its own mean, as a network that looks at all of a tile makes it."""
    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["mean"], axes=[1, 2, 3]),
        helper.make_node("Mul", ["mean", "share"], ["offset"]),
        helper.make_node("Add", ["picture", "offset"], ["restored"]),
    ]
    return network(nodes, {"share": share})


def mirrored() -> bytes:
    """Each tile the wrong way round."""
    node = helper.make_node("Slice", ["picture", "from", "to", "axes", "steps"], ["restored"])
    places = {"from": -1, "to": -(2**31), "axes": 3, "steps": -1}
    named = network([node])
    model = onnx.load_from_string(named)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.array([v], np.int64), n) for n, v in places.items())
    return bytes(model.SerializeToString())


def lightest(side: int) -> bytes:
    """Every pixel the lightest of those around: dark strokes vanish."""
    node = helper.make_node("MaxPool", ["picture"], ["restored"], kernel_shape=[side] * 2, pads=[side // 2] * 4)
    return network([node])


def as_a_card_rounds(halved: bytes) -> bytes:
    """A network in half precision for a processor, which else computes it in full: sums in float32, as on a card,
    and what lies between two nodes rounded to float16.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(halved))
    graph, single, half = model.graph, TensorProto.FLOAT, TensorProto.FLOAT16
    rounded = {value.name for value in graph.value_info if value.type.tensor_type.elem_type == half}
    del graph.value_info[:]
    for weight in graph.initializer:
        if weight.data_type == half:
            values = onnx.numpy_helper.to_array(weight).astype(np.float32)
            weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    nodes = []
    for node in graph.node:
        name = node.output[0]
        nodes.append(node)
        if node.op_type == "Cast" and node.attribute[0].i == half:
            node.attribute[0].i = single
        if name in rounded:
            node.output[0] = f"{name}, exact"
            nodes += [
                helper.make_node("Cast", [f"{name}, exact"], [f"{name}, rounded"], to=half),
                helper.make_node("Cast", [f"{name}, rounded"], [name], to=single),
            ]
    del graph.node[:]
    graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def enlarge(factor: int) -> bytes:
    """Every pixel factor × factor times."""
    scales = {"scales": [1, 1, factor, factor]}
    return network([helper.make_node("Resize", ["picture", "", "scales"], ["restored"], mode="nearest")], scales)


def shipped(folder: Path, monkeypatch: pytest.MonkeyPatch, *, modes: str = "", **given: Any) -> Path:
    """Make `folder` the place of networks; `name=bytes` or `name=(bytes, {card fields})`. modes: the built-in ones."""
    folder.mkdir(exist_ok=True)
    known = {}
    for name, value in given.items():
        content, fields = value if isinstance(value, tuple) else (value, {})
        (folder / f"{name}.onnx").write_bytes(content)
        known[name] = {
            "file": f"{name}.onnx",
            "sha256": hashlib.sha256(content).hexdigest(),
            "purpose": "tests",
            "licence": "Apache-2.0",
            "scale": 1,
            "multiple_of": 8,
            "halo": 8,
            "blend": 4,
            "tile": 128,
            "parameters": 0,
            "multiply_adds_per_pixel": 1,
            "memory_bytes_per_pixel": 24,
            "recipe": "none",
            "recipe_sha256": "",
            "steps": 0,
            **fields,
        }
    (folder / "cards.yaml").write_text(yaml.safe_dump(known))
    monkeypatch.setattr("darkroomd.models.shipped_folder", lambda: folder)
    if modes:
        (folder / "modes.yaml").write_text(modes)
        monkeypatch.setattr("darkroomd.places.shipped_folder", lambda: folder)
    return folder
