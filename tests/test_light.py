"""A page beside a lamp gets even, white light; what is no page keeps its own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkroomd import pipeline
from darkroomd._core import linear_from_srgb, srgb_from_linear
from darkroomd.job import Box, Mode, Treatment
from darkroomd.light import MOST_GAIN, evened
from darkroomd.look import findings
from tests import networks, pictures
from tests.conftest import make_job

HEIGHT, WIDTH, LEADING, SIZE = 480, 640, 30, 16
LINES = tuple(Box(40, top, WIDTH - 80, SIZE) for top in range(30, HEIGHT - SIZE - 20, LEADING))
PAPER, INK = 0.8, 0.04  # of the light, given back


def page() -> np.ndarray:
    """Linear light: lines of strokes as dark as ink on even paper, (height, width, 3)."""
    rng, light = np.random.default_rng(0), np.full((HEIGHT, WIDTH, 3), PAPER)
    for line in LINES:
        for left in range(line.left, line.left + line.width - 6, 6):
            if rng.random() < 0.7:
                light[line.top : line.top + line.height, left : left + 2] = INK
            if rng.random() < 0.3:
                light[line.top + 7 : line.top + 9, left : left + 6] = INK
    return light


def lamp() -> np.ndarray:
    """A seventh of the light in the far corner, and warm: red falls less than blue."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / WIDTH
    near = 1 / (1 + 3.5 * ((x - 0.1) ** 2 + (y - 0.1) ** 2))
    return np.stack([near, 0.9 * near, 0.7 * near], axis=2)


def photographed(light: np.ndarray, dtype: Any = np.uint8) -> np.ndarray:
    full = np.iinfo(dtype).max
    return np.rint(srgb_from_linear(np.ascontiguousarray(light, np.float32)) * full).astype(dtype)


def light_of(pixels: np.ndarray) -> np.ndarray:
    return linear_from_srgb(np.ascontiguousarray(pixels, np.float32) / np.float32(np.iinfo(pixels.dtype).max))


def paper_between(pixels: np.ndarray) -> np.ndarray:
    """The light of the paper between the lines."""
    return np.stack([light_of(pixels)[line.top + line.height + 4 : line.top + LEADING - 4] for line in LINES[:-1]])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_page_beside_a_lamp_becomes_white_all_over_and_its_ink_stays_ink(dtype: Any) -> None:
    before = photographed(page() * lamp(), dtype)
    after = evened(before, LINES)
    assert after.dtype == dtype
    assert np.ptp(np.quantile(paper_between(before), (0.01, 0.99))) > 0.4
    low, high = np.quantile(paper_between(after), (0.01, 0.99))
    assert high - low < 0.08
    assert high < 1.0
    ink = light_of(after)[page()[..., 0] == INK]
    np.testing.assert_allclose(np.median(ink), INK / PAPER * np.median(paper_between(after)), atol=0.02)


def test_a_page_in_even_light_stays_as_it_is() -> None:
    scan = photographed(page() / PAPER)
    assert np.abs(evened(scan, LINES).astype(int) - scan).max() <= 1


def test_a_grey_page_is_evened_like_a_coloured_one() -> None:
    grey = photographed((page() * lamp())[..., :1])
    assert np.ptp(np.quantile(paper_between(evened(grey, LINES)), (0.01, 0.99))) < 0.08


def test_a_photograph_on_the_page_is_brightened_with_the_paper_and_keeps_its_tones() -> None:
    scene, place = pictures.scene(240, 180), (slice(150, 330), slice(200, 440))
    light = page()
    light[place] = light_of(scene) * 0.3
    lines = tuple(line for line in LINES if line.top + line.height < 140 or line.top > 340)
    after = light_of(evened(photographed(light * lamp()), lines))
    share = after[place].mean(axis=(0, 1)) / light[place].mean(axis=(0, 1)) * PAPER / 0.85
    np.testing.assert_allclose(share, 1, atol=0.1)
    assert np.corrcoef(after[place].ravel(), light[place].ravel())[0, 1] > 0.98


def test_a_letter_of_a_hundred_pixels_gets_no_halo() -> None:
    light = page()
    light[100:320] = PAPER
    light[120:300, 250:350] = INK
    letter = Box(245, 110, 110, 200)
    lines = (*(line for line in LINES if line.top + line.height < 115 or line.top > 305), letter)
    after = light_of(evened(photographed(light / PAPER), lines))
    assert after[130:290, 260:340].max() < 0.08
    assert after[150:270, 210:245].min() > 0.9
    assert np.ptp(after[150:270, 210:245]) < 0.03


def test_light_letters_on_dark_and_pictures_without_letters_keep_their_light() -> None:
    screen = 255 - photographed(page())
    assert evened(screen, LINES) is screen
    assert evened(screen, ()) is screen


def test_what_is_nearly_black_is_not_torn_up_from_the_noise() -> None:
    dark = photographed(page() * 0.02)
    assert light_of(evened(dark, LINES)).max() <= 1.05 * MOST_GAIN * light_of(dark).max()


def test_the_page_is_looked_at_restored_and_checked_in_even_light(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, same=networks.identity())
    monkeypatch.setattr(pipeline, "findings", lambda photo, *_: replace(findings(photo), text=LINES))
    (tmp_path / "out").mkdir()
    photo = pictures.write_png(tmp_path / "a.png", photographed(page() * lamp()))
    keep = Mode("text", (Treatment("same", "text"),), light="keep")
    results = []
    for mode in (keep, replace(keep, light="even")):
        answer = pipeline.run(make_job(photo, tmp_path / "out" / f"{mode.light}.png", mode))
        assert answer.verdict.status == "done"
        assert all(check.passed for check in answer.verdict.guards)
        assert {"colour", "white", "text"} <= {check.name for check in answer.verdict.guards}
        assert answer.temporary is not None
        results.append(pictures.read(answer.temporary))
    np.testing.assert_array_equal(results[0], pictures.read(photo))
    assert np.ptp(np.quantile(paper_between(results[1]), (0.01, 0.99))) < 0.08
