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

# side of the picture, and how many times as wide its result is
WANTED = ((10_000, 1), (20_000, 1), (10_000, 2))
FORMATS = ("jpg", "tif", "png")


def giant(path: Path, side: int) -> None:
    """Waves of colour with grain, as files of this kind have them; made in bands itself."""
    place = pyvips.Image.xyz(side, side)
    waves = (place[0] * 0.05).bandjoin([place[1] * 0.07, (place[0] + place[1]) * 0.03]) % 256
    image = (waves + pyvips.Image.gaussnoise(side, side, mean=0, sigma=6)).cast("uchar").copy(interpretation="srgb")
    known: dict[str, dict[str, Any]] = {"jpg": {"Q": 92}, "tif": {"compression": "lzw"}, "png": {"compression": 1}}
    options = known[path.suffix[1:]]
    image.write_to_file(str(path), **options)


def pass_through(source: Path, home: Path, scale: int) -> None:
    """In a process of its own: the verdict as JSON. scale: 1, or 2 for a network that makes four pixels of each."""
    large = networks.enlarge(2), {"scale": 2}
    networks.shipped(home / "models", pytest.MonkeyPatch(), same=networks.identity(), large=large)
    mode, limits = Mode("same", (Treatment("same"),)), Limits(max_megapixels=1000, max_file_mb=5000)
    if scale == 2:
        mode = Mode("large", (Treatment("large"),), scale=2)
    answer = pipeline.run(make_job(source, home / f"out{source.suffix}", mode, limits=limits))
    assert answer.temporary is not None
    answer.temporary.unlink()
    print(json.dumps(answer.verdict.as_json()))


def measured(form: str, side: int, scale: int) -> list[str]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        source = Path(name) / f"giant.{form}"
        giant(source, side)
        command = [sys.executable, "-m", "benchmarks.giants", "--pass", str(source), name, str(scale)]
        verdict = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        seconds = sum(verdict["seconds"].values())
        enlarged = f", enlarged {scale} times" if scale > 1 else ""
        return [
            f"{form}, {side**2 / 1e6:.0f} megapixels{enlarged}", f"{source.stat().st_size / 1e6:.0f}",
            verdict["status"], f"{verdict['peak_rss_mb']}", f"{seconds:.0f}", f"{seconds / (side**2 / 1e6):.2f}",
        ]  # fmt: skip


def main(forms: Sequence[str]) -> None:
    rows = []
    for form in forms:
        for side, scale in WANTED:
            rows.append(measured(form, side, scale))
            print(*rows[-1], flush=True)
            heads = ["picture", "file, MB", "became", "peak memory, MB", "seconds", "seconds per megapixel"]
            rewrite(
                "Giants",
                f"{machine()}. Through a network that changes nothing; a tile of another comes on top. "
                f"A busy machine.\n\n{table(heads, rows)}",
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--pass"]:
        pass_through(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    else:
        main(sys.argv[1:] or FORMATS)
