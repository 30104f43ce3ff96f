"""Results on their way to a public name: staged and synced first, then linked into place, never over a foreign file.

A name that does not begin with `.darkroomd-` is complete and on the disk, whenever the power goes. Every call works
through a descriptor of the target's folder, so that nobody can lead it elsewhere by exchanging a folder for a link.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from darkroomd.errors import CannotWrite, Changed, Conflict
from darkroomd.inside import folder_below, sync_folder
from darkroomd.job import Fingerprint, Job, Written

SPARE_BYTES = 1 << 20
NAME_BYTES = 255

# errnos by which file systems say that they have no hard links (FAT and many shares: EPERM; FUSE: ENOSYS) or no more
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EMLINK}

# what opening a name says that has no file of ours: none, a link, a pipe or device, somebody else's
NOT_OURS = (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EACCES, errno.EPERM, errno.EISDIR)
# what a disk may say of a write
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE, errno.EFBIG, errno.ENOMEM)

WORDS = {
    errno.ENOSPC: "no space is left in {folder}",
    errno.EDQUOT: "the quota for {folder} is used up",
    errno.EROFS: "{folder} is read-only",
    errno.EACCES: "no permission to write in {folder}",
    errno.EPERM: "no permission to write in {folder}",
    errno.EIO: "the disk of {folder} reports an error",
    errno.ESTALE: "the share of {folder} has gone away",
    errno.ENOENT: "{folder} is not there",
    errno.ELOOP: "{folder} is reached through a link, and links inside the output folder are not followed",
    errno.ENOTDIR: "{folder} is reached through a link or a file; inside the output folder only folders are followed",
}


def placed(job: Job, spare_bytes: int = SPARE_BYTES) -> int:
    """A descriptor of a new file job.temporary that nobody else can open. Missing folders of the target are made.

    CannotWrite when the place has less room than the original needs plus `spare_bytes`, or says no.
    """
    if job.temporary is None:
        raise ValueError("a job is staged after it was claimed: it has no temporary name yet")
    with _in_words(job.target.parent), _folder(job, make=True) as at:
        if _free_bytes(at) < job.fingerprint.size + spare_bytes:
            raise OSError(errno.ENOSPC, "less room than the original needs")
        return _new_file(at, job.temporary.name)


def stage(
    job: Job,
    save: Callable[[int], None],
    spare_bytes: int = SPARE_BYTES,
    place: Callable[[Job, int], int] = placed,
) -> tuple[str, int]:
    """A complete result in the file that `place` gives: (SHA-256 of its bytes as read back, size).

    `save` writes the picture to the descriptor it is given. What was staged and new folders are on the disk when this
    returns. CannotWrite, with nothing left behind, when the place has no room or says no; what `save` raises goes
    through, except that it is CannotWrite when it tells of the disk, or the disk turns out to be full (not every
    encoder's error tells).
    """
    with _in_words(job.target.parent):
        descriptor = place(job, spare_bytes)
        try:
            save(descriptor)
            if job.output.mtime == "keep":
                os.utime(descriptor, ns=(job.fingerprint.mtime_ns, job.fingerprint.mtime_ns))
            # never a second time: the kernel reports a lost page once, and the next call says all is well
            os.fsync(descriptor)
            return _digest(descriptor), os.fstat(descriptor).st_size
        except BaseException as error:
            code = _disk_error(error)
            if code is None and isinstance(error, Exception) and _free_bytes(descriptor) < spare_bytes // 4:
                code = errno.ENOSPC
            if code is None and "write error" in str(error):  # libvips, which has lost what the system said
                code = errno.EIO
            _withdraw(job)
            if code is not None and not isinstance(error, OSError):
                raise OSError(code, str(error)) from error
            raise
        finally:
            os.close(descriptor)


def publish(job: Job, digest: str, size: int, previous: Written | None) -> Written:
    """The staged result under its public name, or a numbered one; its name is on the disk when this returns.

    Safe to call again for the same result, also after being killed at any point: what is public already is found by
    its digest. A file that is not ours is never replaced: only `previous`, while its bytes are still those we wrote.
    The temporary is gone afterwards, whatever happens. Changed when the original is not the one that was read (an
    original that is gone is fine); Conflict when the name is taken and job.output.existing forbids numbers;
    CannotWrite when the place says no, or when the temporary is not what was staged.
    """
    if job.temporary is None:
        raise ValueError("nothing was staged")
    with _in_words(job.target.parent), _folder(job, make=False) as at:
        try:
            ready = _holds(at, job.temporary.name, digest, size)
            name = next((taken for taken in _taken(at, job, previous) if _holds(at, taken, digest, size)), None)
            if name is None:
                if not ready:
                    raise CannotWrite(f"the finished copy for {job.target} was lost before it got its name")
                if _changed(job):
                    raise Changed(f"{job.source} changed while it was worked on")
                _open_to_others(at, job.temporary.name, job)
                name = _put(at, job.temporary.name, job, previous)
        finally:
            _unlink(at, job.temporary.name)
        try:
            sync_folder(at)
        except OSError as error:
            told = CannotWrite(_words(error, job.target.parent))
            told.public = os.fspath(job.target.parent / name)
            raise told from error
    return Written(job.target.parent / name, digest, size)


def stage_link(job: Job, of: Path, digest: str, size: int) -> bool:
    """A result that is there already, under job.temporary as well: one file with two names, on the disk when this
    returns. False, with nothing left behind, when its bytes are others now or the place has no links. CannotWrite as
    for stage."""
    if job.temporary is None:
        raise ValueError("a job is staged after it was claimed: it has no temporary name yet")
    name = job.temporary.name
    with _in_words(job.target.parent), _folder(job, make=True) as at:
        _unlink(at, name)
        try:
            os.link(of, name, dst_dir_fd=at, follow_symlinks=False)
        except OSError as error:
            if error.errno not in {*NO_LINKS, *NOT_OURS, errno.EXDEV}:
                raise
            return False
        try:
            if _holds(at, name, digest, size):
                sync_folder(at)
                return True
        except BaseException:
            _unlink(at, name)
            raise
        _unlink(at, name)
        return False


def taken(job: Job) -> Iterator[tuple[Path, int]]:
    """(path, descriptor for reading, to be closed) of each file with a name that the result may have, up to the first
    free one. CannotWrite when the place does not tell."""
    with _in_words(job.target.parent), suppress(FileNotFoundError), _folder(job, make=False) as at:
        for name in _taken(at, job, None):
            descriptor = _regular(at, name)
            if descriptor is not None:
                yield job.target.parent / name, descriptor


def earlier(
    job: Job, ours: Callable[[int], bool], there: Callable[[Job], Iterator[tuple[Path, int]]] = taken
) -> tuple[Path, int] | None:
    """(path, size in bytes) of the first file with a name that the result may have of which `ours`, which is given an
    open descriptor, says that it is this very result. CannotWrite when the place does not tell."""
    with _in_words(job.target.parent):
        for path, descriptor in there(job):
            try:
                if ours(descriptor):
                    return path, os.fstat(descriptor).st_size
            finally:
                os.close(descriptor)
    return None


def discard(temporary: Path | None) -> None:
    """Remove a temporary if it is still there; one that cannot be removed is swept at the next start."""
    if temporary is not None:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def _in_words(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotWrite(_words(error, folder)) from error


def _words(error: OSError, folder: Path) -> str:
    words = WORDS.get(error.errno or 0, "{folder} cannot be written: " + (error.strerror or str(error)))
    return words.format(folder=folder)


@contextmanager
def _folder(job: Job, make: bool) -> Iterator[int]:
    """The target's folder, walked to one component at a time below the output root, which itself must be there:
    where a disk is not mounted, a new folder would hide the results under the mount point."""
    folder = job.target.parent
    root = job.output_root
    if root is None:
        root = next(path for path in (folder, *folder.parents) if not make or path.is_dir())
    with folder_below(root, folder.relative_to(root).parts, make) as at:
        yield at


def _new_file(at: int, name: str) -> int:
    # The name carries our instance, job and attempt, so a file of that name is left from a ledger that was lost.
    _unlink(at, name)
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=at)


def _free_bytes(at: int) -> int:
    """Room for us; plenty where the file system does not tell (some shares report no blocks at all)."""
    with suppress(OSError):
        facts = os.fstatvfs(at)
        if facts.f_blocks:
            return facts.f_bavail * facts.f_frsize
    return 1 << 62


def _disk_error(error: BaseException) -> int | None:
    """The errno that an encoder met and tells of in an error of its own class, with the system's words in it."""
    return next((code for code in DISK_ERRORS if os.strerror(code) in str(error)), None)


def _digest(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _holds(at: int, name: str, digest: str, size: int, not_ours: Collection[int] = NOT_OURS) -> bool:
    """Whether a regular file of this name has these bytes. not_ours: what opening it says of no file of ours."""
    descriptor = _regular(at, name, not_ours)
    if descriptor is None:
        return False
    try:
        return os.fstat(descriptor).st_size == size and _digest(descriptor) == digest
    finally:
        os.close(descriptor)


def _regular(at: int, name: str, not_ours: Collection[int] = NOT_OURS) -> int | None:
    """A descriptor of the regular file of this name; None for a link, a pipe, nothing at all, and what we may not read.

    Any other error is the disk's, and says nothing about the bytes: raised.
    """
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    except OSError as error:
        if error.errno not in not_ours:
            raise
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def _exists(at: int, name: str) -> bool:
    try:
        os.lstat(name, dir_fd=at)
    except FileNotFoundError:
        return False
    return True


def _names(job: Job, previous: Written | None) -> Iterator[str]:
    """Where the result may go, best first: where our earlier one is, the name by the rules, then numbers.

    An earlier result under a name of another form (the format or the name template changed) is let be.
    """
    if previous is not None and previous.path.parent == job.target.parent:
        ending = re.search(r"-(\d{1,6})(\.[^.]*)?$", previous.path.name)
        if previous.path.name in {_numbered(job.target.name, n) for n in (1, int(ending[1]) if ending else 1)}:
            yield previous.path.name
    for number in count(1) if job.output.existing == "number" else (1,):
        yield _numbered(job.target.name, number)


def _numbered(name: str, number: int) -> str:
    """name.jpg, name-2.jpg, name-3.jpg, ... in at most 255 bytes: the stem gives way, between UTF-8 characters."""
    stem, ending = os.fsencode(Path(name).stem), os.fsencode(Path(name).suffix)
    if len(ending) > 32:
        stem, ending = stem + ending, b""
    if number > 1:
        ending = b"-%d" % number + ending
    room = NAME_BYTES - len(ending)
    for _ in range(3):
        room -= len(stem) > room and stem[room] & 0xC0 == 0x80
    return os.fsdecode(stem[:room] + ending)


def _taken(at: int, job: Job, previous: Written | None) -> Iterator[str]:
    """The names up to the first free one: those under which the result may already be public."""
    for name in _names(job, previous):
        if _exists(at, name):
            yield name
        elif previous is None or name != previous.path.name:
            return


def _put(at: int, temporary: str, job: Job, previous: Written | None) -> str:
    for name in _names(job, previous):
        if previous is not None and name == previous.path.name and _is_still(at, previous):
            os.replace(temporary, name, src_dir_fd=at, dst_dir_fd=at)
            return name
        if _linked(at, temporary, name):
            return name
    raise Conflict(f"{job.target} is taken by a file that darkroomd did not write")


def _is_still(at: int, previous: Written) -> bool:
    """A result of ours that we may not read in this moment is no stranger's: the disk is believed the next time."""
    not_ours = [code for code in NOT_OURS if code not in (errno.EACCES, errno.EPERM)]
    return _holds(at, previous.path.name, previous.digest, previous.size, not_ours)


def _linked(at: int, temporary: str, name: str) -> bool:
    """Give the file its public name; False, with nothing changed, when the name is taken by anything at all.

    A link is renameat2's RENAME_NOREPLACE by other means: it never replaces, and it is there on NFS and ZFS too.
    Without links there remains a moment between the look and the rename.
    """
    try:
        os.link(temporary, name, src_dir_fd=at, dst_dir_fd=at, follow_symlinks=False)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if _exists(at, name):
            return False
        os.rename(temporary, name, src_dir_fd=at, dst_dir_fd=at)
    return True


def _open_to_others(at: int, name: str, job: Job) -> None:
    """Last of all before the link, whose folder sync takes it to the disk: until then a photo is its owner's alone."""
    facts = None
    if "keep" in (job.output.owner, job.output.permissions):
        with suppress(FileNotFoundError):  # a photo that is gone has none: as the service's own files
            facts = os.lstat(job.source)
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    try:
        if facts is not None and job.output.owner == "keep":
            _give(descriptor, facts.st_uid, facts.st_gid)
        with suppress(PermissionError):  # FAT and some shares have no modes
            os.fchmod(descriptor, _permissions(job.output.permissions, facts))
    finally:
        os.close(descriptor)


def _give(descriptor: int, owner: int, group: int) -> None:
    """To the photo's owner and group, or to the group, or not: only root may give files away."""
    for whose in (owner, group), (-1, group):
        try:
            os.fchown(descriptor, *whose)
        except OSError as error:
            if error.errno not in (
                errno.EPERM,
                errno.EINVAL,
                errno.EOPNOTSUPP,
            ):  # EINVAL: an id that is not mapped here
                raise
        else:
            return


def _permissions(wanted: str, facts: os.stat_result | None) -> int:
    """Never set-uid, set-gid or sticky."""
    if wanted == "keep" and facts is not None:
        return facts.st_mode & 0o777
    return 0o666 & ~_umask() if wanted in ("umask", "keep") else int(wanted, 8)


def _umask() -> int:
    """Asked of /proc, because os.umask can only tell by changing it under every thread."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    return 0o077


def _changed(job: Job) -> bool:
    try:
        facts = os.lstat(job.source)
    except OSError:
        return False
    now = Fingerprint(facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    return now != job.fingerprint


def _withdraw(job: Job) -> None:
    """Take back what was placed. A worker behind its walls cannot, and the service does it for each that failed."""
    assert job.temporary is not None
    with suppress(OSError), _folder(job, make=False) as at:
        _unlink(at, job.temporary.name)


def _unlink(at: int, name: str) -> None:
    with suppress(OSError):
        os.unlink(name, dir_fd=at)
