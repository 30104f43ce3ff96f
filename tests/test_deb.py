"""The Debian package: built with Debian's tools, installed and taken away again in a booted container."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import until
from tests.container import Container
from tests.pictures import jpeg_bytes, scene, with_noise

ROOT = Path(__file__).parent.parent
INBOX, ENHANCED = "/srv/photos/inbox", "/srv/photos/enhanced"
UNIT = "/lib/systemd/system/darkroomd.service"


@pytest.fixture(scope="module")
def package(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("dh") is None:
        pytest.skip("dh is not on this machine: apt-get install debhelper")
    told = subprocess.run(["/usr/bin/python3", "--version"], capture_output=True, text=True, check=False).stdout
    if f"Python {sys.version_info.major}.{sys.version_info.minor}." not in told:
        pytest.skip(f"the package is for the machine's own Python ({told.strip() or 'none'}), and this is another")
    folder = tmp_path_factory.mktemp("package") / "deb"
    made = subprocess.run(
        ["make", "--old-file=.venv/.ready-dev", "deb", f"DEB={folder}", f"WHEEL={wheel}", "COMPRESSION=none"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-2000:]
    (found,) = folder.glob("darkroomd_*.deb")
    return found


@pytest.fixture(scope="module")
def machine(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A machine on which the package was installed."""
    with Container(tmp_path_factory.mktemp("machine")) as box:
        box.file("/usr/sbin/policy-rc.d").unlink(missing_ok=True)  # by which images of containers forbid services
        shutil.copyfile(package, box.file("/darkroomd.deb"))
        box.run("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--force-unsafe-io", "--install", "/darkroomd.deb")
        yield box


def test_it_is_installed_and_the_service_enhances_a_photo(machine: Container) -> None:
    until(lambda: machine.unit("ActiveState") == "active", "the service")
    assert machine.unit("UnitFileState") == "enabled"
    machine.file("/srv/a.jpg").write_bytes(jpeg_bytes(with_noise(scene(96, 96), 12)))
    machine.run("mv", "/srv/a.jpg", INBOX)
    until(lambda: machine.run("test", "-s", f"{ENHANCED}/a.jpg", check=False).returncode == 0, "the copy", 180)
    assert machine.run("stat", "--format=%U", f"{ENHANCED}/a.jpg").stdout == "darkroomd\n"
    assert machine.run("dpkg", "--verify", "darkroomd").stdout == ""


def test_the_command_its_pages_and_its_completion_are_there(machine: Container) -> None:
    doctor = machine.run("darkroomd", "doctor").stdout
    assert [line for line in doctor.splitlines() if not line.startswith("ok ")] == []
    assert (
        "/usr/lib/darkroomd/packages"
        in machine.run(
            "/usr/bin/python3",
            "-c",
            "import runpy; runpy.run_path('/usr/bin/darkroomd'); import darkroomd as d; print(d.__file__)",
        ).stdout
    )
    for page in ("darkroomd.1.gz", "darkroomd-config-show.1.gz"):
        assert machine.run("test", "-s", f"/usr/share/man/man1/{page}").returncode == 0
    for script in ("bash-completion/completions/darkroomd", "zsh/vendor-completions/_darkroomd"):
        assert machine.run("test", "-s", f"/usr/share/{script}").returncode == 0
    for page in ("operations.md.gz", "changelog.gz"):
        assert machine.run("test", "-s", f"/usr/share/doc/darkroomd/{page}").returncode == 0
    unit = machine.run("cat", UNIT).stdout
    assert re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE) == [
        "/usr/bin/darkroomd run --config /etc/darkroomd/config.yaml"
    ]
    assert machine.run("systemd-analyze", "security", "--threshold=6", "darkroomd").returncode == 0


def steps(heading: str) -> list[str]:
    """The commands under a heading of docs/getting-started.md, without their remarks."""
    page = (ROOT / "docs/getting-started.md").read_text()
    part = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", part, re.DOTALL | re.MULTILINE)
    return [line.partition("   #")[0].strip() for block in blocks for line in block.splitlines()]


def test_following_the_docs_for_a_laptop_gives_a_user_a_service_of_her_own(machine: Container) -> None:
    machine.run("useradd", "--create-home", "anna")
    number = machine.run("id", "-u", "anna").stdout.strip()
    machine.run("systemctl", "start", f"user@{number}.service")
    hers = ["env", "HOME=/home/anna", f"XDG_RUNTIME_DIR=/run/user/{number}"]

    def as_anna(*words: str, check: bool = True) -> str:
        return machine.run(*hers, *words, check=check, user="anna").stdout

    written, *afterwards = steps("On a laptop")
    said = as_anna("sh", "-c", written).splitlines()
    assert "started the service, now and at every start of the machine" in said
    assert as_anna("systemctl", "--user", "is-active", "darkroomd") == "active\n"
    machine.file("/home/anna/a.jpg").write_bytes(jpeg_bytes(with_noise(scene(96, 96), 12)))
    as_anna("cp", "/home/anna/a.jpg", "/home/anna/Pictures/Inbox/")
    until(lambda: as_anna("ls", "/home/anna/Pictures/Enhanced") == "a.jpg\n", "the copy", 180)
    assert as_anna("darkroomd", "status").startswith("1 done")
    assert afterwards == ["darkroomd check", "systemctl --user reload darkroomd"]
    for line in afterwards:
        as_anna("sh", "-c", line)
    (line,) = [line for line in steps("Uninstall") if "uninstall-service --user" in line]
    as_anna("sh", "-c", line)
    assert as_anna("systemctl", "--user", "is-active", "darkroomd", check=False) != "active\n"
    assert as_anna("ls", "-A", "/home/anna/.config", check=False) == ""
    assert as_anna("ls", "/home/anna/Pictures/Enhanced") == "a.jpg\n"


def test_following_the_docs_for_a_server_lets_others_drop_photos_and_ask(machine: Container) -> None:
    lines = steps("On a server")
    assert lines[0] == "apt-get install ./dist/deb/NAME.deb"  # which the fixture has done
    for line in [line for line in lines[1:] if "/opt/" not in line]:
        machine.run("sh", "-c", line)
    machine.file("/home/anna/b.jpg").write_bytes(jpeg_bytes(with_noise(scene(96, 96), 12, 2)))
    machine.run("setpriv", "--reuid=anna", "--regid=anna", "--init-groups", "cp", "/home/anna/b.jpg", INBOX)
    until(lambda: machine.run("test", "-s", f"{ENHANCED}/b.jpg", check=False).returncode == 0, "the copy", 180)
    asked = ["setpriv", "--reuid=anna", "--regid=anna", "--init-groups", "cat", f"{ENHANCED}/b.jpg"]
    assert machine.run("sh", "-c", f"{' '.join(asked)} | wc -c").stdout.strip() != "0"


def test_taken_away_and_purged_it_leaves_photos_and_copies_alone(machine: Container) -> None:
    machine.run("dpkg", "--remove", "darkroomd")
    assert machine.run("systemctl", "is-active", "darkroomd", check=False).stdout.strip() != "active"
    assert machine.run("ls", "/usr/lib/darkroomd", check=False).returncode != 0
    assert machine.run("test", "-s", "/etc/darkroomd/config.yaml").returncode == 0
    machine.run("dpkg", "--purge", "darkroomd")
    for gone in ("/etc/darkroomd", "/var/lib/darkroomd", UNIT, "/usr/bin/darkroomd"):
        assert machine.run("test", "-e", gone, check=False).returncode != 0, gone
    for kept in (f"{INBOX}/a.jpg", f"{ENHANCED}/a.jpg"):
        assert machine.run("test", "-s", kept).returncode == 0
