"""Sharpening: `unblur` beside unsharp masking and Richardson-Lucy, which are told the true blur."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.bench import Bench, Floats, by_mode, means, pixels, rounded, told
from benchmarks.damage import Kernel, blurred, disc, gaussian, motion
from benchmarks.filters import richardson_lucy, unsharp, unsharp_like
from benchmarks.measures import gain, overshoot, psnr, ssim
from benchmarks.results import table

TITLE = "Quality: unblur"
NETWORKS = ("unblur",)
NOISE_SIGMA = 1.0


@dataclass(frozen=True)
class Pair:
    """kernel: what the classic filters are told. sigma: of a Gaussian that is about as wide."""

    damaged: Floats
    truth: Floats
    kernel: Kernel
    sigma: float


def synthetic(bench: Bench, kernels: list[tuple[Kernel, float]]) -> Iterator[Pair]:
    """Every fourth picture of CBSD68 and every second of photo_gt, each with the next of the kernels."""
    paths = bench.pictures("cbsd68")[::4] + bench.pictures("photo_gt")[::2]
    for number, path in enumerate(paths):
        truth = middle(pixels(path))
        kernel, sigma = kernels[number % len(kernels)]
        yield Pair(blurred(truth, kernel, NOISE_SIGMA, number), truth, kernel, sigma)


def middle(picture: Floats, side: int = 256) -> Floats:
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def shaken(length: float) -> list[tuple[Kernel, float]]:
    return [(motion(length, angle), length / 4) for angle in np.radians([0, 35, 80, 120, 160])]


def levin(bench: Bench) -> Iterator[Pair]:
    """Real camera shake of one scene, kernels of 13 to 27 pixels that nobody is told; 255 × 255."""
    truth = pixels(bench.data / "blur_pairs" / "im1.webp")
    for path in sorted((bench.data / "blur_pairs").glob("im1_kernel*_img.webp")):
        yield Pair(pixels(path), truth, gaussian(2), 2)


def gopro(bench: Bench) -> Iterator[Pair]:
    """Frames summed up from a 240 Hz camera: things move each in its own way."""
    for path in sorted((bench.data / "blur_pairs").glob("*blur*.webp"))[:: bench.every]:
        yield Pair(pixels(path), pixels(path.with_name(path.name.replace("blur", "sharp"))), gaussian(2), 2)


def row(bench: Bench, name: str, pairs: Iterator[Pair], blind: bool = False) -> list[str]:
    """blind: nobody knows the blur, so there is no Richardson-Lucy."""

    def judge(pair: Pair) -> list[float]:
        ours = bench.answer("unblur", pair.damaged)
        sharp = unsharp(pair.damaged, pair.sigma, 1)
        known = pair.damaged if blind else richardson_lucy(pair.damaged, pair.kernel)
        results = (pair.damaged, sharp, known, bench.answer("general", pair.damaged), ours)
        shifted = [_best_shift(r, pair.truth) if blind and name.startswith("Levin") else r for r in results]
        return [psnr(r, pair.truth) for r in shifted] + [ssim(r, pair.truth) for r in shifted]

    figures = means(judge, pairs)
    cells = [*(f"{v:.2f}" for v in figures[:5]), *(f"{v:.3f}" for v in figures[5:])]
    if blind:
        cells[2] = cells[7] = ""
    return told([name, *cells])


def _best_shift(result: Floats, truth: Floats) -> Floats:
    """A camera that shook has no true place: the whole pixels' shift, up to 4, that fits best."""
    shifts = [(y, x) for y in range(-4, 5) for x in range(-4, 5)]
    return max((np.roll(result, shift, (0, 1)) for shift in shifts), key=lambda moved: psnr(moved, truth))


def halo_row(bench: Bench, name: str, pairs: Iterator[Pair]) -> list[str]:
    """Overshoot of input, of an unsharp mask whose edges are as steep as ours, and of ours."""

    def judge(pair: Pair) -> list[float]:
        ours = bench.answer("unblur", pair.damaged)
        steeper = gain(ours, pair.damaged, pair.truth)
        masked = unsharp_like(steeper, pair.damaged, pair.truth, pair.sigma)
        over = [overshoot(r, pair.truth) for r in (pair.damaged, masked, ours)]
        return [steeper, gain(masked, pair.damaged, pair.truth), *over]

    figures = means(judge, pairs)
    return told([name, *(f"{v:.2f}" for v in figures)])


def noise_row(bench: Bench, sigma: float) -> list[str]:
    """Input, the network alone, and the mode, which takes noise out first."""

    def judge(one: tuple[int, Floats]) -> list[float]:
        number, truth = one
        damaged = blurred(truth, gaussian(1.5), sigma, number)
        results = (damaged, rounded(bench.answer("unblur", damaged)), by_mode("unblur", damaged)[0])
        return [psnr(result, truth) for result in results]

    truths = enumerate(middle(pixels(path)) for path in bench.pictures("photo_gt")[::2])
    return told([f"Gaussian, sigma 1.5 px, noise {sigma:g}", *(f"{v:.2f}" for v in means(judge, truths))])


def section(bench: Bench) -> str:
    kinds = [
        *((f"Gaussian, sigma {s} px", [(gaussian(s), float(s))]) for s in (1, 2, 3)),
        *((f"out of focus, radius {r} px", [(disc(r), r / 2)]) for r in (2, 4)),
        *((f"motion, {length} px", shaken(length)) for length in (7, 15)),
    ]
    rows = [row(bench, name, synthetic(bench, kernels)) for name, kernels in kinds]
    rows += [
        row(bench, "Levin, real camera shake", levin(bench), blind=True),
        row(bench, "GoPro, moving camera and things", gopro(bench), blind=True),
    ]
    halos = [halo_row(bench, name, synthetic(bench, kernels)) for name, kernels in (kinds[1], kinds[3])]
    noises = [noise_row(bench, sigma) for sigma in (5, 15, 30)]
    head = ["blur", "input dB", "unsharp dB", "Richardson-Lucy dB", "general dB", "ours dB"]
    head += ["input SSIM", "unsharp SSIM", "Richardson-Lucy SSIM", "general SSIM", "ours SSIM"]
    return (
        f"Blurred in linear light, noise of {NOISE_SIGMA:g} level, 8-bit files; the middle 256 × 256 pixels of every "
        "fourth picture of CBSD68 and every second of photo_gt. Ours is told nothing. Unsharp mask: radius of the true "
        "blur, amount 1. Richardson-Lucy: 20 steps in linear light with the true kernel, which nobody has in life. "
        "Levin: each result may be shifted by whole pixels to fit, because a shaken picture has no true place.\n\n"
        + table(head, rows)
        + "\n\nHalos: how far, in 8-bit levels, a result leaves the range that the truth has within three pixels, at "
        "the strongest tenth of its edges; beside an unsharp mask made just strong enough for edges as steep as "
        "ours.\n\n"
        + table(["blur", "ours: steeper by", "mask: steeper by", "input", "unsharp", "ours"], halos)
        + "\n\nNoise: the mode takes out by `general` what the network does not bear (from 12 levels); every second "
        "picture of photo_gt.\n\n" + table(["blur and noise", "input dB", "network dB", "mode dB"], noises)
    )
