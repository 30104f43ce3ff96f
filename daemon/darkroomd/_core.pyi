"""The Rust core: tiles, colour and blending. This file is the contract; `stubtest` holds the binary to it.

Arrays come in C-contiguous and are borrowed read-only (or for writing, where it says so); a wrong dtype, shape
or layout is a ValueError that says what was given and what is wanted. Every call computes with the GIL released.
Results are numpy arrays that own memory allocated in Rust, moved without a copy. A picture is HWC, uint8,
uint16 or float32 (0..1), with 1 or 3 channels; a tile is NCHW with N = 1, float32 or float16, in 0..1.
"""

from typing import Any, Final, Literal, final

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]
TileArray = npt.NDArray[np.float32] | npt.NDArray[np.float16]

__version__: Final[str]

@final
class TilePlan:
    """Where a picture is cut: immutable data, the same for the same arguments.

    The picture is divided into `columns` × `rows` equal cores (the last may be smaller); each tile is its core plus
    `margin` pixels on every side, mirrored where that lies outside the picture, and enlarged (to the right and
    below) to a multiple of `multiple_of`. All tiles of a plan have the same shape, so one session shape serves.
    Tiles are numbered row by row.
    """

    @property
    def width(self) -> int:
        """Of the picture, in pixels."""
    @property
    def height(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def margin(self) -> int:
        """halo + blend: pixels around each core."""
    @property
    def tile_width(self) -> int:
        """Of every tile, margins included: a multiple of `multiple_of`."""
    @property
    def tile_height(self) -> int: ...
    def __len__(self) -> int: ...
    def core(self, index: int) -> tuple[int, int, int, int]:
        """(left, top, width, height) of the pixels that tile `index` answers for. IndexError outside the plan."""
    def smaller(self) -> TilePlan | None:
        """A fresh plan for the same picture with about half the tile's longer side; None when the tiles cannot shrink."""

def plan_tiles(width: int, height: int, tile: int, halo: int, blend: int, multiple_of: int) -> TilePlan:
    """Divide a picture into the fewest equal tiles whose sides do not exceed `tile`.

    halo: pixels of context that a network needs around what it answers for (its receptive radius); blend: pixels
    beyond a core in which neighbours fade into each other, each still with its full halo. ValueError when the
    picture is empty, `multiple_of` is 0, or `tile` leaves no room for a core (tile <= 2 * (halo + blend)).
    A picture smaller than `tile` is one tile, no larger than it must be.
    """

def cut(
    pixels: Pixels,
    plan: TilePlan,
    index: int,
    out: TileArray,
    space: Literal["srgb", "linear", "luma_chroma"] = "srgb",
) -> None:
    """Fill `out` (1, 3, tile_height, tile_width) with tile `index`: mirror padding, scaling to 0..1, HWC to NCHW, conversion.

    A grey picture fills all three channels alike. `linear` decodes sRGB (IEC 61966-2-1); `luma_chroma` is full-range
    BT.601 Y'CbCr with Cb and Cr around 0.5 (JFIF). `out` is written in place and must not share memory with `pixels`.
    """

@final
class Canvas:
    """Puts tiles together: fades neighbours into each other, rounds, and hands out rows as soon as they are final.

    It holds the rows of two rows of tiles at most, never the whole picture. Tiles must be added in the plan's order.
    """

    def __new__(
        cls,
        plan: TilePlan,
        channels: Literal[1, 3],
        dtype: Literal["uint8", "uint16", "float32"],
        scale: int = 1,
        space: Literal["srgb", "linear", "luma_chroma"] = "srgb",
    ) -> Canvas:
        """For results `scale` times as large as the plan's picture; `space` is that of the tiles, undone on the way out."""
    def add(self, index: int, tile: TileArray) -> None:
        """Blend in the network's answer for tile `index`, shape (1, 3, scale * tile_height, scale * tile_width).

        Values outside 0..1 are clipped at the end, after blending. A canvas of one channel takes the mean of three.
        ValueError for a wrong shape, a tile out of order, or a value that is not finite (the message names the tile).
        """
    def rows_ready(self) -> int:
        """Rows that are final and not yet taken."""
    def take(self) -> npt.NDArray[Any]:
        """The rows that are ready, (rows_ready, scale * width, channels) of the canvas's dtype; they are handed out once."""

def mix(a: Pixels, b: Pixels, mask: npt.NDArray[np.float32] | float) -> npt.NDArray[Any]:
    """a where mask is 0, b where it is 1, in between blended in linear light (sRGB decoded and encoded again).

    a and b: the same shape and dtype; mask: (height, width) or one number for all, 0..1. Exactly a at 0 and exactly b at 1.
    """

def linear_from_srgb(code: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """IEC 61966-2-1 decoding of any shape, 0..1 (values outside are clipped)."""

def srgb_from_linear(light: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """IEC 61966-2-1 encoding of any shape, 0..1 (values outside are clipped)."""

def luma_chroma_from_rgb(rgb: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(height, width, 3) full-range BT.601 Y'CbCr as in JFIF, Cb and Cr around 0.5; not clipped."""

def rgb_from_luma_chroma(ycc: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The inverse of luma_chroma_from_rgb; not clipped."""

def mirrored(pixels: Pixels, top: int, bottom: int, left: int, right: int) -> npt.NDArray[Any]:
    """Pad by reflection without repeating the edge (numpy's mode "reflect"), for any padding and any size from 1×1."""

@final
class Measurement:
    """What measure found: maps with one value per cell, float32, (rows, columns)."""

    @property
    def noise_sigma(self) -> npt.NDArray[np.float32]:
        """Standard deviation of the noise in 8-bit levels (Immerkær 1996: a 3×3 operator blind to planes)."""
    @property
    def edge(self) -> npt.NDArray[np.float32]:
        """Mean magnitude of the luma's gradient, 8-bit levels per pixel."""
    @property
    def sharpness(self) -> npt.NDArray[np.float32]:
        """How much of the gradient survives a 3-pixel box blur, 0 (nothing: crisp) .. 1 (all: already soft); nan in flat cells."""
    @property
    def blockiness(self) -> npt.NDArray[np.float32]:
        """Mean step across the 8×8 grid divided by the mean step elsewhere; 1 without JPEG blocks."""
    @property
    def dark(self) -> npt.NDArray[np.float32]:
        """Share of pixels with every channel at 0, 0..1."""
    @property
    def bright(self) -> npt.NDArray[np.float32]:
        """Share of pixels with every channel at full scale, 0..1."""

def measure(pixels: Pixels, cell: int = 64) -> Measurement:
    """Measure luma and clipping in cells of `cell` × `cell` pixels (the last may be smaller). ValueError when `cell` < 8.

    cell must be a multiple of 8 so that the JPEG grid is seen alike in every cell.
    """
