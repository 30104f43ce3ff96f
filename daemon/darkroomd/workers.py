"""Where jobs run: processes of their own, so that a codec's crash costs a picture and not the service.

Each worker has one process and at most one job, so a death is that of exactly the guilty job, and the others never
notice.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, InvalidStateError, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from darkroomd.confine import Walls
from darkroomd.errors import Retryable, Unavailable
from darkroomd.job import Job, Staged
from darkroomd.worker import Hindered, Worker, call


class WorkerDied(Exception):
    """The process ended without an answer: a crash, the kernel's memory killer, or its time was up."""


class Workers:
    """Runs jobs, one per worker, `count` at most. To be used from one thread that lives as long as the process:
    the kernel kills a worker when the thread that started it ends.

    run: "module:function" of Job -> Staged, or with walls of (Job, Hands) -> Staged. It is imported where it runs,
    because numpy, libvips and the network runtime belong in the workers and not in the service. ready: as run, but it
    only finds out whether what a job needs is here; None: what any worker says of that is believed. walls: what a
    worker may do while it has this job; it goes on to other jobs with the same walls only. executor: makes the worker;
    Inline runs in this process.
    """

    def __init__(
        self,
        count: int,
        run: str,
        *,
        ready: str | None = None,
        idle_seconds: float = 300.0,
        limit_seconds: float = 3600.0,
        nice: int = 0,
        walls: Callable[[Job], Walls] | None = None,
        executor: Callable[[], Executor] | None = None,
    ) -> None:
        self.count = count
        self.idle_seconds = idle_seconds
        self.limit_seconds = limit_seconds
        self.nice = nice
        self.most_photos = 500
        self.most_mb = 3000
        self._run, self._ready = run, ready
        self._walls = walls
        self._executor = executor
        self._slots: list[_Slot] = []

    def free(self) -> int:
        """How many jobs may be submitted now."""
        return max(0, self.count - sum(slot.busy() for slot in self._slots))

    def alive(self) -> int:
        """How many workers there are, busy or idle."""
        return len(self._slots)

    def at_hand(self) -> list[Path]:
        """The watched folders whose photos the idle workers had last: their networks are open."""
        return [slot.root for slot in self._slots if slot.root is not None and not slot.busy() and not slot.broken]

    def submit(self, job: Job, now: float) -> "Future[Staged]":
        """Starts the job. The future ends with its Staged, with what it raised, or with WorkerDied."""
        inside = self._walls(job) if self._walls is not None else None
        idle = [slot for slot in self._slots if not slot.busy() and not slot.broken]
        slot = next((slot for slot in idle if slot.inside == inside), None)
        if slot is None:
            if idle and self.alive() >= self.count:  # walls stand for ever, so its place goes to a new worker
                self._let_go(idle[0])
            slot = self._new(inside)
        try:
            slot.begin(self._run, job, now)
        except BrokenExecutor:  # it had died while idle, which is not this job's fault
            slot.broken = True
            return self.submit(job, now)
        return slot.answer

    def second_opinion(self, job: Job, now: float) -> "Future[Staged] | None":
        """Whether what this job needs is here, by a new worker that has met no photo yet, one more than `count` for a
        while: the future ends with Unavailable when it is not. None where the word of the first one counts.
        """
        if self._ready is None:
            return None
        slot = self._new(self._walls(job) if self._walls is not None else None)
        slot.begin(self._ready, job, now)
        return slot.answer

    def _new(self, inside: Walls | None) -> "_Slot":
        taken = {slot.number for slot in self._slots}
        number = next(number for number in range(len(taken) + 1) if number not in taken)
        slot = _Slot(Worker(inside, self.nice) if self._executor is None else self._executor(), number, inside)
        self._slots.append(slot)
        return slot

    def tend(self, now: float) -> None:
        """Kills what is over its time, forgets the dead, and lets idle workers go, with the memory that they hold."""
        multiprocessing.active_children()  # takes leave of those that have ended since
        for slot in list(self._slots):
            if slot.busy():
                if now - slot.since > self.limit_seconds:
                    slot.give_up(f"took longer than {self.limit_seconds:g} s")
            elif slot.broken or (slot.idle and (now - slot.since > self.idle_seconds or self.alive() > self.count)):
                self._let_go(slot)
            elif not slot.idle:
                slot.idle, slot.since = True, now
                # what a codec or a driver leaks goes with its process, and between two photos nobody waits for it
                if slot.photos >= self.most_photos or slot.resident_mb() > self.most_mb:
                    self._let_go(slot)

    def _let_go(self, slot: "_Slot") -> None:
        slot.pool.shutdown(wait=False)
        self._slots.remove(slot)

    def next_due(self) -> float | None:
        """When tend() has something to do; None while there is no worker."""
        limits = (slot.since + (self.limit_seconds if slot.busy() else self.idle_seconds) for slot in self._slots)
        return min(limits, default=None)

    def stop(self, patience_seconds: float = 0.0) -> None:
        """Waits that long for running jobs, then kills what is left; unanswered futures end with WorkerDied."""
        wait([slot.answer for slot in self._slots if slot.busy()], patience_seconds)
        for slot in self._slots:
            slot.kill("stopped")
            slot.pool.shutdown(wait=True)
            slot.end(WorkerDied("stopped"))
        self._slots.clear()


class Inline(Executor):
    """Runs each job at submit, in this process: for single commands and for tests."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@dataclass(eq=False)
class _Slot:
    """One worker. number: no two have the same. since: when its job began or, once tend() has seen the end of that,
    its idling.
    """

    pool: Executor
    number: int
    inside: Walls | None = None
    root: Path | None = None
    since: float = 0.0
    idle: bool = False
    broken: bool = False
    killed: str = ""
    photos: int = 0
    answer: "Future[Staged]" = field(default_factory=Future)
    _begun: bool = False

    def busy(self) -> bool:
        return self._begun and not self.answer.done()

    def begin(self, run: str, job: Job, now: float) -> None:
        self.root = job.root
        inner = self.pool.submit(call, run, replace(job, engine=replace(job.engine, worker=self.number)))
        self.photos += 1
        self.since, self.idle, self._begun, self.answer = now, False, True, Future()
        self.answer.set_running_or_notify_cancel()
        inner.add_done_callback(self._pass_on)

    def resident_mb(self) -> float:
        """What it holds now, without a photo; 0 when nobody knows."""
        pages = 0
        for process in self._processes():
            with suppress(OSError, ValueError, IndexError):
                pages += int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def kill(self, reason: str) -> None:
        self.killed = self.killed or reason
        for process in self._processes():
            process.kill()

    def give_up(self, reason: str) -> None:
        """Killed, and its job ends now, also where it is the service's own thread that waits for a disk or a share on
        its behalf. That thread is left to wait, and the photo is not to blame.
        """
        self.kill(reason)
        if getattr(self.pool, "is_served", False):
            self.end(Retryable(f"the folder of the photo or that of its result does not answer: it {reason}"))

    def _pass_on(self, inner: "Future[Staged]") -> None:
        error = inner.exception()
        if isinstance(error, Hindered):
            self.end(WorkerDied(self.killed) if self.killed else Retryable(str(error)))
        elif isinstance(error, BrokenExecutor):
            self.end(WorkerDied(self.killed or str(error) or self._cause()))
        elif error is not None:
            if isinstance(error, Unavailable):  # what is missing may be there when a new one looks
                self.broken = True
                self.kill("it said that something is missing")
            self.answer.set_exception(error)
        else:
            self.answer.set_result(inner.result())

    def end(self, error: Exception) -> None:
        """There is no worker any more that could go on."""
        self.broken = True
        with suppress(InvalidStateError):  # given up earlier
            self.answer.set_exception(error)

    def _cause(self) -> str:
        for process in self._processes():  # its end can be told a moment before its exit code is there
            process.join(5)
        codes = [process.exitcode for process in self._processes()]
        named = [signal.Signals(-code).name if code < 0 else f"exit {code}" for code in codes if code is not None]
        return f"the worker died ({', '.join(named) or 'no reason given'})"

    def _processes(self) -> list[Any]:
        process = getattr(self.pool, "process", None)
        return [] if process is None else [process]
