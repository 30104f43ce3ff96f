"""The ledger: what is to be done, is being done and was done with every photo. The only file with its SQL.

Losing it costs work, never a file: what it says is checked against the folders before anything is replaced or
removed. Every call that changes something is one transaction (heal: one for each staged result), and that is on the
disk before the call returns: WAL with synchronous=FULL, of which 3,700 commits a second were measured, where a photo
needs four. CannotWrite means that it could not be, and that nothing changed. How the file is opened, locked and found
damaged is in ledger_file.
"""

import errno
import hashlib
import json
import os
import re
import sqlite3
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from functools import wraps
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from darkroomd.errors import CannotWrite, Changed, Conflict, Retryable
from darkroomd.job import (
    Engine,
    Fingerprint,
    Job,
    Limits,
    Mode,
    Order,
    Output,
    Settled,
    Staged,
    Twin,
    Verdict,
    Written,
)
from darkroomd.ledger_file import opened_by_owner, opened_by_reader, opened_by_visitor

State = Literal[
    "pending",  # to be done
    "running",  # an attempt was begun; written before the first byte is decoded
    "staged",  # complete and synced under its temporary name
    "done",  # public, and its name is on the disk
    "unchanged",  # the photo needed nothing
    "retry",  # time must act; due again at due_at
    "waiting",  # looked incomplete; ends when the file changes, or as failed at due_at
    "refused",
    "failed",
    "quarantined",  # three attempts ended without an answer
    "conflict",  # the name belongs to a file that is not ours
    "superseded",  # a newer row, or the next look at the folder, takes its place
    "skipped",
]
FINISHED: tuple[State, ...] = ("done", "unchanged")
PROBLEMS: tuple[State, ...] = ("refused", "failed", "quarantined", "conflict")
WAITING: tuple[State, ...] = ("pending", "retry", "waiting")

# a fingerprint begins with the inode and the size
_SIZE = "CAST(substr(fingerprint, instr(fingerprint, ':') + 1) AS INTEGER)"
_ORDERS: dict[Order, str] = {"oldest": "id", "newest": "id DESC", "smallest": f"{_SIZE}, id"}
TWINS = 100  # photos of as many bytes that a worker is told of: raw files of one camera may all have the same size

STINT_SECONDS = 30.0
MOST_ATTEMPTS = 3
LONGEST_DELAY_SECONDS = 3600.0

Settings = TypeVar("Settings", Mode, Output, Limits, Engine)
Answer = TypeVar("Answer")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Claimed:
    """An attempt that has been counted. job.temporary, job.known_content and job.search are set."""

    id: int
    attempt: int
    job: Job


@dataclass(frozen=True, slots=True)
class Entry:
    """One row as a person reads it; plain values. due_at: when a retry or a waiting photo gets its turn."""

    id: int
    state: State
    source: str
    output: str | None
    reason: str | None
    attempt: int
    taken_in_at: float
    changed_at: float
    due_at: float


@dataclass(frozen=True, slots=True)
class Healed:
    """What start-up found of an earlier run: results given their name, jobs to do again, temporaries removed.

    problems: those quarantined or in conflict.
    """

    finished: int = 0
    again: int = 0
    quarantined: int = 0
    superseded: int = 0
    conflicts: int = 0
    swept: int = 0
    problems: tuple["Problem", ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Problem:
    """A photo that has just come to its end without a result."""

    id: int
    job: Job
    state: State
    reason: str


def delay_seconds(attempt: int) -> float:
    """How long to wait after the attempt-th try: 15 s, 30 s, 1 min, ... 1 h."""
    return min(15.0 * 2.0 ** min(max(attempt, 1) - 1, 20), LONGEST_DELAY_SECONDS)


def asked_again(folder: Path, paths: Sequence[Path] | None, now: float) -> int:
    """Ledger.again from beside the owner, who may be at work: it sees the change and looks at its folders anew."""
    db = opened_by_visitor(folder)
    if db is None:
        return 0
    with Ledger(folder, db, "", None) as ledger:
        return ledger.again(paths, now)


def _told(method: Callable[Concatenate["Ledger", P], Answer]) -> Callable[Concatenate["Ledger", P], Answer]:
    """CannotWrite for whatever SQLite says of its disk, also while it reads; its other errors are bugs of ours."""

    @wraps(method)
    def told(ledger: "Ledger", /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        try:
            return method(ledger, *args, **kwargs)
        except sqlite3.DatabaseError as error:
            if type(error) not in (sqlite3.OperationalError, sqlite3.DatabaseError):
                raise
            raise CannotWrite(f"the ledger in {ledger.folder} cannot be used: {error}") from error

    return told


class Ledger:
    """One state folder's ledger. One process owns it and uses it from one thread; any number may read beside it."""

    def __init__(self, folder: Path, db: sqlite3.Connection, instance: str, lock: int | None) -> None:
        self.folder = folder
        self.instance = instance
        self._db = db
        self._lock = lock
        self._turn = 0
        self._last_turn: dict[bytes, int] = {}
        self._turn_began: dict[bytes, float] = {}
        self._data_version: int | None = None

    @staticmethod
    def open(folder: Path, owner: bool, now: float = 0.0) -> "Ledger":
        """The owner's ledger, made if need be, or a reader's, which is empty while there is none.

        Busy when another process owns it; ConfigError when a newer darkroomd wrote it; CannotWrite when the folder
        cannot be used. A damaged ledger is moved aside under a name with the time `now`, a new one is begun, and
        notes() tell. The lock lasts until close() or death. Programs that are started do not get it; a forked
        child would keep it.
        """
        if owner:
            return Ledger(folder, *opened_by_owner(folder, now))
        return Ledger(folder, opened_by_reader(folder), "", None)

    def close(self) -> None:
        """Let go of the file, then of the lock."""
        self._db.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @_told
    def changed_by_others(self) -> bool:
        """Whether another process wrote since this was last asked: someone wants photos done again."""
        version = int(self._db.execute("PRAGMA data_version").fetchone()[0])
        changed = self._data_version not in (None, version)
        self._data_version = version
        return changed

    # What is to be done

    @_told
    def unknown(
        self, settled: Iterable[Settled], recipe_of: Callable[[Settled], str], redo: bool = False
    ) -> list[Settled]:
        """Those that need a job: the ledger has no row for this path with this fingerprint, whatever became of it.

        A row that still waits for its turn under another recipe does not count, because take_in replaces it; with
        `redo` neither does one that ended under another recipe. recipe_of is asked only where it matters.
        """
        find = (
            "SELECT state, recipe FROM job WHERE source = ? AND fingerprint = ? AND state != 'superseded' "
            "ORDER BY id DESC LIMIT 1"
        )
        needed = []
        for one in settled:
            row = self._db.execute(find, (os.fsencode(one.path), _text(one.fingerprint))).fetchone()
            if row is not None:
                movable = row["state"] in WAITING or (redo and row["state"] not in ("running", "staged"))
                if not movable or row["recipe"] == recipe_of(one):
                    continue
            needed.append(one)
        return needed

    @_told
    def take_in(self, jobs: Sequence[Job], now: float) -> None:
        """All of the jobs are pending, in this order. Older rows of the same sources that have no result are
        superseded; one that runs keeps running, and its answer will be dropped."""
        supersede = (
            "UPDATE job SET state = 'superseded', reason = 'the file or the settings changed', changed_at = ? "
            f"WHERE source = ? AND state IN {(*WAITING, *PROBLEMS, 'skipped')}"
        )
        columns = "root, source, target, output_root, device, fingerprint, recipe, settings, taken_in_at, changed_at"
        insert = f"INSERT INTO job (state, {columns}) VALUES ('pending', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        with self._writing() as db:
            settings: dict[object, int] = {}
            for job in jobs:
                chosen = (job.mode, job.output, job.limits, job.engine)
                if chosen not in settings:
                    settings[chosen] = self._settings_id(job)
                paths = [os.fsencode(path) for path in (job.root, job.source, job.target)]
                output_root = None if job.output_root is None else os.fsencode(job.output_root)
                seen = (job.fingerprint.device, _text(job.fingerprint))
                db.execute(supersede, (now, paths[1]))
                db.execute(insert, (*paths, output_root, *seen, job.recipe, settings[chosen], now, now))

    @_told
    def claim(self, now: float, limit: int, order: Order = "oldest", at_hand: Collection[Path] = ()) -> list[Claimed]:
        """Up to `limit` jobs that are due, the watched folders in turn and each folder's in `order`; their attempts are
        counted on the disk before anybody decodes a byte.

        at_hand: folders that a worker is ready for. Another folder may need other networks, so these keep their turn
        for STINT_SECONDS.
        """
        with self._writing() as db:
            rows = self._due(now, limit, order, {os.fsencode(root) for root in at_hand})
            for row in rows:
                db.execute(
                    "UPDATE job SET state = 'running', attempt = attempt + 1, unanswered = unanswered + 1, "
                    "changed_at = ? WHERE id = ?",
                    (now, row["id"]),
                )
        return [Claimed(row["id"], row["attempt"] + 1, self._claimed_job(row)) for row in rows]

    @_told
    def given_up(self, now: float) -> list[Problem]:
        """Photos that waited in vain to become complete: failed, from now on."""
        find = "SELECT * FROM job WHERE state = 'waiting' AND due_at <= ?"
        if not (rows := self._db.execute(find, (now,)).fetchall()):
            return []
        with self._writing():
            for row in rows:
                self._move(row["id"], "waiting", "failed", now, row["reason"])
        return [Problem(row["id"], self._named(row, row["attempt"]), "failed", row["reason"] or "") for row in rows]

    @_told
    def release(self, ids: Iterable[int], now: float) -> None:
        """Attempts that we broke off ourselves are not held against their photos: pending again. Others are let be."""
        for id in ids:
            if self._row(id)["state"] == "running":
                self._move(id, "running", "pending", now)

    # What became of an attempt

    @_told
    def staged(self, id: int, staged: Staged, now: float) -> State:
        """A worker's result is known. What is to happen with it is the state that the row has now:

        staged: publish it, then say finished(). superseded, skipped, pending: discard its temporary (the file
        changed; another file has the same result under the same name; or the earlier result that it repeats is
        gone). done, unchanged: there was nothing to publish, or it is public
        since before the ledger was lost. For repeated bytes the row of the earlier result
        takes over the new fingerprint, and this one is superseded.
        """
        told: dict[str, Any] = {"content": staged.content, "verdict": _json(staged.verdict)}
        with self._writing() as db:
            row = self._row(id, "running")
            twin = self._twin(row, staged.content)
            if staged.repeated:
                if twin is None or twin["source"] != row["source"]:
                    return self._move(id, "running", "pending", now)
                db.execute(
                    "UPDATE job SET device = ?, fingerprint = ? WHERE id = ?",
                    (row["device"], row["fingerprint"], twin["id"]),
                )
                return self._move(id, "running", "superseded", now, "the same bytes as before")
            if twin is not None and twin["source"] != row["source"]:
                return self._move(id, "running", "skipped", now, _same_picture(twin), **told)
            if staged.temporary is None:
                if staged.verdict.output is not None:
                    # without its digest, so that nothing replaces it: its owner may have edited it since
                    told |= {"output": os.fsencode(staged.verdict.output), "output_size": staged.size}
                state: State = "unchanged" if staged.verdict.status == "unchanged" else "done"
                self._replace_earlier(row, staged.content, now)
                return self._move(id, "running", state, now, staged.verdict.reason, **told)
            told |= {"temporary": os.fsencode(staged.temporary), "digest": staged.digest, "size": staged.size}
            return self._move(id, "running", "staged", now, **told)

    @_told
    def previous(self, id: int) -> Written | None:
        """Our latest result for the same photo in the same folder that is there unchanged: publish may replace it.

        None when another photo has had that name since. Retryable when the disk does not tell.
        """
        row = self._row(id)
        folder = row["target"].rpartition(b"/")[0]
        earlier = self._db.execute(
            "SELECT * FROM job WHERE source = ? AND output IS NOT NULL AND output_digest IS NOT NULL "
            "ORDER BY id DESC LIMIT 100",
            (row["source"],),
        )
        for old in earlier:
            if old["output"].rpartition(b"/")[0] != folder:
                continue
            if _has(old["output"], old["output_size"], old["output_digest"]):
                other = self._db.execute(
                    "SELECT 1 FROM job WHERE output = ? AND source != ? AND id > ?",
                    (old["output"], old["source"], old["id"]),
                )
                if other.fetchone() is None:
                    return Written(Path(os.fsdecode(old["output"])), old["output_digest"], old["output_size"])
        return None

    @_told
    def finished(self, id: int, written: Written, now: float) -> None:
        """A staged result is public. Earlier results of the same photo for the same target no longer count."""
        with self._writing():
            row = self._row(id, "staged")
            verdict = json.loads(row["verdict"]) | {"output": str(written.path)}
            self._replace_earlier(row, row["content"], now)
            self._move(
                id,
                "staged",
                "unchanged" if verdict["status"] == "unchanged" else "done",
                now,
                verdict["reason"],
                output=os.fsencode(written.path),
                output_digest=written.digest,
                output_size=written.size,
                verdict=json.dumps(verdict),
            )

    @_told
    def postponed(self, id: int, reason: str, until: float, now: float, public: str | None = None) -> State:
        """Time must act, or nothing that is the photo's fault: due again at `until`; not one of the three attempts.

        public: the name that the staged result has all the same.
        """
        with self._writing():
            origin = self._row(id, "running", "staged")["state"]
            return self._move(id, origin, "retry", now, reason, public=public, due_at=until)

    @_told
    def waiting(self, id: int, reason: str, until: float, now: float, verdict: Verdict | None = None) -> State:
        """The file may still be arriving: it comes again when it changes, and fails for `reason` at `until`."""
        with self._writing():
            return self._move(id, "running", "waiting", now, reason, due_at=until, verdict=verdict and _json(verdict))

    @_told
    def rejected(self, id: int, verdict: Verdict, now: float) -> State:
        """These bytes will never become a picture here: refused or failed, as the verdict says."""
        if verdict.status not in ("refused", "failed"):
            raise ValueError(f"a verdict of {verdict.status} is no rejection")
        with self._writing():
            return self._move(id, "running", verdict.status, now, verdict.reason, verdict=_json(verdict))

    @_told
    def set_aside(self, id: int, state: Literal["conflict", "superseded", "skipped"], reason: str, now: float) -> State:
        """Ended without a result: its name is taken, the file changed or vanished, or no rule wants it any more."""
        with self._writing():
            return self._move(id, self._row(id, "running", "staged", *WAITING)["state"], state, now, reason)

    @_told
    def worker_died(self, id: int, reason: str, now: float) -> State:
        """No answer came. retry, later and later; quarantined at the third time, counted over restarts."""
        with self._writing():
            row = self._row(id, "running")
            if row["unanswered"] >= MOST_ATTEMPTS:
                return self._move(id, "running", "quarantined", now, reason, answered=False)
            due_at = now + delay_seconds(row["unanswered"])
            return self._move(id, "running", "retry", now, reason, answered=False, due_at=due_at)

    # Start-up, and a person's wish

    @_told
    def heal(self, now: float, publish: Callable[[Job, str, int, Written | None], Written]) -> Healed:
        """Put right what an earlier run left, before anything is claimed. Afterwards nothing is running or staged.

        A staged result gets its name (publish is write.publish, which knows what is public already), or its photo is
        done again. A running one is pending again, or quarantined after three attempts without an answer. Then
        temporaries of our instance are removed from the folders that the ledger names; nothing else ever is.
        """
        became: list[State] = []
        problems: list[Problem] = []
        for row in self._db.execute("SELECT * FROM job WHERE state = 'staged' ORDER BY id").fetchall():
            job = replace(self._job(row), temporary=Path(os.fsdecode(row["temporary"])))
            try:
                written = publish(job, row["digest"], row["size"], self.previous(row["id"]))
            except Conflict as error:
                became.append(self.set_aside(row["id"], "conflict", str(error), now))
                problems.append(Problem(row["id"], job, "conflict", str(error)))
            except Changed as error:
                became.append(self.set_aside(row["id"], "superseded", str(error), now))
            except Retryable as error:
                public = getattr(error, "public", None)
                with self._writing():
                    became.append(self._move(row["id"], "staged", "pending", now, str(error), public=public))
            else:
                self.finished(row["id"], written, now)
                became.append("done")
        with self._writing() as db:
            for row in db.execute("SELECT * FROM job WHERE state = 'running' ORDER BY id").fetchall():
                if row["unanswered"] >= MOST_ATTEMPTS:
                    reason = f"no answer in {MOST_ATTEMPTS} attempts; the last ended with darkroomd itself"
                    became.append(self._move(row["id"], "running", "quarantined", now, reason, answered=False))
                    problems.append(Problem(row["id"], self._named(row, row["attempt"]), "quarantined", reason))
                else:
                    became.append(self._move(row["id"], "running", "pending", now, row["reason"], answered=False))
        return Healed(
            became.count("done"),
            became.count("pending"),
            became.count("quarantined"),
            became.count("superseded"),
            became.count("conflict"),
            self._sweep(),
            tuple(problems),
        )

    @_told
    def again(self, paths: Sequence[Path] | None, now: float) -> int:
        """How many photos will be done again when their folders are next looked at, with the settings of that time.

        None: all with a problem, and all that wait for time to act. Paths (photos, or folders of them): also those
        that are done. They are superseded rather than pending because a job carries the settings it was planned with.
        """
        states = (*PROBLEMS, "retry", "waiting") + (() if paths is None else (*FINISHED, "skipped"))
        change = "UPDATE job SET state = 'superseded', reason = 'asked for again', changed_at = ? "
        change += f"WHERE state IN {states}"
        with self._writing() as db:
            if paths is None:
                return db.execute(change, (now,)).rowcount
            within = " AND (source = ? OR source > ? AND source < ?)"  # "0" is the character after "/"
            names = [os.fsencode(path) for path in paths]
            return sum(db.execute(change + within, (now, name, name + b"/", name + b"0")).rowcount for name in names)

    # What a person asks

    @_told
    def counts(self) -> dict[str, int]:
        """How many photos are in each state that any is in."""
        return dict(self._db.execute("SELECT state, count(*) FROM job GROUP BY state").fetchall())

    @_told
    def counts_by_folder(self) -> list[tuple[str, str, int]]:
        """(watched folder, state, how many photos)."""
        found = self._db.execute("SELECT root, state, count(*) FROM job GROUP BY root, state")
        return [(os.fsdecode(root), state, count) for root, state, count in found]

    @_told
    def rows(self, states: Sequence[State], limit: int) -> list[Entry]:
        """Photos in any of the states, those that changed last first."""
        marks = ", ".join("?" * len(states))
        found = self._db.execute(
            f"SELECT * FROM job WHERE state IN ({marks}) ORDER BY changed_at DESC, id DESC LIMIT ?", (*states, limit)
        )
        return [
            Entry(
                row["id"],
                row["state"],
                os.fsdecode(row["source"]),
                os.fsdecode(row["output"]) if row["output"] is not None and row["state"] in FINISHED else None,
                row["reason"],
                *(row[name] for name in ("attempt", "taken_in_at", "changed_at", "due_at")),
            )
            for row in found
        ]

    @_told
    def limited(self, among: int, most: int) -> list[tuple[str, list[str]]]:
        """Photos among the last that are done, with what could not be brought back in them, latest first."""
        last = f"SELECT * FROM job WHERE state IN {FINISHED} ORDER BY changed_at DESC, id DESC LIMIT ?"
        found = [
            (os.fsdecode(row["source"]), list(json.loads(row["verdict"]).get("limits", ())))
            for row in self._db.execute(last, (among,))
            if row["verdict"] is not None
        ]
        return [(source, limits) for source, limits in found if limits][:most]

    @_told
    def finished_since(self, since: float) -> int:
        """How many photos were done, or found to need nothing, from `since` on."""
        find = f"SELECT count(*) FROM job WHERE state IN {FINISHED} AND changed_at >= ?"
        return int(self._db.execute(find, (since,)).fetchone()[0])

    @_told
    def verdict_of(self, path: Path) -> dict[str, Any] | None:
        """What is known of a photo: its verdict, whose `status` is the state it has now; None for one never seen."""
        row = self._db.execute(
            "SELECT * FROM job WHERE source = ? ORDER BY state = 'superseded', id DESC LIMIT 1", (os.fsencode(path),)
        ).fetchone()
        if row is None:
            return None
        verdict: dict[str, Any] = json.loads(row["verdict"] or '{"output": null}')
        return {"source": str(path)} | verdict | {"status": row["state"], "reason": row["reason"]}

    @_told
    def notes(self) -> list[tuple[float, str]]:
        """What happened to the ledger itself, with its time, oldest first."""
        return [(row["at"], row["text"]) for row in self._db.execute("SELECT at, text FROM note ORDER BY rowid")]

    @_told
    def tell(self, texts: Sequence[str], now: float) -> None:
        """What is so at the moment, for whoever asks for the status; what was so already keeps its time."""
        known = dict(self._db.execute("SELECT text, since FROM live").fetchall())
        if list(known) == list(map(_plain, texts)):
            return
        with self._writing() as db:
            db.execute("DELETE FROM live")
            rows = [(text, known.get(text, now)) for text in map(_plain, texts)]
            db.executemany("INSERT INTO live VALUES (?, ?)", rows)

    @_told
    def live(self) -> list[tuple[float, str]]:
        """What the service last told, each with the time since which it is so; also before it was killed."""
        if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'live'").fetchone():
            return []  # an earlier version's ledger that its owner has not opened yet
        return [(row["since"], row["text"]) for row in self._db.execute("SELECT * FROM live ORDER BY rowid")]

    # Inside

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is on the disk afterwards, or none. Inside another one, a part of that."""
        if self._db.in_transaction:
            yield self._db
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db
            self._db.execute("COMMIT")
        except BaseException:
            self._db.rollback()
            raise

    def _row(self, id: int, *states: State) -> sqlite3.Row:
        """The row, which must be in one of the states, if any are given: anything else is a bug of the caller's."""
        row: sqlite3.Row | None = self._db.execute("SELECT * FROM job WHERE id = ?", (id,)).fetchone()
        if row is None or (states and row["state"] not in states):
            raise ValueError(f"job {id} is {row['state'] if row else 'unknown'}, not {' or '.join(states) or 'known'}")
        return row

    def _move(
        self,
        id: int,
        origin: State,
        state: State,
        now: float,
        reason: str | None = None,
        *,
        answered: bool = True,
        public: str | None = None,
        **values: Any,
    ) -> State:
        """Give the row its next state; superseded instead, when a newer row of the same photo took over meanwhile."""
        with self._writing() as db:
            row = self._row(id, origin)
            newer = db.execute("SELECT 1 FROM job WHERE source = ? AND id > ?", (row["source"], id)).fetchone()
            if newer is not None and not (origin == "staged" and state in FINISHED):
                state, reason = "superseded", "the file changed while it was worked on"
            values |= {"state": state, "reason": reason and _plain(reason), "changed_at": now}
            if origin == "running" and answered:
                values["unanswered"] = row["unanswered"] - 1
            if origin == "staged" and state in WAITING:
                # It may have become public all the same: remembered, so that the next result may replace it.
                name = row["target"] if public is None else os.fsencode(public)
                values |= {"output": name, "output_digest": row["digest"], "output_size": row["size"]}
            changes = ", ".join(f"{name} = ?" for name in values)
            db.execute(f"UPDATE job SET {changes} WHERE id = ?", (*values.values(), id))
        return state

    def _settings_id(self, job: Job) -> int:
        plain = {name: asdict(getattr(job, name)) for name in ("output", "limits", "engine")}
        plain["mode"] = job.mode.plain()
        text = json.dumps(plain, sort_keys=True)
        self._db.execute("INSERT OR IGNORE INTO settings (text) VALUES (?)", (text,))
        return int(self._db.execute("SELECT id FROM settings WHERE text = ?", (text,)).fetchone()[0])

    def _due(self, now: float, limit: int, order: Order, at_hand: set[bytes]) -> list[sqlite3.Row]:
        # Due times beyond the longest delay were set before the clock was set back: due now, or they would be stuck.
        due = f"state IN ('pending', 'retry') AND (due_at <= :now OR due_at > :now + {LONGEST_DELAY_SECONDS})"
        roots = [row[0] for row in self._db.execute(f"SELECT DISTINCT root FROM job WHERE {due}", {"now": now})]
        kept = {root for root in at_hand if 0 <= now - self._turn_began.get(root, now) < STINT_SECONDS}
        first = f"SELECT * FROM job WHERE root = :root AND {due} ORDER BY {_ORDERS[order]} LIMIT :limit"
        queues = [
            self._db.execute(first, {"root": root, "now": now, "limit": limit}).fetchall()
            for root in sorted(roots, key=lambda root: (root not in kept, self._last_turn.get(root, 0)))
        ]
        rows = [row for row in chain.from_iterable(zip_longest(*queues)) if row is not None][:limit]
        for row in rows:
            if row["root"] not in kept:
                self._turn_began[row["root"]] = now
            self._turn += 1
            self._last_turn[row["root"]] = self._turn
        return rows

    def _job(self, row: sqlite3.Row) -> Job:
        (text,) = self._db.execute("SELECT text FROM settings WHERE id = ?", (row["settings"],)).fetchone()
        plain = json.loads(text)
        return Job(
            root=Path(os.fsdecode(row["root"])),
            source=Path(os.fsdecode(row["source"])),
            fingerprint=Fingerprint(row["device"], *(int(number) for number in row["fingerprint"].split(":"))),
            target=Path(os.fsdecode(row["target"])),
            mode=Mode.of(plain["mode"]),
            output=_of(Output, plain["output"]),
            limits=_of(Limits, plain["limits"]),
            engine=_of(Engine, plain["engine"]),
            recipe=row["recipe"],
            output_root=None if row["output_root"] is None else Path(os.fsdecode(row["output_root"])),
        )

    def _claimed_job(self, row: sqlite3.Row) -> Job:
        job = self._named(row, row["attempt"] + 1)
        known = self._db.execute(
            "SELECT content, output, output_size FROM job "
            f"WHERE source = ? AND recipe = ? AND target = ? AND state IN {FINISHED} ORDER BY id DESC LIMIT 1",
            (row["source"], row["recipe"], row["target"]),
        ).fetchone()
        there = False
        with suppress(Retryable):  # then it is enhanced anew, which is never wrong
            there = known is not None and (known["output"] is None or _is_there(known["output"], known["output_size"]))
        any_result = "SELECT 1 FROM job WHERE source = ? AND output IS NOT NULL LIMIT 1"
        search = self._db.execute(any_result, (row["source"],)).fetchone() is None
        content = known["content"] if there else None
        twins = self._twins(row) if job.output.duplicates != "enhance" else ()
        return replace(job, known_content=content, search=search, twins=twins)

    def _named(self, row: sqlite3.Row, attempt: int) -> Job:
        """With the temporary name of an attempt."""
        job = self._job(row)
        name = f".darkroomd-{self.instance}-{row['id']}-{attempt}.part"
        return replace(job, temporary=job.target.parent / name)

    def _twins(self, row: sqlite3.Row) -> tuple[Twin, ...]:
        """Results that this photo may turn out to have, too; in the same output folder, because a worker sees no other.
        Whether they are there as they were the worker finds out."""
        found = self._db.execute(
            "SELECT source, state, content, output, output_digest, output_size FROM job "
            f"WHERE recipe = ? AND {_SIZE} = ? AND state IN {FINISHED} AND source != ? AND output_root IS ? "
            "AND output_digest IS NOT NULL ORDER BY id DESC LIMIT ?",
            (row["recipe"], int(row["fingerprint"].split(":")[1]), row["source"], row["output_root"], TWINS),
        )
        ending = os.path.splitext(row["target"])[1].lower()  # noqa: PTH122 - of bytes
        return tuple(
            Twin(
                Path(os.fsdecode(one["source"])),
                one["state"],
                one["content"],
                Path(os.fsdecode(one["output"])),
                *one[4:],
            )
            for one in found
            if os.path.splitext(one["output"])[1].lower() == ending  # noqa: PTH122
        )

    def _twin(self, row: sqlite3.Row, content: str) -> sqlite3.Row | None:
        """The row that has this very result already, if the result is still there; one of the same photo first."""
        twins = self._db.execute(
            f"SELECT * FROM job WHERE content = ? AND recipe = ? AND target = ? AND state IN {FINISHED} "
            "ORDER BY source = ? DESC, id DESC",
            (content, row["recipe"], row["target"], row["source"]),
        )
        for twin in twins:
            if twin["output"] is None or _is_there(twin["output"], twin["output_size"]):
                return twin  # type: ignore[no-any-return]
        return None

    def _replace_earlier(self, row: sqlite3.Row, content: str, now: float) -> None:
        """Earlier rows for what `row` has now made: its own photo's, and those of other photos with this very result
        (which somebody deleted, else _twin would have found it)."""
        self._db.execute(
            "UPDATE job SET state = 'superseded', reason = 'made again', changed_at = ? "
            f"WHERE source = ? AND target = ? AND id != ? AND state IN {FINISHED}",
            (now, row["source"], row["target"], row["id"]),
        )
        self._db.execute(
            "UPDATE job SET state = 'skipped', reason = ?, changed_at = ? "
            f"WHERE content = ? AND recipe = ? AND target = ? AND id != ? AND state IN {FINISHED}",
            (_same_picture(row), now, content, row["recipe"], row["target"], row["id"]),
        )

    def _sweep(self) -> int:
        ours = re.compile(rf"\.darkroomd-{self.instance}-\d+-\d+\.part")
        swept = 0
        folders = {row[0].rpartition(b"/")[0] for row in self._db.execute("SELECT target FROM job")}
        roots = self._db.execute("SELECT DISTINCT output_root FROM job WHERE output_root IS NOT NULL")
        for folder in sorted(folders | {row[0] for row in roots}):
            with suppress(OSError):
                at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    with os.scandir(at) as entries:
                        names = [entry.name for entry in entries if ours.fullmatch(entry.name)]
                    for name in names:
                        os.unlink(name, dir_fd=at)
                        swept += 1
                finally:
                    os.close(at)
        return swept


def _is_there(path: bytes, size: int | None) -> bool:
    """Whether a file has this name and size. Retryable when that cannot be told: to be missing is something else."""
    try:
        facts = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise Retryable(f"{os.fsdecode(path)} cannot be looked at: {error.strerror}") from error
    return stat.S_ISREG(facts.st_mode) and facts.st_size == size


def _has(path: bytes, size: int, digest: str) -> bool:
    """Whether a file of this name has these bytes. Retryable as above, also when we may not read it: it has the name
    and the size of a result of ours, and a share may refuse for a moment."""
    if not _is_there(path, size):
        return False
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK)) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link took its place
            return False
        raise Retryable(f"{os.fsdecode(path)} cannot be read: {error.strerror}") from error


def _same_picture(twin: sqlite3.Row) -> str:
    return _plain(f"the same picture as {os.fsdecode(twin['source'])}, whose result has this name")


def _text(fingerprint: Fingerprint) -> str:
    # As text, because an inode number may be larger than SQLite's largest integer.
    return f"{fingerprint.inode}:{fingerprint.size}:{fingerprint.mtime_ns}:{fingerprint.ctime_ns}"


def _plain(text: str) -> str:
    """Without the stand-ins for bytes that are no UTF-8, which SQLite does not take."""
    return text.encode("utf-8", "backslashreplace").decode()


def _json(verdict: Verdict) -> str:
    return json.dumps(verdict.as_json())


def _of(kind: type[Settings], plain: dict[str, Any]) -> Settings:
    """Settings that an earlier version wrote: what is new has its default, what is gone is left out."""
    known = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in plain.items() if name in known})
