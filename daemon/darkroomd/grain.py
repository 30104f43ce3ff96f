"""The grain of a picture: kept where its surroundings still have it, and put back where a person wants it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from darkroomd._core import measure, resize
from darkroomd.scratch import forget, giant, room

CELL = 8
AROUND, WITHIN = 0.05, 0.9  # of a mask: cells that the network did not touch, and those that it answers for
LEAST_DIFFERENCE = 1.0  # 8-bit levels of noise that nobody sees
MOST = 0.6  # of what was taken away: more would undo the network
COARSE = 4  # pixels: what the network changed beyond this size is no grain

# film: grains of about 1.5 pixels of a scan, alike in all colours, strongest in the mid-tones
GRAIN_SIZE = 1.5
SHARE_OF_NOISE = 0.6  # of what was there: a scan's noise is not all grain
ROWS_AT_ONCE, OF_A_GIANT = 512, 64  # rows; 20 000 pixels wide, the former would take 600 MB


def with_grain(before: Any, around: Any, answer: Any, mask: npt.NDArray[np.float32]) -> Any:
    """The network's answer with as much of the fine noise that it took from `before` as the surroundings still have.

    around: what the answer is laid over. All (height, width, channels) of one dtype; mask: (height, width).
    """
    outside, inside = _noise(around, mask <= AROUND), _noise(answer, mask >= WITHIN)
    if outside is None or inside is None or outside <= inside + LEAST_DIFFERENCE:
        return answer
    full = 255.0 if before.dtype == np.uint8 else 65535.0
    taken = (before.astype(np.float32) - answer.astype(np.float32)) / full
    height, width = mask.shape
    small = resize(0.5 + taken / 2, max(1, width // COARSE), max(1, height // COARSE))
    fine = taken - (2 * resize(small, width, height) - 1)
    strength = 255 * float(np.median(abs(fine))) / 0.6745
    if strength <= 0:
        return answer
    share = min(MOST, (outside**2 - inside**2) ** 0.5 / strength)
    grained = answer.astype(np.float32) + np.float32(share * full) * fine
    return np.rint(grained.clip(0, full)).astype(before.dtype)


def grained(pixels: Any, noise_sigma: float) -> Any:
    """The picture with film grain as strong as most of the noise it had (8-bit levels, per channel); a new array.

    The same picture gets the same grain each time.
    """
    result = room(pixels.shape, pixels.dtype)
    full = np.float32(255 if pixels.dtype == np.uint8 else 65535)
    random = np.random.default_rng(pixels.shape[:2])
    height, width = pixels.shape[:2]
    at_once = OF_A_GIANT if giant(pixels.nbytes) else ROWS_AT_ONCE
    for top in range(0, height, at_once):
        part = pixels[top : top + at_once].astype(np.float32) / full
        rows = part.shape[0]
        size = max(1, round(rows / GRAIN_SIZE)), max(1, round(width / GRAIN_SIZE)), 1
        coarse = random.normal(0.5, 0.125, size).astype(np.float32)  # clipped at four sigma
        field = resize(coarse, width, rows) - 0.5
        strength = SHARE_OF_NOISE * noise_sigma / 255 / max(float(field.std()), 1e-6)
        middle = 4 * part * (1 - part)
        result[top : top + rows] = np.rint((part + strength * middle * field).clip(0, 1) * full)
        forget(pixels, result)
    return result


def _noise(pixels: Any, where: npt.NDArray[np.bool_]) -> float | None:
    """Of the quieter cells, 8-bit levels; None where too few cells lie in the area."""
    sigma = measure(pixels, CELL).noise_sigma
    rows, columns = (np.arange(count) * CELL + CELL // 2 for count in sigma.shape)
    chosen = where[np.minimum(rows, where.shape[0] - 1)][:, np.minimum(columns, where.shape[1] - 1)]
    cells = sigma[chosen & np.isfinite(sigma)]
    return float(np.quantile(cells, 0.25)) if cells.size >= 16 else None
