"""A NAS: a real share of Samba in a network of its own, mounted with a client in user space, watched by the service."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import argv, environment, until
from tests.pictures import jpeg_bytes, scene, with_noise

TOOLS = {"smbd": "samba", "smbnetfs": "smbnetfs", "ip": "iproute2", "unshare": "util-linux"}
SAMBA = """[global]
server role = standalone server
map to guest = Bad User
guest account = root
interfaces = lo
bind interfaces only = yes
disable netbios = yes
load printers = no
private dir = {home}/samba
lock directory = {home}/samba
state directory = {home}/samba
cache directory = {home}/samba
pid directory = {home}/samba
ncalrpc dir = {home}/samba/ncalrpc
log file = {home}/samba/log
[photos]
path = {home}/nas
guest ok = yes
read only = no
force user = root
"""
SCRIPT = """cd {home}
ip link set lo up
smbd --foreground --no-process-group --configfile={home}/smb.conf > samba/said 2>&1 &
until (exec 3<>/dev/tcp/127.0.0.1/445) 2>/dev/null; do sleep 0.1; done
smbnetfs mnt -f -o config={home}/.smb/smbnetfs.conf > mounted 2>&1 &
until [ -d mnt/127.0.0.1/photos/inbox ]; do sleep 0.1; done
exec {darkroomd} > log 2>&1
"""


@pytest.fixture
def nas(tmp_path: Path) -> Iterator[Path]:
    """The folders of the share as the NAS itself sees them, while the service watches them from afar."""
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not on this machine: apt-get install {package}")
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("only root may mount a share here, and needs /dev/fuse")
    for folder in ("samba", "mnt", ".smb", "nas/inbox", "nas/enhanced"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "smb.conf").write_text(SAMBA.format(home=tmp_path))
    for name, text in (("conf", 'include "smbnetfs.auth"\ninclude "smbnetfs.host"\n'),
                       ("host", "host 127.0.0.1 visible=true\n"), ("auth", 'auth "guest" ""\n')):  # fmt: skip
        (tmp_path / f".smb/smbnetfs.{name}").write_text(text)
        (tmp_path / f".smb/smbnetfs.{name}").chmod(0o600)
    share = tmp_path / "mnt/127.0.0.1/photos"
    config = tmp_path / "config.yaml"
    config.write_text(
        f"folders: [{{watch: {share}/inbox, output: {share}/enhanced, mode: general}}]\n"
        "service: {settle_seconds: 0.5}\n"
    )
    script = SCRIPT.format(home=tmp_path, darkroomd=shlex.join(argv("run", "--config", config)))
    apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", script]
    with subprocess.Popen(apart, env=environment(tmp_path), stdin=subprocess.DEVNULL) as service:
        try:
            log = tmp_path / "log"
            until(
                lambda: (log.exists() and "service.started" in log.read_text()) or service.poll() is not None,
                "a start",
                60,
            )
            if service.poll() is not None:
                pytest.skip("a network, or a mount, of our own is not allowed here")
            yield tmp_path / "nas"
        finally:
            service.kill()


def test_what_another_machine_puts_on_a_share_is_found_by_looking_and_its_result_is_there(nas: Path) -> None:
    photo = jpeg_bytes(with_noise(scene(96, 96), 12))
    (nas / "inbox/beach.jpg").write_bytes(photo)
    until(lambda: os.listdir(nas / "enhanced") == ["beach.jpg"], "the result, and nothing else", 120)  # noqa: PTH208
    assert (nas / "inbox/beach.jpg").read_bytes() == photo
    assert "polling (fuse.smbnetfs)" in (nas.parent / "log").read_text()
