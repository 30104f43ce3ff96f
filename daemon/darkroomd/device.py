"""What computes: the device, and the sessions that networks run in. The only file that knows onnxruntime.

Which device there is can be told without loading the runtime, so that the service and `check` tell it too. A device
that was asked for is used or is an error; only `auto` may come down to the processor, and it says why.
"""

import contextlib
import io
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from darkroomd.errors import OutOfMemory, Unavailable
from darkroomd.half import half
from darkroomd.job import Engine
from darkroomd.models import Card, DetectorCard, LookCard, card, detectors, look_card, verified_bytes
from darkroomd.openvino import Compiled, bfloat16, graphics, installed
from darkroomd.places import engines_folder, shipped_folder
from darkroomd.polite import granted_cores

INSTALL_HINT = 'pip install "darkroomd[cpu]"'
OPENVINO_HINT = 'pip install "darkroomd[openvino]"'
DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}

# Half precision is taken back when one tile in CHECKED_ONE_IN differs from full precision by more than this, in 0..1.
# `general` differs by 0.0001 in the mean and 0.0005 at most (emulated); a level of 8 bits is 0.0039.
HALF_MAY_DIFFER_MEAN = 0.001
HALF_MAY_DIFFER_MOST = 0.02
CHECKED_ONE_IN = 64

# The same for bfloat16 on a processor, which is checked on the middle of a tile: all of it in float32 would take twice
# the tile's own time. Photographs with up to 50 levels of noise differ by 0.0008 in the mean and 0.011 at most with the
# worst of the networks; noise of black and white alone, by 0.0031 and 0.043, is computed in float32.
BFLOAT16_MAY_DIFFER_MEAN = 0.002
BFLOAT16_MAY_DIFFER_MOST = 0.04
CHECKED_SIDE = 128

# What a tile takes of the memory that its card says, which is float32's, by how many times the network enlarges:
# measured for all of ours. The same size: 0.57 to 0.68; the enlarged picture itself stays in float32, and there are
# more of it.
BFLOAT16_MEMORY_SHARE = {1: 0.62, 2: 0.87, 4: 1.64}

# The runtime has no class for a shortage of memory; these are the words of its arenas, of std::bad_alloc, and of the
# libraries of NVIDIA.
SHORTAGE = re.compile(
    r"allocate (memory|\d+ bytes)|bad.?alloc(ation)?|out of memory|STATUS_ALLOC_FAILED|OutOfMemory|failed to map",
    re.IGNORECASE,
)

# Since 1.32 the official builds report to Microsoft by default, and begin to when they are imported: a device id and a
# queue of events appear in ~/.cache. It must be said before; disable_telemetry_events() comes too late. And said here,
# before anything has threads: the C library's setenv beside a getenv crashed 2 of 9,000 processes.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_SAYING = threading.Lock()
_opened_seconds: list[float] = []

# A tile of TensorRT is padded to one of these sides: it builds an engine, in minutes, for every shape that it meets.
ENGINE_SIDES = (256, 512, 1024, 1536, 2048)


@dataclass(frozen=True, slots=True)
class Device:
    """number: which card, counted from 0 as CUDA counts them."""

    kind: Literal["cpu", "cuda", "tensorrt", "openvino:cpu", "openvino:gpu"]
    number: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}" if self.kind in ("cuda", "tensorrt") else self.kind


CPU = Device("cpu")
OPENVINO_CPU, OPENVINO_GPU = Device("openvino:cpu"), Device("openvino:gpu")
PROCESSOR = (CPU, OPENVINO_CPU)


def candidates(asked: str, worker: int = 0) -> tuple[Device, ...]:
    """The devices to try, best first, for a `service.device`; told from what is installed and there.

    One, unless `auto` is asked for, or `openvino` where there is graphics of Intel's. Without a number each worker gets
    a card of its own, in turn. Unavailable, with what to install, when the one asked for cannot be.
    """
    runtimes = runtime_versions()
    if not runtimes:
        raise Unavailable(f"ONNX Runtime is not installed; install it with: {INSTALL_HINT}")
    if len(runtimes) > 1:
        both = " and ".join(f"{name} {number}" for name, number in runtimes.items())
        raise Unavailable(f"{both} overwrite each other's files: uninstall both, then install one")
    kind, _, number = asked.partition(":")
    there = nvidia_cards()
    card = int(number) if number else worker % max(1, there)
    if kind == "cpu":
        return (CPU,)
    if kind == "auto":
        found = [Device("cuda", card)] if there and "onnxruntime-gpu" in runtimes else []
        found += [OPENVINO_GPU] if installed() and graphics() else []
        found += [OPENVINO_CPU] if installed() and bfloat16() else []  # in float32 it is no quicker
        return (*found, CPU)
    if kind == "openvino":
        if not installed():
            raise Unavailable(f"device openvino needs OpenVINO: {OPENVINO_HINT}")
        return (OPENVINO_GPU, OPENVINO_CPU) if graphics() else (OPENVINO_CPU,)
    if "onnxruntime-gpu" not in runtimes:
        raise Unavailable(
            f"device {asked} needs ONNX Runtime for NVIDIA cards: uninstall onnxruntime, "
            f'then pip install "darkroomd[{"gpu" if kind == "cuda" else "tensorrt"}]"'
        )
    if card >= there:
        seen = f"there are {there}, numbered from 0" if there else "no NVIDIA card is there (no /dev/nvidia0)"
        raise Unavailable(f"device {asked}: {seen}")
    return (Device("cuda" if kind == "cuda" else "tensorrt", card),)


def workers_for(asked: str) -> int:
    """How many workers `service.workers: auto` means: one for each card that is used, else one for all cores."""
    (first, *_) = candidates(asked)
    return nvidia_cards() if first.kind in ("cuda", "tensorrt") and ":" not in asked else 1


def nvidia_cards(folder: Path = Path("/dev"), environ: Mapping[str, str] = os.environ) -> int:
    """How many cards CUDA will show to this process."""
    there = sum(re.fullmatch(r"nvidia\d+", path.name) is not None for path in folder.glob("nvidia*"))
    there = there or int((folder / "dxg").exists())  # under WSL the driver has one device for all cards
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return there
    named = [name.strip() for name in visible.split(",")]
    end = next((at for at, name in enumerate(named) if name in ("", "-1")), len(named))  # what follows is hidden
    return min(there, end)


def runtime_versions() -> dict[str, str]:
    """Which of ONNX Runtime's distributions are installed; two at once overwrite each other's files."""
    found = {}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(
            PackageNotFoundError, OSError
        ):  # OSError: the disk is failing, or no descriptor is free
            # what may not be read is None, and no error
            found[name] = version(name) or "of a version that cannot be read"
    return found


class Network:
    """A network that is ready to run. One at a time per process and network; `run` lets go of Python's lock.

    device: what computes. note: why it is not a better one, for `auto`. threads: as an Engine's. longest_side: of the
    tiles that had room, once one had none; kept as long as the session.
    """

    def __init__(self, card: Card, engine: Engine, folder: Path | None = None) -> None:
        self.card = card
        self.device, self.note = CPU, ""
        self.longest_side: int | None = None
        self.threads = engine.threads
        self._content = verified_bytes(card, folder)
        self._exact: Any = None
        self._half: Any = None
        self._half_is_too_coarse = False
        self._had_room: tuple[int, ...] | None = None
        self._runs = 0
        devices = candidates(engine.device, engine.worker)
        for device in devices:
            self.device = device
            try:
                self._open()
                return
            except Unavailable as error:
                if device == devices[-1]:
                    raise
                self.note = str(error)

    def _open(self) -> None:
        if self._half_is_too_coarse:
            self._open_full()
        elif self.device.kind == "tensorrt":
            self._half = _session(self._content, self.device, self.threads, self.card.digest)
        elif self.device.kind == "cuda":
            self._half = _session(half(self._content), self.device, self.threads)
        elif self.device in (OPENVINO_CPU, OPENVINO_GPU):
            compiled = _compiled(self._content, self.device, self.threads)
            self._half, self._exact = (compiled, None) if compiled.coarse else (None, compiled)
        else:
            self._open_full()

    def _open_full(self) -> None:
        if self.device == OPENVINO_GPU:
            self._exact = _compiled(self._content, self.device, self.threads, full=True)
            return
        full = {"tensorrt": Device("cuda", self.device.number), OPENVINO_CPU.kind: CPU}
        self._exact = _session(self._content, full.get(self.device.kind, self.device), self.threads)

    def run(self, tile: Any, out: Any = None, last: bool = False) -> Any:
        """The network's answer for one (1, 3, height, width) float32 tile; OutOfMemory when it does not fit.

        out: float32 memory for the answer, (1, 3, scale * height, scale * width), so that none is taken for each tile.
        last: what the runtime took for tiles, and keeps for the next, goes back to the machine after this one.

        In half precision, or bfloat16, where the device is quicker with it, and checked: the first tile and one in
        CHECKED_ONE_IN after it are computed in full precision too, and a tile with an answer that is not finite again.
        A precision that differs too much is not used again in this session.
        """
        try:
            return self._checked(tile, out, last)
        except Exception as error:
            if not isinstance(error, MemoryError) and not SHORTAGE.search(str(error)):
                raise
        # Its arena keeps what it got, and smaller tiles would find nothing left: the session is opened anew. Out here,
        # because the error's traceback holds the session too.
        self._half = self._exact = None
        raise OutOfMemory(f"network {self.card.name}: not enough memory for a {tile.shape[3]}×{tile.shape[2]} tile")

    def _checked(self, tile: Any, out: Any, last: bool) -> Any:
        if self._half is None and self._exact is None:
            self._open()
        if self._half is None:
            return self._answer(self._exact, tile, out, last and self.device in PROCESSOR)
        answer = self._in_half(tile, out, last)
        if self.device == OPENVINO_CPU:
            return self._checked_in_part(tile, answer)
        self._runs += 1
        if self._runs % CHECKED_ONE_IN != 1 and _finite(answer):
            return answer
        exact = self._in_full(tile)
        if not _alike(answer, exact, HALF_MAY_DIFFER_MEAN, HALF_MAY_DIFFER_MOST):
            self._half, self._half_is_too_coarse = None, True
        return exact

    def _checked_in_part(self, tile: Any, answer: Any) -> Any:
        """Against ONNX Runtime, which is open no longer than that takes. A part of one colour would tell nothing."""
        part, finite = _middle(tile), _finite(answer)
        telling = bool(part.min() != part.max())
        self._runs += telling
        if finite and not (telling and self._runs % CHECKED_ONE_IN == 1):
            return answer
        limits = BFLOAT16_MAY_DIFFER_MEAN, BFLOAT16_MAY_DIFFER_MOST
        if finite and _alike(self._answer(self._half, part), self._in_full(part), *limits):
            self._exact = None
            return answer
        self._half, self._half_is_too_coarse = None, True
        self.device, self.note = CPU, f"device {OPENVINO_CPU}: {self.card.name} is too coarse in bfloat16"
        return self._in_full(tile)

    def _in_full(self, tile: Any) -> Any:
        if self._exact is None:
            self._open_full()
        return self._answer(self._exact, tile)

    def _in_half(self, tile: Any, out: Any, last: bool) -> Any:
        """For TensorRT in one of few shapes. What is added lies beyond the tile's margin and is cut off again."""
        if self.device.kind != "tensorrt":
            return self._answer(self._half, tile, out, last and self.device in PROCESSOR)
        import numpy as np  # noqa: PLC0415 - the service reads devices in a process that stays small

        height, width = tile.shape[2:]
        high, wide = (next((side for side in ENGINE_SIDES if side >= length), length) for length in (height, width))
        padded = np.zeros((1, 3, high, wide), tile.dtype)
        padded[:, :, :height, :width] = tile
        answer = self._answer(self._half, padded)[:, :, : height * self.card.scale, : width * self.card.scale]
        return np.ascontiguousarray(answer)

    def _answer(self, session: Any, tile: Any, out: Any = None, last: bool = False) -> Any:
        """Bound to memory of ours on both sides."""
        import numpy as np  # noqa: PLC0415 - as above

        if out is None:
            out = np.empty((1, 3, tile.shape[2] * self.card.scale, tile.shape[3] * self.card.scale), np.float32)
        if isinstance(session, Compiled):
            self._room_for(tile)
            session.run(tile, out, last)
            return out
        binding = session.io_binding()
        binding.bind_cpu_input(session.get_inputs()[0].name, tile)
        binding.bind_output(session.get_outputs()[0].name, "cpu", 0, np.float32, out.shape, out.ctypes.data)
        session.run_with_iobinding(binding, _giving_back() if last else None)
        return out

    def _room_for(self, tile: Any) -> None:
        """MemoryError where there is none: OpenVINO, when it finds none, may write no answer or end the process."""
        import numpy as np  # noqa: PLC0415 - as above

        if tile.shape != self._had_room:
            self._had_room = None
            np.empty(tile.shape[2] * tile.shape[3] * self.card.memory_bytes_per_pixel, np.uint8)
            self._had_room = tile.shape

    @property
    def memory_share(self) -> float:
        """Of the memory that the card says for a tile, what one takes here."""
        narrow = self.device == OPENVINO_CPU and self._half is not None
        return BFLOAT16_MEMORY_SHARE.get(self.card.scale, 1.0) if narrow else 1.0

    def seconds_per_megapixel(self, side: int = 256) -> float:
        """Measured now, on this machine, with the faster of two small tiles: what a forecast rests on."""
        import numpy as np  # noqa: PLC0415 - as above

        tile = np.zeros((1, 3, side, side), np.float32)
        seconds = []
        for _ in range(2):
            began = time.perf_counter()
            self.run(tile)
            seconds.append(time.perf_counter() - began)
        return min(seconds) / (side * side / 1e6)


@lru_cache(maxsize=4)
def network(name: str, engine: Engine) -> Network:
    """The open network of a card: opened at first use, and kept while the process uses no more than four.

    To be called from one thread at a time.
    """
    return Network(card(name), engine)


class Detector:
    """An open detector, or the network that looks: small, so that the processor is quick enough on every machine."""

    def __init__(self, card: DetectorCard | LookCard, threads: int, folder: Path | None = None) -> None:
        self.card = card
        self._session = _session(verified_bytes(card, folder), CPU, threads)
        self._input = self._session.get_inputs()[0].name
        self._names = [answer.name for answer in self._session.get_outputs()]

    def run(self, tile: Any) -> dict[str, Any]:
        """Its answers by name, for (n, 3, height, width) float32 tiles in the colours and range that it knows."""
        return dict(zip(self._names, self._session.run(None, {self._input: tile}), strict=True))


def looker(engine: Engine) -> Detector | None:
    """The network that looks; None where it has no card, Unavailable when its file is another one."""
    card = look_card()
    return None if card is None else _looker(shipped_folder(), card.sha256, engine.threads)


@lru_cache(maxsize=1)
def _looker(folder: Path, _sha256: str, threads: int) -> Detector:
    card = look_card(folder)
    assert card is not None
    return Detector(card, threads, folder)


@lru_cache(maxsize=2)
def detector(name: str, engine: Engine) -> Detector | None:
    """The open detector of a card; None when it has not been fetched, Unavailable when its file is another one."""
    card = detectors()[name]
    return Detector(card, engine.threads) if (shipped_folder() / card.file).exists() else None


def check_there(names: Iterable[str], engine: Engine) -> None:
    """Unavailable unless these networks, and all that look and detect, can be opened."""
    for name in names:
        network(name, engine)
    looker(engine)
    for name in detectors():
        detector(name, engine)


def opened_seconds() -> list[float]:
    """How long each session took that this process opened since it was last asked, in their order."""
    told = [*_opened_seconds]
    del _opened_seconds[: len(told)]
    return told


def _session(content: bytes, device: Device, threads: int, engines: str | None = None) -> Any:
    """A session that computes on this device, or Unavailable. engines: names the folder of TensorRT's engines."""
    onnxruntime = _onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or granted_cores()
    options.inter_op_num_threads = 1
    # planned ahead, a tile took 534 bytes a pixel instead of 337, and no less time
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    wanted = PROVIDERS[device.kind]
    try:
        providers = [*_provider(onnxruntime, device, engines)]
        began = time.perf_counter()
        with _said(device) as said:
            session = onnxruntime.InferenceSession(content, options, providers=providers, enable_fallback=0)
        _opened_seconds.append(time.perf_counter() - began)
    except Unavailable:
        raise
    except Exception as error:
        if device == CPU or SHORTAGE.search(str(error)):
            raise
        raise Unavailable(f"device {device}: {_first_line(str(error))}") from error
    # a provider that cannot be loaded is left out with a line on stderr, and the processor computes instead
    if wanted not in session.get_providers():
        reason = said.getvalue().strip() or "its libraries or its driver could not be loaded; stderr has the reason"
        raise Unavailable(f"device {device}: {_first_line(reason)}")
    return session


def _compiled(content: bytes, device: Device, threads: int, *, full: bool = False) -> Compiled:
    began = time.perf_counter()
    try:
        compiled = Compiled(content, threads or granted_cores(), on_graphics=device == OPENVINO_GPU, full=full)
    except Unavailable as error:
        if SHORTAGE.search(str(error)):
            raise MemoryError(str(error)) from error
        raise Unavailable(f"device {device}: {error}") from error
    _opened_seconds.append(time.perf_counter() - began)
    return compiled


@cache
def _giving_back() -> Any:
    """How a session is run on the processor for the last time for now."""
    options = _onnxruntime().RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def _provider(onnxruntime: Any, device: Device, engines: str | None) -> Iterator[Any]:
    if device.kind == "cpu":
        yield PROVIDERS["cpu"]
        return
    with _said(device):  # it prints to stdout, where --json is
        onnxruntime.preload_dlls()
    if device.kind == "tensorrt":
        with contextlib.suppress(ImportError):  # TensorRT's libraries are found once this has loaded them
            import_module("tensorrt_libs")
        folder = engines_folder() / (engines or "none")
        folder.mkdir(parents=True, exist_ok=True)
        yield (
            PROVIDERS["tensorrt"],
            {
                "device_id": device.number,
                "trt_fp16_enable": True,
                "trt_engine_cache_enable": True,
                "trt_engine_cache_path": str(folder),
                "trt_timing_cache_enable": True,
                "trt_timing_cache_path": str(folder),
            },
        )
    # HEURISTIC: the default, an exhaustive search, is done again for every shape of tile. No TF32: full precision is
    # what half precision is held against.
    yield (
        PROVIDERS["cuda"],
        {"device_id": device.number, "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": False},
    )


def _finite(answer: Any) -> bool:
    import numpy as np  # noqa: PLC0415 - as above

    return bool(np.isfinite(answer.min()) and np.isfinite(answer.max()))


def _alike(answer: Any, exact: Any, mean: float, most: float) -> bool:
    import numpy as np  # noqa: PLC0415 - as above

    apart = np.abs(answer - exact)
    return bool(apart.mean() <= mean and apart.max() <= most)


def _middle(tile: Any) -> Any:
    """CHECKED_SIDE of it each way, or as much as it has."""
    import numpy as np  # noqa: PLC0415 - as above

    top, left = (max(0, length - CHECKED_SIDE) // 2 for length in tile.shape[2:])
    return np.ascontiguousarray(tile[:, :, top : top + CHECKED_SIDE, left : left + CHECKED_SIDE])


@contextlib.contextmanager
def _said(device: Device) -> Iterator[io.StringIO]:
    """What ONNX Runtime prints about a device that is not the processor, instead of on stdout.

    One at a time, because stdout belongs to all threads: two that change it and change it back can leave it lost.
    """
    if device == CPU:  # of which it prints nothing
        yield io.StringIO()
        return
    with _SAYING, contextlib.redirect_stdout(io.StringIO()) as said:
        yield said


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:300]


def _onnxruntime() -> Any:
    try:
        import onnxruntime  # noqa: PLC0415 - only a process that opens a session pays for it
    except ImportError as error:
        raise Unavailable(f"ONNX Runtime is not installed; install it with: {INSTALL_HINT}") from error
    return onnxruntime
