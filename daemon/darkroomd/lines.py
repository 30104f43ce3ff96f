"""Where the lines of text in a picture are, by the detector `lines` (PP-OCRv6); confirmed, as texture is not text."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from darkroomd.device import Detector
from darkroomd.job import Box
from darkroomd.scratch import forget, resized

# the picture is looked at with this longest side: print of 8 pixels on a page of 12 megapixels is still found
LONGEST_SIDE = 1280
SHORTEST_SIDE = 320  # a smaller picture is enlarged to it, at most twice
MULTIPLE = 32
STRONG_NOISE_SIGMA = 30.0

INK = 0.3  # probability from which the detector's map counts as text, as its authors set it
GROW = 1.6  # the map shows the middle of a line; its authors grow it by this much of area over perimeter
# on drawn training pages these find 98 % of the text, 88 % under noise of sigma 20, 82 % under 45, 96 % at JPEG 10, and
# something in 18 % of training photographs, signs included (training/fit_lines.py); a copy without its noise gave 76 %
SCORE = 0.7  # mean probability within the line
TWO_TONES = 0.62  # share of the brightness variance that two tones explain: ink and paper, but not fur
CONTRAST = 20  # between the two tones, 8-bit levels
MOST_STROKES = 10  # changes of tone along the line for each of its heights: texture has more
# a line this many times as high as wide runs downwards, and must be surer: towers and stalks look like one (48 training
# photographs have no more false alarms so)
TALL, TALL_SCORE = 3, 0.8
LARGEST_SHARE = 0.3  # of the picture's shorter side, that a line may be high; a cut-out word may fill its picture
CUT_OUT_HEIGHT = 96


@dataclass(frozen=True, slots=True)
class Candidate:
    """What may be a line, with all that it is confirmed by.

    score: the detector's mean probability within it. two_tones: share of the brightness variance that two tones
    explain. contrast: between these, 8-bit levels. strokes: changes of tone along it for each of its heights.
    """

    box: Box
    score: float
    two_tones: float
    contrast: float
    strokes: float


def lines(pixels: Any, detector: Detector, noise_sigma: float = 0.0) -> tuple[Box, ...]:
    """Every line of text, from top to bottom. pixels: (height, width, 1 or 3), uint8 or uint16, upright.

    noise_sigma: 8-bit levels. In strong noise what is found at half size counts as well, where noise is half as strong:
    pale ink has two tones there that noise hides at full size.
    """
    kept = [found.box for found in candidates(pixels, detector) if confirmed(found)]
    height, width = pixels.shape[:2]
    if noise_sigma >= STRONG_NOISE_SIGMA and min(height, width) >= 2 * MULTIPLE:
        small = resized(pixels, width // 2, height // 2)
        again = [_twice(found.box, width, height) for found in candidates(small, detector) if confirmed(found)]
        kept += [box for box in again if not any(_touch(box, other) for other in kept)]
    return tuple(sorted(kept, key=lambda box: (box.top, box.left)))


def _twice(box: Box, width: int, height: int) -> Box:
    left, top = 2 * box.left, 2 * box.top
    return Box(left, top, min(width - left, 2 * box.width), min(height - top, 2 * box.height))


def _touch(one: Box, other: Box) -> bool:
    """Whether the middle of one lies in the other."""
    x, y = one.left + one.width // 2 - other.left, one.top + one.height // 2 - other.top
    return 0 <= x < other.width and 0 <= y < other.height


def confirmed(found: Candidate) -> bool:
    """Two tones that follow each other along the line as letters do."""
    tall = found.box.height >= TALL * found.box.width
    return (
        found.score >= (TALL_SCORE if tall else SCORE)
        and found.two_tones >= TWO_TONES
        and found.contrast >= CONTRAST
        and found.strokes <= MOST_STROKES
    )


def candidates(pixels: Any, detector: Detector) -> Iterator[Candidate]:
    """What the detector takes for a line of text, and is not too large for one."""
    height, width = pixels.shape[:2]
    longest = max(width, height)
    factor = min(1.0, LONGEST_SIDE / longest) if longest >= SHORTEST_SIDE else min(2.0, SHORTEST_SIDE / longest)
    small = resized(pixels, *(max(MULTIPLE, round(side * factor / MULTIPLE) * MULTIPLE) for side in (width, height)))
    full = 255.0 if pixels.dtype == np.uint8 else 65535.0
    colour = np.broadcast_to(small[..., ::-1], (*small.shape[:2], 3))  # it knows blue, green, red, in -1 .. 1
    tile = np.ascontiguousarray((colour / np.float32(full / 2) - 1).transpose(2, 0, 1)[None], dtype=np.float32)
    (found,) = detector.run(tile).values()
    probability = found[0, 0]
    across, down = width / small.shape[1], height / small.shape[0]
    for left, top, right, bottom, area in components(probability >= INK):
        inside = probability[top:bottom, left:right]
        if min(right - left, bottom - top) < 3:
            continue
        grow = area * GROW / (2 * (right - left + bottom - top))
        box = _box(left - grow, top - grow, right + grow, bottom + grow, across, down, width, height)
        shorter = min(height, width)
        if box.height > max(LARGEST_SHARE * shorter, CUT_OUT_HEIGHT) and box.width > LARGEST_SHARE * shorter:
            continue
        yield Candidate(box, float(inside[inside >= INK].mean()), *_tones(pixels, box))
        forget(pixels)


def _box(
    left: float, top: float, right: float, bottom: float, across: float, down: float, width: int, height: int
) -> Box:
    x, y = max(0, int(left * across)), max(0, int(top * down))
    return Box(x, y, min(width, round(right * across)) - x, min(height, round(bottom * down)) - y)


def _tones(pixels: Any, box: Box) -> tuple[float, float, float]:
    """Of a line: the share that two tones explain, their contrast, and how often they change; no contrast if flat."""
    part = pixels[box.top : box.top + box.height, box.left : box.left + box.width]
    grey = part.mean(axis=2) / (1 if pixels.dtype == np.uint8 else 257)
    if box.height >= TALL * box.width:  # written downwards, or a page that lies on its side
        grey = grey.T
    across, along = grey.shape
    threshold, share = two_tones(grey)
    ink = grey > threshold
    if not 0 < ink.mean() < 1:
        return share, 0.0, 0.0
    middle = ink[across // 4 : max(across // 4 + 1, 3 * across // 4)]
    changes = float(np.median(np.count_nonzero(middle[:, 1:] != middle[:, :-1], axis=1)))
    return share, float(grey[ink].mean() - grey[~ink].mean()), changes * across / along


def two_tones(grey: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The threshold that divides brightness (0..255) best in two, and the share of variance that it explains.

    Otsu 1979. (0, 0) for a flat picture.
    """
    share = np.bincount(np.clip(grey, 0, 255).astype(np.uint8).ravel(), minlength=256) / grey.size
    levels = np.arange(256)
    below, sum_below = np.cumsum(share), np.cumsum(share * levels)
    mean = sum_below[-1]
    variance = float((share * (levels - mean) ** 2).sum())
    if variance < 1e-6:
        return 0.0, 0.0
    both = below * (1 - below)
    between = np.where(both > 1e-12, (mean * below - sum_below) ** 2 / np.maximum(both, 1e-12), 0.0)
    best = int(between.argmax())
    return best + 0.999, float(between[best]) / variance


def components(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int, int, int, int]]:
    """(left, top, right, bottom, pixels) of every connected part, where sides touch; right and bottom are exclusive."""
    height = mask.shape[0]
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    first = np.searchsorted(rows, np.arange(height + 1))
    for row in range(1, height):
        above, here = int(first[row - 1]), int(first[row])
        while above < first[row] and here < first[row + 1]:
            if starts[above] < ends[here] and starts[here] < ends[above]:
                parent[root(here)] = root(above)
            if ends[above] < ends[here]:
                above += 1
            else:
                here += 1
    parts: dict[int, list[int]] = {}
    for run in range(len(rows)):
        left, right, row = int(starts[run]), int(ends[run]), int(rows[run])
        part = parts.setdefault(root(run), [left, row, right, row + 1, 0])
        part[0], part[2], part[3] = min(part[0], left), max(part[2], right), max(part[3], row + 1)
        part[4] += right - left
    return [(p[0], p[1], p[2], p[3], p[4]) for p in parts.values()]
