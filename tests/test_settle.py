"""A file is handed out when it is quiet, and not before; with a clock that only the test moves."""

import os
from pathlib import Path

import pytest

from darkroomd.job import Settled, Sighting, Skip
from darkroomd.settle import STALLED_SECONDS, Settling, fingerprint

QUIET = 2.0


@pytest.fixture
def settling() -> Settling:
    return Settling()


def seen(path: Path) -> Sighting:
    return Sighting(path.parent, path)


def names(answers: list[Settled | Skip]) -> list[str]:
    return [answer.path.name for answer in answers]


def test_a_quiet_file_is_handed_out_once_with_its_fingerprint(tmp_path: Path, settling: Settling) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"photo")
    settling.note(seen(photo), 0)
    assert settling.next_due(QUIET) == 2
    assert settling.pending() == 1
    assert settling.settled(1.9, QUIET) == []
    found = fingerprint(photo)
    assert found is not None
    assert settling.settled(2.0, QUIET) == [Settled(tmp_path, photo, found)]
    settling.note(seen(photo), 3)
    settling.note(seen(photo), 3, event=False)
    assert settling.settled(10, QUIET) == []
    assert settling.next_due(QUIET) is None


def test_a_file_that_was_old_long_before_we_came_waits_like_any_other(tmp_path: Path, settling: Settling) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"photo")
    os.utime(photo, (0, 0))
    settling.note(seen(photo), 0, event=False)
    assert settling.settled(1.9, QUIET) == []
    assert names(settling.settled(2, QUIET)) == ["a.jpg"]


def test_a_file_from_the_future_settles_too(tmp_path: Path, settling: Settling) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"photo")
    os.utime(photo, (4e9, 4e9))
    settling.note(seen(photo), 0)
    assert names(settling.settled(2, QUIET)) == ["a.jpg"]


def test_a_slow_writer_is_waited_for(tmp_path: Path, settling: Settling) -> None:
    photo = tmp_path / "a.jpg"
    for second in range(60):
        with photo.open("ab") as file:
            file.write(b"x" * 1024)
        settling.note(seen(photo), second)
        assert settling.settled(second + 0.5, QUIET) == []
    assert names(settling.settled(61, QUIET)) == ["a.jpg"]


def test_a_writer_whose_events_are_lost_is_waited_for(tmp_path: Path, settling: Settling) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"x")
    settling.note(seen(photo), 0)
    photo.write_bytes(b"xx")
    assert settling.settled(2, QUIET) == []
    assert settling.settled(3.9, QUIET) == []
    assert names(settling.settled(4, QUIET)) == ["a.jpg"]


def test_an_event_without_a_change_starts_the_wait_anew_and_a_scan_does_not(tmp_path: Path, settling: Settling) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"x")
    settling.note(seen(photo), 0)
    settling.note(seen(photo), 1, event=False)
    assert settling.next_due(QUIET) == 2
    settling.note(seen(photo), 1)
    assert settling.next_due(QUIET) == 3


def test_a_changed_file_is_handed_out_again(tmp_path: Path, settling: Settling) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"x")
    settling.note(seen(photo), 0)
    settling.settled(2, QUIET)
    photo.write_bytes(b"other")
    settling.note(seen(photo), 3, event=False)
    assert names(settling.settled(5, QUIET)) == ["a.jpg"]


def test_what_was_forgotten_is_handed_out_again(tmp_path: Path, settling: Settling) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"x")
    settling.note(seen(photo), 0)
    settling.settled(2, QUIET)
    settling.forget()
    settling.note(seen(photo), 3, event=False)
    assert names(settling.settled(5, QUIET)) == ["a.jpg"]


def test_a_file_deleted_while_it_settles_drops_out(tmp_path: Path, settling: Settling) -> None:
    first, second = tmp_path / "a.jpg", tmp_path / "b.jpg"
    for photo in (first, second):
        photo.write_bytes(b"x")
        settling.note(seen(photo), 0)
    first.unlink()
    settling.note(seen(first), 1)
    second.unlink()
    assert settling.settled(5, QUIET) == []
    assert settling.pending() == 0


def test_an_empty_file_waits_for_its_content(tmp_path: Path, settling: Settling) -> None:
    photo = tmp_path / "a.jpg"
    photo.touch()
    settling.note(seen(photo), 0)
    assert settling.settled(2, QUIET) == []
    assert settling.pending() == 0
    assert settling.stalled() == [photo]
    photo.write_bytes(b"content, 5 seconds later")
    settling.note(seen(photo), 5)
    assert names(settling.settled(7, QUIET)) == ["a.jpg"]


def test_a_file_that_stays_empty_is_handed_out_once_so_that_the_decoder_can_say_so(
    tmp_path: Path, settling: Settling
) -> None:
    photo = tmp_path / "a.jpg"
    photo.touch()
    settling.note(seen(photo), 0)
    assert names([a for second in range(0, 600, 2) for a in settling.settled(second, QUIET)]) == []
    assert names([a for second in range(600, 1300, 2) for a in settling.settled(second, QUIET)]) == ["a.jpg"]


def test_a_last_look_has_no_patience_with_empty_files(tmp_path: Path, settling: Settling) -> None:
    settling.empty_patience_seconds = 0
    photo = tmp_path / "a.jpg"
    photo.touch()
    settling.note(seen(photo), 0)
    assert names(settling.settled(2, QUIET)) == ["a.jpg"]


@pytest.mark.parametrize("reserve", ["truncate", "fallocate"])
def test_an_upload_that_reserved_its_size_waits_until_its_end_is_written(
    tmp_path: Path, settling: Settling, reserve: str
) -> None:
    photo = tmp_path / "a.jpg"
    size = 1 << 20
    with photo.open("wb") as file:
        if reserve == "truncate":
            file.truncate(size)
        else:
            os.posix_fallocate(file.fileno(), 0, size)
        file.write(b"x" * (size // 2))
    settling.note(seen(photo), 0)
    assert settling.settled(2, QUIET) == []
    assert settling.stalled() == [photo]
    with photo.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"x" * (size // 2))
    settling.note(seen(photo), 3)
    assert names(settling.settled(5, QUIET)) == ["a.jpg"]


def test_an_end_that_is_never_written_is_believed_in_the_end(tmp_path: Path, settling: Settling) -> None:
    photo = tmp_path / "a.tif"
    with photo.open("wb") as file:
        file.write(b"x" * 4096)
        file.truncate(1 << 20)
    settling.note(seen(photo), 0)
    assert settling.settled(STALLED_SECONDS - 1, QUIET) == []
    assert names(settling.settled(STALLED_SECONDS + 2, QUIET)) == ["a.tif"]


def test_a_hole_in_the_middle_is_no_reason_to_wait(tmp_path: Path, settling: Settling) -> None:
    photo = tmp_path / "a.tif"
    with photo.open("wb") as file:
        file.seek(1 << 20)
        file.write(b"the end")
    settling.note(seen(photo), 0)
    assert names(settling.settled(2, QUIET)) == ["a.tif"]


def test_an_unreadable_file_is_left_to_the_decoder(
    tmp_path: Path, settling: Settling, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"x")
    settling.note(seen(photo), 0)

    def refuse(*_args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    assert names(settling.settled(2, QUIET)) == ["a.jpg"]


def test_links_and_pipes_are_told_once_and_never_opened(tmp_path: Path, settling: Settling) -> None:
    link, pipe = tmp_path / "link.jpg", tmp_path / "pipe.jpg"
    link.symlink_to(tmp_path / "elsewhere.jpg")
    os.mkfifo(pipe)
    settling.note(seen(link), 0)
    settling.note(seen(pipe), 0)
    assert settling.settled(2, QUIET) == [
        Skip(link, "a symbolic link, never followed"),
        Skip(pipe, "not a regular file"),
    ]
    settling.note(seen(link), 3, event=False)
    assert settling.settled(9, QUIET) == []


def test_a_thousand_events_are_one_file(tmp_path: Path, settling: Settling) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"x")
    for moment in range(1000):
        settling.note(seen(photo), moment / 1000)
    assert names(settling.settled(4, QUIET)) == ["a.jpg"]
