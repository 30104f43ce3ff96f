"""One page that a report about a problem should contain: versions, device, codecs, networks, folders, limits."""

import os
import platform
import pwd
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path

from darkroomd import _core, config, device, models, openvino, picture
from darkroomd.confine import landlock_version
from darkroomd.errors import ConfigError, Unavailable
from darkroomd.job import Engine
from darkroomd.watch import far_file_system

INOTIFY_WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")
LITTLE_SPACE_MB = 500
MANY_FOLDERS = 1_000_000  # more are not counted


@dataclass(frozen=True, slots=True)
class Fact:
    """One line: what was looked at, what was seen, and whether it is as it should be."""

    name: str
    value: str
    good: bool = True


def examined(config_path: Path, state_folder: Path) -> list[Fact]:
    """Everything, in the order in which trouble usually lies; never raises for what it is there to find."""
    return [
        *_versions(), *_networks(), *_formats(), *_config(config_path), *_device(config_path), *_state(state_folder),
        *_machine(),
    ]  # fmt: skip


def _versions() -> Iterator[Fact]:
    yield Fact(
        "darkroomd", f"{_ours() or 'its version cannot be read'} (core {_core.__version__})", _ours() is not None
    )
    yield Fact("python", platform.python_version())
    for name, number in picture.versions().items():
        yield Fact(name, number)
    runtimes = device.runtime_versions()
    for name, number in runtimes.items():
        yield Fact(name, number, good=len(runtimes) == 1)


def _ours() -> str | None:
    """None where the package's own notes cannot be read: then `version` is None, or raises."""
    try:
        return version("darkroomd") or None
    except (PackageNotFoundError, OSError):
        return None


def _networks() -> Iterator[Fact]:
    try:
        for card in models.cards().values():
            models.verified_bytes(card)
            yield Fact(f"network {card.name}", f"{card.file}, {card.digest}")
        for found in models.detectors().values():
            here = f"{found.file}, {found.digest}"
            whole = models.is_whole(found)
            yield Fact(f"detector {found.name}", here if whole else f"not here: {models.HOW_TO_FETCH}")
    except Unavailable as error:
        yield Fact("networks", str(error), good=False)


def _formats() -> Iterator[Fact]:
    for form, works in picture.formats().items():
        yield Fact(f"format {form}", "reads and writes" if works else "missing in this libvips", works)


def _config(path: Path) -> Iterator[Fact]:
    if not path.exists():
        yield Fact("config", f"none at {path} (needed by run and once only)")
        return
    try:
        loaded = config.load(path)
    except ConfigError as error:
        for fault in error.faults:
            yield Fact("config", fault, good=False)
        return
    yield Fact("config", str(path))
    for warning in loaded.warnings:
        yield Fact("config", warning, good=False)
    yield from _folders(loaded)


def around(loaded: config.Config, state_folder: Path) -> list[Fact]:
    """What a config that is good in itself needs of the machine: folders, disks, networks, device, limits."""
    return [*_networks(), *_folders(loaded), *_state(state_folder), *_machine()]


def _folders(loaded: config.Config) -> Iterator[Fact]:
    below = 0
    for folder in loaded.folders:
        wrong = _cannot_read(folder.watch)
        kind = far_file_system(folder.watch)
        how = f" ({kind}: looked through every few seconds, because it tells of no changes)" if kind else ""
        yield Fact("watches", f"{folder.watch}{wrong or how}", not wrong)
        yield _room("writes to", folder.output)
        below += 0 if wrong or kind else sum(1 for _ in islice(_sub_folders(folder.watch), MANY_FOLDERS))
    if below and INOTIFY_WATCHES.exists():
        limit = int(INOTIFY_WATCHES.read_text())
        enough = f"{below} folders of {limit} that one user may watch"
        more = f"{enough}: raise it, as in sysctl fs.inotify.max_user_watches={max(2 * below, 524288)}"
        yield Fact("inotify watches", enough if below < 0.9 * limit else more, below < 0.9 * limit)


def _cannot_read(folder: Path) -> str:
    if not folder.exists():
        return ": not there (a disk that is not mounted?)"
    if not folder.is_dir():
        return ": not a folder"
    return "" if os.access(folder, os.R_OK | os.X_OK) else f": not readable for {_me()}"


def _sub_folders(folder: Path) -> Iterator[str]:
    for here, folders, _files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield here


def _me() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"


def _device(path: Path) -> Iterator[Fact]:
    """What the config's device comes to, by opening a network on it."""
    try:
        asked = config.load(path).service.device if path.exists() else config.defaults().service.device
    except ConfigError:
        asked = "auto"
    try:
        net = device.Network(next(iter(models.cards().values())), Engine(device=asked))
    except Unavailable as error:
        yield Fact("device", str(error), good=False)
        return
    hint = net.note
    if net.device == device.CPU and not openvino.installed() and openvino.bfloat16():
        hint = hint or f"half the time with bfloat16, which this processor has: {device.OPENVINO_HINT}"
    yield Fact("device", f"{net.device}{f' ({hint})' if hint else ''}")


def _state(folder: Path) -> Iterator[Fact]:
    yield _room("state", folder)
    kind = far_file_system(folder)
    if kind and not kind.startswith("fuse"):  # as encrypted homes are
        yield Fact("state", f"{folder} is a share ({kind}): the ledger needs a disk of this machine", good=False)


def _room(name: str, folder: Path) -> Fact:
    """A folder that must be writable, or its nearest parent while it does not exist yet."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        read_only = os.statvfs(there).f_flag & os.ST_RDONLY
        return Fact(name, f"{folder}: {'mounted read-only' if read_only else f'not writable for {_me()}'}", good=False)
    room = shutil.disk_usage(there)
    if room.total == 0:  # some shares report no blocks at all
        return Fact(name, f"{folder} (the share does not tell how much is free)")
    free_mb = room.free // 1_000_000
    return Fact(name, f"{folder} ({free_mb} MB free)", free_mb >= LITTLE_SPACE_MB)


def _machine() -> Iterator[Fact]:
    version = landlock_version()
    yield Fact("worker's walls", f"Landlock {version} and seccomp" if version else "no Landlock in this kernel")
    yield Fact("cores", str(len(os.sched_getaffinity(0))))
