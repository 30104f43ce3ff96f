"""Colour, mixing, mirroring, resizing and measuring, each beside its twin in numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from darkroomd import _core
from tests import reference
from tests.core.pictures import DTYPES, Array, pictures, random_picture

UNIT = st.floats(-0.25, 1.25, width=32)


def another(picture: Array) -> Array:
    """Of the same shape and dtype."""
    height, width, channels = picture.shape
    return random_picture(height, width, channels, picture.dtype.name, seed=1)


@given(arrays(np.float32, array_shapes(min_dims=0, max_dims=4, max_side=6), elements=UNIT))
def test_srgb_is_decoded_and_encoded_as_the_standard_says(values: Array) -> None:
    decoded, encoded = _core.linear_from_srgb(values), _core.srgb_from_linear(values)
    assert decoded.shape == encoded.shape == values.shape
    np.testing.assert_allclose(decoded, reference.linear_from_srgb(values), rtol=0, atol=3e-7)
    np.testing.assert_allclose(encoded, reference.srgb_from_linear(values), rtol=0, atol=6e-7)


@given(arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(0, 5), st.just(3)), elements=UNIT))
def test_luma_chroma_is_that_of_jfif_and_comes_back(rgb: Array) -> None:
    ycc = _core.luma_chroma_from_rgb(rgb)
    np.testing.assert_allclose(ycc, reference.luma_chroma_from_rgb(rgb), rtol=0, atol=5e-7)
    np.testing.assert_allclose(_core.rgb_from_luma_chroma(ycc), rgb, rtol=0, atol=1e-6)
    np.testing.assert_allclose(_core.rgb_from_luma_chroma(ycc), reference.rgb_from_luma_chroma(ycc), atol=1e-6)


def test_every_sixteen_bit_code_survives_light_and_back() -> None:
    codes = np.arange(65536, dtype=np.float32) / np.float32(65535)
    back = _core.srgb_from_linear(_core.linear_from_srgb(codes))
    np.testing.assert_array_equal(np.rint(back * 65535), np.arange(65536))


def test_pure_colours_have_the_luma_of_bt601() -> None:
    colours = np.array([[[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]], np.float32)
    expected = [[0, 0.5, 0.5], [1, 0.5, 0.5], [0.299, 0.3313, 1], [0.587, 0.1687, 0.0813], [0.114, 1, 0.4187]]
    np.testing.assert_allclose(_core.luma_chroma_from_rgb(colours)[0], expected, atol=1e-4)


@given(st.data(), pictures(side=16), st.booleans())
def test_a_mix_is_made_as_numpy_would_make_it(data: st.DataObject, a: Array, even: bool) -> None:
    b = another(a)
    mask: Array | float = data.draw(UNIT) if even else data.draw(arrays(np.float32, a.shape[:2], elements=UNIT))
    mixed, expected = _core.mix(a, b, mask), reference.mix(a, b, mask)
    assert (mixed.dtype, mixed.shape) == (a.dtype, a.shape)
    tolerance = 1.0 if a.dtype.kind == "u" else 1e-6
    np.testing.assert_allclose(mixed.astype(float), expected.astype(float), rtol=0, atol=tolerance)


@given(st.data(), pictures(side=16))
def test_a_mix_is_exact_where_the_mask_is_0_or_1(data: st.DataObject, a: Array) -> None:
    b = another(a)
    mask = data.draw(arrays(np.float32, a.shape[:2], elements=st.sampled_from([0.0, 0.5, 1.0])))
    mixed = _core.mix(a, b, mask)
    np.testing.assert_array_equal(mixed[mask == 0], a[mask == 0])
    np.testing.assert_array_equal(mixed[mask == 1], b[mask == 1])
    np.testing.assert_array_equal(_core.mix(a, b, 0), a)
    np.testing.assert_array_equal(_core.mix(a, b, 1), b)


def test_black_and_white_are_mixed_by_their_light() -> None:
    black, white = np.zeros((3, 3, 1), np.uint8), np.full((3, 3, 1), 255, np.uint8)
    mask = np.array([[0, 0.25, 0.5], [0.75, 1, 0], [0.5, 0.5, 0.5]], np.float32)
    assert _core.mix(black, white, mask)[..., 0].tolist() == [[0, 137, 188], [225, 255, 0], [188, 188, 188]]


@given(st.data(), pictures(side=16), st.integers(1, 9), st.integers(0, 40))
def test_a_coarse_mask_is_made_as_numpy_would_make_it(data: st.DataObject, a: Array, side: int, above: int) -> None:
    b = another(a)
    cells = data.draw(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=4), elements=UNIT))
    mixed, expected = _core.mix_cells(a, b, cells, side, above), reference.mix_cells(a, b, cells, side, above)
    assert (mixed.dtype, mixed.shape) == (a.dtype, a.shape)
    # a tenth of a millionth in the mask is this much of a 16-bit code in the dark
    tolerance = {"u": 2.0, "f": 1e-5}[a.dtype.kind]
    np.testing.assert_allclose(mixed.astype(float), expected.astype(float), rtol=0, atol=tolerance)


def test_a_coarse_mask_passes_from_middle_to_middle() -> None:
    black, white = np.zeros((3, 3, 1), np.uint8), np.full((3, 3, 1), 255, np.uint8)
    cells = np.array([[0, 1]], np.float32)
    assert _core.mix_cells(black, white, cells, 2)[..., 0].tolist() == [[0, 137, 225]] * 3
    assert _core.mix_cells(black, white, cells.T.copy(), 1, above=1)[..., 0].tolist() == [[255] * 3] * 3


@given(pictures(side=12), *[st.integers(0, 40)] * 4)
def test_a_picture_is_mirrored_as_numpy_reflects_it(
    pixels: Array, top: int, bottom: int, left: int, right: int
) -> None:
    padded = _core.mirrored(pixels, top, bottom, left, right)
    np.testing.assert_array_equal(padded, reference.mirrored(pixels, top, bottom, left, right))


@given(pictures(side=14), st.integers(1, 40), st.integers(1, 40))
def test_a_picture_is_resized_as_numpy_would_resize_it(pixels: Array, width: int, height: int) -> None:
    resized, expected = _core.resize(pixels, width, height), reference.resize(pixels, width, height)
    assert (resized.shape, resized.dtype) == (expected.shape, expected.dtype)
    off_by = 1e-5 if pixels.dtype == np.float32 else 1  # rounding
    assert np.abs(resized.astype(np.float64) - expected).max() <= off_by


def test_three_by_three_pixels_at_twice_the_size() -> None:
    pixels = np.array([[0, 0, 0], [0, 240, 0], [0, 0, 0]], np.uint8)[..., None]
    assert _core.resize(pixels, 6, 6)[..., 0].tolist() == [
        [7, 0, 0, 0, 0, 7],
        [0, 15, 51, 51, 15, 0],
        [0, 51, 180, 180, 51, 0],
        [0, 51, 180, 180, 51, 0],
        [0, 15, 51, 51, 15, 0],
        [7, 0, 0, 0, 0, 7],
    ]


def test_stripes_that_are_too_fine_for_the_smaller_picture_become_their_mean_and_no_moire() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))[..., None]
    inner = _core.resize(stripes, 23, 23)[4:-4, 4:-4]
    assert inner.min() >= 124
    assert inner.max() <= 131


@given(pictures(side=40), st.sampled_from([8, 16, 64]))
def test_a_picture_is_measured_as_numpy_would_measure_it(pixels: Array, cell: int) -> None:
    found, expected = _core.measure(pixels, cell), reference.measure(pixels, cell)
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(found, name), values, rtol=2e-4, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_picture_wider_than_one_cell_is_measured_in_cells(dtype: str) -> None:
    pixels = random_picture(150, 200, 3, dtype)
    found, expected = _core.measure(pixels), reference.measure(pixels)
    assert found.edge.shape == (3, 4)
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(found, name), values, rtol=2e-4, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("sigma", [2.0, 5.0, 15.0])
def test_noise_on_a_slope_is_measured_within_five_percent(sigma: float) -> None:
    slope = np.linspace(60, 190, 256)[None, :] + np.zeros((256, 1))
    noisy = slope + np.random.default_rng(0).normal(0, sigma, slope.shape)
    pixels = np.rint(noisy * 257).clip(0, 65535).astype(np.uint16)[..., None]
    assert np.median(_core.measure(pixels).noise_sigma) == pytest.approx(sigma, rel=0.05)


def test_a_blurred_edge_is_softer_than_a_crisp_one() -> None:
    crisp = np.where(np.arange(64) // 16 % 2, 180, 60) + np.zeros((64, 1))
    soft = np.apply_along_axis(lambda row: np.convolve(np.pad(row, 6, "edge"), np.ones(13) / 13, "valid"), 1, crisp)
    crisp_found, soft_found = (_core.measure(np.rint(p).astype(np.uint8)[..., None]) for p in (crisp, soft))
    assert crisp_found.softness.item() < 0.4
    assert soft_found.softness.item() > 0.85


def test_a_flat_picture_has_no_softness_no_noise_and_no_blocks() -> None:
    found = _core.measure(np.full((64, 64, 3), 100, np.uint8))
    assert np.isnan(found.softness).all()
    assert (found.noise_sigma.item(), found.edge.item(), found.blockiness.item()) == (0, 0, 1)


def test_jpeg_blocks_are_told_from_other_steps() -> None:
    generator = np.random.default_rng(0)
    for side, (low, high) in {8: (3, 100), 7: (0.5, 1.5)}.items():
        steps = generator.integers(90, 110, (20, 20)).repeat(side, 0).repeat(side, 1)[:128, :128]
        pixels = (steps + generator.normal(0, 0.5, (128, 128))).round().astype(np.uint8)[..., None]
        assert low < np.median(_core.measure(pixels).blockiness) < high


def test_clipping_is_counted_only_where_every_channel_is_clipped() -> None:
    pixels = np.array([[[0, 0, 0], [0, 0, 1], [255, 255, 255], [255, 254, 255]]] * 2, np.uint8)
    found = _core.measure(pixels)
    assert (found.dark.item(), found.bright.item()) == (0.25, 0.25)
