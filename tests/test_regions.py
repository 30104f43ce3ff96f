"""Faces and lines of text get a network of their own, laid over the picture without a border."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkroomd import device, enhance, grain, regions, tone
from darkroomd.job import Box, Engine, Face, Findings, Maps, Mode, Picture, Ramp, Tags, Treatment
from tests import networks, pictures

ENGINE = Engine(device="cpu")


@pytest.fixture(autouse=True)
def sessions_of_their_own() -> Iterator[None]:
    device.network.cache_clear()
    yield
    device.network.cache_clear()


def face(x: float, y: float, eyes: float, roll: float = 0.0) -> Face:
    """As the detector would give it: centre, distance between the eyes, and how far it is tilted (radians)."""
    width, height = eyes / 0.44, eyes / 0.44 * 1.25
    along, down = (math.cos(roll), math.sin(roll)), (-math.sin(roll), math.cos(roll))

    def at(across: float, below: float) -> tuple[float, float]:
        return x + across * along[0] + below * down[0], y + across * along[1] + below * down[1]

    points = (
        at(-eyes / 2, -height / 8),
        at(eyes / 2, -height / 8),
        at(0, 0),
        at(-eyes / 3, height / 4),
        at(eyes / 3, height / 4),
    )
    return Face(x - width / 2, y - height / 2, width, height, points, 0.9)


def found(**facts: Any) -> Findings:
    clean: dict[str, Any] = {
        "megapixels": 1.0, "noise_sigma": 0.5, "blur_sigma": 0.3, "blockiness": 1.0, "jpeg_quality": 95,
        "clipped_percent": 0.0,
    }  # fmt: skip
    return Findings(**(clean | facts))


PORTRAIT = Mode("portrait", (Treatment("same", "background"), Treatment("black", "faces")), background="general")
TEXT = Mode("text", (Treatment("same", "background"), Treatment("black", "text")), background="leave")


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks.shipped(
        tmp_path / "models", monkeypatch,
        same=networks.identity(), black=networks.times(0), blur=(networks.box_blur(3), {"halo": 3}),
    )  # fmt: skip


def done(mode: Mode, pixels: Any, findings: Findings) -> Any:
    height, width = pixels.shape[:2]
    steps = enhance.steps_for(findings, mode, (width, height))
    return enhance.enhanced(Picture(pixels, None, "png", Tags()), steps, ENGINE, findings).pixels


# Which steps


@pytest.mark.usefixtures("shipped")
def test_a_region_that_is_there_gets_its_network_and_the_rest_its_own() -> None:
    steps = enhance.steps_for(found(faces=(face(200, 200, 40), face(400, 200, 40))), PORTRAIT, (640, 480))
    assert [(step.model, step.region, step.reason) for step in steps] == [
        ("same", "background", "mode portrait"), ("black", "faces", "2 faces"),
    ]  # fmt: skip
    assert enhance.missing(found(faces=(face(200, 200, 40),)), PORTRAIT) == ()
    left = enhance.steps_for(found(faces=(face(200, 200, 40),)), replace(PORTRAIT, background="leave"), (640, 480))
    assert [(step.region, step.reason) for step in left] == [("faces", "1 face")]


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize(
    ("mode", "facts", "said"),
    [
        (PORTRAIT, {"faces": ()}, "no face was found"),
        (PORTRAIT, {"faces": (face(200, 200, 5),)}, "the faces are too small to be restored"),
        (
            PORTRAIT,
            {"faces": None},
            "no face was looked for: the detector is not here; `darkroomd models fetch` gets it",
        ),
        (replace(TEXT, background="general"), {"text": ()}, "no text was found"),
    ],
)
def test_without_what_the_mode_is_for_all_is_background_and_it_is_said(mode: Mode, facts: Any, said: str) -> None:
    (step,) = enhance.steps_for(found(**facts), mode, (640, 480))
    assert (step.model, step.region) == ("same", "all")
    assert enhance.missing(found(**facts), mode) == (said,)
    nothing = replace(mode, background="leave")
    assert enhance.steps_for(found(**facts), nothing, (640, 480)) == ()
    assert enhance.missing(found(**facts), replace(mode, choose=True)) == ()


# Where


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_only_the_face_and_its_hair_change_and_there_is_no_border(dtype: Any) -> None:
    white = np.full((480, 640, 3), np.iinfo(dtype).max, dtype)
    somebody = face(320, 250, 48)
    after = done(PORTRAIT, white, found(faces=(somebody,))) / np.iinfo(dtype).max
    for x, y in (*somebody.points, (320, 250 - 1.0 * somebody.height / 2)):  # the hair line, too
        assert after[int(y), int(x)].max() < 0.02
    away = np.hypot(*(np.mgrid[:480, :640] - np.array([250, 320])[:, None, None]))
    assert after[away > 1.2 * somebody.height].min() == 1
    row = after[250, :, 0].astype(np.float64)
    assert np.abs(np.diff(row)).max() < 0.16  # codes; the fade is even in light
    assert np.count_nonzero((row > 0.05) & (row < 0.95)) > 16


@pytest.mark.usefixtures("shipped")
def test_the_faces_network_sees_the_picture_and_not_what_the_background_became() -> None:
    pixels = pictures.with_noise(pictures.scene(400, 300), 20)
    mode = Mode("m", (Treatment("black", "background"), Treatment("same", "faces")), background="general")
    somebody = face(200, 150, 40)
    after = done(mode, pixels, found(faces=(somebody,)))
    x, y = (int(value) for value in somebody.points[2])
    np.testing.assert_array_equal(after[y - 9 : y + 9, x - 9 : x + 9], pixels[y - 9 : y + 9, x - 9 : x + 9])
    assert after[:20].max() == 0


@pytest.mark.usefixtures("shipped")
def test_after_a_step_over_everything_faces_are_restored_in_its_result() -> None:
    pixels = pictures.with_noise(pictures.scene(400, 300), 20)
    mode = Mode("old", (Treatment("black"), Treatment("same", "faces")))
    assert done(mode, pixels, found(faces=(face(200, 150, 40),))).max() == 0


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize("eyes", [10.0, 40.0, 300.0])
@pytest.mark.parametrize("turned", [0.0, 0.4, math.pi / 2, math.pi, -math.pi / 2])
def test_a_network_that_changes_nothing_changes_no_face_of_any_size_however_it_is_turned(
    eyes: float, turned: float
) -> None:
    pixels = pictures.with_noise(pictures.scene(500, 400), 8)
    mode = Mode("m", (Treatment("same", "faces"),))
    after = done(mode, pixels, found(faces=(face(250, 200, eyes, turned),)))
    assert np.abs(after.astype(int) - pixels).max() <= 1  # rounding


def test_faces_are_shown_at_the_size_and_the_way_up_that_the_network_knows() -> None:
    somebody = [face(1500, 1500, eyes) for eyes in (5, 12, 24, 100, 512)]
    patches = regions.face_patches(somebody, 3000, 3000)
    assert [patch.factor for patch in patches] == [2.0, 1.0, 1.0, 0.25]
    turned = regions.face_patches([face(500, 500, 40, quarter * math.pi / 2 + 0.2) for quarter in range(4)], 1000, 1000)
    assert [patch.turns for patch in turned] == [0, 1, 2, 3]
    marked = np.zeros((1000, 1000), np.uint8)
    for patch, quarter in zip(turned, range(4), strict=True):
        (eye_x, eye_y), *_, (mouth_x, mouth_y) = face(500, 500, 40, quarter * math.pi / 2 + 0.2).points
        marked[:] = 0
        marked[int(eye_y), int(eye_x)], marked[int(mouth_y), int(mouth_x)] = 1, 2
        box = patch.box
        part = marked[box.top : box.top + box.height, box.left : box.left + box.width]
        upright = np.rot90(part, patch.turns)
        assert np.argwhere(upright == 1)[0][0] < np.argwhere(upright == 2)[0][0] - 20  # eyes above the mouth


@pytest.mark.usefixtures("shipped")
def test_a_face_at_the_border_of_the_picture_and_one_beyond_it_do_no_harm() -> None:
    pixels = pictures.scene(120, 90)
    for somebody in (face(2, 2, 30), face(118, 88, 60), face(60, 45, 200)):
        assert done(PORTRAIT, pixels, found(faces=(somebody,))).shape == pixels.shape


@pytest.mark.usefixtures("shipped")
def test_only_lines_of_text_change_and_what_is_between_far_ones_stays() -> None:
    white = np.full((400, 600, 1), 255, np.uint8)
    lines = (Box(40, 40, 300, 20), Box(40, 64, 280, 20), Box(400, 350, 150, 24))
    after = done(TEXT, white, found(text=lines))[..., 0]
    for line in lines:
        inside = after[line.top : line.top + line.height, line.left : line.left + line.width]
        assert inside.max() == 0
    assert after[130:300].min() == 255
    assert after[:, 580:].min() == 255
    assert after[:20].min() == 255


def test_lines_that_lie_near_each_other_are_treated_together() -> None:
    near = [Box(40, 40 + 30 * n, 300, 20) for n in range(5)]
    (patch,) = regions.line_patches(near, 600, 400)
    assert patch.mask.shape == (patch.box.height, patch.box.width)
    assert len(regions.line_patches([near[0], Box(400, 350, 150, 24)], 600, 400)) == 2
    tiny = regions.line_patches([Box(0, 0, 16, 16)], 16, 16)
    assert tiny[0].mask.min() > 0.9


# Grain


def test_a_face_between_grain_keeps_grain_of_its_own() -> None:
    rng = np.random.default_rng(5)
    clean = np.full((160, 160, 3), 128.0)
    noisy = np.clip(np.rint(clean + rng.normal(0, 9, clean.shape)), 0, 255).astype(np.uint8)
    smooth = np.full((160, 160, 3), 128, np.uint8)
    mask = np.zeros((160, 160), np.float32)
    mask[40:120, 40:120] = 1
    grained = grain.with_grain(noisy, noisy, smooth, mask)
    assert 3 < grained[50:110, 50:110].std() < 9
    assert abs(float(grained.mean()) - 128) < 1
    np.testing.assert_array_equal(grain.with_grain(noisy, smooth, smooth, mask), smooth)  # no grain around: none
    np.testing.assert_array_equal(grain.with_grain(smooth, noisy, smooth, mask), smooth)  # none was taken


def test_grain_that_is_put_back_is_as_strong_as_most_of_the_noise_and_the_same_each_time() -> None:
    smooth = np.full((700, 300, 3), 128, np.uint8)
    once = grain.grained(smooth, 10.0)
    np.testing.assert_array_equal(once, grain.grained(smooth, 10.0))
    np.testing.assert_array_equal(once[..., 0], once[..., 2])  # alike in all colours
    assert once.std() == pytest.approx(6, abs=0.5)
    assert once.mean() == pytest.approx(128, abs=0.3)
    assert abs(once[508:516].std() - once[100:108].std()) < 1.5  # no border where blocks meet
    white = np.full((64, 64, 1), 65535, np.uint16)
    np.testing.assert_array_equal(grain.grained(white, 10.0), white)


@pytest.mark.usefixtures("shipped")
def test_the_options_of_an_old_photo_are_done_once_at_the_end() -> None:
    faded = (pictures.scene(200, 150) * 0.4 + 90).astype(np.uint8)
    faded[..., 2] = faded[..., 2] * 0.7
    mode = Mode("old-photo", (Treatment("same"), Treatment("same", "faces")), grain="remove", tone="keep")
    facts = found(faces=(face(100, 75, 30),), noise_sigma=8.0)
    np.testing.assert_array_equal(done(mode, faded, facts), faded)
    restored = done(replace(mode, tone="restore"), faded, facts)
    assert restored.std() > 1.5 * faded.std()
    assert np.ptp(restored) > 1.5 * np.ptp(faded)
    assert done(replace(mode, grain="keep"), faded, facts).std() > faded.std()
    steps = enhance.steps_for(facts, replace(mode, grain="keep", tone="restore"), (200, 150))
    assert [step.as_json().get("finish") for step in steps] == [None, ("grain", "tone")]


@pytest.mark.usefixtures("shipped")
def test_grain_is_put_back_only_where_something_was_done() -> None:
    noise = np.zeros((4, 8), np.float32)
    noise[:, 4:] = 12
    level = np.full(noise.shape, 50, np.float32)
    facts = found(noise_sigma=8.0, maps=Maps(noise, level, level, level))
    flat = np.full((256, 512, 3), 120, np.uint8)
    here = Treatment("same", where=(Ramp("noise", 2, 8),))
    half = done(Mode("old-photo", (here,), grain="keep"), flat, facts)
    np.testing.assert_array_equal(half[:, :128], flat[:, :128])
    assert half[:, 384:].std() > 2
    faces_only = Mode("old-photo", (Treatment("same", "faces"),), grain="keep")
    np.testing.assert_array_equal(done(faces_only, flat, replace(facts, faces=(face(256, 128, 40),))), flat)


def test_a_picture_with_its_full_range_or_hardly_any_stays_as_it_is() -> None:
    whole = pictures.scene(64, 48)
    whole[:4], whole[-4:] = 0, 255
    np.testing.assert_array_equal(tone.full_range(whole), whole)
    flat = np.full((20, 20, 1), 77, np.uint16)
    np.testing.assert_array_equal(tone.full_range(flat), flat)
