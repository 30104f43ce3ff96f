"""Each guard, against a result that misbehaves in exactly its way."""

from pathlib import Path

import numpy as np
import pytest
import pyvips
from skimage.color import deltaE_ciede2000, rgb2lab

from darkroomd import device, enhance
from darkroomd.guard import Box, Checked, colour_difference, guards, lab_from_srgb, weakened
from darkroomd.job import Engine, GuardResult, Picture, Tags
from darkroomd.look import findings
from darkroomd.models import cards
from tests import networks, pictures


def checked(before: np.ndarray, after: np.ndarray, noise_sigma: float = 0.0) -> dict[str, GuardResult]:
    return {check.name: check for check in answer(before, after, noise_sigma).results}


def answer(
    before: np.ndarray,
    after: np.ndarray,
    noise_sigma: float = 0.0,
    faces: tuple[Box, ...] = (),
    text: tuple[Box, ...] = (),
) -> Checked:
    a, b = (Picture(np.ascontiguousarray(pixels), None, "png", Tags()) for pixels in (before, after))
    return guards(a, b, noise_sigma, faces=faces, text=text)


def tripped(before: np.ndarray, after: np.ndarray, faces: tuple[Box, ...] = (), text: tuple[Box, ...] = ()) -> set[str]:
    return {check.name for check in answer(before, after, faces=faces, text=text).results if not check.passed}


def coffee() -> np.ndarray:
    return pictures.read(pictures.free_picture("coffee.png"))


def face() -> tuple[np.ndarray, Box]:
    """A portrait and where its face is."""
    return pictures.read(pictures.free_picture("astronaut.png")), (160.0, 60.0, 130.0, 140.0)


def sharpened(pixels: np.ndarray, amount: float) -> np.ndarray:
    """Unsharp mask of radius 2."""
    low = pictures.image_of(pixels).gaussblur(2.0).numpy().astype(np.float32)
    return np.asarray(np.clip(np.rint(pixels + amount * (pixels - low)), 0, 255), dtype=np.uint8)


def test_the_same_picture_passes_with_nothing_to_say() -> None:
    scene = pictures.scene(300, 200)
    assert all(check.passed and abs(check.value) < 1e-6 for check in checked(scene, scene).values())
    portrait, where = face()
    same = answer(portrait, portrait, faces=(where,), text=(where,))
    assert [check.name for check in same.results][-2:] == ["face", "text"]
    assert same.passed


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


def test_a_tint_on_grey_is_caught_where_it_would_be_lost_in_the_mean() -> None:
    scene = coffee()
    scene[:160, :192] = 128
    tinted = scene.copy()
    tinted[:160, :192] = [134, 128, 122]
    assert tripped(scene, tinted) == {"neutral"}


def test_white_that_is_no_longer_white_is_caught() -> None:
    scene = coffee()
    scene[:128, :128] = 255
    duller = scene.copy()
    duller[:128, :128] = 250
    assert tripped(scene, duller) == {"white"}


def test_structure_that_has_become_even_or_a_mosaic_is_caught() -> None:
    scene = coffee()
    part = scene[128:256, 256:384]
    flat, mosaic = scene.copy(), scene.copy()
    flat[128:256, 256:384] = pictures.image_of(part).gaussblur(24).numpy()
    blocks = part.reshape(8, 16, 8, 16, 3).mean(axis=(1, 3)).round()
    mosaic[128:256, 256:384] = blocks.repeat(16, axis=0).repeat(16, axis=1)
    assert "flat" in tripped(scene, flat)
    assert "flat" in tripped(scene, mosaic)


def test_halos_are_caught_and_the_sharpness_of_the_truth_is_not() -> None:
    scene = coffee()
    soft = pictures.image_of(scene).gaussblur(1.0).numpy()
    assert "halo" in tripped(soft, sharpened(soft, 3.0))
    assert tripped(soft, scene) == set()


def test_the_border_of_a_tile_is_caught_in_both_directions() -> None:
    y = np.linspace(60, 200, 400)[:, None, None] + np.random.default_rng(0).normal(0, 1, (400, 400, 1))
    sky = np.rint(np.broadcast_to(y, (400, 400, 3))).astype(np.uint8)
    for axis in (0, 1):
        brighter = np.moveaxis(sky.copy(), axis, 0)
        brighter[203:] += 4
        assert tripped(sky, np.moveaxis(brighter, 0, axis)) == {"seam"}


def test_the_border_of_a_single_tile_is_caught_in_texture_too() -> None:
    grass = np.random.default_rng(0).normal(120, 25, (400, 400, 3))
    texture = pictures.image_of(np.clip(grass, 0, 255).astype(np.uint8)).gaussblur(0.7).numpy()
    brighter = texture.copy()
    brighter[128:320, 160:] += 4
    assert tripped(texture, brighter) == {"seam"}


@pytest.mark.parametrize("name", ["coffee.png", "astronaut.png", "chelsea.png"])
def test_the_truth_itself_is_never_refused(name: str) -> None:
    truth = pictures.read(pictures.free_picture(name))
    saved = np.asarray(pyvips.Image.new_from_buffer(pictures.jpeg_bytes(truth, 10), "").numpy())
    soft = pictures.image_of(truth).gaussblur(2.0).numpy()
    for before, quality in ((saved, 10), (soft, None)):
        original = Picture(before, None, "jpeg", Tags(), jpeg_quality=quality)
        found = findings(original)
        sigmas = found.noise_sigma, found.blur_sigma or 0.0
        checked = guards(original, original.with_pixels(truth), *sigmas, quality=found.visible_quality)
        assert [check.name for check in checked.results if not check.passed] == []


def test_a_face_that_is_another_or_elsewhere_is_caught() -> None:
    portrait, (left, top, width, height) = face()
    where = (left, top, width, height)
    rows, columns = slice(int(top), int(top + height)), slice(int(left), int(left + width))
    mirrored, moved = portrait.copy(), portrait.copy()
    mirrored[rows, columns] = portrait[rows, columns][:, ::-1]
    moved[rows, columns] = np.roll(portrait, 10, axis=1)[rows, columns]
    soft = pictures.image_of(portrait).gaussblur(2.0).numpy()
    assert "face" in tripped(portrait, mirrored, faces=(where,))
    assert "face" in tripped(portrait, moved, faces=(where,))
    assert "face" not in tripped(soft, portrait, faces=(where,))
    assert "face" not in tripped(portrait, mirrored)


def test_a_face_where_none_was_is_caught_and_one_that_noise_had_hidden_is_not() -> None:
    portrait, (left, top, width, height) = face()
    person = portrait[int(top) : int(top + height), int(left) : int(left + width)].astype(int)
    wall = pictures.with_noise(np.full((300, 300, 3), 110, np.uint8), 20)
    here, where = (slice(80, 80 + person.shape[0]), slice(90, 90 + person.shape[1])), (90.0, 80.0, width, height)
    invented = wall.copy()
    invented[here] = np.clip(110 + 0.2 * (person - person.mean()), 0, 255)  # so faint that no area is off by much
    hidden = pictures.with_noise(invented, 40)

    def said(before: np.ndarray) -> dict[str, bool]:
        a, b = (Picture(np.ascontiguousarray(pixels), None, "png", Tags()) for pixels in (before, invented))
        return {check.name: check.passed for check in guards(a, b, 40.0, appeared=(where,)).results}

    assert said(wall)["area"]
    assert not said(wall)["invented"]
    assert said(hidden)["invented"]


def test_only_the_border_of_a_tile_goes_back_to_the_original() -> None:
    y = np.linspace(60, 200, 400)[:, None, None] + np.random.default_rng(0).normal(0, 1, (400, 400, 1))
    sky = np.rint(np.broadcast_to(y, (400, 400, 3))).astype(np.uint8)
    brighter = sky.copy()
    brighter[203:] += 4
    before, after = (Picture(pixels, None, "png", Tags()) for pixels in (sky, brighter))
    checked = answer(sky, brighter)
    assert np.flatnonzero(checked.spoiled.any(axis=1)).tolist() == [6]
    less = weakened(before, after, checked, 0.0)
    assert less is not None
    assert answer(sky, less.pixels).passed
    assert (less.pixels[300:] == brighter[300:]).all()


def test_letters_that_lose_a_stroke_are_caught() -> None:
    page = pictures.read(pictures.free_picture("page.png")).repeat(3, axis=2)
    everywhere = (0.0, 0.0, float(page.shape[1]), float(page.shape[0]))
    image = pictures.image_of(page)
    without_thin = image.rank(1, 3, 2).rank(1, 3, 0).numpy()  # horizontal strokes thinner than three pixels are gone
    assert "text" in tripped(page, without_thin, text=(everywhere,))
    assert "text" not in tripped(image.gaussblur(0.8).numpy(), page, text=(everywhere,))


def test_letters_that_were_shaken_may_become_legible_again_and_sharp_ones_get_no_halos() -> None:
    page = pictures.read(pictures.free_picture("page.png")).repeat(3, axis=2).astype(np.float64)
    page = np.clip(page + np.random.default_rng(0).normal(0, 3, page.shape), 0, 255)  # paper, not a drawing
    lines = tuple((0.0, float(top), float(page.shape[1]), 24.0) for top in range(0, page.shape[0] - 24, 24))
    moved = [np.roll(page, n, axis=1)[:, 16:-16] for n in range(-3, 4)]
    shaken, legible = (np.rint(np.mean(part, axis=0)).astype(np.uint8) for part in (moved, moved[3:5]))
    assert "halo" in tripped(shaken, legible)
    assert tripped(shaken, legible, text=lines) == set()
    assert "halo" in tripped(page.astype(np.uint8), sharpened(page.astype(np.uint8), 4.0), text=lines)


@pytest.mark.parametrize(
    ("guard", "network"),
    [
        ("area", networks.times(0)),
        ("colour", networks.plus(0.05, 0.0, -0.05)),
        ("neutral", networks.plus(0.05, 0.0, -0.05)),
        ("white", networks.at_most(0.97)),
        ("flat", networks.even()),
        ("flat", networks.mosaic(16)),
        ("halo", networks.oversharpened(4.0)),
        ("seam", networks.by_its_own_mean(0.2)),
        ("face", networks.mirrored()),
        ("text", networks.lightest(7)),
    ],
)
def test_a_network_that_misbehaves_in_this_way_trips_the_check_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: str, network: bytes
) -> None:
    """One that answers with no number is in test_enhance.py, one that paints a face in test_faces.py."""
    bad = network, {"blend": 0, "multiple_of": 16}
    networks.shipped(tmp_path / "models", monkeypatch, bad=bad, good=networks.identity())
    portrait, where = face()
    page = pictures.read(pictures.free_picture("page.png")).repeat(3, axis=2)
    before = np.ascontiguousarray(page if guard == "text" else portrait)
    if guard in ("white", "neutral"):
        before[:256, :256] = 255 if guard == "white" else 128
    boxes: dict[str, tuple[Box, ...]] = {
        "faces": (where,) if guard == "face" else (),
        "text": ((0.0, 0.0, float(page.shape[1]), float(page.shape[0])),) if guard == "text" else (),
    }
    for name, trips in (("bad", True), ("good", False)):
        after = enhance.through(device.Network(cards()[name], Engine()), before, Engine())
        assert (guard in tripped(before, after, **boxes)) == trips


def test_a_result_of_another_size_cannot_be_weakened() -> None:
    scene = coffee()
    original, larger = (Picture(p, None, "png", Tags()) for p in (scene, scene.repeat(2, axis=0).repeat(2, axis=1)))
    assert weakened(original, larger, answer(scene, scene), 0.5) is None


def test_only_the_place_that_failed_goes_back_to_the_original_and_its_border_is_soft() -> None:
    scene = coffee()
    better = np.clip(scene.astype(int) + 3, 0, 255).astype(np.uint8)
    better[128:192, 128:192] = 0
    before, after = (Picture(pixels, None, "png", Tags()) for pixels in (scene, better))
    checked = answer(scene, better)
    less = weakened(before, after, checked, 0.0)
    assert less is not None
    assert np.array_equal(less.pixels[128:192, 128:192], scene[128:192, 128:192])
    assert np.array_equal(less.pixels[256:], better[256:])
    change = less.pixels.astype(int) - scene
    assert np.abs(np.diff(change[160, 192:256, 0])).max() <= 1
    assert answer(scene, less.pixels).passed


def test_without_a_place_to_blame_the_whole_result_is_weakened() -> None:
    scene = coffee()
    shifted = np.clip(scene.astype(int) + np.array([0, 0, 12]), 0, 255).astype(np.uint8)
    before, after = (Picture(pixels, None, "png", Tags()) for pixels in (scene, shifted))
    half = weakened(before, after, answer(scene, shifted), 0.5)
    assert half is not None
    assert 3 < (half.pixels[..., 2].astype(int) - scene[..., 2]).mean() < 9


def test_a_mode_that_is_asked_to_change_colours_is_not_held_to_them() -> None:
    scene = coffee()
    before, after = (Picture(pixels, None, "png", Tags()) for pixels in (scene, 255 - (255 - scene) // 2))
    names = [check.name for check in guards(before, after, 0.0, tone_kept=False).results]
    assert names == ["flat", "halo", "seam"]


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
