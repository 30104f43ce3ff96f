"""How the service speaks: coloured lines for a person at a terminal, one JSON object per line for a journal."""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, WrappedLogger

Level = Literal["debug", "info", "warning", "error"]
LEVELS: dict[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def set_up(level: Level = "info", stream: TextIO | None = None, environ: Mapping[str, str] = os.environ) -> None:
    """Everything goes to stderr, because stdout belongs to data. NO_COLOR and TERM=dumb are honoured."""
    stream = sys.stderr if stream is None else stream
    person = stream.isatty()
    colours = person and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    render: list[Any] = (
        # plain, because rich would print every local variable of every frame
        [structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)]
        if person
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if person else "iso", utc=not person),
            one_line,
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Patient(stream))),
        cache_logger_on_first_use=False,
    )


class _Patient:
    """A stream that nobody reads any more, or whose disk is full, costs lines of the log and nothing else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # ValueError: it was closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A file name can hold newlines, escape codes and bytes that are no text: every value becomes printable text.

    `exc_info` and `exception` stay as they are; a traceback has lines.
    """
    return {
        key: printable(str(value)) if isinstance(value, str | os.PathLike) and key != "exception" else value
        for key, value in event.items()
    }


def printable(text: str) -> str:
    """Same text for ordinary names; anything that a terminal would act on is written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
