"""How long things take: `python -m benchmarks.speed`. Rewrites its sections of RESULTS.md.

Every figure is the best of a few tries, and what is compared is measured in turns. Beside seconds stand core-seconds,
the processor's time of all threads: other work on the machine doubles the seconds and touches those much less, so that
ratios are taken of core-seconds. Three parts, each with its own section: `photo`, `modes`, `folder`;
`modes --modes general --megapixels 1` for a first look.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper

from benchmarks.results import machine, rewrite, table
from darkroomd import pipeline
from darkroomd._core import Canvas, TilePlan, cut, measure, mix
from darkroomd.by_hand import job_for
from darkroomd.config import defaults
from darkroomd.device import Network, network
from darkroomd.enhance import tile_plan
from darkroomd.job import Engine, Job, Mode
from darkroomd.models import card
from tests import pictures, reference
from tests.command import argv, environment

MEGAPIXELS = 12
SIZE = (4000, 3000)
SIZES = {1: (1152, 864), 12: SIZE, 48: (8000, 6000)}
TRIES = {1: 5, 12: 3, 48: 1}

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Cost:
    """wall: seconds. cores: core-seconds of all threads of this process."""

    wall: float
    cores: float

    def __mul__(self, times: float) -> "Cost":
        return Cost(self.wall * times, self.cores * times)


NEVER = Cost(float("inf"), float("inf"))


def cost(call: Callable[[], object]) -> Cost:
    wall, cores = time.perf_counter(), time.process_time()
    call()
    return Cost(time.perf_counter() - wall, time.process_time() - cores)


def lesser(one: Cost, other: Cost) -> Cost:
    """The best of tries, each clock for itself."""
    return Cost(min(one.wall, other.wall), min(one.cores, other.cores))


class Floor:
    """The best that ONNX Runtime does with a single 3×3 convolution on these cores, and the machine with a copy."""

    SHAPES = ((16, 768), (32, 512), (48, 512), (64, 384), (96, 256), (128, 256), (256, 128))  # channels, side

    def __init__(self) -> None:
        self._calls = {shape: self._convolution(*shape) for shape in self.SHAPES}
        self._costs = dict.fromkeys(self.SHAPES, NEVER)
        self._source = np.ones(64_000_000, np.uint8)
        self._target = np.zeros_like(self._source)
        self._copy = NEVER
        for _ in range(3):
            self.measure(self.SHAPES)
        self.shape = min(self.SHAPES, key=lambda shape: self._costs[shape].cores / self._operations(*shape))

    def measure(self, shapes: tuple[tuple[int, int], ...] = ()) -> None:
        """Once more, beside what it is compared with; only the best shape when none is named."""
        for shape in shapes or (self.shape,):
            self._costs[shape] = lesser(self._costs[shape], cost(self._calls[shape]))
        self._copy = lesser(self._copy, cost(lambda: np.copyto(self._target, self._source)))

    @property
    def gflop_per_core_second(self) -> float:
        return self._operations(*self.shape) / 1e9 / self._costs[self.shape].cores

    @property
    def gflop_per_second(self) -> float:
        return self._operations(*self.shape) / 1e9 / self._costs[self.shape].wall

    @property
    def copied_gb_per_second(self) -> float:
        return self._source.nbytes / 1e9 / self._copy.wall

    @staticmethod
    def _operations(channels: int, side: int) -> float:
        return 2.0 * 9 * channels**2 * side**2

    @staticmethod
    def _convolution(channels: int, side: int) -> Callable[[], object]:
        shape = [1, channels, side, side]
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("a", "b")]
        weights = np.random.default_rng(0).normal(0, 0.1, (channels, channels, 3, 3)).astype(np.float32)
        node = helper.make_node("Conv", ["a", "w"], ["b"], pads=[1] * 4)
        graph = helper.make_graph([node], "floor", ends[:1], ends[1:], [onnx.numpy_helper.from_array(weights, "w")])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        given = {"a": np.random.default_rng(1).random(shape, dtype=np.float32)}
        return lambda: session.run(None, given)


def best_seconds(call: Callable[[], object], tries: int = 3) -> float:
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


def one_tile(net: Network, plan: TilePlan) -> Callable[[], object]:
    """session.run alone, on a tile of this plan."""
    tile = np.random.default_rng(0).random((1, 3, plan.tile_height, plan.tile_width), dtype=np.float32)
    out = np.empty((1, 3, plan.tile_height * net.card.scale, plan.tile_width * net.card.scale), np.float32)
    return lambda: net.run(tile, out)


def enhance_job(folder: Path, pixels: Pixels, mode: Mode) -> Job:
    source = pictures.write_jpeg(folder / f"{mode.name}.jpg", pixels, 92)
    settings = defaults()
    return job_for(folder, source, folder / f"{mode.name}-out.jpg", replace(mode, choose=False), settings)


def whole(job: Job) -> tuple[Cost, list[str], dict[str, float]]:
    """One photo as a worker does it, JPEG to JPEG, with open sessions: its cost, its networks, seconds by stage."""
    found = []
    spent = cost(lambda: found.append(pipeline.run(job)))
    (staged,) = found
    if staged.verdict.status != "done" or job.temporary is None:
        raise SystemExit(f"{job.mode.name}: {staged.verdict.status}: {staged.verdict.reason}")
    job.temporary.unlink()
    return spent, [step.model for step in staged.verdict.steps], staged.verdict.seconds


def of_mode(mode: Mode, megapixels: int, pixels: Pixels, floor: Floor) -> tuple[list[str], dict[str, float]]:
    """A row of the table: the floor, the tiles alone and the whole, in turns."""
    width, height = SIZES[megapixels]
    real = width * height / 1e6
    with tempfile.TemporaryDirectory() as name:
        job = enhance_job(Path(name), pixels, mode)
        small = enhance_job(Path(name) / "warm-up", pixels[:64, :64].copy(), mode)
        small.target.parent.mkdir(exist_ok=True)
        _, networks, _ = whole(small)  # sessions are open, and the runtime has its threads
        engine = job.engine
        plans = [tile_plan(card(name), width, height, engine) for name in networks]
        tiles = [one_tile(network(name, engine), plan) for name, plan in zip(networks, plans, strict=True)]
        alone, total, stages = [NEVER] * len(tiles), NEVER, dict[str, float]()
        for _ in range(TRIES[megapixels]):
            floor.measure()
            alone = [lesser(best, cost(tile)) for best, tile in zip(alone, tiles, strict=True)]
            spent, _, seconds = whole(job)
            stages = seconds if spent.wall < total.wall else stages
            total = lesser(total, spent)
    run = sum(best.cores * len(plan) for best, plan in zip(alone, plans, strict=True))
    run_wall = sum(best.wall * len(plan) for best, plan in zip(alone, plans, strict=True))
    gflop = sum(card(name).gflop_per_megapixel for name in networks) * real
    least = gflop / floor.gflop_per_core_second
    row = [
        f"{mode.name}, {megapixels} MP",
        " + ".join(networks),
        f"{least:.1f}",
        f"{run:.1f}",
        f"{total.cores:.1f}",
        f"{total.wall:.1f}",
        f"{total.wall / real:.2f}",
        f"{100 * least / total.cores:.0f} %",
        f"{100 * min(1, run / total.cores):.0f} %",
        f"{100 * total.cores / (total.wall * len(os.sched_getaffinity(0))):.0f} %",
    ]
    print(" | ".join(row), f"(tiles alone {run_wall:.1f} s)", flush=True)
    return row, stages


MODES_HEAD = [
    "mode", "networks", "floor, core-s", "tiles alone, core-s", "whole, core-s", "whole, s", "s per MP",
    "of the floor's speed", "in session.run", "cores busy",
]  # fmt: skip


def a_folder(photos: int) -> list[list[str]]:
    """`darkroomd once` on this many different photos of 1 megapixel, against as many in a process that is warm."""
    scene = pictures.scene(*SIZES[1])
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        for number in range(photos):
            noisy = pictures.with_noise(np.roll(scene, 37 * number, axis=1), 8, seed=number % 7)
            pictures.write_jpeg(home / f"in/{number:04}.jpg", noisy, 92)
        config = home / "config.yaml"
        config.write_text("folders: [{watch: in, output: out, mode: general}]\nservice: {settle_seconds: 0.1}\n")
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            argv("once", "--config", config), env=environment(home), capture_output=True, text=True, check=False
        )
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        results = len(list((home / "out").glob("*.jpg")))
        if done.returncode or results != photos:
            raise SystemExit(f"{results} of {photos} photos came out: {done.stderr[-2000:]}")
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        job = enhance_job(home / "alone", pictures.with_noise(scene, 8), defaults().modes["general"])
        alone = min((whole(job)[0] for _ in range(6)), key=lambda spent: spent.cores)
    cores = len(os.sched_getaffinity(0))
    return [
        [f"`darkroomd once`, {photos} photos of 1 MP", f"{wall:.1f} s", f"{photos / wall:.2f} photos a second"],
        ["cores busy meanwhile", f"{100 * used / wall / cores:.0f} %", f"{used / photos:.2f} core-s for each photo"],
        ["beyond the same photo in a warm process", f"{100 * (used / photos / alone.cores - 1):.0f} %", "of core-s"],
    ]


def latency_ms(drops: int = 10) -> float:
    """The median time from when a photo counts as settled to when a worker has it, in a service at rest."""
    photo = pictures.jpeg_bytes(pictures.with_noise(pictures.scene(96, 72), 12))
    settle_seconds, found = 0.5, []
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "in").mkdir()
        config = home / "config.yaml"
        config.write_text(f"folders: [{{watch: in, output: out}}]\nservice: {{settle_seconds: {settle_seconds}}}\n")
        command = argv("run", "--config", config)
        with subprocess.Popen(command, env=environment(home), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as run:
            assert run.stderr is not None
            lines = (json.loads(line) for line in run.stderr)
            next(line for line in lines if line["event"] == "service.started")
            for number in range(drops + 1):
                (home / "part").write_bytes(photo + bytes([number]))
                dropped = time.time()
                (home / "part").rename(home / f"in/{number}.jpg")
                started = next(line for line in lines if line["event"] == "photo.started")
                found.append(datetime.fromisoformat(started["timestamp"]).timestamp() - dropped - settle_seconds)
                next(line for line in lines if line["event"] in ("photo.done", "photo.unchanged"))
            run.terminate()
            run.stderr.read()
    return 1000 * float(np.median(found[1:]))


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)}; each has its own section")
    parser.add_argument("--modes", nargs="*", default=[name for name in defaults().modes if name != "auto"])
    parser.add_argument("--megapixels", nargs="*", type=int, choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--photos", type=int, default=200, help="in the folder that the service works on")
    given = parser.parse_args()
    for part in given.part:
        section, made = PARTS[part]
        text = f"{machine()}. {how_busy()}\n\n{made(given)}"
        print(text)
        rewrite(section, text)


def how_busy() -> str:
    """Whether the figures that follow are those of an idle machine."""
    load, cores = os.getloadavg()[2], len(os.sched_getaffinity(0))
    if load <= cores:
        return "The machine was otherwise idle."
    return (
        f"**Other work was on the machine** ({load:.0f} processes for {cores} cores in the last quarter of an hour): "
        "seconds are those of a crowd, and ratios are what to read."
    )


def against_the_floor(given: argparse.Namespace) -> str:
    floor, rows = Floor(), []
    for megapixels in given.megapixels:
        pixels = pictures.with_noise(pictures.scene(*SIZES[megapixels]), 8)
        rows += [of_mode(defaults().modes[name], megapixels, pixels, floor)[0] for name in given.modes]
    channels, side = floor.shape
    return (
        f"The floor: a single 3×3 convolution of {channels} channels at {side} × {side}, the best of "
        f"{len(floor.SHAPES)} shapes, reaches {floor.gflop_per_core_second:.0f} GFLOP per core-second "
        f"({floor.gflop_per_second:.0f} GFLOP/s) in ONNX Runtime; memory is copied at "
        f"{floor.copied_gb_per_second:.1f} GB/s. The networks' arithmetic at that speed is the least that they can "
        "take. *Of the floor's speed* is that least against the whole photo, JPEG to JPEG; *in session.run* the tiles "
        "alone against the whole; both of core-seconds.\n\n" + table(MODES_HEAD, rows)
    )


def folder_and_latency(given: argparse.Namespace) -> str:
    rows = [
        *a_folder(given.photos),
        ["from settled to a worker", f"{latency_ms():.0f} ms", "median, in a service at rest with a worker"],
    ]
    return table(["what", "took", "that is"], rows)


def one_photo(_given: argparse.Namespace) -> str:
    pixels = pictures.with_noise(pictures.scene(*SIZE), 8)
    net = network("general", Engine())
    plan = tile_plan(net.card, *SIZE, Engine())
    kernel_rows, core_seconds = kernels(pixels, plan, net)
    with tempfile.TemporaryDirectory() as name:
        job = enhance_job(Path(name), pixels, defaults().modes["general"])
        whole(job)
        total, stages = min((whole(job)[::2] for _ in range(TRIES[MEGAPIXELS])), key=lambda pair: pair[0].wall)
        peak_mb = peak_memory_mb(job.source, Path(name) / "peak.jpg")
    percent, resident_mb = idle()
    rows = [
        ["whole enhance, JPEG to JPEG", f"{total.wall:.2f} s", f"{total.wall / MEGAPIXELS:.2f} s per megapixel"],
        *(
            [f"of which {stage}", f"{seconds:.2f} s", f"{100 * seconds / total.wall:.1f} %"]
            for stage, seconds in stages.items()
        ),
        ["cut + Canvas", f"{core_seconds:.3f} s", "beside the network, on another thread"],
        ["peak memory of `darkroomd enhance`", f"{peak_mb} MB", "the same photo, in a process of its own"],
        ["`darkroomd --help`", f"{help_seconds():.3f} s", "no numpy, no onnxruntime"],
        ["idle service", f"{percent:.2f} % of a core", f"{resident_mb} MB resident, worker unloaded"],
    ]
    return (
        f"{SIZE[0]} × {SIZE[1]} pixels, network general ({net.card.digest}), {len(plan)} tiles of "
        f"{plan.tile_width} × {plan.tile_height} (margin {plan.margin}).\n\n"
        + table(["at 12 megapixels", "core, ms", "numpy twin, ms", "faster by"], kernel_rows)
        + "\n\n"
        + table(["what", "took", "that is"], rows)
    )


PARTS = {
    "photo": ("Speed", one_photo),
    "modes": ("Speed: each mode against the floor", against_the_floor),
    "folder": ("Speed: a folder, and the way to a worker", folder_and_latency),
}


if __name__ == "__main__":
    main()
