"""Every mode that ships, on what it was not made for: a sensible result, or the photo as it was and the reason."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkroomd import device, pipeline
from darkroomd.config import builtin_modes
from darkroomd.job import Verdict
from tests import pictures
from tests.conftest import make_job

MODES = builtin_modes()


@pytest.fixture(autouse=True)
def sessions_of_their_own() -> Iterator[None]:
    device.network.cache_clear()
    yield
    device.network.cache_clear()


def line_art() -> Any:
    drawing = np.full((80, 120, 3), 255, np.uint8)
    drawing[10:70:6, 10:110] = 0
    drawing[10:70, 10:110:9] = 0
    return drawing


INPUTS: dict[str, Any] = {
    "smaller than any halo": pictures.scene(16, 16),
    "a strip": pictures.scene(400, 3),
    "a column": pictures.scene(1, 300),
    "noise": np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8),
    "white": np.full((64, 96, 3), 255, np.uint8),
    "black": np.zeros((64, 96, 1), np.uint8),
    "line art": line_art(),
    "no face and no text": pictures.scene(96, 72),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", INPUTS)
def test_whatever_comes_there_is_a_whole_result_or_the_photo_and_the_reason(
    tmp_path: Path, mode: str, name: str
) -> None:
    (tmp_path / "out").mkdir()
    photo = pictures.write_png(tmp_path / "a.png", INPUTS[name])
    answer = pipeline.run(make_job(photo, tmp_path / "out/a.png", MODES[mode]))
    verdict: Verdict = answer.verdict
    if verdict.status != "done":
        assert verdict.status in ("unchanged", "refused")
        assert verdict.reason
        return
    assert answer.temporary is not None
    after = pictures.read(answer.temporary)
    factor = 2 if MODES[mode].scale else 1
    assert after.shape[:2] == (INPUTS[name].shape[0] * factor, INPUTS[name].shape[1] * factor)
    if name == "white":
        assert after.min() >= 253
    if name == "black":
        assert after.max() <= 2


@pytest.mark.parametrize("mode", [name for name, mode in MODES.items() if mode.regions and not mode.choose])
def test_a_mode_that_finds_nothing_to_do_says_so(tmp_path: Path, mode: str) -> None:
    (tmp_path / "out").mkdir()
    photo = pictures.write_png(tmp_path / "a.png", pictures.scene(96, 72))
    verdict = pipeline.run(make_job(photo, tmp_path / "out/a.png", MODES[mode])).verdict
    assert any(limit.startswith("no ") for limit in verdict.limits)
    if mode == "text":  # its background needs a reason of its own
        assert verdict.status == "unchanged"
        assert verdict.reason is not None
        assert verdict.reason.startswith("no ")
