"""What every test may ask for. Nothing here sleeps, and nothing leaves the test's own folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from darkroomd import confine
from darkroomd.config import builtin_modes
from darkroomd.job import Engine, Fingerprint, Job, Limits, Mode, Output, Treatment
from darkroomd.settle import fingerprint
from tests.command import environment

confine.ALSO_WRITABLE = (Path(__file__).parent.parent,)  # where a worker's coverage goes


@pytest.fixture(autouse=True, scope="session")
def what_is_measured_is_noted_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Not in the cache of whoever runs the tests."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def general() -> Mode:
    return Mode("general", (Treatment("general"),))


@pytest.fixture
def auto() -> Mode:
    return builtin_modes()["auto"]


def make_job(source: Path, target: Path, mode: Mode, output: Output | None = None, limits: Limits | None = None) -> Job:
    """A job as a claim would hand it to a worker."""
    mark = fingerprint(source)
    return Job(
        root=source.parent,
        source=source,
        fingerprint=mark if mark is not None else Fingerprint(0, 0, 0, 0, 0),
        target=target,
        mode=mode,
        output=output or Output(),
        limits=limits or Limits(),
        engine=Engine(device="cpu"),
        recipe="0" * 64,
        temporary=target.with_name(".darkroomd-test-1-1.part"),
    )


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """For commands in this process: a home of their own, no settings from outside, no log left set up for others."""
    inside = environment(tmp_path)
    for name in os.environ.keys() - inside.keys():
        monkeypatch.delenv(name)
    for name, value in inside.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, linked for this machine; `make wheel` makes the one for others."""
    folder = tmp_path_factory.mktemp("wheel")
    maturin = Path(sys.prefix) / "bin/maturin"
    done = subprocess.run(
        [maturin, "build", "--release", "--quiet", "--offline", "--out", folder],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob("*.whl")
    return made
