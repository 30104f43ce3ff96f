"""Every refusal says what was given and what is wanted."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from darkroomd import _core
from tests.core.pictures import random_picture

PIXELS = random_picture(6, 8, 3, "uint8")
PLAN = _core.plan_tiles(8, 6, 8, 1, 0, 1)
TILE = np.zeros((1, 3, PLAN.tile_height, PLAN.tile_width), np.float32)
A_PICTURE = "a C-contiguous (height, width, 1 or 3) array of uint8, uint16 or float32"
A_TILE = "a C-contiguous (1, 3, height, width) array of float32 or float16"
anything: Any = _core  # wrong types are the point here


def read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def canvas() -> Any:
    return anything.Canvas(PLAN, 3, "uint8")


def with_a_hole(value: float) -> np.ndarray[Any, Any]:
    tile = TILE.copy()
    tile[0, 1, 2, 3] = value
    return tile


def cut_into_its_own_memory() -> None:
    memory = np.zeros(3 * PLAN.tile_height * PLAN.tile_width, np.float32)
    pixels = memory[: 8 * 6 * 3].reshape(6, 8, 3)
    anything.cut(pixels, PLAN, 0, memory.reshape(TILE.shape))


REFUSALS: dict[str, tuple[Callable[[], object], str]] = {
    "dtype of a picture": (
        lambda: anything.measure(PIXELS.astype(np.float64)),
        f"pixels: wanted {A_PICTURE}, got float64 of shape (6, 8, 3), C-contiguous",
    ),
    "foreign byte order": (
        lambda: anything.measure(PIXELS.astype(">u2")),
        f"pixels: wanted {A_PICTURE}, got >u2 of shape (6, 8, 3), C-contiguous",
    ),
    "unaligned memory": (
        lambda: anything.measure(np.zeros(1 + 4 * 6 * 8, np.uint8)[1:].view(np.float32).reshape(6, 8, 1)),
        "pixels: wanted aligned memory, got unaligned",
    ),
    "layout of a picture": (
        lambda: anything.measure(PIXELS[:, ::2]),
        f"pixels: wanted {A_PICTURE}, got uint8 of shape (6, 4, 3), not C-contiguous",
    ),
    "Fortran order": (
        lambda: anything.measure(np.asfortranarray(PIXELS)),
        f"pixels: wanted {A_PICTURE}, got uint8 of shape (6, 8, 3), not C-contiguous",
    ),
    "dimensions of a picture": (
        lambda: anything.measure(PIXELS[..., 0].copy()),
        f"pixels: wanted {A_PICTURE}, got uint8 of shape (6, 8), C-contiguous",
    ),
    "not an array": (lambda: anything.measure([1, 2]), f"pixels: wanted {A_PICTURE}, got list"),
    "channels": (
        lambda: anything.measure(np.zeros((6, 8, 4), np.uint8)),
        "pixels: wanted shape (height, width, 1 or 3) with at least one pixel, got (6, 8, 4)",
    ),
    "empty": (
        lambda: anything.mirrored(np.zeros((0, 8, 3), np.uint8), 1, 1, 1, 1),
        "pixels: wanted shape (height, width, 1 or 3) with at least one pixel, got (0, 8, 3)",
    ),
    "picture of another plan": (
        lambda: anything.cut(PIXELS[:5].copy(), PLAN, 0, TILE.copy()),
        "pixels: wanted shape (6, 8, 1 or 3), that of the plan, got (5, 8, 3)",
    ),
    "dtype of out": (
        lambda: anything.cut(PIXELS, PLAN, 0, TILE.astype(np.float64)),
        f"out: wanted {A_TILE}, got float64 of shape (1, 3, 8, 6), C-contiguous",
    ),
    "shape of out": (
        lambda: anything.cut(PIXELS, PLAN, 0, np.zeros((1, 3, 4, 4), np.float32)),
        "out: wanted shape (1, 3, 8, 6), got (1, 3, 4, 4)",
    ),
    "read-only out": (
        lambda: anything.cut(PIXELS, PLAN, 0, read_only(TILE)),
        "out: wanted an array that can be written to, got a read-only one",
    ),
    "out within pixels": (
        cut_into_its_own_memory,
        "out: the array is in use: it must not share memory with pixels, nor with another call's arrays",
    ),
    "space": (
        lambda: anything.cut(PIXELS, PLAN, 0, TILE.copy(), "lab"),
        "space: wanted 'srgb', 'linear' or 'luma_chroma', got 'lab'",
    ),
    "no room": (
        lambda: anything.plan_tiles(8, 6, 8, 3, 1, 1),
        "tile: 8 pixels in multiples of 1 leave no room for a core between two margins of 4",
    ),
    "no room for a multiple": (
        lambda: anything.plan_tiles(8, 6, 15, 3, 1, 8),
        "tile: 15 pixels in multiples of 8 leave no room for a core between two margins of 8",
    ),
    "empty plan": (lambda: anything.plan_tiles(0, 6, 8, 0, 0, 1), "width: wanted 1 to 2147483647, got 0"),
    "negative width": (lambda: anything.plan_tiles(-1, 6, 8, 0, 0, 1), "width: wanted 0 or more, got -1"),
    "negative halo": (lambda: anything.plan_tiles(8, 6, 8, -1, 0, 1), "halo: wanted 0 or more, got -1"),
    "multiple of 0": (lambda: anything.plan_tiles(8, 6, 8, 0, 0, 0), "multiple_of: wanted 1 to 2147483647, got 0"),
    "canvas dtype": (
        lambda: anything.Canvas(PLAN, 3, "int8"),
        "dtype: wanted 'uint8', 'uint16' or 'float32', got 'int8'",
    ),
    "canvas channels": (lambda: anything.Canvas(PLAN, 4, "uint8"), "channels: wanted 1 or 3, got 4"),
    "canvas scale": (lambda: anything.Canvas(PLAN, 3, "uint8", 0), "scale: wanted 1 to 16, got 0"),
    "shape of a tile": (
        lambda: canvas().add(0, TILE[:, :, 1:].copy()),
        "tile: wanted shape (1, 3, 8, 6), got (1, 3, 7, 6)",
    ),
    "layout of a tile": (
        lambda: canvas().add(0, TILE[:, :, :, ::-1]),
        f"tile: wanted {A_TILE}, got float32 of shape (1, 3, 8, 6), not C-contiguous",
    ),
    "out of order": (lambda: canvas().add(1, TILE), "tile 1 is out of order: it is the turn of tile 0"),
    "negative tile": (lambda: canvas().add(-1, TILE), "tile -1 is out of order: it is the turn of tile 0"),
    "nan": (lambda: canvas().add(0, with_a_hole(np.nan)), "tile 0 holds a value that is not finite"),
    "infinity": (lambda: canvas().add(0, with_a_hole(-np.inf)), "tile 0 holds a value that is not finite"),
    "half infinity": (
        lambda: canvas().add(0, with_a_hole(np.inf).astype(np.float16)),
        "tile 0 holds a value that is not finite",
    ),
    "shapes to mix": (
        lambda: anything.mix(PIXELS, PIXELS[:3].copy(), 0.5),
        "b: wanted shape (6, 8, 3), that of a, got (3, 8, 3)",
    ),
    "dtypes to mix": (
        lambda: anything.mix(PIXELS, PIXELS.astype(np.uint16), 0.5),
        "b: wanted the dtype of a, got uint16 of shape (6, 8, 3), C-contiguous",
    ),
    "shape of a mask": (
        lambda: anything.mix(PIXELS, PIXELS, np.zeros((8, 6), np.float32)),
        "mask: wanted a number or a C-contiguous (6, 8) array of float32, got float32 of shape (8, 6), C-contiguous",
    ),
    "dtype of a mask": (
        lambda: anything.mix(PIXELS, PIXELS, np.zeros((6, 8))),
        "mask: wanted a number or a C-contiguous (6, 8) array of float32, got float64 of shape (6, 8), C-contiguous",
    ),
    "nan in a mask": (lambda: anything.mix(PIXELS, PIXELS, np.nan), "mask: wanted numbers, got a NaN"),
    "no mask": (lambda: anything.mix(PIXELS, PIXELS, "half"), "mask: wanted a number or an array of float32, got str"),
    "pixels of two": (
        lambda: anything.luma_chroma_from_rgb(np.zeros((2, 2, 2), np.float32)),
        "rgb: wanted a C-contiguous (height, width, 3) array of float32, got float32 of shape (2, 2, 2), C-contiguous",
    ),
    "light in double precision": (
        lambda: anything.srgb_from_linear(np.zeros(3)),
        "light: wanted a C-contiguous array of float32, got float64 of shape (3), C-contiguous",
    ),
    "negative padding": (lambda: anything.mirrored(PIXELS, 0, 0, 0, -2), "right: wanted 0 or more, got -2"),
    "no width": (lambda: anything.resize(PIXELS, 0, 4), "width: wanted 1 or more, got 0"),
    "negative height": (lambda: anything.resize(PIXELS, 4, -4), "height: wanted 0 or more, got -4"),
    "cell that cuts blocks": (lambda: anything.measure(PIXELS, 12), "cell: wanted a multiple of 8, at least 8, got 12"),
    "cell of nothing": (lambda: anything.measure(PIXELS, 0), "cell: wanted a multiple of 8, at least 8, got 0"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_says_what_was_given_and_what_is_wanted(name: str) -> None:
    call, message = REFUSALS[name]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


@pytest.mark.parametrize("index", [-1, len(PLAN), 10**9])
def test_a_tile_outside_the_plan_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError, match=f"^tile {index} is outside a plan of {len(PLAN)} tiles$"):
        PLAN.core(index)
    with pytest.raises(IndexError, match=f"^tile {index} is outside a plan of {len(PLAN)} tiles$"):
        _core.cut(PIXELS, PLAN, index, TILE.copy())


def test_a_result_beyond_memory_is_a_memory_error() -> None:
    with pytest.raises(
        MemoryError, match=r"^no memory for a result beyond the address space$|^no memory for a result of \d+ samples$"
    ):
        _core.mirrored(PIXELS, 2**60, 0, 0, 0)


def test_a_tile_added_twice_is_refused() -> None:
    canvas = _core.Canvas(PLAN, 3, "uint8")
    for index in range(len(PLAN)):
        canvas.add(index, TILE)
    with pytest.raises(ValueError, match=f"^tile {len(PLAN)}: every tile has been added already$"):
        canvas.add(len(PLAN), TILE)


def test_a_refused_tile_can_be_added_again() -> None:
    pixels = random_picture(20, 20, 3, "uint8")
    plan = _core.plan_tiles(20, 20, 14, 1, 2, 1)
    canvas = _core.Canvas(plan, 3, "uint8")
    tile = np.zeros((1, 3, plan.tile_height, plan.tile_width), np.float32)
    rows = []
    for index in range(len(plan)):
        sick = tile.copy()
        sick[0, 0, -1, -1] = np.nan
        with pytest.raises(ValueError, match=f"^tile {index} holds a value that is not finite$"):
            canvas.add(index, sick)
        _core.cut(pixels, plan, index, tile)
        canvas.add(index, tile)
        rows.append(canvas.take())
    np.testing.assert_array_equal(np.concatenate(rows), pixels)


def test_plans_and_canvases_cannot_be_changed_or_subclassed() -> None:
    with pytest.raises(AttributeError):
        anything.plan_tiles(8, 6, 8, 1, 0, 1).width = 3
    with pytest.raises(TypeError):
        type("Sub", (anything.Canvas,), {})
