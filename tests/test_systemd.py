"""The unit files: systemd understands them, the real command line takes their commands, and the sandbox is closed."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from darkroomd import config, errors
from tests.test_docs import files_need_not_exist, parse

__all__ = ["files_need_not_exist"]  # a fixture

ROOT = Path(__file__).parent.parent
SYSTEM = ROOT / "systemd/darkroomd.service"
USER = ROOT / "systemd/user/darkroomd.service"
PROGRAM = "/opt/darkroomd/.venv/bin/darkroomd"
UNITS = pytest.mark.parametrize("unit", [SYSTEM, USER], ids=["system", "user"])

MOST_EXPOSURE_TENTHS = 6  # an empty unit has 96; a new directive of systemd's may cost us one or two

# What closes the service off. Values are compared as they are written.
SANDBOX = """
NoNewPrivileges=yes CapabilityBoundingSet= AmbientCapabilities= ProtectSystem=strict ProtectHome=tmpfs PrivateTmp=yes
PrivateMounts=yes PrivateDevices=yes DevicePolicy=closed PrivateNetwork=yes IPAddressDeny=any
RestrictAddressFamilies=AF_UNIX PrivateUsers=yes PrivateIPC=yes RemoveIPC=yes ProtectHostname=yes ProtectClock=yes
ProtectKernelTunables=yes ProtectKernelModules=yes ProtectKernelLogs=yes ProtectControlGroups=yes ProtectProc=invisible
RestrictNamespaces=yes RestrictRealtime=yes RestrictSUIDSGID=yes LockPersonality=yes MemoryDenyWriteExecute=yes
SystemCallArchitectures=native SystemCallFilter=@system-service SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM KeyringMode=private UMask=0027 LimitCORE=0
"""
# Of these, what systemd can do for a user without a user namespace.
USERS_SANDBOX = """
NoNewPrivileges=yes RestrictAddressFamilies=AF_UNIX RestrictNamespaces=yes RestrictRealtime=yes RestrictSUIDSGID=yes
LockPersonality=yes MemoryDenyWriteExecute=yes SystemCallArchitectures=native SystemCallFilter=@system-service
SystemCallFilter=~@privileged SystemCallErrorNumber=EPERM LimitCORE=0
"""


def directives(unit: Path) -> list[str]:
    return [line for line in unit.read_text().splitlines() if line and line[0] not in "#["]


def values(unit: Path, name: str) -> list[str]:
    return [line.partition("=")[2] for line in directives(unit) if line.partition("=")[0] == name]


def with_a_program(unit: Path, folder: Path) -> Path:
    """A copy of the unit whose program is there."""
    copy = folder / unit.name
    copy.write_text(unit.read_text().replace(PROGRAM, shutil.which("true") or "/bin/true"))
    return copy


def tool(*command: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not on this machine; the service needs systemd, darkroomd itself does not")
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environ, check=False)


@UNITS
def test_a_unit_has_sections_and_directives_and_nothing_else(unit: Path) -> None:
    lines = [line for line in unit.read_text().splitlines() if line and line[0] != "#"]
    assert [line for line in lines if line[0] == "["] == ["[Unit]", "[Service]", "[Install]"]
    assert [line for line in lines if not re.fullmatch(r"\[\w+\]|[A-Z]\w+=.*\S|[A-Z]\w+=", line)] == []


@UNITS
def test_systemd_understands_every_directive(unit: Path, tmp_path: Path) -> None:
    scope = ["--user"] if unit is USER else []
    copy = with_a_program(unit, tmp_path)
    told = tool("systemd-analyze", *scope, "verify", "--man=no", copy, XDG_RUNTIME_DIR=str(tmp_path))
    about_us = [line for line in told.stderr.splitlines() if copy.name in line or str(copy) in line]
    if told.returncode and not about_us:
        pytest.skip(f"systemd-analyze cannot verify units here: {told.stderr.strip()}")
    assert about_us == []


def test_a_misspelt_directive_would_be_told(tmp_path: Path) -> None:
    copy = with_a_program(SYSTEM, tmp_path)
    copy.write_text(copy.read_text().replace("ProtectClock=", "ProtectClok="))
    told = tool("systemd-analyze", "verify", "--man=no", copy)
    if "ProtectClok" not in told.stderr and told.returncode:
        pytest.skip(f"systemd-analyze cannot verify units here: {told.stderr.strip()}")
    assert "ProtectClok" in told.stderr


@UNITS
def test_the_commands_of_a_unit_are_commands_of_darkroomd(unit: Path, files_need_not_exist: None) -> None:
    names = ("ExecStart", "ExecStartPre", "ExecReload")
    commands = [shlex.split(line) for name in names for line in values(unit, name)]
    ours = [words[1:] for words in commands if words[0].lstrip("-") == PROGRAM]
    assert [words[0] for words in ours] == ["run", "check", "check"]
    # what is checked is what is run
    assert ours[0][1:] == ours[1][1:] == [word for word in ours[2][1:] if word != "--config-only"]
    for words in ours:
        parse(words)
    assert ["/bin/kill", "-HUP", "$MAINPID"] in commands


@UNITS
def test_only_what_a_restart_can_mend_is_restarted(unit: Path) -> None:
    assert values(unit, "Restart") == ["on-failure"]
    assert values(unit, "RestartPreventExitStatus") == [f"{errors.EXIT_TRY_AGAIN} {errors.EXIT_CONFIG}"]
    # systemd restarts after a failed ExecStartPre= whatever its exit code was, unless it may fail
    assert [line[0] for line in values(unit, "ExecStartPre")] == ["-"]


@UNITS
def test_systemd_is_told_by_the_service_alone(unit: Path) -> None:
    assert [values(unit, name) for name in ("Type", "NotifyAccess", "OOMPolicy")] == [
        ["notify"],
        ["main"],
        ["continue"],
    ]
    assert int(values(unit, "WatchdogSec")[0]) >= 30


@UNITS
def test_the_network_runtime_reports_to_nobody(unit: Path) -> None:
    assert "ORT_DISABLE_TELEMETRY=1" in values(unit, "Environment")


def test_every_wall_of_the_sandbox_stands() -> None:
    assert [wall for wall in SANDBOX.split() if wall not in directives(SYSTEM)] == []
    assert [wall for wall in USERS_SANDBOX.split() if wall not in directives(USER)] == []


def test_the_service_can_write_to_its_output_and_nowhere_else() -> None:
    names = {line.partition("=")[0] for line in directives(SYSTEM)}
    assert values(SYSTEM, "ReadWritePaths") == ["/srv/photos/enhanced"]
    assert names & {"BindPaths", "ExecPaths", "CacheDirectory", "LogsDirectory", "ConfigurationDirectory"} == set()


def test_the_exposure_is_low(tmp_path: Path) -> None:
    copy = with_a_program(SYSTEM, tmp_path)
    told = tool(
        "systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSURE_TENTHS}", copy
    )
    if "unrecognized option" in told.stderr:
        pytest.skip("this systemd-analyze cannot judge a unit that is not installed (250 and later can)")
    assert "Overall exposure level for darkroomd.service" in told.stdout, told.stderr
    assert told.returncode == 0, told.stdout[-300:]


@pytest.mark.parametrize("card", ["nvidia", "render", "processor"])
def test_the_exposure_is_low_with_a_graphics_card_too(card: str, tmp_path: Path) -> None:
    copy = with_a_program(SYSTEM, tmp_path)
    lines = (SYSTEM.parent / f"gpu/{card}.conf").read_text().partition("[Service]\n")[2]
    copy.write_text(copy.read_text().replace("\n[Install]", f"\n{lines}\n[Install]"))
    told = tool("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=8", copy)
    if "unrecognized option" in told.stderr:
        pytest.skip("this systemd-analyze cannot judge a unit that is not installed (250 and later can)")
    assert told.returncode == 0, told.stdout[-300:]


def test_what_the_walls_leave_open_is_in_the_docs_with_the_reason_and_nothing_else(tmp_path: Path) -> None:
    version = tool("systemctl", "--version").stdout.split()[1]
    if version != "252":
        pytest.skip(f"systemd {version} asks other things than 252, which the docs go by")
    text = (ROOT / "docs/operations.md").read_text().partition("| left open | why |")[2].partition("\n\n")[0]
    told = dict(re.findall(r"^\| `(.*?)` \| (.*) \|$", text, re.MULTILINE))
    cards = [
        (ROOT / f"systemd/gpu/{card}.conf").read_text().partition("[Service]\n")[2] for card in ("nvidia", "render")
    ]
    found = []
    for lines in ("", *cards):
        copy = with_a_program(SYSTEM, tmp_path)
        copy.write_text(copy.read_text().replace("\n[Install]", f"\n{lines}\n[Install]"))
        said = tool("systemd-analyze", "security", "--offline=true", "--no-pager", "--json=short", copy).stdout
        found.append({one["name"] for one in json.loads(said) if one["set"] is False})
    assert set(told) == found[0] | found[1] | found[2]
    assert {name for name, why in told.items() if why.startswith("only with")} == set(told) - found[0]


def test_the_config_that_the_docs_give_the_service_fits_the_unit(tmp_path: Path) -> None:
    page = (ROOT / "docs/operations.md").read_text()
    block = next(text for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if text.startswith("folders:"))
    file = tmp_path / "config.yaml"
    file.write_text(block)
    (folder,) = config.load(file, {"HOME": "/nowhere"}).folders
    assert [str(folder.output)] == values(SYSTEM, "ReadWritePaths")
    made = [line.split()[1] for line in directives(ROOT / "systemd/darkroomd.tmpfiles")]
    assert {str(folder.watch), str(folder.output)} <= set(made)
    assert yaml.safe_load(block)["folders"][0].keys() == {"watch", "output"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give folders to another user")
def test_the_user_and_the_folders_are_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    user, folders = tmp_path / "user.conf", tmp_path / "folders.conf"
    user.write_text((ROOT / "systemd/darkroomd.sysusers").read_text())
    folders.write_text((ROOT / "systemd/darkroomd.tmpfiles").read_text())
    made = tool("systemd-sysusers", f"--root={tmp_path}", user)
    assert made.returncode == 0, made.stderr
    passwd = (tmp_path / "etc/passwd").read_text()
    (line,) = [line for line in passwd.splitlines() if line.startswith("darkroomd:")]
    assert line.endswith(":/var/lib/darkroomd:/usr/sbin/nologin")
    made = tool("systemd-tmpfiles", "--create", f"--root={tmp_path}", folders)
    assert made.returncode == 0, made.stderr
    inbox, enhanced = tmp_path / "srv/photos/inbox", tmp_path / "srv/photos/enhanced"
    number = int(line.split(":")[2])
    assert [(f.stat().st_uid, oct(f.stat().st_mode & 0o7777)) for f in (inbox, enhanced)] == [
        (0, "0o2775"),
        (number, "0o2750"),
    ]
