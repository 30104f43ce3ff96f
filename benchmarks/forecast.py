"""How true explain's forecast is: `python -m benchmarks.forecast`.

For each mode and size: `explain` and the same photo enhanced, in turns, in one process and so under the same load. The
photo is a free one that comes with scikit-image, with noise, at each size. Memory is the peak of a process of its own.
Rewrites its section of RESULTS.md.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyvips
from skimage import data

from benchmarks.results import machine, rewrite, table
from darkroomd.by_hand import enhanced_file, explained, job_for
from darkroomd.config import defaults

MODES = ("auto", "general", "unblur", "portrait", "text", "old-photo", "upscale")


def photo(path: Path, megapixels: float) -> None:
    pixels = data.coffee() if path.stem != "portrait" else data.astronaut()
    image = pyvips.Image.new_from_array(pixels).copy(interpretation="srgb")
    image = image.resize((megapixels * 1e6 / (image.width * image.height)) ** 0.5)
    noise = pyvips.Image.gaussnoise(image.width, image.height, sigma=12, mean=0)
    (image + noise).cast("uchar").jpegsave(str(path), Q=92)


def one(path: Path, mode_name: str, turns: int) -> dict[str, float]:
    """In a process of its own: the forecast and the truth in turns, so that what else the machine does meets both."""
    config = defaults()
    mode = config.modes[mode_name]
    config = replace(config, modes={**config.modes, "auto": mode})
    told, verdicts = [], []
    for turn in range(turns):
        told.append(explained(path, config))
        job = job_for(path.parent, path, path.parent / f"out-{mode_name}-{turn}{path.suffix}", mode, config)
        verdicts.append(enhanced_file(job))
    return {
        "seconds_told": sum(one.seconds for one in told) / turns,
        "seconds": sum(sum(verdict.seconds.values()) for verdict in verdicts) / turns,
        "mb_told": told[0].memory_mb, "mb": verdicts[0].peak_rss_mb,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--sizes", default="1,3", help="megapixels")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("FILE", "MODE"), help=argparse.SUPPRESS)
    parser.add_argument("--show", action="store_true", help="write nothing")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(Path(given.one[0]), given.one[1], given.turns)))
        return
    rows, ratios = [], []
    with TemporaryDirectory() as folder:
        for size in given.sizes.split(","):
            for mode in given.modes.split(","):
                path = Path(folder) / size / ("portrait.jpg" if mode == "portrait" else "photo.jpg")
                path.parent.mkdir(exist_ok=True)
                photo(path, float(size))
                command = [sys.executable, "-m", "benchmarks.forecast", "--one", str(path), mode]
                command += ["--turns", str(given.turns)]
                found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                ratios.append((found["seconds_told"] / found["seconds"], found["mb_told"] / found["mb"]))
                told = f"{found['seconds_told']:.1f} s, {found['mb_told']:.0f} MB"
                truth = f"{found['seconds']:.1f} s, {found['mb']:.0f} MB"
                rows.append([mode, size, told, truth, f"{ratios[-1][0]:.2f}", f"{ratios[-1][1]:.2f}"])
                print(" | ".join(rows[-1]), flush=True)
    within = np.mean(np.abs(np.array(ratios) - 1) <= 0.3, axis=0) * 100
    if not given.show:
        text = (
            f"{machine()}. Forecast and truth in {given.turns} turns in one process, means; where the machine is busy "
        )
        text += "with other things, the ratios are what counts.\n\n"
        text += table(["mode", "megapixels", "forecast", "truth", "seconds, ratio", "memory, ratio"], rows)
        text += f"\n\nWithin 30 %: {within[0]:.0f} % of the seconds, {within[1]:.0f} % of the memory."
        rewrite("Forecast", text)


if __name__ == "__main__":
    main()
