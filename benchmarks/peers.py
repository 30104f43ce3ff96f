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
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import Others, machine, rewrite, table
from darkroomd.models import cards
from tests import pictures
from tests.command import argv, environment

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-peers/bin/python"
SIZES = {0.1: (384, 288), 0.25: (576, 432), 1: (1152, 864), 12: (4000, 3000), 24: (6000, 4000)}


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
ITS_PER_MP, OURS_PER_MP = "its core-s per MP of result", "our core-s per MP of result"
HEAD = [
    "input", "what people use", "its s", "our s", "its core-s", "our core-s", "ours is faster by, s", "by core-s",
    ITS_PER_MP, OURS_PER_MP, "its MB", "our MB", "our share of its memory",
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
scale, photo, small, out = sys.argv[1:]
settings = defaults()
mode = replace(settings.modes["general"], choose=False)
if scale != "1":
    enlarging = [name for name, card in cards().items() if card.scale > 1]
    mode = Mode("upscale", tuple(Treatment(name) for name in enlarging), scale=int(scale))
def once(source, target):
    job = job_for(Path(source).parent, Path(source), Path(target), mode, settings)
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
    given = parser.parse_args()
    if not PYTHON.exists():
        raise SystemExit(f"{PYTHON} is not there: make peers")
    others, scales = Others(), {card.scale for card in cards().values()}
    rows, slow, ours = [], [], dict[int, float]()
    wanted = [rival for rival in RIVALS if rival.name in given.rivals and rival.scale in scales]
    turns = [
        (rival, given.slow_megapixels if rival.name == SLOW else megapixels, given.tries)
        for megapixels in given.megapixels
        for rival in wanted
    ]
    turns += [(rival, megapixels, 1) for megapixels in given.large_megapixels for rival in wanted if rival.name == LOOP]
    for rival, megapixels, tries in dict.fromkeys(turns):
        row = measured(rival, SIZES[megapixels], tries)
        if row:
            rows.append(row)
            print(" | ".join(row), flush=True)
            ours[rival.scale] = min(float(row[HEAD.index(OURS_PER_MP)]), ours.get(rival.scale, float("inf")))
            slow += [float(row[HEAD.index(ITS_PER_MP)])] if rival.name == SLOW else []
    text = (
        f"{machine()}. {others.told()} JPEG to JPEG, a noisy scene, each in a process of its own, in turns, at its "
        "best; libraries and networks are loaded already.\n\n" + table(HEAD, rows)
    )
    if slow:
        told = ", ".join(f"{slow[0] / took:.0f} × (result {scale} × as wide)" for scale, took in sorted(ours.items()))
        text += f"\n\nFor a megapixel of result, {SLOW} takes so much more of the processor than our networks: {told}."
    print(text)
    rewrite("Peers", text)


def measured(rival: Rival, size: tuple[int, int], tries: int) -> list[str]:
    theirs, ours = Best(), Best()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        photo = pictures.write_jpeg(home / "photo.jpg", pictures.with_noise(pictures.scene(*size), 8), 92)
        small = pictures.write_jpeg(home / "small.jpg", pictures.with_noise(pictures.scene(96, 64), 8), 92)
        environ = environment(home)
        peers = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        for _ in range(tries):
            command = [str(PYTHON), str(ROOT / "benchmarks/peers_one.py"), rival.name, *map(str, (photo, small))]
            facts = asked([*command, str(home / "theirs.jpg")], peers)
            if facts is None:
                return []
            theirs.take(facts)
            command = [*argv()[:1], "-c", OURS, str(rival.scale), str(photo), str(small), str(home / "ours.jpg")]
            facts = asked(command, environ)
            if facts is None:
                return []
            ours.take(facts)
    result = size[0] * size[1] * rival.scale**2 / 1e6
    return [
        f"{size[0] * size[1] / 1e6:.2f} MP",
        f"{rival.what}; {theirs.version}",
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


if __name__ == "__main__":
    main()
