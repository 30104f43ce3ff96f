"""What people use instead, beside darkroomd, in one run on the same photo and cores: `make peers`.

Rewrites its section of RESULTS.md; about six minutes on two idle cores. Each peer runs in a process of its own, JPEG to
JPEG, from an environment of its own (benchmarks/peers.txt); in turns, `--tries` times, and the best counts for each
clock by itself. Beside seconds stand core-seconds, the processor's time of all threads, which other work on the
machine touches much less. Loading libraries and networks counts in neither; memory is the process's own peak. A large
photo, for memory, is given to the loop of PyTorch alone, once. For a first look:
`--megapixels 0.1 --large-megapixels --tries 1`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.bench import Bench, means, pixels
from benchmarks.measures import luma, psnr
from benchmarks.quality import DATA
from benchmarks.results import Others, machine, rewrite, table
from benchmarks.upscale import Pair, realistic, results, set5, set14
from darkroomd.models import cards
from darkroomd.openvino import bfloat16, installed
from darkroomd.places import shipped_folder
from tests import pictures
from tests.command import argv, environment

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-peers/bin/python"
SIZES = {0.1: (384, 288), 0.25: (576, 432), 1: (1152, 864), 12: (4000, 3000), 24: (6000, 4000)}


# a `service.device`, and what the table says of it
ENGINES = {"cpu": "ONNX Runtime, float32"}
if installed() and bfloat16():
    ENGINES["openvino"] = "OpenVINO, bfloat16"


@dataclass(frozen=True)
class Rival:
    """name: as peers_one.py knows it. scale: of the result, along a side; ours is `general` at 1, else `upscale`."""

    name: str
    what: str
    scale: int = 1


RIVALS = (
    Rival("torch", "PyTorch, the usual loop of tiles of 512, the weights of `general`"),
    Rival("torch-upscale", "PyTorch, the same, the weights of `upscale-2`", 2),
    Rival("realesr-animevideov3", "Real-ESRGAN (ncnn), realesr-animevideov3 ×2", 2),
    Rival("realesrgan-x4plus", "Real-ESRGAN (ncnn), realesrgan-x4plus ×4", 4),
    Rival("nlm", "OpenCV fastNlMeansDenoisingColored (no network)"),
    Rival("lanczos", "OpenCV Lanczos ×2 (no network)", 2),
)
LOOP, SLOW = "torch", "realesrgan-x4plus"
GOAL_LOOP, GOAL_SLOW, GOAL_MEMORY_PERCENT = 3, 20, 25
HEAD = [
    "input", "what people use", "ours computes with", "its s", "our s", "its core-s", "our core-s",
    "ours is faster by, s", "by core-s", "its core-s per MP of result", "our core-s per MP of result",
    "its MB", "our MB", "our share of its memory",
]  # fmt: skip


@dataclass
class Best:
    """The least of all tries. wall, cores: seconds. peak_mb: of the process; the largest."""

    wall: float = float("inf")
    cores: float = float("inf")
    peak_mb: int = 0
    version: str = ""

    def take(self, facts: dict[str, object]) -> None:
        self.wall = min(self.wall, float(str(facts["wall"])))
        self.cores = min(self.cores, float(str(facts["cores"])))
        self.peak_mb = max(self.peak_mb, int(str(facts["peak_mb"])))
        self.version = str(facts["version"])


def asked(command: list[str], environ: dict[str, str]) -> dict[str, object] | None:
    """The last line of its stdout; None, with the reason on stderr, when it could not do it."""
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{' '.join(command[-4:])}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    answer: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


OURS = """
import json, sys, time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from darkroomd import pipeline
from darkroomd.by_hand import job_for
from darkroomd.config import defaults
from darkroomd.job import Mode, Treatment
from darkroomd.models import cards
device, scale, photo, small, out = sys.argv[1:]
settings = defaults()
mode = replace(settings.modes["general"], choose=False)
if scale != "1":
    enlarging = [name for name, card in cards().items() if card.scale > 1]
    mode = Mode("upscale", tuple(Treatment(name) for name in enlarging), scale=int(scale))
def once(source, target):
    job = job_for(Path(source).parent, Path(source), Path(target), mode, settings)
    job = replace(job, engine=replace(job.engine, device=device))
    wall, cores = time.perf_counter(), time.process_time()
    staged = pipeline.run(job)
    assert staged.verdict.status == "done", staged.verdict
    spent = time.perf_counter() - wall, time.process_time() - cores
    job.temporary.unlink()
    return *spent, staged.verdict.peak_rss_mb
once(small, out)
wall, cores, peak = once(photo, out)
print(json.dumps({"wall": wall, "cores": cores, "peak_mb": peak, "version": "darkroomd " + version("darkroomd")}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", nargs="*", type=float, choices=list(SIZES), default=[1])
    parser.add_argument("--large-megapixels", nargs="*", type=float, choices=list(SIZES), default=[24])
    parser.add_argument("--slow-megapixels", type=float, choices=list(SIZES), default=0.1, help="for x4plus, and ours")
    parser.add_argument("--tries", type=int, default=2)
    parser.add_argument("--rivals", nargs="*", default=[rival.name for rival in RIVALS])
    parser.add_argument("--data", type=Path, default=DATA, help="the blind sets, for what is near to the truth")
    given = parser.parse_args()
    if not PYTHON.exists():
        raise SystemExit(f"{PYTHON} is not there: make peers")
    others, scales = Others(), {card.scale for card in cards().values()}
    rows = list[list[str]]()
    wanted = [rival for rival in RIVALS if rival.name in given.rivals and rival.scale in scales]
    turns = [
        (rival, given.slow_megapixels if rival.name == SLOW else megapixels, given.tries)
        for megapixels in given.megapixels
        for rival in wanted
    ]
    turns += [(rival, megapixels, 1) for megapixels in given.large_megapixels for rival in wanted if rival.name == LOOP]
    reached = Reached()
    for rival, megapixels, tries in dict.fromkeys(turns):
        theirs, ours = measured(rival, SIZES[megapixels], tries)
        for told, best in ours.items():
            rows.append(row(rival, SIZES[megapixels], theirs, told, best))
            reached.take(rival, SIZES[megapixels], theirs, told, best)
            print(" | ".join(rows[-1]), flush=True)
    text = (
        f"{machine()}. {others.told()} JPEG to JPEG, a noisy scene, each in a process of its own, in turns, at its "
        "best; libraries and networks are loaded already.\n\n" + table(HEAD, rows) + "\n\n"
        + table(["goal, in core-seconds", "ours computes with", "asked", "reached"], [*reached.rows()])
    )  # fmt: skip
    if given.data.exists() and any(rival.name == SLOW for rival in wanted):
        text += (
            f"\n\nHow near to the truth: PSNR of luma, dB, as in *Quality: upscale*, ×4; {SLOW} invents detail that "
            "looks sharp and is not what was there.\n\n"
            + table(["set", "bicubic", SLOW, "ours, float32"], [*nearness(given.data)])
        )
    print(text)
    rewrite("Peers", text)


@dataclass
class Reached:
    """What the goals are held against. of_loop: times as fast with the same weights, by engine and factor. slow:
    core-seconds for a megapixel of result. ours: the same by engine and network. memory_percent: by size and engine."""

    of_loop: dict[tuple[int, str], float] = field(default_factory=dict)
    slow: float = 0.0
    ours: dict[tuple[int, str], float] = field(default_factory=dict)
    memory_percent: dict[tuple[float, str], float] = field(default_factory=dict)

    def take(self, rival: Rival, size: tuple[int, int], theirs: Best, told: str, ours: Best) -> None:
        megapixels = size[0] * size[1] / 1e6
        key = rival.scale, told
        self.ours[key] = min(ours.cores / (megapixels * rival.scale**2), self.ours.get(key, float("inf")))
        if rival.name == SLOW:
            self.slow = theirs.cores / (megapixels * rival.scale**2)
        if rival.name.startswith(LOOP):
            self.of_loop[key] = max(theirs.cores / ours.cores, self.of_loop.get(key, 0.0))
        if rival.name == LOOP:
            self.memory_percent[megapixels, told] = 100 * ours.peak_mb / theirs.peak_mb

    def rows(self) -> Iterator[list[str]]:
        for (scale, told), times in sorted(self.of_loop.items()):
            what = "the same size" if scale == 1 else f"×{scale}"
            yield [f"faster than PyTorch's loop, the same weights, {what}", told, f"{GOAL_LOOP} ×", f"{times:.1f} ×"]
        for (scale, told), cost in sorted(self.ours.items()) if self.slow else ():
            what = "the same size" if scale == 1 else f"×{scale}"
            yield [f"faster than {SLOW} for a megapixel of result, {what}", told, f"{GOAL_SLOW} ×",
                   f"{self.slow / cost:.0f} ×"]  # fmt: skip
        for (megapixels, told), percent in sorted(self.memory_percent.items()):
            yield [f"memory, of the PyTorch loop's, at {megapixels:.3g} MP", told, f"≤ {GOAL_MEMORY_PERCENT} %",
                   f"{percent:.0f} %"]  # fmt: skip


def measured(rival: Rival, size: tuple[int, int], tries: int) -> tuple[Best, dict[str, Best]]:
    """Theirs, and ours by what computes; nothing of ours where theirs could not be measured."""
    theirs, ours = Best(), {told: Best() for told in ENGINES.values()}
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        photo = pictures.write_jpeg(home / "photo.jpg", pictures.with_noise(pictures.scene(*size), 8), 92)
        small = pictures.write_jpeg(home / "small.jpg", pictures.with_noise(pictures.scene(96, 64), 8), 92)
        for _ in range(tries):
            facts = theirs_of(rival.name, photo, small, home / "theirs.jpg")
            if facts is None:
                return theirs, {}
            theirs.take(facts)
            for device, told in ENGINES.items():
                words = [device, str(rival.scale), *map(str, (photo, small, home / "ours.jpg"))]
                facts = asked([*argv()[:1], "-c", OURS, *words], environment(home))
                if facts is None:
                    return theirs, {}
                ours[told].take(facts)
    return theirs, ours


def theirs_of(name: str, photo: Path, small: Path, target: Path) -> dict[str, object] | None:
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(PYTHON), str(ROOT / "benchmarks/peers_one.py"), name, *map(str, (photo, small, target))]
    return asked(command, environ)


def row(rival: Rival, size: tuple[int, int], theirs: Best, told: str, ours: Best) -> list[str]:
    result = size[0] * size[1] * rival.scale**2 / 1e6
    return [
        f"{size[0] * size[1] / 1e6:.2f} MP",
        f"{rival.what}; {theirs.version}",
        told,
        f"{theirs.wall:.2f}",
        f"{ours.wall:.2f}",
        f"{theirs.cores:.2f}",
        f"{ours.cores:.2f}",
        f"{theirs.wall / ours.wall:.2g} ×",
        f"{theirs.cores / ours.cores:.2g} ×",
        f"{theirs.cores / result:.2f}",
        f"{ours.cores / result:.2f}",
        str(theirs.peak_mb),
        str(ours.peak_mb),
        f"{100 * ours.peak_mb / theirs.peak_mb:.0f} %",
    ]


def nearness(data: Path, scale: int = 4) -> Iterator[list[str]]:
    """The slow rival and ours against the truth of the blind sets."""
    bench, inner = Bench(data, shipped_folder()), np.s_[scale:-scale, scale:-scale]
    for name, pairs in (("Set5", set5), ("Set14", set14), ("realistic", realistic)):

        def judge(pair: Pair) -> list[float]:
            with tempfile.TemporaryDirectory() as folder:
                photo, tiny = Path(folder) / "photo.png", Path(folder) / "tiny.png"
                pictures.write_png(photo, np.rint(255 * pair.small.clip(0, 1)).astype(np.uint8))
                pictures.write_png(tiny, np.zeros((8, 8, 3), np.uint8))
                if theirs_of(SLOW, photo, tiny, Path(folder) / "out.png") is None:
                    raise SystemExit(f"{SLOW}: no answer")
                theirs = pixels(Path(folder) / "out.png")
            bicubic, _lanczos, ours = results(bench, pair.small, scale)
            return [psnr(luma(r)[inner], luma(pair.truth)[inner]) for r in (bicubic, theirs, ours)]

        yield [f"{name} ×{scale}", *(f"{value:.2f}" for value in means(judge, pairs(bench, scale)))]


if __name__ == "__main__":
    main()
