"""The service under a real systemd, as a user installs it: from a wheel, with install-service, in a container."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import children, until, workers
from tests.container import Container, libraries
from tests.pictures import jpeg_bytes, scene, with_noise

INBOX, ENHANCED = "/srv/photos/inbox", "/srv/photos/enhanced"
CONFIG = "/etc/darkroomd/config.yaml"
QUICK = "/etc/darkroomd/conf.d/quick.yaml"  # tests have less patience than an upload
PROGRAM = "/opt/darkroomd/bin/darkroomd"


@pytest.fixture(scope="module")
def machine(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with Container(tmp_path_factory.mktemp("machine")) as box:
        box.run(sys._base_executable, "-m", "venv", "--without-pip", "/opt/darkroomd")  # type: ignore[attr-defined]
        packages = box.run("/opt/darkroomd/bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
        box.file(packages.stdout.strip() + "/libraries.pth").write_text(f"{libraries()}\n")
        box.file(f"/opt/{wheel.name}").write_bytes(wheel.read_bytes())
        pip = [sys.executable, "-m", "pip", "--quiet", "--python", "/opt/darkroomd/bin/python"]
        box.run(*pip, "install", "--no-index", "--no-deps", f"/opt/{wheel.name}")
        box.said = box.run(PROGRAM, "install-service", "--system").stdout  # type: ignore[attr-defined]
        # so that a service that hangs is found soon, and a killed one is back at once
        drop_in = box.file("/etc/systemd/system/darkroomd.service.d/test.conf")
        drop_in.parent.mkdir()
        drop_in.write_text("[Unit]\nStartLimitBurst=100\n[Service]\nWatchdogSec=4\nRestartSec=100ms\n")
        box.run("systemctl", "daemon-reload")
        box.file(QUICK).parent.mkdir()
        box.file(QUICK).write_text("service: {settle_seconds: 0.2}\n")
        yield box


@pytest.fixture
def service(machine: Container) -> Iterator[Container]:
    """The service, running, with the config that install-service wrote and no photos from other tests."""
    for folder in (INBOX, ENHANCED):
        machine.run("find", folder, "-mindepth", "1", "-delete")
    before = machine.file(CONFIG).read_text()
    machine.run("systemctl", "start", "darkroomd")
    yield machine
    if machine.file(CONFIG).read_text() != before:
        machine.file(CONFIG).write_text(before)
        machine.run("systemctl", "reset-failed", "darkroomd", check=False)
        machine.run("systemctl", "restart", "darkroomd")


def drop(machine: Container, name: str, seed: int = 0, side: int = 96) -> bytes:
    """A noisy photo, complete at once, as a member of the group would drop it."""
    content = jpeg_bytes(with_noise(scene(side, side, seed), 12, seed))
    machine.file(f"/srv/{name}").write_bytes(content)
    machine.run("mv", f"/srv/{name}", f"{INBOX}/{name}")
    return content


def done(machine: Container, name: str, seconds: float = 30.0) -> None:
    until(lambda: machine.run("test", "-s", f"{ENHANCED}/{name}", check=False).returncode == 0, name, seconds)


def main_pid(machine: Container) -> int:
    """The service's process as it is called outside."""
    found = [pid for pid, line in children(machine.pid) if " run --config " in line]
    assert len(found) == 1, found
    return found[0]


def test_it_says_what_it_made_and_how_to_undo_it(machine: Container) -> None:
    said = machine.said.splitlines()  # type: ignore[attr-defined]
    for made in (CONFIG, INBOX, ENHANCED, "/etc/systemd/system/darkroomd.service", "/etc/sysusers.d/darkroomd.conf"):
        assert {f"made {made}", f"wrote {made}"} & set(said), made
    assert said[-1] == "undo: darkroomd uninstall-service --system"


def test_a_photo_that_is_dropped_comes_out_better_and_the_original_is_as_it_was(service: Container) -> None:
    content = drop(service, "beach.jpg")
    done(service, "beach.jpg")
    owner = service.run("stat", "--format=%U %a", f"{ENHANCED}/beach.jpg").stdout.split()
    assert owner == ["darkroomd", "640"]
    assert service.file(f"{INBOX}/beach.jpg").read_bytes() == content
    assert re.search(r'"event": "photo.done"', service.journal())
    until(lambda: re.search(r"\d+ done; \d+ in the last hour", service.unit("StatusText")), "a status line")
    assert service.unit("ActiveState") == "active"


def test_a_good_config_is_taken_and_a_bad_one_is_told_and_left(service: Container) -> None:
    config = service.file(CONFIG)
    good = config.read_text()
    config.write_text(good + "output: {name: '{stem}-better{ext}'}\n")
    service.run("systemctl", "reload", "darkroomd")
    until(lambda: "config.reloaded" in service.journal(), "the reload")
    drop(service, "one.jpg", seed=1)
    done(service, "one-better.jpg")
    pid = main_pid(service)
    config.write_text(good + "output: {quality: excellent}\n")
    assert service.run("systemctl", "reload", "darkroomd", check=False).returncode != 0
    assert "output.quality: wants a whole number from 1 to 100" in service.journal()
    drop(service, "two.jpg", seed=2)
    done(service, "two-better.jpg")
    assert main_pid(service) == pid


def test_a_config_with_a_fault_does_not_start_and_is_not_tried_again(service: Container) -> None:
    service.run("systemctl", "stop", "darkroomd")
    service.file(CONFIG).write_text("folders: 7\n")
    service.run("systemctl", "start", "darkroomd", check=False)
    until(lambda: service.unit("ActiveState") == "failed", "the end")
    assert service.unit("ExecMainStatus") == "78"
    assert service.unit("NRestarts") == "0"


def test_a_worker_that_is_killed_costs_an_attempt_and_not_the_service(service: Container) -> None:
    drop(service, "first.jpg", seed=3)
    done(service, "first.jpg")
    pid = main_pid(service)
    (worker,) = workers(pid)
    os.kill(worker, 9)
    drop(service, "second.jpg", seed=4)
    done(service, "second.jpg")
    assert main_pid(service) == pid
    assert workers(pid) != [worker]


def test_a_service_that_hangs_is_started_again_by_the_watchdog(service: Container) -> None:
    pid = main_pid(service)
    os.kill(pid, 19)  # SIGSTOP: the loop gives no sign of life any more
    drop(service, "patience.jpg", seed=5)
    done(service, "patience.jpg")
    assert main_pid(service) != pid
    assert "Watchdog timeout" in service.journal()


def test_a_full_disk_is_waited_for_and_leaves_nothing_behind(service: Container) -> None:
    service.run("systemctl", "stop", "darkroomd")
    service.run("mount", "-t", "tmpfs", "-o", "size=64k,uid=darkroomd,gid=darkroomd,mode=2750", "tmpfs", ENHANCED)
    try:
        service.run("systemctl", "start", "darkroomd")
        drop(service, "late.jpg", seed=6)
        until(lambda: "no space is left in" in service.journal(), "the reason in the journal")
        assert service.run("find", ENHANCED, "-mindepth", "1").stdout == ""
        assert service.unit("ActiveState") == "active"
    finally:
        service.run("systemctl", "stop", "darkroomd")
        service.run("umount", ENHANCED)
    service.run("systemctl", "start", "darkroomd")
    service.run(PROGRAM, "retry", "--all")  # root, without a ledger of its own, asks that of the service
    done(service, "late.jpg")
    owners = service.run("find", "/var/lib/darkroomd", "-printf", "%u %f\n").stdout.splitlines()
    assert [line for line in owners if not line.startswith("darkroomd ")] == []


def test_stopping_is_quick_and_puts_the_photo_in_work_back(service: Container) -> None:
    drop(service, "large.jpg", seed=7, side=1500)
    until(lambda: re.search(r"photo.started.*large.jpg|large.jpg.*photo.started", service.journal()), "its begin")
    service.run("systemctl", "stop", "darkroomd")
    assert service.unit("Result") == "success"
    assert service.run("find", ENHANCED, "-mindepth", "1").stdout == ""
    assert "photo.put_back" in service.journal()
    service.run("rm", f"{INBOX}/large.jpg")


def test_figures_are_given_at_a_socket_and_in_private_no_photo_is_named(service: Container) -> None:
    quick = service.file(QUICK)
    before = quick.read_text()
    quick.write_text("service: {settle_seconds: 0.2, metrics: /run/darkroomd/metrics.sock, privacy: true}\n")
    service.run("systemctl", "restart", "darkroomd")
    told_before = len(service.journal())
    drop(service, "secret.jpg", seed=9)
    done(service, "secret.jpg")
    ask = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/darkroomd/metrics.sock')\n"
        "s.sendall(b'GET /%s HTTP/1.0\\r\\n\\r\\n'); print(s.makefile().read())"
    )
    until(lambda: "photo.done" in service.journal()[told_before:], "the event")
    figures = service.run("/opt/darkroomd/bin/python", "-c", ask % "metrics").stdout
    assert re.search(r'darkroomd_verdicts_total{mode="auto",status="done"} 1.0', figures)
    assert re.search(r'darkroomd_resident_bytes{process="workers"} [1-9]', figures)
    assert "200 OK" in service.run("/opt/darkroomd/bin/python", "-c", ask % "readyz").stdout
    assert "secret" not in figures + service.journal()[told_before:]
    quick.write_text(before)
    service.run("systemctl", "restart", "darkroomd")


@pytest.mark.parametrize(
    "change",
    ["rm {photo}", "mv {photo} {photo}2", "touch {photo}", "chmod 777 {photo}", "ln {photo} {photo}2", "touch /etc/x"],
)
def test_the_kernel_keeps_originals_from_the_service_even_if_it_were_root(service: Container, change: str) -> None:
    if not service.file(f"{INBOX}/kept.txt").exists():
        service.file(f"{INBOX}/kept.txt").write_text("no photo")
    words = change.format(photo=f"{INBOX}/kept.txt").split()
    told = service.run(*services_eyes(service), *words, check=False)
    assert "Read-only file system" in told.stderr, told.stdout


def test_the_service_sees_nobodys_home(service: Container) -> None:
    service.file("/home/anna").mkdir(exist_ok=True)
    assert service.run(*services_eyes(service), "ls", "-A", "/home").stdout == ""
    assert service.run(*services_eyes(service), "ip", "-o", "link", check=False).stdout.count(": ") <= 2  # lo alone


def test_a_worker_is_shut_in_further_than_the_service(service: Container) -> None:
    drop(service, "walls.jpg", seed=8)
    done(service, "walls.jpg")
    (worker,) = workers(main_pid(service))
    told = dict(line.split(":\t", 1) for line in Path(f"/proc/{worker}/status").read_text().splitlines())
    ours = dict(line.split(":\t", 1) for line in Path(f"/proc/{main_pid(service)}/status").read_text().splitlines())
    assert (told["NoNewPrivs"], told["CapEff"].strip("0")) == ("1", "")
    assert int(told["Seccomp_filters"]) == int(ours["Seccomp_filters"]) + 1  # systemd's, and the worker's own


def services_eyes(machine: Container) -> list[str]:
    """Root in the mounts and the network of the service: nothing but the kernel is in the way."""
    return ["nsenter", f"--target={machine.unit('MainPID')}", "--mount", "--net"]


def test_the_exposure_of_the_unit_as_it_runs_is_low(service: Container) -> None:
    told = service.run("systemd-analyze", "security", "--no-pager", "--threshold=6", "darkroomd").stdout
    assert "Overall exposure level for darkroomd.service" in told


def test_what_it_made_is_taken_back_and_what_is_yours_stays(machine: Container) -> None:
    machine.run("systemctl", "stop", "darkroomd")
    machine.run("find", ENHANCED, "-mindepth", "1", "-delete")
    machine.run("rm", "-r", "/etc/darkroomd/conf.d")
    machine.file(f"{INBOX}/mine.jpg").write_bytes(b"a photo")
    said = machine.run(PROGRAM, "uninstall-service", "--system").stdout
    for gone in (CONFIG, ENHANCED, "/etc/systemd/system/darkroomd.service", "/etc/darkroomd"):
        assert f"removed {gone}" in said
        assert not machine.file(gone).exists()
    assert f"kept {INBOX}: it is not empty" in said
    assert machine.file(f"{INBOX}/mine.jpg").exists()
    assert machine.run("systemctl", "cat", "darkroomd", check=False).returncode != 0
