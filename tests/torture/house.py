"""A small home before, what must be true of it at any moment, and what must be true after the next start."""

import hashlib
import os
import shutil
import sqlite3
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from darkroomd import log, models
from darkroomd.config import Config, load
from darkroomd.errors import EXIT_TRY_AGAIN, CannotWrite, ConfigError, Retryable, Unavailable
from darkroomd.record import Ledger
from darkroomd.service import Service
from darkroomd.workers import Inline, Workers
from tests.one_photo import is_complete

PHOTOS = ("a.png", "b/c.png")
SETTINGS = "service: {settle_seconds: 0.001}\n"

# What was there before, and what it is about.
STORIES = {
    "first time": "two new photos, one in a sub-folder that the output folder does not have yet",
    "made again": "both photos changed since they were done: their results are replaced",
    "name taken": "files of somebody else's have the names: the results get numbers",
    "no links": "a file system without hard links",
    "left alone": "strength 0: the bytes are copied",
    "two names": "one photo under two names: the second result is a link to the first",
}
# true: the pipeline itself, whose results are known to the byte. random: a stand-in whose results differ each time, as
# those of a graphics card may, and end with a digest of themselves.
PIPELINES = {"true": "darkroomd.pipeline:run", "random": "tests.one_photo:staged_by_worker"}


def png(seed: int, width: int = 48, height: int = 32) -> bytes:
    """A picture made without a library, so that the process that forks all others stays free of threads."""
    rows = [
        bytes((x * 5 + y * 3 + seed * 37 + (x * y) % 17 * colour) % 256 for x in range(width) for colour in range(3))
        for y in range(height)
    ]
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@dataclass(frozen=True)
class House:
    """Where everything of one trial lies: originals and config on a disk that is never harmed."""

    home: Path
    outbox: Path
    state: Path
    story: str = "first time"
    pipeline: str = "true"

    @property
    def inbox(self) -> Path:
        return self.home / "in"

    @property
    def results(self) -> tuple[str, ...]:
        """The names that must be there in the end."""
        if self.story == "name taken":
            return ("a-2.png", "a.png", "b/c-2.png", "b/c.png")
        return PHOTOS

    def prepare(self) -> None:
        """Everything as it is before the act."""
        for folder in (self.inbox / "b", self.outbox, self.state):
            folder.mkdir(parents=True)
        strength = 0 if self.story == "left alone" else 1
        folders = f"folders: [{{watch: {self.inbox}, output: {self.outbox}, mode: general, strength: {strength}}}]\n"
        output = "output: {duplicates: link}\n" if self.story == "two names" else ""
        (self.home / "config.yaml").write_text(folders + output + SETTINGS)
        edition = 0
        if self.story == "made again":
            self._write_photos(1)
            serve(self)
        if self.story == "name taken":
            for name in PHOTOS:
                (self.outbox / name).parent.mkdir(exist_ok=True)
                (self.outbox / name).write_bytes(foreign(name))
        self._write_photos(edition)

    def _write_photos(self, edition: int) -> None:
        for number, name in enumerate(PHOTOS):
            (self.inbox / name).write_bytes(png(10 * edition + (0 if self.story == "two names" else number)))

    def remove(self) -> None:
        for folder in (self.home, self.outbox, self.state):
            shutil.rmtree(folder, ignore_errors=True)

    def originals(self) -> dict[str, tuple[object, ...]]:
        found: dict[str, tuple[object, ...]] = {}
        for name in PHOTOS:
            facts = (self.inbox / name).lstat()
            extra = tuple(os.listxattr(self.inbox / name))
            found[name] = (
                (self.inbox / name).read_bytes(), facts.st_ino, facts.st_mode, facts.st_uid, facts.st_mtime_ns,
                facts.st_ctime_ns, extra,
            )  # fmt: skip
        return found

    def names(self) -> list[str]:
        """Every file in the output folder."""
        found = (path for path in self.outbox.rglob("*") if not path.is_dir())
        return sorted(path.relative_to(self.outbox).as_posix() for path in found)

    def config(self) -> Config:
        return load(self.home / "config.yaml", {})


def foreign(name: str) -> bytes:
    return b"somebody else's " + name.encode()


def serve(house: House, hours_later: float = 0.0) -> None:
    """`darkroomd once`, with the photos worked on in this process; that much later by the wall clock."""
    with _service(house, lambda: hours_later * 3600) as (service, _ledger):
        service.run_once()


def serve_on(house: House) -> None:
    """`darkroomd run`, whose hours pass in no time, until every photo has its end or a day is over."""
    passed = 0.0
    with _service(house, lambda: passed) as (service, ledger):
        while passed < 24 * 3600:
            passed += service.step(passed)
            try:
                counts = ledger.counts()
            except CannotWrite:
                continue
            if service.summary.exit_code:
                os._exit(service.summary.exit_code)
            open_ones = sum(counts.get(state, 0) for state in ("pending", "running", "staged", "retry", "waiting"))
            if passed > 150 and not open_ones:  # two looks through the folders
                break


@contextmanager
def _service(house: House, later_seconds: Callable[[], float]) -> Iterator[tuple[Service, Ledger]]:
    """What a command would end with is the exit code; anything else that comes out of here is a fault."""

    def wall() -> float:
        return time.time() + later_seconds()

    try:
        log.set_up("info")
        loaded, digests = house.config(), models.digests()
        with Ledger.open(house.state, owner=True, now=wall()) as ledger:
            workers = Workers(1, PIPELINES[house.pipeline], executor=Inline)
            yield Service(loaded, ledger, workers, digests, wall=wall), ledger
    except (ConfigError, Unavailable, Retryable, OSError) as error:
        with suppress(OSError):
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(EXIT_TRY_AGAIN)


def wrong_at_once(house: House, whole: Mapping[str, set[str]], before: dict[str, tuple[object, ...]]) -> list[str]:
    """What must never be, whatever has just happened. whole: digests of the complete files that each name may have."""
    wrong = []
    for name in house.names():
        path = house.outbox / name
        if path.name.startswith(".darkroomd-"):
            continue
        content = path.read_bytes()
        if content == foreign(name):
            continue
        known = hashlib.sha256(content).hexdigest() in whole.get(name, ())
        if not (known or (house.pipeline == "random" and len(content) > 32 and is_complete(path))):
            wrong.append(f"{name} is public and not whole ({len(content)} bytes)")
    if house.originals() != before:
        wrong.append("an original was touched")
    return wrong


def wrong_in_the_end(
    house: House, last: Mapping[str, str], before: dict[str, tuple[object, ...]], swept: bool = True
) -> list[str]:
    """What must be true once an undisturbed run is over. last: the digest of each complete result. swept: whether
    temporaries must be gone as well, as they are after a start."""
    wrong = []
    names = [name for name in house.names() if swept or "/.darkroomd-" not in f"/{name}"]
    if names != sorted(house.results):
        wrong.append(f"there are {names}")
    if house.originals() != before:
        wrong.append("an original was touched")
    with closing(sqlite3.connect(f"{(house.state / 'ledger.sqlite').as_uri()}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT source, state, output, output_digest, reason FROM job WHERE state != 'superseded'")
        found = sorted((os.fsdecode(source), state, reason) for source, state, _output, _digest, reason in rows)
        states = [(Path(source).relative_to(house.inbox).as_posix(), state) for source, state, _reason in found]
        end = "unchanged" if house.story == "left alone" and house.pipeline == "true" else "done"
        if states != [(name, end) for name in PHOTOS]:
            wrong.append(f"the ledger says {found}")
        for output, digest in db.execute("SELECT output, output_digest FROM job WHERE state IN ('done', 'unchanged')"):
            path = Path(os.fsdecode(output))
            if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                wrong.append(f"{path.name} is not the file that the ledger knows")
        if db.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            wrong.append("the ledger is damaged")
        wrong += [f"note: {text}" for (text,) in db.execute("SELECT text FROM note")]
    for name in house.results:
        path = house.outbox / name
        if not path.exists():
            continue
        content = path.read_bytes()
        if house.story == "name taken" and name in PHOTOS:
            whole = content == foreign(name)
        elif house.pipeline == "random":
            whole = len(content) > 32 and is_complete(path)
        else:
            whole = hashlib.sha256(content).hexdigest() == last[name]
        if not whole:
            wrong.append(f"{name} is not the right result")
    return wrong


def moment(house: House) -> str:
    """How far the work had come: the states of the photos, and whether results were public or half-made."""
    path = house.state / "ledger.sqlite"
    states: list[str] = []
    if path.exists():
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
                states = [row[0] for row in db.execute("SELECT state FROM job WHERE state != 'superseded' ORDER BY id")]
        except sqlite3.DatabaseError:
            states = []
    for state in ("staged", "running", "done", "unchanged", "retry", "pending"):
        if state in states:
            return "between two photos" if state in ("done", "unchanged") else state
    return "before it was taken in"
