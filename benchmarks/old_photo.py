"""Old prints: `old-photo` beside the classic chain of median, inpainting and non-local means."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import binary_dilation, binary_opening

from benchmarks.bench import Bench, Floats, means, pixels, rounded, told
from benchmarks.damage import convolved, gaussian, jpeg
from benchmarks.filters import LANCZOS, non_local_means, repaired, resized
from benchmarks.measures import grey, psnr, ssim
from benchmarks.results import table

TITLE = "Quality: old-photo"
NETWORKS = ("old-photo",)
HELD_BACK = 6  # training leaves every sixth overlay by name to this table (training/recipes.yaml)
SIDE = 512
KINDS = ("scratches", "scratches and grain", "fading, scratches, grain, JPEG", "grain alone", "clean print")
GRAIN_SIGMA = 10.0
WHO = ("input", "Telea told where", "ours")
WIDE_PX = 11  # from here on damage is left on purpose: it looks like what people wear


@dataclass(frozen=True)
class Print:
    """A damaged print, the same print without damage (its tone is kept), where the surface is damaged."""

    damaged: Floats
    truth: Floats
    hurt: npt.NDArray[np.bool_]
    sigma: float


def overlays(data: Path) -> list[Path]:
    return sorted((data.parent / "train" / "damage_overlays").glob("*.png"))[::HELD_BACK]


def prints(bench: Bench, kind: str) -> Iterator[Print]:
    """photo_gt and every second of face_gt, turned into prints: a third grey, a third sepia, a third faded colour."""
    shapes = overlays(bench.data)
    for number, path in enumerate(bench.pictures("photo_gt") + bench.pictures("face_gt")[::2]):
        rng = np.random.default_rng(number)
        truth = rounded(toned(np.clip(resized(pixels(path), (SIDE, SIDE), LANCZOS), 0, 1), number, "fading" in kind))
        damaged, hurt = truth, np.zeros((SIDE, SIDE), bool)
        if "fading" in kind:
            damaged = convolved(damaged, gaussian(0.7))
        if "grain" in kind:
            damaged = damaged + grain(rng, grey(truth))
        if "scratches" in kind:
            damaged, hurt = scratched(damaged, rng, shapes)
        damaged = jpeg(damaged, 80) if "JPEG" in kind else rounded(damaged)
        yield Print(damaged, truth, hurt, GRAIN_SIGMA if "grain" in kind else 0.0)


def toned(picture: Floats, number: int, faded: bool) -> Floats:
    """Grey, sepia, or colour that has lost half of itself; faded: with lifted blacks and a yellow paper."""
    y = grey(picture)[:, :, None]
    low, high = (0.14, 0.88) if faded else (0.03, 0.97)
    if number % 3 == 2:
        tint, base = np.array([1.0, 0.94, 0.84]), y + np.float32(0.5) * (picture - y)
    else:
        tint, base = np.array([1.0, 1.0, 1.0] if number % 3 == 0 else [1.0, 0.9, 0.74]), np.repeat(y, 3, axis=2)
    return np.asarray((low + (high - low) * base) * tint, np.float32)


def grain(rng: np.random.Generator, y: Floats) -> Floats:
    """The same in all channels, a little coarser than a pixel, strongest in the middle tones."""
    field = convolved(rng.standard_normal((*y.shape, 1), dtype=np.float32), gaussian(0.6))
    return np.asarray(field / field.std() * (GRAIN_SIGMA / 255) * (0.4 + 2.4 * y * (1 - y))[:, :, None], np.float32)


def scratched(picture: Floats, rng: np.random.Generator, shapes: list[Path]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Two or three shapes that were held back: paper shows through (light), or dirt lies on it (dark)."""
    hurt = np.zeros(picture.shape[:2], bool)
    for index in range(int(rng.integers(2, 4))):
        shape = Image.open(shapes[int(rng.integers(len(shapes)))]).convert("RGBA").getchannel("A")
        alpha = np.asarray(shape.resize(picture.shape[1::-1], Image.Resampling.BILINEAR), np.float32) / 255
        alpha = np.rot90(alpha, int(rng.integers(4)))[:, :, None]
        shade = 0.9 if index % 2 == 0 else 0.1
        paper = np.array([shade, 0.97 * shade, 0.9 * shade])
        picture = np.asarray(picture * (1 - alpha) + alpha * paper, np.float32)
        hurt |= alpha[:, :, 0] > 0.05
    return picture, hurt


def results(bench: Bench, one: Print) -> list[Floats]:
    """Input, non-local means, classic chain, the same told where the damage is, general, ours."""
    sigma = one.sigma
    denoised = non_local_means(one.damaged, sigma) if sigma else one.damaged
    told_where = repaired(one.damaged, sigma, one.hurt) if one.hurt.any() else denoised
    ours = [bench.answer(name, one.damaged) for name in ("general", "old-photo")]
    return [one.damaged, denoised, repaired(one.damaged, sigma), told_where, *ours]


def row(bench: Bench, kind: str) -> list[str]:
    def judge(one: Print) -> list[float]:
        found = [np.clip(r, 0, 1) for r in results(bench, one)]
        whole = [psnr(r, one.truth) for r in found] + [ssim(found[0], one.truth), ssim(found[-1], one.truth)]
        wide = binary_opening(one.hurt, np.ones((WIDE_PX, WIDE_PX), bool))
        wide = binary_dilation(wide, iterations=3) & one.hurt
        three = found[0], found[3], found[-1]
        hurt = [psnr(r, one.truth, m) if m.any() else np.nan for m in (one.hurt & ~wide, wide) for r in three]
        untouched = ~binary_dilation(one.hurt, iterations=6)
        return [*whole, *hurt, psnr(found[-1], one.damaged, untouched)]

    figures = means(judge, prints(bench, kind))
    cells = [f"{v:.2f}" for v in figures[:6]] + [f"{v:.3f}" for v in figures[6:8]]
    return told([kind, *cells, *("" if np.isnan(v) else f"{v:.2f}" for v in figures[8:14]), f"{figures[14]:.2f}"])


def section(bench: Bench) -> str:
    head = ["damage", "input dB", "NLM dB", "median + Telea + NLM dB", "Telea told where + NLM dB", "general dB"]
    head += ["ours dB", "input SSIM", "ours SSIM"]
    head += [f"{where}{who} dB" for where in ("in thin damage: ", "in wide damage: ") for who in WHO]
    head += ["elsewhere dB"]
    return (
        f"Prints of {SIDE} × {SIDE} pixels made of photo_gt and face_gt: grey, sepia or half-faded colour, damaged "
        "with scratches, hairs, dust, stains that training left out, film grain of "
        f"{GRAIN_SIGMA:g} levels, softness and JPEG 80. The truth is the print before the damage, so its tone counts "
        "as right. The classic chain finds damage by a median of 9 × 9, fills it by Telea's inpainting and is told the "
        "grain; the next column is told where the damage is as well. Thin damage: scratches, hairs, dust and the rims "
        f"of what is wider than {WIDE_PX} pixels; wide: the rest, which `old-photo` leaves on purpose. Elsewhere: our "
        "result against the input where nothing was damaged (only telling where there is no grain and no JPEG).\n\n"
        + table(head, [row(bench, kind) for kind in KINDS])
    )
