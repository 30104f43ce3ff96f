"""What every test may ask for. Nothing here sleeps, and nothing leaves the test's own folder."""

from pathlib import Path

import pytest

from darkroomd.job import Engine, Fingerprint, Job, Limits, Mode, Output
from darkroomd.settle import fingerprint


@pytest.fixture
def general() -> Mode:
    return Mode("general", "general")


@pytest.fixture
def auto() -> Mode:
    return Mode("auto", "general", choose=True)


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
        engine=Engine(),
        recipe="0" * 64,
        temporary=target.with_name(".darkroomd-test-1-1.part"),
    )
