"""Which names are there? The listing is the truth, an event only makes us look sooner.

The only file that knows watchdog. What the pinned version does behind our back is written where it is made good:
it loses events without telling, it skips folders when the kernel's watch table is full, and it goes blind while it
says that it is alive.
"""

import contextlib
import errno
import fnmatch
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from watchdog import events
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyObserver

from darkroomd.job import Sighting

# Names that are never photos: ours, half-arrived ones, and the litter of other programs.
IGNORED = (
    ".darkroomd-*", "._*", ".syncthing.*", ".stversions", ".stfolder", ".trash-*", ".nfs*", ".fuse_hidden*",
    ".ds_store", ".pending-*", ".in.*", ".*", "~syncthing~*", "~$*", "*~", "*.part", "*.partial", "*.filepart",
    "*.crdownload", "*.download", "*.!sync", "*.!qb", "*.tmp", "*.xmp", "thumbs.db", "desktop.ini", "@eadir",
    "@recycle", "#recycle", "$recycle.bin", "system volume information", "lost+found",
)  # fmt: skip
_IGNORED = re.compile("|".join(f"({fnmatch.translate(pattern)})" for pattern in IGNORED))

# Writes on the other side of these raise no event here.
_FAR = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "virtiofs", "vboxsf", "fuse")

UNMOUNTED = "its disk or share was unmounted; to see what is mounted there now, restart the service"

# Opening and closing a file to read it are not among them: our own worker would look like a writer.
_EVENTS: list[type[events.FileSystemEvent]] = [
    events.FileCreatedEvent, events.FileModifiedEvent, events.FileAttribEvent, events.FileMovedEvent,
    events.FileClosedEvent, events.DirCreatedEvent, events.DirMovedEvent,
]  # fmt: skip


def ignored(name: str) -> str | None:
    """The built-in pattern that keeps this file or folder name out, or None."""
    found = _IGNORED.match(name.lower())
    return None if found is None or found.lastindex is None else IGNORED[found.lastindex - 1]


def sightings(folder: Path) -> Iterator[Sighting]:
    """Everything below the folder that could be a photo, in the order of names. Follows no symbolic link."""
    return _below(folder, folder, lambda _folder, _error: None)


@dataclass(frozen=True, slots=True)
class Health:
    """notes: what a person should know or do. offline: roots that are not there. polled: roots without events.

    rescan: something may have been missed since the last question.
    """

    notes: tuple[str, ...] = ()
    offline: frozenset[Path] = frozenset()
    polled: frozenset[Path] = frozenset()
    rescan: bool = False


class Watcher:
    """Events from all roots, and the scan of each. Roots are resolved paths.

    `wake` is called from watchdog's thread after each event; it must neither block nor raise.
    """

    def __init__(self, roots: Sequence[Path], wake: Callable[[], object]) -> None:
        self.roots = tuple(roots)
        self._wake = wake
        self._seen: SimpleQueue[tuple[Path, str, bool]] = SimpleQueue()
        self._observer: BaseObserver | None = None
        self._identity = {root: _identity(root) for root in self.roots}
        self._followed = {root for root in self.roots if follows_the_machine(root)}
        self._started = False
        self._polled: dict[Path, str] = {}
        self._folders: dict[Path, int] = {}
        self._unreadable: dict[Path, str] = {}
        self._overflow = _Overflow(wake)

    def start(self) -> None:
        """Watches every root that is there. Never raises for want of kernel resources: such roots are polled."""
        self._started = True
        # Folders that are made quickly are registered twice, for which watchdog warns with a list of all its watches.
        warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
        logging.getLogger("watchdog.observers.inotify_c").addHandler(self._overflow)
        self._polled = {root: f"polling ({kind})" for root in self.roots if (kind := far_file_system(root))}
        self._identity = {root: _identity(root) for root in self.roots}
        try:
            self._observer = InotifyObserver()
            self._observer.start()
        except OSError as error:
            self._observer = None
            self._polled |= dict.fromkeys(self.roots, _no_events(error))
            return
        for root in self.roots:
            if root in self._polled or self._identity[root] is None:
                continue
            try:
                self._observer.schedule(
                    _Handler(root, self._seen, self._wake), os.fspath(root), recursive=True, event_filter=_EVENTS
                )
            except OSError as error:
                self._polled[root] = _no_events(error)

    def stop(self) -> None:
        """No event is delivered after this; start() begins anew."""
        self._started = False
        logging.getLogger("watchdog.observers.inotify_c").removeHandler(self._overflow)
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None

    def drain(self) -> list[Sighting]:
        """What was seen by event since the last call, each name once. A new folder is listed at once."""
        seen: dict[Sighting, None] = {}
        folders: dict[Path, Path] = {}
        with contextlib.suppress(Empty):
            while True:
                root, name, is_folder = self._seen.get_nowait()
                path = Path(name)
                if not path.is_relative_to(root) or any(map(ignored, path.relative_to(root).parts)):
                    continue
                if is_folder:
                    folders[path] = root
                else:
                    seen[Sighting(root, path)] = None
        for path, root in folders.items():
            if not any(parent in folders for parent in path.parents):
                seen |= dict.fromkeys(_below(root, path, self._cannot_read))
        return list(seen)

    def scan(self, roots: Iterable[Path]) -> Iterator[Sighting]:
        """As sightings() of each root; counts the folders on its way, for health()."""
        for root in roots:
            self._folders[root] = 0
            self._unreadable = {path: why for path, why in self._unreadable.items() if not path.is_relative_to(root)}
            yield from _below(root, root, self._cannot_read, self._count)

    def health(self) -> Health:
        """Rebuilds what died or moved away under us, and says what is left.

        watchdog calls its observer alive when a root was deleted, renamed or mounted over, so each emitter is asked,
        and each root is compared by device and inode.
        """
        moved = any(_identity(root) != identity for root, identity in self._identity.items())
        rebuild = moved or self._is_blind()
        rescan = self._overflow.take() > 0 or rebuild
        if rebuild and self._started:
            self.stop()
            self.start()
        self._identity = {root: _identity(root) for root in self.roots}
        offline = frozenset(root for root, identity in self._identity.items() if identity is None)
        notes = [f"{root}: the folder is not there" for root in sorted(offline)]
        notes += [f"{root}: {why}" for root, why in self._polled.items() if root not in offline]
        notes += [f"{root}: {UNMOUNTED}" for root in sorted(self._followed) if not follows_the_machine(root)]
        notes += [f"{path}: {why}" for path, why in self._unreadable.items()]
        missing = sum(n for root, n in self._folders.items() if root not in self._polled) - _watches()
        if self._observer is not None and missing > 0 and not rescan:
            notes.append(
                f"{missing} folders are only seen by the rescan: "
                f"set fs.inotify.max_user_watches to at least {_limit('max_user_watches') + missing}"
            )
        return Health(tuple(notes), offline, frozenset(self._polled), rescan)

    def is_offline(self, root: Path) -> bool:
        """The root is not there, or something else is in its place: nothing can be told from what is missing in it."""
        identity = _identity(root)
        return identity is None or identity != self._identity.get(root)

    def _is_blind(self) -> bool:
        if self._observer is None:
            return False
        watched = sum(identity is not None and root not in self._polled for root, identity in self._identity.items())
        reader: InotifyObserver = self._observer  # type: ignore[assignment]
        threads = [reader, reader._inotify_fd, *reader.emitters]
        return len(reader.emitters) < watched or not all(thread.is_alive() for thread in threads)

    def _cannot_read(self, folder: Path, error: OSError) -> None:
        self._unreadable[folder] = f"cannot be listed: {error.strerror}"

    def _count(self, root: Path) -> None:
        self._folders[root] += 1


class _Handler(events.FileSystemEventHandler):
    """One guarded line: an exception in here would end watchdog's thread, and no later file would ever be seen."""

    def __init__(self, root: Path, seen: SimpleQueue[tuple[Path, str, bool]], wake: Callable[[], object]) -> None:
        self._root, self._seen, self._wake = root, seen, wake

    def dispatch(self, event: events.FileSystemEvent) -> None:
        with contextlib.suppress(Exception):
            self._seen.put((self._root, os.fsdecode(event.dest_path or event.src_path), event.is_directory))
            self._wake()


class _Overflow(logging.Handler):
    """The kernel dropped events. watchdog only writes this to its log (its issue 654), so its log is what we read."""

    def __init__(self, wake: Callable[[], object]) -> None:
        super().__init__(logging.WARNING)
        self._wake = wake
        self._count = 0

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._count += 1
            self._wake()

    def take(self) -> int:
        count, self._count = self._count, 0
        return count


def _below(
    root: Path,
    folder: Path,
    cannot_read: Callable[[Path, OSError], None],
    count: Callable[[Path], None] = lambda _root: None,
) -> Iterator[Sighting]:
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            cannot_read(here, error)
            continue
        count(root)
        below = []
        for entry in entries:
            if ignored(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                below.append(here / entry.name)
            else:
                yield Sighting(root, here / entry.name)
        waiting += reversed(below)


def _identity(root: Path) -> tuple[int, int] | None:
    try:
        found = root.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def far_file_system(path: Path, mountinfo: str | None = None) -> str | None:
    """The kind of a network or FUSE file system that holds the path; None for a local one."""
    kind = _mount_of(path, mountinfo).partition(" - ")[2].partition(" ")[0]
    return kind if kind.split(".")[0] in _FAR else None


def follows_the_machine(path: Path, mountinfo: str | None = None) -> bool:
    """Whether the path lies on a mount that is told of what is unmounted in the machine around us.

    The mounts of a service that systemd closes off are, at the start. One that the machine has unmounted since stays
    with the service, follows nobody any more, and hides what is mounted in its place.
    """
    return " master:" in _mount_of(path, mountinfo).partition(" - ")[0]


def _mount_of(path: Path, mountinfo: str | None) -> str:
    """The line of /proc/self/mountinfo about the mount that holds the path; empty where the kernel does not tell."""
    try:
        lines = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    except OSError:
        return ""
    best, found = -1, ""
    inner: dict[str, str] = {}  # of mounts at the same place, the one on top: its parent is the one below
    for line in lines.splitlines():
        fields = line.partition(" - ")[0].split()
        mount = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        if not path.is_relative_to(mount) or len(mount.parts) < best:
            continue
        if len(mount.parts) == best and fields[0] in inner:  # it lies below one that was listed before it
            continue
        best, found = len(mount.parts), line
        inner[fields[1]] = line
    return found


def _no_events(error: OSError) -> str:
    limit = {errno.ENOSPC: "max_user_watches", errno.EMFILE: "max_user_instances"}.get(error.errno or 0)
    if limit is None:
        return f"polling, because events cannot be had: {error.strerror}"
    return f"polling: fs.inotify.{limit} ({_limit(limit)}) is used up, raise it with sysctl"


def _limit(name: str) -> int:
    try:
        return int(Path("/proc/sys/fs/inotify", name).read_text())
    except (OSError, ValueError):
        return 0


def _watches() -> int:
    """How many folders the kernel really watches for this process; all of them where it does not tell."""
    count = 0
    try:
        descriptors = list(Path("/proc/self/fd").iterdir())
    except OSError:
        return sys.maxsize
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            if descriptor.readlink().name == "anon_inode:inotify":
                text = Path("/proc/self/fdinfo", descriptor.name).read_text()
                count += sum(line.startswith("inotify wd:") for line in text.splitlines())
    return count
