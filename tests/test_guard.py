"""Each guard, against a result that misbehaves in exactly its way."""

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from darkroomd.guard import colour_difference, guards, lab_from_srgb
from darkroomd.job import GuardResult, Picture, Tags
from darkroomd.look import findings
from tests import pictures


def checked(before: np.ndarray, after: np.ndarray, noise_sigma: float = 0.0) -> dict[str, GuardResult]:
    a, b = (Picture(pixels, None, "png", Tags()) for pixels in (before, after))
    return {check.name: check for check in guards(a, b, noise_sigma)}


def test_the_same_picture_passes_with_nothing_to_say() -> None:
    scene = pictures.scene(300, 200)
    assert all(check.passed and check.value == 0 for check in checked(scene, scene).values())


@pytest.mark.parametrize("brightness", [1.0, 0.33])
@pytest.mark.parametrize("sigma", [5, 16, 25, 50])
def test_noise_taken_away_passes_even_where_it_was_clipped_at_black(sigma: int, brightness: float) -> None:
    bright = pictures.read(pictures.free_picture("coffee.png")).astype(np.float64)
    truth = np.rint(bright * brightness).astype(np.uint8)
    noisy = pictures.with_noise(truth, sigma)
    read = findings(Picture(noisy, None, "png", Tags())).noise_sigma
    assert all(check.passed for check in checked(noisy, truth, read).values())


def test_a_shift_of_all_colours_is_caught() -> None:
    scene = pictures.scene(300, 200)
    shifted = np.clip(scene.astype(int) + np.array([0, 0, 12]), 0, 255).astype(np.uint8)
    assert not checked(scene, shifted)["colour"].passed


def test_one_black_tile_in_a_large_picture_is_caught() -> None:
    scene = pictures.scene(1500, 1000)
    spoiled = scene.copy()
    spoiled[100:164, 200:264] = 0
    checks = checked(scene, spoiled)
    assert checks["colour"].passed
    assert not checks["area"].passed


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 5, 3), (16, 16, 1), (4000, 2, 3), (2, 4000, 1)])
def test_pictures_of_any_size_can_be_checked(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    assert all(check.passed for check in checked(pixels, pixels.copy()).values())


def test_the_colour_difference_is_ciede2000() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 500, 3)).astype(np.float32)
    b[:100] = a[:100] + 0.01
    b[100:150] = a[100:150, :1]
    witness = deltaE_ciede2000(rgb2lab(a), rgb2lab(np.clip(b, 0, 1)))
    assert np.abs(colour_difference(a, b) - witness).max() < 0.05


def test_white_grey_and_red_have_the_lab_values_of_the_books() -> None:
    colours = np.array([[1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0]], np.float32)
    expected = np.array([[100, 0, 0], [53.39, 0, 0], [53.24, 80.09, 67.20]])
    assert np.abs(lab_from_srgb(colours) - expected).max() < 0.05
