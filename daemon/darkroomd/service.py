"""The loop: time, signals, retries, systemd. What must be done = what is in the folders - what the ledger says is done.

Start-up, event, lost event, timer and retry are one path, tick(). Only this file has threads behind it, and it touches
everything from one thread.
"""

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType

import sdnotify
import structlog

from darkroomd import write
from darkroomd.config import Config
from darkroomd.errors import (
    EXIT_DONE,
    EXIT_UNAVAILABLE,
    Changed,
    ConfigError,
    Conflict,
    Incomplete,
    Rejected,
    Retryable,
    Unavailable,
)
from darkroomd.job import Job, Settled, Sighting, Skip, Staged, Status, Verdict
from darkroomd.plan import plan
from darkroomd.record import Claimed, Ledger, delay_seconds
from darkroomd.settle import Settling, fingerprint
from darkroomd.watch import Health, Watcher
from darkroomd.workers import WorkerDied, Workers

log = structlog.get_logger()

HEALTH_SECONDS = 5.0
POLL_SECONDS = 10.0  # for folders whose file system raises no events
FULL_CHECK_SECONDS = 3600.0  # the ledger is asked about every file again: 100,000 files cost about 2 s
SCAN_BATCH = 2000  # names per tick, so that a slow share does not keep signals and systemd waiting
BELIEVE_TRUNCATED_SECONDS = 24 * 3600.0
STOP_SECONDS = 1.0
OFFLINE_RETRY_SECONDS = 60.0

_TRANSIENT = {
    errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.EBUSY, errno.EACCES, errno.EPERM,
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH,
    errno.ENOTCONN, errno.ENOENT, errno.ENODEV, errno.ENXIO,
}  # fmt: skip


@dataclass
class Summary:
    """What a run came to. postponed: photos that will be tried again by themselves. exit_code: 0, or why it ended."""

    verdicts: dict[Status, int] = field(default_factory=dict)
    postponed: int = 0
    exit_code: int = EXIT_DONE

    @property
    def some_failed(self) -> bool:
        return any(self.verdicts.get(status) for status in ("failed", "refused"))


class Service:
    """Watches the config's folders and brings each photo to its verdict. `ledger` and `workers` are closed by the caller.

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
        self._ledger = ledger
        self._workers = workers
        self._reload = reload
        self._on_verdict = on_verdict
        self._clock = clock
        self._wall = wall
        self._systemd = _Systemd()
        self._settling = Settling()
        self._running: dict[int, tuple[Claimed, Future[Staged]]] = {}
        self._wake: SimpleQueue[str] = SimpleQueue()
        self._stopping = self._reload_asked = False
        self.summary = Summary()
        self._use(config, digests)

    def _use(self, config: Config, digests: Mapping[str, str]) -> None:
        self._config, self._digests = config, digests
        # A symbolic link is resolved once: watched by its own name it would give no event at all.
        self._folders = {folder.watch.resolve(): folder for folder in config.folders}
        self._watcher = Watcher(list(self._folders), lambda: self._wake.put("event"))
        self._workers.count = config.service.workers
        self._workers.idle_seconds = config.service.idle_minutes * 60
        self._settling.forget()
        self._health = Health()
        self._scan: Iterator[Sighting] = iter(())
        self._scanning = False
        self._scan_due = self._poll_due = self._health_due = -float("inf")
        self._full_check_due = self._clock() + FULL_CHECK_SECONDS

    # one look

    def tick(self, now: float) -> float:
        """Does what is due and never waits. The answer: in how many seconds there may be something to do again."""
        self._note_sightings(now)
        self._take_in(now)
        self._collect(now)
        self._workers.tend(now)
        self._start_jobs(now)
        return self._seconds_until_next(now)

    def _note_sightings(self, now: float) -> None:
        for sighting in self._watcher.drain():
            self._settling.note(sighting, now)
        if now >= self._health_due:
            self._health_due = now + HEALTH_SECONDS
            self._ask_health()
        if now >= self._full_check_due:
            self._full_check_due = now + FULL_CHECK_SECONDS
            self._settling.forget()
        if now >= self._scan_due and not self._scanning:
            self._scan_due = now + self._config.service.rescan_minutes * 60
            self._poll_due = now + POLL_SECONDS
            self._scan = self._watcher.scan(self._folders)
        elif self._health.polled and now >= self._poll_due and not self._scanning:
            self._poll_due = now + POLL_SECONDS
            self._scan = self._watcher.scan(self._health.polled)
        batch = list(islice(self._scan, SCAN_BATCH))
        self._scanning = len(batch) == SCAN_BATCH
        for sighting in batch:
            self._settling.note(sighting, now, event=False)

    def _ask_health(self) -> None:
        before, self._health = self._health, self._watcher.health()
        if self._health.rescan:
            log.warning("watch.rescan", reason="events may have been lost")
            self._settling.forget()
            self._scan_due = -float("inf")
        for note in sorted(set(self._health.notes) - set(before.notes)):
            log.warning("watch.degraded", note=note)
        for note in sorted(set(before.notes) - set(self._health.notes)):
            log.info("watch.recovered", note=note)
        counts = ", ".join(f"{count} {state}" for state, count in self._ledger.counts().items() if count)
        self._systemd.tell(f"STATUS={counts or 'nothing to do yet'}{'; degraded' if self._health.notes else ''}")

    def _take_in(self, now: float) -> None:
        jobs: dict[Settled, Job] = {}
        for settled in self._settling.settled(now, self._config.service.settle_seconds):
            if isinstance(settled, Skip):
                log.info("photo.skipped", source=settled.path, reason=settled.reason)
                continue
            try:
                planned = self._plan(settled)
            except Unavailable as error:
                self._unavailable(error)
                return
            if isinstance(planned, Skip):  # as many as the user has other files: not worth a line each start
                log.debug("photo.skipped", source=planned.path, reason=planned.reason)
            else:
                log.debug("photo.seen", source=settled.path)
                jobs[settled] = planned
        candidates = [(settled, job.recipe) for settled, job in jobs.items()]
        new = [jobs[settled] for settled in self._ledger.unknown(candidates, self._config.service.redo)]
        if new:
            self._ledger.take_in(new, self._wall())
        for job in new:
            log.info("photo.planned", source=job.source, mode=job.mode.name, target=job.target)

    def _plan(self, settled: Settled) -> Job | Skip:
        cores = len(os.sched_getaffinity(0))
        return plan(settled, self._folders[settled.root], self._config, self._digests, cores)

    def _start_jobs(self, now: float) -> None:
        while not self._stopping and (free := self._workers.free()):
            claimed = self._ledger.claim(self._wall(), free)
            for one in claimed:
                if self._still_there(one, now):
                    log.info("photo.started", source=one.job.source, job=one.id, attempt=one.attempt)
                    future = self._workers.submit(one.job, now)
                    self._running[one.id] = one, future
                    future.add_done_callback(lambda _future: self._wake.put("done"))
            self._collect(now)
            if not claimed:
                return

    def _still_there(self, claimed: Claimed, now: float) -> bool:
        """Settles without a worker what became of a photo that left or changed while it was queued."""
        job = claimed.job
        found = fingerprint(job.source)
        if job.root not in self._folders:
            self._supersede(claimed, "its folder is no longer watched", now)
        elif found == job.fingerprint:
            return True
        elif found is None:
            self._gone(claimed)
        else:
            self._supersede(claimed, "changed while it was queued", now)
        return False

    # what came of a job

    def _collect(self, now: float) -> None:
        for claimed, future in [pair for pair in self._running.values() if pair[1].done()]:
            del self._running[claimed.id]
            try:
                self._publish(claimed, future.result())
            except Exception as error:
                self._trouble(claimed, error, now)

    def _publish(self, claimed: Claimed, staged: Staged) -> None:
        written = None
        verdict = staged.verdict
        if staged.temporary is not None and staged.digest is not None:
            previous = self._ledger.previous(staged.job)
            self._ledger.staged(claimed.id, staged, self._wall())
            written = write.publish(staged.job, staged.digest, staged.size, previous)
            verdict = replace(verdict, output=written.path)
        elif fingerprint(staged.job.source) not in (None, staged.job.fingerprint):
            raise Changed("changed while it was worked on")
        self._ledger.finished(claimed.id, verdict, written, self._wall())
        self._tell(verdict, f"photo.{verdict.status}", claimed)

    def _trouble(self, claimed: Claimed, error: Exception, now: float) -> None:
        """Who must act decides. Every branch ends in exactly one state of the ledger, and in one line of the log."""
        job, reason, wall = claimed.job, str(error), self._wall()
        write.discard(job.temporary)
        verdict = Verdict(job.source, "failed", job.mode.name, reason=reason)
        if isinstance(error, Changed):
            self._supersede(claimed, reason, now)
        elif isinstance(error, Incomplete) and (until := _believed_at(job, wall)) > wall:
            self._ledger.waiting(claimed.id, reason, until)
            log.info("photo.waiting", source=job.source, job=claimed.id, reason=reason)
            self.summary.postponed += 1
        elif isinstance(error, Rejected):
            verdict = replace(verdict, status="refused")
            self._ledger.refused(claimed.id, verdict, wall)
            self._tell(verdict, "photo.refused", claimed)
        elif isinstance(error, Retryable | OSError) and fingerprint(job.source) is None:
            self._gone(claimed)
        elif isinstance(error, Retryable) or (isinstance(error, OSError) and error.errno in _TRANSIENT):
            self._postpone(claimed, reason, delay_seconds(claimed.attempt))
        elif isinstance(error, Conflict):
            self._ledger.conflict(claimed.id, verdict, wall)
            self._tell(verdict, "photo.conflict", claimed)
        elif isinstance(error, Unavailable):
            self._ledger.release([claimed.id])
            self._unavailable(error)
        elif isinstance(error, WorkerDied) and self._ledger.worker_died(claimed.id, reason, wall) == "retry":
            log.error("photo.worker_died", source=job.source, job=claimed.id, attempt=claimed.attempt, reason=reason)
        elif isinstance(error, WorkerDied):
            verdict = replace(verdict, reason=f"quarantined after {claimed.attempt} attempts: {reason}")
            self._tell(verdict, "photo.quarantined", claimed)
        else:
            self._ledger.failed(claimed.id, verdict, wall)
            self._tell(verdict, "photo.failed", claimed, error)

    def _gone(self, claimed: Claimed) -> None:
        """A missing disk is not a deleted photo."""
        if self._watcher.is_offline(claimed.job.root):
            self._postpone(claimed, f"{claimed.job.root} is not there", OFFLINE_RETRY_SECONDS)
            return
        self._ledger.superseded(claimed.id, "the file is gone", self._wall())
        log.info("photo.superseded", source=claimed.job.source, job=claimed.id, reason="the file is gone")

    def _supersede(self, claimed: Claimed, reason: str, now: float) -> None:
        self._ledger.superseded(claimed.id, reason, self._wall())
        if claimed.job.root in self._folders:
            self._settling.note(Sighting(claimed.job.root, claimed.job.source), now)
        log.info("photo.superseded", source=claimed.job.source, job=claimed.id, reason=reason)

    def _postpone(self, claimed: Claimed, reason: str, seconds: float) -> None:
        self._ledger.postponed(claimed.id, reason, self._wall() + seconds)
        log.warning(
            "photo.postponed", source=claimed.job.source, job=claimed.id, reason=reason, again_in_seconds=round(seconds)
        )
        self.summary.postponed += 1

    def _unavailable(self, error: Unavailable) -> None:
        log.error("service.unavailable", reason=str(error))
        self.summary.exit_code = EXIT_UNAVAILABLE
        self._stopping = True

    def _tell(self, verdict: Verdict, event: str, claimed: Claimed, error: Exception | None = None) -> None:
        facts: dict[str, object] = {"source": verdict.source, "job": claimed.id, "mode": verdict.mode}
        facts |= {"output": verdict.output} if verdict.output else {}
        facts |= {"reason": verdict.reason} if verdict.reason else {}
        facts |= {"seconds": round(sum(verdict.seconds.values()), 2)} if verdict.seconds else {}
        if error is not None:
            log.error(event, **facts, exc_info=error)
        elif verdict.status in ("done", "unchanged"):
            log.info(event, **facts)
        else:
            log.warning(event, **facts)
        self.summary.verdicts[verdict.status] = self.summary.verdicts.get(verdict.status, 0) + 1
        self._on_verdict(verdict)

    # time and signals

    def run_forever(self) -> int:
        """Until SIGTERM or SIGINT: the exit code. The picture in work is abandoned and its job put back."""
        with self._signals():
            self._heal()
            self._watcher.start()
            try:
                self._loop(lambda: False)
            finally:
                self._stop()
        return self.summary.exit_code

    def run_once(self) -> Summary:
        """Everything that is there now, to its end; photos that must wait for something else stay for the next run."""
        with self._signals():
            self._heal()
            try:
                self._loop(self._nothing_left)
                for path in self._settling.stalled():
                    log.warning("photo.skipped", source=path, reason="empty, or its end is not written yet")
            finally:
                self._stop()
        return self.summary

    def _nothing_left(self) -> bool:
        due = self._ledger.next_due(self._wall())
        return not (
            self._scanning or self._settling.pending() or self._running or (due is not None and due <= self._wall())
        )

    def _loop(self, is_over: Callable[[], bool]) -> None:
        ready = False
        while not self._stopping:
            seconds = self.tick(self._clock())
            if not ready:
                self._systemd.tell("READY=1")
                ready = True
            self._systemd.tell("WATCHDOG=1")
            if is_over():
                return
            self._wait(min(seconds, self._systemd.ping_seconds))
            if self._reload_asked:
                self._reload_asked = False
                self._use_new_config()

    def _wait(self, seconds: float) -> None:
        with contextlib.suppress(Empty):
            if seconds > 0:
                self._wake.get(timeout=seconds)
            while True:
                self._wake.get_nowait()

    def _seconds_until_next(self, now: float) -> float:
        if self._scanning:
            return 0.0
        dues = [self._scan_due, self._health_due, self._full_check_due, self._workers.next_due()]
        dues.append(self._settling.next_due(self._config.service.settle_seconds))
        dues.append(self._poll_due if self._health.polled else None)
        seconds = min(due - now for due in dues if due is not None)
        if self._workers.free() and (due := self._ledger.next_due(wall := self._wall())) is not None:
            seconds = min(seconds, max(due - wall, 0.5))
        return max(seconds, 0.02)

    def _heal(self) -> None:
        log.info("ledger.healed", found=str(self._ledger.heal(self._wall())))

    def _stop(self) -> None:
        self._systemd.tell("STOPPING=1")
        self._watcher.stop()
        self._workers.stop(STOP_SECONDS)
        for claimed, future in list(self._running.values()):
            if isinstance(future.exception(), WorkerDied):
                del self._running[claimed.id]
                write.discard(claimed.job.temporary)
                self._ledger.release([claimed.id])
                log.info("photo.put_back", source=claimed.job.source, job=claimed.id)
        self._collect(self._clock())
        log.info("service.stopped", exit_code=self.summary.exit_code)
        self._systemd.close()

    def _use_new_config(self) -> None:
        """All of it or nothing: the old config stays in use until the new one has no fault."""
        # systemd 257 waits for ever for a reload that does not say when it began
        self._systemd.tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            if self._reload is None:
                raise ConfigError(["this service was started without a config file"])
            config, digests = self._reload()
        except ConfigError as error:
            for fault in error.faults:
                log.error("config.refused", fault=fault)
        except (Unavailable, OSError) as error:
            log.error("config.refused", fault=str(error))
        else:
            self._watcher.stop()
            self._use(config, digests)
            self._watcher.start()
            log.info("config.reloaded", folders=len(self._folders))
        self._systemd.tell("READY=1")

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def on_signal(number: int, _frame: FrameType | None) -> None:
            if number == signal.SIGHUP:
                self._reload_asked = True
            elif self._stopping:
                os._exit(128 + number)
            else:
                self._stopping = True
            self._wake.put("signal")  # SimpleQueue is the one queue that may be used here

        before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Systemd:
    """Silent when nobody listens. ping_seconds: half of what systemd waits for a sign of life; infinite if it does not."""

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier() if os.environ.get("NOTIFY_SOCKET") else None
        limit = int(os.environ.get("WATCHDOG_USEC", "0"))
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.ping_seconds = limit / 2e6 if limit and mine else float("inf")

    def tell(self, message: str) -> None:
        if self._notifier is not None:
            self._notifier.notify(message)

    def close(self) -> None:
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.close()
            self._notifier.socket = None


def _believed_at(job: Job, wall: float) -> float:
    """When a file that ends too early counts as finished. By its ctime, which nobody can set back or forward."""
    return min(job.fingerprint.ctime_ns / 1e9, wall) + BELIEVE_TRUNCATED_SECONDS
