"""The commands as they are typed: exit codes, what goes to stdout and to stderr, what is left in the folders."""

import io
import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from darkroomd import cli, device
from darkroomd.job import Verdict
from darkroomd.record import Ledger
from tests import networks, pictures
from tests.command import argv, environment, snapshot, typed, until

COMMANDS = [
    "run",
    "once",
    "enhance",
    "explain",
    "check",
    "status",
    "retry",
    "models",
    "man",
    "doctor",
    "install-service",
    "uninstall-service",
    "config",
    "completion",
]

VERDICT = [
    "source", "output", "status", "mode", "reason", "found", "steps", "limits", "guards", "width", "height",
    "seconds", "peak_rss_mb", "device", "open_seconds",
]  # fmt: skip
EXPLANATION = [
    "source", "target", "mode", "rule", "refused", "found", "steps", "limits", "width", "height",
    "seconds", "memory_mb", "suggestion",
]  # fmt: skip
FOUND = [
    "megapixels", "noise_sigma", "blur_sigma", "blockiness", "jpeg_quality", "clipped_percent",
    "visible_quality", "motion", "grain", "brightness", "content",
]  # fmt: skip
STEP = ["model", "digest", "region", "strength", "reason"]
GUARD = ["name", "value", "limit", "passed"]

NOISY = pictures.with_noise(pictures.scene(96, 72), 12)


@pytest.fixture
def photo(at_home: Path) -> Path:
    return pictures.write_png(at_home / "cat.png", NOISY)


@pytest.fixture
def config(at_home: Path) -> Path:
    """The user's config file, inbox to enhanced with mode general."""
    path = at_home / "config/darkroomd/config.yaml"
    path.parent.mkdir(parents=True)
    (at_home / "inbox").mkdir()
    path.write_text(
        f"folders: [{{watch: {at_home}/inbox, output: {at_home}/enhanced, mode: general}}]\n"
        "service: {settle_seconds: 0.05}\n"
    )
    return path


def objects(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


# Help


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS), ["models", "list"], ["models", "verify"]])
def test_every_command_explains_itself(at_home: Path, words: list[str]) -> None:
    for option in ("--help", "-h"):
        answer = typed(*words, option)
        assert answer.exit_code == 0
        assert answer.stdout.startswith(f"Usage: {' '.join(['darkroomd', *words])}")
        assert answer.stderr == ""


def test_the_list_of_commands_is_the_one_in_the_help(at_home: Path) -> None:
    listed = typed("--help").stdout.partition("Commands:")[2].splitlines()
    assert sorted(line.split()[0] for line in listed if re.match("  [a-z]", line)) == sorted(COMMANDS)


def test_the_version_is_told(at_home: Path) -> None:
    assert re.fullmatch(r"darkroomd, version \d+\.\d+.*\n", typed("--version").stdout)


def test_help_and_version_load_neither_numpy_nor_libvips_nor_the_runtime(at_home: Path) -> None:
    script = (
        "import sys\nfrom darkroomd.cli import main\n"
        "for words in (['--help'], ['enhance', '--help'], ['--version']):\n"
        "    main(words, standalone_mode=False)\n"
        "print(sorted({'numpy', 'pyvips', 'onnxruntime', 'pydantic', 'watchdog'} & set(sys.modules)), file=sys.stderr)"
    )
    words = [argv()[0], "-c", script]
    answer = subprocess.run(words, env=environment(at_home), capture_output=True, text=True, check=True)
    assert answer.stderr == "[]\n"


@pytest.mark.parametrize(
    "words",
    [["develop"], ["enhance"], ["explain"], ["retry"], ["retry", "--all", "cat.png"], ["enhance", "not-there.png"]],
)
def test_wrong_usage_ends_with_2_and_says_so_on_stderr(at_home: Path, words: list[str]) -> None:
    answer = typed(*words)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "Usage:" in answer.stderr
    assert "Error:" in answer.stderr


# enhance


def test_enhance_puts_a_better_copy_beside_the_photo_and_leaves_the_photo(photo: Path) -> None:
    before = snapshot(photo.parent)
    answer = typed("enhance", photo)
    assert (answer.exit_code, answer.stderr) == (0, "")
    after = snapshot(photo.parent)
    assert after.keys() - before.keys() == {"cat-enhanced.png"}
    assert after["cat.png"] == before["cat.png"]
    clean = pictures.scene(96, 72)
    assert pictures.psnr(pictures.read(photo.with_name("cat-enhanced.png")), clean) > pictures.psnr(NOISY, clean) + 2
    assert re.fullmatch(
        r"cat\.png -> cat-enhanced\.png  0\.01 megapixels, noise [\d.]+; "
        r"general at 1 for noise \(sigma [\d.]+\); [\d.]+ s\n",
        answer.stdout,
    )


def test_enhance_json_is_one_object_a_line_with_the_fields_of_the_contract(photo: Path) -> None:
    other = pictures.write_jpeg(photo.with_name("dog.jpg"), NOISY, 60)
    answer = typed("enhance", photo, other, "--json")
    assert answer.exit_code == 0
    first, second = objects(answer.stdout)
    for verdict in (first, second):
        assert list(verdict) == VERDICT
        assert [name for name in verdict["found"] if name not in ("faces", "text")] == FOUND
        assert [list(step) for step in verdict["steps"]] == [STEP]
        assert [list(guard) for guard in verdict["guards"]] == 7 * [GUARD]
        assert list(verdict["seconds"]) == ["read", "decode", "look", "enhance", "guard", "write"]
        assert (verdict["status"], verdict["mode"], verdict["reason"]) == ("done", "auto", None)
        assert (verdict["width"], verdict["height"]) == (96, 72)
        assert verdict["peak_rss_mb"] > 0
    assert first["source"] == str(photo)
    assert first["output"] == str(photo.with_name("cat-enhanced.png"))
    assert second["found"]["jpeg_quality"] == 60


def test_enhance_to_a_file_takes_the_format_of_its_name(photo: Path) -> None:
    for name, start in (("out.jpg", b"\xff\xd8\xff"), ("new/folder/out.png", b"\x89PNG")):
        answer = typed("enhance", photo, "-o", name, "--json")
        assert answer.exit_code == 0
        assert objects(answer.stdout)[0]["output"] == str(photo.parent / name)
        assert (photo.parent / name).read_bytes().startswith(start)


def test_enhance_a_good_photo_to_another_format_converts_it_and_to_the_same_copies_it(at_home: Path) -> None:
    good = pictures.write_png(at_home / "good.png", pictures.scene(96, 72))
    answer = typed("enhance", good, "-o", "copy.png", "--json")
    assert objects(answer.stdout)[0]["status"] == "unchanged"
    assert (at_home / "copy.png").read_bytes() == good.read_bytes()
    assert typed("enhance", good, "-o", "other.jpg").exit_code == 0
    assert (at_home / "other.jpg").read_bytes().startswith(b"\xff\xd8\xff")


def test_enhance_to_a_folder_keeps_the_name(photo: Path) -> None:
    (photo.parent / "there").mkdir()
    for folder in ("there", "made/"):
        assert typed("enhance", photo, "-o", folder).exit_code == 0
        assert [path.name for path in (photo.parent / folder).iterdir()] == ["cat.png"]


def test_enhance_a_folder_mirrors_it(at_home: Path) -> None:
    for name in ("a.png", "deep/er/b.png"):
        pictures.write_png(at_home / "in" / name, NOISY)
    (at_home / "in/notes.txt").write_text("no photo")
    answer = typed("enhance", "in", "-o", "out", "--json")
    assert answer.exit_code == 0
    assert [Path(one["output"]).relative_to(at_home / "out").as_posix() for one in objects(answer.stdout)] == [
        "a.png", "deep/er/b.png",
    ]  # fmt: skip
    found = sorted(path.relative_to(at_home / "out").as_posix() for path in (at_home / "out").rglob("*.*"))
    assert found == ["a.png", "deep/er/b.png"]


def test_enhance_gives_a_taken_name_a_number(photo: Path) -> None:
    taken = photo.with_name("cat-enhanced.png")
    taken.write_bytes(b"somebody else's")
    answer = typed("enhance", photo, "--json")
    assert objects(answer.stdout)[0]["output"] == str(photo.with_name("cat-enhanced-2.png"))
    assert taken.read_bytes() == b"somebody else's"


def test_enhance_with_an_unknown_mode_names_the_known_ones(photo: Path) -> None:
    answer = typed("enhance", photo, "--mode", "new-photo")
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "there is no mode 'new-photo'; there are: auto, general" in answer.stderr


@pytest.mark.parametrize("mode", ["auto", "general"])
def test_enhance_with_strength_0_leaves_the_photo_as_it_is_and_says_why(photo: Path, mode: str) -> None:
    answer = typed("enhance", photo, "--strength", "0", "-m", mode)
    assert (answer.exit_code, answer.stdout) == (0, "cat.png  unchanged: strength is 0\n")
    assert photo.with_name("cat-enhanced.png").read_bytes() == photo.read_bytes()


def test_enhance_refuses_a_strength_that_is_none(photo: Path) -> None:
    assert typed("enhance", photo, "--strength", "1.5").exit_code == 2


def test_enhance_does_the_good_photos_beside_bad_ones_and_ends_with_1(photo: Path) -> None:
    bad = photo.with_name("bad.jpg")
    bad.write_text("Dear diary")
    answer = typed("enhance", bad, photo, "-o", "out/", "--json")
    assert answer.exit_code == 1
    first, second = objects(answer.stdout)
    assert (first["status"], first["output"]) == ("refused", None)
    assert first["reason"].startswith("not a photo")
    assert list(first) == VERDICT
    assert second["status"] == "done"
    assert [path.name for path in (photo.parent / "out").iterdir()] == ["cat.png"]


def test_enhance_never_follows_a_link(photo: Path) -> None:
    (photo.parent / "link.png").symlink_to(photo)
    answer = typed("enhance", "link.png")
    assert answer.exit_code == 1
    assert answer.stdout.startswith("link.png  failed: cannot read the file")


def test_a_pipe_is_no_photo(at_home: Path) -> None:
    os.mkfifo(at_home / "pipe.png")
    answer = typed("enhance", "pipe.png")
    assert answer.exit_code == 1
    assert answer.stdout.startswith("pipe.png  ")


def test_limits_from_the_environment_hold_for_enhance_and_explain(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOMD_LIMITS__MAX_MEGAPIXELS", "0.005")
    for command in ("enhance", "explain"):
        answer = typed(command, photo)
        assert answer.exit_code == 1
        assert "limits.max_megapixels allows 0.005" in answer.stdout
    monkeypatch.setenv("DARKROOMD_LIMITS__MAX_MEGAPIXELS", "many")
    answer = typed("enhance", photo)
    assert (answer.exit_code, answer.stdout) == (78, "")
    assert "DARKROOMD_LIMITS__MAX_MEGAPIXELS" in answer.stderr


def test_enhance_ends_with_73_where_it_cannot_write(photo: Path) -> None:
    (photo.parent / "file").write_text("not a folder")
    for output in ("file/out.png", "file/", "file/deeper/"):
        answer = typed("enhance", photo, "-o", output)
        assert (answer.exit_code, answer.stdout) == (73, "")
        assert "file" in answer.stderr
    assert (photo.parent / "file").read_text() == "not a folder"


def test_enhance_ends_with_69_when_its_network_is_not_the_one_on_the_card(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = networks.shipped(photo.parent / "models", monkeypatch, general=networks.identity())
    (folder / "general.onnx").write_bytes(b"something else")
    device.network.cache_clear()
    answer = typed("enhance", photo, "--mode", "general")
    device.network.cache_clear()
    assert (answer.exit_code, answer.stdout) == (69, "")
    assert "general.onnx is not the file on its card" in answer.stderr
    assert not list(photo.parent.glob(".darkroomd*"))


def test_nothing_is_coloured_when_nobody_looks(photo: Path) -> None:
    environ = environment(photo.parent) | {"FORCE_COLOR": "1", "TERM": "xterm-256color"}
    words = argv("enhance", photo, "-o", "out.png")
    answer = subprocess.run(words, env=environ, capture_output=True, check=True)
    assert answer.stdout.startswith(b"cat.png -> ")
    assert answer.stderr == b""
    assert b"\x1b" not in answer.stdout


def test_on_a_terminal_a_bar_counts_the_photos(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with cli._bar(3) as advance:
        advance()


def test_nothing_is_left_in_the_home_folder_but_the_copy(photo: Path) -> None:
    """The network runtime would leave a device id and events for its maker in ~/.cache."""
    subprocess.run(argv("enhance", photo), env=environment(photo.parent), capture_output=True, check=True)
    assert snapshot(photo.parent).keys() == {"cat.png", "cat-enhanced.png"}


# explain


def test_explain_touches_nothing_and_names_the_rule(at_home: Path, config: Path) -> None:
    config.write_text(
        f"folders:\n - watch: {at_home}/inbox\n   output: {at_home}/enhanced\n   mode: auto\n   rules:\n"
        "    - {name: 'scan_*', mode: general, strength: 0.5}\n    - {name: '*_raw*', skip: true}\n"
    )
    for name in ("inbox/cat.png", "inbox/deep/scan_1.png", "inbox/dog_raw.png", "elsewhere.png"):
        pictures.write_png(at_home / name, NOISY)
    before = snapshot(at_home)

    answer = typed("explain", "inbox", "elsewhere.png", "--json")

    assert snapshot(at_home) == before
    assert answer.exit_code == 1  # one of them would be skipped
    facts = {Path(one["source"]).name: one for one in objects(answer.stdout)}
    assert all(list(one) == EXPLANATION for one in facts.values())
    assert facts["cat.png"]["rule"] == f"folder {at_home}/inbox"
    assert facts["cat.png"]["target"] == str(at_home / "enhanced/cat.png")
    assert [list(step) for step in facts["cat.png"]["steps"]] == [STEP]
    assert facts["cat.png"]["seconds"] >= 0
    assert facts["cat.png"]["memory_mb"] > 100
    assert facts["scan_1.png"]["rule"] == f"rule 'scan_*' of {at_home}/inbox"
    assert facts["scan_1.png"]["mode"] == "general"
    assert facts["scan_1.png"]["target"] == str(at_home / "enhanced/deep/scan_1.png")
    assert facts["scan_1.png"]["steps"][0]["strength"] == 0.5
    assert facts["dog_raw.png"]["refused"] == "skipped by the rule for *_raw*"
    assert facts["elsewhere.png"]["rule"] == "in no watched folder: mode auto"
    assert facts["elsewhere.png"]["target"] is None


def test_explain_is_one_screen_for_a_person(photo: Path) -> None:
    answer = typed("explain", photo)
    assert (answer.exit_code, answer.stderr) == (0, "")
    lines = answer.stdout.splitlines()
    assert lines[0] == str(photo)
    assert [line.split()[0] for line in lines[1:]] == ["rule", "picture", "found", "would", "forecast"]
    assert "96×72" in answer.stdout
    assert "would do  general at strength 1: noise (sigma" in answer.stdout


def test_explain_ends_with_1_when_a_file_would_be_refused(at_home: Path) -> None:
    (at_home / "bad.jpg").write_text("Dear diary")
    os.mkfifo(at_home / "pipe.jpg")
    answer = typed("explain", "bad.jpg", "pipe.jpg")
    assert answer.exit_code == 1
    assert "refused   not a photo" in answer.stdout
    assert "refused   not a regular file" in answer.stdout


# check


def test_check_tells_every_fault_with_its_place_and_ends_with_78(at_home: Path) -> None:
    faulty = at_home / "faulty.yaml"
    faulty.write_text(
        "folders:\n  - {watch: a, output: a/b, mode: generl}\nservice: {settle_seconds: soon, colour: blue}\n"
    )
    answer = typed("check", "--config", faulty)
    assert (answer.exit_code, answer.stdout) == (78, "")
    faults = answer.stderr.splitlines()
    assert len(faults) == 4
    assert all(re.match(rf"{re.escape(str(faulty))}:\d+:\d+: [\w.\[\]]+: .+", fault) for fault in faults)
    assert [
        word for word in ("lies inside", "did you mean general", "settle_seconds", "colour") if word in answer.stderr
    ]
    for command in ("run", "once", "explain", "status"):
        words = [command, str(faulty)] if command == "explain" else [command]
        assert (typed(*words, "--config", faulty).exit_code, command) == (78, command)


def test_check_of_a_good_config_says_so(at_home: Path, config: Path) -> None:
    config.write_text(config.read_text().replace("service: {", "service: {device: cpu, "))
    answer = typed("check")
    assert (answer.exit_code, answer.stdout, answer.stderr) == (
        0,
        f"{config}: good; 1 watched folder, device cpu\n",
        "",
    )


def test_check_of_a_config_that_is_not_there_is_a_fault(at_home: Path) -> None:
    answer = typed("check", "--config", "nowhere.yaml")
    assert (answer.exit_code, answer.stdout) == (78, "")
    assert "nowhere.yaml:1:1: file:" in answer.stderr


# once, run


def test_once_ends_with_0_when_all_is_well_and_does_nothing_twice(at_home: Path, config: Path) -> None:
    pictures.write_png(at_home / "inbox/cat.png", NOISY)
    answer = typed("once")
    assert answer.exit_code == 0
    assert answer.stdout.startswith("cat.png -> enhanced/cat.png  ")
    before = snapshot(at_home / "enhanced")
    again = typed("once")
    assert (again.exit_code, again.stdout) == (0, "")
    assert snapshot(at_home / "enhanced") == before


def test_once_ends_with_1_when_some_photos_failed(at_home: Path, config: Path) -> None:
    (at_home / "inbox/bad.jpg").write_text("Dear diary")
    answer = typed("once", "-v")
    assert answer.exit_code == 1
    assert answer.stdout.startswith("bad.jpg  refused: not a photo")
    assert all(json.loads(line)["event"] for line in answer.stderr.splitlines())


def test_once_ends_with_75_when_some_photos_must_wait(at_home: Path, config: Path) -> None:
    pictures.write_png(at_home / "inbox/deep/cat.png", NOISY)
    (at_home / "enhanced").mkdir()
    (at_home / "enhanced/deep").symlink_to(at_home)  # inside the output folder no link is followed
    answer = typed("once")
    assert (answer.exit_code, answer.stdout) == (75, "")
    assert "is reached through a link" in answer.stderr
    assert "photo.postponed" in answer.stderr
    assert "retry" in typed("status").stdout


def test_once_is_silent_on_stdout_when_the_journal_has_the_events(
    at_home: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    (at_home / "inbox/bad.jpg").write_text("Dear diary")
    assert typed("once").stdout == ""


def test_nobody_reading_stdout_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BufferedWriter(full), write_through=True))
        cli._say_verdict(Verdict(Path("/cat.png"), "refused", "auto", reason="not a photo"))


def test_a_second_service_is_refused_with_75_and_the_first_ones_number(at_home: Path, config: Path) -> None:
    with Ledger.open(at_home / "state/darkroomd", owner=True, now=0.0):
        for command in ("run", "once"):
            answer = typed(command)
            assert (answer.exit_code, answer.stdout) == (75, "")
            assert f"another darkroomd (process {os.getpid()})" in answer.stderr


def test_run_serves_until_it_is_told_to_stop_and_ends_with_0(
    at_home: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (at_home / "inbox/bad.jpg").write_text("Dear diary")
    said: list[Verdict] = []

    def stop(verdict: Verdict) -> None:
        said.append(verdict)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(cli, "_say_verdict", stop)
    answer = typed("run")
    assert answer.exit_code == 0
    assert [verdict.status for verdict in said] == ["refused"]
    assert "service.stopped" in answer.stderr


# status, retry


def test_status_of_nothing_is_told_in_text_and_json(at_home: Path, config: Path) -> None:
    answer = typed("status")
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert answer.stdout == f"nothing seen yet\n  {at_home}/inbox -> {at_home}/enhanced\n"
    assert list(objects(typed("status", "--json").stdout)[0]) == [
        "counts", "queued", "photos_per_hour", "eta_minutes", "folders", "running", "problems", "limits", "notes",
    ]  # fmt: skip
    assert not (at_home / "state").exists()


def test_status_tells_what_was_done_and_what_was_refused_and_why(at_home: Path, config: Path) -> None:
    pictures.write_png(at_home / "inbox/cat.png", NOISY)
    (at_home / "inbox/bad.jpg").write_text("Dear diary")
    typed("once")
    text = typed("status").stdout
    assert text.splitlines()[0] in ("1 done, 1 refused", "1 refused, 1 done")
    assert "1 photo in the last hour\n" in text
    assert f"refused     {at_home}/inbox/bad.jpg: not a photo" in text
    (facts,) = objects(typed("status", "--json").stdout)
    assert facts["counts"] == {"done": 1, "refused": 1}
    assert facts["folders"] == [{"watch": f"{at_home}/inbox", "output": f"{at_home}/enhanced", "there": True}]
    assert facts["problems"][0]["source"] == f"{at_home}/inbox/bad.jpg"


def test_retry_does_the_named_photos_again_by_whatever_path_they_are_named(at_home: Path, config: Path) -> None:
    pictures.write_png(at_home / "inbox/cat.png", NOISY)
    (at_home / "inbox/deep").mkdir()
    typed("once")
    (at_home / "way").symlink_to(at_home / "inbox")
    for path in (at_home / "inbox/cat.png", "inbox/deep/../cat.png", "way/cat.png", "inbox", "."):
        answer = typed("retry", path)
        assert (answer.exit_code, answer.stderr) == (0, "")
        assert answer.stdout == "1 photo will be done again when the service next looks at their folders\n", path
        assert typed("once").stdout.startswith("cat.png ")
    assert [path.name for path in (at_home / "enhanced").iterdir()] == ["cat.png"]


def test_retry_all_is_for_photos_with_a_problem_only(at_home: Path, config: Path) -> None:
    assert typed("retry", "--all").stdout.startswith("0 photos will")  # without a ledger
    pictures.write_png(at_home / "inbox/cat.png", NOISY)
    for name in ("bad.jpg", "worse.jpg"):
        (at_home / "inbox" / name).write_text("Dear diary")
    typed("once")
    assert typed("retry", "--all").stdout.startswith("2 photos will")
    answer = typed("once")
    assert answer.exit_code == 1
    assert sorted(line.split()[0] for line in answer.stdout.splitlines()) == ["bad.jpg", "worse.jpg"]


def test_retry_beside_a_running_service_is_seen_by_it(at_home: Path, config: Path) -> None:
    bad = at_home / "inbox/bad.jpg"
    bad.write_text("Dear diary")
    words, log = argv("run"), at_home / "said"
    with log.open("wb") as stdout:
        service = subprocess.Popen(words, env=environment(at_home), stdout=stdout, stderr=subprocess.DEVNULL)
    try:
        until(lambda: log.read_text().count("refused") == 1, "it is refused")
        assert typed("retry", bad).stdout.startswith("1 photo will")
        until(lambda: log.read_text().count("refused") == 2, "it is refused again")
        answer = typed("once")
        assert (answer.exit_code, f"process {service.pid})" in answer.stderr) == (75, True)
    finally:
        service.terminate()
        assert service.wait(90) == 0


# models


def test_models_list_tells_every_network_for_people_and_scripts(at_home: Path) -> None:
    text = typed("models").stdout
    assert text == typed("models", "list").stdout
    assert re.match(r"general  [0-9a-f]{12}  [\d.]+ M parameters, \d+ GFLOP per megapixel, Apache-2\.0\n    \w", text)
    (card,) = (one for one in objects(typed("models", "list", "--json").stdout) if one["name"] == "general")
    assert card["sha256"].startswith(text.split()[1])


def test_models_verify_compares_the_files_with_their_cards(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = typed("models", "verify")
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert "general: general.onnx is the file on its card" in answer.stdout

    networks.shipped(at_home / "models", monkeypatch, good=networks.identity(), spoiled=networks.identity())
    with (at_home / "models/spoiled.onnx").open("ab") as file:
        file.write(b"\0")
    answer = typed("models", "verify")
    assert answer.exit_code == 69
    assert answer.stdout.startswith("good: good.onnx is the file on its card")
    assert "network spoiled:" in answer.stderr


# devices


def test_a_device_that_is_not_there_ends_every_command_with_69_before_anything_is_done(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(photo.parent)
    answer = typed("enhance", photo, "--device", "cuda:1")
    assert (answer.exit_code, answer.stdout) == (69, "")
    assert "device cuda:1 needs ONNX Runtime for NVIDIA cards" in answer.stderr
    assert snapshot(photo.parent) == before
    config = photo.parent / "config.yaml"
    config.write_text("folders: [{watch: in, output: out}]\nservice: {device: tensorrt}\n")
    for command in ("run", "once", "check"):
        answer = typed(command, "--config", config)
        assert (answer.exit_code, answer.stdout) == (69, ""), command
        assert "device tensorrt needs" in answer.stderr


def test_what_computed_is_in_the_verdict_and_a_word_that_is_no_device_is_wrong_usage(photo: Path) -> None:
    (verdict,) = objects(typed("enhance", photo, "--mode", "general", "--device", "cpu", "--json").stdout)
    assert verdict["device"] == "cpu"
    answer = typed("enhance", photo, "--device", "gpu")
    assert answer.exit_code == 2
    assert "wants auto, cpu, cuda" in answer.stderr


def test_a_scale_alone_means_the_mode_that_enlarges(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks.shipped(
        at_home / "models", monkeypatch,
        modes="auto: {network: same}\nupscale: {scale: 2, network: twice}\n",
        same=networks.identity(), twice=(networks.enlarge(2), {"scale": 2}),
    )  # fmt: skip
    pictures.write_png(at_home / "a.png", pictures.scene(40, 30))
    answer = typed("enhance", at_home / "a.png", "--scale", "1.5", "--json")
    assert answer.exit_code == 0
    (told,) = objects(answer.stdout)
    assert (told["mode"], told["status"], told["width"], told["height"]) == ("upscale", "done", 60, 45)
    assert told["steps"][0]["size"] == [60, 45]
    refused = typed("enhance", at_home / "a.png", "--mode", "auto", "--scale", "2")
    assert refused.exit_code == 2
    assert "mode auto does not enlarge; modes that do: upscale" in refused.stderr


def test_light_alone_means_the_mode_for_pages(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks.shipped(
        at_home / "models", monkeypatch,
        modes="auto: {network: same}\ntext: {light: keep, network: same}\n", same=networks.identity(),
    )  # fmt: skip
    pictures.write_png(at_home / "a.png", pictures.scene(40, 30))
    answer = typed("enhance", at_home / "a.png", "--light", "even", "--json")
    assert answer.exit_code == 0
    assert objects(answer.stdout)[0]["mode"] == "text"
    refused = typed("enhance", at_home / "a.png", "--mode", "auto", "--light", "even")
    assert refused.exit_code == 2
    assert "mode auto does not even the light; modes that do: text" in refused.stderr


def test_a_disk_that_fails_under_us_is_told_and_no_traceback(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_args: object) -> None:
        raise OSError(5, "Input/output error", "modes.yaml")

    monkeypatch.setattr("darkroomd.config.load", failing)
    answer = typed("check")
    assert answer.exit_code == 69
    assert "cannot work here now: [Errno 5] Input/output error: 'modes.yaml'" in answer.stderr
