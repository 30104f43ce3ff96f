"""How much memory giants take: `python -m benchmarks.giants [FORMAT ...]`. Rewrites its section of RESULTS.md.

Each picture passes once, in a process of its own, through a network that changes nothing: what a network's tile takes
comes on top, whatever the picture's size, and is on its card. Needs about 4 GB below TMPDIR (else /var/tmp).
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import pyvips

from benchmarks.results import machine, rewrite, table
from darkroomd import pipeline
from darkroomd.job import Limits, Mode, Treatment
from tests import networks
from tests.conftest import make_job

SIDES = (10_000, 20_000)
FORMATS = ("jpg", "tif", "png")


def giant(path: Path, side: int) -> None:
    """Waves of colour with grain, as files of this kind have them; made in bands itself."""
    place = pyvips.Image.xyz(side, side)
    waves = (place[0] * 0.05).bandjoin([place[1] * 0.07, (place[0] + place[1]) * 0.03]) % 256
    image = (waves + pyvips.Image.gaussnoise(side, side, mean=0, sigma=6)).cast("uchar").copy(interpretation="srgb")
    known: dict[str, dict[str, Any]] = {"jpg": {"Q": 92}, "tif": {"compression": "lzw"}, "png": {"compression": 1}}
    options = known[path.suffix[1:]]
    image.write_to_file(str(path), **options)


def pass_through(source: Path, home: Path) -> None:
    """In a process of its own: the verdict as JSON."""
    networks.shipped(home / "models", pytest.MonkeyPatch(), same=networks.identity())
    mode, limits = Mode("same", (Treatment("same"),)), Limits(max_megapixels=1000, max_file_mb=5000)
    answer = pipeline.run(make_job(source, home / f"out{source.suffix}", mode, limits=limits))
    assert answer.temporary is not None
    answer.temporary.unlink()
    print(json.dumps(answer.verdict.as_json()))


def measured(form: str, side: int) -> list[str]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        source = Path(name) / f"giant.{form}"
        giant(source, side)
        command = [sys.executable, "-m", "benchmarks.giants", "--pass", str(source), name]
        verdict = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        seconds = sum(verdict["seconds"].values())
        return [
            f"{form}, {side**2 / 1e6:.0f} megapixels", f"{source.stat().st_size / 1e6:.0f}", verdict["status"],
            f"{verdict['peak_rss_mb']}", f"{seconds:.0f}", f"{seconds / (side**2 / 1e6):.2f}",
        ]  # fmt: skip


def main(forms: Sequence[str]) -> None:
    rows = [measured(form, side) for form in forms for side in SIDES]
    text = (
        f"{machine()}. Through a network that changes nothing; a tile of another comes on top. A busy machine.\n\n"
        + table(["picture", "file, MB", "became", "peak memory, MB", "seconds", "seconds per megapixel"], rows)
    )
    print(text)
    rewrite("Giants", text)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--pass"]:
        pass_through(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        main(sys.argv[1:] or FORMATS)
