"""Damage as cameras and networks do it, for pairs of (damaged, clean) patches.

Every function takes and returns float32 HWC in 0..1 (sRGB code values unless it says linear) and a
`numpy.random.Generator`; the same generator state gives the same damage. Pictures leave a chain
clipped and rounded to 8 bits where a file would have been written, because that is what the product
will be given.
"""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

Patch = npt.NDArray[np.float32]


def linear_from_srgb(code: Patch) -> Patch:
    """IEC 61966-2-1 decoding."""
    low = code / 12.92
    high = ((np.maximum(code, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(code <= 0.04045, low, high).astype(np.float32)


def srgb_from_linear(light: Patch) -> Patch:
    """IEC 61966-2-1 encoding; `light` is clipped to 0..1."""
    light = np.clip(light, 0.0, 1.0)
    low = light * 12.92
    high = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(light <= 0.0031308, low, high).astype(np.float32)


def rounded(patch: Patch) -> Patch:
    """What an 8-bit file keeps of it."""
    return (np.clip(np.rint(patch * 255.0), 0, 255) / 255.0).astype(np.float32)


def blurred(patch: Patch, rng: np.random.Generator, sigma_px: tuple[float, float]) -> Patch:
    """Gaussian softness in linear light, a third of it stretched in one direction."""
    sigma = rng.uniform(*sigma_px)
    sigmas = (sigma, sigma * rng.uniform(0.4, 1.0)) if rng.random() < 0.33 else (sigma, sigma)
    if rng.random() < 0.5:
        sigmas = sigmas[::-1]
    light = gaussian_filter(linear_from_srgb(patch), sigma=(*sigmas, 0), mode="reflect", truncate=3.0)
    return srgb_from_linear(light)


def resized_and_back(patch: Patch, rng: np.random.Generator, factor: tuple[float, float]) -> Patch:
    """The softness of a picture that was once stored smaller."""
    height, width = patch.shape[:2]
    scale = rng.uniform(*factor)
    small = (max(8, round(width * scale)), max(8, round(height * scale)))
    filters = [Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]
    picture = Image.fromarray(np.rint(patch * 255).astype(np.uint8))
    picture = picture.resize(small, filters[rng.integers(4)])
    picture = picture.resize((width, height), filters[rng.integers(1, 4)])
    return np.asarray(picture, dtype=np.float32) / 255.0


def noisy(patch: Patch, rng: np.random.Generator, sigma: tuple[float, float], kinds: dict[str, float]) -> Patch:
    """Sensor and scan noise; `sigma` is the range of its standard deviation in 8-bit levels.

    white: independent per channel, the field's benchmark noise. luma: the same in all channels.
    photon: Poisson-Gaussian, its variance growing with linear light. correlated: what demosaicing,
    in-camera denoising and resizing leave, blotches wider in chroma than in luma.
    """
    level = rng.uniform(*sigma) / 255.0
    kind = rng.choice(list(kinds), p=np.array(list(kinds.values())) / sum(kinds.values()))
    shape = patch.shape
    if kind == "white":
        return patch + level * rng.standard_normal(shape, dtype=np.float32)
    if kind == "luma":
        return patch + level * rng.standard_normal((*shape[:2], 1), dtype=np.float32)
    if kind == "photon":
        light = linear_from_srgb(patch)
        share = rng.uniform(0.3, 1.0)  # of the variance that comes from photons, at mid-grey (0.18)
        variance = level**2 * (share * light / 0.18 + (1 - share))
        # level is meant in code values: at mid-grey the sRGB curve's slope is about 1.3
        return srgb_from_linear(light + np.sqrt(variance) / 1.3 * rng.standard_normal(shape, dtype=np.float32))
    level *= 0.7  # blotches hurt more than grain of the same deviation
    luma = _smooth_noise(rng, (*shape[:2], 1), rng.uniform(0.3, 1.0))
    chroma = _smooth_noise(rng, shape, rng.uniform(0.6, 2.2))
    return patch + level * (luma + rng.uniform(0.2, 1.0) * (chroma - chroma.mean(axis=2, keepdims=True)))


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma_px: float) -> Patch:
    field = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma=(sigma_px, sigma_px, 0), mode="wrap")
    return (field / max(float(field.std()), 1e-6)).astype(np.float32)


def compressed(
    patch: Patch, rng: np.random.Generator, jpeg_quality: tuple[int, int], webp_chance: float, twice: float
) -> Patch:
    """One lossy save, or two whose 8×8 grids do not line up."""
    patch = _saved(patch, rng, jpeg_quality, webp_chance)
    if rng.random() < twice:
        down, right = rng.integers(0, 8, 2)
        shifted = np.pad(patch, ((down, 0), (right, 0), (0, 0)), mode="reflect")
        patch = _saved(shifted, rng, (max(jpeg_quality[0], 40), jpeg_quality[1]), webp_chance)[down:, right:]
    return patch


def _saved(patch: Patch, rng: np.random.Generator, jpeg_quality: tuple[int, int], webp_chance: float) -> Patch:
    picture = Image.fromarray(np.clip(np.rint(patch * 255), 0, 255).astype(np.uint8))
    quality = int(rng.integers(jpeg_quality[0], jpeg_quality[1] + 1))
    file = io.BytesIO()
    if rng.random() < webp_chance:
        picture.save(file, "WEBP", quality=quality, method=1)
    else:
        picture.save(file, "JPEG", quality=quality, subsampling=int(rng.choice([0, 2, 2])))
    return np.asarray(Image.open(file).convert("RGB"), dtype=np.float32) / 255.0


def damaged(patch: Patch, rng: np.random.Generator, damage: dict[str, Any]) -> Patch:
    """A whole history: optics, sensor, file. `damage` is a recipe's block; some patches stay clean."""
    if rng.random() < damage["clean"]:
        return rounded(patch)
    if rng.random() < (blur := damage["blur"])["chance"]:
        patch = blurred(patch, rng, blur["sigma_px"])
    if rng.random() < (resize := damage["resize"])["chance"]:
        patch = resized_and_back(patch, rng, resize["factor"])
    if rng.random() < (noise := damage["noise"])["chance"]:
        patch = noisy(patch, rng, noise["sigma"], noise["kinds"])
    patch = rounded(patch)
    if rng.random() < (compress := damage["compress"])["chance"]:
        patch = compressed(patch, rng, compress["jpeg_quality"], compress["webp_chance"], compress["twice"])
    return patch
