"""darkroomd as it is typed: in this process for most tests, as a process of its own where the process matters."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from click.testing import CliRunner, Result

import darkroomd
from darkroomd.cli import main

TREE = Path(darkroomd.__file__).resolve().parent.parent


def typed(*words: str | Path) -> Result:
    """One command in this process, as if piped; an exception that no command foresees goes through."""
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="darkroomd", catch_exceptions=False)


def argv(*words: str | Path) -> list[str]:
    """The same command for a process, from the tree that is under test whatever else is installed."""
    return [sys.executable, "-c", "from darkroomd.cli import main; main(prog_name='darkroomd')", *map(str, words)]


def environment(home: Path) -> dict[str, str]:
    """Everything that darkroomd looks for in the environment lies in `home`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DARKROOMD_", "XDG_", "STATE_", "JOURNAL", "NOTIFY", "WATCHDOG"))
    }
    places = {"HOME": home, "XDG_CONFIG_HOME": home / "config", "XDG_STATE_HOME": home / "state"}
    path = os.pathsep.join(filter(None, (str(TREE), kept.get("PYTHONPATH"))))
    return kept | {name: str(value) for name, value in places.items()} | {"PYTHONPATH": path}


def until(is_so: Callable[[], object], what: str, seconds: float = 90.0) -> None:
    """Waits for something to become so, and not a moment longer; fails with `what` at the deadline."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.01)


def children(pid: int) -> Iterator[tuple[int, str]]:
    """(process id, command line) of a process's children, from /proc; the dead that nobody has asked about are none."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
                if int(parent) == pid and state not in "ZX":
                    yield int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError):
                continue


def workers(pid: int) -> list[int]:
    """Processes in which photos are worked on; multiprocessing's own helper is none."""
    return [child for child, line in children(pid) if "spawn_main" in line]


def snapshot(folder: Path) -> dict[str, tuple[int, int, int, int, bytes]]:
    """Every file and folder below: inode, mode, size, mtime and bytes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[path.relative_to(folder).as_posix()] = (
            facts.st_ino, facts.st_mode, facts.st_size if content else 0, facts.st_mtime_ns, content,
        )  # fmt: skip
    return found
