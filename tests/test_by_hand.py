"""Photos named by hand: which they are, where their copies go, and what is told of each."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from darkroomd import by_hand, config, device, pipeline
from darkroomd.config import Config, Folder, Rule, builtin_modes
from darkroomd.errors import CannotWrite, Retryable
from darkroomd.job import Job, Limits, Mode, Staged, Treatment
from darkroomd.say import explanation_lines
from tests import networks, pictures
from tests.command import snapshot

NOISY = pictures.with_noise(pictures.scene(96, 72), 12)
GENERAL = Mode("general", (Treatment("general"),))
AUTO = builtin_modes()["auto"]


@pytest.fixture
def settings() -> Config:
    return config.defaults({})


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return pictures.write_png(tmp_path / "cat.png", NOISY)


def test_files_are_taken_as_they_are_and_folders_with_the_photos_below_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("in/b.JPG", "in/deep/a.png", "in/notes.txt", "in/.hidden/c.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "link.png").symlink_to(tmp_path / "in/b.JPG")
    monkeypatch.chdir(tmp_path / "in")
    found = list(by_hand.photos([Path("../notes.txt"), Path("../link.png"), Path()]))
    assert found == [
        (tmp_path, tmp_path / "notes.txt"),
        (tmp_path, tmp_path / "link.png"),
        (tmp_path / "in", tmp_path / "in/b.JPG"),
        (tmp_path / "in", tmp_path / "in/deep/a.png"),
    ]


def test_the_target_is_the_file_or_in_the_folder_or_beside_the_photo(photo: Path, settings: Config) -> None:
    def target(output: Path | None) -> tuple[str, str]:
        job = by_hand.job_for(photo.parent, photo, output, GENERAL, settings)
        return job.target.relative_to(photo.parent).as_posix(), job.output.format

    (photo.parent / "there").mkdir()
    assert target(None) == ("cat-enhanced.png", "keep")
    assert target(photo.parent / "there") == ("there/cat.png", "keep")
    assert target(photo.parent / "new.JPEG") == ("new.JPEG", "jpeg")
    assert target(photo.parent / "new.png") == ("new.png", "png")


def test_a_photo_that_is_gone_has_no_job(photo: Path, settings: Config) -> None:
    photo.unlink()
    with pytest.raises(Retryable, match="not there"):
        by_hand.job_for(photo.parent, photo, None, GENERAL, settings)


def test_the_temporaries_of_two_photos_are_two(photo: Path, settings: Config) -> None:
    names = {by_hand.job_for(photo.parent, photo, None, GENERAL, settings, number).temporary for number in range(3)}
    assert len(names) == 3


def test_a_result_for_a_photo_that_changed_meanwhile_is_told_and_dropped(
    photo: Path, settings: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed_at_the_end(job: Job) -> Staged:
        answer = pipeline.run(job)
        os.utime(photo, ns=(1, 1))
        return answer

    monkeypatch.setattr(by_hand, "run", changed_at_the_end)
    verdict = by_hand.enhanced_file(by_hand.job_for(photo.parent, photo, None, GENERAL, settings))
    assert verdict.status == "failed"
    assert verdict.reason is not None
    assert verdict.reason.endswith("changed while it was worked on")
    assert [path.name for path in photo.parent.iterdir()] == ["cat.png"]


def test_a_name_that_is_taken_can_be_a_conflict(photo: Path, settings: Config) -> None:
    strict = replace(settings, output=replace(settings.output, existing="conflict"))
    photo.with_name("cat-enhanced.png").write_text("somebody else's")
    verdict = by_hand.enhanced_file(by_hand.job_for(photo.parent, photo, None, GENERAL, strict))
    assert verdict.status == "failed"
    assert sorted(path.name for path in photo.parent.iterdir()) == ["cat-enhanced.png", "cat.png"]


def test_a_place_that_says_no_is_for_the_exit_code(photo: Path, settings: Config) -> None:
    (photo.parent / "file").write_text("")
    job = by_hand.job_for(photo.parent, photo, photo.parent / "file/out.png", GENERAL, settings)
    with pytest.raises(CannotWrite, match="file"):
        by_hand.enhanced_file(job)
    job = by_hand.job_for(photo.parent, photo, Path("/proc/out.png"), GENERAL, settings)
    with pytest.raises(CannotWrite):
        by_hand.enhanced_file(job)


def test_what_could_not_be_published_leaves_nothing(
    tmp_path: Path, photo: Path, settings: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, black=networks.times(0))
    device.network.cache_clear()
    before = snapshot(photo.parent)
    black = Mode("black", (Treatment("black"),))
    verdict = by_hand.enhanced_file(by_hand.job_for(photo.parent, photo, None, black, settings))
    device.network.cache_clear()
    assert (verdict.status, verdict.output) == ("refused", None)
    assert snapshot(photo.parent).keys() == before.keys()


def test_what_is_explained_is_what_is_then_done(photo: Path, settings: Config) -> None:
    told = by_hand.explained(photo, settings)
    done = by_hand.enhanced_file(by_hand.job_for(photo.parent, photo, None, settings.modes["auto"], settings))
    assert told.steps == done.steps
    assert (told.found, told.limits, told.width, told.height) == (done.found, done.limits, done.width, done.height)
    assert (told.mode, told.refused) == (done.mode, None)
    json.dumps(told.as_json())


def test_a_photo_that_needs_nothing_needs_little_memory(tmp_path: Path, settings: Config) -> None:
    good = pictures.write_png(tmp_path / "good.png", pictures.scene(96, 72))
    told = by_hand.explained(good, settings)
    assert told.steps == ()
    assert told.memory_mb <= max(
        170, pipeline.held_mb(most=True)
    )  # what a process takes for itself, this one being larger


def test_the_mode_that_is_made_for_such_pictures_is_suggested(tmp_path: Path, settings: Config) -> None:
    made = {"old-photo": Mode("old-photo", (Treatment("old-photo"),))}
    there = replace(settings, modes={**settings.modes, **made})
    grey = pictures.scene(160, 120).mean(axis=2, keepdims=True).astype("uint8").repeat(3, axis=2)
    grandmother = pictures.write_png(tmp_path / "grandmother.png", grey)
    beach = pictures.write_png(tmp_path / "beach.png", pictures.scene(160, 120))
    assert by_hand.explained(grandmother, there).suggestion == "old-photo"
    assert by_hand.explained(beach, there).suggestion is None
    general_here = (Folder(tmp_path, tmp_path.parent / "out", GENERAL),)
    told = by_hand.explained(grandmother, replace(there, folders=general_here))
    assert (told.mode, told.suggestion) == ("general", "old-photo")
    assert "  advice    mode old-photo is made for such pictures (old photo)" in list(explanation_lines(told.as_json()))


def test_the_folder_of_a_photo_and_its_first_rule_decide(photo: Path, settings: Config) -> None:
    other = photo.parent / "other"
    other.mkdir()
    rules = (Rule("*_raw*", True, None), Rule("cat*", False, replace(GENERAL, strength=0.5)))
    folders = (Folder(other, other, AUTO), Folder(photo.parent, photo.parent / "out", AUTO, rules))
    watched = replace(settings, folders=folders)
    told = by_hand.explained(photo, watched)
    assert (told.rule, told.mode) == (f"rule 'cat*' of {photo.parent}", "general")
    assert told.target == photo.parent / "out/cat.png"
    assert [step.strength for step in told.steps] == [0.5]

    raw = photo.rename(photo.with_name("dog_raw.png"))
    told = by_hand.explained(raw, watched)
    assert (told.refused, told.target) == ("skipped by the rule for *_raw*", None)


@pytest.mark.parametrize("act", ["gone", "no photo", "too large"])
def test_what_would_be_refused_is_explained_too(photo: Path, settings: Config, act: str) -> None:
    limits = Limits(max_megapixels=0.001) if act == "too large" else settings.limits
    if act == "gone":
        photo.unlink()
    elif act == "no photo":
        photo.write_text("Dear diary")
    told = by_hand.explained(photo, replace(settings, limits=limits))
    words = {"gone": "cannot read the file", "no photo": "not a photo", "too large": "limits.max_megapixels"}
    assert told.refused is not None
    assert words[act] in told.refused
    assert told.steps == ()


def test_what_nobody_sees_is_not_looked_at(tmp_path: Path, settings: Config) -> None:
    """As in the pipeline: behind full transparency lies anything."""
    good = pictures.scene(192, 144)
    hidden = good.copy()
    hidden[:, 48:] = pictures.with_noise(good, 25)[:, 48:]
    alpha = np.full((144, 192, 1), 255, np.uint8)
    alpha[:, 48:] = 0
    photo = pictures.write_png(tmp_path / "cut-out.png", np.concatenate([hidden, alpha], axis=2))
    told = by_hand.explained(photo, settings)
    done = by_hand.enhanced_file(by_hand.job_for(tmp_path, photo, None, settings.modes["auto"], settings))
    assert (told.steps, told.found) == (done.steps, done.found)
