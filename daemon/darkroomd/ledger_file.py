"""The ledger's file and the lock beside it: made, found damaged, found too new, read while its owner works."""

import fcntl
import os
import re
import secrets
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from darkroomd.errors import Busy, CannotWrite, ConfigError

NAME = "ledger.sqlite"
VERSION = 1
# of SQLite: what a photo needs are a few pages, and the default of 2 MB fills up over months, which looks like a leak
CACHE_KB = 512

SCHEMA = """
CREATE TABLE note (at REAL NOT NULL, text TEXT NOT NULL);
CREATE TABLE live (text TEXT NOT NULL, since REAL NOT NULL);
CREATE TABLE settings (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE job (
    id INTEGER PRIMARY KEY,
    state TEXT NOT NULL,
    reason TEXT,
    root BLOB NOT NULL, source BLOB NOT NULL, target BLOB NOT NULL, output_root BLOB,
    device INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,                          -- without the device, which a new mount may change
    recipe TEXT NOT NULL,
    settings INTEGER NOT NULL REFERENCES settings(id),  -- mode, output, limits, engine as JSON
    attempt INTEGER NOT NULL DEFAULT 0,                 -- begun in all; only grows, and names the temporary
    unanswered INTEGER NOT NULL DEFAULT 0,              -- begun without an answer: 3 is quarantine
    taken_in_at REAL NOT NULL, changed_at REAL NOT NULL, due_at REAL NOT NULL DEFAULT 0,
    content TEXT,                                       -- SHA-256 of the source
    temporary BLOB, digest TEXT, size INTEGER,          -- what was staged
    output BLOB, output_digest TEXT, output_size INTEGER,
    verdict TEXT
);
CREATE INDEX job_source ON job(source);
CREATE INDEX job_state ON job(state, changed_at);
CREATE INDEX job_due ON job(root, id) WHERE state IN ('pending', 'retry');
CREATE INDEX job_content ON job(content) WHERE state IN ('done', 'unchanged');
CREATE INDEX job_output ON job(output) WHERE output IS NOT NULL;
"""

# What ledgers from before this was there get when they are opened; a fingerprint begins with the inode and the size.
SINCE_THEN = (
    "CREATE TABLE IF NOT EXISTS live (text TEXT NOT NULL, since REAL NOT NULL)",
    "CREATE INDEX IF NOT EXISTS job_size ON job"
    "(recipe, CAST(substr(fingerprint, instr(fingerprint, ':') + 1) AS INTEGER)) "
    "WHERE state IN ('done', 'unchanged')",
)


def opened_by_owner(folder: Path, now: float) -> tuple[sqlite3.Connection, str, int]:
    """(the ledger, ready to be written; the instance id; the lock, held until this descriptor is closed).

    What it raises, and what becomes of a damaged ledger, Ledger.open says.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _locked(folder / "lock")
        try:
            return _sound(folder / NAME, now), _instance(folder / "instance"), lock
        except BaseException:
            os.close(lock)
            raise
    except (OSError, sqlite3.DatabaseError) as error:  # as damaged it was moved aside: now it is the disk
        raise CannotWrite(f"the state folder {folder} cannot be used: {error}") from error


def opened_by_reader(folder: Path) -> sqlite3.Connection:
    """The ledger as it is, or an empty one when there is none yet; one that is damaged is empty and has a note."""
    path = folder / NAME
    note = None
    if path.exists():
        # A reader may not be allowed to make the -shm file that WAL wants; where there is no -wal, nothing is in it.
        whole = not path.with_name(NAME + "-wal").exists()
        for options in ("mode=ro", "mode=ro&immutable=1") if whole else ("mode=ro",):
            db = _connected(f"{path.absolute().as_uri()}?{options}")
            try:
                if _version(db, path) > 0:
                    return db
                note = None
                break
            except sqlite3.DatabaseError as error:
                db.close()
                note = f"the ledger {path} cannot be read: {error}"
    db = _connected("file::memory:")
    db.executescript(SCHEMA)
    if note is not None:
        db.execute("INSERT INTO note VALUES (0, ?)", (note,))
    return db


def opened_by_visitor(folder: Path) -> sqlite3.Connection | None:
    """For one short change beside the owner, who keeps the lock; None while there is no ledger."""
    path = folder / NAME
    if not path.exists():
        return None
    try:
        db = _connected(f"{path.absolute().as_uri()}?mode=rw")
        _version(db, path)
        db.execute("PRAGMA synchronous = FULL")
    except sqlite3.DatabaseError as error:
        raise CannotWrite(f"the ledger {path} cannot be changed: {error}") from error
    return db


def _sound(path: Path, now: float) -> sqlite3.Connection:
    note = None
    if path.exists() and path.stat().st_size == 0:
        # One whose making was cut short is empty too, but then there is no instance id yet.
        note = "the ledger was empty and a new one was begun" if path.with_name("instance").exists() else None
    elif path.exists() and not _is_sound(path):
        aside = f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}"
        for ending in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                path.with_name(path.name + ending).rename(path.with_name(aside + ending))
        note = f"the ledger was damaged; it was kept as {path.with_name(aside)} and a new one was begun"
    db = _connected(path.absolute().as_uri())
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute(f"PRAGMA cache_size = -{CACHE_KB}")
        if _version(db, path) == 0:
            db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")
        for statement in SINCE_THEN:
            db.execute(statement)
        db.execute("BEGIN IMMEDIATE")
        # SQLite opens a file that it may not write for reading, without a word, makes nothing of IMMEDIATE then, and
        # would never try again: something is written to see it
        db.execute(f"PRAGMA user_version = {VERSION}")
        if note is not None:
            db.execute("INSERT INTO note VALUES (?, ?)", (now, note))
        db.execute("COMMIT")
    except BaseException:
        db.close()
        raise
    return db


def _is_sound(path: Path) -> bool:
    """Whether SQLite can make sense of the file. OperationalError or OSError when that cannot be told: no room, no
    permission, a disk that fails. A read that failed looks like damage too: every byte is read before it is believed.
    """
    if _makes_sense(path):
        return True
    with path.open("rb") as file:
        while file.read(1 << 20):
            pass
    return _makes_sense(path)


def _makes_sense(path: Path) -> bool:
    db = _connected(path.absolute().as_uri())
    try:
        return bool(db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
            return False
        raise
    finally:
        db.close()


def _version(db: sqlite3.Connection, path: Path) -> int:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        both = f"ledger version {version}, this darkroomd knows {VERSION}"
        raise ConfigError([f"{path}: written by a newer darkroomd ({both}): update darkroomd"])
    return version


def _connected(uri: str) -> sqlite3.Connection:
    db = sqlite3.connect(uri, timeout=10.0, isolation_level=None, uri=True)
    db.row_factory = sqlite3.Row
    return db


def _locked(path: Path) -> int:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        first = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise Busy(f"another darkroomd (process {first}) works with the state folder {path.parent}") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    return lock


def _instance(path: Path) -> str:
    """Ours for as long as the state folder exists. Beside the ledger, so that temporaries outlive a damaged one."""
    with suppress(FileNotFoundError):
        if re.fullmatch(r"[0-9a-f]{12}", known := path.read_text("ascii", "replace").strip()):
            return known
    made = secrets.token_hex(6)
    with path.open("w") as file:
        file.write(made + "\n")
        file.flush()
        os.fsync(file.fileno())
    return made
