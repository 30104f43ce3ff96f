"""The photo itself, a file of somebody else's: opened for reading, never through a link, and known again."""

import os
import stat
from pathlib import Path

from darkroomd.errors import Rejected, Retryable
from darkroomd.inside import folder_below
from darkroomd.job import Fingerprint


def opened(path: Path, root: Path | None = None) -> int:
    """A descriptor of a regular file, never of what a symlink points to. Retryable when the file is not there.

    root: a folder around it, below which no step leads through a link either, also not while somebody exchanges folders
    for links; its own by default.
    """
    root = path.parent if root is None else root
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with folder_below(root, path.parent.relative_to(root).parts) as at:
            descriptor = os.open(path.name, flags, dir_fd=at)
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
