"""The core's kernels in plain numpy: short, slow, and the measure of the Rust ones.

Formulas and rounding are those of the core's documentation. Floats may differ in the last bits (tests say by how much);
integers and plans may not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Picture = npt.NDArray[Any]
Space = Literal["srgb", "linear", "luma_chroma"]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
FLAT = 0.5  # 8-bit levels
STEP_FLOOR = 0.1  # 8-bit levels


def full_scale(dtype: npt.DTypeLike) -> float:
    """The code that stands for 1: 255, 65535, or 1 for floats."""
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0


def unit(pixels: Picture) -> Floats:
    """Codes as 0..1."""
    return (pixels / np.float64(full_scale(pixels.dtype))).astype(np.float32)


def codes(values: Floats, dtype: npt.DTypeLike) -> Picture:
    """0..1 as codes: clipped, rounded to the nearest."""
    clipped = np.clip(values, 0, 1).astype(np.float32)
    if not np.issubdtype(dtype, np.integer):
        return clipped
    levels: Picture = np.rint(clipped * np.float32(full_scale(dtype))).astype(dtype)
    return levels


# --- colour


def linear_from_srgb(code: Floats) -> Floats:
    """IEC 61966-2-1, in double precision within."""
    clipped = np.clip(code.astype(np.float64), 0, 1)
    return np.where(clipped <= 0.04045, clipped / 12.92, ((clipped + 0.055) / 1.055) ** 2.4).astype(np.float32)


def srgb_from_linear(light: Floats) -> Floats:
    """IEC 61966-2-1, in double precision within."""
    clipped = np.clip(light.astype(np.float64), 0, 1)
    return np.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * clipped ** (1 / 2.4) - 0.055).astype(np.float32)


def luma_chroma_from_rgb(rgb: Floats) -> Floats:
    """Full-range BT.601 Y'CbCr (JFIF 1.02), last axis, chroma around 0.5."""
    luma = rgb @ LUMA
    return np.stack(
        [luma, 0.5 + (rgb[..., 2] - luma) / 1.772, 0.5 + (rgb[..., 0] - luma) / 1.402], -1, dtype=np.float32
    )


def rgb_from_luma_chroma(ycc: Floats) -> Floats:
    """The inverse."""
    luma, blue, red = ycc[..., 0], ycc[..., 1] - 0.5, ycc[..., 2] - 0.5
    r, b = luma + 1.402 * red, luma + 1.772 * blue
    return np.stack([r, (luma - LUMA[0] * r - LUMA[2] * b) / LUMA[1], b], -1, dtype=np.float32)


def into(rgb: Floats, space: Space) -> Floats:
    """Encoded RGB (last axis) as the network wants it."""
    if space == "linear":
        return linear_from_srgb(rgb)
    return luma_chroma_from_rgb(rgb) if space == "luma_chroma" else rgb


def out_of(values: Floats, space: Space) -> Floats:
    """The way back."""
    if space == "linear":
        return srgb_from_linear(values)
    return rgb_from_luma_chroma(values) if space == "luma_chroma" else values


# --- tiles


@dataclass(frozen=True)
class Axis:
    """One direction of a plan."""

    length: int
    count: int
    tile: int
    margin: int
    edge: int
    blend: int

    @property
    def step(self) -> int:
        return self.tile - 2 * self.margin

    def start(self, index: int) -> int:
        """Tiles begin a step apart, an edge before the picture does; each core a margin behind its tile's beginning."""
        return index and index * self.step - self.edge + self.margin

    def end(self, index: int) -> int:
        return self.length if index + 1 == self.count else self.start(index + 1)

    def lead(self, index: int) -> int:
        return self.margin if index else self.edge

    def fade(self, border: int) -> int:
        """Half the width of the fade at the border before core `border`: at most half a core, or the last core."""
        if border in (0, self.count):
            return 0
        return min(self.blend, self.step // 2, self.end(border) - self.start(border))

    def weights(self, index: int, scale: int) -> Floats:
        """What tile `index` weighs at each pixel of the result along this axis."""
        weights = np.zeros(self.length * scale, np.float32)
        left, right = self.fade(index) * scale, self.fade(index + 1) * scale
        start, end = self.start(index) * scale, self.end(index) * scale
        weights[start + left : end - right] = 1
        weights[start - left : start + left] = (np.arange(2 * left) + 0.5) / max(2 * left, 1)
        weights[end - right : end + right] = 1 - (np.arange(2 * right) + 0.5) / max(2 * right, 1)
        return weights


@dataclass(frozen=True)
class TilePlan:
    """Cores side by side, a tile around each."""

    across: Axis
    down: Axis
    margin: int

    def places(self) -> Iterator[tuple[int, int]]:
        """(column, row) of the tiles in their order."""
        return ((column, row) for row in range(self.down.count) for column in range(self.across.count))


def plan_axis(length: int, tile: int, margin: int, blend: int, multiple_of: int) -> Axis:
    """The smallest number of equal tiles that keep to the limit, found by trying; they start at multiples."""
    if tile // multiple_of * multiple_of <= 2 * margin:
        raise ValueError("no room for a core")
    edge = min(margin, upwards(8, multiple_of))
    if (side := upwards(length + 2 * edge, multiple_of)) <= tile:
        return Axis(length, 1, side, margin, edge, blend)
    for count in range(2, length + 2):
        for side in range(2 * margin + multiple_of, tile + 1, multiple_of):
            if -edge + (count - 1) * (side - 2 * margin) + side - edge >= length:
                return Axis(length, count, side, margin, edge, blend)
    raise ValueError("no room for a core")


def upwards(number: int, multiple_of: int) -> int:
    """The next multiple, or the number itself."""
    return -(-number // multiple_of) * multiple_of


def plan_tiles(width: int, height: int, tile: int, halo: int, blend: int, multiple_of: int) -> TilePlan:
    margin = upwards(halo + blend, multiple_of)
    return TilePlan(
        plan_axis(width, tile, margin, blend, multiple_of), plan_axis(height, tile, margin, blend, multiple_of), margin
    )


def mirrored(pixels: Picture, top: int, bottom: int, left: int, right: int) -> Picture:
    return np.pad(pixels, ((top, bottom), (left, right), (0, 0)), mode="reflect")


def cut(pixels: Picture, plan: TilePlan, column: int, row: int, space: Space = "srgb") -> Floats:
    """One tile, (1, 3, tile height, tile width)."""
    margin, wide, high = plan.margin, plan.across.tile, plan.down.tile
    padded = mirrored(pixels, margin, margin + high, margin, margin + wide)
    top = margin + plan.down.start(row) - plan.down.lead(row)
    left = margin + plan.across.start(column) - plan.across.lead(column)
    tile = np.broadcast_to(unit(padded[top : top + high, left : left + wide]), (high, wide, 3))
    return np.ascontiguousarray(into(tile, space).transpose(2, 0, 1)[None])


def assemble(
    tiles: list[Floats], plan: TilePlan, channels: int, dtype: npt.DTypeLike, scale: int = 1, space: Space = "srgb"
) -> Picture:
    """The whole result at once: every tile times its weights, added up."""
    total = np.zeros((plan.down.length * scale, plan.across.length * scale, 3), np.float64)
    for tile, (column, row) in zip(tiles, plan.places(), strict=True):
        across, down = plan.across.weights(column, scale), plan.down.weights(row, scale)
        left, top = plan.across.start(column) * scale, plan.down.start(row) * scale
        above, before = plan.down.lead(row) * scale, plan.across.lead(column) * scale
        ys, xs = np.flatnonzero(down), np.flatnonzero(across)
        part = tile[0][:, ys - top + above][:, :, xs - left + before].transpose(1, 2, 0)
        total[np.ix_(ys, xs)] += part * (down[ys, None, None] * across[None, xs, None])
    encoded = out_of(total.astype(np.float32), space)
    if channels == 1:
        encoded = encoded.mean(axis=-1, keepdims=True, dtype=np.float32)
    return codes(encoded, dtype)


# --- mix


def mix(a: Picture, b: Picture, mask: Floats | float) -> Picture:
    """a where mask is 0, b where it is 1, in between blended in linear light."""
    weight = np.broadcast_to(np.asarray(mask, np.float32).reshape(np.shape(mask) + (1,) * (3 - np.ndim(mask))), a.shape)
    light_a, light_b = linear_from_srgb(unit(a)), linear_from_srgb(unit(b))
    mixed = codes(srgb_from_linear(light_a + weight * (light_b - light_a)), a.dtype)
    return np.where(weight <= 0, a, np.where(weight >= 1, b, mixed))


def mix_cells(a: Picture, b: Picture, cells: Floats, side: int, above: int = 0) -> Picture:
    """mix by numbers for cells of side × side pixels, linear between their middles."""
    down = np.clip((np.arange(a.shape[0]) + above + 0.5) / side - 0.5, 0, cells.shape[0] - 1)
    across = np.clip((np.arange(a.shape[1]) + 0.5) / side - 0.5, 0, cells.shape[1] - 1)
    rows = np.array([np.interp(down, np.arange(cells.shape[0]), column) for column in cells.T]).T
    return mix(a, b, np.array([np.interp(across, np.arange(cells.shape[1]), row) for row in rows], np.float32))


# --- measure


def per_cell(values: npt.NDArray[np.float64], cell: int) -> npt.NDArray[np.float64]:
    """Sums over cells; the last of a row or column may be smaller."""
    rows = np.add.reduceat(values, np.arange(0, values.shape[0], cell), axis=0)
    return np.asarray(np.add.reduceat(rows, np.arange(0, values.shape[1], cell), axis=1))


def measure(pixels: Picture, cell: int = 64) -> dict[str, Floats]:
    """The maps of the core's Measurement by name."""
    height, width, _ = pixels.shape
    levels = np.broadcast_to(np.clip(unit(pixels), 0, 1), (height, width, 3)).astype(np.float64) * 255
    luma = levels @ LUMA.astype(np.float64)
    y = np.pad(luma, ((1, 2), (1, 2)))

    def at(down: int, right: int) -> npt.NDArray[np.float64]:
        return y[1 + down : 1 + down + height, 1 + right : 1 + right + width]

    inner = np.zeros((height, width), bool)
    inner[1 : max(height - 2, 1), 1 : max(width - 2, 1)] = True
    corners = at(-1, -1) + at(-1, 1) + at(1, -1) + at(1, 1)
    sides = at(-1, 0) + at(1, 0) + at(0, -1) + at(0, 1)
    response = np.abs(corners - 2 * sides + 4 * at(0, 0))
    slope = np.hypot(at(0, 1) - at(0, -1), at(1, 0) - at(-1, 0)) / 2
    across, down = at(0, 1) - at(0, 0), at(1, 0) - at(0, 0)
    across_blurred, down_blurred = (at(0, 2) - at(0, -1)) / 3, (at(2, 0) - at(-1, 0)) / 3
    step = np.abs(across) + np.abs(down)
    survives = np.minimum(np.abs(across), np.abs(across_blurred)) + np.minimum(np.abs(down), np.abs(down_blurred))
    grid_column = np.broadcast_to(np.arange(width) % 8 == 7, inner.shape)
    grid_row = np.broadcast_to(np.arange(height)[:, None] % 8 == 7, inner.shape)
    jump_across, jump_down = np.abs(across - across_blurred), np.abs(down - down_blurred)

    def total(values: npt.NDArray[Any], where: npt.NDArray[np.bool_] = inner) -> npt.NDArray[np.float64]:
        return per_cell(np.where(where, values, 0).astype(np.float64), cell)

    seen = total(np.ones_like(luma))
    on = total(jump_across, inner & grid_column) + total(jump_down, inner & grid_row)
    off = total(jump_across, inner & ~grid_column) + total(jump_down, inner & ~grid_row)
    on_count = total(grid_column) + total(grid_row)
    share = per_cell(np.ones((height, width)), cell)
    with np.errstate(invalid="ignore", divide="ignore"):
        flat = total(step) / (2 * seen) < FLAT
        maps = {
            "noise_sigma": np.sqrt(np.pi / 2) / 6 * total(response) / seen,
            "edge": total(slope) / seen,
            "softness": np.where(flat, np.nan, total(survives) / total(step)),
            "blockiness": (on / on_count + STEP_FLOOR) / (off / (2 * seen - on_count) + STEP_FLOOR),
            "dark": per_cell(np.all(pixels <= 0, axis=-1, keepdims=True)[..., 0].astype(np.float64), cell) / share,
            "bright": per_cell(
                np.all(pixels >= full_scale(pixels.dtype), axis=-1, keepdims=True)[..., 0].astype(np.float64), cell
            )
            / share,
        }
    return {name: values.astype(np.float32) for name, values in maps.items()}


# --- resize


def lanczos_weights(old: int, new: int) -> npt.NDArray[np.float64]:
    """(new, old): how much of each old pixel is in each new one; rows add up to 1."""
    centres = (np.arange(new) + 0.5) * old / new
    distance = (np.arange(old) + 0.5 - centres[:, None]) / max(old / new, 1.0)
    weights = np.where(abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def resize(pixels: Picture, width: int, height: int) -> Picture:
    """Lanczos with three lobes on code values, in double precision within."""
    down, across = lanczos_weights(pixels.shape[0], height), lanczos_weights(pixels.shape[1], width)
    values = np.einsum("yj,jic,xi->yxc", down, unit(pixels).astype(np.float64), across, optimize=True)
    return codes(values.astype(np.float32), pixels.dtype)
