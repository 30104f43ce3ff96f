"""When is a file complete? Nobody says so: a hard link or a file on a share is never "closed". Quiet is the only sign.

Quiet means: no event, the same size, times, inode and blocks for a while, a regular file, not empty, and an end that
has been written (an upload that reserves its whole size first has the right size from its first second). The same
rule holds for a file that arrives now and for one that was there long before the start.
"""

import errno
import os
import stat
import sys
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from darkroomd.job import Fingerprint, Settled, Sighting, Skip

# After this long without any change an empty file, and one whose end was never written, is believed: ZFS and btrfs
# store black image rows as holes, so the second may be whole. The decoder has the last word on both.
STALLED_SECONDS = 600.0


def fingerprint(path: Path) -> Fingerprint | None:
    """What one lstat says now; None when there is no such file."""
    look = _look(path)
    return None if look is None else look.fingerprint


class Settling:
    """The files that are not known to be quiet yet. Has no clock: `now` is any monotonic number of seconds.

    A file that was handed out is not handed out again until it changes, so that a rescan costs one lstat a file.
    """

    def __init__(self) -> None:
        # in the order of quiet_since, oldest first: whatever is touched moves to the end
        self._moving: dict[str, _Moving] = {}
        # hashes of names and of looks: 100,000 names and fingerprints would cost five times the memory
        self._handed: dict[int, int] = {}
        # a run that will not come back to look again has no patience with empty files
        self.empty_patience_seconds = STALLED_SECONDS

    def note(self, sighting: Sighting, now: float, *, event: bool = True) -> None:
        """A name was seen. An event starts the quiet time anew; a scan (event=False) does so only for a change."""
        name = os.fspath(sighting.path)
        look = _look(sighting.path)
        if look is None:
            self._moving.pop(name, None)
            self._handed.pop(hash(name), None)
            return
        known = self._moving.get(name)
        same = known is not None and known.look == look
        if self._handed.get(hash(name)) == hash(look) or (same and not event):
            return
        self._wait(name, _Moving(sighting, look, now, known.still_since if known is not None and same else now))

    def settled(self, now: float, quiet_seconds: float, limit: int = sys.maxsize) -> list[Settled | Skip]:
        """The files that have become quiet, and those that never will, each once. What vanished drops out.

        Looks at `limit` files at most, those first that have waited longest.
        """
        due = []
        for name, moving in islice(self._moving.items(), limit):
            if moving.quiet_since + quiet_seconds > now:
                break
            due.append(name)
        return [answer for name in due if (answer := self._judge(name, now)) is not None]

    def next_due(self, quiet_seconds: float) -> float | None:
        """When settled() can have something new to say; None when nothing waits."""
        return next((moving.quiet_since + quiet_seconds for moving in self._moving.values()), None)

    def pending(self) -> int:
        """How many files are still arriving, without those that have stopped doing so half-way (`stalled`)."""
        return sum(not moving.stalled for moving in self._moving.values())

    def stalled(self) -> list[Path]:
        """Files that are quiet and yet empty, or without a written end."""
        return [moving.sighting.path for moving in self._moving.values() if moving.stalled]

    def forget_one(self, path: Path) -> None:
        """The same for one file that could not be found, which need not mean that it is gone."""
        self._handed.pop(hash(os.fspath(path)), None)

    def forget(self) -> None:
        """Everything is handed out again when it is next seen: for a new config, a returned disk, a full check."""
        self._handed.clear()

    def _judge(self, name: str, now: float) -> Settled | Skip | None:
        moving = self._moving.pop(name)
        path, look = moving.sighting.path, _look(moving.sighting.path)
        if look is None:
            return None
        if look != moving.look:
            self._wait(name, _Moving(moving.sighting, look, now, now))
            return None
        size = look.fingerprint.size
        regular = stat.S_ISREG(look.mode)
        patience_seconds = STALLED_SECONDS if size else self.empty_patience_seconds
        unwritten = regular and (size == 0 or _end_is_a_hole(path, size))
        if unwritten and now - moving.still_since < patience_seconds:
            self._wait(name, replace(moving, quiet_since=now, stalled=True))
            return None
        self._handed[hash(name)] = hash(look)
        if not regular:
            return Skip(path, "a symbolic link, never followed" if stat.S_ISLNK(look.mode) else "not a regular file")
        return Settled(moving.sighting.root, path, look.fingerprint)

    def _wait(self, name: str, moving: "_Moving") -> None:
        self._moving.pop(name, None)
        self._moving[name] = moving


@dataclass(frozen=True, slots=True)
class _Look:
    """blocks: a file that is filled in place, as a torrent is, changes nothing else when its times are set back."""

    fingerprint: Fingerprint
    blocks: int
    mode: int


@dataclass(frozen=True, slots=True)
class _Moving:
    """quiet_since: the last event or change. still_since: the last change alone."""

    sighting: Sighting
    look: _Look
    quiet_since: float
    still_since: float
    stalled: bool = False


def _look(path: Path) -> _Look | None:
    try:
        s = path.lstat()
    except OSError:
        return None
    return _Look(Fingerprint(s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns), s.st_blocks, s.st_mode)


def _end_is_a_hole(path: Path, size: int) -> bool:
    """Is the last byte one that nobody wrote? False where the file system or the permissions cannot tell."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.lseek(descriptor, size - 1, os.SEEK_DATA)
    except OSError as error:
        return error.errno == errno.ENXIO  # no data from the last byte on
    finally:
        os.close(descriptor)
    return False
