"""Whether folders lie in each other, by what the disk says and not by how they are written."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Spot:
    """A folder as the disk knows it: its real path, and the device and inode of it and of each parent that exists."""

    real: Path
    inodes: tuple[tuple[int, int] | None, ...]


def spot(path: Path) -> Spot:
    """Where a path leads now. Any path will do; it need not exist."""
    real = Path(os.path.realpath(path))
    return Spot(real, tuple(_inode(parent) for parent in (real, *real.parents)))


def is_file(path: Path) -> bool:
    """Whether something other than a folder is there."""
    return _inode(path) is not None and not path.is_dir()


def below(inner: Spot, outer: Spot) -> tuple[str, ...] | None:
    """The names from outer down to inner; None when inner is neither outer nor in it.

    Sees through symlinks, bind mounts of either folder or its parents, and names that differ in case only on a disk
    that does not care. Not through a bind mount of a sub-folder of outer.
    """
    for up, (path, inode) in enumerate(zip((inner.real, *inner.real.parents), inner.inodes, strict=True)):
        if path == outer.real or (inode is not None and inode == outer.inodes[0]):
            return inner.real.parts[len(inner.real.parts) - up :]
    return None


def enters(inner: Spot, outer: Spot) -> bool:
    """Whether a watch on outer comes upon inner: it goes into no folder whose name begins with a dot."""
    names = below(inner, outer)
    return names is not None and not any(name.startswith(".") for name in names)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino
