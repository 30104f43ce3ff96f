"""Checks of a result against its original, before anyone sees it. A result that fails is not published."""

import numpy as np
import numpy.typing as npt

from darkroomd._core import linear_from_srgb
from darkroomd.job import GuardResult, Picture

# 256 pixels a cell: the mean of noise with sigma 25 stays within 2 levels, a black patch does not
ROW_STEP = 4
CELL = 32

# the picture's low frequencies may move by this mean CIEDE2000: half of what a viewer notices side by side
COLOUR_LIMIT = 1.0
# and by this much more for each level of noise in the original: noise that is clipped at black and white lifts and
# lowers the means, so that taking it away must move them (0.10 to 0.145 on five pictures, bright and dark, sigma 5..55)
COLOUR_PER_NOISE_LEVEL = 0.15
AREA_PER_NOISE_LEVEL = 0.2
# and no single cell by this: a black or flat tile is ten times beyond it
AREA_LIMIT = 12.0


def guards(before: Picture, after: Picture, noise_sigma: float) -> tuple[GuardResult, ...]:
    """All checks, passed or not. `colour`: mean CIEDE2000 between low frequencies. `area`: the worst area's.

    noise_sigma: what look read in the original, 8-bit levels.
    """
    drift = colour_difference(_low_frequencies(before.pixels), _low_frequencies(after.pixels))
    mean, worst = float(drift.mean()), float(drift.max())
    limits = COLOUR_LIMIT + COLOUR_PER_NOISE_LEVEL * noise_sigma, AREA_LIMIT + AREA_PER_NOISE_LEVEL * noise_sigma
    values = {"colour": mean, "area": worst}
    return tuple(
        GuardResult(name, value, round(limit, 3), value <= limit)
        for (name, value), limit in zip(values.items(), limits, strict=True)
    )


def _low_frequencies(pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Means over cells of CELL × CELL pixels (the last ones up to twice as large), float32 0..1, three channels.

    `reduceat` because it is five times faster than a mean over a reshaped array: 8 ms at 12 megapixels.
    """
    rows = pixels[::ROW_STEP]
    tops, lefts = _starts(rows.shape[0], CELL // ROW_STEP), _starts(rows.shape[1], CELL)
    sums = np.add.reduceat(np.add.reduceat(rows, lefts, axis=1, dtype=np.uint32), tops, axis=0)
    counts = np.diff(tops, append=rows.shape[0])[:, None] * np.diff(lefts, append=rows.shape[1])
    full_scale = 255.0 if pixels.dtype == np.uint8 else 65535.0
    means = sums / (counts[:, :, None] * full_scale)
    return np.ascontiguousarray(np.broadcast_to(means, (*means.shape[:2], 3)), dtype=np.float32)


def _starts(length: int, step: int) -> npt.NDArray[np.int64]:
    """Where cells begin; what does not fill a cell of its own belongs to the last one."""
    return np.arange(0, max(1, length - step + 1), step)


def colour_difference(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """CIEDE2000 between sRGB colours 0..1, (..., 3) -> (...). Sharma, Wu and Dalal 2005, with kL = kC = kH = 1."""
    (l1, a1, b1), (l2, a2, b2) = (np.moveaxis(lab_from_srgb(c), -1, 0) for c in (a, b))
    mean_chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    g = 0.5 * (1 - np.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7)))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    hue_step = (h2 - h1 + 180) % 360 - 180
    hue_step = np.where(c1 * c2 == 0, 0.0, hue_step)
    delta_h = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(hue_step) / 2)
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    mean_h = np.where(c1 * c2 == 0, h1 + h2, (h1 + hue_step / 2) % 360)
    t = (
        1
        - 0.17 * np.cos(np.radians(mean_h - 30))
        + 0.24 * np.cos(np.radians(2 * mean_h))
        + 0.32 * np.cos(np.radians(3 * mean_h + 6))
        - 0.20 * np.cos(np.radians(4 * mean_h - 63))
    )
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    rotation = 60 * np.exp(-(((mean_h - 275) / 25) ** 2))
    r_t = -2 * np.sqrt(mean_c**7 / (mean_c**7 + 25.0**7)) * np.sin(np.radians(rotation))
    x, y, z = (l2 - l1) / s_l, (c2 - c1) / s_c, delta_h / s_h
    return np.asarray(np.sqrt(np.maximum(x**2 + y**2 + z**2 + r_t * y * z, 0)), dtype=np.float64)


# IEC 61966-2-1 primaries, D65 white
XYZ_FROM_RGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab_from_srgb(code: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """CIELAB (D65) of sRGB code values 0..1, (..., 3)."""
    xyz = linear_from_srgb(np.ascontiguousarray(code, dtype=np.float32)).astype(np.float64) @ XYZ_FROM_RGB.T
    relative = xyz / XYZ_FROM_RGB.sum(axis=1)
    f = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)
