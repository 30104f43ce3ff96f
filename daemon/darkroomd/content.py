"""What a picture shows, coarsely: by faces, lines of text, paper, colour, and how the colours lie in it.

training/fit_content.py has the pictures that the numbers were set on, and how often they are wrong there.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from darkroomd.job import Box, Content, Face
from darkroomd.scratch import sampled

SAMPLED_PIXELS = 200_000
GRID = 64  # samples along each side, by which the layout is told

# shares of the picture: of the largest face in a portrait, of lines of text on a document, of bright paper in one
PORTRAIT_SHARE = 0.04
TEXT_SHARE = 0.06
PAPER_SHARE = 0.45
# how little colour an old photograph has: the spread of Cb and Cr around their common tint, 8-bit levels
FADED_SPREAD_LEVELS = 6.0

# what speaks for a landscape, of `layout`: mean and spread in the training photographs, and the weight
LANDSCAPE = (
    (0.9746, 0.4461, 0.231),
    (0.8886, 0.3437, -0.083),
    (0.7722, 0.3844, -0.450),
    (0.0018, 0.1225, 0.375),
    (-0.0283, 0.1164, -0.323),
    (-0.0335, 0.1133, 0.006),
    (0.0018, 0.1191, -0.092),
    (0.0314, 0.1179, -0.062),
    (0.0331, 0.1163, -0.596),
    (0.2236, 0.1646, -0.134),
    (0.3097, 0.1446, 0.360),
    (0.2661, 0.1473, 0.349),
    (0.0336, 0.2096, 0.063),
    (0.0237, 0.0767, -0.159),
    (0.0223, 0.0783, 0.007),
    (0.0916, 0.0938, -0.587),
    (0.4181, 0.1241, -0.597),
    (0.2216, 0.1245, 0.873),
    (0.1550, 0.0820, 0.630),
    (0.3133, 0.1170, -1.310),
    (0.2376, 0.1748, 0.023),
    (0.1960, 0.1505, -0.534),
    (0.1597, 0.1040, 0.223),
    (0.3725, 0.1982, -0.471),
    (0.3412, 0.1556, 0.150),
    (0.0981, 0.0545, 0.739),
    (0.1082, 0.0705, -0.309),
    (0.2244, 0.1887, -0.464),
    (-1.4069, 0.5434, -0.386),
)
LANDSCAPE_BIAS = -1.208


@dataclass(frozen=True, slots=True)
class Shown:
    """The measures that `content` decides by. luma: of a sample of pixels, 8-bit levels. spread: of chroma around its
    mean, 8-bit levels. paper: share of bright pixels without colour. face, text: shares of the picture.
    """

    luma: npt.NDArray[np.float32]
    spread: float
    paper: float
    face: float
    text: float
    layout: npt.NDArray[np.float32]


def shown(pixels: Any, faces: tuple[Face, ...], text: tuple[Box, ...]) -> Shown:
    """Measure a picture, (height, width, 1 or 3) uint8 or uint16."""
    height, width, channels = pixels.shape
    step = max(1, round((width * height / SAMPLED_PIXELS) ** 0.5))
    luma, chroma = _luma_and_chroma(sampled(pixels, step, step).reshape(-1, channels), pixels.dtype)
    around = np.linalg.norm(chroma - chroma.mean(axis=1, keepdims=True), axis=0)
    paper = (luma >= 0.85 * np.quantile(luma, 0.98)) & (np.abs(chroma).max(axis=0) < 24)
    return Shown(
        luma=luma,
        spread=float(np.quantile(around, 0.9)),
        paper=float(paper.mean()),
        face=max((face.width * face.height for face in faces), default=0.0) / (width * height),
        text=sum(box.width * box.height for box in text) / (width * height),
        layout=layout(pixels),
    )


def content(seen: Shown) -> Content:
    """The kind of picture, by the first that fits."""
    faded = seen.spread < FADED_SPREAD_LEVELS
    if seen.face >= PORTRAIT_SHARE and seen.face > seen.text:  # a wall behind a person may be as white as paper
        return "old photo" if faded else "portrait"
    if seen.text >= TEXT_SHARE or (seen.text and seen.paper >= PAPER_SHARE):
        return "document"
    if faded:
        return "document" if seen.paper >= 1.5 * PAPER_SHARE else "old photo"
    mean, spread, weight = np.array(LANDSCAPE).T
    return "landscape" if float(((seen.layout - mean) / spread) @ weight) + LANDSCAPE_BIAS > 0 else "photo"


def layout(pixels: Any) -> npt.NDArray[np.float32]:
    """How light, colour and structure lie in a picture, the same for its mirror image."""
    rows, columns = (np.linspace(0, length - 1, GRID).round().astype(int) for length in pixels.shape[:2])
    sample = pixels[rows][:, columns]
    luma, chroma = _luma_and_chroma(sample.reshape(-1, sample.shape[2]), sample.dtype)
    y, blue, red = (plane.reshape(GRID, GRID) / 128 for plane in (luma, *chroma))
    rough = np.zeros((GRID, GRID), np.float32)
    rough[:-1] += np.abs(np.diff(y, axis=0))
    rough[:, :-1] += np.abs(np.diff(y, axis=1))
    top, middle, bottom = slice(0, 20), slice(20, 44), slice(44, 64)
    inner = np.zeros((GRID, GRID), bool)
    inner[16:48, 16:48] = True
    colour = np.hypot(blue, red)
    across = np.abs(np.diff(y.mean(axis=1))).max()
    down = np.abs(np.diff(y.mean(axis=0))).max()
    return np.array(
        [
            *(plane[part].mean() for plane in (y, blue, red, rough) for part in (top, middle, bottom)),
            *(plane[inner].mean() - plane[~inner].mean() for plane in (y, colour, red, rough)),
            y.std(), y.mean(axis=1).std(), y.mean(axis=0).std(), y.std(axis=1).mean(), across, down,
            colour.mean(), np.quantile(colour, 0.95), np.abs(y - y[:, ::-1]).mean(), blue.std(), red.std(),
            (rough < 0.03).mean(), np.log(0.01 + rough.mean()),
        ],
        np.float32,
    )  # fmt: skip


def _luma_and_chroma(
    pixels: npt.NDArray[np.generic], dtype: npt.DTypeLike
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Of (n, 1 or 3) pixels: luma (n), and Cb and Cr (2, n), in 8-bit levels."""
    levels = pixels.astype(np.float32) / np.float32(1 if dtype == np.uint8 else 257)
    red, green, blue = levels[:, 0], levels[:, levels.shape[1] // 2], levels[:, -1]
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return luma, np.stack([0.564 * (blue - luma), 0.713 * (red - luma)])
