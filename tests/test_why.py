"""A photo without a result has a note that says why: complete, only ours, and gone when the photo is done."""

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from darkroomd import why
from darkroomd.job import Job, Output
from tests.one_photo import job_for

NOW = 1_700_000_000.0


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A photo in a sub-folder, whose output folder has no such sub-folder yet."""
    source = tmp_path / "in" / "2024" / "broken.jpg"
    source.parent.mkdir(parents=True)
    source.write_bytes(b"no photo")
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "2024" / "broken.jpg"
    return job_for(
        source, target, tmp_path / "out", root=tmp_path / "in", temporary=target.parent / ".darkroomd-abc-1-1.part"
    )


def beside(job: Job) -> Job:
    return replace(job, output=Output(reasons="beside"))


def files(job: Job) -> list[str]:
    assert job.output_root is not None
    return sorted(path.relative_to(job.output_root).as_posix() for path in job.output_root.rglob("*"))


def test_the_note_lies_in_failed_as_the_photo_lies_below_its_folder(job: Job) -> None:
    why.put(job, "refused", "not a photo: it is text", NOW)
    assert files(job) == ["failed", "failed/2024", "failed/2024/broken.jpg.txt"]
    text = (job.output_root / "failed/2024/broken.jpg.txt").read_text()  # type: ignore[operator]
    for words in (
        "broken.jpg has no enhanced copy",
        "not a photo: it is text",
        str(job.source),
        "refused",
        "2023-11-14",
    ):
        assert words in text


def test_or_beside_the_place_of_the_result_or_nowhere(job: Job) -> None:
    why.put(beside(job), "refused", "no", NOW)
    assert files(job) == ["2024", "2024/broken.jpg.txt"]
    why.put(replace(job, output=Output(reasons="none")), "refused", "no", NOW)
    assert files(job) == ["2024", "2024/broken.jpg.txt"]


def test_a_single_command_leaves_no_notes(job: Job) -> None:
    why.put(replace(job, output_root=None), "refused", "no", NOW)
    why.take_back(replace(job, output_root=None))
    assert files(job) == []


def test_a_second_reason_takes_the_place_of_the_first(job: Job) -> None:
    why.put(job, "refused", "the first", NOW)
    why.put(job, "failed", "the second", NOW)
    assert files(job) == ["failed", "failed/2024", "failed/2024/broken.jpg.txt"]
    text = (job.output_root / "failed/2024/broken.jpg.txt").read_text()  # type: ignore[operator]
    assert "the second" in text
    assert "the first" not in text


@pytest.mark.parametrize("before", [lambda job: job, beside])
def test_it_is_taken_back_wherever_it_was_put_with_the_folders_that_it_leaves_empty(job: Job, before: Any) -> None:
    why.put(before(job), "refused", "no", NOW)
    why.take_back(job)
    assert [name for name in files(job) if name != "2024"] == []


def test_a_folder_with_other_notes_stays(job: Job) -> None:
    other = replace(job, source=job.source.with_name("other.jpg"))
    why.put(job, "refused", "no", NOW)
    why.put(other, "refused", "no", NOW)
    why.take_back(job)
    assert files(job) == ["failed", "failed/2024", "failed/2024/other.jpg.txt"]


@pytest.mark.parametrize("content", [b"", b"my own notes on this photo\n", b"\xff" * 100_000])
def test_a_file_that_is_not_ours_is_neither_replaced_nor_removed(job: Job, content: bytes) -> None:
    path = job.output_root / "failed/2024/broken.jpg.txt"  # type: ignore[operator]
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    why.put(job, "refused", "no", NOW)
    why.take_back(job)
    assert path.read_bytes() == content
    assert files(job) == ["failed", "failed/2024", "failed/2024/broken.jpg.txt"]


def test_a_note_that_somebody_wrote_into_is_kept(job: Job) -> None:
    why.put(job, "refused", "no", NOW)
    path = job.output_root / "failed/2024/broken.jpg.txt"  # type: ignore[operator]
    path.write_text("ask Anna about it\n" + path.read_text())
    why.put(job, "refused", "another", NOW)
    why.take_back(job)
    assert path.read_text().startswith("ask Anna about it\n")
    assert "another" not in path.read_text()


def test_no_link_is_followed(tmp_path: Path, job: Job) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (job.output_root / "failed").symlink_to(elsewhere)  # type: ignore[operator]
    why.put(job, "refused", "no", NOW)
    assert list(elsewhere.iterdir()) == []
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (job.output_root / "2024").mkdir()  # type: ignore[operator]
    (job.output_root / "2024/broken.jpg.txt").symlink_to(secret)  # type: ignore[operator]
    why.put(beside(job), "refused", "no", NOW)
    why.take_back(job)
    assert secret.read_text() == "secret"


def test_names_that_are_long_or_no_text_and_words_that_a_terminal_would_act_on(job: Job) -> None:
    for name in ("x" * 255, "y" * 251 + ".jpg", os.fsdecode(b"\xff\xfe.jpg"), "a\nb\x1b[31m.jpg"):
        one = replace(job, source=job.source.with_name(name))
        why.put(one, "refused", "\x1b[2J gone", NOW)
        path = why.place(one, "failed")
        assert path is not None
        assert len(os.fsencode(path.name)) <= 255
        assert "\x1b" not in path.read_text()
        why.take_back(one)
    assert files(job) == []


@pytest.mark.parametrize("call", ["mkdir", "open", "link", "fsync"])
def test_a_disk_that_says_no_is_no_trouble_and_nothing_half_written_is_left(
    job: Job, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The ledger has the reason all the same."""
    real = getattr(os, call)

    def full(*args: Any, **named: Any) -> Any:
        if call == "open" and not args[1] & os.O_CREAT:
            return real(*args, **named)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        why.put(job, "refused", "no", NOW)
    assert [name for name in files(job) if "." in name] == []


def test_where_there_are_no_links_the_note_is_there_all_the_same(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    why.put(job, "refused", "no", NOW)
    assert files(job) == ["failed", "failed/2024", "failed/2024/broken.jpg.txt"]


def test_an_output_folder_that_is_not_there_is_not_made(job: Job) -> None:
    (job.output_root).rmdir()  # type: ignore[union-attr]
    why.put(job, "refused", "no", NOW)
    why.take_back(job)
    assert not job.output_root.exists()  # type: ignore[union-attr]
