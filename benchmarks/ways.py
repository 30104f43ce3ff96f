"""Other ways to compute the same tiles, and the same photo, in turns: `python -m benchmarks.ways`, about four minutes.

Two tiles side by side against one on all cores; threads capped to the cores that are granted, and not; and, from the
environment of benchmarks/peers.txt where `make peers` has made it, OpenVINO, bfloat16 and float16 on the processor.
Rewrites its section of RESULTS.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.peers import PYTHON, ROOT
from benchmarks.results import Others, machine, rewrite, table
from darkroomd.half import half
from darkroomd.models import cards, verified_bytes
from tests import pictures
from tests.command import environment

SECTION = "Speed: other ways"
SIDES = {1: 512, 2: 256, 4: 256}

ONE_PHOTO = """
import json, os, sys, time
pinned, threads, photo, out = int(sys.argv[1]), *sys.argv[2:]
if pinned:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
os.environ["RAYON_NUM_THREADS"] = os.environ["VIPS_CONCURRENCY"] = threads
from dataclasses import replace
from pathlib import Path
from darkroomd import pipeline
from darkroomd.by_hand import job_for
from darkroomd.config import defaults
settings = defaults()
mode = replace(settings.modes["general"], choose=False)
job = job_for(Path(photo).parent, Path(photo), Path(out), mode, settings)
job = replace(job, engine=replace(job.engine, threads=int(threads)))
def once():
    staged = pipeline.run(job)
    assert staged.verdict.status == "done", staged.verdict
    job.temporary.unlink()
once()
print("ready", flush=True)
sys.stdin.readline()
wall, cores = time.perf_counter(), time.process_time()
once()
print(json.dumps([time.perf_counter() - wall, time.process_time() - cores]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=list(cards()))
    parser.add_argument("--tries", type=int, default=5)
    given = parser.parse_args()
    others = Others()
    parts = [side_by_side(given.networks, given.tries), threads(given.tries), engines(given.networks, given.tries)]
    text = "\n\n".join([f"{machine()}. {others.told()}", *parts])
    print(text)
    rewrite(SECTION, text)


def side_by_side(names: Sequence[str], tries: int) -> str:
    """Two tiles: one after the other with all threads, or at once with one thread each."""
    rows, cores = [], len(os.sched_getaffinity(0))
    for name in names:
        card = cards()[name]
        content, side = verified_bytes(card), SIDES[card.scale]
        together, alone = opened(content, cores), [opened(content, 1) for _ in range(cores)]
        tile = np.random.default_rng(0).random((1, 3, side, side), np.float32)

        def in_turn(session: onnxruntime.InferenceSession = together, tile: object = tile) -> None:
            for _ in range(cores):
                session.run(None, {"picture": tile})

        def at_once(sessions: list[onnxruntime.InferenceSession] = alone, tile: object = tile) -> None:
            running = [threading.Thread(target=one.run, args=(None, {"picture": tile})) for one in sessions]
            for one in running:
                one.start()
            for one in running:
                one.join()

        (one, one_cores), (other, other_cores) = in_turns([in_turn, at_once], tries)
        rows.append([
            f"{name}, {cores} tiles of {side}", f"{one:.3f}", f"{other:.3f}", f"{one / other:.2f} ×",
            f"{one_cores:.3f}", f"{other_cores:.3f}",
        ])  # fmt: skip
    return (
        f"As many tiles as cores: one after the other on {cores} threads, as the product does it, or at once on a "
        "thread each, which takes the memory of as many tiles.\n\n"
        + table(["tiles", "in turn, s", "at once, s", "faster by", "in turn, core-s", "at once, core-s"], rows)
    )


def opened(content: bytes, threads: int) -> onnxruntime.InferenceSession:
    """As device.py opens one on the processor."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def in_turns(calls: Sequence[Callable[[], None]], tries: int) -> list[tuple[float, float]]:
    """(seconds, core-seconds) of each at its best, after a first time that does not count."""
    best = [(float("inf"), float("inf"))] * len(calls)
    for call in calls:
        call()
    for _ in range(tries):
        for n, call in enumerate(calls):
            wall, cores = time.perf_counter(), time.process_time()
            call()
            spent = time.perf_counter() - wall, time.process_time() - cores
            best[n] = min(best[n][0], spent[0]), min(best[n][1], spent[1])
    return best


def threads(tries: int) -> str:
    """A photo of a megapixel with threads for what is granted, and for all cores that the machine has."""
    cores = os.cpu_count() or 1
    cases = (
        ("one core is granted", True, 1, (1, cores)),
        (f"{cores} workers on {cores} cores", False, cores, (1, cores)),
    )
    rows = []
    with tempfile.TemporaryDirectory() as name:
        photo = pictures.write_jpeg(Path(name) / "a.jpg", pictures.with_noise(pictures.scene(1152, 864), 8), 92)
        for what, pinned, workers, counts in cases:
            capped, free = (
                min(photos(photo, pinned, workers, count) for _ in range(max(1, tries // 2))) for count in counts
            )
            rows.append([
                what, f"{capped[0]:.2f}", f"{free[0]:.2f}", f"{capped[1]:.2f}", f"{free[1]:.2f}",
                f"{free[0] / capped[0]:.2f} ×",
            ])  # fmt: skip
    head = [
        "where", "capped, s", "not capped, s", "capped, core-s a photo", "not capped, core-s a photo",
        "capped is faster by",
    ]  # fmt: skip
    return (
        "Mode general, 1 megapixel. Capped: as many threads of ONNX Runtime, libvips and the core as this worker has "
        "cores, as the product sets them; not capped: as many as the machine has cores, as they set them "
        "themselves.\n\n" + table(head, rows)
    )


def photos(photo: Path, pinned: bool, workers: int, count: int) -> tuple[float, float]:
    """(seconds until the last is done, core-seconds of each in the mean), as many at once as there are workers."""
    environ = environment(photo.parent)
    commands = [
        [sys.executable, "-c", ONE_PHOTO, str(int(pinned)), str(count), str(photo), str(photo.parent / f"{n}.jpg")]
        for n in range(workers)
    ]
    running = [
        subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for command in commands
    ]
    for one in running:
        assert one.stdout is not None
        one.stdout.readline()
    for one in running:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    spent = [json.loads(one.communicate()[0]) for one in running]
    return max(wall for wall, _ in spent), sum(cores for _, cores in spent) / workers


def engines(names: Sequence[str], tries: int) -> str:
    """One thread, the same tile of a noisy photograph, by what else computes networks on a processor."""
    if not PYTHON.exists():
        return "OpenVINO, bfloat16 and float16 on the processor were not measured: `make peers` sets them up."
    rows, versions = [], ""
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            card = cards()[name]
            full, narrow = Path(folder) / f"{name}.onnx", Path(folder) / f"{name}.float16.onnx"
            full.write_bytes(verified_bytes(card))
            narrow.write_bytes(half(full.read_bytes()))
            side = SIDES[card.scale]
            clean = pictures.read(pictures.free_picture("coffee.png")).astype(np.uint8)[:side, :side]
            np.save(Path(folder) / "clean.npy", clean)
            np.save(Path(folder) / "noisy.npy", pictures.with_noise(np.ascontiguousarray(clean), 12))
            words = [str(PYTHON), str(ROOT / "benchmarks/ways_one.py"), *map(str, (full, narrow, folder, tries))]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                return f"OpenVINO could not be measured: {done.stderr.strip().splitlines()[-1]}"
            facts = json.loads(done.stdout.strip().splitlines()[-1])
            versions, (base, *_) = facts["versions"], facts["ways"]
            for way in facts["ways"]:
                lost = "" if way["lost_db"] is None else f"{way['lost_db']:+.2f}"
                rows.append([
                    f"{name}, tile of {side}: {way['what']}", f"{way['seconds']:.3f}",
                    f"{base['seconds'] / way['seconds']:.2f} ×", lost, f"{way['mean']:.5f}", f"{way['most']:.4f}",
                ])  # fmt: skip
    head = ["network and way", "core-s", "faster by", "PSNR against the clean tile, dB", "differs, mean", "at most"]
    return (
        f"On one thread, against ONNX Runtime's own kernels in float32; {versions}. Differences of answers in 0..1 "
        "(a level of 8 bits is 0.0039); PSNR: against what float32 reaches.\n\n" + table(head, rows)
    )


if __name__ == "__main__":
    main()
