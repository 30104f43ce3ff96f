"""One page that a report about a problem should contain: versions, device, codecs, networks, folders, limits."""

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from darkroomd import _core, config, device, models, picture
from darkroomd.confine import landlock_version
from darkroomd.errors import ConfigError, Unavailable
from darkroomd.job import Engine

INOTIFY_WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")
LITTLE_SPACE_MB = 500


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
    yield Fact("darkroomd", f"{version('darkroomd')} (core {_core.__version__})")
    yield Fact("python", platform.python_version())
    for name, number in picture.versions().items():
        yield Fact(name, number)
    runtimes = device.runtime_versions()
    for name, number in runtimes.items():
        yield Fact(name, number, good=len(runtimes) == 1)


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
    for folder in loaded.folders:
        readable = os.access(folder.watch, os.R_OK | os.X_OK)
        yield Fact("watches", f"{folder.watch}{'' if readable else ': not there, or not readable'}", readable)
        yield _room("writes to", folder.output)


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
    yield Fact("device", f"{net.device}{f' ({net.note})' if net.note else ''}")


def _state(folder: Path) -> Iterator[Fact]:
    yield _room("state", folder)


def _room(name: str, folder: Path) -> Fact:
    """A folder that must be writable, or its nearest parent while it does not exist yet."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return Fact(name, f"{folder}: not writable", good=False)
    free_mb = shutil.disk_usage(there).free // 1_000_000
    return Fact(name, f"{folder} ({free_mb} MB free)", free_mb >= LITTLE_SPACE_MB)


def _machine() -> Iterator[Fact]:
    version = landlock_version()
    yield Fact("worker's walls", f"Landlock {version} and seccomp" if version else "no Landlock in this kernel")
    yield Fact("cores", str(len(os.sched_getaffinity(0))))
    if INOTIFY_WATCHES.exists():
        yield Fact(
            "inotify watches", f"{INOTIFY_WATCHES.read_text().strip()} per user (one per watched folder and sub-folder)"
        )
