"""Manners at a terminal and in a shell: completion, man pages, settings that say where they come from."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from darkroomd import config, shape
from darkroomd.config import Moved
from tests import pictures
from tests.command import typed

ROOT = Path(__file__).parent.parent


@pytest.fixture
def written(at_home: Path) -> Path:
    path = at_home / "config/darkroomd/config.yaml"
    (path.parent / "conf.d").mkdir(parents=True)
    (at_home / "in").mkdir()
    path.write_text(
        f"folders:\n  - watch: {at_home}/in\n    output: {at_home}/out\n    rules:\n"
        '      - {name: "*_raw*", skip: true}\n      - {name: "NO*", strength: 0.3}\n'
        "output: {quality: 80, name: '{stem}-yes{ext}'}\nmodes: {gentle: {based_on: general, strength: 0.4}}\n"
    )
    (path.parent / "conf.d/small.yaml").write_text("output:\n  quality: 70\n")
    return path


# config show


def test_what_is_shown_is_a_config_that_means_the_same(
    written: Path, at_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOMD_LIMITS__MAX_FILE_MB", "7")
    shown = typed("config", "show")
    assert (shown.exit_code, shown.stderr) == (0, "")
    before = config.load(written)
    monkeypatch.delenv("DARKROOMD_LIMITS__MAX_FILE_MB")
    again = at_home / "again/config.yaml"
    again.parent.mkdir()
    again.write_text(shown.stdout)
    after = config.load(again)
    for part in ("folders", "modes", "output", "service", "limits"):
        assert getattr(after, part) == getattr(before, part), part
    assert before.limits.max_file_mb == 7


def test_each_setting_says_where_it_was_written(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOMD_SERVICE__WORKERS", "2")
    lines = dict(
        line.split("  # ") for line in typed("config", "show", "--origin").stdout.splitlines() if "  # " in line
    )
    told = {name.strip(): where for name, where in lines.items()}
    assert told["quality: 70"] == f"{written.parent}/conf.d/small.yaml:2:12"
    assert told['name: "{stem}-yes{ext}"'].startswith(f"{written}:7:")
    assert told["workers: 2"] == "environment DARKROOMD_SERVICE__WORKERS"
    assert told["format: keep"] == "default"


def test_without_a_config_the_defaults_are_shown(at_home: Path) -> None:
    shown = yaml.safe_load(typed("config", "show").stdout)
    assert shown.keys() == {"output", "service", "limits"}
    assert shown["output"]["quality"] == 96


def test_a_config_with_faults_is_not_shown(written: Path) -> None:
    written.write_text("folders: 7\n")
    answer = typed("config", "show")
    assert (answer.exit_code, answer.stdout) == (78, "")
    assert typed("config", "show", "--config", written.parent / "none.yaml").exit_code == 78


# Keys with new names


def test_an_old_name_works_for_a_release_and_says_what_to_write(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "MOVED", (Moved(("output", "jpeg_quality"), ("output", "quality"), "0.3"),))
    (written.parent / "conf.d/small.yaml").write_text("output: {jpeg_quality: 60}\n")
    loaded = config.load(written)
    assert loaded.output.quality == 60
    answer = typed("check", "--config-only")
    assert answer.exit_code == 0
    assert answer.stderr.splitlines() == [
        f"{written.parent}/conf.d/small.yaml:1:10: output.jpeg_quality: "
        "is now called output.quality; the old name works until darkroomd 0.3"
    ]
    doctor = [line for line in typed("doctor").stdout.splitlines() if line.startswith("BAD ")]
    assert any("is now called output.quality" in line for line in doctor)


def test_a_key_may_move_to_another_section(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "MOVED", (Moved(("output", "max_size_mb"), ("limits", "max_file_mb"), "0.3"),))
    (written.parent / "conf.d/small.yaml").write_text("output: {max_size_mb: 5}\n")
    assert config.load(written).limits.max_file_mb == 5


def test_old_and_new_together_is_a_fault(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "MOVED", (Moved(("output", "jpeg_quality"), ("output", "quality"), "0.3"),))
    (written.parent / "conf.d/small.yaml").write_text("output: {jpeg_quality: 60, quality: 70}\n")
    answer = typed("check")
    assert answer.exit_code == 78
    assert "is the old name of output.quality, which is there too: keep output.quality" in answer.stderr


# The schema for editors


def test_the_schema_says_what_the_messages_say() -> None:
    service = shape.schema()["$defs"]["Service"]["properties"]
    assert service["workers"]["description"] == "auto or a whole number from 1 to 256"
    assert {"const": "auto"} in service["workers"]["anyOf"]
    assert service["redo"] == {"description": "ask or on-change", "enum": ["ask", "on-change"], "type": "string"}
    assert shape.schema()["additionalProperties"] is False
    with pytest.raises(ValidationError):
        shape.Service(workers="many")  # type: ignore[arg-type]


# check


def test_check_says_what_around_a_good_config_is_wrong(written: Path, at_home: Path) -> None:
    assert typed("check").exit_code == 0
    (at_home / "in").rmdir()
    answer = typed("check")
    assert answer.exit_code == 1
    assert answer.stdout.startswith(f"{written}: good; 1 watched folder")
    assert answer.stderr == f"watches: {at_home}/in: not there (a disk that is not mounted?)\n"
    assert typed("check", "--config-only").exit_code == 0
    (at_home / "in").touch()
    assert typed("check").exit_code == 78  # which is a fault of the config


def test_check_is_as_loud_as_it_is_told_to_be(written: Path) -> None:
    assert typed("check", "-q").output == ""
    assert len(typed("check").output.splitlines()) == 1
    assert len(typed("check", "-v").stdout.splitlines()) > 3
    written.write_text("folders: 7\n")
    assert typed("check", "-q").stderr != ""


def test_enhance_is_as_loud_as_it_is_told_to_be(at_home: Path) -> None:
    pictures.write_jpeg(at_home / "a.jpg", pictures.with_noise(pictures.scene(48, 32), 14))
    (at_home / "b.jpg").write_text("no photo")
    ways = {
        way: typed("enhance", "a.jpg", "b.jpg", "-o", "out/", *way.split()).stdout for way in ("-q", "-v", "-q --json")
    }
    assert ways["-q"].splitlines() == [line for line in ways["-v"].splitlines() if line.startswith("b.jpg")]
    assert {line.split()[0] for line in ways["-v"].splitlines() if line.startswith("  ")} >= {
        "found",
        "checked",
        "took",
    }
    assert [json.loads(line)["status"] for line in ways["-q --json"].splitlines()] == ["refused"]


def test_too_many_folders_for_inotify_are_told_with_the_number_to_set(
    written: Path, at_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (at_home / "limit").write_text("3\n")
    monkeypatch.setattr("darkroomd.doctor.INOTIFY_WATCHES", at_home / "limit")
    for name in ("a", "b", ".hidden/c"):
        (at_home / "in" / name).mkdir(parents=True)
    answer = typed("check")
    assert answer.exit_code == 1
    assert "inotify watches: 3 folders of 3" in answer.stderr
    assert "sysctl fs.inotify.max_user_watches=524288" in answer.stderr


# Completion and man pages


def completion(shell: str, folder: Path) -> Path:
    script = folder / f"darkroomd.{shell}"
    script.write_text(typed("completion", shell).stdout)
    return script


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_understands_its_completion(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not on this machine")
    checked = subprocess.run([shell, "-n", completion(shell, tmp_path)], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_bash_completes_a_command(tmp_path: Path) -> None:
    program = tmp_path / "bin/darkroomd"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom darkroomd.cli import main\nmain(prog_name='darkroomd')\n")
    program.chmod(0o755)
    ask = (
        f"source {completion('bash', tmp_path)}; COMP_WORDS=(darkroomd inst); COMP_CWORD=1; "
        "_darkroomd_completion darkroomd; echo ${COMPREPLY[@]}"
    )
    environ = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "daemon")}
    told = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, env=environ, check=True)
    assert told.stdout.split() == ["install-service"]


def test_every_command_has_a_man_page_that_man_can_read(tmp_path: Path) -> None:
    assert typed("man", "--into", tmp_path / "man1").exit_code == 0
    pages = {page.name for page in (tmp_path / "man1").glob("*.1")}
    assert {"darkroomd.1", "darkroomd-run.1", "darkroomd-config-show.1", "darkroomd-install-service.1"} <= pages
    assert typed("man", "config", "show").stdout == (tmp_path / "man1/darkroomd-config-show.1").read_text()
    assert typed("man", "sharpen").exit_code == 2
    assert typed("man", "--into", "/proc/none").exit_code == 73
    if shutil.which("man") is None:
        pytest.skip("man is not on this machine")
    told = subprocess.run(
        ["man", "--warnings", "--local-file", tmp_path / "man1/darkroomd-check.1"],
        capture_output=True, text=True, env=os.environ | {"MANPAGER": "cat", "MANWIDTH": "80"}, check=True,
    )  # fmt: skip
    assert "--config-only" in told.stdout
    assert told.stderr == ""
