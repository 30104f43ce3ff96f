"""A short run of `make torture`, in a process of its own: nothing that goes wrong in there comes back into here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import TREE
from tests.torture.house import png
from tests.torture.processes import is_whole_png
from tests.torture.soak import Soak

SKIPPED = 77


@pytest.mark.parametrize("name", ["kills", "daemon", "cuts", "errors"])
def test_whatever_happens_no_photo_is_lost_half_written_or_done_twice(name: str, tmp_path: Path) -> None:
    """And what is left out on purpose, a sync of the file or of its folder, is missed."""
    environ = os.environ | {"TMPDIR": str(tmp_path)}
    words = [sys.executable, "-m", "tests.torture", name, "--short"]
    done = subprocess.run(
        words, cwd=TREE.parent, env=environ, capture_output=True, text=True, check=False, timeout=1500
    )
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    parts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, done.stderr[-3000:]
    assert parts
    for part in parts:
        assert part["trials"] > 0, part
        assert bool(part["wrong"]) == ("not synced" in part["part"]), part
    assert list(tmp_path.iterdir()) == []


def test_half_of_a_picture_is_known_for_one() -> None:
    whole = png(1)
    assert is_whole_png(whole)
    assert not any(is_whole_png(whole[:at]) for at in range(8, len(whole)))
    assert not is_whole_png(whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])


def test_a_short_soak_of_the_whole_program_loses_no_event_and_leaves_one_result_for_each_photo(tmp_path: Path) -> None:
    """As `make soak`, which also measures whether anything grows; forty photos are too few for that."""
    facts = Soak(tmp_path, photos=40, seed=2, stand_in=True).run()
    assert {name: facts[name] for name in ("photos", "missing", "broken", "exit_code")} == {
        "photos": 40, "missing": 0, "broken": 0, "exit_code": 0,
    }  # fmt: skip
    assert facts["renamed"] + facts["removed"] > 0
    assert set(facts["states"]) <= {"done", "superseded"}
