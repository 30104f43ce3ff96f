"""Pictures, plans and networks for the tests of the core."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from darkroomd import _core

Array = npt.NDArray[Any]
Network = Callable[[Array], Array]
Space = Literal["srgb", "linear", "luma_chroma"]
DtypeName = Literal["uint8", "uint16", "float32"]

SPACES: list[Space] = ["srgb", "linear", "luma_chroma"]
DTYPES: list[DtypeName] = ["uint8", "uint16", "float32"]


def random_picture(height: int, width: int, channels: int, dtype: str, seed: int = 0) -> Array:
    """Every code equally often; floats in 0..1."""
    generator = np.random.default_rng(seed)
    if dtype == "float32":
        return generator.random((height, width, channels), np.float32)
    return generator.integers(0, np.iinfo(dtype).max + 1, (height, width, channels), dtype)


def pictures(dtype: str | None = None, channels: int | None = None, side: int = 40) -> st.SearchStrategy[Array]:
    """From 1×1 to side × side."""
    return st.builds(
        random_picture,
        height=st.integers(1, side),
        width=st.integers(1, side),
        channels=st.sampled_from([1, 3]) if channels is None else st.just(channels),
        dtype=st.sampled_from(DTYPES) if dtype is None else st.just(dtype),
        seed=st.integers(0, 2**32),
    )


@st.composite
def plan_arguments(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """(tile, halo, blend, multiple_of) with room for a core."""
    halo, blend, multiple_of = draw(st.integers(0, 6)), draw(st.integers(0, 9)), draw(st.integers(1, 9))
    extra = draw(st.integers(0, 24))
    return 2 * (halo + blend + multiple_of) + multiple_of + extra, halo, blend, multiple_of


def plan_for(pixels: Array, arguments: tuple[int, int, int, int]) -> _core.TilePlan:
    height, width, _ = pixels.shape
    return _core.plan_tiles(width, height, *arguments)


def tile_for(plan: _core.TilePlan, dtype: npt.DTypeLike = np.float32) -> Array:
    """A buffer full of nonsense."""
    return np.full((1, 3, plan.tile_height, plan.tile_width), np.nan, dtype)


def identity(tile: Array) -> Array:
    return tile


def repeat(scale: int) -> Network:
    """A network that makes every pixel scale × scale pixels."""
    return lambda tile: np.ascontiguousarray(tile.repeat(scale, axis=2).repeat(scale, axis=3))


def box_filter(radius: int) -> Network:
    """A network of one convolution, zero-padded as convolutions are; sums in integers, so that no order matters.

    The tile's values must be k / 255; the result is the rounded mean in 1/255.
    """

    def network(tile: Array) -> Array:
        side = 2 * radius + 1
        codes = np.rint(tile * 255).astype(np.int64)
        padded = np.pad(codes, ((0, 0), (0, 0), (radius, radius), (radius, radius)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(2, 3))
        return np.asarray(windows.sum(axis=(-2, -1)) // side**2 / 255, np.float32)

    return network


def run(
    pixels: Array,
    plan: _core.TilePlan,
    network: Network = identity,
    scale: int = 1,
    space: Space = "srgb",
    tile_dtype: npt.DTypeLike = np.float32,
) -> Array:
    """The picture, tile by tile through the network, taken in as many pieces as become ready."""
    channels: Literal[1, 3] = 1 if pixels.shape[2] == 1 else 3
    dtype = next(name for name in DTYPES if name == pixels.dtype.name)
    canvas = _core.Canvas(plan, channels, dtype, scale, space)
    tile = tile_for(plan, tile_dtype)
    pieces = []
    for index in range(len(plan)):
        _core.cut(pixels, plan, index, tile, space)
        canvas.add(index, network(tile))
        if canvas.rows_ready():
            pieces.append(canvas.take())
    return np.concatenate(pieces)
