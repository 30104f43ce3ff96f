"""Telling systemd how the service is. Silent when nobody listens."""

import os
import time

import sdnotify


class Systemd:
    """ping_seconds: half of the time within which systemd wants a sign of life; infinite when it wants none.

    alive_at, is_ready: what was told last, by the monotonic clock; also where no systemd listens.
    """

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier() if os.environ.get("NOTIFY_SOCKET") else None
        limit_usec = int(os.environ.get("WATCHDOG_USEC", "0"))
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.alive_at, self.is_ready = time.monotonic(), False
        self.ping_seconds = limit_usec / 2e6 if limit_usec and mine else float("inf")

    def ready(self) -> None:
        self.is_ready = True
        self._tell("READY=1")

    def alive(self) -> None:
        self.alive_at = time.monotonic()
        self._tell("WATCHDOG=1")

    def status(self, line: str) -> None:
        self._tell(f"STATUS={line}")

    def reloading(self) -> None:
        # systemd 257 waits for ever for a reload that does not say when it began
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self.is_ready = False
        self._tell("STOPPING=1")

    def close(self) -> None:
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.close()
            self._notifier = None

    def _tell(self, message: str) -> None:
        if self._notifier is not None:
            self._notifier.notify(message)
