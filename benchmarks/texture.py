"""Noise removed without losing texture: `general` beside non-local means that leaves as much noise as ours does."""

from collections.abc import Iterator

from benchmarks.bench import Bench, Floats, means, pixels, told
from benchmarks.damage import noisy
from benchmarks.filters import non_local_means
from benchmarks.measures import flat_and_textured, noise_left, psnr, texture_kept
from benchmarks.results import table

TITLE = "Quality: texture"
NETWORKS = ("general",)


def pairs(bench: Bench, sigma: float) -> Iterator[tuple[Floats, Floats]]:
    for number, path in enumerate(bench.pictures("photo_gt")[::2] + bench.pictures("cbsd68")[::8]):
        truth = pixels(path)
        yield noisy(truth, sigma, number), truth


def row(bench: Bench, sigma: float) -> list[str]:
    def judge(pair: tuple[Floats, Floats]) -> list[float]:
        damaged, truth = pair
        flat, textured = flat_and_textured(truth)
        ours = bench.answer("general", damaged)
        left = noise_left(ours, truth, flat)
        low, high = 0.1, 3.0
        for _ in range(5):
            strength = (low + high) / 2
            filtered = non_local_means(damaged, sigma, strength)
            low, high = (strength, high) if noise_left(filtered, truth, flat) > left else (low, strength)
        figures = []
        for result in (filtered, ours):
            figures += [noise_left(result, truth, flat), texture_kept(result, truth, textured), psnr(result, truth)]
        return figures

    found = means(judge, pairs(bench, sigma))
    cells = [f"{v:.2f}" for v in (found[0], found[3])]
    cells += [f"{100 * v:.0f} %" for v in (found[1], found[4])] + [f"{v:.2f}" for v in (found[2], found[5])]
    return told([f"sigma {sigma:g}", *cells])


def section(bench: Bench) -> str:
    head = [
        "noise",
        "NLM: noise left",
        "ours: noise left",
        "NLM: texture kept",
        "ours: texture kept",
        "NLM dB",
        "ours dB",
    ]
    return (
        "Every second picture of photo_gt and every eighth of CBSD68 with Gaussian noise, 8-bit files. For each "
        "picture the strength of non-local means (told the true noise) is set so that it leaves as much noise in the "
        "flat parts, in 8-bit levels, as ours does; where three times the noise as filter strength is not enough, it "
        "stays there. Texture kept: the share of the truth's fine detail (what a blur of 1.5 pixels takes away) that "
        "is in the result, by regression over the textured parts without strong edges; noise does not count for "
        "it.\n\n" + table(head, [row(bench, sigma) for sigma in (10, 25, 50)])
    )
