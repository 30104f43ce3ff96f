"""The grain of a picture: kept where a network took it away and its surroundings still have it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from darkroomd._core import measure, resize

CELL = 8
AROUND, WITHIN = 0.05, 0.9  # of a mask: cells that the network did not touch, and those that it answers for
LEAST_DIFFERENCE = 1.0  # 8-bit levels of noise that nobody sees
MOST = 0.6  # of what was taken away: more would undo the network
COARSE = 4  # pixels: what the network changed beyond this size is no grain


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


def _noise(pixels: Any, where: npt.NDArray[np.bool_]) -> float | None:
    """Of the quieter cells, 8-bit levels; None where too few cells lie in the area."""
    sigma = measure(pixels, CELL).noise_sigma
    rows, columns = (np.arange(count) * CELL + CELL // 2 for count in sigma.shape)
    chosen = where[np.minimum(rows, where.shape[0] - 1)][:, np.minimum(columns, where.shape[1] - 1)]
    cells = sigma[chosen & np.isfinite(sigma)]
    return float(np.quantile(cells, 0.25)) if cells.size >= 16 else None
