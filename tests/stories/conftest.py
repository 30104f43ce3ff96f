"""A home with a watched folder, and the service in it as a process: for stories that a user could tell."""

import json
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests import pictures
from tests.command import argv, environment, until, workers

Look = tuple[bytes, int, int, int]


def look(path: Path) -> Look:
    """What must never change of an original: bytes, inode, mode, time."""
    facts = path.lstat()
    return path.read_bytes(), facts.st_ino, facts.st_mode, facts.st_mtime_ns


def noisy(seed: int = 0, width: int = 96, height: int = 72) -> pictures.Picture8:
    """A small photo with enough noise for every mode; another one for every seed."""
    return pictures.with_noise(pictures.scene(width, height, seed), 12, seed + 1)


class Home:
    """Folders, config and service of one story."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inbox, self.enhanced, self.config = folder / "inbox", folder / "enhanced", folder / "darkroomd.yaml"
        self.inbox.mkdir()
        self.environ = environment(folder) | {"PYTHONIOENCODING": "utf-8:strict"}  # as under most people's locales
        self.originals: dict[Path, Look] = {}
        self.services: list[subprocess.Popen[bytes]] = []
        self.configure()

    # Before

    def configure(self, folders: str = "", **output: str) -> None:
        """`folders` as YAML list items; left out: inbox to enhanced with mode general."""
        lines = [
            "folders:",
            folders or "  - {watch: inbox, output: enhanced, mode: general}",
            "service: {settle_seconds: 0.1}",
            f"output: {json.dumps(output)}",
        ]
        self.config.write_text("\n".join(lines) + "\n")

    def photo(self, name: str, pixels: npt.NDArray[np.generic]) -> Path:
        """Appears in the inbox at once and whole, as a camera's or a phone's upload ends: by a rename."""
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        outside = self.folder / f"arriving{path.suffix}"
        (pictures.write_png if path.suffix == ".png" else pictures.write_jpeg)(outside, pixels)
        return self.moved_in(outside, name)

    def moved_in(self, outside: Path, name: str) -> Path:
        path = self.inbox / name
        outside.rename(path)
        self.originals[path] = look(path)
        return path

    def raw(self, name: str, content: bytes) -> Path:
        path = self.inbox / name
        path.write_bytes(content)
        self.originals[path] = look(path)
        return path

    # Acts

    def start(self) -> "subprocess.Popen[bytes]":
        """`darkroomd run`, which has begun to watch when this returns."""
        log = self.log_file()
        with log.open("wb") as to:
            words = argv("run", "--config", self.config)
            service = subprocess.Popen(words, env=self.environ, stdout=subprocess.DEVNULL, stderr=to)
        self.services.append(service)
        until(lambda: b"ledger.healed" in log.read_bytes() or service.poll() is not None, "the service starts")
        assert service.poll() is None, log.read_text()
        return service

    def stop(self) -> int:
        """Asks the service to end; its exit code."""
        self.services[-1].terminate()
        return self.services[-1].wait(90)

    def typed(self, *words: str | Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            argv(*words),
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=180,
        )

    def once(self) -> "subprocess.CompletedProcess[str]":
        return self.typed("once", "--config", self.config)

    def until_done(self, *names: str) -> None:
        """These results are there, and the ledger knows it."""
        until(lambda: self.results().keys() >= set(names), f"{names} come out; there is {self.results().keys()}")
        until(lambda: not self.open_jobs(), f"all is done; there is {self.states()}")

    # After

    def results(self) -> dict[str, Path]:
        """Everything in the output folder, hidden files too."""
        return {path.relative_to(self.enhanced).as_posix(): path for path in self.enhanced.rglob("*") if path.is_file()}

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.typed("status", "--json", "--config", self.config).stdout)
        return answer

    def states(self) -> dict[str, str]:
        """State by photo, of its latest row, straight from the ledger's file: asked often, so without a process."""
        path = self.folder / "state/darkroomd/ledger.sqlite"
        if not path.exists():
            return {}
        try:
            db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=90)
        except sqlite3.OperationalError:
            return {}
        try:
            rows = db.execute("SELECT source, state FROM job ORDER BY id").fetchall()
        except sqlite3.OperationalError:  # just being made
            return {}
        finally:
            db.close()
        return {Path(os.fsdecode(source)).relative_to(self.inbox.resolve()).as_posix(): state for source, state in rows}

    def open_jobs(self) -> list[str]:
        return [name for name, state in self.states().items() if state in ("pending", "running", "staged")]

    def log_file(self) -> Path:
        return self.folder / "log"

    def log(self) -> list[dict[str, Any]]:
        """The service's events so far."""
        return [json.loads(line) for line in self.log_file().read_text().splitlines() if line.endswith("}")]

    def is_logged(self, event: str) -> bool:
        return f'"event": "{event}"' in self.log_file().read_text()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """Whatever a story does: no original was touched, no temporary is left, and no process."""
    one = Home(tmp_path)
    try:
        yield one
        for service in one.services:
            if service.poll() is None:
                service.terminate()
                service.send_signal(signal.SIGCONT)
                assert service.wait(90) == 0
    finally:
        for service in one.services:
            for worker in workers(service.pid):
                os.kill(worker, signal.SIGKILL)
            service.kill()
            service.wait(90)
    for path, before in one.originals.items():
        assert look(path) == before, f"{path.name} was touched"
    assert [name for name in one.results() if "/." in f"/{name}"] == []
