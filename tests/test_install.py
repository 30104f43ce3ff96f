"""install-service in a folder that stands for a machine: what it writes, what it keeps, and that undoing undoes it.
Under a real systemd: tests/test_booted.py."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from darkroomd import config, install, openvino
from darkroomd.errors import CannotWrite, ConfigError, Unavailable
from darkroomd.install import Where, installed, uninstalled, where
from tests.command import snapshot, typed


class Machine:
    """Remembers what systemd's tools were asked to do; sysusers is carried out."""

    def __init__(self, at: Where) -> None:
        self.at = at
        self.asked: list[str] = []

    def run(self, command: Sequence[str]) -> None:
        self.asked.append(" ".join(command))
        if command[0] == "systemd-sysusers":
            (self.at.root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\ndarkroomd:x:990:991::/:/bin/false\n")
            (self.at.root / "etc/group").write_text("root:x:0:\ndarkroomd:x:991:\n")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("HOME", str(tmp_path))
    return Machine(where(False, tmp_path))


def unit(machine: Machine) -> list[str]:
    return machine.at.unit.read_text().splitlines()


def test_a_users_service_runs_this_very_installation(mine: Machine, tmp_path: Path) -> None:
    said = installed(mine.at, program="/opt/one/bin/darkroomd", run=mine.run)
    assert mine.at.unit == tmp_path / ".config/systemd/user/darkroomd.service"
    assert "ExecStart=/opt/one/bin/darkroomd run" in unit(mine)
    assert "ExecReload=/opt/one/bin/darkroomd check --config-only" in unit(mine)
    assert mine.asked == ["systemctl --user daemon-reload"]
    assert said[-1] == "undo: darkroomd uninstall-service --user"
    assert "next: systemctl --user enable --now darkroomd" in said
    (folder,) = config.load(mine.at.config).folders
    assert folder.watch == tmp_path / "Pictures/Inbox"
    assert folder.watch.is_dir()
    assert folder.output.is_dir()


def test_undoing_it_leaves_everything_as_it_was(mine: Machine, tmp_path: Path) -> None:
    (tmp_path / "Pictures").mkdir()
    before = snapshot(tmp_path)
    installed(mine.at, run=mine.run)
    installed(mine.at, start=True, run=mine.run)  # the second time is no other
    assert len(snapshot(tmp_path)) > len(before)
    said = uninstalled(mine.at, run=mine.run)
    assert snapshot(tmp_path).keys() == before.keys()
    assert mine.asked[-2:] == ["systemctl --user disable --now darkroomd.service", "systemctl --user daemon-reload"]
    assert f"removed {mine.at.config}" in said
    assert uninstalled(mine.at, run=mine.run) == [f"there is no {mine.at.unit}: nothing to do"]


def test_what_is_yours_is_kept(mine: Machine, tmp_path: Path) -> None:
    mine.at.config.parent.mkdir(parents=True)
    mine.at.config.write_text("folders: [{watch: ~/in, output: ~/out}]\n")
    said = installed(mine.at, run=mine.run)
    assert f"kept {mine.at.config}, which was there already" in said
    (tmp_path / "in/photo.jpg").write_text("mine")
    said = uninstalled(mine.at, run=mine.run)
    assert mine.at.config.exists()
    assert f"kept {tmp_path}/in: it is not empty" in said
    assert not (tmp_path / "out").exists()


def test_a_config_that_you_changed_is_kept(mine: Machine) -> None:
    installed(mine.at, run=mine.run)
    mine.at.config.write_text(mine.at.config.read_text() + "output: {quality: 80}\n")
    assert f"kept {mine.at.config}: you changed it" in uninstalled(mine.at, run=mine.run)
    assert mine.at.config.exists()


def test_somebody_elses_unit_is_never_touched(mine: Machine) -> None:
    mine.at.unit.parent.mkdir(parents=True)
    mine.at.unit.write_text("[Service]\nExecStart=/bin/true\n")
    for act in (installed, uninstalled):
        with pytest.raises(CannotWrite, match="was not written by install-service"):
            act(mine.at, run=mine.run)
    assert mine.at.unit.read_text().startswith("[Service]")


def test_a_fault_in_the_config_is_told_before_a_unit_is_written(mine: Machine) -> None:
    mine.at.config.parent.mkdir(parents=True)
    mine.at.config.write_text("folders: 7\n")
    with pytest.raises(ConfigError):
        installed(mine.at, run=mine.run)
    assert not mine.at.unit.exists()
    assert mine.asked == []


def test_the_config_it_writes_shows_every_default_as_a_comment(mine: Machine) -> None:
    installed(mine.at, watch='~/My "best" photos', output="~/out", run=mine.run)
    text = mine.at.config.read_text()
    loaded = config.load(mine.at.config)
    assert loaded.folders[0].watch.name == 'My "best" photos'
    assert (loaded.output, loaded.service, loaded.limits) == (
        config.defaults({}).output,
        config.defaults({}).service,
        config.defaults({}).limits,
    )
    shown = text.replace("\n#output:", "\noutput:").replace("\n#  quality: 96 ", "\n  quality: 70 ")
    mine.at.config.write_text(shown)
    assert config.load(mine.at.config).output.quality == 70


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give folders to another user")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(where(True, Path("/root"), root=tmp_path))


@needs_root
def test_a_system_service_sees_the_folders_of_the_config_and_no_others(machine: Machine, tmp_path: Path) -> None:
    machine.at.config.parent.mkdir(parents=True)
    machine.at.config.write_text(
        "folders:\n"
        "  - {watch: /srv/in, output: /srv/out}\n"
        "  - {watch: /home/anna/My Photos, output: '/home/anna/100%'}\n"
    )
    installed(machine.at, program="/opt/d/bin/darkroomd", run=machine.run)
    lines = unit(machine)
    assert "ReadWritePaths=/srv/out" in lines
    assert 'BindReadOnlyPaths="/home/anna/My Photos"' in lines
    assert "BindPaths=/home/anna/100%%" in lines
    assert "ProtectHome=tmpfs" in lines
    assert 'RequiresMountsFor="/home/anna/My Photos"' in lines
    assert [line for line in lines if "/srv/photos" in line or "/opt/darkroomd" in line] == []
    inbox, out = tmp_path / "srv/in", tmp_path / "srv/out"
    assert [(one.stat().st_uid, one.stat().st_gid, oct(one.stat().st_mode)) for one in (inbox, out)] == [
        (0, 991, "0o42775"), (990, 991, "0o42750"),
    ]  # fmt: skip


@needs_root
def test_an_output_that_the_service_could_not_write_to_is_told(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "srv/photos/enhanced").mkdir(parents=True)
    said = installed(machine.at, run=machine.run)
    (told,) = [line for line in said if line.startswith("to do: ")]
    assert "chgrp darkroomd /srv/photos/enhanced" in told
    said = uninstalled(machine.at, run=machine.run)
    assert "  rm -r /var/lib/darkroomd && userdel darkroomd" in said
    assert (tmp_path / "srv/photos/enhanced").is_dir()  # it was there before
    assert not (tmp_path / "srv/photos/inbox").exists()


@pytest.mark.parametrize(
    ("device", "there", "lets"),
    [
        ("cpu", "nvidia graphics bfloat16 installed", ""),
        ("auto", "graphics bfloat16", ""),
        ("auto", "installed", ""),
        ("auto", "nvidia bfloat16 installed", "nvidia"),
        ("auto", "graphics bfloat16 installed", "render"),
        ("auto", "bfloat16 installed", "processor"),
        ("cuda:1", "", "nvidia"),
        ("openvino", "graphics installed", "render"),
        ("openvino", "installed", "processor"),
    ],
)
def test_a_unit_lets_the_service_use_what_it_computes_on(
    device: str, there: str, lets: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("graphics", "bfloat16", "installed"):
        monkeypatch.setattr(openvino, name, lambda there=name in there: there)
    nvidia = tmp_path if "nvidia" in there else tmp_path / "nowhere"
    assert (install._kind(device, nvidia) or "") == lets


def test_a_users_unit_keeps_every_wall_that_is_not_in_the_way_of_what_computes(
    mine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = unit_with(mine, monkeypatch, None)
    assert unit_with(mine, monkeypatch, "render") == [*before[:-2], "MemoryDenyWriteExecute=no", "", *before[-2:]]


@needs_root
def test_a_systems_unit_has_the_devices_of_what_computes(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "DeviceAllow=char-drm rw" not in unit_with(machine, monkeypatch, "processor")
    assert {"DeviceAllow=char-drm rw", "MemoryDenyWriteExecute=no"} <= set(unit_with(machine, monkeypatch, "render"))


def unit_with(machine: Machine, monkeypatch: pytest.MonkeyPatch, kind: str | None) -> list[str]:
    monkeypatch.setattr(install, "_kind", lambda device: kind)
    said = installed(machine.at, run=machine.run)
    assert any(install.COMPUTES.get(kind or "", "never") in line for line in said) == (kind is not None)
    return unit(machine)


@needs_root
def test_an_interpreter_in_a_home_is_let_in_by_name(machine: Machine) -> None:
    installed(machine.at, program="/root/.local/bin/darkroomd", run=machine.run)
    assert any(line.startswith("BindReadOnlyPaths=/root/.local/bin") for line in unit(machine))


def test_the_unit_has_room_for_what_the_config_lets_workers_take(mine: Machine) -> None:
    installed(mine.at, run=mine.run)
    assert "MemoryHigh=3G" in unit(mine)
    mine.at.config.write_text(mine.at.config.read_text() + "service: {workers: 3, memory_limit_mb: 2000}\n")
    installed(mine.at, run=mine.run)
    assert {"MemoryHigh=6256M", "MemoryMax=8256M"} <= set(unit(mine))


def test_without_systemd_it_says_so() -> None:
    with pytest.raises(Unavailable, match="needs systemd"):
        install.run(["a-tool-that-is-not-there"])
    with pytest.raises(Unavailable, match="exit code 1"):
        install.run(["false"])


def test_the_commands_as_they_are_typed(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemctl = at_home / "bin/systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {at_home}/asked\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{systemctl.parent}:{os.environ['PATH']}")
    answer = typed("install-service", "--user", "--watch", at_home / "in", "--output", at_home / "out", "--start")
    assert answer.exit_code == 0, answer.stderr
    assert "started the service" in answer.stdout
    assert (at_home / "asked").read_text() == "--user daemon-reload\n--user enable --now darkroomd.service\n"
    answer = typed("uninstall-service", "--user")
    assert answer.exit_code == 0
    assert "photos and their enhanced copies are where they were" in answer.stdout
