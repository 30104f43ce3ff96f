"""Why a photo has no result, as a text in the output folder: for whoever has only the folders.

A note certifies itself: its last line holds a digest of all lines before it. So one that somebody changed is known,
and neither replaced nor removed, with no ledger to ask. The ledger and its `status` are the truth, and a note that
cannot be written is no trouble: nothing in here raises for what a disk says.
"""

import hashlib
import os
import stat
import time
from contextlib import suppress
from pathlib import Path

from darkroomd.inside import folder_below
from darkroomd.job import Job
from darkroomd.write import NO_LINKS

FOLDER = "failed"
_CERTIFICATE = "darkroomd wrote this and takes it away when the photo is done; you may delete it: "
_LONGEST = 64 << 10
_WHAT_NEXT = {
    "refused": "It is tried again by itself when the photo changes.",
    "failed": "It is tried again when the photo changes, or by `darkroomd retry` with its name.",
    "quarantined": "It is tried again when the photo changes, or by `darkroomd retry` with its name.",
    "conflict": "Move the file that has the name of the result, then call `darkroomd retry` with the photo's name.",
}


def place(job: Job, where: str) -> Path | None:
    """Where the note about a photo lies: in failed/, below it as the photo below its folder, or where its result would
    be. None when there is to be none, and for a single command, which says it itself."""
    if job.output_root is None or where == "none":
        return None
    below = job.source.parent.relative_to(job.root)
    parts = (FOLDER, *below.parts) if where == FOLDER else job.target.parent.relative_to(job.output_root).parts
    return Path(job.output_root, *parts, _note_name(job.source.name))


def put(job: Job, state: str, reason: str, now: float) -> None:
    """The note about a photo that came to its end without a result, complete under its name or not there. now: seconds
    since 1970."""
    path = place(job, job.output.reasons)
    if path is None or job.output_root is None or job.temporary is None:
        return
    at_time = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    text = _certified(
        f"{_shown(job.source.name)} has no enhanced copy.\n\n{_shown(reason)}\n\n"
        f"photo: {_shown(str(job.source))} (not touched)\nstate: {state}, mode {job.mode.name}, {at_time}\n"
        f"{_WHAT_NEXT.get(state, '')}\n\n"
    )
    with (
        suppress(OSError),
        folder_below(job.output_root, ()) as root,
        folder_below(job.output_root, _below(job, path), True) as at,
    ):
        taken = _content(at, path.name)
        if taken is not None and not _is_ours(taken):
            return
        # under a name that the next start sweeps, in the one folder that is always there
        temporary = job.temporary.name
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=root)
        try:
            _write(root, temporary, text.encode())
            if taken is not None or not _linked(root, temporary, at, path.name):
                os.replace(temporary, path.name, src_dir_fd=root, dst_dir_fd=at)
        finally:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=root)
        os.fsync(at)


def take_back(job: Job) -> None:
    """No note about this photo is left, wherever an earlier config put it; folders that it leaves empty go, too."""
    for where in (FOLDER, "beside"):
        path = place(job, where)
        if path is None or job.output_root is None:
            continue
        parts = _below(job, path)
        with suppress(OSError):
            with folder_below(job.output_root, parts) as at:
                taken = _content(at, path.name)
                if taken is None or not _is_ours(taken):
                    continue
                os.unlink(path.name, dir_fd=at)
            for depth in range(len(parts), 0, -1) if where == FOLDER else ():
                with folder_below(job.output_root, parts[: depth - 1]) as above:
                    os.rmdir(parts[depth - 1], dir_fd=above)


def _linked(root: int, temporary: str, at: int, name: str) -> bool:
    """The note under a free name; False where the place has no links, as FAT and many shares."""
    try:
        os.link(temporary, name, src_dir_fd=root, dst_dir_fd=at, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return False
    return True


def _below(job: Job, path: Path) -> tuple[str, ...]:
    assert job.output_root is not None
    return path.parent.relative_to(job.output_root).parts


def _note_name(name: str) -> str:
    """As a file's name, in at most 255 bytes; two long names stay two."""
    if len(os.fsencode(name)) <= 251:
        return f"{name}.txt"
    mark = "~" + hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    return os.fsencode(name)[:240].decode(errors="ignore") + mark + ".txt"


def _shown(text: str) -> str:
    """Without anything that a terminal would act on, and as UTF-8."""
    plain = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)


def _certified(text: str) -> str:
    return f"{text}{_CERTIFICATE}{hashlib.sha256(text.encode()).hexdigest()[:32]}\n"


def _is_ours(content: bytes) -> bool:
    text, _, _ = content.decode(errors="replace").rpartition(_CERTIFICATE)
    return bool(text) and content == _certified(text).encode()


def _content(at: int, name: str) -> bytes | None:
    """What a file of this name holds, empty for what is no note; None when the name is free."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    except FileNotFoundError:
        return None
    except OSError:
        return b""
    try:
        return os.read(descriptor, _LONGEST) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)


def _write(at: int, name: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o666, dir_fd=at), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
