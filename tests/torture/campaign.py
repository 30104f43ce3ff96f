"""Trials, many times over: a home is prepared, something is done to its service, and everything is looked at."""

import errno
import hashlib
import os
import random
import stat
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from darkroomd.errors import EXIT_TRY_AGAIN, EXIT_UNAVAILABLE
from tests import networks
from tests.torture.disk import Disk
from tests.torture.harm import CHANGES, READS, End, run, system_calls, traced
from tests.torture.house import House, moment, serve, serve_on, wrong_at_once, wrong_in_the_end

HOURS_LATER = 2.0  # the next start: whatever was put off is due

_FULL = ("ENOSPC", "EDQUOT", "EIO", "ENOMEM")
_NAMED = ("ENOSPC", "EDQUOT", "EIO", "EACCES", "ENOMEM")
_OPEN = ("EIO", "EACCES", "EMFILE", "ENOMEM")
ERRORS = {
    **dict.fromkeys(("write", "pwrite64", "writev", "ftruncate", "fallocate", "fsync", "fdatasync"), _FULL),
    **dict.fromkeys(("mkdir", "mkdirat", "link", "linkat", "rename", "renameat", "renameat2"), _NAMED),
    **dict.fromkeys(("unlink", "unlinkat", "fchmod", "utimensat"), ("EIO", "EACCES")),
    **dict.fromkeys(("openat", "open"), _OPEN),
    **dict.fromkeys(("read", "pread64", "getdents64", "newfstatat", "statfs", "fstatfs"), ("EIO", "ENOMEM")),
}


@dataclass
class Tally:
    """What a campaign came to. moments: how far the work had come when it struck. wrong: every violation, in words."""

    trials: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.trials + other.trials, self.moments + other.moments, self.wrong + other.wrong)


class Campaign:
    """Everything that the trials share. `room`: a folder in memory; `seed`: of every choice that is made."""

    def __init__(self, room: Path, seed: int = 1) -> None:
        self.room = room
        self.log = room / "log"
        self.trace = room / "trace"
        self.dice = random.Random(seed)
        self._patch = pytest.MonkeyPatch()
        networks.shipped(room / "networks", self._patch, general=networks.identity())
        self._whole: dict[str, dict[str, set[str]]] = {}
        self._last: dict[str, dict[str, str]] = {}
        self._number = 0

    def house(self, story: str, pipeline: str, outside: Path | None = None, state: Path | None = None) -> House:
        """A new home; its outputs and its state on disks that may be harmed, or beside it."""
        self._number += 1
        name = f"{self._number}"
        home = self.room / "homes" / name
        home.mkdir(parents=True)
        return House(home, (outside or home) / f"out-{name}", (state or home) / f"state-{name}", story, pipeline)

    def _work(
        self, house: House, hours_later: float = 0.0, *, on: bool = False, without: str = ""
    ) -> Callable[[], None]:
        def work() -> None:
            if house.story == "no links":
                _without_links()
            if without:
                _without_sync(of_folders=without == "folders")
            if on:
                serve_on(house)
            else:
                serve(house, hours_later)

        return work

    def prepared(self, house: House) -> dict[str, tuple[object, ...]]:
        end = run(house.prepare, self.log)
        assert end == End(0, 0, end.calls), self.log.read_text()[-3000:]
        return house.originals()

    def known(self, house: House) -> tuple[dict[str, set[str]], dict[str, str]]:
        """(digests that each public name may have at any moment, and must have in the end), from an undisturbed run."""
        story = house.story
        if story not in self._whole:
            calm = self.house(story, "true")
            self.prepared(calm)
            calm.config()  # what its first reading makes ready (regular expressions) is ready for each child
            whole = {name: {_digest(calm.outbox / name)} for name in calm.names()}
            end = run(self._work(calm), self.log)
            assert end.code == 0, self.log.read_text()[-3000:]
            self._last[story] = {name: _digest(calm.outbox / name) for name in calm.names()}
            for name, digest in self._last[story].items():
                whole.setdefault(name, set()).add(digest)
            self._whole[story] = whole
            calm.remove()
        return self._whole[story], self._last[story]

    def judge(
        self, house: House, before: dict[str, tuple[object, ...]], what: str, hours_later: float = HOURS_LATER
    ) -> list[str]:
        """Look, start again in peace, look again."""
        whole, last = self.known(house)
        wrong = wrong_at_once(house, whole, before)
        end = run(self._work(house, hours_later), self.log)
        if end.code != 0:
            wrong.append(f"the next start ended with {end.code or end.signal}: {self._last_words()}")
        wrong += wrong_in_the_end(house, last, before)
        return [f"{what}, {house.story}, {house.pipeline}: {fault}" for fault in wrong]

    def in_the_end(self, house: House, before: dict[str, tuple[object, ...]], swept: bool) -> list[str]:
        return wrong_in_the_end(house, self.known(house)[1], before, swept)

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return lines[-1][:300] if lines else ""

    # Killed

    def kills_before_calls(self, story: str, pipeline: str, sample: int | None = None) -> Tally:
        """The service kills itself before its first, its second, ... its last call to the system or to SQLite."""
        calls = self._calls_of(story, pipeline)
        chosen = range(1, calls + 1)
        tally = Tally()
        for at in sorted(self.dice.sample(chosen, min(sample or calls, calls))):
            house = self.house(story, pipeline)
            before = self.prepared(house)
            end = run(self._work(house), self.log, kill_before=at)
            if end.signal != 9:
                tally.wrong.append(f"call {at}, {story}: it was to be killed")
            tally.trials += 1
            tally.moments[moment(house)] += 1
            tally.wrong += self.judge(house, before, f"killed before call {at}")
            house.remove()
        return tally

    def _calls_of(self, story: str, pipeline: str) -> int:
        house = self.house(story, pipeline)
        self.prepared(house)
        self.known(house)
        end = run(self._work(house), self.log, kill_before=-1)
        assert end.code == 0, self.log.read_text()[-3000:]
        house.remove()
        return end.calls

    def _system_calls_of(self, story: str, pipeline: str, names: tuple[str, ...]) -> Counter[str]:
        house = self.house(story, pipeline)
        self.prepared(house)
        self.known(house)
        # in pieces, because strace refuses names that this processor's kernel does not have
        end = traced(self._work(house), self.log, self.trace, "-e", "trace=" + ",".join(f"?{name}" for name in names))
        assert end.code == 0, self.log.read_text()[-3000:]
        house.remove()
        return system_calls(self.trace)

    def kills_in_system_calls(self, story: str, pipeline: str, sample: int | None = None) -> Tally:
        """Killed at the entry of every system call that changes something; SQLite's own are among them."""
        counted = self._system_calls_of(story, pipeline, CHANGES)
        points = [(call, at) for call, often in sorted(counted.items()) for at in range(1, often + 1)]
        tally = Tally()
        for call, at in self.dice.sample(points, min(sample or len(points), len(points))):
            house = self.house(story, pipeline)
            before = self.prepared(house)
            options = ("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={at}")
            end = traced(self._work(house), self.log, self.trace, *options)
            if end.signal != 9:
                tally.wrong.append(f"{call} {at}, {story}: it was to be killed")
            tally.trials += 1
            tally.moments[moment(house)] += 1
            tally.wrong += self.judge(house, before, f"killed in {call} {at}")
            house.remove()
        return tally

    # The power goes

    def cuts(self, kind: str, layout: str, story: str, pipeline: str, sample: int, without: str = "") -> Tally:
        """Killed at any call, and the disks' power cut in that moment. without: which sync is left out, to see that it
        is missed."""
        output = Disk.made(kind, self.room)
        ledger = output if layout == "one disk" else Disk.made(kind, self.room)
        tally = Tally()
        try:
            calls = self._calls_of(story, pipeline)
            for _ in range(sample):
                # Mostly where there is something to lose; beyond the last call, what is said to be done must be there.
                at = self.dice.randint(calls * 6 // 10 if without or self.dice.random() < 0.8 else 1, calls + 5)
                house = self.house(story, pipeline, output.folder, ledger.folder)
                before = self.prepared(house)
                for disk in {output, ledger}:
                    disk.sync()
                end = run(self._work(house, without=without), self.log, kill_before=at)
                tally.moments[moment(house)] += 1
                for disk in {output} if layout == "two disks, the results' is cut" else {output, ledger}:
                    disk.cut()
                tally.trials += 1
                what = f"power cut before call {at} ({'killed' if end.signal else 'finished'}), {kind}, {layout}"
                tally.wrong += self.judge(house, before, what)
                house.remove()
        finally:
            for disk in {output, ledger}:
                disk.remove()
        return tally

    # Calls that fail

    def errors(self, story: str, pipeline: str, sample: int | None = None) -> Tally:
        """Each system call fails, once or from then on, with each error that it may have."""
        counted = self._system_calls_of(story, pipeline, CHANGES + READS)
        points = [
            (call, at, error, lasting)
            for call, often in sorted(counted.items())
            for at in range(1, often + 1)
            for error in ERRORS.get(call, ())
            for lasting in ("", "+")
        ]
        tally = Tally()
        for call, at, error, lasting in self.dice.sample(points, min(sample or len(points), len(points))):
            house = self.house(story, pipeline)
            before = self.prepared(house)
            options = ("-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={at}{lasting}")
            what = f"{call} {at}{lasting} fails with {error}"
            end = traced(self._work(house, on=not lasting), self.log, self.trace, *options)
            # strace counts the calls of each thread: in those that serve one photo, the error comes with every attempt
            injected = self.trace.read_text(errors="replace").count("(INJECTED)")
            if not injected:
                house.remove()
                continue  # the numbers move a little from run to run
            again = bool(lasting) or injected > 1
            tally.trials += 1
            tally.moments[f"{error} {'again and again' if again else 'once'}"] += 1
            if end.signal or end.code not in (0, EXIT_UNAVAILABLE, EXIT_TRY_AGAIN):
                words = self._last_words()
                tally.wrong.append(f"{what}, {story}, {pipeline}: ended with {end.code}: {words}")
            elif not again and end.code == 0:
                faults = self.in_the_end(house, before, swept=not call.startswith("unlink"))
                tally.wrong += [f"{what}, {story}, {pipeline}, by itself: {fault}" for fault in faults]
            tally.wrong += self.judge(house, before, what)
            house.remove()
        return tally

    def full_disks(self, trials: int) -> Tally:
        """Results and ledger on 2 MB, of which something takes a random part; then it is taken away."""
        tally = Tally()
        disk = Disk.made("tmpfs", self.room, 2 << 20)
        try:
            for _ in range(trials):
                house = self.house("first time", "true", disk.folder, disk.folder)
                before = self.prepared(house)
                ballast = disk.folder / "ballast"
                room = os.statvfs(disk.folder).f_bavail * 4096
                ballast.write_bytes(b"x" * self.dice.randint(room // 4, room))
                end = run(self._work(house), self.log)
                tally.trials += 1
                tally.moments["no room, " + moment(house)] += 1
                if end.code not in (0, EXIT_TRY_AGAIN):
                    tally.wrong.append(f"a full disk ended it with {end.code}: {self._last_words()}")
                ballast.unlink()
                tally.wrong += self.judge(house, before, "a full disk")
                house.remove()
        finally:
            disk.remove()
        return tally

    def read_only_disks(self, trials: int) -> Tally:
        """The results' disk becomes read-only before any call, as a disk with a fault does."""
        tally = Tally()
        disk = Disk.made("ext4", self.room)
        try:
            calls = self._calls_of("first time", "true")
            for _ in range(trials):
                house = self.house("first time", "true", disk.folder)
                before = self.prepared(house)
                run(self._work(house), self.log, kill_before=self.dice.randint(1, calls))
                disk.read_only(True)
                end = run(self._work(house, HOURS_LATER), self.log)
                tally.trials += 1
                tally.moments["read-only, " + moment(house)] += 1
                if end.code not in (0, EXIT_TRY_AGAIN):
                    tally.wrong.append(f"a read-only disk ended it with {end.code}: {self._last_words()}")
                disk.read_only(False)
                tally.wrong += self.judge(house, before, "a read-only disk", hours_later=2 * HOURS_LATER)
                house.remove()
        finally:
            disk.remove()
        return tally


def _without_links() -> None:
    def link(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    os.link = link


def _without_sync(of_folders: bool) -> None:
    fsync = os.fsync

    def some(descriptor: Any) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) != of_folders:
            fsync(descriptor)

    setattr(os, "fsync", some)  # noqa: B010 - mypy knows better than this test what fsync is


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
