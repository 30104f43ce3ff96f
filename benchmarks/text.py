"""Readability: `text` beside unsharp masking and adaptive thresholds; Tesseract reads."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.bench import Bench, Floats, by_mode, has_mode, means, pixels, rounded, told
from benchmarks.damage import blurred, disc, gaussian, jpeg, lamp, motion, noisy, reduced
from benchmarks.filters import BICUBIC, adaptive_threshold, enlarged, unsharp
from benchmarks.measures import psnr
from benchmarks.page import FONTS, page, read, reading_error
from benchmarks.results import table

TITLE = "Quality: text"
NETWORKS = ("text",)
SIZE, SMALL_SIZE = 20, 13  # pixels; the small letters are for damage that large ones do not feel
SMALL_PRINT = {"half size", "JPEG 10"}
SIDES = (800, 640)


@dataclass(frozen=True)
class Sheet:
    """A damaged page, the page before, what is on it, and the row where the photograph below the text begins."""

    damaged: Floats
    clean: Floats
    text: str
    below: int


def half_size(picture: Floats, _number: int = 0) -> Floats:
    """Stored at half size and brought back."""
    return rounded(enlarged(jpeg(reduced(picture, 2), 90), 2, BICUBIC))


DAMAGE: dict[str, Callable[[Floats, int], Floats]] = {
    "clean": lambda p, _: rounded(p),
    "out of focus": lambda p, n: blurred(p, disc(3.2), 2, n),
    "camera shake": lambda p, n: blurred(p, motion(8, 0.4 + n), 2, n),
    "half size": half_size,
    "JPEG 10": lambda p, _: jpeg(p, 10),
    "noise": lambda p, n: noisy(p, 60, n),
    "lamp light": lambda p, n: jpeg(blurred(lamp(p, n), gaussian(1.2), 9, n), 60),
}


def sheets(bench: Bench, kind: str) -> Iterator[Sheet]:
    """One page for each typeface, with a strip of a photograph below the text."""
    photos = Bench(bench.data, bench.models).pictures("photo_gt")
    for number in range(0, len(FONTS), bench.every):
        strip = np.concatenate([pixels(photos[(2 * number + side) % len(photos)])[:160] for side in (0, 1)], axis=1)
        one = page(FONTS[number], SMALL_SIZE if kind in SMALL_PRINT else SIZE, SIDES, number, strip)
        yield Sheet(DAMAGE[kind](one.picture, number), one.picture, one.text, one.below)


def results(bench: Bench, damaged: Floats) -> list[Floats]:
    """Input, unsharp, adaptive threshold, general, text; and mode text, where it is there."""
    networks = [rounded(bench.answer(name, damaged)) for name in ("general", "text")]
    mode = [by_mode("text", damaged)[0]] if has_mode("text") else []
    return [damaged, rounded(unsharp(damaged, 2, 1.5)), adaptive_threshold(damaged), *networks, *mode]


def row(bench: Bench, kind: str) -> list[str]:
    def judge(sheet: Sheet) -> list[float]:
        found = results(bench, sheet.damaged)
        errors = [100 * reading_error(r[: sheet.below], sheet.text) for r in found]
        page_db = [psnr(r[: sheet.below], sheet.clean[: sheet.below]) for r in (found[0], found[4])]
        below = [255 * float(np.abs(r - sheet.damaged)[sheet.below + 16 :].mean()) for r in found[4:]]
        return [*errors, *page_db, *below]

    figures = means(judge, sheets(bench, kind))
    split = 6 if has_mode("text") else 5
    return told([kind, *(f"{v:.1f}" for v in figures[:split]), *(f"{v:.2f}" for v in figures[split:])])


def even_row(bench: Bench) -> list[str]:
    """Mode text when it is told that the light is uneven."""

    def judge(sheet: Sheet) -> list[float]:
        result, _ = by_mode("text", sheet.damaged, light="even")
        return [100 * reading_error(result[: sheet.below], sheet.text)]

    (error,) = means(judge, sheets(bench, "lamp light"))
    return told(["lamp light, `light: even`", *[""] * 5, f"{error:.1f}", *[""] * 4])


def real(bench: Bench) -> Iterator[Sheet]:
    """Scanned receipts, made worse; what Tesseract reads in the scan itself stands for the truth."""
    for number, path in enumerate(p for p in bench.pictures("real_text") if p.stem in RECEIPTS):
        scan = pixels(path)
        yield Sheet(half_size(blurred(scan, gaussian(0.8), 4, number)), scan, read(scan), scan.shape[0])


RECEIPTS = {"036", "044", "047", "053", "055", "405", "414"}


def real_row(bench: Bench) -> list[str]:
    def judge(sheet: Sheet) -> list[float]:
        return [100 * reading_error(r, sheet.text) for r in results(bench, sheet.damaged)]

    figures = means(judge, real(bench))
    return told(["receipts, half size", *(f"{v:.1f}" for v in figures), *[""] * (len(figures) - 2)])


def section(bench: Bench) -> str:
    mode = ["mode text"] if has_mode("text") else []
    even = [even_row(bench)] if mode else []
    head = ["damage", "input", "unsharp", "adaptive threshold", "general", "ours", *mode]
    head += ["input dB", "ours dB", "change beside the text: ours", *mode]
    return (
        f"Characters misread in percent (edits per character, Tesseract with its English data), {len(FONTS)} pages of "
        f"{SIDES[0]} × {SIDES[1]} pixels, letters of {SIZE} px ({SMALL_SIZE} px for half size and JPEG) in as many "
        "typefaces that training does not draw, a strip of photograph below the text. General, ours: the network over "
        "the whole page; mode text: what the product makes "
        "of the file. dB: PSNR of the part with text. Change: mean difference, in 8-bit levels, between result and "
        "input in the photograph. Receipts: scans (SROIE 2019) blurred, noisy, stored at half size; the reading of the "
        "scan itself stands for the truth. In noise mode text cleans what is around the letters as well.\n\n"
        + table(head, [*(row(bench, kind) for kind in DAMAGE), *even, real_row(bench)])
    )
