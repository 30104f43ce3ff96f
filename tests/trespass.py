"""What somebody would try who took over a worker by way of a photo: one attempt, told in the verdict."""

import ctypes
import mmap
import os
import resource
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from darkroomd.hands import OWN, Hands
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


def _process() -> None:
    if os.fork() == 0:
        os._exit(0)


def _too_large(folder: Path) -> None:
    with (folder / "large").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, resource.getrlimit(resource.RLIMIT_FSIZE)[0] + 1)


def _too_much() -> None:
    try:
        mmap.mmap(-1, 1 << 46, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)  # without asking for room
    except MemoryError as error:
        raise OSError(12, "Cannot allocate memory") from error


def _files() -> None:
    held: list[int] = []
    try:
        while len(held) < 2000:
            held.append(os.dup(0))
    finally:
        for one in held:
            os.close(one)


def _written(descriptor: int) -> None:
    with Path(f"/proc/self/fd/{descriptor}").open("ab"):
        pass


def attempts(job: Job, hands: Hands = OWN) -> dict[str, Callable[[], object]]:
    beyond = job.root.parent / "private"
    return {
        "starts a process": _process,
        "opens the photo itself": job.source.read_bytes,
        "lists the folder of the photo": lambda: list(job.root.iterdir()),
        "reads another photo": (job.root / "other.jpg").read_bytes,
        "reads an earlier result": (job.target.parent / "result.jpg").read_bytes,
        "writes beside the results": (job.target.parent / "planted").touch,
        "writes through what it was handed to read": lambda: _written(hands.original(job)),
        "opens two thousand files": _files,
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


def run(job: Job, hands: Hands = OWN) -> Staged:
    """job.mode.name says what is tried."""
    try:
        attempts(job, hands)[job.mode.name]()
    except OSError as error:
        return Staged(job, "", Verdict(job.source, "refused", job.mode.name, reason=error.strerror))
    return Staged(job, "", Verdict(job.source, "done", job.mode.name))


def asks_for_too_much(job: Job, _hands: Hands) -> Staged:
    """More memory than the machine has, and then a file larger than any picture."""
    words = []
    for attempt in (_too_much, lambda: _too_large(Path("/var/tmp"))):
        try:
            attempt()
        except OSError as error:
            words.append(str(error.strerror))
    return Staged(job, ", ".join(words), Verdict(job.source, "done", job.mode.name))


class Lies(Staged):
    """An answer that is none, of the kind that the job's mode names."""

    def plain(self) -> dict[str, object]:
        lie = super().plain()
        match self.job.mode.name:
            case "another's result":
                lie["verdict"]["output"] = "/etc/passwd"
            case "no status":
                lie["verdict"]["status"] = "fine"
            case "no number":
                lie["size"] = "1"
            case "nothing":
                lie.clear()
        return lie


def lies(job: Job, _hands: Hands) -> Staged:
    return Lies(job, "", Verdict(job.source, "done", job.mode.name))
