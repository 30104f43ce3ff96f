"""Enlargement: `upscale-2` and `upscale-4` beside bicubic and Lanczos."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.bench import Bench, Floats, by_mode, means, pixels, rounded, told
from benchmarks.damage import convolved, gaussian, jpeg, noisy, reduced
from benchmarks.filters import BICUBIC, LANCZOS, bicubic_reduced, enlarged
from benchmarks.measures import edge_width, luma, psnr, ssim
from benchmarks.page import FONTS, page, reading_error
from benchmarks.results import table

TITLE = "Quality: upscale"
NETWORKS = ("upscale-2", "upscale-4")
REFERENCES = {
    ("Set5", 2): "37.00 FSRCNN, 37.53 CARN-M",
    ("Set5", 4): "30.71 FSRCNN, 31.92 CARN-M, 32.20 SPAN",
    ("Set14", 2): "32.63 FSRCNN",
}
LETTERS_PX = {2: 8, 4: 6}


@dataclass(frozen=True)
class Pair:
    """A small picture and its truth."""

    small: Floats
    truth: Floats


def set5(bench: Bench, scale: int) -> Iterator[Pair]:
    """Reduced by the set's authors with Matlab's bicubic."""
    for path in sorted((bench.data / f"set5_sr_x{scale}").glob("*_LR.png")):
        yield Pair(pixels(path), pixels(path.with_name(path.name.replace("_LR", "_HR"))))


def set14(bench: Bench, scale: int) -> Iterator[Pair]:
    for truth in _cut(bench, "set14", scale):
        yield Pair(bicubic_reduced(truth, scale), truth)


def realistic(bench: Bench, scale: int) -> Iterator[Pair]:
    """A small photo as a phone stores it: lens, sensor, noise, JPEG at quality 80."""
    for number, truth in enumerate(_cut(bench, "photo_gt", scale)):
        small = reduced(convolved(truth, gaussian(0.4 * scale)), scale)
        yield Pair(jpeg(noisy(small, 2, number), 80), truth)


def _cut(bench: Bench, test_set: str, scale: int) -> Iterator[Floats]:
    for path in bench.pictures(test_set):
        truth = pixels(path)
        yield truth[: truth.shape[0] // scale * scale, : truth.shape[1] // scale * scale]


def results(bench: Bench, small: Floats, scale: int) -> list[Floats]:
    """Bicubic, Lanczos, ours, each as an 8-bit file."""
    ours = bench.answer(f"upscale-{scale}", small)
    return [rounded(r) for r in (enlarged(small, scale, BICUBIC), enlarged(small, scale, LANCZOS), ours)]


def row(bench: Bench, name: str, pairs: Iterator[Pair], scale: int, reference: str = "") -> list[str]:
    def judge(pair: Pair) -> list[float]:
        inner = np.s_[scale:-scale, scale:-scale]
        truth = luma(pair.truth)[inner]
        lumas = [luma(r)[inner] for r in results(bench, pair.small, scale)]
        return [psnr(y, truth) for y in lumas] + [ssim(y, truth) for y in lumas]

    figures = means(judge, pairs)
    return told([name, *(f"{v:.2f}" for v in figures[:3]), *(f"{v:.3f}" for v in figures[3:]), reference])


def edges() -> Iterator[tuple[Pair, float]]:
    """Straight edges in twelve directions and two contrasts, and the angle of each."""
    side = 48
    for contrast in (0.2, 0.7):
        for angle in np.radians(np.arange(7, 187, 15)):
            fine = 8
            y, x = (np.mgrid[: side * fine, : side * fine] + 0.5) / fine - side / 2
            bright = (x * np.cos(angle) + y * np.sin(angle)) > 0
            small = reduced((0.5 + contrast * (bright - 0.5)).astype(np.float32)[:, :, None], fine)
            yield Pair(np.repeat(rounded(small), 3, axis=2), small), float(angle)


def edge_row(bench: Bench, scale: int) -> list[str]:
    def judge(one: tuple[Pair, float]) -> list[float]:
        centre = (one[0].small.shape[0] * scale - 1) / 2
        return [edge_width(r, one[1], (centre, centre)) for r in results(bench, one[0].small, scale)]

    return told([f"×{scale}: width of an edge, pixels", *(f"{v:.2f}" for v in means(judge, edges()))])


def print_row(bench: Bench, scale: int) -> list[str]:
    size = LETTERS_PX[scale]

    def judge(number: int) -> list[float]:
        sheet = page(FONTS[number % len(FONTS)], size, (420, 240), number)
        small = jpeg(sheet.picture, 85)
        return [reading_error(r, sheet.text) for r in results(bench, small, scale)]

    figures = means(judge, range(0, len(FONTS), bench.every))
    return told([f"×{scale}: small print of {size} px, characters misread", *(f"{100 * v:.1f} %" for v in figures)])


DIRT: dict[str, Callable[[Floats, int], Floats]] = {
    "noise 20": lambda small, number: noisy(small, 20, number),
    "JPEG 30": lambda small, _number: jpeg(small, 30),
}


def dirty_row(bench: Bench, name: str) -> list[str]:
    """Bicubic, the network alone, and the mode, which cleans first."""

    def judge(one: tuple[int, Floats]) -> list[float]:
        number, truth = one
        small = rounded(DIRT[name](reduced(truth, 2), number))
        by_network = rounded(bench.answer("upscale-2", small))
        results = (rounded(enlarged(small, 2, BICUBIC)), by_network, by_mode("upscale", small)[0])
        return [psnr(luma(result), luma(truth)) for result in results]

    truths = enumerate(list(_cut(bench, "photo_gt", 2))[::2])
    return told([f"×2, {name}", *(f"{v:.2f}" for v in means(judge, truths))])


def section(bench: Bench) -> str:
    scales = [scale for scale in (2, 4) if bench.has(f"upscale-{scale}")]
    rows, sharpness = [], []
    for scale in scales:
        rows += [
            row(bench, f"Set5 ×{scale}", set5(bench, scale), scale, REFERENCES.get(("Set5", scale), "")),
            row(bench, f"Set14 ×{scale}", set14(bench, scale), scale, REFERENCES.get(("Set14", scale), "")),
            row(bench, f"realistic ×{scale}", realistic(bench, scale), scale),
        ]
        sharpness += [edge_row(bench, scale), print_row(bench, scale)]
    head = ["set", "bicubic dB", "Lanczos dB", "ours dB", "bicubic SSIM", "Lanczos SSIM", "ours SSIM", "published, dB"]
    return (
        "PSNR and SSIM of BT.601 luma (16..235) with a border of the factor left out; every result rounded to 8 bits. "
        "Set5 was reduced by its authors with Matlab's bicubic, Set14 here with the same kernel. Realistic: photo_gt "
        "blurred (Gaussian of 0.4 pixels of the small picture), averaged down, noise of 2 levels, JPEG 80: there a "
        "network that has seen only bicubic reductions enlarges the damage. Published figures are of networks trained "
        "for bicubic reduction alone.\n\n"
        + table(head, rows)
        + "\n\nEdge: 10 to 90 % of the rise of drawn straight edges. Small print: what Tesseract misreads in enlarged "
        "pages of small letters (JPEG 85) in fonts that no network was trained on.\n\n"
        + table(["what", "bicubic", "Lanczos", "ours"], sharpness)
        + "\n\nHeavier damage (every second picture of photo_gt, luma): the mode takes it out by `general` first.\n\n"
        + table(["damage", "bicubic dB", "network dB", "mode dB"], [dirty_row(bench, name) for name in DIRT])
    )
