"""Pictures for tests: made by arithmetic, so that they need no file; and real ones, from scikit-image's package."""

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyvips

from darkroomd import original
from darkroomd.job import Limits, Picture
from darkroomd.picture import decoded

ALLOWED = Limits()
Picture8 = npt.NDArray[np.uint8]


def scene(width: int, height: int, seed: int = 0) -> Picture8:
    """A sharp, clean scene: a sky, hills with texture, a house. (height, width, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    sky = np.stack([120 + 60 * y / height, 150 + 50 * y / height, 210 + 20 * y / height], axis=2)
    hill = (y > height * (0.55 + 0.1 * np.sin(6 * x / width + seed)))[..., None]
    grain = rng.normal(0, 1, (height // 4 + 1, width // 4 + 1, 1)).repeat(4, 0).repeat(4, 1)[:height, :width]
    picture = np.where(hill, np.array([60.0, 110.0, 50.0]) + 18 * grain, sky)
    house = (abs(x - width / 2) < width / 8) & (y > height / 2) & (y < height * 0.8)
    picture[house] = [190, 80, 60]
    window = (
        house & ((x.astype(int) // max(1, width // 32)) % 2 == 0) & ((y.astype(int) // max(1, height // 24)) % 2 == 0)
    )
    picture[window] = [40, 40, 60]
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def with_noise(picture: Picture8, sigma: float, seed: int = 1) -> Picture8:
    """Independent noise in every channel, in 8-bit levels."""
    noise = np.random.default_rng(seed).normal(0, sigma, picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def image_of(pixels: npt.NDArray[np.generic]) -> pyvips.Image:
    """The array as a libvips image with the right interpretation."""
    bands, wide = pixels.shape[2] if pixels.ndim == 3 else 1, pixels.dtype == np.uint16
    grey = bands < 3
    interpretation = ("grey16" if wide else "b-w") if grey else ("rgb16" if wide else "srgb")
    return pyvips.Image.new_from_array(pixels).copy(interpretation=interpretation)


def write_jpeg(path: Path, pixels: npt.NDArray[np.generic], quality: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image_of(pixels).jpegsave(str(path), Q=quality)
    return path


def write_png(path: Path, pixels: npt.NDArray[np.generic]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image_of(pixels).pngsave(str(path))
    return path


def read(path: Path) -> npt.NDArray[np.generic]:
    """The pixels of a file, whole, (height, width, bands)."""
    image = pyvips.Image.new_from_buffer(path.read_bytes(), "", fail_on="truncated")
    pixels: npt.NDArray[np.generic] = image.numpy().reshape(image.height, image.width, image.bands)
    return pixels


def psnr(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> float:
    """Peak signal-to-noise ratio of 8-bit pictures, dB."""
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def free_picture(name: str) -> Path:
    """A picture that ships inside scikit-image, which is found but not loaded."""
    package = find_spec("skimage")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "data" / name


def jpeg_bytes(pixels: npt.NDArray[np.generic], quality: int = 90) -> bytes:
    return bytes(image_of(pixels).jpegsave_buffer(Q=quality))


def opened(path: Path, limits: Limits = ALLOWED) -> Picture:
    """As darkroomd opens and decodes a photo; raises what that raises."""
    descriptor = original.opened(path)
    try:
        return decoded(descriptor, limits)
    finally:
        os.close(descriptor)
