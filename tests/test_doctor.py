"""One page about a machine: good surroundings are good, and each thing that is wrong is found and named."""

import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from darkroomd import device, doctor, openvino, picture
from darkroomd.doctor import Fact, examined
from tests import networks
from tests.command import typed


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    (tmp_path / "in").mkdir()
    path.write_text("folders: [{watch: in, output: out}]\n")
    return path


def facts(config: Path) -> dict[str, Fact]:
    return {fact.name: fact for fact in examined(config, config.parent / "state")}


def bad(config: Path) -> list[str]:
    return [f"{fact.name}: {fact.value}" for fact in examined(config, config.parent / "state") if not fact.good]


def test_good_surroundings_are_good(config: Path) -> None:
    assert bad(config) == []
    found = facts(config)
    assert found["darkroomd"].value.count(".") >= 2
    assert {"python", "libvips", "pyvips", "onnxruntime", "network general", "device", "cores"} <= found.keys()
    assert found["config"].value == str(config)
    assert found["watches"].value == str(config.parent / "in")
    assert "MB free" in found["writes to"].value
    assert not (config.parent / "out").exists()  # looking changes nothing
    assert not (config.parent / "state").exists()


@pytest.mark.parametrize("unreadable", [None, OSError(13, "Permission denied")])
def test_a_package_whose_version_cannot_be_read_is_told(
    config: Path, monkeypatch: pytest.MonkeyPatch, unreadable: Exception | None
) -> None:
    def version(_name: str) -> None:
        if unreadable is not None:
            raise unreadable

    monkeypatch.setattr("darkroomd.doctor.version", version)
    assert bad(config)[0].startswith("darkroomd: its version cannot be read (core ")


def test_the_page_as_it_is_printed(at_home: Path, config: Path) -> None:
    answer = typed("doctor", "--config", config)
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert all(line.startswith("ok   ") for line in answer.stdout.splitlines())
    config.write_text("folders: [{watch: in, output: in/out, mood: happy}]\n")
    answer = typed("doctor", "--config", config)
    assert answer.exit_code == 1
    assert [line.split(":")[3].strip() for line in answer.stdout.splitlines() if line.startswith("BAD ")] == [
        "folders[0].output", "folders[0].mood",
    ]  # fmt: skip


def test_no_config_is_no_fault(tmp_path: Path) -> None:
    found = facts(tmp_path / "nowhere.yaml")
    assert found["config"].good
    assert found["config"].value.startswith("none at")


def test_a_watched_folder_that_is_not_there_is_bad(config: Path) -> None:
    (config.parent / "in").rmdir()
    assert bad(config) == [f"watches: {config.parent}/in: not there (a disk that is not mounted?)"]


def test_a_place_that_cannot_be_written_is_bad(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode & os.W_OK == 0 and may(path, mode))
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert bad(config) == [
        f"writes to: {config.parent}/out: not writable for {me}",
        f"state: {config.parent}/state: not writable for {me}",
    ]


def test_little_room_is_bad(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LITTLE_SPACE_MB", 1 << 60)
    assert [line.split(":")[0] for line in bad(config)] == ["writes to", "state"]


def test_a_share_that_does_not_tell_its_room_is_not_bad(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Samba's does through smbnetfs."""
    monkeypatch.setattr("darkroomd.doctor.shutil.disk_usage", lambda _path: SimpleNamespace(total=0, free=0))
    assert bad(config) == []


def test_a_ledger_on_a_share_is_bad_and_in_an_encrypted_home_it_is_not(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind, told in (("nfs4", ["state: {}/state is a share (nfs4): the ledger needs a disk of this machine"]),
                       ("fuse.gocryptfs", [])):  # fmt: skip
        monkeypatch.setattr(doctor, "far_file_system", lambda path, kind=kind: kind if path.name == "state" else None)
        assert bad(config) == [line.format(config.parent) for line in told]


def test_networks_that_are_missing_or_spoiled_are_bad(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = networks.shipped(tmp_path / "models", monkeypatch, one=networks.identity())
    assert bad(config) == []
    (folder / "one.onnx").write_bytes(b"spoiled")
    assert any("one.onnx is not the file on its card" in line for line in bad(config))
    (folder / "one.onnx").unlink()
    assert any("reinstall darkroomd" in line for line in bad(config))
    (folder / "cards.yaml").unlink()
    assert any("cards.yaml" in line for line in bad(config))


@pytest.mark.parametrize(
    ("installed", "words"),
    [
        ({"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.31.1"}, "overwrite each other's files: uninstall both"),
        ({}, 'not installed; install it with: pip install "darkroomd[cpu]"'),
    ],
)
def test_two_runtimes_or_none_are_bad(
    config: Path, monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], words: str
) -> None:
    monkeypatch.setattr(device, "runtime_versions", lambda: installed)
    *wheels, line = bad(config)
    assert wheels == [f"{name}: {number}" for name, number in installed.items()]
    assert line.startswith("device: ")
    assert words in line


def test_the_configured_device_is_opened_and_one_that_is_not_there_is_bad(config: Path) -> None:
    folders = config.read_text()
    config.write_text(f"{folders}service: {{device: cpu}}\n")
    assert facts(config)["device"].value.split(" ")[0] == "cpu"
    config.write_text(f"{folders}service: {{device: cuda}}\n")
    (line,) = bad(config)
    assert line.startswith("device: device cuda needs ONNX Runtime for NVIDIA cards")


def test_an_automatic_device_says_why_it_is_not_a_better_one(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "candidates", lambda asked, worker: (device.Device("cuda"), device.CPU))
    assert facts(config)["device"].value.startswith("cpu (device cuda:0: ")


@pytest.mark.parametrize(
    ("installed", "bfloat16", "told"),
    [
        (False, True, 'cpu (half the time with bfloat16, which this processor has: pip install "darkroomd[openvino]")'),
        (False, False, "cpu"),
        (True, False, "cpu"),
    ],
)
def test_it_says_where_another_package_would_halve_the_time(
    config: Path, monkeypatch: pytest.MonkeyPatch, installed: bool, bfloat16: bool, told: str
) -> None:
    for where in (openvino, device):
        monkeypatch.setattr(where, "installed", lambda: installed)
        monkeypatch.setattr(where, "bfloat16", lambda: bfloat16)
        monkeypatch.setattr(where, "graphics", lambda: False)
    assert facts(config)["device"].value == told


def test_a_libvips_without_a_format_is_bad(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(picture.formats().values())
    monkeypatch.setattr(picture, "formats", lambda: {"jpeg": True, "avif": False})
    assert bad(config) == ["format avif: missing in this libvips"]


def test_a_machine_without_inotify_has_no_line_about_it(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "inotify watches" in facts(config)
    monkeypatch.setattr(doctor, "INOTIFY_WATCHES", tmp_path / "nowhere")
    assert "inotify watches" not in facts(config)
