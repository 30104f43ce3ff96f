"""What cannot be done: how little comes back, and whether the product says so."""

from collections.abc import Callable

import numpy as np

from benchmarks.bench import Bench, Floats, by_mode, has_mode, pixels, rounded, told
from benchmarks.damage import blurred, disc, from_light, motion, noisy, reduced, to_light
from benchmarks.filters import BICUBIC, enlarged
from benchmarks.measures import psnr
from benchmarks.results import table

TITLE = "Quality: what cannot be done"
NETWORKS = ("general",)


def overexposed(picture: Floats, number: int) -> Floats:
    return noisy(from_light(to_light(picture) * np.float32(5)), 2, number)


def underexposed(picture: Floats, number: int) -> Floats:
    """A thirtieth of the light, with the sensor's noise, not brightened."""
    return noisy(from_light(to_light(picture) / np.float32(30)), 6, number)


def thumbnail(picture: Floats, number: int) -> Floats:
    """Sixteen pixels across, brought back to size."""
    return noisy(np.clip(enlarged(rounded(reduced(picture, 32)), 32, BICUBIC), 0, 1), 2, number)


KINDS: dict[str, Callable[[Floats, int], Floats]] = {
    "motion of 40 pixels": lambda p, n: blurred(p, motion(40, 0.3 + n), 2, n),
    "out of focus by 12 pixels": lambda p, n: blurred(p, disc(12), 2, n),
    "burnt out: five times the light": overexposed,
    "nearly black": underexposed,
    "sixteen pixels across": thumbnail,
    "noise alone": lambda p, n: noisy(np.full_like(p, 0.5), 90, n),
}


def row(bench: Bench, name: str, mode: str) -> list[str]:
    paths = bench.pictures("photo_gt")[::4]
    before, after, said, left, words = [], [], 0, 0, ""
    for number, path in enumerate(paths):
        truth = pixels(path)
        damaged = KINDS[name](truth, number)
        result, verdict = by_mode(mode, damaged)
        before.append(psnr(damaged, truth))
        after.append(psnr(result, truth))
        said += bool(verdict.limits)
        left += verdict.status == "unchanged"
        words = words or "; ".join(verdict.limits)
    cells = ["" if name == "noise alone" else f"{np.mean(v):.2f}" for v in (before, after)]
    return told([f"{name}, mode {mode}", *cells, f"{left} of {len(paths)}", f"{said} of {len(paths)}", words])


def section(bench: Bench) -> str:
    modes = [mode for mode in ("auto", "unblur") if has_mode(mode)]
    rows = [
        row(bench, name, mode)
        for name in KINDS
        for mode in (modes if name.startswith(("motion", "out")) else modes[:1])
    ]
    return (
        "Damage beyond repair, made of every fourth picture of photo_gt, as files through the product. Left alone: "
        "verdict `unchanged`. Says so: the verdict's `limits` is not empty; its words in the first such case.\n\n"
        + table(["damage", "input dB", "result dB", "left alone", "says so", "in these words"], rows)
    )
