"""What every table needs: the test pictures, the networks by name, and means over many pictures."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyvips

from darkroomd import pipeline
from darkroomd.by_hand import job_for
from darkroomd.config import defaults
from darkroomd.device import Network
from darkroomd.enhance import through
from darkroomd.job import Engine, Verdict
from darkroomd.models import cards, detectors, is_whole

Floats = npt.NDArray[np.float32]
Item = TypeVar("Item")
SUFFIXES = {".png", ".jpg", ".bmp", ".webp", ".tif"}


@dataclass(frozen=True)
class Bench:
    """data: the folder of test sets. models: the folder of networks and their cards. every: 1 takes each picture of a
    set, 4 every fourth, for a first look."""

    data: Path
    models: Path
    every: int = 1

    def pictures(self, test_set: str) -> list[Path]:
        """The files of one set in the order of their names, or each `every`th of them."""
        found = sorted(p for p in (self.data / test_set).iterdir() if p.suffix.lower() in SUFFIXES)
        return found[:: self.every]

    def has(self, name: str) -> bool:
        """Whether there is such a network."""
        return name in cards(self.models)

    def answer(self, name: str, damaged: Floats) -> Floats:
        """The network's full answer for a picture, through the product's own tiles; not clipped."""
        return np.asarray(
            through(_opened(name, self.models), np.ascontiguousarray(damaged), Engine(device="cpu")), np.float32
        )


# as in a worker: a photo is decoded under a limit on the memory of the whole process
_ONE_PHOTO_AT_A_TIME = Lock()


@cache
def _opened(name: str, models: Path) -> Network:
    return Network(cards(models)[name], Engine(device="cpu"), models)


def by_mode(mode: str, damaged: Floats, **options: Any) -> tuple[Floats, Verdict]:
    """What the product makes of the picture as a file in one of its modes: looked at, enhanced, guarded.

    The picture itself when the verdict is to leave it alone or that the result did not pass.
    """
    with TemporaryDirectory() as name:
        source = Path(name) / "photo.png"
        save_png(source, damaged)
        result, verdict = file_by_mode(mode, source, **options)
        return damaged if result is None else result, verdict


def file_by_mode(mode: str, source: Path, **options: Any) -> tuple[Floats | None, Verdict]:
    """What the product makes of a file in one of its modes; None when it is left alone or the result did not pass."""
    with TemporaryDirectory() as name:
        settings = defaults()
        settings = replace(settings, service=replace(settings.service, device="cpu"))
        chosen = replace(settings.modes[mode], **options)
        job = job_for(source.parent, source, Path(name) / "result.png", chosen, settings)
        with _ONE_PHOTO_AT_A_TIME:
            staged = pipeline.run(job)
        if staged.temporary is None or staged.verdict.status != "done":
            return None, staged.verdict
        return pixels(staged.temporary), staged.verdict


def has_mode(mode: str) -> bool:
    """Whether the product has it, with the detectors that it looks with (`darkroomd models fetch`)."""
    looks = mode in ("portrait", "text", "old-photo")
    return mode in defaults().modes and (not looks or all(is_whole(one) for one in detectors().values()))


def pixels(path: Path) -> Floats:
    """(height, width, 3) in 0..1, sRGB codes."""
    return floats(pyvips.Image.new_from_file(str(path)).colourspace("srgb"))


def floats(image: pyvips.Image) -> Floats:
    return np.ascontiguousarray(image[:3].numpy(), dtype=np.float32) / np.float32(255)


def codes(picture: Floats) -> npt.NDArray[np.uint8]:
    return np.clip(np.rint(picture * 255), 0, 255).astype(np.uint8)


def rounded(picture: Floats) -> Floats:
    """As an 8-bit file holds it."""
    return codes(picture).astype(np.float32) / np.float32(255)


def save_png(path: Path, picture: Floats) -> None:
    pyvips.Image.new_from_array(codes(picture), interpretation="srgb").pngsave(str(path))


def means(judge: Callable[[Item], Sequence[float]], items: Iterable[Item]) -> list[float]:
    """The mean of each figure over all items; figures that are no number are left out."""
    with ThreadPoolExecutor(2) as pool:
        figures = np.array(list(pool.map(judge, items)), dtype=np.float64)
    return [float(value) for value in np.nanmean(figures, axis=0)]


def told(line: Sequence[str]) -> list[str]:
    """A row of a table, which is also printed: a full run takes an hour."""
    print(" | ".join(line), flush=True)
    return list(line)
