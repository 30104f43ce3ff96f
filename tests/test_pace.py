"""How large tiles are best here: measured within a second, remembered, and never a reason to fail."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkroomd import enhance, pace
from darkroomd.device import PROCESSOR, Network
from darkroomd.errors import OutOfMemory
from darkroomd.job import Engine, Findings, Picture, Step, Tags
from darkroomd.models import Card, card
from darkroomd.pace import best_side, quickest_side, seconds_per_pixel
from darkroomd.places import tiles_folder
from tests import networks


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    """A network that changes nothing, with the figures of a real one, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    networks.shipped(
        tmp_path / "models", monkeypatch, same=(networks.identity(), {"halo": 24, "blend": 8, "tile": 1064})
    )
    return Network(card("same"), Engine())


class Slow:
    """Takes this many seconds for a million pixels of a tile, by a clock of its own; no room from `room` pixels on."""

    def __init__(self, card: Card, seconds: Callable[[int], float], room: float = float("inf")) -> None:
        self.card, self.now, self.seconds, self.room, self.sides = card, 0.0, seconds, room, list[int]()

    def run(self, tile: Any) -> None:
        self.sides.append(tile.shape[2])
        if tile.size / 3 > self.room:
            raise OutOfMemory("not enough memory")
        self.now += self.seconds(tile.shape[2]) * tile.size / 3e6

    def measured(self) -> dict[int, float]:
        return seconds_per_pixel(self, 1064, lambda: self.now)  # type: ignore[arg-type]


def always(seconds: float) -> Callable[[int], float]:
    return lambda _side: seconds


def test_where_every_size_costs_the_same_the_largest_has_the_smallest_margins(net: Network) -> None:
    slow = Slow(net.card, always(0.3))
    assert best_side(net.card, 1064, slow.measured()) == 1064


def test_where_large_tiles_leave_the_caches_smaller_ones_are_taken(net: Network) -> None:
    slow = Slow(net.card, lambda side: 0.2 if side <= 512 else 0.5)
    assert best_side(net.card, 1064, slow.measured()) == 512


def test_measuring_takes_less_than_a_second_however_slow_the_machine_is(net: Network) -> None:
    for seconds in (0.01, 0.3, 1, 3):
        slow = Slow(net.card, always(seconds))
        slow.measured()
        assert slow.now < 1
    assert slow.sides == [256, 256, 256]  # at 3 s for a megapixel


def test_a_shortage_of_memory_ends_the_measuring_and_not_the_photo(net: Network) -> None:
    assert list(Slow(net.card, always(0.1), room=400**2).measured()) == [256, 384]
    assert best_side(net.card, 1064, Slow(net.card, always(0.1), room=0).measured()) == 1064


def test_it_is_measured_once_for_a_machine_and_again_when_anything_is_another(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def measured(net: Network, most: int) -> dict[int, float]:
        asked.append(most)
        return {256: 1.0, 384: 9.0}

    monkeypatch.setattr(pace, "seconds_per_pixel", measured)

    def side(most: int = 1064) -> int:
        pace.quickest_side.cache_clear()  # as in the next process
        return quickest_side(net, most)

    assert [side(), side(), len(asked)] == [256, 256, 1]
    assert side(500) == 256
    assert asked == [1064, 500]  # with less memory it is another question
    monkeypatch.setattr(pace, "runtime_versions", lambda: {"onnxruntime": "99"})
    side()
    net.threads = 7
    side()
    assert len(asked) == 4
    for damaged in ("", "[]", '{"side": "x"}', '{"side": 7}', '{"side": 5000}'):
        for one in tiles_folder().glob("*.json"):
            one.write_text(damaged)
        before = len(asked)
        assert side() == 256
        assert len(asked) == before + 1


def test_a_cache_that_cannot_be_written_is_no_trouble(
    net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert quickest_side(net, 1064) in (*pace.SIDES, 1064)
    assert net.device in PROCESSOR


def test_a_forecast_counts_the_pixels_of_the_tiles_that_are_then_computed(
    net: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enhance, "WORTH_MEASURING_PIXELS", 0)
    monkeypatch.setattr(enhance, "quickest_side", lambda _net, most: min(256, most))
    computed: list[int] = []
    run = net.run

    def counted(tile: Any, *out: Any, **last: Any) -> Any:
        computed.append(tile[0, 0].size)
        return run(tile, *out, **last)

    monkeypatch.setattr(net, "run", counted)
    photo = Picture(np.zeros((500, 700, 3), np.uint8), None, "png", Tags())
    step = Step("same", net.card.digest, "all", 1.0, "")
    enhance.through(net, photo.pixels, Engine())
    facts = Findings(0.35, 1.0, None, 1.0, None, 0.0)
    assert enhance.megapixels_to_run(step, net, photo, facts, Engine()) == sum(computed) / 1e6
    assert len(computed) > 6
