"""The numbers behind lines.py: `python -m training.fit_lines --data FOLDER --pages FOLDER`, where the product runs.

Pages drawn by training.pages (into a scratch folder, with the training environment), each damaged in several ways,
and training photographs, in which every line is a false alarm but those on signs. Prints, for thresholds around those
of lines.py, how much of what the loosest ones find on the clean page is found, and false alarms for a photograph.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from darkroomd import lines
from darkroomd.device import detector
from darkroomd.job import Engine

SIDE = 1024


def noisy(pixels: Any, sigma: float) -> Any:
    noise = np.random.default_rng(0).normal(0, sigma, pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def saved(pixels: Any, quality: int) -> Any:
    image = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb")
    return pyvips.Image.new_from_buffer(image.jpegsave_buffer(Q=quality), "").numpy()


DAMAGE: dict[str, Callable[[Any], Any]] = {
    "clean": lambda p: p,
    "noise 20": lambda p: noisy(p, 20),
    "noise 45": lambda p: noisy(p, 45),
    "JPEG 10": lambda p: saved(p, 10),
}


@dataclass(frozen=True)
class Thresholds:
    score: float
    two_tones: float
    contrast: float
    strokes: float

    def keep(self, one: lines.Candidate) -> bool:
        return (
            one.score >= self.score
            and one.two_tones >= self.two_tones
            and one.contrast >= self.contrast
            and one.strokes <= self.strokes
        )


def covered(found: list[lines.Candidate], shape: tuple[int, ...]) -> Any:
    mask = np.zeros(shape[:2], bool)
    for one in found:
        mask[one.box.top : one.box.top + one.box.height, one.box.left : one.box.left + one.box.width] = True
    return mask


def read(path: Path) -> Any:
    image = pyvips.Image.thumbnail(str(path), SIDE, height=SIDE, size="down")
    return (image.flatten(background=255) if image.hasalpha() else image).colourspace("srgb").numpy()[..., :3].copy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pages", type=Path, required=True)
    parser.add_argument("--count", type=int, default=16, help="pages; three times as many photographs")
    given = parser.parse_args()
    network = detector("lines", Engine())
    if network is None:
        raise SystemExit("the detector is not here: darkroomd models fetch")
    pages = [read(path) for path in sorted(given.pages.rglob("*.*g"))[: given.count]]
    loosest = Thresholds(0.5, 0.5, 10, 14)
    clean = [covered([c for c in lines.candidates(page, network) if loosest.keep(c)], page.shape) for page in pages]
    on_pages = {
        name: [list(lines.candidates(damage(page), network)) for page in pages] for name, damage in DAMAGE.items()
    }
    paths = sorted(p for name in ("photo/cid22", "photo/clic2k") for p in (given.data / name).iterdir())
    photos = [list(lines.candidates(read(p), network)) for p in paths[:: max(1, len(paths) // (3 * given.count))]]
    print("score tones contrast strokes |", " | ".join(on_pages), "| lines in a photo, photos with any")
    for values in product((0.6, 0.7, 0.75, 0.8), (0.55, 0.62, 0.7), (20, 30), (8, 10)):
        one = Thresholds(*values)
        shares = []
        for found in on_pages.values():
            kept = [covered([c for c in f if one.keep(c)], m.shape) for f, m in zip(found, clean, strict=True)]
            shares.append(sum((k & m).sum() for k, m in zip(kept, clean, strict=True)) / sum(m.sum() for m in clean))
        alarms = [sum(one.keep(c) for c in found) for found in photos]
        print(*values, "|", " | ".join(f"{share:.3f}" for share in shares),
              f"| {np.mean(alarms):.2f} {np.mean(np.array(alarms) > 0):.3f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
