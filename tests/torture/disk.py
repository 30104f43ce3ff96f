"""File systems on loop devices whose power can be cut, in a mount namespace that ends with this process."""

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_MNT_DETACH = 2
_MS_REC, _MS_PRIVATE, _MS_REMOUNT, _MS_RDONLY = 0x4000, 1 << 18, 32, 1
_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32), the same for ext4 and XFS
_WITHOUT_FLUSHING_THE_LOG = 2
# mkfs.xfs refuses less than 300 MB; the file has holes
SIZES = {"ext4": 24 << 20, "xfs": 320 << 20}
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q"]}

_libc = ctypes.CDLL(None, use_errno=True)


class NotHere(Exception):
    """This machine, or this user, does not allow it; the message is the reason to skip."""


def room_of_ones_own() -> Path:
    """A folder in memory, in a mount namespace of our own: nothing that is mounted outlives this process."""
    if os.geteuid() != 0:
        raise NotHere("mounting file systems needs root")
    if _libc.unshare(_CLONE_NEWNS) != 0:
        raise NotHere(f"a mount namespace is not allowed here: {os.strerror(ctypes.get_errno())}")
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    folder = Path(tempfile.mkdtemp(prefix="darkroomd-torture-"))
    _mount("tmpfs", str(folder), "tmpfs", 0)
    return folder


def leave(room: Path) -> None:
    """Nothing stays of it, not even the folder that it was mounted over."""
    _libc.umount2(str(room).encode(), _MNT_DETACH)
    room.rmdir()


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    words = [None if word is None else word.encode() for word in (source, target, kind)]
    if _libc.mount(*words, ctypes.c_ulong(flags), None if options is None else options.encode()) != 0:
        raise NotHere(f"mounting is not allowed here: {os.strerror(ctypes.get_errno())}")


@dataclass(frozen=True)
class Disk:
    """A mounted file system. kind: ext4 or xfs, on a loop device; tmpfs, which only fills up."""

    kind: str
    folder: Path

    @staticmethod
    def made(kind: str, room: Path, size: int | None = None) -> "Disk":
        disk = Disk(kind, room / f"disk-{kind}-{os.urandom(3).hex()}")
        disk.folder.mkdir()
        if kind == "tmpfs":
            _mount("tmpfs", str(disk.folder), "tmpfs", 0, f"size={size}")
            return disk
        if shutil.which(MAKE[kind][0]) is None:
            raise NotHere(f"{MAKE[kind][0]} is not installed")
        with disk._image.open("wb") as file:
            file.truncate(SIZES[kind])
        _run(*MAKE[kind], str(disk._image))
        disk.mount()
        return disk

    @property
    def _image(self) -> Path:
        return self.folder.with_suffix(".image")

    def mount(self) -> None:
        _run("mount", "-t", self.kind, "-o", "loop", str(self._image), str(self.folder))

    def unmount(self) -> None:
        _run("umount", str(self.folder))

    def sync(self) -> None:
        """Everything so far is on the disk."""
        descriptor = self._opened()
        try:
            if _libc.syncfs(descriptor) != 0:
                raise OSError(ctypes.get_errno(), "syncfs")
        finally:
            os.close(descriptor)

    def cut(self) -> None:
        """The power goes: what is not on the disk is lost. Then it comes back, and the file system is mounted again."""
        descriptor = self._opened()
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _WITHOUT_FLUSHING_THE_LOG))
        finally:
            os.close(descriptor)
        self.unmount()
        self.mount()

    def read_only(self, yes: bool) -> None:
        self._opened_check()
        _run("mount", "-o", f"remount,{'ro' if yes else 'rw'}", str(self.folder))

    def remove(self) -> None:
        self.unmount()
        self._image.unlink(missing_ok=True)
        self.folder.rmdir()

    def _opened(self) -> int:
        self._opened_check()
        return os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)

    def _opened_check(self) -> None:
        # else it would be the machine's own disk whose power is cut
        if not self.folder.is_mount():
            raise RuntimeError(f"{self.folder} is not a mount of ours")


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotHere(f"{' '.join(words[:3])}: {done.stderr.strip() or done.returncode}")
