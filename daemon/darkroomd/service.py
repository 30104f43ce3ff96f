"""The loop: time, signals, retries. What must be done = what is in the folders - what the ledger says is done.

Start-up, event, lost event, timer and retry are one path, tick(). Only this file has threads behind it (watchdog's
and those of the worker pools), and it touches everything from one.
"""

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass, field, replace
from itertools import islice
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Literal

import structlog

from darkroomd import why, write
from darkroomd.config import Config
from darkroomd.device import workers_for
from darkroomd.errors import (
    EXIT_DONE,
    EXIT_UNAVAILABLE,
    Bug,
    CannotWrite,
    Changed,
    ConfigError,
    Conflict,
    Incomplete,
    Rejected,
    Retryable,
    Unavailable,
)
from darkroomd.job import Job, Settled, Sighting, Skip, Staged, Status, Verdict, Written
from darkroomd.plan import plan
from darkroomd.polite import Others, give_memory_back, granted_cores, on_battery, reasons
from darkroomd.record import Claimed, Ledger, delay_seconds
from darkroomd.settle import Settling, fingerprint
from darkroomd.systemd import Systemd
from darkroomd.watch import Health, Watcher
from darkroomd.workers import WorkerDied, Workers

log = structlog.get_logger()

HEALTH_SECONDS = 5.0  # also how late a retry may be
POLL_SECONDS = 10.0  # for folders whose file system raises no events
FULL_CHECK_SECONDS = 3600.0  # the ledger is asked about every file again, whatever was forgotten on the way
BATCH = 2000  # files in one tick, so that a slow share or a big backlog does not keep signals and systemd waiting
BELIEVE_TRUNCATED_SECONDS = 24 * 3600.0
OFFLINE_RETRY_SECONDS = 60.0
LEDGER_RETRY_SECONDS = 15.0
STOP_SECONDS = 1.0

_TRANSIENT = {
    errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.EBUSY, errno.EACCES, errno.EPERM,
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH,
    errno.ENOTCONN, errno.ENOENT, errno.ENODEV, errno.ENXIO,
}  # fmt: skip


@dataclass
class Summary:
    """What a run came to. postponed: times that a photo was put off, to be tried again by itself."""

    verdicts: dict[Status, int] = field(default_factory=dict)
    postponed: int = 0
    exit_code: int = EXIT_DONE


class Service:
    """Watches the config's folders and brings each photo to its verdict. The caller closes the ledger.

    digests: SHA-256 of every network by name. reload: the config and digests anew, at SIGHUP; raises ConfigError.
    on_verdict: called once for each photo that is finished, one way or another. clock never goes back; wall is the
    time of day, which the ledger keeps.
    """

    def __init__(
        self,
        config: Config,
        ledger: Ledger,
        workers: Workers,
        digests: Mapping[str, str],
        *,
        reload: Callable[[], tuple[Config, Mapping[str, str]]] | None = None,
        on_verdict: Callable[[Verdict], None] = lambda _verdict: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.summary = Summary()
        self._ledger = ledger
        self._workers = workers
        self._reload = reload
        self._on_verdict = on_verdict
        self._clock = clock
        self._wall = wall
        self._systemd = Systemd()
        self._settling = Settling()
        self._running: dict[int, tuple[Claimed, Future[Staged]]] = {}
        self._doubted: set[int] = set()
        # The one kind of queue that a signal handler may put something on.
        self._wake: SimpleQueue[str] = SimpleQueue()
        self._others = Others()
        self._paused: tuple[str, ...] = ()
        self._stale: tuple[str, ...] = ()
        self._lost: tuple[str, ...] = ()
        self._ended: tuple[str, ...] = ()
        self._stopping = self._reload_asked = self._is_last_look = self._recovered = False
        self._use(config, digests)

    def _use(self, config: Config, digests: Mapping[str, str]) -> None:
        # what can fail comes first: then the earlier config is in use, whole
        count = config.service.workers or workers_for(config.service.device)
        # A symbolic link is resolved once: watched by its own name it would give no event at all.
        folders = {folder.watch.resolve(): folder for folder in config.folders}
        self._config, self._digests, self._folders = config, digests, folders
        # At start and at a reload only: an output folder that goes missing later is a disk that is not mounted.
        for folder in config.folders:
            with contextlib.suppress(OSError):  # each job will say what is wrong with it
                folder.output.mkdir(parents=True, exist_ok=True)
        self._watcher = Watcher(list(self._folders), lambda: self._wake.put("event"))
        self._workers.count = count
        self._workers.idle_seconds = config.service.idle_minutes * 60
        self._workers.nice = config.service.nice
        self._workers.most_photos, self._workers.most_mb = config.service.recycle_photos, config.service.recycle_mb
        self._settling.forget()
        self._health = Health()
        self._scan: Iterator[Sighting] = iter(())
        self._scanning = False
        self._scan_due = self._poll_due = self._health_due = -float("inf")
        self._full_check_due = float("inf")

    @property
    def systemd(self) -> Systemd:
        """What the service last said of itself."""
        return self._systemd

    # One look

    def tick(self, now: float) -> float:
        """Does what is due and never waits. The answer: in how many seconds there may be something to do again.

        CannotWrite comes from the ledger alone, and then nothing can be promised: recover() before the next tick.
        """
        self._note_sightings(now)
        self._take_in(now)
        self._collect(now)
        self._workers.tend(now)
        self._give_up()
        self._start_jobs(now)
        return self._seconds_until_next(now)

    def step(self, now: float) -> float:
        """As tick(), of a service that does not end: what time can mend is waited for, and then all is begun anew."""
        try:
            if not self._recovered:
                self.recover()
            return self.tick(now)
        except CannotWrite as error:
            log.error("ledger.cannot_write", reason=str(error), again_in_seconds=LEDGER_RETRY_SECONDS)
        except OSError as error:  # no descriptor is free, or our own files' disk is failing
            if error.errno not in _TRANSIENT:
                raise
            log.error("service.hindered", reason=str(error), again_in_seconds=LEDGER_RETRY_SECONDS)
        self._recovered = False
        return LEDGER_RETRY_SECONDS

    def recover(self) -> None:
        """As after a restart: what an earlier run left is put right, and everything is looked at anew."""
        self._workers.stop()
        self._running.clear()
        self._doubted.clear()
        self._settling.forget()
        self._scan_due = -float("inf")
        healed = self._ledger.heal(self._wall(), _publish)
        self._recovered = True
        facts = {name: getattr(healed, name) for name in healed.__slots__}
        for problem in facts.pop("problems"):
            why.put(problem.job, problem.state, problem.reason, self._wall())
        log.info("ledger.healed", **facts)

    def _note_sightings(self, now: float) -> None:
        for sighting in self._watcher.drain():
            self._settling.note(sighting, now)
        if now >= self._health_due:
            self._health_due = now + HEALTH_SECONDS
            self._ask_health()
        if now >= self._scan_due and not self._scanning:
            if now >= self._full_check_due:
                self._settling.forget()
                self._full_check_due = float("inf")
            self._full_check_due = min(self._full_check_due, now + FULL_CHECK_SECONDS)
            self._scan_due = now + self._config.service.rescan_minutes * 60
            self._poll_due = now + POLL_SECONDS
            self._scan = self._watcher.scan(self._folders)
        elif self._health.polled and now >= self._poll_due and not self._scanning:
            self._poll_due = now + POLL_SECONDS
            self._scan = self._watcher.scan(self._health.polled)
        batch = list(islice(self._scan, BATCH))
        self._scanning = len(batch) == BATCH
        for sighting in batch:
            self._settling.note(sighting, now, event=False)

    def _ask_health(self) -> None:
        if self._ledger.changed_by_others():
            self._settling.forget()
            self._scan_due = -float("inf")
        before, self._health = self._health, self._watcher.health()
        if self._health.rescan:
            log.warning("watch.rescan", reason="events may have been lost")
            at = time.strftime("%Y-%m-%d %H:%M", time.localtime(self._wall()))
            self._lost = (f"events may have been lost, last at {at}: all folders were looked through then",)
            self._settling.forget()
            self._scan_due = -float("inf")
        for note in sorted(set(self._health.notes) - set(before.notes)):
            log.warning("watch.degraded", note=note)
        for note in sorted(set(before.notes) - set(self._health.notes)):
            log.info("watch.recovered", note=note)
        self._ask_politely()
        self._ledger.tell([*self._paused, *self._health.notes, *self._stale, *self._lost], self._wall())
        counts = ", ".join(f"{count} {state}" for state, count in sorted(self._ledger.counts().items()))
        lately = self._ledger.finished_since(self._wall() - 3600)
        rate = f"; {lately} in the last hour" if lately else ""
        wrong = "; degraded, see the log" if self._health.notes else ""
        self._systemd.status(f"{counts or 'no photos yet'}{rate}{wrong}")

    def _ask_politely(self) -> None:
        """Whether a photo may be begun: what is in work goes on, because to break it off would be work for nothing."""
        if self._is_last_look:  # somebody asked for it now
            return
        asked, local = self._config.service, time.localtime(self._wall())
        most = asked.pause_when_busy_percent
        before, self._paused = (
            self._paused,
            tuple(
                reasons(
                    asked.quiet_hours,
                    local.tm_hour * 60 + local.tm_min,
                    asked.pause_on_battery and on_battery(),
                    self._others.percent(self._clock()) if most else 0.0,
                    most,
                )
            ),
        )
        if self._paused and not before:
            log.info("service.paused", reason="; ".join(self._paused))
        elif before and not self._paused:
            log.info("service.resumed")

    def _take_in(self, now: float) -> None:
        jobs: dict[Settled, Job] = {}
        for settled in self._settling.settled(now, self._config.service.settle_seconds, BATCH):
            if isinstance(settled, Skip):
                log.info("photo.skipped", source=settled.path, reason=settled.reason)
                continue
            try:
                cores = granted_cores() or len(os.sched_getaffinity(0))
                planned = plan(settled, self._folders[settled.root], self._config, self._digests, cores)
            except Unavailable as error:
                self._unavailable(error)
                return
            if isinstance(planned, Skip):  # one for each other file of the user's at every start: not worth a line
                log.debug("photo.skipped", source=planned.path, reason=planned.reason)
            else:
                log.debug("photo.seen", source=settled.path)
                jobs[settled] = planned
        redo = self._config.service.redo == "on-change"
        new = [jobs[settled] for settled in self._ledger.unknown(jobs, lambda settled: jobs[settled].recipe, redo)]
        if new:
            self._ledger.take_in(new, self._wall())
        for job in new:
            log.info("photo.planned", source=job.source, mode=job.mode.name, target=job.target)

    def _give_up(self) -> None:
        for problem in self._ledger.given_up(self._wall()):
            job = problem.job
            why.put(job, problem.state, problem.reason, self._wall())
            verdict = Verdict(job.source, "failed", job.mode.name, reason=problem.reason)
            self._tell(verdict, "photo.failed", problem.id)

    def _start_jobs(self, now: float) -> None:
        while not (self._stopping or self._paused) and (free := self._workers.free()):
            at_hand = self._workers.at_hand()
            claimed = self._ledger.claim(self._wall(), free, self._config.service.order, at_hand)
            for one in claimed:
                if self._still_there(one, now):
                    log.info("photo.started", source=one.job.source, job=one.id, attempt=one.attempt)
                    try:
                        future = self._workers.submit(one.job, now)
                    except OSError as error:
                        self._postpone(one, f"no worker can be started: {error.strerror}", delay_seconds(one.attempt))
                        continue
                    self._run(one, future)
            self._collect(now)
            if not claimed:
                return

    def _run(self, claimed: Claimed, future: "Future[Staged]") -> None:
        self._running[claimed.id] = claimed, future
        future.add_done_callback(lambda _future: self._wake.put("done"))

    def _still_there(self, claimed: Claimed, now: float) -> bool:
        """Finds out without a worker what became of a photo that left or changed while it was queued."""
        job = claimed.job
        found = fingerprint(job.source)
        if job.root not in self._folders:
            self._set_aside(claimed, "superseded", "its folder is no longer watched")
        elif found == job.fingerprint:
            return True
        elif found is None:
            self._gone(claimed)
        else:
            self._set_aside(claimed, "superseded", "changed while it was queued")
            self._settling.note(Sighting(job.root, job.source), now)
        return False

    # What came of a job

    def _collect(self, now: float) -> None:
        for claimed, future in [pair for pair in self._running.values() if pair[1].done()]:
            del self._running[claimed.id]
            doubted = claimed.id in self._doubted
            self._doubted.discard(claimed.id)
            try:
                staged = future.result()
                if doubted:
                    raise WorkerDied("it said that a network or a device is missing, and another worker found it")
                written = self._published(claimed, staged)
            except Exception as error:
                write.discard(claimed.job.temporary)
                if doubted or not isinstance(error, Unavailable) or not self._is_asked_of_another(claimed, now):
                    self._trouble(claimed, error, now)
                continue
            if written is not None:
                # Not to be taken for trouble with the photo: it is public, and the next start finds it by its digest.
                self._ledger.finished(claimed.id, written, self._wall())
                verdict = replace(staged.verdict, output=written.path)
                self._tell(verdict, f"photo.{verdict.status}", claimed.id)

    def _is_asked_of_another(self, claimed: Claimed, now: float) -> bool:
        """A photo that has taken over its worker could end the service with a word, so one worker's is not enough."""
        try:
            future = self._workers.second_opinion(claimed.job, now)
        except (OSError, BrokenExecutor):  # no room for one: then as with any answer that is not to be had
            future = Future()
            future.set_exception(Retryable("no other worker can be asked whether something is missing"))
        if future is not None:
            self._doubted.add(claimed.id)
            self._run(claimed, future)
        return future is not None

    def _published(self, claimed: Claimed, staged: Staged) -> Written | None:
        """The result under its public name; None when there was nothing to publish, which is recorded and told."""
        job, verdict = claimed.job, staged.verdict
        if fingerprint(job.source) not in (None, job.fingerprint):
            raise Changed("changed while it was worked on")
        if verdict.status in ("failed", "refused"):  # no result that passes the guards: these bytes are no success
            why.put(job, verdict.status, verdict.reason or "", self._wall())
            self._ledger.rejected(claimed.id, verdict, self._wall())
            self._tell(verdict, f"photo.{verdict.status}", claimed.id)
            return None
        state = self._ledger.staged(claimed.id, staged, self._wall())
        if state == "staged" and staged.digest is not None:
            return _publish(staged.job, staged.digest, staged.size, self._ledger.previous(claimed.id))
        why.take_back(job)  # also what was said of other bytes, before these came back
        if state in ("done", "unchanged"):
            self._tell(verdict, f"photo.{state}", claimed.id)
        else:  # the ledger knows this very result already
            write.discard(staged.temporary)
            log.info(f"photo.{state}", source=job.source, job=claimed.id, reason="the same bytes as before")
        return None

    def _trouble(self, claimed: Claimed, error: Exception, now: float) -> None:
        """Who must act decides. Every branch ends in one state of the ledger, and in one line of the log."""
        job, reason, wall = claimed.job, _reason(error), self._wall()
        failed = Verdict(job.source, "failed", job.mode.name, reason=reason)
        found = fingerprint(job.source)
        if found not in (None, job.fingerprint) and not isinstance(error, WorkerDied | Unavailable):
            error = Changed("changed while it was worked on")  # whatever was said of it was said of other bytes
        match error:
            case Changed():
                self._set_aside(claimed, "superseded", str(error))
                self._settling.note(Sighting(job.root, job.source), now)
            case Incomplete() | Retryable() | OSError() if found is None:
                self._gone(claimed)
            case Incomplete() if not self._is_last_look and (until := _believed_at(job, wall)) > wall:
                self._ledger.waiting(claimed.id, reason, until, wall)
                self._put_off("photo.waiting", claimed, reason, until - wall)
            case Rejected():
                refused = replace(failed, status="refused")
                why.put(job, "refused", reason, wall)  # before the ledger says so: it is there when somebody looks
                self._ledger.rejected(claimed.id, refused, wall)
                self._tell(refused, "photo.refused", claimed.id)
            case Conflict():
                why.put(job, "conflict", reason, wall)
                self._set_aside(claimed, "conflict", reason)
                self._tell(failed, "photo.conflict", claimed.id)
            case Unavailable():
                self._ledger.release([claimed.id], wall)
                self._unavailable(error)
            case WorkerDied() if self._ledger.worker_died(claimed.id, reason, wall) == "quarantined":
                reason = f"put aside after {claimed.attempt} attempts: {reason}"
                why.put(job, "quarantined", reason, wall)
                self._tell(replace(failed, reason=reason), "photo.quarantined", claimed.id)
            case WorkerDied():
                self._put_off("photo.worker_died", claimed, reason, delay_seconds(claimed.attempt))
            case Retryable():
                self._postpone(claimed, reason, delay_seconds(claimed.attempt), getattr(error, "public", None))
            case OSError() if error.errno in _TRANSIENT:
                self._postpone(claimed, reason, delay_seconds(claimed.attempt))
            case _:
                why.put(job, "failed", reason, wall)
                self._ledger.rejected(claimed.id, failed, wall)
                self._tell(failed, "photo.failed", claimed.id, error)

    def _gone(self, claimed: Claimed) -> None:
        """A missing disk is not a deleted photo."""
        if self._watcher.is_offline(claimed.job.root):
            self._postpone(claimed, f"{claimed.job.root} is not there", OFFLINE_RETRY_SECONDS)
        else:
            why.take_back(claimed.job)
            self._set_aside(claimed, "superseded", "the file is gone")
            self._settling.forget_one(claimed.job.source)

    def _set_aside(self, claimed: Claimed, state: Literal["conflict", "superseded"], reason: str) -> None:
        self._ledger.set_aside(claimed.id, state, reason, self._wall())
        if state == "superseded":
            log.info("photo.superseded", source=claimed.job.source, job=claimed.id, reason=reason)

    def _postpone(self, claimed: Claimed, reason: str, seconds: float, public: str | None = None) -> None:
        wall = self._wall()
        self._ledger.postponed(claimed.id, reason, wall + seconds, wall, public)
        self._put_off("photo.postponed", claimed, reason, seconds)

    def _put_off(self, event: str, claimed: Claimed, reason: str, seconds: float) -> None:
        self.summary.postponed += 1
        facts = {"source": claimed.job.source, "job": claimed.id, "attempt": claimed.attempt, "reason": reason}
        log.warning(event, **facts, again_in_seconds=round(seconds))

    def _tell(self, verdict: Verdict, event: str, id: int, error: Exception | None = None) -> None:
        facts: dict[str, object] = {"source": verdict.source, "job": id, "mode": verdict.mode}
        facts |= {name: value for name in ("output", "reason") if (value := getattr(verdict, name)) is not None}
        facts |= {"limits": list(verdict.limits)} if verdict.limits else {}
        facts |= {"seconds": round(sum(verdict.seconds.values()), 2)} if verdict.seconds else {}
        if error is not None:
            log.error(event, **facts, exc_info=error)
        elif verdict.status in ("done", "unchanged"):
            log.info(event, **facts)
        else:
            log.warning(event, **facts)
        self.summary.verdicts[verdict.status] = self.summary.verdicts.get(verdict.status, 0) + 1
        self._on_verdict(verdict)

    def _unavailable(self, error: Unavailable) -> None:
        log.error("service.unavailable", reason=str(error))
        self._ended = (f"the service has stopped: {error}",)
        self.summary.exit_code = EXIT_UNAVAILABLE
        self._stopping = True

    # Time and signals

    def run_forever(self) -> int:
        """Until SIGTERM or SIGINT: the exit code. The picture in work is abandoned and its job put back."""
        with self._serving():
            self._watcher.start()
            ready = False
            while not self._stopping:
                seconds = self.step(self._clock())
                if not ready and self._recovered:  # the first scan has begun; photos are served however long it takes
                    self._systemd.ready()
                    ready = True
                self._wait(seconds)
                if self._reload_asked:
                    self._reload_asked = False
                    self._use_new_config()
        return self.summary.exit_code

    def run_once(self) -> Summary:
        """Everything that is there now, to its end; what must wait for something stays for the next run."""
        with self._serving():
            self._is_last_look, self._settling.empty_patience_seconds = True, 0.0
            self.recover()
            while not self._stopping:
                seconds = self.tick(self._clock())
                if not (self._scanning or self._settling.pending() or self._running):
                    break
                self._wait(seconds)
            for path in self._settling.stalled():
                log.warning("photo.skipped", source=path, reason="its end is not written yet")
        return self.summary

    def _wait(self, seconds: float) -> None:
        self._systemd.alive()
        with contextlib.suppress(Empty):
            if seconds > 0:
                self._wake.get(timeout=min(seconds, self._systemd.ping_seconds))
            while True:
                self._wake.get_nowait()

    def _seconds_until_next(self, now: float) -> float:
        if self._scanning:
            return 0.0
        dues = [self._scan_due, self._health_due, self._workers.next_due()]
        dues.append(self._settling.next_due(self._config.service.settle_seconds))
        dues.append(self._poll_due if self._health.polled else None)
        return max(0.02, min(due - now for due in dues if due is not None))

    def _use_new_config(self) -> None:
        """All of it or nothing: the old config stays in use until the new one has no fault."""
        self._systemd.reloading()
        watcher = self._watcher
        try:
            if self._reload is None:
                raise ConfigError(["this service was started without a config file"])
            self._use(*self._reload())
        except (ConfigError, Unavailable, OSError) as error:
            for fault in error.faults if isinstance(error, ConfigError) else [str(error)]:
                log.error("config.refused", fault=fault)
            self._stale = ("the config on the disk has faults (see `darkroomd check`): the earlier one is in use",)
            self._health_due = -float("inf")
        else:
            watcher.stop()
            self._stale = ()
            self._watcher.start()
            log.info("config.reloaded", folders=len(self._folders))
        self._systemd.ready()

    @contextlib.contextmanager
    def _serving(self) -> Iterator[None]:
        """Signals ask us to stop between two ticks; the second one does not ask. Leaves nothing running behind."""

        def on_signal(number: int, _frame: FrameType | None) -> None:
            if number == signal.SIGHUP:
                self._reload_asked = True
            elif self._stopping:
                os._exit(128 + number)
            else:
                self._stopping = True
            self._wake.put("signal")

        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, on_signal) for number in numbers}
        give_memory_back()
        log.info("service.started", folders=len(self._folders), workers=self._workers.count)
        try:
            yield
        finally:
            self._systemd.stopping()
            self._watcher.stop()
            self._put_back()
            with contextlib.suppress(CannotWrite):
                self._ledger.tell(self._ended, self._wall())  # until the next start: nobody else can say why
            log.info("service.stopped", exit_code=self.summary.exit_code)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._systemd.close()

    def _put_back(self) -> None:
        self._workers.stop(STOP_SECONDS)
        with contextlib.suppress(CannotWrite):  # then the next start finds them as they are
            for claimed, future in list(self._running.values()):
                if isinstance(future.exception(), WorkerDied):
                    del self._running[claimed.id]
                    write.discard(claimed.job.temporary)
                    self._ledger.release([claimed.id], self._wall())
                    log.info("photo.put_back", source=claimed.job.source, job=claimed.id)
            self._collect(self._clock())


def _publish(job: Job, digest: str, size: int, previous: Written | None) -> Written:
    """As write's; and why there was no result is no longer so, before the ledger says that there is one."""
    written = write.publish(job, digest, size, previous)
    why.take_back(job)
    return written


def _reason(error: Exception) -> str:
    """In a line: of a traceback, which the log has whole, the last."""
    return str(error).strip().rpartition("\n")[2] if isinstance(error, Bug) else str(error)


def _believed_at(job: Job, wall: float) -> float:
    """When a file that ends too early counts as finished. By its ctime, which nobody can set."""
    return min(job.fingerprint.ctime_ns / 1e9, wall) + BELIEVE_TRUNCATED_SECONDS
