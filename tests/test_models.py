"""Cards and digests."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import yaml

from darkroomd import device, models
from darkroomd.errors import Unavailable
from darkroomd.job import Engine
from tests import networks, pictures
from tests.command import typed


def test_every_shipped_network_is_the_file_on_its_card_and_opens() -> None:
    assert models.cards()
    for card in models.cards().values():
        net = device.Network(card, Engine())
        side = 4 * card.multiple_of
        answer = net.run(np.full((1, 3, side, side), 0.5, np.float32))
        assert answer.shape == (1, 3, side * card.scale, side * card.scale)
        assert np.isfinite(answer).all()
        assert card.failures
        assert all(isinstance(said, str) for said in card.failures)  # YAML takes words with a colon for a mapping


def test_a_changed_recipe_cannot_hide_behind_an_old_network() -> None:
    recipes = yaml.safe_load((Path(__file__).parents[1] / "training" / "recipes.yaml").read_text())
    digests = {
        name: hashlib.sha256(yaml.safe_dump(block, sort_keys=True).encode()).hexdigest()
        for name, block in recipes.items()
    }
    for card in models.cards().values():
        made_here = (digests[card.recipe], recipes[card.recipe]["steps"]) if card.recipe != "none" else ("", 0)
        assert (card.recipe_sha256, card.steps) == made_here
    for block in recipes.values():
        if "begins_with" in block:
            assert block["begins_with"]["sha256"] == digests[block["begins_with"]["recipe"]]


def test_a_network_is_added_as_the_page_says_without_a_line_of_code(
    tmp_path: Path, at_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file, a card, a line in modes.yaml."""
    networks.shipped(tmp_path / "models", monkeypatch, modes="mine: {network: mine}\n", mine=networks.identity())
    assert "mine.onnx is the file on its card" in typed("models", "verify").stdout
    pictures.write_png(at_home / "a.png", pictures.scene(48, 32))
    told = typed("enhance", "a.png", "-m", "mine", "-o", "b.png")
    assert told.stdout.startswith("a.png -> b.png")
    assert "mine at 1" in told.stdout


def test_a_network_whose_bytes_changed_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = networks.shipped(tmp_path / "models", monkeypatch, one=networks.identity())
    content = bytearray((folder / "one.onnx").read_bytes())
    content[-1] ^= 1
    (folder / "one.onnx").write_bytes(content)
    with pytest.raises(Unavailable, match=r"network one: .*one.onnx is not the file on its card \(SHA-256"):
        device.Network(models.cards()["one"], Engine())


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
