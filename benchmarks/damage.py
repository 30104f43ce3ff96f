"""Damage whose truth is known, made for judging and apart from the code that trains: blur and light in linear light,
everything rounded to 8 bits where a file would be written. The same number gives the same noise."""

import numpy as np
import numpy.typing as npt
import pyvips
from scipy.ndimage import map_coordinates
from scipy.signal import fftconvolve

from benchmarks.bench import Floats, codes, floats, rounded
from darkroomd._core import linear_from_srgb, srgb_from_linear

Kernel = npt.NDArray[np.float64]


def gaussian(sigma: float) -> Kernel:
    reach = int(np.ceil(4 * sigma))
    line = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    return np.asarray(np.outer(line, line) / line.sum() ** 2)


def disc(radius: float) -> Kernel:
    """A lens out of focus; 9 × 9 samples a pixel."""
    reach = int(np.ceil(radius))
    fine = (np.arange((2 * reach + 1) * 9) - (2 * reach + 1) * 4.5 + 0.5) / 9
    inside = (fine[:, None] ** 2 + fine**2) <= radius**2
    side = 2 * reach + 1
    kernel = inside.reshape(side, 9, side, 9).mean(axis=(1, 3))
    return np.asarray(kernel / kernel.sum())


def motion(length: float, angle: float) -> Kernel:
    """A straight path of even speed, one pixel wide; angle in radians."""
    reach = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for step in np.linspace(-length / 2, length / 2, int(20 * length)):
        x, y = reach + step * np.cos(angle), reach + step * np.sin(angle)
        left, top = int(x), int(y)
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            kernel[top + dy, left + dx] += (1 - abs(x - left - dx)) * (1 - abs(y - top - dy))
    return np.asarray(kernel / kernel.sum())


def to_light(picture: Floats) -> Floats:
    return np.asarray(linear_from_srgb(np.ascontiguousarray(np.clip(picture, 0, 1), np.float32)), np.float32)


def from_light(light: Floats) -> Floats:
    return np.asarray(srgb_from_linear(np.ascontiguousarray(np.clip(light, 0, 1), np.float32)), np.float32)


def convolved(picture: Floats, kernel: Kernel) -> Floats:
    """Mirrored at the border; no change of colour space."""
    up, left = kernel.shape[0] // 2, kernel.shape[1] // 2
    wide = np.pad(picture, ((up, up), (left, left), (0, 0)), mode="reflect")
    return np.asarray(fftconvolve(wide, kernel[:, :, None], mode="valid", axes=(0, 1)), np.float32)


def blurred(picture: Floats, kernel: Kernel, noise_sigma: float, number: int) -> Floats:
    """In linear light, then noise (8-bit levels), then an 8-bit file."""
    return noisy(from_light(convolved(to_light(picture), kernel)), noise_sigma, number)


def noisy(picture: Floats, sigma: float, number: int, as_file: bool = True) -> Floats:
    """Independent Gaussian noise, 8-bit levels: clipped and rounded as a file holds it, or as the published figures
    have it."""
    noise = np.random.default_rng((number, int(sigma))).standard_normal(picture.shape, dtype=np.float32)
    damaged = picture + noise * np.float32(sigma / 255)
    return rounded(damaged) if as_file else damaged


def jpeg(picture: Floats, quality: int) -> Floats:
    """libjpeg with 4:2:0 chroma, as the published figures have it."""
    image = pyvips.Image.new_from_array(codes(picture), interpretation="srgb")
    return floats(pyvips.Image.new_from_buffer(image.jpegsave_buffer(Q=quality, subsample_mode="on"), ""))


def reduced(picture: Floats, factor: int) -> Floats:
    """Means over factor × factor pixels: what a sensor with larger pixels sees."""
    rows, columns = picture.shape[0] // factor, picture.shape[1] // factor
    cut = picture[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, -1)
    return np.asarray(cut.mean(axis=(1, 3)), np.float32)


def lamp(picture: Floats, number: int) -> Floats:
    """One warm lamp beside the page: bright near it, a fifth of the light at the far corner, and a soft shadow."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]] / max(picture.shape[:2])
    lamp_x, lamp_y = rng.uniform(-0.1, 0.2), rng.uniform(-0.1, 0.2)
    light = 1 / (1 + 3.2 * ((x - lamp_x) ** 2 + (y - lamp_y) ** 2))
    shadow = 1 - 0.45 / (1 + np.exp(-((x * np.cos(0.6) + y * np.sin(0.6)) - rng.uniform(0.6, 0.8)) * 30))
    colour = np.array([1.0, 0.93, 0.78])
    return from_light(to_light(picture) * np.float32(1) * (light * shadow)[:, :, None] * colour)


def turned(picture: Floats, degrees: float) -> Floats:
    """Turned about its centre by cubic interpolation, for edges that do not lie on the grid."""
    angle = np.radians(degrees)
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float64)
    cy, cx = (picture.shape[0] - 1) / 2, (picture.shape[1] - 1) / 2
    sy = cy + (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
    sx = cx + (y - cy) * np.sin(angle) + (x - cx) * np.cos(angle)
    return np.stack([map_coordinates(picture[..., c], (sy, sx), order=3, mode="reflect") for c in range(3)], axis=-1)
