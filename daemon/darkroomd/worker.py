"""One worker: a process with a line to the service, which does one job at a time.

Not a pool of concurrent.futures, because that unpickles in the service what a worker sends, and whoever has taken over
a worker would have the service with it. Jobs go in pickled, for they come from us; what comes out is plain JSON.
"""

import ctypes
import errno
import importlib
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from threading import Thread
from typing import Any

from darkroomd.confine import Walls, confined
from darkroomd.errors import Bug, OutOfMemory, Retryable, raised, told
from darkroomd.hands import MOST_BYTES, Hands, answering, asking
from darkroomd.job import Job, Staged
from darkroomd.polite import granted_cores, step_back

# what this machine can have too little of while the service hands something over
SHORT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.ETOOMANYREFS)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1


class Hindered(BrokenExecutor):
    """The worker is no more, and neither it nor its photo is to blame: the message says what time must mend."""


class Worker(Executor):
    """Starts its process with its first job, in the thread that submits it: the kernel kills the process when that
    thread ends. inside: walls, or None. BrokenExecutor, at submit or in the future, when the process has died or says
    what makes no sense; Hindered, in the future, when it could not be given what it asked for. OSError at submit when
    this machine has no room for a process or a thread; the worker can then be asked again.
    """

    def __init__(self, inside: Walls | None, nice: int) -> None:
        self.process: BaseProcess | None = None
        self.is_served = False  # the service opens something for it now, which on a share that hangs has no end
        self._listener: Thread | None = None
        self._inside, self._nice = inside, nice

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """fn(run, job), as `call` takes it: the job is the last of the words."""
        if self.process is None:
            self._start()
        assert self.process is not None
        if not self.process.is_alive():
            raise BrokenExecutor("the worker had died")
        answer: Future[Any] = Future()
        answer.set_running_or_notify_cancel()
        listener = Thread(target=self._listen, args=(args[-1], answer), name="worker", daemon=True)
        try:
            listener.start()  # before the worker hears of the job: without it nobody would hear of the worker
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, str(error)) from error
        self._listener = listener
        try:
            self._line.send((fn, args, kwargs))
        except OSError as error:
            raise BrokenExecutor("the worker had died") from error
        return answer

    def _start(self) -> None:
        # spawn, because a forked process must not use a graphics card that its parent has touched
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, os.getpid(), self._inside, self._nice))
        # A worker that is still starting must not be hit by the Ctrl-C that is meant for the service: it starts with
        # the signals blocked, and opens up when it has chosen to ignore them. The first start would also begin
        # multiprocessing's tracker, which opens them up again for us (Python 3.11).
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        self.process = process
        self._at_exit = Finalize(self, process.kill, exitpriority=1)  # or the interpreter would wait for it

    def _listen(self, job: Job, answer: "Future[Any]") -> None:
        """Answers the questions that come up in a job, until its result comes."""
        result: Staged | Exception
        assert self.process is not None
        try:
            hand_over = answering(self._line, job)
            while "ask" in (said := json.loads(self._line.recv_bytes(MOST_BYTES))):
                self.is_served = True
                hand_over(*said["ask"])
                self.is_served = False
            result = raised(said) if "raised" in said else Staged.of(job, said)
        except EOFError:
            result = BrokenExecutor("")
        except Exception as error:  # whatever it was that it said, nothing more is heard of it
            self.process.kill()
            result = BrokenExecutor(
                "" if isinstance(error, ConnectionError) else f"its answer made no sense: {error!r:.200}"
            )
            if isinstance(error, OSError) and error.errno in SHORT_OF:
                result = Hindered(f"nothing can be handed to a worker: {error.strerror}")
        if isinstance(result, Exception):
            answer.set_exception(result)
        else:
            answer.set_result(result)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        """Ends it, between two jobs or after it was killed."""
        if self.process is None:
            return
        self._at_exit.cancel()
        if wait:
            self.process.join()
            if self._listener is not None:  # it may have died before it had its first job
                self._listener.join(5)
        self._line.close()  # where it waits for the next job, it hears so and ends


def call(run: str, job: Job, hands: Hands | None = None) -> Staged:
    """run: "module:function" of a Job, and of Hands where they are given. What it raises can be named without loading
    anything that the job needed."""
    module, _, name = run.partition(":")
    # read once, when the core and libvips start their threads; beside threads it must not be changed any more
    if module not in sys.modules and (threads := job.engine.threads or granted_cores()):
        for variable in ("RAYON_NUM_THREADS", "VIPS_CONCURRENCY"):
            os.environ.setdefault(variable, str(threads))
    try:
        function: Callable[..., Staged] = getattr(importlib.import_module(module), name)
        return function(job) if hands is None else function(job, hands)
    except MemoryError as error:
        raise OutOfMemory(str(error) or "not enough memory") from None
    except ImportError as error:  # a library that could not be loaded: no descriptor, no memory, a disk; not the photo
        raise Retryable(f"a part of darkroomd cannot be loaded: {error}") from None
    except Exception as error:
        if type(error).__module__ in ("builtins", "darkroomd.errors"):
            raise
        raise Bug(told(error)["says"][0]) from None


def _work(line: Connection, parent: int, inside: Walls | None, nice: int) -> None:
    """The worker's life."""
    _begin(parent, inside, nice)
    hands = asking(line) if inside is not None else None
    while True:
        try:
            function, words, more = line.recv()
        except EOFError:
            return
        try:
            said = json.dumps(function(*words, hands, **more).plain())
        except Exception as error:
            said = json.dumps(told(error))
        line.send_bytes(said.encode())


def _begin(parent: int, inside: Walls | None, nice: int) -> None:
    """Die with the service, leave it to the service to decide about signals, give way to other programs, and stay
    behind walls."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    with suppress(OSError):
        step_back(nice)
    if inside is not None:
        confined(inside)
