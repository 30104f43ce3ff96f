"""The Rust core: tiles, colour and blending. This file is the contract; `stubtest` holds the binary to it.

Arrays come in C-contiguous and are borrowed read-only (or for writing, where it says so); a wrong dtype, shape
or layout is a ValueError that says what was given and what is wanted, a result too large for memory a MemoryError.
Every call computes with the GIL released. Results are numpy arrays of memory allocated in Rust, moved without a copy.
`mix`, `measure`, `resize` and the colour functions use as many threads as RAYON_NUM_THREADS says (default: all cores),
started at the first call: a process that has called one must not be forked. The others use the calling thread alone.

A picture is HWC, uint8, uint16 or float32 (0..1), with 1 or 3 channels; a tile is NCHW with N = 1, float32 or float16,
in 0..1.
"""

from typing import Any, Final, Literal, final

import numpy as np
import numpy.typing as npt

__all__ = [
    "Canvas",
    "Measurement",
    "TilePlan",
    "__version__",
    "cut",
    "linear_from_srgb",
    "luma_chroma_from_rgb",
    "measure",
    "mirrored",
    "mix",
    "mix_cells",
    "plan_tiles",
    "resize",
    "rgb_from_luma_chroma",
    "srgb_from_linear",
]

_Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]
_TileArray = npt.NDArray[np.float32] | npt.NDArray[np.float16]

__version__: Final[str]

@final
class TilePlan:
    """Where a picture is cut: immutable data; plans made with the same arguments are equal.

    The picture is divided into `columns` × `rows` cores that start at multiples of `multiple_of`, so that every tile
    lies on the network's grid as the picture does; each tile is its core plus `margin` pixels on every side. Around
    the picture itself there is less, an edge of 8 pixels or the next multiple (and no more than the margin), mirrored;
    what is left over at the right and below is mirrored too. All tiles of a plan have the same shape, a multiple of
    `multiple_of`, so one session shape serves. Tiles are numbered row by row.

    Neighbours fade into each other over `blend` pixels on either side of the border between their cores, with weights
    that rise evenly and add up to 1. Where cores are narrower than that the fade is too: at most half a core (or the
    whole of a last, smaller core) on either side, so that no more than four tiles meet at a pixel.
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
        """halo + blend, rounded up to a multiple of `multiple_of`: pixels around each core, inside the picture."""
    @property
    def tile_width(self) -> int:
        """Of every tile, margins included: a multiple of `multiple_of`."""
    @property
    def tile_height(self) -> int: ...
    def __len__(self) -> int: ...
    def core(self, index: int) -> tuple[int, int, int, int]:
        """(left, top, width, height) of the pixels that tile `index` answers for. IndexError outside the plan."""
    def smaller(self) -> TilePlan | None:
        """A fresh plan for the same picture with tiles of at most half the longer side.

        None when the tiles cannot shrink: half would leave cores narrower than their margin (one part picture to
        eight or more of context).
        """

def plan_tiles(width: int, height: int, tile: int, halo: int, blend: int, multiple_of: int) -> TilePlan:
    """Divide a picture into the fewest equal tiles whose sides do not exceed `tile`.

    halo: pixels of context that a network needs around what it answers for (its receptive radius); blend: pixels
    beyond a core in which neighbours fade into each other, each still with its full halo. ValueError when the
    picture is empty, `multiple_of` is 0, or `tile` leaves no room for a core: when the largest multiple of
    `multiple_of` up to `tile` is not more than two margins. A picture that fits with its edges into that multiple
    is one tile, no larger than it must be.
    """

def cut(
    pixels: _Pixels,
    plan: TilePlan,
    index: int,
    out: _TileArray,
    space: Literal["srgb", "linear", "luma_chroma"] = "srgb",
) -> None:
    """Fill `out` (1, 3, tile_height, tile_width) with tile `index`: mirror padding, 0..1, HWC to NCHW, colour.

    A grey picture fills all three channels alike. `linear` decodes sRGB (IEC 61966-2-1); `luma_chroma` is full-range
    BT.601 Y'CbCr with Cb and Cr around 0.5 (JFIF). Float pictures are not clipped, save by `linear`. `out` is written
    in place and must not share memory with `pixels`. IndexError for an index outside the plan.
    """

@final
class Canvas:
    """Puts tiles together: fades neighbours into each other, rounds, and hands out rows as soon as they are final.

    It holds the rows of one row of tiles, in the result's dtype, and floats only where tiles meet: never the whole
    picture, as long as rows are taken. Tiles must be added in the plan's order. Threads may share a canvas.
    """

    def __new__(
        cls,
        plan: TilePlan,
        channels: Literal[1, 3],
        dtype: Literal["uint8", "uint16", "float32"],
        scale: int = 1,
        space: Literal["srgb", "linear", "luma_chroma"] = "srgb",
    ) -> Canvas:
        """For results `scale` (1 to 16) times as large as the plan's picture.

        space: that of the tiles, undone on the way out.
        """
    def add(self, index: int, tile: _TileArray) -> None:
        """Blend in the network's answer for tile `index`, shape (1, 3, scale * tile_height, scale * tile_width).

        At the end, after blending, values go back to sRGB, are clipped to 0..1 and rounded to the nearest code. A
        canvas of one channel takes the mean of the three encoded ones. ValueError for a wrong shape, a tile out of
        order, or a value that is not finite (the message names the tile); the canvas is then as before, and the tile
        can be added again.
        """
    def rows_ready(self) -> int:
        """Rows that are final and not yet taken."""
    def take(self) -> npt.NDArray[Any]:
        """The rows that are ready, (rows_ready, scale * width, channels) of the canvas's dtype; handed out once."""

def mix(a: _Pixels, b: _Pixels, mask: npt.NDArray[np.float32] | float) -> npt.NDArray[Any]:
    """a where mask is 0, b where it is 1, in between blended in linear light (sRGB decoded and encoded again).

    a and b: the same shape and dtype; mask: (height, width) or one number for all, 0..1. Exactly a at 0 and exactly b
    at 1; mask values outside are clipped, a NaN among them is a ValueError.
    """

def mix_cells(a: _Pixels, b: _Pixels, cells: npt.NDArray[np.float32], side: int, above: int = 0) -> npt.NDArray[Any]:
    """mix with a coarse mask: (rows, columns) numbers for cells of side × side pixels, linear between their middles.

    Pixel n of an axis lies at (n + ½) / side − ½ among the middles; before the first and beyond the last their number
    holds. above: rows of pixels above the pictures, where these are a band of a larger one. ValueError for no cells or
    a NaN among them.
    """

def linear_from_srgb(code: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """IEC 61966-2-1 decoding of any shape, 0..1 (values outside are clipped)."""

def srgb_from_linear(light: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """IEC 61966-2-1 encoding of any shape, 0..1 (values outside are clipped), within 6e-7."""

def luma_chroma_from_rgb(rgb: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(height, width, 3) full-range BT.601 Y'CbCr as in JFIF, Cb and Cr around 0.5; not clipped."""

def rgb_from_luma_chroma(ycc: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The inverse of luma_chroma_from_rgb; not clipped."""

def mirrored(pixels: _Pixels, top: int, bottom: int, left: int, right: int) -> npt.NDArray[Any]:
    """Pad by reflection without repeating the edge (numpy's mode "reflect"), for any padding and any size from 1×1."""

def resize(pixels: _Pixels, width: int, height: int, rows: tuple[int, int] | None = None) -> npt.NDArray[Any]:
    """The picture at another size, of the same dtype, by Lanczos' kernel with three lobes on code values.

    Pixel n of the result lies at (n + ½) · old / new − ½; reduced, the kernel grows with the step, so that every pixel
    counts. Weights add up to 1, at the borders over what lies in the picture. Floats are clipped to 0..1. rows: only
    those from the first to before the second, bit for bit as in the whole. ValueError when a side is 0, or when the
    result has no such rows.
    """

@final
class Measurement:
    """What measure found: maps with one value per cell, float32, (rows, columns).

    All but `dark` and `bright` look at pixels whose neighbourhood, from one pixel left and above to two right and
    below, lies in the picture, and are nan in a cell that has none. Y is the BT.601 luma in 8-bit levels.
    """

    @property
    def noise_sigma(self) -> npt.NDArray[np.float32]:
        """Standard deviation of the noise in 8-bit levels.

        √(π/2) / 6 · mean |[1 −2 1; −2 4 −2; 1 −2 1] * Y| (Immerkær 1996: blind to planes, not to texture).
        """
    @property
    def edge(self) -> npt.NDArray[np.float32]:
        """Mean magnitude of the luma's gradient (central differences), 8-bit levels per pixel."""
    @property
    def softness(self) -> npt.NDArray[np.float32]:
        """How much of the steps survives a 3-pixel box blur along them, about 1/3 (crisp) .. 1 (already soft).

        Σ min(|step|, |blurred|) / Σ |step| over both directions, with step = Y[x+1] − Y[x] and blurred =
        (Y[x+2] − Y[x−1]) / 3 (after Crété et al. 2007). nan in flat cells: where the mean |step| is below 0.5 levels.
        """
    @property
    def blockiness(self) -> npt.NDArray[np.float32]:
        """Mean jump across the 8×8 grid divided by the mean jump elsewhere; about 1 without JPEG blocks.

        A jump is |step − blurred| of `softness`, what a step has beyond the local slope; 0.1 levels are added to both
        means, so that a flat cell gives 1. The grid starts at the picture's first pixel.
        """
    @property
    def dark(self) -> npt.NDArray[np.float32]:
        """Share of pixels with every channel at 0, 0..1."""
    @property
    def bright(self) -> npt.NDArray[np.float32]:
        """Share of pixels with every channel at full scale, 0..1."""

def measure(pixels: _Pixels, cell: int = 64) -> Measurement:
    """Measure luma and clipping in cells of `cell` × `cell` pixels (the last may be smaller), at this one scale.

    cell must be a multiple of 8, so that the JPEG grid is seen alike in every cell: a ValueError otherwise.
    """
