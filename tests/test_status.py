"""What waits, runs, went well or did not, from a real ledger."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from darkroomd.config import Folder
from darkroomd.job import Job, Mode, Staged, Treatment, Verdict
from darkroomd.record import Ledger
from darkroomd.say import status_lines
from darkroomd.status import PROBLEMS_SHOWN, status_of
from tests.conftest import make_job

NOW = 1_000_000.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "state", owner=True, now=NOW) as one:
        yield one


def taken_in(ledger: Ledger, folder: Path, count: int) -> None:
    jobs: list[Job] = []
    for number in range(count):
        photo = folder / f"{number:03}.jpg"
        photo.write_text(str(number))
        jobs.append(make_job(photo, folder / "out" / photo.name, Mode("general", (Treatment("general"),))))
    ledger.take_in(jobs, NOW)


def test_of_an_empty_ledger_there_is_nothing_to_tell(ledger: Ledger, tmp_path: Path) -> None:
    facts = status_of(ledger, (), NOW)
    assert facts == {
        "counts": {}, "queued": 0, "photos_per_hour": 0, "eta_minutes": None, "folders": [], "running": [],
        "problems": [], "limits": [], "notes": [],
    }  # fmt: skip


def test_counts_rate_and_the_minutes_that_the_queue_needs(ledger: Ledger, tmp_path: Path) -> None:
    taken_in(ledger, tmp_path, 10)
    claimed = ledger.claim(NOW, 5)
    for number, one in enumerate(claimed[:4]):
        verdict = Verdict(one.job.source, "unchanged", "general")
        ledger.staged(one.id, Staged(one.job, str(number), verdict), NOW - 3000 if number else NOW - 4000)
    facts = status_of(ledger, (), NOW)
    assert facts["counts"] == {"pending": 5, "running": 1, "unchanged": 4}
    assert (facts["queued"], facts["photos_per_hour"]) == (6, 3)  # one is more than an hour ago
    assert facts["eta_minutes"] == 120
    assert [entry["source"] for entry in facts["running"]] == [str(claimed[4].job.source)]


def test_every_problem_is_told_with_its_reason_the_latest_first(ledger: Ledger, tmp_path: Path) -> None:
    taken_in(ledger, tmp_path, 3)
    first, second, third = ledger.claim(NOW, 3)
    ledger.rejected(first.id, Verdict(first.job.source, "refused", "general", reason="not a photo"), NOW + 1)
    ledger.postponed(second.id, "no space is left", NOW + 15, NOW + 2)
    ledger.set_aside(third.id, "conflict", "the name is taken", NOW + 3)
    problems = status_of(ledger, (), NOW + 4)["problems"]
    assert [(entry["state"], entry["reason"]) for entry in problems] == [
        ("conflict", "the name is taken"), ("retry", "no space is left"), ("refused", "not a photo"),
    ]  # fmt: skip


def test_what_could_not_be_brought_back_in_the_last_photos_is_told(ledger: Ledger, tmp_path: Path) -> None:
    taken_in(ledger, tmp_path, 3)
    said = ("strong motion blur: another shot would help more",)
    for one, limits in zip(ledger.claim(NOW, 3), ((), said, ()), strict=True):
        verdict = Verdict(one.job.source, "unchanged", "auto", limits=limits)
        ledger.staged(one.id, Staged(one.job, "", verdict), NOW)
    facts = status_of(ledger, (), NOW)
    assert facts["limits"] == [{"source": str(tmp_path / "001.jpg"), "limits": [*said]}]
    assert any(f"001.jpg: {said[0]}" in line for line in status_lines(facts))


def test_a_thousand_problems_are_counted_and_the_latest_shown(ledger: Ledger, tmp_path: Path) -> None:
    taken_in(ledger, tmp_path, PROBLEMS_SHOWN + 5)
    for one in ledger.claim(NOW, PROBLEMS_SHOWN + 5):
        ledger.rejected(one.id, Verdict(one.job.source, "refused", "general", reason="not a photo"), NOW)
    facts = status_of(ledger, (), NOW)
    assert facts["counts"] == {"refused": PROBLEMS_SHOWN + 5}
    assert len(facts["problems"]) == PROBLEMS_SHOWN


def test_folders_that_are_not_there_are_told(ledger: Ledger, tmp_path: Path) -> None:
    here = Folder(tmp_path, tmp_path / "out", Mode("general", (Treatment("general"),)))
    facts = status_of(ledger, (here, replace(here, watch=tmp_path / "card")), NOW)
    assert [folder["there"] for folder in facts["folders"]] == [True, False]
    assert json.loads(json.dumps(facts)) == facts


def test_a_ledger_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/ledger.sqlite").write_bytes(b"no database at all" * 100)
    with Ledger.open(tmp_path / "state", owner=False) as ledger:
        (note,) = status_of(ledger, (), NOW)["notes"]
    assert "cannot be read" in note
