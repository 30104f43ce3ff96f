"""What computes: the device, and the sessions that networks run in. The only file that knows onnxruntime.

It is loaded when a session is opened, so that a process that opens none never pays for it.
"""

import os
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from darkroomd.errors import OutOfMemory, Unavailable
from darkroomd.job import Engine
from darkroomd.models import Card, card, verified_bytes

INSTALL_HINT = 'pip install "darkroomd[cpu]"'
PROVIDERS = {"cpu": "CPUExecutionProvider"}


class Network:
    """An open session. One at a time per process and network; `run` lets go of Python's lock while it computes."""

    def __init__(self, card: Card, engine: Engine, folder: Path | None = None) -> None:
        onnxruntime = _onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = engine.threads
        options.inter_op_num_threads = 1
        # planned ahead, a tile took 534 bytes a pixel instead of 337, and no less time
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        self.card = card
        self._failure = onnxruntime.capi.onnxruntime_pybind11_state
        self._session = onnxruntime.InferenceSession(
            verified_bytes(card, folder), options, providers=[PROVIDERS[chosen_device(engine.device)]]
        )
        self._input = self._session.get_inputs()[0].name

    def run(self, tile: Any) -> Any:
        """The network's answer for one (1, 3, height, width) float32 tile; OutOfMemory when it does not fit."""
        try:
            return self._session.run(None, {self._input: tile})[0]
        except MemoryError as error:
            raise OutOfMemory(
                f"network {self.card.name}: not enough memory for a {tile.shape[3]}×{tile.shape[2]} tile"
            ) from error
        except (self._failure.RuntimeException, self._failure.Fail) as error:
            # the runtime has no class for it; these are the words of its arena and of std::bad_alloc
            if "allocate memory" in str(error) or "bad_alloc" in str(error) or "bad allocation" in str(error):
                raise OutOfMemory(
                    f"network {self.card.name}: not enough memory for a {tile.shape[3]}×{tile.shape[2]} tile"
                ) from error
            raise

    def seconds_per_megapixel(self, side: int = 256) -> float:
        """Measured now, on this machine, with the faster of two small tiles: what a forecast rests on."""
        import numpy as np  # noqa: PLC0415 - the service reads cards in a process that stays small

        tile = np.zeros((1, 3, side, side), np.float32)
        seconds = []
        for _ in range(2):
            began = time.perf_counter()
            self.run(tile)
            seconds.append(time.perf_counter() - began)
        return min(seconds) / (side * side / 1e6)


@cache
def network(name: str, engine: Engine) -> Network:
    """The open session for a card, opened at first use and kept as long as the process lives."""
    return Network(card(name), engine)


def chosen_device(asked: str) -> str:
    """The device a session will use; Unavailable when the one asked for is not there. Never a silent fall-back."""
    if asked in ("auto", "cpu"):
        return "cpu"
    raise Unavailable(f"device {asked!r} is not available in this version; it has: auto, cpu")


def runtime_versions() -> dict[str, str]:
    """Which of ONNX Runtime's distributions are installed; two at once overwrite each other's files."""
    found = {}
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _onnxruntime() -> Any:
    # Since 1.32 the official builds report to Microsoft by default, and begin to when they are imported: a device id
    # and a queue of events appear in ~/.cache. It must be said before; disable_telemetry_events() comes too late.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime  # noqa: PLC0415 - only a process that opens a session pays for it
    except ImportError as error:
        raise Unavailable(f"ONNX Runtime is not installed; install it with: {INSTALL_HINT}") from error
    return onnxruntime
