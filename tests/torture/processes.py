"""The whole program, with its worker processes and the real network, killed at random while photos keep coming."""

import os
import signal
import sqlite3
import struct
import subprocess
import time
import zlib
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path

from tests.command import argv, environment, until, workers
from tests.torture.campaign import Campaign, Tally
from tests.torture.house import png

PHOTOS_EACH = 3
OPEN = ("pending", "running", "staged", "retry", "waiting")


class Processes:
    """One home, whose service is killed and started again and again; or a worker (victim) is, and the service not."""

    def __init__(self, campaign: Campaign, victim: str) -> None:
        self.dice = campaign.dice
        self.victim = victim
        self.home = campaign.room / f"whole-program-{victim}"
        self.inbox, self.outbox = self.home / "in", self.home / "out"
        self.inbox.mkdir(parents=True, exist_ok=True)
        self.environ = environment(self.home)
        self.config = self.home / "config.yaml"
        self.config.write_text(
            "folders: [{watch: in, output: out, mode: general}]\nservice: {settle_seconds: 0.05, workers: 2}\n"
        )
        self.before: dict[str, bytes] = {}
        self.tally = Tally()

    def kills(self, trials: int) -> Tally:
        victim = self.victim
        service = self._started()
        try:
            for trial in range(trials):
                self._drop(f"{victim}-{trial}")
                at_work = self._someone_works(service)
                time.sleep(self.dice.random() * 0.3)
                self.tally.moments[self._moment()] += 1
                if victim == "service":
                    service.kill()
                    service.wait(300)
                    until(partial(_are_dead, at_work), "the workers die with the service", 120)
                else:
                    for pid in workers(service.pid)[:1]:
                        os.kill(pid, signal.SIGKILL)
                self.tally.trials += 1
                self._check_at_once(f"{victim} killed, trial {trial}")
                if service.poll() is not None:
                    if victim == "worker":
                        self.tally.wrong.append(f"trial {trial}: the service died with its worker")
                    service = self._started()
            self._check_in_the_end(service)
        finally:
            service.kill()
            service.wait(300)
        return self.tally

    def _started(self) -> "subprocess.Popen[bytes]":
        with (self.home / "log").open("ab") as log:
            words = argv("run", "--config", self.config)
            return subprocess.Popen(words, env=self.environ, stdout=subprocess.DEVNULL, stderr=log)

    def _drop(self, name: str) -> None:
        for number in range(PHOTOS_EACH):
            photo = f"{name}-{number}.png"
            self.before[photo] = png(self.dice.randrange(1 << 30))
            outside = self.home / "arriving"
            outside.write_bytes(self.before[photo])
            outside.rename(self.inbox / photo)

    def _someone_works(self, service: "subprocess.Popen[bytes]") -> list[int]:
        """Work goes on when we strike: a kill of somebody who sleeps proves nothing."""
        found: list[int] = []

        def works() -> bool:
            found[:] = workers(service.pid)
            return bool(found) and self._states()["running"] + self._states()["staged"] > 0

        until(works, f"a worker works; {self._states()}", 600)
        return found

    def _states(self) -> Counter[str]:
        path = self.home / "state/darkroomd/ledger.sqlite"
        if not path.exists():
            return Counter()
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)) as db:
                return Counter(dict(db.execute("SELECT state, count(*) FROM job GROUP BY state").fetchall()))
        except sqlite3.OperationalError:  # just being made
            return Counter()

    def _moment(self) -> str:
        states = self._states()
        return next((state for state in ("staged", "running") if states[state]), "between two photos")

    def _check_at_once(self, what: str) -> None:
        for path in self.outbox.rglob("*.png"):
            if not path.name.startswith(".darkroomd-") and not is_whole_png(path.read_bytes()):
                self.tally.wrong.append(f"{what}: {path.name} is public and not whole")
        for name, content in self.before.items():
            if (self.inbox / name).read_bytes() != content:
                self.tally.wrong.append(f"{what}: the original {name} was touched")

    def _check_in_the_end(self, service: "subprocess.Popen[bytes]") -> None:
        """Whatever waits or was put aside is asked for again; then each photo must have its one result."""
        subprocess.run(argv("retry", "--all"), env=self.environ, check=True, capture_output=True)
        until(lambda: self._states()["done"] >= len(self.before), f"all are done; {self._states()}", 1200)
        service.terminate()
        if service.wait(300) != 0:
            self.tally.wrong.append(f"it ended with {service.returncode}")
        self._check_at_once("in the end")
        there = sorted(path.name for path in self.outbox.rglob("*") if path.is_file())
        if there != sorted(self.before):
            odd = sorted(set(there) ^ set(self.before))
            self.tally.wrong.append(f"{len(there)} results for {len(self.before)} photos; {odd[:5]}")
        left = {state: count for state, count in self._states().items() if state not in ("done", "superseded")}
        if left or self._states()["done"] != len(self.before):
            self.tally.wrong.append(f"the ledger says {self._states()}")


def is_whole_png(content: bytes) -> bool:
    """Every chunk of it with the right sum, every row of its pixels, and its end."""
    at, data, width, height = 8, b"", 0, 0
    while at + 12 <= len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        body = content[at + 8 : at + 8 + length]
        if zlib.crc32(kind + body) != int.from_bytes(content[at + 8 + length : at + 12 + length], "big"):
            return False
        if kind == b"IHDR":
            width, height = struct.unpack(">II", body[:8])
        data += body if kind == b"IDAT" else b""
        at += 12 + length
        if kind == b"IEND":
            return at == len(content) and len(zlib.decompress(data)) == height * (1 + 3 * width)
    return False


def _are_dead(pids: list[int]) -> bool:
    return not any(map(_lives, pids))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
