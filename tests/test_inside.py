"""A folder that somebody exchanges for a link at every moment: nothing behind the link is read or written."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from darkroomd.errors import Retryable
from darkroomd.inside import folder_below
from darkroomd.original import opened
from tests.command import until

EXCHANGE = """
import os, sys
folder, aside, elsewhere = sys.argv[1:]
while True:
    os.rename(folder, aside)
    os.symlink(elsewhere, folder)
    os.unlink(folder)
    os.rename(aside, folder)
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """trip/ in it is now a folder, now a link to a private one, and now nothing at all."""
    for folder, content in (("root/trip", b"mine"), ("private", b"private")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.jpg").write_bytes(content)
    words = [tmp_path / "root/trip", tmp_path / "root/aside", tmp_path / "private"]
    with subprocess.Popen([sys.executable, "-S", "-c", EXCHANGE, *words]) as exchange:
        yield tmp_path / "root"
        exchange.kill()


def both_ways(act: Callable[[], None]) -> None:
    """Done thousands of times, until it could be done at times and could not at others; neither is a fault."""
    could: list[bool] = []

    def tried() -> bool:
        for _ in range(300):
            try:
                act()
            except (Retryable, OSError):
                could.append(False)
            else:
                could.append(True)
        return len(could) >= 3000 and {*could} == {True, False}

    until(tried, "both cases")


def test_a_photo_behind_the_link_is_never_opened(root: Path) -> None:
    read: set[bytes] = set()

    def read_it() -> None:
        descriptor = opened(root / "trip/a.jpg", root)
        try:
            read.add(os.read(descriptor, 20))
        finally:
            os.close(descriptor)

    both_ways(read_it)
    assert read == {b"mine"}


def test_no_result_is_written_behind_the_link(root: Path, tmp_path: Path) -> None:
    def write_it() -> None:
        with folder_below(root, ("trip",)) as at:
            os.close(os.open("b.jpg", os.O_WRONLY | os.O_CREAT, dir_fd=at))

    both_ways(write_it)
    assert [path.name for path in (tmp_path / "private").iterdir()] == ["a.jpg"]
