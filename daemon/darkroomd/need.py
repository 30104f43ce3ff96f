"""How much of a step each place of a picture needs: strengths from look's maps, smooth, so that no border shows."""

from typing import Any

import numpy as np
import numpy.typing as npt

from darkroomd._core import mix_cells
from darkroomd.job import MAP_CELL, Maps, Ramp
from darkroomd.scratch import bands, forget, room

Cells = npt.NDArray[np.float32]
LEAST = 0.02  # of a step's strength: less is not to be seen, and not worth a tile


def strengths(where: tuple[tuple[float, tuple[Ramp, ...]], ...], maps: Maps) -> Cells:
    """(rows, columns) of 0..1 for cells of MAP_CELL pixels: the largest of the alternatives in `where`, 1 for none.

    Each is its share times all of its ramps. What a place needs its neighbours get a part of.
    """
    cells = np.ones(maps.noise.shape, np.float32) if not where else np.zeros(maps.noise.shape, np.float32)
    for share, ramps in where:
        one = np.full(maps.noise.shape, share, np.float32)
        for ramp in ramps:
            values = getattr(maps, ramp.map)
            if ramp.map == "detail":  # an edge is treated whole, with the cell that it fades out in
                values = _largest(values)
            one *= np.clip((values - ramp.none) / (ramp.full - ramp.none), 0, 1)
        cells = np.maximum(cells, one)
    cells = _smooth(cells)
    return np.where(cells < LEAST, np.float32(0), cells)


def needed(cells: Cells, left: int, top: int, width: int, height: int) -> bool:
    """Whether any pixel of this part of the picture has a strength above 0."""
    rows = slice(max(0, top // MAP_CELL - 1), (top + height) // MAP_CELL + 2)
    columns = slice(max(0, left // MAP_CELL - 1), (left + width) // MAP_CELL + 2)
    return bool(cells[rows, columns].any())


def blended(before: Any, after: Any, cells: Cells, cell: int = MAP_CELL) -> Any:
    """`before` where cells are 0, `after` where they are 1, in linear light; a giant band by band."""
    pixels = room(before.shape, before.dtype)
    for rows in bands(pixels):
        pixels[rows] = mix_cells(before[rows], after[rows], cells, cell, rows.start)
        forget(before, after)
    return pixels


def _largest(values: Cells) -> Cells:
    """Of each cell and its eight neighbours."""
    for _ in range(2):
        padded = np.pad(values, ((1, 1), (0, 0)), mode="edge")
        values = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:]).T
    return values


def _smooth(values: Cells) -> Cells:
    """A quarter, a half and a quarter in both directions."""
    for _ in range(2):
        padded = np.pad(values, ((1, 1), (0, 0)), mode="edge")
        values = ((padded[:-2] + padded[2:]) * np.float32(0.25) + padded[1:-1] * np.float32(0.5)).T
    return np.ascontiguousarray(values)
