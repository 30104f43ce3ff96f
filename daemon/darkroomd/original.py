"""The photo itself, a file of somebody else's: opened for reading, never through a link, and known again."""

import os
import stat
from pathlib import Path

from darkroomd.errors import Rejected, Retryable
from darkroomd.job import Fingerprint


def opened(path: Path) -> int:
    """A descriptor of a regular file, never of what a symlink points to. Retryable when the file is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Retryable(f"cannot read the file: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Rejected("not a regular file")
    return descriptor


def fingerprint_of(descriptor: int) -> Fingerprint:
    """What one fstat tells of an open file."""
    facts = os.fstat(descriptor)
    return Fingerprint(facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
