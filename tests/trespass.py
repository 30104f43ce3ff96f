"""What somebody would try who took over a worker by way of a photo: one attempt, told in the verdict."""

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from darkroomd.job import Job, Staged, Verdict


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10000000):  # a user namespace, in which one is root
        raise OSError(ctypes.get_errno(), "no namespace")


def _thread(attempt: Callable[[], object]) -> None:
    """The same from another thread: walls stand around all of them."""
    raised: list[OSError] = []

    def act() -> None:
        try:
            attempt()
        except OSError as error:
            raised.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def attempts(job: Job) -> dict[str, Callable[[], object]]:
    beyond = job.root.parent / "private"
    return {
        "runs a program": lambda: subprocess.run(["/bin/true"], check=True),
        "calls home": lambda: socket.socket(socket.AF_INET).close(),
        "takes a namespace": _unshare,
        "signals the service": lambda: os.kill(os.getppid(), 0),
        "reads the service's memory": lambda: Path(f"/proc/{os.getppid()}/mem").open("rb").close(),
        "reads a secret": (beyond / "secret").read_text,
        "reads a secret in a thread": lambda: _thread((beyond / "secret").read_text),
        "lists a home": lambda: list(beyond.iterdir()),
        "changes the original": lambda: job.source.open("a").close(),
        "removes the original": job.source.unlink,
        "renames the original": lambda: job.source.rename(job.target.parent / "stolen"),
        "plants a file": (beyond / "planted").touch,
        "plants a program": lambda: Path("/usr/local/bin/darkroomd-planted").touch(),
    }


def run(job: Job) -> Staged:
    """job.mode.name says what is tried."""
    try:
        attempts(job)[job.mode.name]()
    except OSError as error:
        return Staged(job, "", Verdict(job.source, "refused", job.mode.name, reason=error.strerror))
    return Staged(job, "", Verdict(job.source, "done", job.mode.name))
