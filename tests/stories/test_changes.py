"""What happens to copies when photos, copies or settings change: ours are replaced, nobody else's ever is."""

import os
import shutil
import signal
import socket

import pytest

from tests import pictures
from tests.command import until
from tests.stories.conftest import Home, look, noisy


def test_a_photo_that_changed_is_done_again_and_its_copy_replaced(home: Home) -> None:
    home.start()
    home.photo("cat.png", noisy(1))
    home.until_done("cat.png")
    first = pictures.read(home.enhanced / "cat.png")
    home.photo("cat.png", noisy(2))
    until(
        lambda: pictures.psnr(pictures.read(home.enhanced / "cat.png"), pictures.scene(96, 72, 2)) > 25, "it is redone"
    )
    assert list(home.results()) == ["cat.png"]
    assert pictures.psnr(first, pictures.read(home.enhanced / "cat.png")) < 30


def test_a_copy_that_its_owner_edited_is_never_overwritten(home: Home) -> None:
    home.photo("cat.png", noisy(1))
    assert home.once().returncode == 0
    edited = pictures.write_png(home.enhanced / "cat.png", pictures.scene(30, 20))
    before = look(edited)
    home.photo("cat.png", noisy(2))
    assert home.once().returncode == 0
    assert look(edited) == before
    assert sorted(home.results()) == ["cat-2.png", "cat.png"]
    assert pictures.read(home.enhanced / "cat-2.png").shape == (72, 96, 3)


def test_a_foreign_file_of_that_name_is_kept_and_ours_gets_a_number(home: Home) -> None:
    home.enhanced.mkdir()
    foreign = home.enhanced / "cat.png"
    foreign.write_bytes(b"somebody else's")
    before = look(foreign)
    home.photo("cat.png", noisy())
    assert home.once().returncode == 0
    assert look(foreign) == before
    assert sorted(home.results()) == ["cat-2.png", "cat.png"]


def test_with_existing_conflict_nothing_is_written_and_the_photo_is_reported(home: Home) -> None:
    home.configure(existing="conflict")
    home.enhanced.mkdir()
    (home.enhanced / "cat.png").write_bytes(b"somebody else's")
    home.photo("cat.png", noisy())
    assert home.once().returncode == 1
    assert list(home.results()) == ["cat.png", "failed/cat.png.txt"]
    (problem,) = home.status()["problems"]
    assert problem["state"] == "conflict"
    assert "cat.png is taken by a file that darkroomd did not write" in problem["reason"]


def test_a_deleted_copy_comes_back_when_it_is_asked_for(home: Home) -> None:
    photo = home.photo("cat.png", noisy())
    assert home.once().returncode == 0
    (home.enhanced / "cat.png").unlink()
    assert home.once().returncode == 0
    assert home.results() == {}  # its owner may not have wanted it
    assert home.typed("retry", photo).stdout.startswith("1 photo will")
    assert home.once().returncode == 0
    assert list(home.results()) == ["cat.png"]


def lose_the_ledger(home: Home) -> None:
    shutil.rmtree(home.folder / "state/darkroomd")


@pytest.mark.parametrize("metadata", ["keep", "strip"])
def test_when_the_ledger_is_deleted_every_result_is_found_again(home: Home, metadata: str) -> None:
    home.configure("  - {watch: inbox, output: enhanced, mode: auto}", metadata=metadata)
    home.photo("cat.png", noisy(1))
    home.photo("cat.jpg", noisy(2))
    home.photo("good.png", pictures.scene(96, 72))
    assert home.once().returncode == 0
    edited = home.enhanced / "cat.jpg"
    edited.write_bytes(edited.read_bytes() + b"and a word of its owner's")
    before = {name: look(path) for name, path in home.results().items()}
    lose_the_ledger(home)

    answer = home.once()

    assert answer.returncode == 0, answer.stderr
    assert {name: look(path) for name, path in home.results().items()} == before
    assert home.states() == {"cat.jpg": "done", "cat.png": "done", "good.png": "unchanged"}
    assert answer.stdout.count("found again") == 2
    assert "found again" not in home.once().stdout  # it is in the ledger now

    home.photo("cat.jpg", noisy(3))
    assert home.once().returncode == 0
    assert look(edited) == before["cat.jpg"]
    assert sorted(home.results()) == ["cat-2.jpg", "cat.jpg", "cat.png", "good.png"]


def test_without_a_ledger_a_result_by_another_recipe_and_a_foreign_file_keep_their_names(home: Home) -> None:
    home.photo("cat.jpg", noisy(1))
    home.enhanced.mkdir()
    foreign = pictures.write_jpeg(home.enhanced / "dog.jpg", pictures.scene(30, 20))
    home.photo("dog.jpg", noisy(2))
    assert home.once().returncode == 0
    assert sorted(home.results()) == ["cat.jpg", "dog-2.jpg", "dog.jpg"]
    before = look(foreign), look(home.enhanced / "cat.jpg")
    home.config.write_text(home.config.read_text().replace("output: {}", "output: {quality: 50}"))
    for _ in range(2):  # the second time all of them are known
        lose_the_ledger(home)
        assert home.once().returncode == 0
        assert (look(foreign), look(home.enhanced / "cat.jpg")) == before
        assert sorted(home.results()) == ["cat-2.jpg", "cat.jpg", "dog-2.jpg", "dog-3.jpg", "dog.jpg"]


def test_folders_and_rules_decide_about_the_mode(home: Home) -> None:
    home.configure(
        "  - watch: inbox\n    output: enhanced\n    mode: auto\n    rules:\n"
        "      - {name: 'always_*', mode: general}\n      - {name: 'drafts/*', skip: true}\n"
    )
    clean = pictures.scene(96, 72)
    good = home.photo("good.png", clean)
    home.photo("always_good.png", clean)
    home.photo("drafts/noisy.png", noisy(1))
    home.photo("noisy.png", noisy(2))

    answer = home.once()

    assert answer.returncode == 0, answer.stderr
    assert sorted(home.results()) == ["always_good.png", "good.png", "noisy.png"]
    assert (home.enhanced / "good.png").read_bytes() == good.read_bytes()
    said = {line.split("  ")[0].split(" -> ")[0]: line for line in answer.stdout.splitlines()}
    assert "unchanged: nothing to improve" in said["good.png"]
    assert "for mode general" in said["always_good.png"]
    assert "for noise" in said["noisy.png"]


def test_a_faulty_config_at_a_reload_changes_nothing_and_a_good_one_is_used(home: Home) -> None:
    service = home.start()
    good = home.config.read_text()
    home.config.write_text(good.replace("output: enhanced", "output: inbox/enhanced, colour: blue"))
    os.kill(service.pid, signal.SIGHUP)
    until(lambda: home.log_file().read_text().count("config.refused") == 2, "both faults are told")
    faults = [event["fault"] for event in home.log() if event["event"] == "config.refused"]
    assert any("colour" in fault for fault in faults)
    assert any("lies inside" in fault for fault in faults)
    home.photo("cat.png", noisy(1))
    home.until_done("cat.png")

    home.configure("  - {watch: inbox, output: elsewhere, mode: general}")
    os.kill(service.pid, signal.SIGHUP)
    until(lambda: home.is_logged("config.reloaded"), "the new config is used")
    home.photo("dog.png", noisy(2))
    until((home.folder / "elsewhere/dog.png").exists, "the photo comes out elsewhere")
    assert list(home.results()) == ["cat.png"]
    assert service.poll() is None


def test_the_log_and_the_figures_are_as_the_new_config_wants_them_from_the_reload_on(home: Home) -> None:
    figures = "service: {settle_seconds: 0.1, metrics: ~/m.sock"
    home.config.write_text(home.config.read_text().replace("service: {settle_seconds: 0.1", figures))
    service = home.start()
    home.photo("open.png", noisy(1))
    home.until_done("open.png")
    assert "open.png" in home.log_file().read_text()

    home.config.write_text(
        f"folders: [{{watch: inbox, output: elsewhere, mode: general}}]\n{figures}, privacy: true}}\n"
    )
    os.kill(service.pid, signal.SIGHUP)
    until(lambda: home.is_logged("config.reloaded"), "the new config is used")
    told_before = home.log_file().stat().st_size
    home.photo("secret.png", noisy(2))
    until(lambda: "photo.done" in home.log_file().read_text()[told_before:], "the photo comes out")
    assert "secret" not in home.log_file().read_text()[told_before:]
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(os.fspath(home.folder / "m.sock"))
        asking.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        answer = asking.makefile().read()
    assert f'darkroomd_free_bytes{{folder="{home.folder}/elsewhere"}}' in answer


@pytest.mark.parametrize("redo", ["ask", "on-change"])
def test_new_settings_redo_old_photos_only_when_that_is_wanted(home: Home, redo: str) -> None:
    home.photo("cat.jpg", noisy())
    assert home.once().returncode == 0
    before = (home.enhanced / "cat.jpg").read_bytes()
    home.config.write_text(
        "folders: [{watch: inbox, output: enhanced, mode: general}]\n"
        f"output: {{quality: 50}}\nservice: {{settle_seconds: 0.1, redo: {redo}}}\n"
    )
    assert home.once().returncode == 0
    assert list(home.results()) == ["cat.jpg"]
    assert ((home.enhanced / "cat.jpg").read_bytes() == before) == (redo == "ask")
