"""The same photo under two names is enhanced once; its result is copied, linked, or made anew, as wanted."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from darkroomd import device
from darkroomd.job import Output
from darkroomd.workers import Inline, Workers
from tests import networks, pictures
from tests.test_service import House


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """With the true pipeline, and a network that changes nothing."""
    device.network.cache_clear()
    networks.shipped(tmp_path / "models", monkeypatch, general=networks.identity())
    one = House(tmp_path)
    one.workers = Workers(1, "darkroomd.pipeline:run", executor=Inline)
    one.service = one.a_service()
    yield one
    one.close()
    device.network.cache_clear()


def drop(home: House, name: str, seed: int = 1) -> Path:
    path = home.inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return pictures.write_png(path, pictures.with_noise(pictures.scene(64, 48, seed), 12, seed))


def use(home: House, **output: Any) -> None:
    home.config = replace(home.config, output=Output(**output))
    home.service = home.a_service()


def enhanced(home: House) -> list[str]:
    """Photos that went through a network."""
    return [verdict.source.name for verdict in home.verdicts if "enhance" in verdict.seconds]


def contents(home: House) -> dict[str, bytes]:
    found = (path for path in home.outbox.rglob("*") if path.is_file())
    return {path.relative_to(home.outbox).as_posix(): path.read_bytes() for path in found}


@pytest.mark.parametrize("duplicates", ["copy", "link", "enhance"])
def test_the_same_photo_under_two_names_is_enhanced_once(home: House, duplicates: Any) -> None:
    use(home, duplicates=duplicates)
    drop(home, "a.png")
    drop(home, "backup/b.png")
    drop(home, "c.png", seed=2)
    home.look()
    assert sorted(home.outcomes()) == [("a.png", "done"), ("b.png", "done"), ("c.png", "done")]
    assert sorted(enhanced(home)) == (["a.png", "b.png", "c.png"] if duplicates == "enhance" else ["a.png", "c.png"])
    results = contents(home)
    assert results["a.png"] == results["backup/b.png"] != results["c.png"]
    is_linked = (home.outbox / "a.png").samefile(home.outbox / "backup/b.png")
    assert is_linked == (duplicates == "link")
    reason = home.ledger.rows(("done",), 9)
    told = [one.reason for one in reason if one.source.endswith("b.png")]
    how = {"copy": "copied", "link": "linked"}.get(duplicates)
    assert told == [f"the same photo as {home.inbox}/a.png, whose result was {how}" if how else None]


def test_a_copy_of_a_good_photo_is_told_as_unchanged_like_the_photo(home: House) -> None:
    folder = replace(home.config.folders[0], mode=replace(home.config.folders[0].mode, strength=0.0))
    home.config = replace(home.config, folders=(folder,))
    home.service = home.a_service()
    drop(home, "a.png")
    drop(home, "b.png")
    home.look()
    assert home.outcomes() == [("a.png", "unchanged"), ("b.png", "unchanged")]
    assert (home.outbox / "b.png").read_bytes() == (home.inbox / "b.png").read_bytes()


@pytest.mark.parametrize("duplicates", ["copy", "link"])
@pytest.mark.parametrize("harm", ["edited", "resized", "deleted", "a link"])
def test_a_result_that_is_not_as_it_was_is_no_pattern(home: House, duplicates: Any, harm: str) -> None:
    use(home, duplicates=duplicates)
    drop(home, "a.png")
    home.look()
    first = home.outbox / "a.png"
    content = first.read_bytes()
    first.unlink()
    if harm == "edited":
        first.write_bytes(content[:-1] + b"x")
    elif harm == "resized":
        first.write_bytes(content + b"x")
    elif harm == "a link":
        first.symlink_to(home.inbox / "a.png")
    drop(home, "b.png")
    home.look()
    assert enhanced(home) == ["a.png", "b.png"]
    assert (home.outbox / "b.png").read_bytes() == content


def test_linked_results_part_when_one_of_the_photos_changes(home: House) -> None:
    use(home, duplicates="link")
    drop(home, "a.png")
    drop(home, "b.png")
    home.look()
    before = (home.outbox / "b.png").read_bytes()
    drop(home, "a.png", seed=3)
    home.look()
    assert (home.outbox / "b.png").read_bytes() == before
    assert (home.outbox / "a.png").read_bytes() != before


def test_a_copy_that_keeps_its_photos_permissions_changes_nothing_of_the_first(home: House) -> None:
    use(home, duplicates="link", permissions="keep")
    drop(home, "a.png").chmod(0o640)
    home.look()
    drop(home, "b.png").chmod(0o644)
    home.look()
    assert enhanced(home) == ["a.png"]
    modes = [(home.outbox / name).stat().st_mode & 0o777 for name in ("a.png", "b.png")]
    assert modes == [0o640, 0o644]


def test_where_there_are_no_links_the_result_is_copied(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    use(home, duplicates="link")
    monkeypatch.setattr(os, "link", link)
    drop(home, "a.png")
    drop(home, "b.png")
    home.look()
    assert enhanced(home) == ["a.png"]
    assert not (home.outbox / "a.png").samefile(home.outbox / "b.png")


def test_a_photo_that_other_settings_made_is_no_copy(home: House) -> None:
    drop(home, "a.png")
    home.look()
    use(home, quality=80)
    drop(home, "b.png")
    home.look()
    assert enhanced(home) == ["a.png", "b.png"]
