"""What the network that looks sees: tiles of a picture at full, half and quarter scale, and their answers summed up.

training/look.py has the network. It answers for each tile how noisy, soft and compressed it is, and how sure it is of
each; sums are weighted by that, so that a flat tile does not speak of blur. The quantiles and the factor were set on
training photographs that the network had not seen.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkroomd.scratch import forget

TILE = 128
LEAST_TILE = 32
# tiles at full, half and quarter scale: 66 tiles took 0.1 s on two cores, less than 2 % of the enhancement
MOST_TILES = (96, 12, 6)
# sharpness is read in this share of the tiles, those with the strongest edges: what is out of focus on purpose is left
EDGED_SHARE = 0.5
# beyond this the next coarser scale sees the blur better
BLUR_SEEN_UP_TO = 3.0
# it reads noise 6 % too low at every strength, because of the kinds it has learned beside the even one
NOISE_PER_READ = 1.06
NOISE_QUANTILE = 0.6
# grain was rare in training, and over a whole picture it answers 0.1 where the chances are even: noise gave up to 0.09
GRAIN_EVEN = 0.1
QUALITY_QUANTILE = 0.65

Floats = npt.NDArray[np.float32]
Ask = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class Seen:
    """One summary of a picture, and the tiles that it was made of.

    noise_sigma: 8-bit levels. blur_sigma: pixels, the Gaussian blur of the same width. quality: of the strongest JPEG
    compression that shows, 100 for none. motion, grain: how likely the blur is movement and the noise film grain, 0..1.
    tops, lefts, side: of the tiles at full scale, a grid over the picture, with a number for each (rows, columns) in
    the maps. What a tile cannot tell is taken from its neighbours, by how sure each is.
    """

    noise_sigma: float
    blur_sigma: float
    quality: float
    motion: float
    grain: float
    tops: npt.NDArray[np.int64]
    lefts: npt.NDArray[np.int64]
    side: int
    noise_map: Floats
    blur_map: Floats
    quality_map: Floats


def seen(pixels: npt.NDArray[np.generic], ask: Ask) -> Seen | None:
    """Look at a picture, (height, width, 1 or 3) uint8 or uint16; None when it is too small.

    ask: the network: (n, 3, side, side) float32 0..1 -> (n, 11).
    """
    side = min(TILE, min(pixels.shape[:2]) // 16 * 16)
    if side < LEAST_TILE:
        return None
    tops, lefts = _grid(pixels, side, MOST_TILES[0])
    places = [(int(top), int(left)) for top in tops for left in lefts]
    grid = len(tops), len(lefts)
    full = _Answers(ask(_tiles(pixels, places, side, 1)))
    scales = [full]
    for scale, most in ((2, MOST_TILES[1]), (4, MOST_TILES[2])):
        if min(pixels.shape[:2]) >= scale * side:
            scales.append(_Answers(ask(_tiles(pixels, _places(pixels, scale * side, most), side, scale))))
    edged = _edged(pixels, places, side)
    blur = _blur(scales, edged)
    likely_grain = _likely(full.grain, full.noise.weight)
    return Seen(
        noise_sigma=full.noise.summed(NOISE_QUANTILE),
        blur_sigma=blur,
        quality=min(100.0, full.quality.summed(QUALITY_QUANTILE)),
        motion=_likely(full.motion, full.blur.weight * edged),
        grain=likely_grain / (likely_grain + GRAIN_EVEN),
        tops=tops,
        lefts=lefts,
        side=side,
        noise_map=full.noise.map(grid),
        blur_map=full.blur.map(grid),
        quality_map=full.quality.map(grid),
    )


@dataclass(frozen=True, slots=True)
class _Quantity:
    value: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]

    def summed(self, quantile: float, among: npt.NDArray[np.float64] | None = None) -> float:
        """The value that this share of the weight lies below."""
        weight = self.weight if among is None else self.weight * among
        order = np.argsort(self.value)
        reached = np.cumsum(weight[order])
        middles = (reached - weight[order] / 2) / reached[-1]
        return float(np.interp(quantile, middles, self.value[order]))

    def map(self, grid: tuple[int, int]) -> Floats:
        """(rows, columns): each value among those of the tiles around it, by weight and nearness."""
        weight = self.weight.reshape(grid)
        return (_around(self.value.reshape(grid) * weight) / _around(weight)).astype(np.float32)


def _around(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sums over each and its eight neighbours, these at a quarter and a sixteenth."""
    for _ in range(2):
        padded = np.pad(values, ((1, 1), (0, 0)))
        values = (padded[1:-1] + (padded[:-2] + padded[2:]) / 4).T
    return values


class _Answers:
    """The network's answers in units; its scales are undone here."""

    def __init__(self, answers: Floats) -> None:
        mean, scale = answers[:, :4].astype(np.float64), np.clip(answers[:, 4:8].astype(np.float64), -4, 3)
        weight = np.exp(-scale)
        self.noise = _Quantity(np.maximum(NOISE_PER_READ * 2 * (2.0 ** mean[:, 0] - 1), 0), weight[:, 0])
        self.blur = _Quantity(np.clip(mean[:, 1], 0, 5), weight[:, 1])
        self.quality = _Quantity(np.clip(20 * mean[:, 2], 1, 100), weight[:, 2])
        self.motion, self.grain = (1 / (1 + np.exp(-answers[:, n].astype(np.float64))) for n in (8, 9))


def _likely(chance: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]) -> float:
    return float((chance * weight).sum() / max(weight.sum(), 1e-9))


def _blur(scales: list[_Answers], edged: npt.NDArray[np.float64]) -> float:
    sigma = scales[0].blur.summed(0.5, edged)
    for number, coarser in enumerate(scales[1:], 1):
        if sigma < BLUR_SEEN_UP_TO * 2 ** (number - 1):
            break
        sigma = max(sigma, 2**number * coarser.blur.summed(0.5))
    return sigma


def _places(pixels: npt.NDArray[np.generic], side: int, most: int) -> list[tuple[int, int]]:
    """(top, left) of the tiles of `_grid`."""
    tops, lefts = _grid(pixels, side, most)
    return [(int(top), int(left)) for top in tops for left in lefts]


def _grid(pixels: npt.NDArray[np.generic], side: int, most: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Tops and lefts of at most `most` tiles, spread evenly, each on the picture's 8 × 8 grid."""
    height, width = pixels.shape[:2]
    rows, columns = max(1, height // side), max(1, width // side)
    if rows * columns > most:
        rows = max(1, min(rows, round(np.sqrt(most * height / width))))
        columns = max(1, min(columns, most // rows))
    spread = ((height, rows), (width, columns))
    tops, lefts = (np.linspace(0, length - side, count).astype(np.int64) // 8 * 8 for length, count in spread)
    return tops, lefts


def _tiles(pixels: npt.NDArray[np.generic], places: list[tuple[int, int]], side: int, scale: int) -> Floats:
    """Tiles of `side`, from areas `scale` times as large, (n, 3, side, side) 0..1."""
    full_scale = np.float32(255 if pixels.dtype == np.uint8 else 65535)
    out = np.empty((len(places), 3, side, side), np.float32)
    for tile, (top, left) in zip(out, places, strict=True):
        area = pixels[top : top + scale * side, left : left + scale * side].astype(np.float32)
        if scale > 1:  # row upon row: a tenth of the time of a mean over two axes, which was 2 % of a small photo's
            rows = sum((area[n::scale] for n in range(1, scale)), start=area[::scale])
            area = sum((rows[:, n::scale] for n in range(1, scale)), start=rows[:, ::scale]) / np.float32(scale**2)
        tile[:] = area.transpose(2, 0, 1) / full_scale
        forget(pixels)  # the kernel maps 64 kB around each row that is read
    return out


def _edged(pixels: npt.NDArray[np.generic], places: list[tuple[int, int]], side: int) -> npt.NDArray[np.float64]:
    """1 for the tiles with the strongest edges, 0 for the others. Over four pixels, so that blur does not hide them."""
    strength = []
    for top, left in places:
        green = pixels[top : top + side, left : left + side, pixels.shape[2] // 2].astype(np.float32)
        rows, columns = green[4:] - green[:-4], green[:, 4:] - green[:, :-4]
        strength.append(float(np.quantile(np.abs(rows), 0.95) + np.quantile(np.abs(columns), 0.95)))
        forget(pixels)
    return (np.array(strength) >= np.quantile(strength, 1 - EDGED_SHARE)).astype(np.float64)
