"""The light on a page: told by the paper around its letters, and made even, so that the page is white all over."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from darkroomd._core import linear_from_srgb, srgb_from_linear
from darkroomd.job import Box
from darkroomd.scratch import bands, forget, resized, room

# The light is estimated for cells of CELL × CELL pixels of the page with its longer side at REDUCED. What is dark or
# coloured over more than a cell is no paper by itself: paper is where letters are, and what joins it without a step.
REDUCED, CELL = 1024, 16
PAPER_QUANTILE = 0.8  # of a cell's pixels; letters take a third of a cell at most
PAPER_NEAR, PAPER_SHARE = 3, 0.7  # a cell full of ink has less than this share of the light of the brightest so near
STEP = 1.18  # from one cell to the next; the border of a hand's shadow, as wide as three lines, stays below
REACH = 10  # cells beyond the last letters: margins, not the table
# light beside a lamp falls to a tenth over a page; more would show the steps of eight bits as noise
MOST_GAIN = 10.0
WHITE = 0.85  # of linear light, code 237: paper gets this or what its brightest part has, and keeps its grain
BRIGHTEST_QUANTILE = 0.95
SETTLED_PASSES = 600  # of the membrane, from a start that coarser ones have smoothed
PIXELS_AT_ONCE = 500_000

Light = npt.NDArray[np.float32]


def evened(pixels: Any, lines: Sequence[Box]) -> Any:
    """The page as if the same white light fell on all of it: a new array, or `pixels` itself without dark letters.

    pixels: (height, width, 1 or 3), uint8 or uint16. lines: of text on it. Each place is divided by the light on the
    paper there, in linear light, where paper and ink are shares of it; a photograph on the page is brightened with the
    paper around it.
    """
    light = light_on(pixels, lines)
    if light is None:
        return pixels
    brightest = float(np.quantile(light.max(axis=2), BRIGHTEST_QUANTILE))
    gain = np.minimum(max(WHITE, brightest) / light, MOST_GAIN)
    result, full = room(pixels.shape, pixels.dtype), np.float32(255 if pixels.dtype == np.uint8 else 65535)
    height, width = pixels.shape[:2]
    wide = _between(gain, width, axis=1)
    step = max(1, PIXELS_AT_ONCE // width)
    for rows in bands(pixels):
        for top in range(rows.start, rows.stop, step):
            part = slice(top, min(top + step, rows.stop))
            linear = linear_from_srgb(np.ascontiguousarray(pixels[part], np.float32) / full)
            linear *= _between(wide, height, axis=0, part=part)
            result[part] = np.rint(srgb_from_linear(linear) * full).astype(pixels.dtype)
        forget(pixels, result)
    return result


def light_on(pixels: Any, lines: Sequence[Box]) -> Light | None:
    """(rows, columns, channels) of linear light, 0..1, that the paper gives back; None where no dark letters lie."""
    height, width = pixels.shape[:2]
    factor = min(1.0, REDUCED / max(height, width))
    rows, columns = (max(1, round(side * factor / CELL)) for side in (height, width))
    small = resized(pixels, columns * CELL, rows * CELL)
    full = np.float32(255 if pixels.dtype == np.uint8 else 65535)
    cells = linear_from_srgb(small.astype(np.float32) / full).reshape(rows, CELL, columns, CELL, -1)
    cells = np.ascontiguousarray(cells.transpose(0, 2, 1, 3, 4)).reshape(rows, columns, CELL * CELL, -1)
    bright = np.maximum(np.quantile(cells, PAPER_QUANTILE, axis=2), 1e-4).astype(np.float32)
    dark, middle = (np.quantile(cells.mean(axis=3), share, axis=2) for share in (0.05, 0.5))
    grey = bright.mean(axis=2)
    paper = _of(lines, height, width, rows, columns) & (middle > (dark + grey) / 2)
    paper &= grey >= PAPER_SHARE * _largest(np.where(paper, grey, 0), PAPER_NEAR)
    if not paper.any():
        return None
    return np.exp(_membrane(np.log(bright), _joined(paper, bright)))


def _of(lines: Sequence[Box], height: int, width: int, rows: int, columns: int) -> npt.NDArray[np.bool_]:
    """The cells whose middle lies in a line."""
    cells = np.zeros((rows, columns), np.bool_)
    for box in lines:
        top, bottom = box.top * rows / height, (box.top + box.height) * rows / height
        left, right = box.left * columns / width, (box.left + box.width) * columns / width
        cells[int(top) : max(int(top) + 1, round(bottom)), int(left) : max(int(left) + 1, round(right))] = True
    return cells


def _largest(values: Any, reach: int) -> Any:
    """Of each cell and those up to `reach` away."""
    for _ in range(2):
        padded = np.pad(values, ((reach, reach), (0, 0)))
        values = np.max([padded[n : n + len(values)] for n in range(2 * reach + 1)], axis=0).T
    return values


def _joined(paper: npt.NDArray[np.bool_], bright: Light) -> npt.NDArray[np.bool_]:
    """With the cells around it whose light differs by less than a step from that of paper beside them."""
    for _ in range(REACH):
        inside, values = np.pad(paper, 1), np.pad(bright, ((1, 1), (1, 1), (0, 0)))
        joins = np.zeros_like(paper)
        for down, across in ((0, 1), (2, 1), (1, 0), (1, 2)):
            shifted = slice(down, down + paper.shape[0]), slice(across, across + paper.shape[1])
            ratio = bright / np.maximum(values[shifted], 1e-4)
            joins |= inside[shifted] & ((ratio < STEP) & (ratio > 1 / STEP)).all(axis=2)
        paper = paper | joins
    return paper


def _membrane(values: Light, known: npt.NDArray[np.bool_]) -> Light:
    """`values` where they are known, smoothed; elsewhere what a membrane held by them would be."""
    held = known[..., None]
    weight, filled = held.astype(np.float32), np.where(held, values, 0)
    mean = filled.sum(axis=(0, 1)) / weight.sum()
    level = np.where(held, values, mean)
    for passes, hold in ((SETTLED_PASSES, True), (4, False)):
        for _ in range(passes):
            padded = np.pad(level, ((1, 1), (1, 1), (0, 0)), mode="edge")
            around = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
            level = np.where(held, level, around) if hold else (level + around) / 2
    return np.asarray(level, np.float32)


def _between(values: Light, length: int, axis: int, part: slice | None = None) -> Light:
    """Linear between the middles of cells along one axis, for `length` pixels or some of them."""
    count = values.shape[axis]
    wanted = np.arange(*(part or slice(0, length)).indices(length))
    place = np.clip((wanted + 0.5) * count / length - 0.5, 0, count - 1)
    first = np.minimum(place.astype(np.int64), max(0, count - 2))
    share = (place - first).astype(np.float32).reshape((-1, 1) if axis else (-1, 1, 1))
    near, next_one = np.take(values, first, axis), np.take(values, np.minimum(first + 1, count - 1), axis)
    return np.asarray(near * (1 - share) + next_one * share, np.float32)
