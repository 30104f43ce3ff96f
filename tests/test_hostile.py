"""Damaged and hostile files, more than 300 of them (tests/hostile.py): nothing crashes, hangs, or is half written."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests import hostile, pictures
from tests.command import argv, environment

WHOLE_RUN_SECONDS = 300  # of a machine that others use too; 20 on an idle one


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose inbox holds the corpus and one good photo. All are decoded and written anew, as PNG."""
    home = tmp_path_factory.mktemp("hostile")
    hostile.write(home / "in")
    pictures.write_jpeg(home / "in" / "zzz-good.jpg", pictures.scene(96, 64))
    (home / "config.yaml").write_text(
        "folders: [{watch: in, output: out, mode: general, strength: 0}]\n"
        "output: {format: png}\n"
        "service: {settle_seconds: 0.1}\n"
    )
    return home


def test_three_hundred_bad_files_harm_neither_the_service_nor_the_good_photo(house: Path) -> None:
    corpus = {path.name: path.read_bytes() for path in (house / "in").iterdir()}
    assert len(corpus) > 300
    began = time.monotonic()
    answer = subprocess.run(
        argv("once", "--config", house / "config.yaml"), env=environment(house), capture_output=True, text=True,
        check=False, timeout=WHOLE_RUN_SECONDS,
    )  # fmt: skip
    assert answer.returncode in (1, 75), answer.stderr[-2000:]  # some were refused, some may still be arriving
    assert time.monotonic() - began < WHOLE_RUN_SECONDS
    status = subprocess.run(
        argv("status", "--json", "--config", house / "config.yaml"), env=environment(house), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    counts = json.loads(status.stdout)["counts"]
    assert set(counts) <= {"unchanged", "done", "refused", "waiting"}, status.stdout[:3000]
    assert "died" not in answer.stderr
    assert (house / "out" / "zzz-good.png").exists()
    assert {path.name: path.read_bytes() for path in (house / "in").iterdir()} == corpus
    results = os.listdir(house / "out")  # noqa: PTH208 - hidden ones too
    results.remove("failed")
    assert len(list((house / "out/failed").iterdir())) == counts["refused"]
    assert len(results) == counts.get("unchanged", 0) + counts.get("done", 0)
    for name in results:
        assert pictures.read(house / "out" / name).size
