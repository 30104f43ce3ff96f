"""Figures for Prometheus, and whether the service is well: /metrics, /healthz, /readyz. Off unless the config says so.

Everything is kept in the service's process; workers return their times with the verdict. What stands is read when it is
asked for, by a thread and a connection to the ledger of its own: the loop knows nothing of it. No photo is named.
"""

import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from darkroomd.config import Folder
from darkroomd.errors import CannotWrite
from darkroomd.job import Verdict
from darkroomd.record import Ledger
from darkroomd.systemd import Systemd

BUCKETS_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
# The loop looks at least every five seconds; a tick that takes longer than this is one that hangs.
HANGS_SECONDS = 60.0
# Reasons are sentences with numbers and names in them; a label must be one of few.
CAUSES = (
    ("limits", r"limits\."),
    ("unsupported", r"not supported"),
    ("incomplete", r"ends too early|incomplete|truncated|not written yet"),
    ("damaged", r"damaged"),
    ("no photo", r"not a photo|no photo|empty"),
    ("checks", r"did not pass the checks"),
)


class Meters:
    """What happened since the service started."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._events = Counter(
            "darkroomd_events", "Lines of the log, also those below its level", ["event"], registry=self.registry
        )
        self._verdicts = Counter(
            "darkroomd_verdicts", "Photos that came to their end", ["status", "mode"], registry=self.registry
        )
        self._causes = Counter(
            "darkroomd_refusals", "Photos refused or failed, by cause", ["status", "cause"], registry=self.registry
        )
        self._guards = Counter(
            "darkroomd_guard_trips", "Results that a check kept back", ["guard"], registry=self.registry
        )
        self._megapixels = Counter(
            "darkroomd_megapixels", "Width times height of what was done, in millions", registry=self.registry
        )
        self._seconds = Histogram(
            "darkroomd_stage_seconds",
            "Time of a photo by stage",
            ["stage"],
            buckets=BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._open = Histogram(
            "darkroomd_open_seconds", "Time to open a network", buckets=BUCKETS_SECONDS, registry=self.registry
        )
        Info("darkroomd_build", "Version", registry=self.registry).info({"version": _version()})

    def event(self, name: str) -> None:
        """One line of the log."""
        self._events.labels(name).inc()

    def verdict(self, verdict: Verdict) -> None:
        """One photo that came to its end."""
        self._verdicts.labels(verdict.status, verdict.mode).inc()
        if verdict.status in ("refused", "failed"):
            self._causes.labels(verdict.status, cause_of(verdict.reason or "")).inc()
        for guard in verdict.guards:
            if not guard.passed:
                self._guards.labels(guard.name).inc()
        for stage, seconds in verdict.seconds.items():
            self._seconds.labels(stage).observe(seconds)
        for seconds in verdict.open_seconds:
            self._open.observe(seconds)
        if verdict.status in ("done", "unchanged"):
            self._megapixels.inc((verdict.width or 0) * (verdict.height or 0) / 1e6)


def cause_of(reason: str) -> str:
    """The kind of a refusal, one of a handful."""
    return next((cause for cause, pattern in CAUSES if re.search(pattern, reason)), "other")


class State:
    """How things stand at the moment of asking: a collector for prometheus_client. folders: those of today's config."""

    def __init__(self, state_folder: Path, folders: Callable[[], Sequence[Folder]], systemd: Systemd) -> None:
        self._state, self._folders, self._systemd = state_folder, folders, systemd

    def collect(self) -> Iterator[Metric]:
        """Photos by folder and state, memory by process, free room by folder, and the loop's last sign of life."""
        photos = GaugeMetricFamily("darkroomd_photos", "Photos by watched folder and state", labels=["folder", "state"])
        with Ledger.open(self._state, owner=False) as ledger:
            for folder, state, count in ledger.counts_by_folder():
                photos.add_metric([folder, state], count)
        yield photos
        memory = GaugeMetricFamily("darkroomd_resident_bytes", "Memory held, by process", labels=["process"])
        memory.add_metric(["service"], _resident_bytes("self"))
        workers = list(_children(os.getpid()))
        memory.add_metric(["workers"], sum(map(_resident_bytes, workers)))
        yield memory
        yield GaugeMetricFamily("darkroomd_worker_processes", "Worker processes, busy or idle", value=len(workers))
        free = GaugeMetricFamily("darkroomd_free_bytes", "Room on the disk of a folder", labels=["folder"])
        for path in dict.fromkeys([*(folder.output for folder in self._folders()), self._state]):
            with suppress(OSError):
                room = shutil.disk_usage(path)
                if room.total:  # some shares report no blocks at all
                    free.add_metric([str(path)], room.free)
        yield free
        age = time.monotonic() - self._systemd.alive_at
        yield GaugeMetricFamily("darkroomd_last_look_seconds", "Since the loop's last sign of life", value=age)


def _resident_bytes(pid: str) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _children(pid: int) -> Iterator[str]:
    """Worker processes of this one; multiprocessing's own helper is none."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            for child in (task / "children").read_text().split():
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    yield child


@contextmanager
def served(where: str, meters: Meters, state: State, systemd: Systemd) -> Iterator[None]:
    """Answers while the context lasts, at `HOST:PORT` or at the path of a socket; nothing at all for `none`.

    CannotWrite when the socket cannot be made, or somebody has the port.
    """
    if where == "none":
        yield
        return
    meters.registry.register(state)
    try:
        server = _Server(where, _answers(meters, systemd))
    except OSError as error:
        raise CannotWrite(f"service.metrics: {where}: {error.strerror}") from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


Answer = tuple[int, str, bytes]


def _answers(meters: Meters, systemd: Systemd) -> dict[str, Callable[[], Answer]]:
    def plain(good: bool, word: str) -> Answer:
        return (200 if good else 503), "text/plain; charset=utf-8", f"{word}\n".encode()

    def health() -> Answer:
        age = time.monotonic() - systemd.alive_at
        return plain(age < HANGS_SECONDS, "ok" if age < HANGS_SECONDS else f"no sign of life for {age:.0f} s")

    return {
        "/metrics": lambda: (200, CONTENT_TYPE_LATEST, generate_latest(meters.registry)),
        "/healthz": health,
        "/readyz": lambda: plain(systemd.is_ready, "ready" if systemd.is_ready else "not ready"),
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, where: str, answers: dict[str, Callable[[], Answer]]) -> None:
        self.answers = answers
        self._path = Path(where) if where.startswith("/") else None
        if self._path is not None:
            self.address_family = socket.AF_UNIX
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.is_socket():  # left from a service that was killed; one that lives has the ledger's lock
                self._path.unlink()
            super().__init__(where, _Handler)  # type: ignore[arg-type]
            self._path.chmod(0o660)
            return
        host, _, port = where.rpartition(":")
        self.address_family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        super().__init__((host.strip("[]"), int(port)), _Handler)

    def server_bind(self) -> None:
        """Without the look-up of a name that HTTPServer does."""
        if self._path is None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "darkroomd", 0

    def server_close(self) -> None:
        super().server_close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked has gone away; that is no event of ours."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10.0

    def do_GET(self) -> None:
        answer = self.server.answers.get(self.path.partition("?")[0])
        try:
            status, kind, body = answer() if answer else (404, "text/plain", b"there are: /metrics /healthz /readyz\n")
        except Exception as error:  # the ledger is unreadable, or not ours to read: whoever asks must know
            status, kind, body = 503, "text/plain", f"{error}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "local"

    def log_message(self, format: str, *_: object) -> None:
        """Being asked is no event."""


def _version() -> str:
    """Where the package's own notes cannot be read, `version` is None, or raises: no reason to have no figures."""
    with suppress(PackageNotFoundError, OSError):
        return version("darkroomd") or "unknown"
    return "unknown"
