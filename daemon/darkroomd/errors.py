"""What can go wrong, named by who must act. The class decides retry, record and exit code (docs/operations.md)."""

import builtins
import traceback
from typing import Any

# Exit codes of every command, after sysexits where they fit; 2 (wrong usage) is click's own.
EXIT_DONE = 0
EXIT_SOME_FAILED = 1
EXIT_UNAVAILABLE = 69
EXIT_CANNOT_WRITE = 73
EXIT_TRY_AGAIN = 75
EXIT_CONFIG = 78


class ConfigError(Exception):
    """The operator must act. `faults` holds one `file:line:column: key: message` per fault, all of them at once."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__(faults)
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(self.faults)


class Rejected(Exception):
    """Nobody can act: these bytes will never become a picture here. Tried again only when the file changes."""


class Incomplete(Rejected):
    """The file ends too early. It may still be arriving: the service waits for it to change before it believes this."""


class Retryable(Exception):
    """Time must act: the disk is full, the share is gone, the file is locked. Tried again, later and later."""


class CannotWrite(Retryable):
    """Retryable, and about the place where results go; the enhance command ends with its own exit code for it.

    public: the name that a result has got all the same, although it is not known to be on the disk.
    """

    public: str | None = None


class OutOfMemory(Retryable):
    """A tile did not fit into memory. The picture starts again with a fresh plan of smaller tiles."""


class BadResult(Exception):
    """Nobody can act: a network's answer cannot be used (not numbers). The photo fails; nothing is published."""


class Busy(Retryable):
    """Another process works with this state folder; the message names its pid. The command ends with EXIT_TRY_AGAIN."""


class Conflict(Exception):
    """The name of the result belongs to a file that is not ours. Recorded; nothing is written until asked again."""


class Changed(Exception):
    """The file is no longer the one that was read: the result is dropped, and the file comes again once it is quiet."""


class Unavailable(Exception):
    """The operator must act: a network or a provider that was asked for is not there, or is not the one on its card."""


class Bug(Exception):
    """Us: what nobody foresaw, with its traceback as text; its type may belong to a library that only workers load."""


def told(error: Exception) -> dict[str, Any]:
    """An exception as plain values, for another process: by its meaning, and with its traceback where we must act."""
    name = type(error).__name__
    if isinstance(error, OSError):
        return {"raised": "OSError", "says": [error.errno, error.strerror or str(error)]}
    if type(error).__module__ == __name__:
        return {"raised": name, "says": [str(error)]}
    trace = "".join(traceback.format_exception(error))
    if type(error).__module__ == "builtins":
        return {"raised": name, "says": [str(error)], "trace": trace}
    return {"raised": "Bug", "says": [trace]}


def raised(plain: dict[str, Any]) -> Exception:
    """The exception that was told; a Bug when nobody here knows it."""
    name = str(plain["raised"])
    kind: Any = globals().get(name) or getattr(builtins, name, None)
    said = [word if isinstance(word, str | int) else str(word) for word in plain["says"]]
    try:
        if not issubclass(kind, Exception):
            raise TypeError(f"{name} is no exception")
        error: Exception = kind(*said)
    except TypeError:
        error = Bug(str(plain.get("trace", said)))
    if "trace" in plain:
        error.__cause__ = Bug(str(plain["trace"]))
    return error
