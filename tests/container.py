"""A whole system of its own: systemd as process 1 in a container, on a throw-away layer over the running machine.

What is written in it lies in memory and is gone afterwards; the machine below is only read.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from types import TracebackType

import pytest

ROOT = Path(__file__).parent.parent
BOOT_SECONDS = 240.0
# what a machine may have enabled and no test needs
QUIET = ("apt-daily.timer", "apt-daily-upgrade.timer", "man-db.timer", "dpkg-db-backup.timer", "systemd-udevd.service")


class Container:
    """`with Container(folder) as machine: machine.run("systemctl", …)`. Skips the test, with the reason, where it
    cannot be."""

    def __init__(self, folder: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root may start a container")
        for tool, package in (("systemd-nspawn", "systemd-container"), ("nsenter", "util-linux")):
            if shutil.which(tool) is None:
                pytest.skip(f"{tool} is not on this machine: apt-get install {package}")
        self.layers = folder / "layers"
        self.root = self.layers / "root"

    def __enter__(self) -> "Container":
        self.layers.mkdir()
        self._mounted("-t", "tmpfs", "-o", "mode=755", "tmpfs", self.layers)
        for name in ("written", "work", "root"):
            (self.layers / name).mkdir(mode=0o755)
        try:
            layers = f"lowerdir=/,upperdir={self.layers}/written,workdir={self.layers}/work"
            self._mounted("-t", "overlay", "-o", layers, "overlay", self.root)
            self._boot()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _mounted(self, *words: str | Path) -> None:
        done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no layer over this machine's root: {done.stderr.strip()}")

    def _boot(self) -> None:
        for unit in QUIET:
            (self.root / "etc/systemd/system" / unit).unlink(missing_ok=True)
            (self.root / "etc/systemd/system" / unit).symlink_to("/dev/null")
        (self.root / "etc/machine-id").write_text("0" * 31 + "1\n")
        shutil.rmtree(self.root / "var/log/journal", ignore_errors=True)
        binds = {ROOT, Path(sys.prefix), Path(sys.base_prefix)}  # which may lie on another disk than /
        command = [
            "systemd-nspawn", "--quiet", f"--directory={self.root}", "--machine=darkroomd-test", "--register=no",
            "--keep-unit", "--private-network", "--link-journal=no", "--console=read-only",
            *(f"--bind-ro={path}" for path in sorted(binds)),
            "--boot", "systemd.unit=basic.target",
        ]  # fmt: skip
        self.console = (self.layers / "console").open("w+")
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.console, stderr=self.console, start_new_session=True
        )
        deadline = time.monotonic() + BOOT_SECONDS
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.console.seek(0)
                told = self.console.read().strip().splitlines()[-3:]
                pytest.skip(f"systemd does not start in a container here: {' / '.join(told)}")
            time.sleep(0.05)

    def _is_up(self) -> bool:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children:
            return False
        self.pid = int(children[0])
        return "active" in self.run("systemctl", "is-active", "basic.target", check=False).stdout.splitlines()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "_process"):
            self._process.kill()  # nothing in there is worth an orderly end
            self._process.wait()
            self.console.close()
        for path in (self.root, self.layers):
            subprocess.run(["umount", "--lazy", path], capture_output=True, check=False)

    def run(self, *words: str | Path, check: bool = True, user: str | None = None) -> subprocess.CompletedProcess[str]:
        """A command in there, as root or as somebody else."""
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        done = subprocess.run(
            ["nsenter", f"--target={self.pid}", "--all", "--root", "--wd", *as_user, *map(str, words)],
            capture_output=True,
            text=True,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(map(str, words))}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def file(self, path: str) -> Path:
        """The same file as seen from outside; mounts made in there are not seen."""
        return self.root / path.lstrip("/")

    def journal(self, unit: str = "darkroomd") -> str:
        return self.run("journalctl", "--no-pager", "--output=cat", "-u", unit).stdout

    def unit(self, name: str, unit: str = "darkroomd") -> str:
        """A property of a unit, as `systemctl show` tells it."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).stdout.strip()


def libraries() -> Path:
    """Where the libraries of the environment under test lie."""
    return Path(sysconfig.get_paths()["platlib"])
