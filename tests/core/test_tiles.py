"""Plans, cutting, and putting together again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroomd import _core
from tests import reference
from tests.core.pictures import (
    DTYPES,
    SPACES,
    Array,
    Space,
    box_filter,
    pictures,
    plan_arguments,
    plan_for,
    random_picture,
    repeat,
    run,
    tile_for,
)

Arguments = tuple[int, int, int, int]


def twin_of(plan: _core.TilePlan, arguments: Arguments) -> reference.TilePlan:
    return reference.plan_tiles(plan.width, plan.height, *arguments)


@given(st.integers(1, 300), st.integers(1, 300), plan_arguments())
def test_a_plan_has_the_fewest_tiles_that_keep_to_the_limit(width: int, height: int, arguments: Arguments) -> None:
    plan = _core.plan_tiles(width, height, *arguments)
    twin = reference.plan_tiles(width, height, *arguments)
    assert (plan.columns, plan.tile_width) == (twin.across.count, twin.across.tile)
    assert (plan.rows, plan.tile_height) == (twin.down.count, twin.down.tile)
    assert (plan.width, plan.height, plan.margin, len(plan)) == (width, height, twin.margin, plan.columns * plan.rows)


@given(st.integers(1, 60), st.integers(1, 60), plan_arguments())
def test_cores_cover_the_picture_exactly_once(width: int, height: int, arguments: Arguments) -> None:
    plan = _core.plan_tiles(width, height, *arguments)
    covered = np.zeros((height, width), int)
    for index in range(len(plan)):
        left, top, wide, high = plan.core(index)
        covered[top : top + high, left : left + wide] += 1
    assert (covered == 1).all()


@given(st.integers(1, 300), st.integers(1, 300), plan_arguments())
def test_the_same_arguments_give_the_same_plan(width: int, height: int, arguments: Arguments) -> None:
    first, second = (_core.plan_tiles(width, height, *arguments) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert [first.core(index) for index in range(len(first))] == [second.core(index) for index in range(len(second))]


def test_a_picture_that_fits_is_one_tile_no_larger_than_it_must_be() -> None:
    plan = _core.plan_tiles(100, 50, 1024, 8, 4, 16)
    assert (len(plan), plan.tile_width, plan.tile_height) == (1, 144, 96)
    assert plan.core(0) == (0, 0, 100, 50)


def test_around_the_picture_itself_there_is_no_more_than_an_edge() -> None:
    """With a margin of 32 on every side, a tile of 1152 × 864 pixels would be 1216 × 928: 10 % more for nothing."""
    plan = _core.plan_tiles(1152, 864, 1200, 24, 8, 8)
    assert (len(plan), plan.margin, plan.tile_width, plan.tile_height) == (1, 32, 1168, 880)
    plan = _core.plan_tiles(4000, 3000, 1064, 24, 8, 8)
    assert (plan.columns, plan.rows, plan.tile_width, plan.tile_height) == (4, 3, 1056, 1048)


def test_plans_shrink_by_half_until_they_cannot() -> None:
    plan: _core.TilePlan | None = _core.plan_tiles(4000, 3000, 1032, 16, 16, 8)
    sides = []
    while plan:
        sides.append(max(plan.tile_width, plan.tile_height))
        plan = plan.smaller()
    assert sides == [856, 424, 208, 104]


@pytest.mark.parametrize("space", SPACES)
@given(pictures(side=24), plan_arguments(), st.data())
def test_a_tile_is_cut_as_numpy_would_cut_it(
    space: Space, pixels: Array, arguments: Arguments, data: st.DataObject
) -> None:
    plan = plan_for(pixels, arguments)
    index = data.draw(st.integers(0, len(plan) - 1))
    tile = tile_for(plan)
    _core.cut(pixels, plan, index, tile, space)
    expected = reference.cut(pixels, twin_of(plan, arguments), index % plan.columns, index // plan.columns, space)
    np.testing.assert_allclose(tile, expected, rtol=0, atol=3e-7)


def test_three_by_three_pixels_are_mirrored_into_a_tile() -> None:
    pixels = np.arange(9, dtype=np.uint8).reshape(3, 3, 1) * 10
    plan = _core.plan_tiles(3, 3, 5, 1, 0, 1)
    tile = tile_for(plan)
    _core.cut(pixels, plan, 0, tile)
    for plane in tile[0]:
        assert np.rint(plane * 255).astype(int).tolist() == [
            [40, 30, 40, 50, 40],
            [10, 0, 10, 20, 10],
            [40, 30, 40, 50, 40],
            [70, 60, 70, 80, 70],
            [40, 30, 40, 50, 40],
        ]


@pytest.mark.parametrize("space", SPACES)
@given(pictures(side=24), plan_arguments(), st.sampled_from([1, 2]), st.integers(0, 2**32))
def test_any_tiles_are_put_together_as_numpy_would_do_it(
    space: Space, pixels: Array, arguments: Arguments, scale: int, seed: int
) -> None:
    plan = plan_for(pixels, arguments)
    generator = np.random.default_rng(seed)
    shape = (1, 3, plan.tile_height * scale, plan.tile_width * scale)
    tiles = [generator.uniform(-0.1, 1.1, shape).astype(np.float32) for _ in range(len(plan))]
    answers = iter(tiles)
    result = run(pixels, plan, lambda _: next(answers), scale, space)
    expected = reference.assemble(tiles, twin_of(plan, arguments), pixels.shape[2], pixels.dtype, scale, space)
    assert result.dtype == expected.dtype
    # a level of rounding where the blended value lies half-way, and 2e-6 for floats
    tolerance = 1.0 if pixels.dtype.kind == "u" else 2e-6
    np.testing.assert_allclose(result.astype(float), expected.astype(float), rtol=0, atol=tolerance)
    # floats were added in another order, so rounding may fall the other way: rare in any picture of some size
    assert np.mean(result != expected) < 0.02 or pixels.dtype.kind == "f" or result.size < 1000


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("space", SPACES)
@given(st.data(), plan_arguments())
def test_an_identity_network_returns_the_picture_bit_for_bit(
    dtype: str, space: Space, data: st.DataObject, arguments: Arguments
) -> None:
    pixels = data.draw(pictures(dtype))
    np.testing.assert_array_equal(run(pixels, plan_for(pixels, arguments), space=space), pixels)


@given(pictures("float32"), plan_arguments())
def test_an_identity_network_returns_colour_floats_bit_for_bit(pixels: Array, arguments: Arguments) -> None:
    colour = np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
    np.testing.assert_array_equal(run(colour, plan_for(colour, arguments)), colour)


@pytest.mark.parametrize("space", SPACES)
@given(pictures("uint8"), plan_arguments())
def test_half_precision_tiles_are_enough_for_eight_bits(space: Space, pixels: Array, arguments: Arguments) -> None:
    result = run(pixels, plan_for(pixels, arguments), space=space, tile_dtype=np.float16)
    np.testing.assert_array_equal(result, pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_restart_with_a_smaller_plan_returns_the_same_picture(dtype: str) -> None:
    pixels = random_picture(210, 300, 3, dtype)
    plan: _core.TilePlan | None = _core.plan_tiles(300, 210, 160, 5, 6, 8)
    restarts = 0
    while plan:
        canvas = _core.Canvas(plan, 3, "uint8" if dtype == "uint8" else "uint16")
        tile = tile_for(plan)
        _core.cut(pixels, plan, 0, tile)
        canvas.add(0, tile)  # memory runs out here: the canvas is given up with its plan
        np.testing.assert_array_equal(run(pixels, plan), pixels)
        plan = plan.smaller()
        restarts += 1
    assert restarts >= 2


@given(pictures("uint8", side=32), plan_arguments())
def test_a_network_within_its_halo_leaves_no_seam(pixels: Array, arguments: Arguments) -> None:
    tile, radius, blend, multiple_of = arguments
    if radius == 0:
        radius, tile = 1, tile + 2
    result = run(pixels, plan_for(pixels, (tile, radius, blend, multiple_of)), box_filter(radius))
    whole = _core.mirrored(pixels, radius, radius, radius, radius)
    planes = np.broadcast_to(whole, (*whole.shape[:2], 3)).transpose(2, 0, 1)[None] / np.float32(255)
    filtered = box_filter(radius)(planes)[0, :, radius:-radius, radius:-radius].transpose(1, 2, 0)
    expected = np.rint(filtered[..., : pixels.shape[2]] * 255).astype(np.uint8)
    np.testing.assert_array_equal(result, expected)


def test_a_gaussian_within_its_halo_leaves_no_seam_at_sixteen_bits() -> None:
    pixels = random_picture(90, 130, 3, "uint16")
    radius = 6
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / 2.0) ** 2)
    kernel /= kernel.sum()

    def gaussian(tile: Array) -> Array:
        along = np.apply_along_axis(np.convolve, 3, tile.astype(float), kernel, mode="same")
        both = np.apply_along_axis(np.convolve, 2, along, kernel, mode="same")
        return np.ascontiguousarray(both, np.float32)

    result = run(pixels, _core.plan_tiles(130, 90, 50, radius, 4, 4), gaussian)
    whole = _core.mirrored(pixels, radius, radius, radius, radius).transpose(2, 0, 1)[None] / 65535
    expected = gaussian(whole)[0, :, radius:-radius, radius:-radius].transpose(1, 2, 0) * 65535
    assert np.abs(result - expected).max() < 0.51


@pytest.mark.parametrize("scale", [2, 4])
@given(pictures(side=20), plan_arguments())
def test_a_network_that_repeats_pixels_gives_the_picture_enlarged(
    scale: int, pixels: Array, arguments: Arguments
) -> None:
    result = run(pixels, plan_for(pixels, arguments), repeat(scale), scale)
    expected = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    if pixels.dtype == np.float32:
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-7)  # grey: the mean of three
    else:
        np.testing.assert_array_equal(result, expected)


def test_neighbours_fade_into_each_other_evenly() -> None:
    plan = _core.plan_tiles(8, 1, 8, 0, 2, 1)
    assert plan.columns == 2
    canvas = _core.Canvas(plan, 1, "float32")
    for index, value in enumerate([0, 1]):
        canvas.add(index, np.full((1, 3, plan.tile_height, plan.tile_width), value, np.float32))
    assert canvas.take()[0, :, 0].tolist() == [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]


def test_without_a_blend_tiles_are_cropped_side_by_side() -> None:
    plan = _core.plan_tiles(6, 1, 7, 2, 0, 1)
    canvas = _core.Canvas(plan, 1, "uint8")
    for index, value in enumerate([0.2, 0.4]):
        canvas.add(index, np.full((1, 3, plan.tile_height, plan.tile_width), value, np.float32))
    assert canvas.take()[0, :, 0].tolist() == [51, 51, 51, 102, 102, 102]


def test_a_fade_is_never_wider_than_half_a_core() -> None:
    plan = _core.plan_tiles(8, 1, 22, 0, 10, 1)
    assert [plan.core(index)[0] for index in range(len(plan))] == [0, 4]
    canvas = _core.Canvas(plan, 1, "float32")
    for index, value in enumerate([0, 1]):
        canvas.add(index, np.full((1, 3, plan.tile_height, plan.tile_width), value, np.float32))
    assert canvas.take()[0, :, 0].tolist() == [0, 0, 0, 0.25, 0.75, 1, 1, 1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_handed_out_once_and_early(dtype: str) -> None:
    pixels = random_picture(64, 16, 3, dtype)
    plan = _core.plan_tiles(16, 64, 24, 2, 2, 1)
    assert (plan.columns, plan.rows) == (1, 4)
    canvas = _core.Canvas(plan, 3, next(name for name in DTYPES if name == dtype))
    tile = tile_for(plan)
    ready = []
    for index in range(len(plan)):
        _core.cut(pixels, plan, index, tile)
        canvas.add(index, tile)
        ready.append(canvas.rows_ready())
        assert canvas.take().shape == (ready[-1], 16, 3)
        assert canvas.take().shape == (0, 16, 3)
    assert ready == [14, 16, 16, 18]


def test_a_grey_canvas_takes_the_mean_of_three() -> None:
    plan = _core.plan_tiles(1, 1, 4, 0, 0, 1)
    canvas = _core.Canvas(plan, 1, "uint8")
    canvas.add(0, np.array([0.1, 0.2, 0.6], np.float32).reshape(1, 3, 1, 1))
    assert canvas.take().item() == round(0.3 * 255)


def test_values_outside_are_clipped_after_blending() -> None:
    plan = _core.plan_tiles(2, 1, 2, 0, 0, 1)
    canvas = _core.Canvas(plan, 1, "uint8")
    canvas.add(0, np.array([-3, 7] * 3, np.float32).reshape(1, 3, 1, 2))
    assert canvas.take().ravel().tolist() == [0, 255]


def test_results_own_memory_that_was_moved_not_copied() -> None:
    pixels = random_picture(4, 4, 3, "uint8")
    result = run(pixels, _core.plan_tiles(4, 4, 4, 0, 0, 1))
    padded = _core.mirrored(pixels, 1, 1, 1, 1)
    for array in (result, padded):
        assert array.flags.writeable
        assert array.flags.c_contiguous
        assert not np.shares_memory(array, pixels)
