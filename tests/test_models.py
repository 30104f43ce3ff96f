"""Cards, digests and sessions."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from darkroomd import models
from darkroomd.errors import OutOfMemory, Unavailable
from darkroomd.job import Engine
from tests import networks


def test_every_shipped_network_is_the_file_on_its_card_and_opens() -> None:
    assert models.cards()
    for card in models.cards().values():
        net = models.Network(card, Engine())
        side = 4 * card.multiple_of
        answer = net.run(np.full((1, 3, side, side), 0.5, np.float32))
        assert answer.shape == (1, 3, side * card.scale, side * card.scale)
        assert np.isfinite(answer).all()


def test_a_changed_recipe_cannot_hide_behind_an_old_network() -> None:
    recipes = yaml.safe_load((Path(__file__).parents[1] / "training" / "recipes.yaml").read_text())
    for card in models.cards().values():
        block = yaml.safe_dump(recipes[card.recipe], sort_keys=True)
        assert card.recipe_sha256 == hashlib.sha256(block.encode()).hexdigest()
        assert card.steps == recipes[card.recipe]["steps"]


def test_a_network_whose_bytes_changed_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = networks.shipped(tmp_path / "models", monkeypatch, one=networks.identity())
    content = bytearray((folder / "one.onnx").read_bytes())
    content[-1] ^= 1
    (folder / "one.onnx").write_bytes(content)
    with pytest.raises(Unavailable, match=r"network one: .*one.onnx is not the file on its card \(SHA-256"):
        models.Network(models.cards()["one"], Engine())


def test_a_missing_network_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = networks.shipped(tmp_path / "models", monkeypatch, one=networks.identity())
    (folder / "one.onnx").unlink()
    with pytest.raises(Unavailable, match=r"network one: .*No such file"):
        models.verified_bytes(models.cards()["one"])


def test_missing_cards_and_cards_without_a_field_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match=r"cards.yaml: No such file"):
        models.cards(tmp_path)
    (tmp_path / "cards.yaml").write_text("one: {file: one.onnx}")
    with pytest.raises(Unavailable, match=r"cards.yaml: one: .*missing.*sha256"):
        models.cards(tmp_path)
    for damaged in ("one: [", "just words", ""):
        (tmp_path / "cards.yaml").write_text(damaged)
        with pytest.raises(Unavailable, match=r"cards.yaml: these are no cards"):
            models.cards(tmp_path)


def test_an_unknown_network_is_an_error_that_says_which_there_are() -> None:
    with pytest.raises(Unavailable, match=r"no network named 'magic'; there are: general"):
        models.network("magic", Engine())


def test_a_device_that_is_not_there_is_an_error_and_never_a_silent_cpu() -> None:
    assert models.chosen_device("auto") == "cpu"
    with pytest.raises(Unavailable, match="device 'cuda' is not available"):
        models.chosen_device("cuda")


def test_without_the_runtime_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Unavailable, match=r'pip install "darkroomd\[cpu\]"'):
        models.Network(models.cards()["general"], Engine())


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def run(self, *_: object) -> None:
        raise self.error


def test_a_shortage_of_memory_is_told_apart_from_other_failures() -> None:
    net = models.Network(models.cards()["general"], Engine())
    tile = np.zeros((1, 3, 64, 96), np.float32)
    for shortage in (
        MemoryError(),
        net._failure.RuntimeException("Failed to allocate memory for requested buffer"),
        net._failure.Fail("std::bad_alloc"),
    ):
        net._session = Failing(shortage)
        with pytest.raises(OutOfMemory, match="not enough memory for a 96×64 tile"):
            net.run(tile)
    net._session = Failing(net._failure.RuntimeException("something else"))
    with pytest.raises(net._failure.RuntimeException, match="something else"):
        net.run(tile)


def test_two_runtimes_at_once_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "version", lambda name: "1.32.0")
    assert models.runtime_versions() == {"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.32.0"}
