"""How long things take, as ratios within one run: `python -m benchmarks.speed`. Rewrites its section of RESULTS.md.

Seconds differ from machine to machine and from hour to hour; a ratio of two things measured one after the other, each
at its best of several tries, does not. Run it on an otherwise idle machine.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.results import machine, rewrite, table
from darkroomd import pipeline
from darkroomd._core import Canvas, TilePlan, cut, measure, mix
from darkroomd.by_hand import job_for
from darkroomd.config import defaults
from darkroomd.device import Network, network
from darkroomd.enhance import tile_plan
from darkroomd.job import Engine, Job
from tests import pictures, reference

MEGAPIXELS = 12
SIZE = (4000, 3000)
TRIES = 3


def best_seconds(call: Callable[[], object], tries: int = TRIES) -> float:
    times = []
    for _ in range(tries):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def through_canvas(pixels: np.ndarray, plan: TilePlan) -> None:
    """Cut and put together again, without a network."""
    canvas = Canvas(plan, 3, "uint8")
    tile = np.empty((1, 3, plan.tile_height, plan.tile_width), np.float32)
    for index in range(len(plan)):
        cut(pixels, plan, index, tile)
        canvas.add(index, tile)
        if canvas.rows_ready():
            canvas.take()


def through_twin(pixels: np.ndarray, twin: reference.TilePlan) -> None:
    """The same in plain numpy."""
    reference.assemble([reference.cut(pixels, twin, *place) for place in twin.places()], twin, 3, np.uint8)


def kernels(pixels: np.ndarray, plan: TilePlan, net: Network) -> tuple[list[list[str]], float]:
    card = net.card
    twin = reference.plan_tiles(*SIZE, card.tile, card.halo, card.blend, card.multiple_of)
    other = pixels[::-1].copy()
    rows, core_seconds = [], 0.0
    for name, ours, theirs in (
        ("cut + Canvas", lambda: through_canvas(pixels, plan), lambda: through_twin(pixels, twin)),
        ("mix", lambda: mix(pixels, other, 0.7), lambda: reference.mix(pixels, other, 0.7)),
        ("measure", lambda: measure(pixels), lambda: reference.measure(pixels, 64)),
    ):
        fast, slow = best_seconds(ours), best_seconds(theirs, 1)
        core_seconds = core_seconds or fast
        rows.append([name, f"{1000 * fast:.0f}", f"{1000 * slow:.0f}", f"{slow / fast:.0f} ×"])
    return rows, core_seconds


def tiles_seconds(net: Network, sides: list[tuple[int, int]]) -> float:
    """session.run alone, once for each (width, height)."""
    tiles = {side: np.random.default_rng(0).random((1, 3, side[1], side[0]), dtype=np.float32) for side in set(sides)}
    return best_seconds(lambda: [net.run(tiles[side]) for side in sides])


def core_sides(plan: TilePlan, multiple_of: int) -> list[tuple[int, int]]:
    """The tiles without their margins, rounded up to what the network takes."""
    cores = [plan.core(index) for index in range(len(plan))]
    return [
        (-(-width // multiple_of) * multiple_of, -(-height // multiple_of) * multiple_of)
        for _, _, width, height in cores
    ]


def enhance_job(folder: Path, pixels: np.ndarray) -> Job:
    source = pictures.write_jpeg(folder / "photo.jpg", pixels, 92)
    settings = defaults()
    return job_for(folder, source, folder / "out.jpg", settings.modes["general"], settings)


def whole_photo(job: Job) -> tuple[float, dict[str, float]]:
    """One `enhance` as a worker does it, with an open session: seconds in all, and by stage."""
    best: tuple[float, dict[str, float]] = (float("inf"), {})
    for _ in range(TRIES):
        began = time.perf_counter()
        staged = pipeline.run(job)
        seconds = time.perf_counter() - began
        assert staged.verdict.status == "done", staged.verdict
        assert job.temporary is not None
        job.temporary.unlink()
        best = min(best, (seconds, staged.verdict.seconds), key=lambda pair: pair[0])
    return best


def peak_memory_mb(source: Path, target: Path) -> int:
    """Resident memory of one `darkroomd enhance`, as its own verdict tells it."""
    command = [sys.executable, "-m", "darkroomd", "enhance", str(source), "-o", str(target), "-m", "general", "--json"]
    return int(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["peak_rss_mb"])


def help_seconds() -> float:
    return best_seconds(
        lambda: subprocess.run([sys.executable, "-m", "darkroomd", "--help"], stdout=subprocess.DEVNULL, check=True), 7
    )


def idle(seconds: float = 20.0) -> tuple[float, int]:
    """(percent of one core, resident MB) of a service that watches an empty folder, worker unloaded."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "in").mkdir()
        (home / "config.yaml").write_text(f"folders: [{{watch: {home}/in, output: {home}/out, mode: auto}}]\n")
        command = [sys.executable, "-m", "darkroomd", "run", "--config", str(home / "config.yaml")]
        environ = os.environ | {"XDG_STATE_HOME": name}
        with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as service:
            time.sleep(3)
            before = cpu_seconds(service.pid)
            time.sleep(seconds)
            used = cpu_seconds(service.pid) - before
            status = Path(f"/proc/{service.pid}/status").read_text()
            resident_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
            service.terminate()
    return 100 * used / seconds, resident_kb // 1024


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    net = network("general", Engine())
    pixels = pictures.with_noise(pictures.scene(*SIZE), 8)
    plan = tile_plan(net.card, *SIZE, Engine())
    kernel_rows, core_seconds = kernels(pixels, plan, net)
    with tempfile.TemporaryDirectory() as name:
        job = enhance_job(Path(name), pixels)
        pipeline.run(replace(job, temporary=Path(name) / "warm-up"))
        total, stages = whole_photo(job)
        peak_mb = peak_memory_mb(job.source, Path(name) / "peak.jpg")
    same_tiles = tiles_seconds(net, [(plan.tile_width, plan.tile_height)] * len(plan))
    bare_tiles = tiles_seconds(net, core_sides(plan, net.card.multiple_of))
    percent, resident_mb = idle()
    gflop = net.card.gflop_per_megapixel * MEGAPIXELS
    padded = plan.tile_width * plan.tile_height * len(plan) / MEGAPIXELS / 1e6
    rows = [
        [
            "session.run on the same tiles",
            f"{same_tiles:.2f} s",
            f"{same_tiles / MEGAPIXELS:.2f} s per megapixel, {gflop * padded / same_tiles:.0f} GFLOP/s",
        ],
        [
            "session.run on the tiles without their margins",
            f"{bare_tiles:.2f} s",
            f"{bare_tiles / MEGAPIXELS:.2f} s per megapixel",
        ],
        [
            "whole enhance, JPEG to JPEG",
            f"{total:.2f} s",
            f"{total / same_tiles:.2f} × the same tiles, {total / bare_tiles:.2f} × without margins",
        ],
        ["of which cut + Canvas", f"{core_seconds:.3f} s", f"{100 * core_seconds / total:.1f} % of the whole"],
        *(
            ["of which " + stage, f"{seconds:.2f} s", f"{100 * seconds / total:.1f} %"]
            for stage, seconds in stages.items()
        ),
        [
            "peak memory of `darkroomd enhance`",
            f"{peak_mb} MB",
            "the same photo, in a process of its own",
        ],
        ["`darkroomd --help`", f"{help_seconds():.3f} s", "no numpy, no onnxruntime"],
        ["idle service", f"{percent:.2f} % of a core", f"{resident_mb} MB resident, worker unloaded"],
    ]
    text = (
        f"{machine()}. {SIZE[0]} × {SIZE[1]} pixels, network general ({net.card.digest}), {len(plan)} tiles of "
        f"{plan.tile_width} × {plan.tile_height} (margin {plan.margin}).\n\n"
        + table(["at 12 megapixels", "core, ms", "numpy twin, ms", "faster by"], kernel_rows)
        + "\n\n"
        + table(["what", "took", "ratio"], rows)
    )
    print(text)
    rewrite("Speed", text)


if __name__ == "__main__":
    main()
