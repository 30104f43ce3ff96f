"""The range from black to white that a photograph had before it faded."""

from functools import partial
from typing import Any

import numpy as np

from darkroomd.scratch import by_bands, sampled

# of the pixels may lie beyond black and beyond white: specks, not the picture
BEYOND = 0.002
MOST_GAIN = 2.5  # more would show the steps of eight bits, and make a fog into a night
BLACK, WHITE = 0.01, 0.99
STEP = 4  # a sixteenth of the pixels tells it


def full_range(pixels: Any) -> Any:
    """Each colour stretched to its full range, so that what has faded is deep and what has yellowed is white again.

    A new array. A picture that has its range already, or hardly any, stays as it is.
    """
    full = 255 if pixels.dtype == np.uint8 else 65535
    codes = np.arange(full + 1) / full
    sample = sampled(pixels, STEP, STEP)
    tables = []
    for channel in range(pixels.shape[2]):
        low, high = np.quantile(sample[..., channel], (BEYOND, 1 - BEYOND)) / full
        gain = min(MOST_GAIN, (WHITE - BLACK) / max(high - low, 1e-6))
        middle = (low + high) / 2
        target = (BLACK + WHITE) / 2 if gain < MOST_GAIN else middle
        stretched = codes if gain <= 1 else (codes - middle) * gain + target
        tables.append(np.rint(stretched.clip(0, 1) * full).astype(pixels.dtype))
    return by_bands(partial(_looked_up, tables), pixels)


def _looked_up(tables: list[Any], pixels: Any) -> Any:
    return np.stack([table[pixels[..., channel]] for channel, table in enumerate(tables)], axis=-1)
