"""Folders inside a root, walked to one component at a time: whoever exchanges one of them for a link leads nowhere."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

# some shares cannot sync a folder and say so; a disk that fails says EIO
NO_FOLDER_SYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP}


@contextmanager
def folder_below(root: Path, parts: Sequence[str], make: bool = False) -> Iterator[int]:
    """A descriptor of a folder below a root, to which no link is followed. make: also those that are missing, each
    synced. OSError when there is none, or a link in its place.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    at = os.open(root, flags)
    try:
        for part in parts:
            if part == "..":
                raise ValueError(f"{'/'.join(parts)} leads out of {root}")
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=at)
                    sync_folder(at)
            below = os.open(part, flags | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        yield at
    finally:
        os.close(at)


def sync_folder(at: int) -> None:
    """The names in an open folder are on the disk, where the file system can do that."""
    try:
        os.fsync(at)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise
