"""What one would use without a network, each told what it needs to know: the classic filters of the tables."""

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_local
from skimage.restoration import denoise_nl_means

from benchmarks.bench import Floats, codes, rounded
from benchmarks.damage import Kernel, from_light, to_light
from benchmarks.measures import gain, grey

BICUBIC, LANCZOS = Image.Resampling.BICUBIC, Image.Resampling.LANCZOS


def non_local_means(damaged: Floats, sigma: float, strength: float = 0.8) -> Floats:
    """sigma: the true noise, 8-bit levels. strength: h in units of it."""
    noise = sigma / 255
    return np.asarray(
        denoise_nl_means(
            damaged, h=strength * noise, sigma=noise, fast_mode=True, patch_size=5, patch_distance=6, channel_axis=2
        ),
        dtype=np.float32,
    )


def unsharp(damaged: Floats, sigma: float, amount: float) -> Floats:
    soft = gaussian_filter(damaged, (sigma, sigma, 0))
    return np.asarray(np.clip(damaged + np.float32(amount) * (damaged - soft), 0, 1), np.float32)


def unsharp_like(wanted_gain: float, damaged: Floats, truth: Floats, sigma: float) -> Floats:
    """The unsharp mask whose edges are as steep as those of a result with this gain, if an amount of 20 is enough."""
    low, high = 0.0, 20.0
    for _ in range(10):
        middle = (low + high) / 2
        steeper = gain(unsharp(damaged, sigma, middle), damaged, truth) > wanted_gain
        low, high = (low, middle) if steeper else (middle, high)
    return unsharp(damaged, sigma, high)


def richardson_lucy(damaged: Floats, kernel: Kernel, steps: int = 20) -> Floats:
    """In linear light, where a lens blurs; Richardson 1972, Lucy 1974."""
    up, left = kernel.shape[0] // 2, kernel.shape[1] // 2
    margin = (2 * up + 8, 2 * left + 8)
    light = np.pad(np.maximum(to_light(damaged), 1e-4), (*((m, m) for m in margin), (0, 0)), mode="reflect")
    shape = [next_fast_len(n, real=True) for n in light.shape[:2]]
    spread = np.zeros(shape, np.float32)
    spread[: kernel.shape[0], : kernel.shape[1]] = kernel
    transfer = rfft2(np.roll(spread, (-up, -left), axis=(0, 1)))[:, :, None]
    seen = np.pad(light, (*((0, s - n) for s, n in zip(shape, light.shape[:2], strict=True)), (0, 0)), mode="edge")
    guess = seen.copy()
    for _ in range(steps):
        forecast = irfft2(rfft2(guess, axes=(0, 1)) * transfer, s=shape, axes=(0, 1))
        ratio = seen / np.maximum(forecast, 1e-4)
        guess *= irfft2(rfft2(ratio, axes=(0, 1)) * transfer.conj(), s=shape, axes=(0, 1))
    top, side = margin
    return from_light(guess[top : top + damaged.shape[0], side : side + damaged.shape[1]].astype(np.float32))


def enlarged(picture: Floats, scale: int, resampling: Image.Resampling) -> Floats:
    """By Pillow, in float; libvips enlarges by cubic interpolation whatever kernel it is given."""
    return resized(picture, (picture.shape[1] * scale, picture.shape[0] * scale), resampling)


def bicubic_reduced(picture: Floats, scale: int) -> Floats:
    """Cubic with its support widened by the factor, as the field reduces its test pictures; an 8-bit file."""
    size = (picture.shape[1] // scale, picture.shape[0] // scale)
    return rounded(resized(picture, size, BICUBIC))


def resized(picture: Floats, size: tuple[int, int], resampling: Image.Resampling) -> Floats:
    """size: width, height. Not clipped."""
    channels = [Image.fromarray(np.ascontiguousarray(picture[..., c])).resize(size, resampling) for c in range(3)]
    return np.stack([np.asarray(channel, np.float32) for channel in channels], axis=-1)


def adaptive_threshold(page: Floats) -> Floats:
    """Black on white by the light around (Gaussian window of 41 pixels): what scanner apps do."""
    y = grey(page)
    ink = y < threshold_local(y, 41, method="gaussian", offset=0.05)
    return np.repeat(np.where(ink, 0, 1).astype(np.float32)[:, :, None], 3, axis=2)


def repaired(damaged: Floats, sigma: float, told: npt.NDArray[np.bool_] | None = None) -> Floats:
    """The classic chain for an old print: what differs from a median of 9 × 9 is damage (or `told`: the true mask),
    Telea's inpainting of 2004 fills it, and non-local means takes the grain."""
    import cv2  # noqa: PLC0415 - of the benchmarks' packages alone

    eight = codes(damaged)
    if told is None:
        apart = np.abs(eight.astype(np.int16) - cv2.medianBlur(eight, 9)).max(axis=2)
        told = apart > max(24, 4 * sigma)
    mask = cv2.dilate(told.astype(np.uint8), np.ones((3, 3), np.uint8))
    filled = np.asarray(cv2.inpaint(eight, mask, 3, cv2.INPAINT_TELEA), np.float32) / np.float32(255)
    return non_local_means(filled, sigma) if sigma else filled
