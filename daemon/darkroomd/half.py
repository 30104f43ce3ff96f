"""A network in half precision: the same graph with float16 inside, float32 at its two ends. Only cards compute so.

The only file that knows onnx, which the extras for cards bring along.
"""

from darkroomd.errors import Unavailable

# Their answer in float16 is another number type, or their arguments must stay what they are.
_KEPT = frozenset({"Shape", "Size", "Cast", "Range", "Resize"})


def half(content: bytes) -> bytes:
    """The ONNX file of a network with every weight and everything that is computed in float16.

    Weights beyond float16's range become infinite, and the tile's check finds that out. Unavailable when onnx is
    not installed.
    """
    try:
        import numpy as np  # noqa: PLC0415 - the service's process stays small
        import onnx  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise Unavailable('half precision needs onnx: pip install "darkroomd[gpu]"') from error
    model = onnx.load_from_string(content)
    graph = model.graph
    ends = {value.name for value in (*graph.input, *graph.output)}
    narrow = {name: f"{name} in float16" for name in ends}
    single, double = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16

    def narrowed(tensor: onnx.TensorProto) -> None:
        if tensor.data_type == single:
            with np.errstate(over="ignore"):
                values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))

    kept = {name for node in graph.node if node.op_type in _KEPT for name in node.input[1:]}
    for tensor in graph.initializer:
        if tensor.name not in kept:
            narrowed(tensor)
    for node in graph.node:
        if node.op_type == "Constant" and not kept & set(node.output):
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.TENSOR:
                    narrowed(attribute.t)
        if node.op_type == "Cast":
            for attribute in node.attribute:
                attribute.i = double if attribute.name == "to" and attribute.i == single else attribute.i
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                names[at] = narrow.get(name, name)
    del graph.value_info[:]
    before = [onnx.helper.make_node("Cast", [end.name], [narrow[end.name]], to=double) for end in graph.input]
    after = [onnx.helper.make_node("Cast", [narrow[end.name]], [end.name], to=single) for end in graph.output]
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    return bytes(model.SerializeToString())
