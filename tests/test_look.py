"""What look sees in pictures whose faults are known, and what it says cannot be saved."""

from pathlib import Path

import numpy as np
import pytest
import pyvips

from darkroomd import look
from darkroomd.job import Box, Face, Findings, Picture, Tags
from darkroomd.look import findings
from darkroomd.resolution import enlarged, trace
from tests import networks, pictures


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


def test_the_white_of_a_page_is_no_lost_light() -> None:
    page = np.full((400, 400, 3), 255, np.uint8)
    for top in range(40, 360, 20):
        page[top : top + 8, 40:360:3] = 0
    found = seen(page)
    assert found.content == "document"
    assert found.clipped_percent > 50
    assert not any("white" in limit for limit in found.limits)


def test_strong_blur_is_said_to_be_beyond_repair() -> None:
    found = seen(pictures.image_of(coffee()).gaussblur(3.5).numpy())
    assert any(limit.startswith("strong blur") for limit in found.limits)


def test_a_picture_of_which_blur_left_nothing_but_the_sensors_faint_noise_is_not_taken_for_sharp() -> None:
    """The noise has the crispest edges there. Nor is one that was enlarged from a stamp."""
    blurred = pictures.image_of(coffee()).gaussblur(12).numpy()
    stamp = pictures.image_of(coffee()).resize(1 / 30).resize(30).numpy()
    for lost in (blurred, stamp):
        found = seen(pictures.with_noise(lost, 2))
        assert found.blur_sigma is not None
        assert found.blur_sigma > 5
        assert any(limit.startswith("strong blur") for limit in found.limits)
    assert seen(pictures.with_noise(coffee(), 2)).limits == seen(coffee()).limits


@pytest.mark.parametrize("quality", [100, 85])
@pytest.mark.parametrize("kernel", ["cubic", "lanczos3", "linear"])
def test_a_picture_that_was_enlarged_is_told_with_the_size_that_it_had(kernel: str, quality: int) -> None:
    small = pictures.image_of(coffee())
    large = small.resize(2, kernel=kernel).cast("uchar").numpy()
    saved = pyvips.Image.new_from_buffer(pictures.jpeg_bytes(large, quality), "").numpy()
    (said,) = (limit for limit in seen(saved).limits if limit.startswith("enlarged from about"))
    width, height = (int(side) for side in said.split()[3].split("×"))
    assert 400 <= width <= 600
    assert height == pytest.approx(width * 2 / 3, abs=2)


@pytest.mark.parametrize("name", ["coffee.png", "astronaut.png", "chelsea.png", "motorcycle_left.png"])
def test_a_picture_as_it_was_taken_is_not_called_enlarged(name: str) -> None:
    taken = pictures.image_of(pictures.read(pictures.free_picture(name)))
    saved = pyvips.Image.new_from_buffer(taken.jpegsave_buffer(Q=60), "")
    for image in (taken, saved, taken.gaussblur(1.0), taken.resize(0.7), taken.crop(3, 5, 260, 250)):
        assert not enlarged(np.ascontiguousarray(image.cast("uchar").numpy()))


def test_pixels_halfway_between_their_neighbours_leave_a_trace_and_others_none() -> None:
    taken = np.random.default_rng(0).integers(-9, 10, (200, 200)).cumsum(axis=1).astype(np.float32)
    between = (taken[:, 1:] + taken[:, :-1]) / 2
    enlarged_twice = np.stack([taken[:, :-1], between], axis=2).reshape(200, -1)
    assert trace(enlarged_twice) > 2
    assert trace(taken) < 1
    assert trace(np.zeros((200, 200), np.float32)) == 0


def test_noise_alone_is_said_to_show_nothing_and_a_photograph_in_as_much_noise_is_not() -> None:
    grey = np.full((512, 512, 3), 128, np.uint8)
    assert any(limit.startswith("hardly anything but noise") for limit in seen(pictures.with_noise(grey, 60)).limits)
    faint = (100 + coffee() // 5).astype(np.uint8)
    assert not any("hardly anything" in limit for limit in seen(pictures.with_noise(faint, 50)).limits)


def test_noise_over_strong_blur_is_not_taken_for_crisp_edges() -> None:
    found = seen(pictures.with_noise(pictures.image_of(coffee()).gaussblur(6).numpy(), 2))
    assert any(
        "strong blur" in limit and "no more to see than in a picture of about" in limit for limit in found.limits
    )
    assert seen(pictures.with_noise(coffee(), 2)).limits == seen(coffee()).limits


def test_noise_with_no_picture_beneath_is_said_to_be_that() -> None:
    noise = seen(pictures.with_noise(np.full_like(coffee(), 128), 60))
    assert any("hardly anything but noise" in limit for limit in noise.limits)
    assert not any("noise" in limit for limit in seen(pictures.with_noise(coffee(), 60)).limits)


@pytest.mark.parametrize("sigma", [3, 15, 40])
def test_the_noise_is_told_within_three_levels_in_a_photograph(sigma: int) -> None:
    assert seen(pictures.with_noise(coffee(), sigma)).noise_sigma == pytest.approx(sigma, abs=3)


@pytest.mark.parametrize("quality", [15, 40, 70])
def test_compression_is_seen_in_pixels_when_the_file_does_not_tell(quality: int) -> None:
    saved = pyvips.Image.new_from_buffer(pictures.jpeg_bytes(coffee(), quality), "").numpy()
    assert seen(saved).visible_quality == pytest.approx(quality, abs=10)
    assert seen(coffee()).visible_quality == pytest.approx(100, abs=10)


def test_an_earlier_save_shows_beneath_the_number_of_the_last() -> None:
    saved = pyvips.Image.new_from_buffer(pictures.jpeg_bytes(coffee(), 20), "").numpy()
    resaved = Picture(saved, None, "jpeg", Tags(), jpeg_quality=95)
    honest = Picture(saved, None, "jpeg", Tags(), jpeg_quality=20)
    assert findings(resaved).visible_quality == pytest.approx(20, abs=10)
    assert (findings(resaved).jpeg_quality, findings(honest).visible_quality) == (95, 20)


def test_brows_and_lashes_are_no_line_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    face = Face(200, 100, 120, 160, ((230, 150), (290, 150), (260, 180), (235, 220), (285, 220)), 0.9)
    brows, sign = Box(210, 130, 90, 20), Box(20, 20, 150, 30)
    monkeypatch.setattr(look, "detector", lambda *_: object())
    monkeypatch.setattr(look, "faces", lambda *_: (face,))
    monkeypatch.setattr(look, "lines", lambda *_, **__: (sign, brows))
    found = findings(Picture(coffee(), None, "png", Tags()), frozenset({"faces", "text"}))
    assert found.text == (sign,)


def test_film_grain_is_told_from_noise() -> None:
    grain = np.random.default_rng(0).normal(0, 1, (400, 600))
    soft = (
        pyvips.Image.new_from_array(grain.astype(np.float32)).gaussblur(0.8, min_ampl=0.01, precision="float").numpy()
    )
    tone = coffee()[:, :, 1:2] / 255
    silver = coffee() + 12 * (soft / soft.std())[:, :, None] * (0.4 + 2.4 * tone * (1 - tone))
    grainy, noisy = seen(np.clip(np.rint(silver), 0, 255).astype(np.uint8)), seen(pictures.with_noise(coffee(), 12))
    assert grainy.grain is not None
    assert noisy.grain is not None
    assert noisy.grain < 0.2
    assert grainy.grain > 0.5


def test_movement_is_told_from_softness_and_said_to_be_a_limit() -> None:
    mask = pyvips.Image.new_from_array([[1.0] * 21], scale=21.0)
    moved = seen(pictures.image_of(coffee()).conv(mask).cast("uchar").numpy())
    soft = seen(pictures.image_of(coffee()).gaussblur(2.0).numpy())
    assert moved.motion is not None
    assert soft.motion is not None
    assert soft.motion < 0.5 < moved.motion
    assert any(limit.startswith("strong motion blur") for limit in moved.limits)


def test_a_dark_picture_and_one_of_nothing_are_said_to_be_so() -> None:
    dark = seen((coffee() // 16).astype(np.uint8))
    assert any(limit.startswith("very dark") for limit in dark.limits)
    nothing = seen(np.full((200, 200, 3), 90, np.uint8))
    assert nothing.limits == ("almost the same everywhere: there is too little in the picture to work on",)


def test_a_strongly_compressed_photograph_is_not_taken_for_a_drawing() -> None:
    flat = pictures.image_of(coffee() // 4 + 60).gaussblur(3).numpy()
    saved = pyvips.Image.new_from_buffer(pictures.jpeg_bytes(flat, 10), "").numpy()
    assert (saved[:, 1:] == saved[:, :-1]).all(axis=2).mean() > 0.5
    assert seen(saved).visible_quality == pytest.approx(10, abs=10)


def test_a_drawing_is_not_taken_for_compressed() -> None:
    assert seen(pictures.scene(640, 480)).visible_quality is None


def test_content_is_told_by_tone() -> None:
    grey = coffee()[:, :, 1:2].repeat(3, axis=2)
    assert seen(grey).content == "old photo"
    assert seen(coffee()).content == "photo"


def test_a_view_of_sky_over_land_is_a_landscape_and_a_cup_on_a_table_is_not() -> None:
    sky = np.linspace(1, 0.6, 200)[:, None, None] * np.array([110, 160, 235]) + np.zeros((200, 600, 1))
    land = np.array([70, 95, 40]) + np.random.default_rng(0).normal(0, 14, (200, 600, 1))
    view = np.concatenate([sky, land]).clip(0, 255).astype(np.uint8)
    assert seen(view).content == "landscape"
    assert seen(coffee()).content == "photo"


def test_without_the_network_the_core_measures_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, same=networks.identity())
    read = seen(pictures.with_noise(coffee(), 10))
    assert read.noise_sigma == pytest.approx(10, rel=0.33)
    assert (read.grain, read.motion, read.visible_quality) == (None, None, None)


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
