"""What people use instead, beside darkroomd, in one run on the same photo and cores: `make peers`.

Rewrites its section of RESULTS.md. Each peer runs in a process of its own, JPEG to JPEG, from an environment of its own
(benchmarks/peers.txt); in turns, `--tries` times, and the best counts for each clock by itself. Beside seconds stand
core-seconds, the processor's time of all threads, which other work on the machine touches much less: ratios are taken
of those. Loading libraries and networks counts in neither; memory is the process's own peak.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import machine, rewrite, table
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
    parser.add_argument("--megapixels", nargs="*", type=float, choices=list(SIZES), default=[1, 24])
    parser.add_argument("--slow-megapixels", type=float, choices=list(SIZES), default=0.25, help="for x4plus, and ours")
    parser.add_argument("--tries", type=int, default=2)
    parser.add_argument("--rivals", nargs="*", default=[rival.name for rival in RIVALS])
    given = parser.parse_args()
    if not PYTHON.exists():
        raise SystemExit(f"{PYTHON} is not there: make peers")
    scales = {card.scale for card in cards().values()}
    rows = []
    for megapixels in given.megapixels:
        for rival in RIVALS:
            if rival.name not in given.rivals or rival.scale not in scales:
                continue
            slow = rival.name.startswith("realesrgan-x4plus")
            if slow and megapixels != given.megapixels[0]:
                continue
            size = SIZES[given.slow_megapixels if slow else megapixels]
            row = measured(rival, size, given.tries)
            if row:
                rows.append(row)
                print(" | ".join(row), flush=True)
    text = (
        f"{machine()}. Load of the machine at the end: {os.getloadavg()[1]:.1f}. JPEG to JPEG, a noisy scene, each "
        "in a process of its own, in turns, at its best; libraries and networks are loaded already.\n\n"
        + table(
            ["input", "what people use", "its s", "our s", "its core-s", "our core-s", "ours is faster by",
             "its MB", "our MB"],
            rows,
        )
    )  # fmt: skip
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
    return [
        f"{size[0] * size[1] / 1e6:.2f} MP",
        f"{rival.what}; {theirs.version}",
        f"{theirs.wall:.2f}",
        f"{ours.wall:.2f}",
        f"{theirs.cores:.2f}",
        f"{ours.cores:.2f}",
        f"{theirs.cores / ours.cores:.2g} ×",
        str(theirs.peak_mb),
        str(ours.peak_mb),
    ]


if __name__ == "__main__":
    main()
