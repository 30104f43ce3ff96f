"""What a person reads, word by word."""

from pathlib import Path
from typing import Any

import pytest

from darkroomd import say
from darkroomd.job import Step, Verdict

FOUND = {"megapixels": 12.19, "noise_sigma": 14.2, "blur_sigma": 0.8, "jpeg_quality": 55}
STEP = Step("general", "0" * 12, "all", 0.7, "noise (sigma 14.2)")


def test_a_finished_photo_is_one_line_of_what_was_found_what_was_done_and_how_long_it_took() -> None:
    verdict = Verdict(
        Path("/in/cat.jpg"), "done", "auto", Path("/out/cat.jpg"), found=FOUND, steps=(STEP,),
        seconds={"decode": 0.5, "enhance": 3.06},
    )  # fmt: skip
    assert say.verdict_line(verdict) == (
        "cat.jpg -> /out/cat.jpg  12.19 megapixels, noise 14.2, blur 0.8 px, JPEG 55; "
        "general at 0.7 for noise (sigma 14.2); 3.6 s"
    )


def test_a_place_below_the_working_folder_is_told_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    verdict = Verdict(Path("/in/cat.jpg"), "done", "auto", tmp_path / "out/cat.jpg")
    assert say.verdict_line(verdict) == "cat.jpg -> out/cat.jpg  left as it is; 0.0 s"
    assert say.near(Path("/elsewhere/cat.jpg")) == Path("/elsewhere/cat.jpg")


def test_a_result_that_was_taken_from_the_same_photo_is_told_as_that() -> None:
    verdict = Verdict(Path("/in/cat.jpg"), "done", "auto", Path("/out/cat.jpg"), reason="the same photo as b.jpg")
    assert say.verdict_line(verdict) == "cat.jpg -> /out/cat.jpg  the same photo as b.jpg; 0.0 s"


@pytest.mark.parametrize("status", ["unchanged", "refused", "failed"])
def test_every_other_end_is_told_with_its_reason(status: Any) -> None:
    assert say.verdict_line(Verdict(Path("/in/cat.jpg"), status, "auto", reason="so")) == f"cat.jpg  {status}: so"
    assert say.verdict_line(Verdict(Path("/in/cat.jpg"), status, "auto")) == f"cat.jpg  {status}"


def test_only_what_was_measured_is_told() -> None:
    nothing = {"megapixels": 0.5, "noise_sigma": None, "blur_sigma": None, "jpeg_quality": None}
    assert say.found_words(Verdict(Path("/a"), "done", "auto", found=nothing)) == "0.5 megapixels"
    assert say.found_words(Verdict(Path("/a"), "done", "auto")) == ""


NASTY = "/in/a\nb\x1b[31m\udcff.jpg"
TAME = "a\\nb\\x1b[31m\\udcff.jpg"


def test_no_name_can_colour_break_or_stop_a_line() -> None:
    done = Verdict(Path(NASTY), "done", "auto", Path(NASTY))
    assert say.verdict_line(done) == f"{TAME} -> /in/{TAME}  left as it is; 0.0 s"
    refused = Verdict(Path(NASTY), "refused", "auto", reason=f"the same as {NASTY}")
    assert say.verdict_line(refused) == f"{TAME}  refused: the same as /in/{TAME}"
    told = [*say.explanation_lines(explanation(source=NASTY, target=NASTY, rule=NASTY)), *say.status_lines(status())]
    assert all(line.isprintable() for line in told)


def explanation(**facts: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "source": "/in/cat.jpg", "target": "/out/cat.jpg", "mode": "auto", "rule": "folder /in", "refused": None,
        "found": {"noise_sigma": 14.2, "blur_sigma": None},
        "steps": [{"model": "general", "strength": 0.7, "reason": "noise (sigma 14.2)"}],
        "limits": ["3 % of the picture is clipped to white: nothing to reconstruct there"],
        "width": 4000, "height": 3000, "seconds": 6.1, "memory_mb": 410, "suggestion": None,
    }  # fmt: skip
    return plain | facts


def test_an_explanation_is_one_screen() -> None:
    assert list(say.explanation_lines(explanation())) == [
        "/in/cat.jpg",
        "  rule      folder /in, mode auto",
        "  picture   4000×3000",
        "  found     noise sigma 14.2",
        "  would do  general at strength 0.7: noise (sigma 14.2)",
        "  limit     3 % of the picture is clipped to white: nothing to reconstruct there",
        "  result    /out/cat.jpg",
        "  forecast  6.1 s, 410 MB",
    ]


def test_an_explanation_of_a_good_photo_and_of_a_bad_one() -> None:
    good = list(say.explanation_lines(explanation(steps=[], limits=[], target=None)))
    assert good[4:] == ["  would do  nothing: the photo is good as it is", "  forecast  6.1 s, 410 MB"]
    bad = list(say.explanation_lines(explanation(refused="not a photo")))
    assert bad == ["/in/cat.jpg", "  rule      folder /in, mode auto", "  refused   not a photo"]


def status(**facts: Any) -> dict[str, Any]:
    entry = {"state": "running", "source": NASTY, "reason": None}
    plain: dict[str, Any] = {
        "counts": {"done": 3, "failed": 1, "retry": 0}, "queued": 2, "photos_per_hour": 1, "eta_minutes": None,
        "folders": [
            {"watch": "/in", "output": "/out", "there": True}, {"watch": NASTY, "output": "/o", "there": False},
        ],
        "limits": [{"source": "/in/dark.jpg", "limits": ["very dark", "strong blur"]}],
        "running": [entry], "problems": [entry | {"state": "failed", "source": "/in/b.jpg", "reason": "so"}],
        "notes": ["the ledger was damaged"],
    }  # fmt: skip
    return plain | facts


def test_status_is_counts_rate_folders_and_problems() -> None:
    assert list(say.status_lines(status())) == [
        "3 done, 1 failed",
        "1 photo in the last hour",
        "  /in -> /out",
        f"  /in/{TAME} -> /o: not there",
        f"  running     /in/{TAME}",
        "  failed      /in/b.jpg: so",
        "  limits      /in/dark.jpg: very dark; strong blur",
        "note: the ledger was damaged",
    ]


def test_status_tells_how_long_the_queue_will_take_when_that_is_known() -> None:
    lines = list(say.status_lines(status(photos_per_hour=30, eta_minutes=4.0)))
    assert lines[1] == "30 photos in the last hour; the queue needs about 4 minutes"
    assert list(say.status_lines(status(counts={}, photos_per_hour=0)))[:2] == ["nothing seen yet", "  /in -> /out"]
