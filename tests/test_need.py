"""Each place of a picture gets what it needs: what is good there stays as it is, and no border is to be seen."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkroomd import device, enhance
from darkroomd.config import builtin_modes
from darkroomd.job import MAP_CELL, Engine, Findings, Maps, Mode, Picture, Ramp, Step, Tags, Treatment
from darkroomd.look import findings
from darkroomd.need import blended, needed, strengths
from tests import networks, pictures

ENGINE = Engine(device="cpu")
NOISE = ((1.0, (Ramp("noise", 2.0, 4.0),)),)


@pytest.fixture(autouse=True)
def sessions_of_their_own() -> Iterator[None]:
    device.network.cache_clear()
    yield
    device.network.cache_clear()


def maps(shape: tuple[int, int] = (5, 9), **given: Any) -> Maps:
    calm = {"noise": 0.5, "blur": 0.3, "quality": 100.0, "detail": 5.0}
    return Maps(**{name: np.broadcast_to(np.float32(given.get(name, value)), shape) for name, value in calm.items()})


def photo(pixels: np.ndarray) -> Picture:
    return Picture(np.ascontiguousarray(pixels), None, "png", Tags())


def coffee(copies: int = 1) -> np.ndarray:
    one = pictures.read(pictures.free_picture("coffee.png"))
    return np.concatenate([one, one[:, ::-1]][:copies], axis=1)


def enhanced(pixels: np.ndarray, mode: Mode) -> tuple[tuple[Step, ...], np.ndarray]:
    picture = photo(pixels)
    found = findings(picture)
    chosen = enhance.steps_for(found, mode, (picture.width, picture.height))
    return chosen, enhance.enhanced(picture, chosen, ENGINE, found).pixels if chosen else pixels


def test_strength_rises_from_none_to_full_and_falls_where_it_is_said_so() -> None:
    for sigma, strength in [(1.0, 0.0), (3.0, 0.5), (9.0, 1.0)]:
        assert strengths(NOISE, maps(noise=sigma)) == pytest.approx(strength)
    softness = ((1.0, Ramp.all_of({"blur": [0.5, 1.0, 3.0, 4.0]})),)
    for sigma, strength in [(0.5, 0.0), (0.75, 0.5), (2.0, 1.0), (3.5, 0.5), (5.0, 0.0)]:
        assert strengths(softness, maps(blur=sigma)) == pytest.approx(strength)


def test_all_ramps_of_a_line_count_and_the_strongest_line() -> None:
    both = (*NOISE[0][1], Ramp("detail", 0.0, 10.0))
    assert strengths(((1.0, both),), maps(noise=3.0)) == pytest.approx(0.25)
    assert strengths(((0.4, ()), (1.0, both)), maps(noise=3.0)) == pytest.approx(0.4)
    assert strengths((), maps()) == pytest.approx(1.0)


def test_an_edge_is_treated_whole_and_what_is_far_from_it_is_not() -> None:
    detail = np.zeros((5, 9), np.float32)
    detail[2, 2] = 8.0
    cells = strengths(((1.0, (Ramp("detail", 0.5, 1.0),)),), maps(detail=detail))
    assert cells[2, 2] == 1
    assert 0 < cells[2, 4] < 1
    assert not cells[:, 5:].any()


def test_no_border_shows_between_a_place_that_is_treated_and_one_that_is_not() -> None:
    noise = np.zeros((5, 9), np.float32)
    noise[:, 5:] = 40.0
    cells = strengths(NOISE, maps(noise=noise))
    grey, lighter = (np.full((5 * MAP_CELL, 9 * MAP_CELL, 3), level, np.uint8) for level in (100, 140))
    result = blended(grey, lighter, cells).astype(int)
    assert (result[:, 0].max(), result[:, -1].min()) == (100, 140)
    assert np.abs(np.diff(result, axis=1)).max() <= 1


def test_what_touches_no_cell_with_a_strength_is_not_needed_and_changes_nothing() -> None:
    cells = np.zeros((6, 6), np.float32)
    cells[1, 1] = 0.5
    black, white = np.zeros((384, 384, 1), np.uint8), np.full((384, 384, 1), 255, np.uint8)
    changed = blended(black, white, cells)[..., 0] > 0
    for top in range(0, 384, 48):
        for left in range(0, 384, 48):
            assert needed(cells, left, top, 48, 48) >= changed[top : top + 48, left : left + 48].any()
    assert not needed(cells, 256, 256, 64, 64)


def test_tiles_that_need_nothing_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, black=networks.times(0))
    noise = np.zeros((8, 16), np.float32)
    noise[:, 12:] = 40.0
    cells = strengths(NOISE, maps(shape=(8, 16), noise=noise))
    pixels = np.random.default_rng(0).integers(0, 256, (512, 1024, 3), np.uint8)
    net = device.network("black", ENGINE)
    run, runs = net.run, []

    def counted(*given: Any, **how: Any) -> Any:
        runs.append(given)
        return run(*given, **how)

    monkeypatch.setattr(net, "run", counted)
    result = enhance.through(net, pixels, ENGINE, cells)
    plan = enhance.tile_plan(net.card, 1024, 512, ENGINE, None, cells)
    assert 0 < len(runs) == sum(enhance.tiles_to_run(net.card, plan, cells)) < len(plan) / 2
    np.testing.assert_array_equal(result[:, :512], pixels[:, :512])
    assert not result[:, -256:].any()


def test_auto_treats_the_noisy_half_and_leaves_the_other_as_it_is() -> None:
    clean = coffee(2)
    half = clean.copy()
    half[:, 600:] = pictures.with_noise(clean, 20)[:, 600:]
    (step,), result = enhanced(half, builtin_modes()["auto"])
    assert step.model == "general"
    assert step.percent is not None
    assert step.reason.endswith(f"in {step.percent} % of the picture")
    assert 30 < step.percent < 75
    assert (result[:, :350] == half[:, :350]).all()
    assert pictures.psnr(result[:, 700:], clean[:, 700:]) > pictures.psnr(half[:, 700:], clean[:, 700:]) + 5


def test_a_step_that_no_place_needs_is_not_done() -> None:
    mode = Mode("mine", (Treatment("general", where=(Ramp("noise", 2.0, 4.0),)),))
    quiet = Findings(1.0, 0.5, 0.3, 1.0, 95, 0.0, maps=maps())
    assert enhance.steps_for(quiet, mode, (576, 320)) == ()
    (noisy,) = enhance.steps_for(Findings(1.0, 9.0, 0.3, 1.0, 95, 0.0, maps=maps(noise=9.0)), mode, (576, 320))
    assert (noisy.where, noisy.percent) == ((), None)


def test_how_much_of_a_picture_a_step_changed_is_heard_from_a_worker_too() -> None:
    step = Step("general", "d" * 64, "all", 0.5, "noise, in 40 % of the picture", percent=40)
    assert Step.of(step.as_json()) == step


def test_a_mode_keeps_its_places_on_the_way_to_the_ledger_and_back() -> None:
    for mode in builtin_modes().values():
        assert Mode.of(mode.plain() | {"name": mode.name}) == mode


def test_sharpening_leaves_sky_as_it_is() -> None:
    scene = pictures.image_of(coffee()).gaussblur(1.5).numpy()
    scene[:200] = 180 + np.random.default_rng(0).normal(0, 1, (200, 600, 1)).round()
    (step,), result = enhanced(scene, builtin_modes()["unblur"])
    assert step.percent is not None
    assert (result[:32] == scene[:32]).all()
    assert (result[260:] != scene[260:]).any(axis=2).mean() > 0.2
