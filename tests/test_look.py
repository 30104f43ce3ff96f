"""What look sees in pictures whose faults are known, and what it says cannot be saved."""

import numpy as np
import pytest
import pyvips

from darkroomd.job import Findings, Picture, Tags
from darkroomd.look import findings
from tests import pictures


def seen(pixels: np.ndarray) -> Findings:
    return findings(Picture(pixels, None, "png", Tags()))


def coffee() -> np.ndarray:
    return pictures.read(pictures.free_picture("coffee.png"))


@pytest.mark.parametrize("sigma", [5, 10, 20])
def test_the_noise_of_a_photograph_is_told_within_a_third(sigma: int) -> None:
    assert seen(pictures.with_noise(coffee(), sigma)).noise_sigma == pytest.approx(sigma, rel=0.33)


def test_texture_is_not_taken_for_noise() -> None:
    assert seen(coffee()).noise_sigma < 2.5


def test_blur_grows_with_blur() -> None:
    image = pictures.image_of(coffee())
    read = [seen(image.gaussblur(sigma).numpy()).blur_sigma or 0.0 for sigma in (1.0, 1.5, 2.0)]
    assert read[0] == pytest.approx(1.0, abs=0.4)
    assert 0 < read[0] < read[1] < read[2]


def test_blocks_are_seen_in_pixels_even_when_the_file_is_not_a_jpeg() -> None:
    saved = pictures.image_of(coffee()).jpegsave_buffer(Q=20)
    blocky = pyvips.Image.new_from_buffer(saved, "").numpy()
    assert seen(blocky).blockiness > 2.1
    assert seen(coffee()).blockiness == pytest.approx(1.0, abs=0.1)


def test_clipped_light_and_black_shadows_are_said_in_percent() -> None:
    pixels = np.full((200, 200, 3), 128, np.uint8)
    pixels[:20] = 255
    pixels[-40:] = 0
    found = seen(pixels)
    assert found.clipped_percent == pytest.approx(30, abs=0.1)
    assert found.limits == (
        "10 % of the picture is clipped to white: nothing to reconstruct there",
        "20 % of the picture is clipped to black: nothing to reconstruct there",
    )


def test_strong_blur_is_said_to_be_beyond_repair() -> None:
    found = seen(pictures.image_of(coffee()).gaussblur(5).numpy())
    assert any("strong blur" in limit for limit in found.limits)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 1), (65, 3)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_picture_too_small_or_too_plain_to_tell_is_called_good(size: tuple[int, int], value: int) -> None:
    found = seen(np.full((*size, 3), value, np.uint8))
    assert (found.noise_sigma, found.blur_sigma, found.blockiness) == (0.0, None, 1.0)


def test_sixteen_bits_and_grey_read_the_same_as_eight_and_colour() -> None:
    pixels = pictures.with_noise(coffee(), 10)
    wide = pixels.astype(np.uint16) * 257
    assert seen(wide).noise_sigma == pytest.approx(seen(pixels).noise_sigma, abs=0.05)
    grey = pixels[:, :, 1:2].copy()
    assert seen(grey).noise_sigma == pytest.approx(seen(grey.repeat(3, axis=2)).noise_sigma, abs=0.01)
