"""Stories: a folder before, one act, the folder after. The clock is the test's; no event comes unless it is said."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from darkroomd import config as configuration
from darkroomd import write
from darkroomd.config import Config, Folder, Rule
from darkroomd.errors import CannotWrite, ConfigError, Unavailable
from darkroomd.job import Limits, Mode, Output, Treatment, Verdict
from darkroomd.record import Ledger, asked_again
from darkroomd.service import Service, Summary
from darkroomd.workers import Inline, Workers

RUN = "tests.pretend:run"
GENERAL = Mode("general", (Treatment("general"),))
DIGESTS = {"general": "g" * 64}
DAY = 24 * 3600.0


class House:
    """One watched folder with its service, ledger and clock."""

    def __init__(self, home: Path, executor: Callable[[], Executor] | None = Inline) -> None:
        self.inbox, self.outbox, self.state = home / "in", home / "out", home / "state"
        for folder in (self.inbox, self.outbox, self.state):
            folder.mkdir(exist_ok=True)
        self.started = time.time()
        self.now = 0.0
        self.ledger = Ledger.open(self.state, True, self.wall())
        self.workers = Workers(1, RUN, executor=executor)
        self.verdicts: list[Verdict] = []
        self.config = self.a_config()
        self.digests = dict(DIGESTS)
        self.service = self.a_service()

    def a_config(self, **service: Any) -> Config:
        settings = configuration.Service(**service)
        folders = (Folder(self.inbox, self.outbox, GENERAL),)
        return Config(
            None, folders=folders, modes={"general": GENERAL}, output=Output(), service=settings, limits=Limits()
        )

    def a_service(self, **options: Any) -> Service:
        options = {"clock": lambda: self.now, "wall": self.wall, "on_verdict": self.verdicts.append} | options
        return Service(self.config, self.ledger, self.workers, self.digests, **options)

    def wall(self) -> float:
        return self.started + self.now

    def drop(self, name: str, words: str = "photo") -> Path:
        photo = self.inbox / name
        photo.parent.mkdir(parents=True, exist_ok=True)
        photo.write_text(words)
        return photo

    def after(self, seconds: float) -> None:
        self.now += seconds
        self.service.tick(self.now)

    def look(self) -> None:
        """A rescan, and time enough to settle."""
        self.after(61)
        self.after(3)

    def look_until(self, is_so: Callable[[], bool], seconds: float = 90.0) -> None:
        """With a watcher that runs: the kernel's word of a photo may come late, and the photo settles anew."""
        deadline = time.monotonic() + seconds
        self.look()
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.01)
            self.look()

    def until(self, is_so: Callable[[], bool], seconds: float = 90.0) -> None:
        """For real workers: time passes for us as well, until it is so or the deadline is there."""
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.01)
            self.after(0.01)

    def results(self) -> dict[str, str]:
        found = (path for path in self.outbox.rglob("*") if path.is_file())
        return {path.relative_to(self.outbox).as_posix(): path.read_text() for path in found}

    def outcomes(self) -> list[tuple[str, str]]:
        return [(verdict.source.name, verdict.status) for verdict in self.verdicts]

    def close(self) -> None:
        self.workers.stop()
        self.ledger.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    one = House(tmp_path)
    yield one
    one.close()


@pytest.fixture
def real(tmp_path: Path) -> Iterator[House]:
    """With worker processes."""
    one = House(tmp_path, executor=None)
    yield one
    one.close()


# Arrival


def test_without_a_single_event_the_photo_is_done(house: House) -> None:
    photo = house.drop("2024/a.jpg")
    house.look()
    assert house.results() == {"2024/a.jpg": "better photo"}
    assert house.outcomes() == [("a.jpg", "done")]
    assert house.verdicts[0].output == house.outbox / "2024/a.jpg"
    assert photo.read_text() == "photo"


def test_a_photo_is_done_once_however_often_we_look(house: House) -> None:
    house.drop("a.jpg")
    for _ in range(20):
        house.look()
    assert house.outcomes() == [("a.jpg", "done")]
    assert house.ledger.counts() == {"done": 1}


def test_a_photo_that_was_there_before_the_start_is_done_and_after_a_restart_not_again(house: House) -> None:
    house.drop("a.jpg")
    house.look()
    house.service = house.a_service()
    house.service.recover()
    house.look()
    assert house.outcomes() == [("a.jpg", "done")]


def test_a_photo_being_written_is_left_alone_until_it_is_quiet(house: House) -> None:
    photo = house.drop("a.jpg")
    house.after(0)
    for _ in range(30):
        with photo.open("a") as file:
            file.write(" more")
        house.after(1)
        assert house.results() == {}
    house.after(3)
    assert house.results() == {"a.jpg": "better photo" + " more" * 30}


def test_names_of_half_arrived_files_are_ignored_and_the_rename_is_done(house: House) -> None:
    part = house.drop("a.jpg.part")
    house.drop(".hidden.jpg")
    house.look()
    assert house.ledger.counts() == {}
    part.rename(house.inbox / "a.jpg")
    house.look()
    assert house.results() == {"a.jpg": "better photo"}


def test_files_that_are_no_photos_and_links_are_left_alone(house: House) -> None:
    house.drop("notes.txt")
    (house.inbox / "link.jpg").symlink_to("/etc/hostname")
    with capture_logs() as log:
        house.look()
        house.look()
    assert [entry["source"].name for entry in log if entry["event"] == "photo.skipped"] == ["link.jpg", "notes.txt"]
    assert house.results() == {}


def test_a_file_deleted_while_it_settles_or_is_queued_is_no_failure(house: House) -> None:
    settling, queued = house.drop("a.jpg"), house.drop("b.jpg")
    house.after(61)
    settling.unlink()
    house.workers.count = 0
    house.after(3)
    queued.unlink()
    house.workers.count = 1
    with capture_logs() as log:
        house.look()
    assert house.verdicts == []
    assert house.ledger.counts() == {"superseded": 1}
    assert {entry["log_level"] for entry in log} == {"info"}


def test_a_file_changed_while_it_is_queued_is_done_as_it_is_now(house: House) -> None:
    photo = house.drop("a.jpg")
    house.after(61)
    house.workers.count = 0
    house.after(3)
    photo.write_text("photo, changed")
    house.workers.count = 1
    house.after(1)
    house.after(3)
    assert house.results() == {"a.jpg": "better photo, changed"}


@pytest.mark.parametrize("words", ["rewritten", "spoiled", "darkened"])
def test_a_photo_that_changes_while_it_is_worked_on_is_done_again_and_only_that_counts(
    house: House, words: str
) -> None:
    house.drop("a.jpg", words)
    house.look()
    assert house.results() == {}
    house.after(3)
    assert house.results() == {"a.jpg": "better photo, second edition"}
    assert house.outcomes() == [("a.jpg", "done")]


def test_a_changed_photo_replaces_its_earlier_result(house: House) -> None:
    photo = house.drop("a.jpg")
    house.look()
    photo.write_text("photo, second edition")
    house.look()
    assert house.results() == {"a.jpg": "better photo, second edition"}


def test_a_touched_photo_is_not_done_again(house: House) -> None:
    photo = house.drop("a.jpg")
    house.look()
    os.utime(photo, (1, 1))
    house.look()
    house.look()
    assert house.outcomes() == [("a.jpg", "done")]


# What comes of a photo


def test_a_bad_photo_does_not_hold_up_the_next(house: House) -> None:
    for name, words in {"a": "bad", "b": "photo", "c": "bug", "d": "photo"}.items():
        house.drop(f"{name}.jpg", words)
    with capture_logs() as log:
        house.look()
    assert house.outcomes() == [("a.jpg", "refused"), ("b.jpg", "done"), ("c.jpg", "failed"), ("d.jpg", "done")]
    assert house.verdicts[0].reason == "not a picture"
    (bug,) = [entry for entry in log if entry["event"] == "photo.failed"]
    assert isinstance(bug["exc_info"], ValueError)
    house.look()
    assert len(house.verdicts) == 4


def test_a_photo_that_needs_nothing_is_told_as_unchanged(house: House) -> None:
    house.drop("a.jpg", "fine")
    house.look()
    assert house.outcomes() == [("a.jpg", "unchanged")]
    assert house.results() == {}


@pytest.mark.parametrize("words", ["later", "denied", "memory", "huge"])
def test_what_time_can_mend_is_tried_again_later_and_later(house: House, words: str) -> None:
    photo = house.drop("a.jpg", words)
    with capture_logs() as log:
        house.look()
        for _ in range(40):
            house.after(10)
    waits = [entry["again_in_seconds"] for entry in log if entry["event"] == "photo.postponed"]
    assert len(waits) >= 4
    assert waits == sorted(waits)
    assert waits[0] < waits[-1]
    photo.write_text("photo")
    house.look()
    assert house.outcomes() == [("a.jpg", "done")]


def test_a_truncated_photo_waits_for_the_rest(house: House) -> None:
    photo = house.drop("a.jpg", "cut")
    house.look()
    assert house.ledger.counts() == {"waiting": 1}
    photo.write_text("photo, the whole of it")
    house.look()
    assert house.results() == {"a.jpg": "better photo, the whole of it"}
    assert house.outcomes() == [("a.jpg", "done")]


def test_a_photo_that_has_been_truncated_for_a_day_is_refused(house: House) -> None:
    house.drop("a.jpg", "cut")
    house.now += DAY + 60
    house.look()
    assert house.outcomes() == [("a.jpg", "refused")]


def test_a_truncated_photo_whose_rest_never_comes_fails_and_says_so(house: House) -> None:
    house.drop("a.jpg", "cut")
    house.look()
    house.after(DAY)
    assert house.ledger.counts() == {"failed": 1}
    assert house.outcomes() == [("a.jpg", "failed")]
    assert "ends too early" in house.results()["failed/a.jpg.txt"]


# Set aside, with the reason


def reasons(house: House) -> dict[str, str]:
    return {name: text.splitlines()[2] for name, text in house.results().items() if name.endswith(".txt")}


def test_why_a_photo_has_no_copy_lies_in_failed_until_the_photo_changes(house: House) -> None:
    photo = house.drop("2024/a.jpg", "bad")
    house.look()
    assert reasons(house) == {"failed/2024/a.jpg.txt": "not a picture"}
    note = house.outbox / "failed/2024/a.jpg.txt"
    before = note.stat().st_mtime_ns
    for _ in range(5):
        house.look()
    assert house.ledger.rows(("refused",), 9)[0].attempt == 1  # never tried again by itself
    assert note.stat().st_mtime_ns == before
    photo.write_text("photo, from the backup")
    house.look()
    assert house.results() == {"2024/a.jpg": "better photo, from the backup"}
    assert not (house.outbox / "failed").exists()


def test_no_reason_stays_when_the_photo_is_again_what_it_was_when_it_was_done(house: House) -> None:
    photo = house.drop("a.jpg")
    house.look()
    photo.write_text("bad")
    house.look()
    assert "failed/a.jpg.txt" in house.results()
    photo.write_text("photo")
    house.look()
    assert house.results() == {"a.jpg": "better photo"}
    assert house.ledger.counts() == {"done": 1, "superseded": 2}


def test_no_reason_stays_when_the_result_gets_its_name_at_the_next_start(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_cut(*_: Any) -> None:
        raise KeyboardInterrupt

    photo = house.drop("a.jpg", "bad")
    house.look()
    photo.write_text("photo")
    with monkeypatch.context() as patch:
        patch.setattr(write, "publish", power_cut)
        with pytest.raises(KeyboardInterrupt):
            house.look()
    assert "failed/a.jpg.txt" in house.results()
    house.a_service().recover()
    assert house.results() == {"a.jpg": "better photo"}


def test_what_nobody_foresaw_is_told_in_a_line_and_not_as_a_traceback(house: House) -> None:
    house.drop("a.jpg", "library")
    house.look()
    (entry,) = house.ledger.rows(("failed",), 9)
    assert entry.reason is not None
    assert "Traceback" not in entry.reason + house.results()["failed/a.jpg.txt"]
    assert entry.reason.startswith("json.decoder.JSONDecodeError: not what was expected")


def test_why_lies_beside_the_place_of_the_copy_or_nowhere_if_that_is_wanted(house: House) -> None:
    for where in ("beside", "none"):
        house.config = replace(house.config, output=Output(reasons=where))
        house.service = house.a_service()
        house.drop(f"{where}.jpg", "bad")
        house.look()
    assert reasons(house) == {"beside.jpg.txt": "not a picture"}


@pytest.mark.parametrize(
    ("words", "reason"),
    [("black", "did not pass the checks"), ("bug", "what was that"), ("bad", "not a picture")],
)
def test_every_photo_that_ends_without_a_copy_says_why(house: House, words: str, reason: str) -> None:
    house.drop("a.jpg", words)
    house.look()
    assert reasons(house) == {"failed/a.jpg.txt": reason}


def test_a_name_that_is_taken_is_a_reason_too(house: House) -> None:
    house.config = replace(house.config, output=Output(existing="conflict"))
    house.service = house.a_service()
    (house.outbox / "a.jpg").write_text("mine")
    house.drop("a.jpg")
    house.look()
    assert "is taken by a file that darkroomd did not write" in reasons(house)["failed/a.jpg.txt"]
    (house.outbox / "a.jpg").unlink()
    asked_again(house.state, [house.inbox], house.wall())
    house.after(6)
    house.after(3)
    assert house.results() == {"a.jpg": "better photo"}


def test_a_photo_that_killed_darkroomd_itself_three_times_has_its_reason_after_the_start(house: House) -> None:
    house.drop("a.jpg")
    house.service.tick(0)
    house.service._take_in(3)
    for _ in range(3):
        assert len(house.ledger.claim(house.wall(), 1)) == 1  # and here the power went
        house.a_service().recover()
    assert "no answer in 3 attempts" in reasons(house)["failed/a.jpg.txt"]


def test_what_waits_for_time_has_no_note(house: House) -> None:
    house.drop("a.jpg", "later")
    house.look()
    assert house.results() == {}


def test_a_missing_network_stops_the_service_and_puts_the_job_back(house: House) -> None:
    house.drop("a.jpg", "network")
    house.drop("b.jpg", "photo")
    house.look()
    assert house.service.summary.exit_code == 69
    assert house.ledger.counts() == {"pending": 2}


def test_one_worker_cannot_end_the_service_by_saying_that_something_is_missing(real: House) -> None:
    """A photo may have taken it over. One that has met no photo is asked."""
    real.workers._ready = "tests.pretend:all_is_there"
    real.drop("a.jpg", "network")

    def has_ended() -> bool:
        real.now += 10  # the three attempts are minutes apart
        return bool(real.verdicts)

    real.until(has_ended)
    assert real.outcomes() == [("a.jpg", "failed")]
    assert real.ledger.counts() == {"quarantined": 1}
    assert "it said that a network or a device is missing" in str(real.verdicts[0].reason)
    real.drop("b.jpg", "photo")
    real.until(lambda: len(real.verdicts) == 2)
    assert (real.verdicts[1].status, real.service.summary.exit_code) == ("done", 0)


def test_what_a_second_worker_misses_too_is_missing(real: House) -> None:
    real.workers._ready = "tests.pretend:something_is_missing"
    real.drop("a.jpg", "network")
    real.until(lambda: real.service.summary.exit_code == 69)
    assert real.ledger.counts() == {"pending": 1}


def test_a_mode_without_its_network_stops_the_service(house: House) -> None:
    house.drop("a.jpg")
    del house.digests["general"]
    house.look()
    assert house.service.summary.exit_code == 69


def test_a_name_that_is_taken_is_told_where_numbers_are_not_wanted(house: House) -> None:
    house.config = replace(house.config, output=Output(existing="conflict"))
    house.service = house.a_service()
    (house.outbox / "a.jpg").write_text("somebody else's")
    house.drop("a.jpg")
    house.look()
    assert house.outcomes() == [("a.jpg", "failed")]
    assert list(house.results()) == ["a.jpg", "failed/a.jpg.txt"]
    assert house.results()["a.jpg"] == "somebody else's"
    assert house.ledger.counts() == {"conflict": 1}


def test_a_full_disk_puts_the_photo_off_and_leaves_nothing_behind(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise CannotWrite("no space is left")

    house.drop("a.jpg")
    with monkeypatch.context() as patch:
        patch.setattr(write, "publish", full)
        house.look()
    assert house.results() == {}
    assert house.ledger.counts() == {"retry": 1}
    house.look()
    assert house.results() == {"a.jpg": "better photo"}


def test_a_missing_disk_is_not_a_deleted_photo(house: House) -> None:
    house.drop("a.jpg")
    house.after(61)
    house.workers.count = 0
    house.after(3)
    house.workers.count = 1
    house.inbox.rename(house.inbox.with_name("unplugged"))
    with capture_logs() as log:
        house.after(1)
        house.after(5)
    assert house.ledger.counts() == {"retry": 1}
    assert "watch.degraded" in [entry["event"] for entry in log]
    house.inbox.with_name("unplugged").rename(house.inbox)
    house.look()
    assert house.outcomes() == [("a.jpg", "done")]


def test_a_photo_deleted_while_it_is_read_is_no_failure(house: House) -> None:
    house.drop("a.jpg", "vanished")
    house.look()
    assert house.verdicts == []
    assert house.ledger.counts() == {"superseded": 1}


def test_a_photo_of_a_folder_that_is_no_longer_watched_is_let_go(house: House) -> None:
    house.drop("a.jpg")
    house.after(61)
    house.workers.count = 0
    house.after(3)
    house.config = replace(house.config, folders=())
    house.service = house.a_service()
    house.look()
    assert house.ledger.counts() == {"superseded": 1}


def test_a_result_that_the_guards_refused_is_a_failure_and_never_counts_as_done(house: House) -> None:
    photo = house.drop("a.jpg", "black")
    house.look()
    assert house.ledger.counts() == {"failed": 1}
    assert house.outcomes() == [("a.jpg", "failed")]
    assert list(house.results()) == ["failed/a.jpg.txt"]
    os.utime(photo, (1, 1))  # the same bytes again
    house.after(61)
    house.after(3)
    assert house.outcomes() == [("a.jpg", "failed"), ("a.jpg", "failed")]
    assert asked_again(house.state, None, house.wall()) == 1


def test_what_a_person_asked_for_again_is_done_again_by_itself(house: House) -> None:
    photo = house.drop("a.jpg")
    house.look()
    assert asked_again(house.state, [photo], house.wall()) == 1  # from beside the running service
    for _ in range(3):
        house.look()
    assert house.outcomes() == [("a.jpg", "done"), ("a.jpg", "done")]
    assert house.results() == {"a.jpg": "better photo"}


def test_a_ledger_on_a_full_disk_is_recovered_from(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.drop("a.jpg")
    house.after(61)

    def full(*_args: object) -> None:
        raise CannotWrite("the ledger cannot be written")

    with monkeypatch.context() as patch:
        patch.setattr(house.ledger, "take_in", full)
        with pytest.raises(CannotWrite):
            house.after(3)
    house.service.recover()
    house.look()
    assert house.outcomes() == [("a.jpg", "done")]


def test_a_worker_that_cannot_be_started_puts_the_photo_off(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.drop("a.jpg")

    def none_left(*_args: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(house.workers, "submit", none_left)
        house.look()
    assert house.ledger.rows(("retry",), 1)[0].reason == "no worker can be started: Too many open files"
    house.look()
    assert house.outcomes() == [("a.jpg", "done")]


def test_what_time_can_mend_never_ends_the_service(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.drop("a.jpg")

    def failing(*_args: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch, capture_logs() as log:
        patch.setattr(house.service._watcher, "health", failing)
        seconds = house.service.step(house.now)
    assert [entry["event"] for entry in log if entry["log_level"] == "error"] == ["service.hindered"]
    for _ in range(30):
        house.now += seconds
        seconds = house.service.step(house.now)
    assert house.outcomes() == [("a.jpg", "done")]


def test_a_result_that_the_ledger_could_not_note_is_found_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    (house.outbox / "a.jpg").write_text("somebody else's")
    house.drop("a.jpg")
    house.service.step(0)

    def full(*_args: object) -> None:
        raise CannotWrite("the ledger cannot be written")

    with monkeypatch.context() as patch:
        patch.setattr(house.ledger, "finished", full)
        house.service.step(3)
    for now in range(20, 200, 5):
        house.service.step(now)
    assert house.results() == {"a.jpg": "somebody else's", "a-2.jpg": "better photo"}
    assert house.ledger.counts() == {"done": 1}


# Politeness


def test_in_quiet_hours_no_photo_is_begun_and_afterwards_all_are(house: House) -> None:
    begin = time.strftime("%H:%M", time.localtime(house.started - 600))
    end = time.strftime("%H:%M", time.localtime(house.started + 3600))
    house.config = house.a_config(quiet_hours=f"{begin}-{end}")
    house.service = house.a_service()
    house.drop("a.jpg")
    with capture_logs() as log:
        house.look()
        assert house.ledger.counts() == {"pending": 1}
        assert [text for _since, text in house.ledger.live()] == [f"paused: quiet hours ({begin}-{end})"]
        house.after(3600)
        house.look()
    assert [entry["event"] for entry in log if "service" in entry["event"]] == ["service.paused", "service.resumed"]
    assert house.outcomes() == [("a.jpg", "done")]
    assert house.ledger.live() == []


def test_whoever_says_once_means_now(house: House) -> None:
    house.config = house.a_config(quiet_hours="00:00-23:59", settle_seconds=0.01)
    house.service = house.a_service(clock=time.monotonic)
    house.drop("a.jpg")
    house.service.run_once()
    assert house.outcomes() == [("a.jpg", "done")]


def test_on_battery_and_beside_busy_programs_it_waits(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.config = house.a_config(pause_on_battery=True, pause_when_busy_percent=50.0)
    house.service = house.a_service()
    house.drop("a.jpg")
    with monkeypatch.context() as patch:
        patch.setattr("darkroomd.service.on_battery", lambda: True)
        patch.setattr(house.service._others, "percent", lambda _now: 80.0)
        house.look()
    assert house.verdicts == []
    assert [text for _since, text in house.ledger.live()] == [
        "paused: the machine runs on its battery",
        "paused: other programs use 80 % of the processor",
    ]
    monkeypatch.setattr(house.service._others, "percent", lambda _now: 20.0)
    house.look()
    assert house.outcomes() == [("a.jpg", "done")]


def test_what_is_not_as_it_should_be_can_be_read_from_the_ledger(house: House) -> None:
    def refuse() -> Any:
        raise ConfigError(["config.yaml:1:1: no"])

    house.service = house.a_service(reload=refuse)
    house.service._use_new_config()
    house.service._watcher._overflow._count = 1
    house.inbox.rmdir()
    house.look()
    told = " | ".join(text for _since, text in house.ledger.live())
    assert "the folder is not there" in told
    assert "the config on the disk has faults" in told
    assert "events may have been lost, last at " in told


# Scanning


def test_a_big_backlog_leaves_time_for_other_things(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroomd.service.BATCH", 3)
    for number in range(7):
        house.drop(f"{number}.jpg")
    assert house.service.tick(0) == 0
    assert house.service.tick(0) == 0
    assert house.service.tick(0) > 0
    house.after(3)
    assert len(house.results()) == 3
    house.after(0.02)
    house.after(0.02)
    assert len(house.results()) == 7


def test_a_share_without_events_is_looked_at_every_few_seconds(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroomd.watch.far_file_system", lambda _path: "nfs4")
    house.service._watcher.start()
    house.after(0)
    house.drop("a.jpg")
    house.after(10)
    house.after(3)
    assert house.results() == {"a.jpg": "better photo"}
    house.service._watcher.stop()


# Workers


def test_a_photo_that_kills_three_workers_is_put_aside_by_name_and_the_next_goes_on(real: House) -> None:
    real.drop("a.jpg", "kill")
    real.drop("b.jpg")
    real.after(0)
    real.after(3)
    with capture_logs() as log:
        for _ in range(3):
            real.until(lambda: not real.service._running)
            real.after(70)
        real.until(lambda: len(real.verdicts) == 2)
    assert sorted(real.outcomes()) == [("a.jpg", "failed"), ("b.jpg", "done")]
    (poison,) = [verdict for verdict in real.verdicts if verdict.status == "failed"]
    assert poison.reason == "put aside after 3 attempts: the worker died (SIGKILL)"
    assert [entry["attempt"] for entry in log if entry["event"] == "photo.worker_died"] == [1, 2]
    assert real.ledger.counts() == {"done": 1, "quarantined": 1}
    assert real.results()["b.jpg"] == "better photo"
    assert "the worker died (SIGKILL)" in real.results()["failed/a.jpg.txt"]
    assert list(real.outbox.glob(".*")) == []


# The loop itself


def ring(number: int, when: Callable[[], bool]) -> threading.Thread:
    """Sends us a signal as soon as it is so."""

    def wait() -> None:
        deadline = time.monotonic() + 90
        while not when() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_once_does_all_there_is_and_ends(house: House) -> None:
    house.config = house.a_config(settle_seconds=0.05)
    house.drop("a.jpg")
    house.drop("b.jpg", "bad")
    house.drop("c.jpg", "later")
    house.drop("cut.jpg", "cut")
    house.drop("empty.jpg", "")
    house.service = house.a_service(clock=time.monotonic, wall=time.time)
    with capture_logs() as log:
        summary = house.service.run_once()
    assert summary == Summary(verdicts={"done": 1, "refused": 3}, postponed=1, exit_code=0)
    assert house.ledger.counts() == {"done": 1, "refused": 3, "retry": 1}
    assert log[0]["event"] == "service.started"
    assert log[-1]["event"] == "service.stopped"


def test_the_service_sees_a_photo_by_event_and_stops_when_asked(real: House) -> None:
    real.config = real.a_config(settle_seconds=0.05, rescan_minutes=60)
    real.service = real.a_service(clock=time.monotonic, wall=time.time)
    fed = threading.Timer(0.3, real.drop, ("new/a.jpg",))  # after the scan
    fed.start()
    bell = ring(signal.SIGTERM, lambda: bool(real.verdicts))
    assert real.service.run_forever() == 0
    bell.join()
    fed.join()
    assert real.results() == {"new/a.jpg": "better photo"}
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_stopping_puts_the_picture_in_work_back(real: House) -> None:
    real.config = real.a_config(settle_seconds=0.05)
    real.service = real.a_service(clock=time.monotonic, wall=time.time)
    real.drop("a.jpg", "slow")
    bell = ring(signal.SIGTERM, lambda: bool(real.service._running))
    began = time.monotonic()
    assert real.service.run_forever() == 0
    bell.join()
    assert time.monotonic() - began < 60
    assert real.ledger.counts() == {"pending": 1}
    real.drop("a.jpg", "photo")
    real.service = real.a_service(clock=time.monotonic, wall=time.time)
    assert real.service.run_once().verdicts == {"done": 1}


def test_the_second_signal_ends_it_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(Exception):
        pass

    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr("os._exit", end)
    with house.service._serving():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Ended, match="143"):
            signal.raise_signal(signal.SIGTERM)


def test_a_good_new_config_is_used_and_a_bad_one_is_told_and_left(house: House) -> None:
    answers: list[Config | Exception] = [
        ConfigError(["config.yaml:3:5: folders: nobody can read this", "config.yaml:4:1: x: unknown"]),
        Unavailable("no such network"),
        replace(
            house.config,
            folders=(replace(house.config.folders[0], rules=(Rule("*.png", True, None),)),),
            service=configuration.Service(workers=2, settle_seconds=1.0, idle_minutes=2.0),
        ),
    ]

    def reload() -> tuple[Config, dict[str, str]]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer, DIGESTS

    house.service = house.a_service(reload=reload)
    with capture_logs() as log:
        house.service._use_new_config()
        house.service._use_new_config()
    assert [entry["fault"] for entry in log] == [
        "config.yaml:3:5: folders: nobody can read this", "config.yaml:4:1: x: unknown", "no such network",
    ]  # fmt: skip
    house.drop("a.png")
    house.look()
    assert house.outcomes() == [("a.png", "done")]
    with capture_logs() as log:
        house.service._use_new_config()
    assert [entry["event"] for entry in log] == ["config.reloaded"]
    house.service._watcher.stop()  # real events would come at any moment of our clock
    house.drop("b.png")
    house.drop("c.jpg")
    house.look()
    assert house.outcomes() == [("a.png", "done"), ("c.jpg", "done")]
    assert (house.workers.count, house.workers.idle_seconds) == (2, 120)


def test_a_new_config_that_cannot_be_used_in_this_moment_changes_nothing(house: House) -> None:
    """Its device was there when it was read, and is not when it is to be used."""
    new = replace(house.config, folders=(), service=configuration.Service(device="cuda"))
    house.service = house.a_service(reload=lambda: (new, DIGESTS))
    with capture_logs() as log:
        house.service._use_new_config()
    assert [entry["event"] for entry in log] == ["config.refused"]
    house.drop("a.png")
    house.look()
    assert house.outcomes() == [("a.png", "done")]


def test_a_service_without_a_config_file_says_so_when_asked_to_reload(house: House) -> None:
    with capture_logs() as log:
        house.service._use_new_config()
    assert log == [
        {"event": "config.refused", "fault": "this service was started without a config file", "log_level": "error"}
    ]


def test_systemd_hears_of_the_start_the_reload_and_the_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        path = str(house.state / "notify")
        systemd.bind(path)
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        house.drop("a.jpg")
        house.config = house.a_config(settle_seconds=0.05)
        house.service = house.a_service(
            clock=time.monotonic, wall=time.time, reload=lambda: (house.config, house.digests)
        )
        first = ring(signal.SIGHUP, lambda: bool(house.verdicts))
        heard: list[str] = []

        def listen() -> None:
            while heard[-1:] != ["STOPPING=1"]:
                heard.append(systemd.recv(4096).decode())
                if heard[-1].startswith("READY") and heard.count("READY=1") == 2:
                    os.kill(os.getpid(), signal.SIGTERM)

        listener = threading.Thread(target=listen)
        listener.start()
        assert house.service.run_forever() == 0
        listener.join()
        first.join()
    assert heard[:2] == ["STATUS=no photos yet", "READY=1"]
    reloading = next(number for number, line in enumerate(heard) if line.startswith("RELOADING=1\nMONOTONIC_USEC="))
    assert "READY=1" in heard[reloading:]
    assert "WATCHDOG=1" in heard


def test_a_ledger_that_cannot_be_written_is_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroomd.service.LEDGER_RETRY_SECONDS", 0.01)
    real, calls = house.ledger.heal, []

    def heal(*args: Any) -> Any:
        calls.append(args)
        if len(calls) < 3:
            raise CannotWrite("the disk is full")
        return real(*args)

    monkeypatch.setattr(house.ledger, "heal", heal)
    house.config = house.a_config(settle_seconds=0.05)
    house.service = house.a_service(clock=time.monotonic, wall=time.time)
    house.drop("a.jpg")
    bell = ring(signal.SIGINT, lambda: bool(house.verdicts))
    assert house.service.run_forever() == 0
    bell.join()
    assert len(calls) == 3


def test_a_killed_service_finishes_its_work_at_the_next_start(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom tests.test_service import House\nimport time\n"
        "if __name__ == '__main__':\n"
        f"    house = House(Path({str(tmp_path)!r}), executor=None)\n"
        "    house.config = house.a_config(settle_seconds=0.05)\n"
        "    house.service = house.a_service(clock=time.monotonic, wall=time.time)\n"
        "    house.service.run_forever()\n"
    )
    script = tmp_path / "service.py"
    script.write_text(program)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_text("slow")
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, script], env=environ, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        for line in service.stdout:
            if "photo.started" in line:
                service.kill()
                break
    house = House(tmp_path)
    (tmp_path / "in/a.jpg").write_text("photo")
    house.service.recover()
    house.look()
    house.after(3)
    assert house.results() == {"a.jpg": "better photo"}
    house.close()


def test_a_future_from_a_pool_is_what_the_service_waits_for(house: House) -> None:
    """Until it is done, nothing is published and nothing else is claimed."""
    pending: Future[Any] = Future()

    class Never(Inline):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            return pending

    house.workers = Workers(1, RUN, executor=Never)
    house.service = house.a_service()
    house.drop("a.jpg")
    house.drop("b.jpg")
    house.look()
    house.look()
    assert house.ledger.counts() == {"pending": 1, "running": 1}
    pending.set_exception(RuntimeError("over"))
    house.after(0)
    assert house.outcomes() == [("a.jpg", "failed"), ("b.jpg", "failed")]
