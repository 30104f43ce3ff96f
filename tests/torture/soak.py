"""`make soak`: ten thousand small photos through four folders, while files are added, renamed and removed.

The whole program with the real network. The rescan comes once an hour only, so every photo must be found by its event.
What is held against it at the end: memory and open files of the service in the last tenth of the photos as in the
second, one right result for each photo that stayed, and nothing else.
"""

import json
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from tests.command import TREE, argv, environment, workers
from tests.one_photo import is_complete
from tests.torture.house import png
from tests.torture.processes import is_whole_png

FOLDERS = {
    "general": "mode: general",
    "auto": "mode: auto",
    "gentle": "mode: general, strength: 0.4",
    "copied": "mode: general, strength: 0",
}
STAND_IN = "tests.one_photo:staged_by_worker"
WAITING_AT_MOST = 120
PATIENCE_SECONDS = 600


class Soak:
    """One home and its service; what was dropped, and what became of it before it was done."""

    def __init__(self, home: Path, photos: int, seed: int, stand_in: bool) -> None:
        self.home, self.photos, self.stand_in = home, photos, stand_in
        self.dice = random.Random(seed)
        self.there: dict[Path, Path] = {}
        self.named = self.removed = self.renamed = 0
        folders = "\n".join(f"  - {{watch: in/{name}, output: out/{name}, {mode}}}" for name, mode in FOLDERS.items())
        service = "{settle_seconds: 0.2, rescan_minutes: 60, workers: 2, recycle_photos: 500}"
        (home / "config.yaml").write_text(f"folders:\n{folders}\nservice: {service}\n")
        for name in FOLDERS:
            (home / "in" / name).mkdir(parents=True)
        self.samples: list[tuple[int, float, float, int]] = []

    def run(self) -> dict[str, Any]:
        began = time.monotonic()
        with (self.home / "log").open("wb") as log:
            words = argv("run", "--config", self.home / "config.yaml")
            if self.stand_in:
                words[2] = f"from darkroomd import cli; cli.WORK = {STAND_IN!r}; {words[2]}"
            environ = environment(self.home)
            environ["PYTHONPATH"] += f"{os.pathsep}{TREE.parent}"
            service = subprocess.Popen(words, env=environ, stdout=subprocess.DEVNULL, stderr=log)
        try:
            while self.named < self.photos:
                self._check(service)
                waiting = self._waiting()
                for _ in range(max(0, min(WAITING_AT_MOST - waiting, self.photos - self.named))):
                    self._drop()
                    if self.dice.random() < 0.05:
                        self._meddle()
                self._sample(service)
                time.sleep(0.3)
            fewest, patience = self.photos + 1, 0.0
            while missing := [path for path, result in self.there.items() if not result.exists()]:
                self._check(service)
                self._sample(service)
                if len(missing) < fewest:  # on a busy machine it goes on, only slowly
                    fewest, patience = len(missing), time.monotonic() + PATIENCE_SECONDS
                if time.monotonic() > patience:
                    break
                time.sleep(0.5)
            service.terminate()
            code = service.wait(300)
        finally:
            service.kill()
            service.wait(300)
        return self._verdict(missing, code, time.monotonic() - began)

    def _drop(self) -> None:
        folder = self.dice.choice(list(FOLDERS))
        below = self.dice.choice(["", "", "2024", f"new/{self.named // 500}"])
        name = Path(folder, below, f"{self.named:05}.png")
        self.named += 1
        path = self.home / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.dice.random() < 0.5:
            path.write_bytes(png(self.named))
        else:
            outside = self.home / "arriving"
            outside.write_bytes(png(self.named))
            outside.rename(path)
        self.there[path] = self.home / "out" / name

    def _meddle(self) -> None:
        """Some photo gets another name, or is removed; done or not, as it comes."""
        path = self.dice.choice(list(self.there))
        result = self.there.pop(path)
        if self.dice.random() < 0.5:
            path.unlink()
            self.removed += 1
        else:
            other = path.with_name(f"{path.stem}-renamed.png")
            path.rename(other)
            self.there[other] = result.with_name(other.name)
            self.renamed += 1

    def _waiting(self) -> int:
        ledger = self.home / "state/darkroomd/ledger.sqlite"
        if not ledger.exists():
            return WAITING_AT_MOST
        try:
            with closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True, timeout=10)) as db:
                taken, ended = db.execute(
                    "SELECT count(*), count(*) FILTER (WHERE state NOT IN ('pending', 'running', 'staged')) FROM job"
                ).fetchone()
        except sqlite3.OperationalError:
            return WAITING_AT_MOST
        return int(max(taken, self.named) - ended)

    def _check(self, service: "subprocess.Popen[bytes]") -> None:
        if service.poll() is not None:
            raise RuntimeError(
                f"the service ended with {service.returncode}: {(self.home / 'log').read_text()[-2000:]}"
            )

    def _sample(self, service: "subprocess.Popen[bytes]") -> None:
        at_work = [resident_mb(pid) for pid in workers(service.pid)]
        files = len(list(Path(f"/proc/{service.pid}/fd").iterdir()))
        self.samples.append((self.named, resident_mb(service.pid), max(at_work, default=0.0), files))

    def _verdict(self, missing: list[Path], code: int, seconds: float) -> dict[str, Any]:
        def tenth(number: int, column: int) -> float:
            low, high = self.photos * number / 10, self.photos * (number + 1) / 10
            return statistics.median([one[column] for one in self.samples if low <= one[0] <= high] or [0])

        def fewest(number: int) -> int:
            """Between two workers there are more for a moment; what is lost for good shows in the smallest number."""
            low, high = self.photos * number / 10, self.photos * (number + 1) / 10
            return min([one[3] for one in self.samples if low <= one[0] <= high], default=0)

        results = [path for path in (self.home / "out").rglob("*") if path.is_file()]
        whole = is_complete if self.stand_in else lambda path: is_whole_png(path.read_bytes())
        broken = [path.name for path in results if not whole(path)]
        facts: dict[str, Any] = {
            "photos": self.named, "renamed": self.renamed, "removed": self.removed, "minutes": round(seconds / 60, 1),
            "service_mb": [round(tenth(1, 1), 1), round(tenth(9, 1), 1)],
            "worker_mb": [round(tenth(1, 2), 1), round(tenth(9, 2), 1)],
            "open_files": [fewest(1), fewest(9)],
            "missing": len(missing), "broken": len(broken), "exit_code": code,
        }  # fmt: skip
        with closing(sqlite3.connect(self.home / "state/darkroomd/ledger.sqlite")) as db:
            facts["states"] = dict(db.execute("SELECT state, count(*) FROM job GROUP BY state").fetchall())
        return facts


def resident_mb(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0.0


def wrong(facts: dict[str, Any]) -> list[str]:
    """What is not as it must be after a soak."""
    found = [f"{name}: {facts[name]}" for name in ("missing", "broken", "exit_code") if facts[name]]
    before, after = facts["service_mb"]
    if after > before * 1.05:
        found.append(f"the service grew from {before} to {after} MB")
    before, after = facts["worker_mb"]
    if after > before * 1.05:
        found.append(f"workers grew from {before} to {after} MB")
    before, after = facts["open_files"]
    if after > before:
        found.append(f"open files grew from {before} to {after}")
    return found


@click.command()
@click.option("--photos", default=10_000, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--stand-in", is_flag=True, help="Without the picture work, which takes most of the time.")
def main(photos: int, seed: int, stand_in: bool) -> None:
    # in memory: a soak is about what grows, not about the disk
    home = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None, prefix="darkroomd-soak-"))
    try:
        facts = Soak(home, photos, seed, stand_in).run()
    finally:
        shutil.rmtree(home, ignore_errors=True)
    click.echo(json.dumps(facts))
    faults = wrong(facts)
    for fault in faults:
        click.echo(f"wrong: {fault}", err=True)
    report(facts, faults, stand_in)
    sys.exit(1 if faults else 0)


def report(facts: dict[str, Any], faults: list[str], stand_in: bool) -> None:
    from benchmarks.results import machine, rewrite, table

    rows = [
        [name, *(str(value) for value in facts[key])]
        for name, key in (
            ("service, MB", "service_mb"),
            ("largest worker, MB", "worker_mb"),
            ("open files of the service (smallest)", "open_files"),
        )
    ]
    how = ", with a stand-in for the picture work" if stand_in else ""
    text = (
        f"{machine()}. `make soak`{how}: {facts['photos']} photos of 48 × 32 pixels through four folders in "
        f"{facts['minutes']} minutes, {facts['renamed']} renamed and {facts['removed']} removed on the way, found by "
        f"their events alone. Without a result: {facts['missing']}; not whole: {facts['broken']}; not as it must be: "
        f"{'; '.join(faults) or 'nothing'}.\n\n"
    )
    text += table(["median", "second tenth", "last tenth"], rows)
    rewrite("Soak with a stand-in" if stand_in else "Soak", text)


if __name__ == "__main__":
    main()
