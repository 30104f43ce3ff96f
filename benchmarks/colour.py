"""Colours stay: how far each network moves them."""

from collections.abc import Callable

import numpy as np

from benchmarks.bench import Bench, Floats, means, pixels, rounded, told
from benchmarks.damage import jpeg, noisy, reduced
from benchmarks.measures import colour_drift
from benchmarks.results import table
from darkroomd.guard import lab_from_srgb
from darkroomd.models import cards

TITLE = "Quality: colour"
NETWORKS = ("general",)
RESTORING = ("general", "upscale-2", "upscale-4", "unblur", "text", "portrait", "old-photo")

KINDS: dict[str, Callable[[Floats, int], Floats]] = {
    "clean": lambda p, _: p,
    "noise, sigma 10": lambda p, n: noisy(p, 10, n),
    "JPEG 30": lambda p, _: jpeg(p, 30),
}


def answer(bench: Bench, name: str, damaged: Floats) -> Floats:
    """Brought back to the input's size, as an 8-bit file."""
    return reduced(rounded(bench.answer(name, damaged)), cards(bench.models)[name].scale)


def chroma_of_grey(bench: Bench, name: str) -> float:
    """The strongest colour, as a CIELAB chroma, that a grey ramp and grey noise take on."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(128, axis=0)
    grain = np.random.default_rng(0).standard_normal(ramp.shape, dtype=np.float32) * np.float32(8 / 255)
    strongest = 0.0
    for grey in (ramp, ramp + grain):
        result = answer(bench, name, np.repeat(rounded(grey)[:, :, None], 3, axis=2))
        lab = lab_from_srgb(reduced(result, 8))
        strongest = max(strongest, float(np.hypot(lab[..., 1], lab[..., 2]).max()))
    return strongest


def row(bench: Bench, name: str) -> list[str]:
    drifts = []
    for make in KINDS.values():

        def judge(one: tuple[int, Floats], make: Callable[[Floats, int], Floats] = make) -> list[float]:
            damaged = rounded(make(one[1], one[0]))
            drift = colour_drift(answer(bench, name, damaged), damaged)
            return [float(drift.mean()), float(drift.max())]

        drifts += means(judge, enumerate(pixels(path) for path in bench.pictures("photo_gt")[::2]))
    ends = [answer(bench, name, np.full((64, 64, 3), level, np.float32)) for level in (0.0, 1.0)]
    cells = [f"{255 * ends[0].max():.0f}", f"{255 * ends[1].min():.0f}", f"{chroma_of_grey(bench, name):.2f}"]
    return told([name, *(f"{mean:.2f} / {worst:.2f}" for mean, worst in zip(*[iter(drifts)] * 2, strict=True)), *cells])


def section(bench: Bench) -> str:
    head = ["network", *KINDS, "black becomes", "white becomes", "chroma of grey"]
    return (
        "CIEDE2000 between result and input over means of 32 × 32 pixels (an enlarged one is averaged down first): "
        "mean, and mean over the pictures of the worst area. Every second picture of photo_gt. Black and white: the "
        "code that moves furthest on a plain picture. Chroma of grey: the strongest colour, over 8 × 8 pixels, that "
        "a grey ramp with and without grey noise takes on. A difference below 1 is not seen side by side. Taking "
        "noise away must "
        "move clipped colours a little.\n\n" + table(head, [row(bench, name) for name in RESTORING if bench.has(name)])
    )
