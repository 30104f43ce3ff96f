"""How long things take: `python -m benchmarks.speed [PART ...]`, about a quarter of an hour on two idle cores.

Each part rewrites a section of its own in RESULTS.md, so that a run that was cut off goes on with the parts that are
left: `photo` (which writes the README's figures too), `sizes`, `folder`, and `modes-1`, `modes-12`, `modes-48` for the
modes at so many megapixels; these take one, two and seven minutes. What people use instead is measured by peers.py,
other ways to compute the same by ways.py. Every figure is the best of a few tries, and what is compared is measured in
turns; where OpenVINO is installed and the processor computes in bfloat16, every mode, size and folder is measured that
way, too. Beside seconds stand core-seconds, the processor's time of all threads: other work on the machine doubles the
seconds and touches those much less, so that ratios are taken of core-seconds. For a first look, in a minute:
`modes-1 sizes folder --modes general --sizes 0.1 1 --photos 5`.
"""

import argparse
import json
import math
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper

from benchmarks.bench import has_mode
from benchmarks.results import RESULTS, Others, machine, rewrite, table
from darkroomd import pipeline
from darkroomd._core import Canvas, TilePlan, cut, measure, mix, resize
from darkroomd.by_hand import job_for
from darkroomd.config import defaults
from darkroomd.device import Detector, Network, network
from darkroomd.enhance import tile_plan
from darkroomd.job import Engine, Job, Mode, Verdict
from darkroomd.models import card
from darkroomd.openvino import bfloat16, installed
from tests import pictures, reference
from tests.command import argv, environment

MEGAPIXELS = 12
SIZE = (4000, 3000)
SIZES = {
    0.1: (384, 288), 0.5: (816, 612), 1: (1152, 864), 3: (2016, 1512), 12: SIZE, 24: (6000, 4000), 48: (8000, 6000),
    100: (11600, 8624),
}  # fmt: skip
OF_MODES = (1, 12, 48)
OF_SIZES = (1, 3, 24, 100)
OF_FOLDER = 0.5

# a `service.device`, and what the tables say of it
FULL, NARROW = ("cpu", ""), ("openvino", ", in bfloat16")
ENGINES = (FULL, NARROW) if installed() and bfloat16() else (FULL,)

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
    MATRIX = 1536

    def __init__(self) -> None:
        self._calls = {shape: self._convolution(*shape) for shape in self.SHAPES}
        self._costs = dict.fromkeys(self.SHAPES, NEVER)
        self._source = np.ones(64_000_000, np.uint8)
        self._target = np.zeros_like(self._source)
        self._copy = self._product = NEVER
        self._multiply = self._matrices()
        for _ in range(2):
            self.measure(self.SHAPES)
        self.shape = min(self.SHAPES, key=lambda shape: self._costs[shape].cores / self._operations(*shape))

    def measure(self, shapes: tuple[tuple[int, int], ...] = ()) -> None:
        """Once more, beside what it is compared with; only the best shape when none is named."""
        for shape in shapes or (self.shape,):
            self._costs[shape] = lesser(self._costs[shape], cost(self._calls[shape]))
        self._copy = lesser(self._copy, cost(lambda: np.copyto(self._target, self._source)))
        self._product = lesser(self._product, cost(self._multiply))

    @property
    def gflop_per_core_second(self) -> float:
        return self._operations(*self.shape) / 1e9 / self._costs[self.shape].cores

    @property
    def gflop_per_second(self) -> float:
        return self._operations(*self.shape) / 1e9 / self._costs[self.shape].wall

    @property
    def matrix_gflop_per_core_second(self) -> float:
        return 2 * self.MATRIX**3 / 1e9 / self._product.cores

    @property
    def copied_gb_per_second(self) -> float:
        return self._source.nbytes / 1e9 / self._copy.wall

    @staticmethod
    def _operations(channels: int, side: int) -> float:
        return 2.0 * 9 * channels**2 * side**2

    @classmethod
    def _convolution(cls, channels: int, side: int) -> Callable[[], object]:
        return cls._node("Conv", [1, channels, side, side], (channels, channels, 3, 3), pads=[1] * 4)

    @classmethod
    def _matrices(cls) -> Callable[[], object]:
        return cls._node("MatMul", [cls.MATRIX] * 2, (cls.MATRIX, cls.MATRIX))

    @staticmethod
    def _node(kind: str, shape: list[int], of_weights: tuple[int, ...], **attributes: Any) -> Callable[[], object]:
        """One call of a graph with a single node, whose answer has its input's shape."""
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("a", "b")]
        weights = np.random.default_rng(0).normal(0, 0.1, of_weights).astype(np.float32)
        node = helper.make_node(kind, ["a", "w"], ["b"], **attributes)
        graph = helper.make_graph([node], "floor", ends[:1], ends[1:], [onnx.numpy_helper.from_array(weights, "w")])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        given = {"a": np.random.default_rng(1).random(shape, dtype=np.float32)}
        return lambda: session.run(None, given)


def tries(megapixels: float) -> int:
    return 4 if megapixels <= 1 else 2 if megapixels <= 3 else 1


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


def scene(megapixels: float, content: str = "") -> Pixels:
    """A noisy photograph of this size; with one face, or a page full of text."""
    width, height = SIZES[megapixels]
    seen = pictures.scene(min(width, SIZE[0]), min(height, SIZE[1]))
    if content == "text":
        page = pictures.read(pictures.free_picture("page.png")).astype(np.uint8)
        across, down = -(-seen.shape[1] // page.shape[1]), -(-seen.shape[0] // page.shape[0])
        seen = np.tile(page, (down, across, 3))[: seen.shape[0], : seen.shape[1]]
    seen = pictures.with_noise(np.ascontiguousarray(seen), 8)
    large = np.tile(seen, (-(-height // seen.shape[0]), -(-width // seen.shape[1]), 1))[:height, :width]
    if content == "face":
        person = pictures.read(pictures.free_picture("astronaut.png")).astype(np.uint8)
        side = height // 2
        large[:side, :side] = pictures.with_noise(resize(np.ascontiguousarray(person[..., :3]), side, side), 8)
    return np.ascontiguousarray(large)


@dataclass
class Runs:
    """What went on inside `session.run`. tile_pixels: by network, with the margins of tiles."""

    spans: list[tuple[float, float]] = field(default_factory=list)
    tile_pixels: dict[str, float] = field(default_factory=dict)

    @property
    def wall(self) -> float:
        """Seconds in which at least one tile was in a network."""
        seconds, reached = 0.0, 0.0
        for began, ended in sorted(self.spans):
            seconds += max(0.0, ended - max(began, reached))
            reached = max(reached, ended)
        return seconds


@contextmanager
def watched() -> Iterator[Runs]:
    """Every run of a network, and of those that look and find, measured as it happens."""
    runs, run = Runs(), Network.run

    def watched_run(net: Network, tile: Any, out: Any = None, last: bool = False) -> Any:
        began = time.perf_counter()
        answer = run(net, tile, out, last)
        runs.spans.append((began, time.perf_counter()))
        runs.tile_pixels[net.card.name] = runs.tile_pixels.get(net.card.name, 0) + tile.shape[2] * tile.shape[3]
        return answer

    look = Detector.run

    def watched_look(detector: Detector, tile: Any) -> Any:
        began = time.perf_counter()
        answer = look(detector, tile)
        runs.spans.append((began, time.perf_counter()))
        return answer

    with patch.object(Network, "run", watched_run), patch.object(Detector, "run", watched_look):
        yield runs


def enhance_job(folder: Path, pixels: Pixels, mode: Mode, device: str = "cpu") -> Job:
    source = pictures.write_jpeg(folder / f"{mode.name}.jpg", pixels, 92)
    settings = defaults()
    settings = replace(settings, limits=replace(settings.limits, max_megapixels=1000))
    job = job_for(folder, source, folder / f"{mode.name}-out.jpg", replace(mode, choose=False), settings)
    return replace(job, engine=replace(job.engine, device=device))


@dataclass(frozen=True)
class Whole:
    """One photo as a worker does it, JPEG to JPEG, with open sessions."""

    cost: Cost
    verdict: Verdict
    runs: Runs

    @property
    def networks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(step.model for step in self.verdict.steps))

    @property
    def operations(self) -> float:
        """The networks' arithmetic: for the whole picture, and for the regions that have a network of their own."""
        real = self.verdict.found["megapixels"]
        return sum(
            card(step.model).gflop_per_megapixel * 1e9
            * (real if step.region in ("all", "background") else self.runs.tile_pixels.get(step.model, 0) / 1e6)
            for step in self.verdict.steps
        )  # fmt: skip


def whole(job: Job) -> Whole:
    found = []
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak of memory is counted from here
    with watched() as runs:
        spent = cost(lambda: found.append(pipeline.run(job)))
    (staged,) = found
    if staged.verdict.status != "done" or job.temporary is None:
        raise SystemExit(f"{job.mode.name}: {staged.verdict.status}: {staged.verdict.reason}")
    job.temporary.unlink()
    return Whole(spent, staged.verdict, runs)


def warm(folder: Path, mode: Mode, content: str = "", device: str = "cpu") -> None:
    """Opens the sessions, and the runtime starts its threads."""
    folder.mkdir(parents=True, exist_ok=True)
    whole(enhance_job(folder, scene(0.1, content), mode, device))


CONTENT = {"portrait": "face", "text": "text"}


def of_mode(mode: Mode, megapixels: float, floor: Floor) -> list[list[str]]:
    """Rows of the table: the floor and the whole with each engine, in turns."""
    content, cores, rows = CONTENT.get(mode.name, ""), len(os.sched_getaffinity(0)), []
    with tempfile.TemporaryDirectory() as name:
        pixels, jobs = scene(megapixels, content), list[Job]()
        for device, _ in ENGINES:
            warm(Path(name) / device, mode, content, device)
            jobs.append(enhance_job(Path(name) / device, pixels, mode, device))
        totals, bests = [NEVER] * len(jobs), list[Whole | None]([None] * len(jobs))
        for _ in range(tries(megapixels)):
            floor.measure()
            for n, job in enumerate(jobs):
                this, best = whole(job), bests[n]
                bests[n] = this if best is None or this.cost.wall < best.cost.wall else best
                totals[n] = lesser(totals[n], this.cost)
    for (_, told), total, best in zip(ENGINES, totals, bests, strict=True):
        assert best is not None
        real = best.verdict.found["megapixels"]
        least = best.operations / 1e9 / floor.gflop_per_core_second
        rows.append([
            f"{mode.name}, {megapixels:g} MP{told}",
            " + ".join(best.networks),
            f"{least:.2f}",
            f"{total.cores:.2f}",
            f"{least / cores:.2f}",
            f"{best.runs.wall:.2f}",
            f"{total.wall:.2f}",
            f"{total.wall / real:.2f}",
            f"{totals[0].cores / total.cores:.2f} ×",
            f"{100 * least / total.cores:.0f} %",
            f"{100 * best.runs.wall / best.cost.wall:.0f} %",
            f"{100 * best.cost.cores / (best.cost.wall * cores):.0f} %",
        ])  # fmt: skip
        print(" | ".join(rows[-1]), flush=True)
    return rows


MODES_HEAD = [
    "mode", "networks", "floor, core-s", "whole, core-s", "floor, s", "in session.run, s", "whole, s", "s per MP",
    "faster by", "of the floor's speed", "in session.run", "cores busy",
]  # fmt: skip


def from_small_to_large(given: argparse.Namespace) -> str:
    """What a megapixel costs in pictures of every size: each against the middle of them all, with each engine."""
    mode, rows = defaults().modes["general"], []
    for device, told in ENGINES:
        found = []
        with tempfile.TemporaryDirectory() as name:
            warm(Path(name) / "warm", mode, device=device)
            for megapixels in given.sizes:
                job = enhance_job(Path(name), scene(megapixels), mode, device)
                best = min((whole(job) for _ in range(tries(megapixels))), key=lambda one: one.cost.cores)
                found.append((best.verdict.found["megapixels"], best))
                print(f"{megapixels:g} MP{told}: {best.cost}", flush=True)
        network.cache_clear()  # the memory of one is not that of the other
        middle = float(np.median([best.cost.cores / real for real, best in found]))
        rows += [
            [
                f"{real:.4g} MP{told}",
                f"{best.cost.wall:.2f}",
                f"{best.cost.wall / real:.3f}",
                f"{best.cost.cores / real:.3f}",
                f"{100 * (best.cost.cores / real / middle - 1):+.1f} %",
                f"{100 * (best.runs.tile_pixels['general'] / 1e6 / real - 1):.1f} %",
                str(best.verdict.peak_rss_mb),
            ]
            for real, best in found
        ]
    return "Mode general, JPEG to JPEG, with open sessions, in one process.\n\n" + table(
        ["picture", "s", "s per MP", "core-s per MP", "core-s against the median", "margins of tiles",
         "peak memory, MB"],
        rows,
    )  # fmt: skip


def a_folder(photos: int, device: str, told: str) -> list[list[str]]:
    """`darkroomd once` on this many different photos, against as many in a process that is warm."""
    seen = pictures.scene(*SIZES[OF_FOLDER])
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        for number in range(photos):
            noisy = pictures.with_noise(np.roll(seen, 37 * number, axis=1), 8, seed=number % 7)
            pictures.write_jpeg(home / f"in/{number:04}.jpg", noisy, 92)
        config = home / "config.yaml"
        service = f"service: {{settle_seconds: 0.1, device: {device}}}"
        config.write_text(f"folders: [{{watch: in, output: out, mode: general}}]\n{service}\n")
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            argv("once", "--config", config), env=environment(home), capture_output=True, text=True, check=False
        )
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        results = len(list((home / "out").glob("*.jpg")))
        if done.returncode or results != photos:
            raise SystemExit(f"{results} of {photos} photos came out: {done.stderr[-2000:]}")
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        job = enhance_job(home / "alone", scene(OF_FOLDER), defaults().modes["general"], device)
        alone = min((whole(job).cost for _ in range(6)), key=lambda spent: spent.cores)
    cores = len(os.sched_getaffinity(0))
    return [
        [
            f"`darkroomd once`, {photos} photos of {OF_FOLDER:g} MP{told}",
            f"{wall:.1f} s",
            f"{photos / wall:.2f} photos a second",
        ],
        [
            f"cores busy meanwhile{told}",
            f"{100 * used / wall / cores:.0f} %",
            f"{used / photos:.2f} core-s for each photo",
        ],
        [
            f"beyond the same photo in a warm process{told}",
            f"{100 * (used / photos / alone.cores - 1):.0f} %",
            "of core-s",
        ],
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


def peak_memory_mb(source: Path, target: Path, device: str) -> int:
    """Resident memory of one `darkroomd enhance`, as its own verdict tells it."""
    command = [sys.executable, "-m", "darkroomd", "enhance", str(source), "-o", str(target), "-m", "general", "--json"]
    command += ["--device", device]
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
    parser.add_argument("--sizes", nargs="*", type=float, choices=list(SIZES), default=list(OF_SIZES))
    parser.add_argument("--photos", type=int, default=200, help="in the folder that the service works on")
    given = parser.parse_args()
    for part in given.part:
        section, made = PARTS[part]
        others = Others()
        body = made(given)
        text = f"{machine()}. {others.told()}\n\n{body}"
        print(text)
        rewrite(section, text)


def against_the_floor(megapixels: float, given: argparse.Namespace) -> str:
    floor, modes = Floor(), [defaults().modes[name] for name in given.modes if has_mode(name)]
    rows = [row for mode in modes for row in of_mode(mode, megapixels, floor)]
    channels, side = floor.shape
    return (
        f"The floor: a single 3×3 convolution of {channels} channels at {side} × {side}, the best of "
        f"{len(floor.SHAPES)} shapes, reaches {floor.gflop_per_core_second:.0f} GFLOP per core-second "
        f"({floor.gflop_per_second:.0f} GFLOP/s) in ONNX Runtime; memory is copied at "
        f"{floor.copied_gb_per_second:.1f} GB/s. The networks' arithmetic at that speed is the least that they can "
        "take; where a network is for faces or text alone, for those parts. *Of the floor's speed* is that least "
        "against the whole photo, JPEG to JPEG, in core-seconds; *in session.run* the share of the photo's seconds in "
        "which a tile is in a network, the one that looks included. Portrait: one face in a photograph; text: a page "
        "full of it. Mode auto is one of these after a look. In bfloat16: by OpenVINO, against the same floor. "
        f"A matrix product of {Floor.MATRIX} × {Floor.MATRIX} reaches "
        f"{floor.matrix_gflop_per_core_second:.0f} GFLOP per core-second.\n\n" + table(MODES_HEAD, rows)
    )


def folder_and_latency(given: argparse.Namespace) -> str:
    rows = [
        *(row for engine in ENGINES for row in a_folder(given.photos, *engine)),
        ["from settled to a worker", f"{latency_ms():.0f} ms", "median, in a service at rest with a worker"],
    ]
    return table(["what", "took", "that is"], rows)


def one_photo(_given: argparse.Namespace) -> str:
    pixels, engine = scene(MEGAPIXELS), Engine(device="cpu")
    net = network("general", engine)
    plan = tile_plan(net.card, *SIZE, engine)
    kernel_rows, core_seconds = kernels(pixels, plan, net)
    rows = []
    for device, told in ENGINES:
        with tempfile.TemporaryDirectory() as name:
            job = enhance_job(Path(name), pixels, defaults().modes["general"], device)
            whole(job)
            best = min((whole(job) for _ in range(tries(MEGAPIXELS))), key=lambda one: one.cost.wall)
            peak_mb = peak_memory_mb(job.source, Path(name) / "peak.jpg", device)
        total, what = best.cost, f"whole enhance, JPEG to JPEG{told}"
        rows += [
            [what, f"{total.wall:.2f} s", f"{total.wall / MEGAPIXELS:.2f} s per megapixel"],
            *(
                [f"of which {stage}{told}", f"{seconds:.2f} s", f"{100 * seconds / total.wall:.1f} %"]
                for stage, seconds in best.verdict.seconds.items()
            ),
            [f"in session.run{told}", f"{best.runs.wall:.2f} s", f"{100 * best.runs.wall / total.wall:.1f} %"],
            [f"peak memory of `darkroomd enhance`{told}", f"{peak_mb} MB", "the same photo, in a process of its own"],
        ]
        if device == FULL[0]:
            in_the_readme(peak_mb, total.wall)
    percent, resident_mb = idle()
    rows += [
        ["cut + Canvas", f"{core_seconds:.3f} s", "beside the network, on another thread"],
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


def in_the_readme(peak_mb: int, seconds: float, readme: Path = RESULTS.parents[1] / "README.md") -> None:
    """What people read first, rounded up."""
    told = f"About {-(-peak_mb // 10) * 10} MB of memory and {math.ceil(seconds)} seconds on two cores"
    text, found = re.subn(r"About \d+ MB of memory and \d+ seconds on two cores", told, readme.read_text())
    if not found:
        raise SystemExit(f"{readme}: the sentence about memory and seconds is not there")
    readme.write_text(text)


PARTS: dict[str, tuple[str, Callable[[argparse.Namespace], str]]] = {
    "photo": ("Speed", one_photo),
    "sizes": ("Speed: what a megapixel costs", from_small_to_large),
    "folder": ("Speed: a folder, and the way to a worker", folder_and_latency),
    **{
        f"modes-{megapixels}": (
            f"Speed: each mode against the floor, {megapixels} MP",
            partial(against_the_floor, megapixels),
        )
        for megapixels in OF_MODES
    },
}


if __name__ == "__main__":
    main()
