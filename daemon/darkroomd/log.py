"""How the service speaks: coloured lines for a person at a terminal, one JSON object per line for a journal."""

import os
import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Level = Literal["debug", "info", "warning", "error"]
# how a sentence goes on behind a path
BEHIND_A_PATH = r"$|: | (?:is|was|has|cannot|reports|changed) "
LEVELS: dict[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def set_up(
    level: Level = "info",
    stream: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    private: Collection[Path] | None = None,
    observe: Callable[[str], None] | None = None,
) -> None:
    """Everything goes to stderr, because stdout belongs to data. NO_COLOR, FORCE_COLOR and TERM=dumb are honoured.

    private: folders whose photos are to have no name in the log; None: names are told. observe: gets the name of every
    event from info on, also of those that are below the level and so not written.
    """
    stream = sys.stderr if stream is None else stream
    person = stream.isatty()
    colours = wants_colour(stream, environ)
    hide = [] if private is None else [_without_names(private)]
    watch = [] if observe is None else [_observed(observe, LEVELS[level])]
    render: list[Any] = (
        # plain, because rich would print every local variable of every frame
        [structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)]
        if person
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    structlog.configure(
        processors=[
            *watch,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if person else "iso", utc=not person),
            *hide,
            one_line,
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            LEVELS[level] if observe is None else min(LEVELS[level], LEVELS["info"])
        ),
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


def wants_colour(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """NO_COLOR says no; FORCE_COLOR says yes, also to a file; else a terminal that is not dumb wants it."""
    if environ.get("NO_COLOR"):
        return False
    return bool(environ.get("FORCE_COLOR")) or (stream.isatty() and environ.get("TERM") != "dumb")


def _observed(observe: Callable[[str], None], least: int) -> Processor:
    def processor(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        observe(str(event["event"]))
        if LEVELS.get(method, least) < least:
            raise structlog.DropEvent
        return event

    return processor


def _without_names(folders: Collection[Path]) -> Processor:
    """Photos go by the number of their job: their paths are left out, also where they stand inside a sentence.

    The sentence goes on behind the photo's own path. Where that of another photo ends nobody can say, because a name
    may hold anything: there the sentence ends. What is said without a photo tells of folders alone.
    """
    longest_first = sorted(folders, key=lambda path: -len(str(path)))
    roots = "|".join(re.escape(str(folder)) for folder in longest_first) or "(?!)"
    to_a_folder = re.compile(rf"(?:{roots})(?:/[^:;,'\"\n]*)?")
    to_the_end = re.compile(rf"(?:{roots})(?:/.*)?", re.DOTALL)

    def processor(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        def without(text: str) -> str:
            return to_the_end.sub("…", own.sub("…", text)) if own else to_a_folder.sub("…", text)

        own = _of_photo(Path(event["source"]), roots, longest_first) if "source" in event else None
        return {
            key: without(str(value)) if isinstance(value, str | os.PathLike) else value
            for key, value in event.items()
            if key not in ("source", "output", "target", "exc_info")
        }

    return processor


def _of_photo(source: Path, roots: str, longest_first: Sequence[Path]) -> re.Pattern[str]:
    """The paths of a photo, of its result and of their folders, where a sentence ends or goes on behind them."""
    root = next((root for root in longest_first if source.is_relative_to(root)), source.parent)
    below = "".join(f"/{re.escape(part)}" for part in source.parent.relative_to(root).parts)
    return re.compile(rf"(?:{roots})(?:{below})?(?:/[^/]*{re.escape(source.stem)}[^/]*?)?(?={BEHIND_A_PATH})")


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
