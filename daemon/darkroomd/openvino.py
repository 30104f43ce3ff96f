"""OpenVINO: bfloat16 on processors that compute in it, and Intel's graphics. The only file that knows openvino.

ONNX Runtime's own kernels for x86 have no bfloat16, and its plug-in for OpenVINO finds no device on other makers'
processors. Here a network takes half the time of float32 (benchmarks/RESULTS.md, "Speed: other ways").
"""

import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from darkroomd.errors import Unavailable

# Instructions that multiply and add in bfloat16. OpenVINO also offers it where they are missing, and emulates it.
BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16"})
INTEL = "0x8086"
UNWRITTEN = -(2.0**127)  # no network's answer


def installed() -> bool:
    return find_spec("openvino") is not None


@cache
def bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor computes in bfloat16; told without loading anything."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return not BFLOAT16.isdisjoint(flags.split())


def graphics(folder: Path = Path("/sys/class/drm")) -> bool:
    """Whether there is graphics of Intel's that could compute."""
    try:
        return any(path.read_text().strip() == INTEL for path in folder.glob("renderD*/device/vendor"))
    except OSError:
        return False


class Compiled:
    """A network, compiled for the processor or for graphics. One run at a time; `run` lets go of Python's lock.

    coarse: it computes in less than float32: on graphics in float16, on a processor in bfloat16 where it has that.
    """

    def __init__(self, content: bytes, threads: int, *, on_graphics: bool = False, full: bool = False) -> None:
        """content: an ONNX file. threads: 0 for one on each core. full: in float32 in any case.

        Unavailable when OpenVINO cannot do it here.
        """
        core = _core()
        device, narrow = ("GPU", "f16") if on_graphics else ("CPU", "bf16")
        how: dict[str, Any] = {"NUM_STREAMS": 1}
        if not on_graphics:
            how["ENABLE_CPU_PINNING"] = False  # other workers have these cores too
        if threads and not on_graphics:  # also where two of them share a core
            how |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_HYPER_THREADING": True}
        try:
            model = core.read_model(content)
            self.coarse = not full and (on_graphics or bfloat16()) and not _endless(model)
            begun, rest = _split(model) if self.coarse else (None, model)
            parts = [(begun, "f32")] if begun else []
            parts.append((rest, narrow if self.coarse else "f32"))
            self._compiled = [
                core.compile_model(model, device, how | {"INFERENCE_PRECISION_HINT": precision})
                for model, precision in parts
            ]
        except RuntimeError as error:
            raise Unavailable(_reason(str(error))) from error
        self._requests = [compiled.create_infer_request() for compiled in self._compiled]

    def run(self, tile: Any, out: Any, last: bool = False) -> None:
        """The answer for one (1, 3, height, width) float32 tile into `out`, in our memory on both sides.

        last: what was taken for tiles goes back to the machine. MemoryError where the answer did not come about: with
        no memory left OpenVINO may return as if all were well, with nothing written, and is not to be used again.
        """
        corners = out[..., :: max(1, out.shape[2] - 1), :: max(1, out.shape[3] - 1)]
        corners[:] = UNWRITTEN
        given = [tile]
        for request in self._requests[:-1]:
            begun = out.copy()
            self._infer(request, [tile], begun)
            given.append(begun)
        self._infer(self._requests[-1], given, out)
        if (corners == UNWRITTEN).all():
            raise MemoryError("OpenVINO wrote no answer")
        if last:
            for compiled in self._compiled:
                compiled.release_memory()

    def _infer(self, request: Any, given: list[Any], out: Any) -> None:
        for index, array in enumerate(given):
            request.set_input_tensor(index, _openvino().Tensor(array, shared_memory=True))
        request.set_output_tensor(_openvino().Tensor(out, shared_memory=True))
        request.infer(share_outputs=True)  # else it gives back a copy


def _endless(model: Any) -> bool:
    """OpenVINO 2026.4 did not come to an end with a depthwise convolution of 15 × 15 in bfloat16; 13 × 13 is well."""
    kernels = (op.input(1).get_shape()[-2:] for op in model.get_ops() if op.get_type_name() == "GroupConvolution")
    return any(max(kernel) > 13 for kernel in kernels)


def _split(model: Any) -> tuple[Any, Any]:
    """A network that adds a correction to an enlarged picture, as two: what enlarges, and the rest, given that.

    In bfloat16 the enlarged picture itself would come in steps of half a level of 8 bits and more: to be seen in a
    smooth sky, and nothing that a correction can mend. Its few operations are computed in float32. (None, the network)
    where the picture is added as it is: that sum is in float32 anyway.
    """
    from openvino import opset13  # noqa: PLC0415 - an extra

    total = model.output(0).get_node().input_value(0).get_node()
    if total.get_type_name() != "Add":
        return None, model
    at, begun = min(enumerate(total.input_values()), key=lambda side: len(_behind(side[1].get_node())))
    if len(_behind(begun.get_node())) <= 1:
        return None, model
    enlarging = _openvino().Model([begun], model.get_parameters(), "begun").clone()
    given = opset13.parameter(begun.get_partial_shape(), begun.get_element_type(), "begun")
    total.input(at).replace_source_output(given.output(0))
    return enlarging, _openvino().Model(model.get_results(), [*model.get_parameters(), given], "rest")


def _behind(node: Any) -> set[str]:
    """The names of a node and of all that it is computed from."""
    names, waiting = set[str](), [node]
    while waiting:
        one = waiting.pop()
        if one.get_friendly_name() not in names:
            names.add(one.get_friendly_name())
            waiting += [value.get_node() for value in one.input_values()]
    return names


def _reason(error: str) -> str:
    """The one line that says what it was: the others name its source files."""
    if "can't protect" in error:
        return "OpenVINO makes code while it runs, which is forbidden here (systemd: MemoryDenyWriteExecute)"
    lines = [line.strip() for line in error.splitlines() if line.strip() and not line.startswith("Exception from")]
    return (lines or [error])[0][:300]


@cache
def _core() -> Any:
    return _openvino().Core()


@cache
def _openvino() -> Any:
    # Its tools for converting report to their maker as soon as they are imported, by the network and with a number in
    # ~/intel, and openvino imports them where it can. A network in ONNX's format needs none of them.
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    try:
        import openvino  # noqa: PLC0415 - an extra, and only a process that opens a session pays for it
    except ImportError as error:
        raise Unavailable(f"OpenVINO cannot be loaded: {error}") from error
    return openvino
