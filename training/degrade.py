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
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter, grey_opening
from scipy.signal import fftconvolve

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


def out_of_focus(patch: Patch, rng: np.random.Generator, radius_px: tuple[float, float]) -> Patch:
    """A lens set to another distance: a disc of light for every point, its rim drawn by coverage."""
    radius = rng.uniform(*radius_px)
    reach = int(np.ceil(radius + 0.5))
    across = np.arange(-reach, reach + 1)
    return _spread(patch, rng, np.clip(radius + 0.5 - np.hypot(across[:, None], across), 0.0, 1.0))


def moved(patch: Patch, rng: np.random.Generator, length_px: tuple[float, float]) -> Patch:
    """The camera moved while the shutter was open: half of the paths straight, half wandering like a hand."""
    length = rng.uniform(*length_px)
    steps = max(8, int(4 * length))
    heading = rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.5:
        headings = np.full(steps, heading)
    else:
        headings = heading + np.cumsum(rng.normal(0, rng.uniform(0.05, 0.6) * np.sqrt(8 / steps), steps))
    path = np.cumsum(np.stack([np.sin(headings), np.cos(headings)], axis=1) * (length / steps), axis=0)
    path -= (path.max(axis=0) + path.min(axis=0)) / 2
    reach = int(np.ceil(np.abs(path).max())) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    corner = np.floor(path).astype(int)
    part = path - corner
    for down in (0, 1):  # each point of the path is shared among the four pixels around it
        for right in (0, 1):
            share = np.abs(1 - down - part[:, 0]) * np.abs(1 - right - part[:, 1])
            np.add.at(kernel, (corner[:, 0] + reach + down, corner[:, 1] + reach + right), share)
    return _spread(patch, rng, kernel)


def _spread(patch: Patch, rng: np.random.Generator, kernel: npt.NDArray[np.float64]) -> Patch:
    """Light spread by a kernel. Every fourth time what is nearly white was brighter than the sensor could tell."""
    light = linear_from_srgb(patch)
    if rng.random() < 0.25:
        light = light * np.where(light > 0.9, np.float32(rng.uniform(1.5, 4.0)), np.float32(1.0))
    reach = kernel.shape[0] // 2
    wide = np.pad(light, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    kernel = kernel / kernel.sum()
    spread = fftconvolve(wide, kernel[:, :, None].astype(np.float32), mode="valid", axes=(0, 1))
    return srgb_from_linear(spread.astype(np.float32))


def reduced(patch: Patch, rng: np.random.Generator, scale: int, filters: dict[str, float]) -> Patch:
    """The patch at 1/scale of its sides (they divide), by one of Pillow's filters chosen by its share."""
    names = list(filters)
    name = names[rng.choice(len(names), p=np.array([filters[n] for n in names]) / sum(filters.values()))]
    size = (patch.shape[1] // scale, patch.shape[0] // scale)
    channels = [
        Image.fromarray(np.ascontiguousarray(patch[..., c])).resize(size, Image.Resampling[name.upper()])
        for c in range(patch.shape[2])
    ]
    return np.clip(np.stack([np.asarray(c) for c in channels], axis=-1), 0.0, 1.0)


def oversharpened(patch: Patch, rng: np.random.Generator, amount: tuple[float, float]) -> Patch:
    """What cameras and phones do before they save: unsharp masking, with its halos."""
    low = gaussian_filter(patch, sigma=(s := rng.uniform(0.6, 1.4), s, 0), mode="reflect", truncate=3.0)
    return np.clip(patch + np.float32(rng.uniform(*amount)) * (patch - low), 0.0, 1.0).astype(np.float32)


def toned(
    patch: Patch, rng: np.random.Generator, shares: dict[str, float], hard: dict[str, Any] | None = None
) -> Patch:
    """The colours of an old print: grey, one tint from shadows to paper (sepia), faded colour, or as they are.

    hard: the chance that its contrast is so high, by a gain in a range, that large parts are plain white and black.
    """
    kind = rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values()))
    grey = (patch @ np.array([0.299, 0.587, 0.114], dtype=np.float32))[..., None]
    black, white = rng.uniform(0.0, 0.22), rng.uniform(0.72, 1.0)
    if hard is not None and rng.random() < hard["chance"]:
        gain, middle = np.float32(rng.uniform(*hard["gain"])), np.float32(rng.uniform(0.35, 0.6))
        patch, grey = (np.clip(0.5 + gain * (one - middle), 0, 1) for one in (patch, grey))
        black, white = rng.uniform(0.0, 0.05), rng.uniform(0.95, 1.0)
    if kind == "grey":
        tint = np.array([1.0, 1.0, 1.0])
        patch = np.repeat(grey, 3, axis=2)
    elif kind == "sepia":
        tint = np.array([1.0, rng.uniform(0.82, 0.97), rng.uniform(0.6, 0.9)])
        patch = np.repeat(grey, 3, axis=2)
    elif kind == "faded":
        tint = np.array([1.0, rng.uniform(0.85, 1.0), rng.uniform(0.75, 1.0)])[rng.permutation(3)]
        patch = grey + np.float32(rng.uniform(0.3, 0.8)) * (patch - grey)
    else:
        return patch
    return ((black + (white - black) * patch) * tint).astype(np.float32)


def scratched(
    patch: Patch,
    rng: np.random.Generator,
    overlays: list[npt.NDArray[np.uint8]],
    count: tuple[int, int],
    dark: float = 0.35,
    widest_px: tuple[int, int] | None = None,
) -> Patch:
    """Dirt, hairs, dust, stains and scratches from scans (alpha of the overlays), and drawn creases and scratches.

    Where the surface is gone the paper shows (light), where something lies on it the scan is dark. dark: the share of
    the latter. widest_px: of light and of dark damage; what is wider is left out of an overlay, because a wide light
    spot looks like a white hat and a wide dark one like a coat, and a network that has learned to take them away takes
    away hats and coats.
    """
    side = patch.shape[0]
    for _ in range(rng.integers(count[0], count[1] + 1)):
        creased = rng.random() < 0.3
        alpha = _crease(rng, side) if creased else _overlay(rng, side, overlays[rng.integers(len(overlays))])
        light = rng.random() < 1 - dark
        colour = rng.uniform(0.75, 1.0) if light else rng.uniform(0.0, 0.25)
        if widest_px is not None and not creased:
            widest = widest_px[0 if light else 1]
            alpha = alpha - grey_opening(alpha, size=(widest, widest))
        shade = np.array([1.0, rng.uniform(0.93, 1.0), rng.uniform(0.8, 1.0)], dtype=np.float32) * np.float32(colour)
        alpha = np.clip(alpha * np.float32(rng.uniform(0.6, 1.3)), 0, 1)[..., None]
        patch = patch * (1 - alpha) + shade * alpha
    return patch.astype(np.float32)


def _overlay(rng: np.random.Generator, side: int, alpha: npt.NDArray[np.uint8]) -> Patch:
    reach = int(min(alpha.shape[0], side * rng.uniform(0.7, 2.5)))
    top, left = rng.integers(0, alpha.shape[0] - reach + 1), rng.integers(0, alpha.shape[1] - reach + 1)
    piece = Image.fromarray(np.ascontiguousarray(alpha[top : top + reach, left : left + reach]))
    piece = piece.resize((side, side), Image.Resampling.BILINEAR)
    return np.rot90(np.asarray(piece, dtype=np.float32) / 255, rng.integers(4))


def _crease(rng: np.random.Generator, side: int) -> Patch:
    """A line across the patch, bent a little, broken here and there."""
    along = np.linspace(-0.1, 1.1, 24)
    heading = rng.uniform(0, np.pi)
    bend = np.cumsum(rng.normal(0, rng.uniform(0.0, 0.012), along.size))
    middle = rng.uniform(0.1, 0.9, 2)
    x = (middle[0] + (along - 0.5) * 1.6 * np.cos(heading) - bend * np.sin(heading)) * side
    y = (middle[1] + (along - 0.5) * 1.6 * np.sin(heading) + bend * np.cos(heading)) * side
    sheet = Image.new("L", (2 * side, 2 * side))
    width = int(rng.choice([1, 2, 2, 3, 5, 9]))
    ImageDraw.Draw(sheet).line([(2 * a, 2 * b) for a, b in zip(x, y, strict=True)], fill=255, width=width)
    line = np.asarray(sheet.resize((side, side), Image.Resampling.BOX), dtype=np.float32) / 255
    breaks = gaussian_filter(rng.standard_normal((side, side), dtype=np.float32), rng.uniform(1.5, 8.0))
    return line * (breaks > rng.uniform(-1.5, 0.3) * breaks.std())


def grainy(patch: Patch, rng: np.random.Generator, sigma: tuple[float, float]) -> Patch:
    """Film grain: the same in all channels, some of it coarser than a pixel, strongest in the middle tones."""
    grain = _smooth_noise(rng, (*patch.shape[:2], 1), rng.uniform(0.25, 1.3))
    luma = (patch @ np.array([0.299, 0.587, 0.114], dtype=np.float32))[..., None]
    strength = np.float32(rng.uniform(*sigma) / 255) * (0.4 + 2.4 * luma * (1 - luma))
    return (patch + strength * grain).astype(np.float32)


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


def stored_small(
    patch: Patch,
    rng: np.random.Generator,
    factor: tuple[float, float],
    sigma: tuple[float, float],
    jpeg_quality: tuple[int, int],
) -> Patch:
    """A small picture, with noise and JPEG blocks of its own, that somebody enlarged: those are enlarged with it."""
    height, width = patch.shape[:2]
    scale = rng.uniform(*factor)
    small = (max(8, round(width * scale)), max(8, round(height * scale)))
    filters = [Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]
    picture = Image.fromarray(np.rint(patch * 255).astype(np.uint8)).resize(small, filters[rng.integers(4)])
    there = np.asarray(picture, dtype=np.float32) / 255
    there = there + np.float32(rng.uniform(*sigma) / 255) * rng.standard_normal(there.shape, dtype=np.float32)
    picture = Image.fromarray(np.rint(255 * _saved(rounded(there), rng, jpeg_quality, 0.0)).astype(np.uint8))
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
    patch: Patch,
    rng: np.random.Generator,
    jpeg_quality: tuple[int, int],
    webp_chance: float,
    twice: float,
    cropped: float = 0.0,
) -> Patch:
    """One lossy save, or two whose 8×8 grids do not line up. cropped: how often the grid begins elsewhere."""
    if cropped and rng.random() < cropped:
        down, right = rng.integers(0, 8, 2)
        wide = np.pad(patch, ((down, 0), (right, 0), (0, 0)), mode="reflect")
        patch = _saved(wide, rng, jpeg_quality, webp_chance)[down:, right:]
    else:
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


def damaged(
    patch: Patch, rng: np.random.Generator, damage: dict[str, Any], overlays: list[npt.NDArray[np.uint8]]
) -> Patch:
    """A whole history: optics, surface, sensor, size, file. `damage` is a recipe's block; some patches stay clean.

    A block has `clean`, and any of the others; what it lacks does not happen. `reduce` makes the patch smaller.
    `alone` has the chance that one kind of damage comes without the others, the share of each kind, and which may
    come `beside` it all the same.
    """
    clean = rng.random() < damage["clean"]
    alone = _alone(rng, damage["alone"]) if "alone" in damage else None

    def happens(kind: str) -> bool:
        if clean or kind not in damage:
            return False
        if alone is not None and kind not in damage["alone"].get("beside", []):
            return kind == alone
        return bool(rng.random() < damage[kind]["chance"])

    if happens("focus"):
        patch = out_of_focus(patch, rng, damage["focus"]["radius_px"])
    if happens("motion"):
        patch = moved(patch, rng, damage["motion"]["length_px"])
    if happens("blur"):
        patch = blurred(patch, rng, damage["blur"]["sigma_px"])
    if happens("grain"):
        patch = grainy(patch, rng, damage["grain"]["sigma"])
    if happens("scratches"):
        block = damage["scratches"]
        patch = scratched(patch, rng, overlays, block["count"], block.get("dark", 0.35), block.get("widest_px"))
    if "reduce" in damage:
        patch = reduced(patch, rng, damage["reduce"]["scale"], damage["reduce"]["filters"])
    if happens("small"):
        block = damage["small"]
        patch = stored_small(patch, rng, block["factor"], block["sigma"], block["jpeg_quality"])
    if happens("resize"):
        patch = resized_and_back(patch, rng, damage["resize"]["factor"])
    if happens("sharpen"):
        patch = oversharpened(patch, rng, damage["sharpen"]["amount"])
    if happens("noise"):
        patch = noisy(patch, rng, damage["noise"]["sigma"], damage["noise"]["kinds"])
    patch = rounded(patch)
    if happens("compress"):
        block = damage["compress"]
        patch = compressed(
            patch, rng, block["jpeg_quality"], block["webp_chance"], block["twice"], block.get("cropped", 0.0)
        )
    return patch


def _alone(rng: np.random.Generator, block: dict[str, Any]) -> str | None:
    """The one kind of damage that happens, or None for any that come together."""
    if rng.random() >= block["chance"]:
        return None
    shares = np.array(list(block["kinds"].values()))
    return str(rng.choice(list(block["kinds"]), p=shares / shares.sum()))
