"""What `make run` shows a newcomer: folders, sample photos, and better copies of them."""

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from tests import pictures
from tests.stories.conftest import Home

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"


@pytest.fixture
def samples(home: Home, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """examples/ in a tree of its own."""
    shutil.copytree(EXAMPLES, home.folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    script = home.folder / "examples/sample_photos.py"
    spec = importlib.util.spec_from_file_location("sample_photos", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_samples_come_out_better_and_the_good_one_as_it_is(
    home: Home, samples: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    samples.main()
    assert "drop photos into: photos/auto/, photos/general/, photos/old-photo/" in capsys.readouterr().out
    photos, enhanced = home.folder / "photos", home.folder / "enhanced"
    before = {path.relative_to(photos): path.read_bytes() for path in photos.rglob("*.jpg")}
    assert len(before) == 9

    answer = home.typed("once", "--config", "examples/config.yaml")

    assert answer.returncode == 0, answer.stdout
    after = {path.relative_to(enhanced): path.read_bytes() for path in enhanced.rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    clean = pictures.read(pictures.free_picture("coffee.png"))[:, :, :3]
    coffee = "auto/coffee-in-a-dark-room.jpg"
    gain = pictures.psnr(pictures.read(enhanced / coffee), clean) - pictures.psnr(pictures.read(photos / coffee), clean)
    assert gain > 2
    good = Path("auto/chelsea-as-she-is.jpg")
    assert [name for name in after if after[name] == before[name]] == [good]
    assert {path.relative_to(photos): path.read_bytes() for path in photos.rglob("*.jpg")} == before


def test_photos_of_ones_own_are_never_mixed_with_samples(home: Home, samples: ModuleType) -> None:
    (home.folder / "photos").mkdir()
    samples.main()
    assert sorted(path.name for path in (home.folder / "photos").iterdir()) == sorted(samples.MODES)
    assert not list((home.folder / "photos").rglob("*.jpg"))
