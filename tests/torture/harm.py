"""A service in a forked process, and what is done to it: killed before any call, or a system call made to fail."""

import ctypes
import faulthandler
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from tests.torture.disk import NotHere

_PR_SET_PDEATHSIG, _PR_SET_PTRACER = 1, 0x59616D61
TRACEBACK = 70
# A run takes half a second of a processor. On a busy machine that may be minutes, so what counts is whether it goes on.
IDLE_SECONDS, MOST_CPU_SECONDS, MOST_SECONDS = 120.0, 60.0, 1800.0

# Calls of ours that only ask, or never leave the process: a death before them is a death before the next one.
_HARMLESS = ("fsencode", "fspath", "fsdecode", "fetchone", "fetchall", "lstat", "fstat", "lseek", "stat", "getpid")

# System calls that change something, and those that only read
CHANGES = (
    "mkdir", "mkdirat", "pwrite64", "write", "writev", "link", "linkat", "unlink", "unlinkat", "rename", "renameat",
    "renameat2", "fchmod", "utimensat", "fsync", "fdatasync", "ftruncate", "fallocate",
)  # fmt: skip
READS = ("openat", "open", "read", "pread64", "getdents64", "newfstatat", "fstat", "statfs", "fstatfs", "mmap", "brk")


@dataclass(frozen=True)
class End:
    """How a run ended. calls: its own calls to the system and to SQLite, when it was not killed."""

    signal: int
    code: int
    calls: int = 0


def run(work: Callable[[], None], log: Path, kill_before: int = 0) -> End:
    """Do the work in a child, which kills itself before its kill_before-th call (0: it is left in peace)."""
    reader, writer = os.pipe()
    child = _forked(lambda: _counted(work, kill_before, writer), log)
    os.close(writer)
    status = _ended(child)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    return End(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, os.waitstatus_to_exitcode(status), int(told or 0))


def traced(work: Callable[[], None], log: Path, trace: Path, *options: str) -> End:
    """Do the work in a child under strace; options say what is traced and what is injected."""
    child = _forked(lambda: _stopped_first(work), log)
    os.waitpid(child, os.WUNTRACED)
    words = ["strace", "-f", "-p", str(child), "-o", str(trace), *options]
    strace = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert strace.stderr is not None
    attached = strace.stderr.readline()
    if b"attached" not in attached:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        strace.wait()
        raise NotHere(f"tracing is not allowed here: {attached.decode().strip()}")
    os.kill(child, signal.SIGCONT)
    status = _ended(child)
    strace.stderr.close()
    strace.wait()
    return End(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, os.waitstatus_to_exitcode(status))


def _ended(child: int) -> int:
    """How it ended. One that hangs is made to say where, and dies of SIGALRM."""
    began = moved = time.monotonic()
    used = 0.0
    with os.fdopen(os.pidfd_open(child), "rb") as handle:  # readable when it has ended
        while not select.select([handle], [], [], 5.0)[0]:
            now, before, used = time.monotonic(), used, _cpu_seconds(child)
            moved = now if used > before else moved
            if now - moved > IDLE_SECONDS or used > MOST_CPU_SECONDS or now - began > MOST_SECONDS:
                os.kill(child, signal.SIGALRM)
    return os.waitpid(child, 0)[1]


def _cpu_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _stopped_first(work: Callable[[], None]) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    work()


def system_calls(trace: Path) -> Counter[str]:
    """How often each system call was made, by the thread that decides everything (the first in the trace)."""
    text = trace.read_text(errors="replace")
    first = text.split(maxsplit=1)[0] if text else ""
    return Counter(re.findall(rf"^{first} +(\w+)\(", text, re.MULTILINE))


def can_trace() -> bool:
    return shutil.which("strace") is not None


def _forked(work: Callable[[], object], log: Path) -> int:
    """The child never comes back: not by an exception, and not when its parent dies."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    code = TRACEBACK
    try:
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(_PR_SET_PTRACER, -1)
        if os.getppid() != parent:
            os._exit(TRACEBACK)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.close(out)
        faulthandler.enable()  # of a crash the log says where, and of a run that hangs
        faulthandler.register(signal.SIGALRM, chain=True)
        try:
            work()
            code = 0
        except BaseException:
            os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def _counted(work: Callable[[], None], kill_before: int, writer: int) -> None:
    passed = 0

    def watch(_frame: FrameType, event: str, argument: Any) -> None:
        nonlocal passed
        if event == "c_call" and (
            getattr(argument, "__module__", None) in ("posix", "fcntl")
            or type(getattr(argument, "__self__", None)).__module__ == "sqlite3"
        ):
            if argument.__name__ in _HARMLESS:
                return
            passed += 1
            if passed == kill_before:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(None)
        os.write(writer, b"%d" % passed)
