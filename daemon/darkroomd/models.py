"""Networks: cards, digests, sessions. The only file that knows onnxruntime, which it loads when a session is opened.

A network is a file plus a card in models/cards.yaml; nothing here knows a network by name. A file whose SHA-256
is not the one on its card is never loaded.
"""

import hashlib
import os
import time
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from darkroomd.errors import OutOfMemory, Unavailable
from darkroomd.job import Engine
from darkroomd.places import shipped_folder

INSTALL_HINT = 'pip install "darkroomd[cpu]"'
PROVIDERS = {"cpu": "CPUExecutionProvider"}


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of a network; models/README.md explains each field. Lengths in pixels of the input.

    tile: the longest side of a tile that is worth its memory. halo: context a tile needs around what it answers
    for. blend: pixels beyond it in which neighbouring tiles fade into each other. memory_bytes_per_pixel: what the
    runtime holds for each pixel of a tile.
    """

    name: str
    file: str
    sha256: str
    purpose: str
    licence: str
    scale: int
    multiple_of: int
    halo: int
    blend: int
    tile: int
    parameters: int
    multiply_adds_per_pixel: int
    memory_bytes_per_pixel: int
    recipe: str
    recipe_sha256: str
    steps: int
    data: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """The short form of the file's SHA-256, as it stands in verdicts."""
        return self.sha256[:12]

    @property
    def gflop_per_megapixel(self) -> float:
        """Arithmetic for one megapixel of input: two operations per multiply-add."""
        return 2 * self.multiply_adds_per_pixel / 1000


def cards(folder: Path | None = None) -> dict[str, Card]:
    """Every network's card by name. Unavailable when cards.yaml is missing or damaged, or a card lacks a field."""
    path = (folder or shipped_folder()) / "cards.yaml"
    try:
        text = path.read_text()
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}; reinstall darkroomd to get its networks back") from error
    found = {}
    try:
        for name, values in yaml.safe_load(text).items():
            found[name] = Card(name=name, **values)
    except TypeError as error:
        raise Unavailable(f"{path}: {name}: {str(error).partition('__init__() ')[2]}") from error
    except (yaml.YAMLError, AttributeError) as error:
        raise Unavailable(f"{path}: these are no cards; reinstall darkroomd, or restore the file") from error
    return found


def digests(folder: Path | None = None) -> dict[str, str]:
    """Name to SHA-256 of every network: what makes two results comparable."""
    return {name: card.sha256 for name, card in cards(folder).items()}


def verified_bytes(card: Card, folder: Path | None = None) -> bytes:
    """The network's file, if it is the one on the card; Unavailable (with both digests) if not."""
    path = (folder or shipped_folder()) / card.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unavailable(
            f"network {card.name}: {path}: {error.strerror}; reinstall darkroomd to get it back"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != card.sha256:
        raise Unavailable(
            f"network {card.name}: {path} is not the file on its card "
            f"(SHA-256 {found[:12]}…, card {card.sha256[:12]}…); reinstall darkroomd, or restore the file"
        )
    return content


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
    known = cards()
    if name not in known:
        raise Unavailable(f"no network named {name!r}; there are: {', '.join(sorted(known))}")
    return Network(known[name], engine)


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
