"""Behind full transparency: files hold black there, or anything, and nobody may see it.

A network, or a picture that grows, mixes a pixel with its neighbours. Cut-out hair would get a dark fringe from the
black beside it. So what cannot be seen gets the colours of what can be seen beside it first, and has its own again in
the end.
"""

from typing import Any

import numpy as np

from darkroomd._core import resize
from darkroomd.job import Picture
from darkroomd.scratch import bands, by_bands

# how coarse a view of the visible the invisible is filled from, the nearest first; beyond the last nothing reaches
COARSER = (4, 16, 64)
# of a coarse pixel that must be visible for its colour to count
VISIBLE = 0.05
# so many pixels are worked on at once, as floats, with so many rows above and below
PIXELS_AT_ONCE, REACH = 500_000, 32


def filled(picture: Picture) -> Picture:
    """The photo with the colours of its visible pixels carried on into the fully transparent ones near them.

    The photo itself where nothing is fully transparent.
    """
    if picture.alpha is None or all(picture.alpha[rows].all() for rows in bands(picture.alpha)):
        return picture
    return picture.with_pixels(by_bands(_filled, picture.pixels, picture.alpha))


def put_back(photo: Picture, result: Picture) -> Picture:
    """The result with the photo's own colours behind full transparency; one of another size stays as it is."""
    if photo.alpha is None or photo.pixels.shape != result.pixels.shape:
        return result
    return result.with_pixels(by_bands(_where_visible, result.pixels, photo.pixels, photo.alpha))


def _where_visible(after: Any, before: Any, alpha: Any) -> Any:
    return np.where(alpha == 0, before, after)


def _filled(pixels: Any, alpha: Any) -> Any:
    result = pixels.copy()
    step = max(REACH, PIXELS_AT_ONCE // pixels.shape[1])
    for top in range(0, len(pixels), step):
        rows = slice(max(0, top - REACH), top + step + REACH)
        visible = alpha[rows] > 0
        if visible.all() or not visible.any():
            continue
        inner = slice(top - rows.start, top - rows.start + step)
        result[top : top + step] = _carried_on(pixels[rows], alpha[rows], visible[..., 0])[inner]
    return result


def _carried_on(pixels: Any, alpha: Any, known: Any) -> Any:
    full, full_alpha = (np.float32(np.iinfo(array.dtype).max) for array in (pixels, alpha))
    weight = alpha.astype(np.float32) / full_alpha
    colour = pixels.astype(np.float32) / full * weight
    height, width = known.shape
    result = pixels.copy()
    for factor in COARSER:
        size = max(1, width // factor), max(1, height // factor)
        near, colours = (resize(resize(array, *size), width, height) for array in (weight, colour))
        new = ~known & (near[..., 0] > VISIBLE)
        result[new] = np.rint((colours[new] / near[new]).clip(0, 1) * full).astype(pixels.dtype)
        known = known | new
    return result
