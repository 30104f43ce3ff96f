"""install-service and uninstall-service: a systemd unit for the interpreter that runs this, its config and its folders.

Everything that is made is written into the unit as `# made:` lines, and uninstalled() takes back exactly that: a file
only while it is as it was made, a folder only while it is empty. Photos, results and the ledger are never removed.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from darkroomd import config, openvino
from darkroomd.config import Folder, Service
from darkroomd.errors import CannotWrite, Unavailable
from darkroomd.places import shipped

MARK = "# Written by `darkroomd install-service`, which also takes it away: `darkroomd uninstall-service {scope}`."
MADE = re.compile(r"^# made: ([0-9a-f]{64}|folder|kept) (.+)$", re.MULTILINE)
PROGRAM_IN_TEMPLATE = "/opt/darkroomd/.venv/bin/darkroomd"
CONFIG_IN_TEMPLATE = "/etc/darkroomd/config.yaml"
WATCH, OUTPUT = Path("/srv/photos/inbox"), Path("/srv/photos/enhanced")
USERS_WATCH, USERS_OUTPUT = "~/Pictures/Inbox", "~/Pictures/Enhanced"
# what ProtectHome=tmpfs empties; a folder in one of these must be let in by name
HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
SERVICE_USER = "darkroomd"
COMPUTES = {
    "nvidia": "the graphics card",
    "render": "the graphics card",
    "processor": "the processor's bfloat16, for which OpenVINO makes code while it runs",
}
SERVICE_MB = 256  # for the service's own process, which holds well under 100

Run = Callable[[Sequence[str]], None]


@dataclass(frozen=True, slots=True)
class Where:
    """Whose service, and where its files go. `root` is / except in an image of another system."""

    system: bool
    unit: Path
    config: Path
    root: Path = Path("/")

    @property
    def scope(self) -> str:
        return "--system" if self.system else "--user"

    def systemctl(self, *words: str) -> list[str]:
        return ["systemctl", *([] if self.system else ["--user"]), *words]


def where(system: bool, home: Path, config_home: Path | None = None, root: Path = Path("/")) -> Where:
    """The places of the system's service, or those of the user whose home is given."""
    if system:
        return Where(True, root / "etc/systemd/system/darkroomd.service", root / "etc/darkroomd/config.yaml", root)
    base = config_home or home / ".config"
    return Where(False, base / "systemd/user/darkroomd.service", base / "darkroomd/config.yaml")


def run(command: Sequence[str]) -> None:
    """A tool of systemd's. Unavailable, with what it said, when it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is not on this machine: the service needs systemd") from None
    if done.returncode:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip() or f'exit code {done.returncode}'}")


@dataclass(slots=True)
class _Installing:
    """What was made so far, in order, and what is said of it."""

    made: list[tuple[str, Path]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def file(self, path: Path, text: str) -> None:
        self.folder(path.parent, quiet=True)
        path.write_text(text)
        self.made.append((hashlib.sha256(text.encode()).hexdigest(), path))
        self.said.append(f"wrote {path}")

    def folder(self, path: Path, quiet: bool = False) -> bool:
        """Whether it had to be made; its missing parents are made, and taken back, too."""
        missing = [one for one in (path, *path.parents) if not one.exists()]
        for one in reversed(missing):
            one.mkdir()
            self.made.append(("folder", one))
        if missing and not quiet:
            self.said.append(f"made {path}")
        return bool(missing)


def installed(
    at: Where,
    watch: str | None = None,
    output: str | None = None,
    *,
    start: bool = False,
    program: str | None = None,
    run: Run = run,
) -> list[str]:
    """Makes the service and says what was done, line by line. What is there already is kept, except our own unit,
    which is written anew: so this is also how the unit learns that the folders in the config have changed.

    ConfigError when the config has faults, CannotWrite when a place says no, Unavailable when systemd is not there.
    """
    doing = _Installing()
    try:
        _refuse_foreign(at.unit)
        doing.made = _made(at.unit)
        if at.system:
            text = (shipped("systemd") / "darkroomd.sysusers").read_text()
            _once(doing, at.root / "etc/sysusers.d/darkroomd.conf", text)
            run(["systemd-sysusers", *([f"--root={at.root}"] if at.root != Path("/") else [])])
            watch, output = watch or str(WATCH), output or str(OUTPUT)
        else:
            watch, output = watch or USERS_WATCH, output or USERS_OUTPUT
        if at.config.exists():
            doing.said.append(f"kept {at.config}, which was there already")
        else:
            doing.file(at.config, starting_config(watch, output))
        loaded = config.load(at.config)
        for folder in loaded.folders:
            _make(doing, at, folder)
        program = program or _program()
        text = unit_text(at, loaded.folders, program, _hidden(program) if at.system else [])
        text = _with_memory(text, loaded.service)
        if kind := _kind(loaded.service.device):
            text = _with_device(text, kind, system=at.system)
            doing.said.append(f"the unit lets the service use {COMPUTES[kind]}")
        before = [at.unit.parent] if at.unit.parent.exists() else []
        doing.folder(at.unit.parent, quiet=bool(before))
        lines = [f"# made: {kind} {path}" for kind, path in doing.made]
        at.unit.write_text("\n".join([MARK.format(scope=at.scope), *lines, text]))
        doing.said.append(f"wrote {at.unit}")
    except OSError as error:
        raise CannotWrite(f"{error.filename or at.unit}: {error.strerror}") from error
    run(at.systemctl("daemon-reload"))
    if start:
        run(at.systemctl("enable", "--now", at.unit.name))
        doing.said.append("started the service, now and at every start of the machine")
    return [*doing.said, *_next_steps(at, loaded.folders, start)]


def uninstalled(at: Where, *, run: Run = run) -> list[str]:
    """Takes back what installed() made and says what was done, and what stays and how to remove that."""
    if not at.unit.exists():
        return [f"there is no {at.unit}: nothing to do"]
    _refuse_foreign(at.unit)
    run(at.systemctl("disable", "--now", at.unit.name))
    said, made = [], _made(at.unit)
    try:
        at.unit.unlink()
        said.append(f"removed {at.unit}")
        for kind, path in reversed(made):
            if _taken_back(kind, path):
                said.append(f"removed {path}")
            elif path.exists():
                said.append(f"kept {path}: {'it is not empty' if kind == 'folder' else 'you changed it'}")
    except OSError as error:
        raise CannotWrite(f"{error.filename}: {error.strerror}") from error
    run(at.systemctl("daemon-reload"))
    return [*said, *_left(at)]


def _left(at: Where) -> Iterator[str]:
    if at.system:
        yield "the ledger and the user stay; without them every photo would count as new:"
        yield f"  rm -r /var/lib/darkroomd && userdel {SERVICE_USER}"
    else:
        yield "the ledger stays; without it every photo would count as new: rm -r ~/.local/state/darkroomd"
    yield "photos and their enhanced copies are where they were"


def _taken_back(kind: str, path: Path) -> bool:
    if kind == "folder":
        try:
            path.rmdir()
        except OSError:  # somebody uses it
            return False
        return True
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == kind:
        path.unlink()
        return True
    return False


def _refuse_foreign(unit: Path) -> None:
    if unit.exists() and not unit.read_text().startswith(MARK.partition("{")[0]):
        raise CannotWrite(f"{unit} was not written by install-service: move it away first")


def _made(unit: Path) -> list[tuple[str, Path]]:
    text = unit.read_text() if unit.exists() else ""
    return [(kind, Path(path)) for kind, path in MADE.findall(text)]


def _once(doing: _Installing, path: Path, text: str) -> None:
    if path.exists() and path.read_text() == text:
        return
    doing.made = [pair for pair in doing.made if pair[1] != path]
    doing.file(path, text)


def _program() -> str:
    """The command of this very installation."""
    beside = Path(sys.prefix) / "bin/darkroomd"
    return str(beside) if beside.exists() else f"{sys.executable} -m darkroomd"


def starting_config(watch: str, output: str) -> str:
    """A config with these two folders, and every other key as a comment that shows its default."""
    lines = (shipped("config") / "example.yaml").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("folders:"))
    rest = next(number for number in range(start, len(lines)) if not lines[number])
    schema = (shipped("config") / "schema.json").resolve()
    others = [line if not line or line.startswith("#") else f"#{line}" for line in lines[rest:]]
    return "\n".join([
        f"# yaml-language-server: $schema={schema}",
        "# The config of darkroomd. After a change: `darkroomd check`, then reload the service.",
        "# A line behind a # shows a default. To change it, take the # away, and that of its section's name.",
        "",
        "# Which folders to watch, and where the enhanced copies go.",
        "folders:",
        f"  - watch: {_quoted(watch)}",
        f"    output: {_quoted(output)}",
        "    mode: auto",
        *others,
        "",
    ])  # fmt: skip


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[~/][\w./-]*", text) else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _make(doing: _Installing, at: Where, folder: Folder) -> None:
    """The folder's two places. Where the photos are the service gets no right to write, only its group may read."""
    for path, owner, mode in ((folder.watch, "root", 0o2775), (folder.output, SERVICE_USER, 0o2750)):
        there = at.root / path.relative_to("/")
        if doing.folder(there) and at.system and not _in_a_home(path):
            _give(at, there, owner, mode)
        elif at.system and owner != "root" and not _may_write(at, there):
            how = f"chgrp {SERVICE_USER} {path} && chmod g+ws {path}"
            doing.said.append(f"to do: {path} must be writable for {SERVICE_USER}: {how}")


def _give(at: Where, path: Path, owner: str, mode: int) -> None:
    users, groups = (at.root / "etc" / name for name in ("passwd", "group"))
    path.chmod(mode)  # a change of the owner takes set-gid away again
    os.chown(path, _number(users, owner), _number(groups, SERVICE_USER))
    path.chmod(mode)


def _number(table: Path, name: str) -> int:
    """The number of a user or group in an /etc/passwd or /etc/group."""
    for line in table.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split(":")[2])
    raise Unavailable(f"there is no {name} in {table}")


def _may_write(at: Where, path: Path) -> bool:
    facts = path.stat()
    user = _number(at.root / "etc/passwd", SERVICE_USER)
    group = _number(at.root / "etc/group", SERVICE_USER)
    mode = facts.st_mode >> (6 if facts.st_uid == user else 3 if facts.st_gid == group else 0)
    return mode & 0o3 == 0o3


def _in_a_home(path: Path) -> bool:
    return any(path.is_relative_to(home) for home in HOMES)


def _hidden(program: str) -> list[Path]:
    """What the service needs of this installation and would not see: environments and interpreters in a home."""
    needed = {Path(sys.prefix), Path(sys.base_prefix), Path(__file__).resolve().parent}
    needed |= {Path(program.partition(" ")[0]).parent}
    needed |= {Path(entry) for entry in sys.path if entry and Path(entry).is_dir()}
    inside = sorted(path for path in needed if _in_a_home(path))
    return [path for path in inside if not any(path != other and path.is_relative_to(other) for other in inside)]


def unit_text(at: Where, folders: Iterable[Folder], program: str, hidden: Iterable[Path] = ()) -> str:
    """The shipped unit with this program and, for the system, with exactly these folders let in."""
    template = shipped("systemd") / ("darkroomd.service" if at.system else "user/darkroomd.service")
    body = template.read_text()
    body = body[body.index("[Unit]") :].replace(PROGRAM_IN_TEMPLATE, program.replace("%", "%%"))
    body = body.replace(f"--config {CONFIG_IN_TEMPLATE}", f"--config {_escaped(at.config)}")
    body = re.sub(r"^Documentation=.*\n", "", body, flags=re.MULTILINE)
    if not at.system:
        return body
    folders = list(folders)
    mounts = sorted({path for folder in folders for path in (folder.watch, folder.output)})
    required = "\n".join(f"RequiresMountsFor={_escaped(path)}" for path in mounts)
    read_only = [*(folder.watch for folder in folders if _in_a_home(folder.watch)), *hidden]
    homes = [folder.output for folder in folders if _in_a_home(folder.output)]
    others = [folder.output for folder in folders if not _in_a_home(folder.output)]
    lets = [
        *(f"ReadWritePaths={_escaped(path)}" for path in dict.fromkeys(others)),
        *(f"BindReadOnlyPaths={_escaped(path)}" for path in dict.fromkeys(read_only)),
        *(f"BindPaths={_escaped(path)}" for path in dict.fromkeys(homes)),
    ]
    body = re.sub(r"^RequiresMountsFor=.*$", required.replace("\\", r"\\"), body, flags=re.MULTILINE)
    return re.sub(r"^ReadWritePaths=.*$", "\n".join(lets).replace("\\", r"\\"), body, flags=re.MULTILINE)


def _with_memory(text: str, service: Service) -> str:
    """The unit with room for what the config lets the workers take, and as much as one more for a photo that errs."""
    if not service.memory_limit_mb:
        return text
    high_mb = SERVICE_MB + max(1, service.workers) * service.memory_limit_mb
    text = re.sub(r"^MemoryHigh=.*$", f"MemoryHigh={high_mb}M", text, flags=re.MULTILINE)
    return re.sub(r"^MemoryMax=.*$", f"MemoryMax={high_mb + service.memory_limit_mb}M", text, flags=re.MULTILINE)


def _kind(device: str, nvidia: Path = Path("/dev/nvidiactl")) -> str | None:
    """The file in systemd/gpu with what a unit needs for this device; None when it needs nothing."""
    kind = device.partition(":")[0]
    if kind == "auto":
        useful = openvino.installed() and (openvino.graphics() or openvino.bfloat16())
        kind = "cuda" if nvidia.exists() else "openvino" if useful else "cpu"
    if kind == "openvino" and not openvino.graphics():
        return "processor"
    return {"cuda": "nvidia", "tensorrt": "nvidia", "openvino": "render"}.get(kind)


def _with_device(text: str, kind: str, *, system: bool) -> str:
    """The unit with these lines: later ones replace earlier ones, except where they are lists.

    Of a user's unit, which has all of the user's devices, only the walls that are in the way are changed.
    """
    lines = (shipped("systemd") / f"gpu/{kind}.conf").read_text().partition("[Service]\n")[2]
    if not system:
        lines = "".join(line for line in lines.splitlines(keepends=True) if line.startswith("MemoryDenyWriteExecute"))
    return text.replace("\n[Install]", f"\n{lines}\n[Install]")


def _escaped(path: Path) -> str:
    """A path as one word of a unit file."""
    text = str(path).replace("%", "%%").replace("\\", "\\\\")
    return '"' + text.replace('"', '\\"') + '"' if re.search(r"[\s\"';]", text) else text


def _next_steps(at: Where, folders: Sequence[Folder], start: bool) -> Iterator[str]:
    name = at.unit.name.removesuffix(".service")
    ctl = " ".join(at.systemctl())
    if not start:
        yield f"next: {ctl} enable --now {name}"
    if not at.system and shutil.which("loginctl"):
        yield "to keep it running while you are not logged in: loginctl enable-linger"
    journal = "journalctl -u" if at.system else "journalctl --user -u"
    yield f"the log: {journal} {name} -f"
    yield f"photos go into {folders[0].watch}, results come to {folders[0].output}"
    if at.system:
        yield f"whoever drops photos should be in the group {SERVICE_USER}: usermod -aG {SERVICE_USER} NAME"
        yield "after a change of the folders in the config: this command again, then systemctl restart darkroomd"
    yield f"undo: darkroomd uninstall-service {at.scope}"
