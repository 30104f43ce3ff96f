"""How large tiles are best on this machine: measured with the first large photo, and remembered.

Small tiles spend more on the margins that they share; large ones leave a processor's caches. Where caches are large, as
on the machine in RESULTS.md, a pixel costs the same at any size, and the card's tile is best.
"""

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np

from darkroomd.device import CPU, Network, runtime_versions
from darkroomd.errors import OutOfMemory
from darkroomd.models import Card
from darkroomd.places import tiles_folder

SIDES = (256, 384, 512, 768)
BUDGET_SECONDS = 0.8  # for all of them; a size that would go beyond is taken to be like the one before it
WORTH_ANOTHER_SIZE = 0.9  # of the time that the largest tile takes: less gained may be chance


@lru_cache(maxsize=8)
def quickest_side(net: Network, most: int) -> int:
    """The side of tiles, `most` or less, with which this network is quickest here. Takes a second once, or less."""
    if most <= SIDES[0]:
        return most
    path = tiles_folder() / f"{net.card.digest}-{most}-{_machine(net)}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):
        side = int(json.loads(path.read_text())["side"])
        if side in SIDES or side == most:
            return min(side, most)
    measured = seconds_per_pixel(net, most)
    side = best_side(net.card, most, measured)
    with suppress(OSError):  # then the next process measures again
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps({"side": side, "seconds per megapixel": {k: v * 1e6 for k, v in measured.items()}}))
        part.replace(path)
    return side


def seconds_per_pixel(net: Network, most: int, clock: Callable[[], float] = time.perf_counter) -> dict[int, float]:
    """By side, from small to large, as far as the budget reaches: the better of two runs, the first one beforehand."""
    measured, began = dict[int, float](), clock()
    for side in (side for side in SIDES if side < most):
        tile = np.zeros((1, 3, side, side), np.float32)
        last = max(measured.values(), default=0.0)
        if clock() - began + 2 * last * side**2 > BUDGET_SECONDS:
            break
        try:
            if not measured:
                net.run(tile)  # the runtime starts its threads
            seconds = []
            for _ in range(2):
                start = clock()
                net.run(tile)
                seconds.append(clock() - start)
        except OutOfMemory:
            break
        measured[side] = min(seconds) / side**2
    return measured


def best_side(card: Card, most: int, measured: dict[int, float]) -> int:
    """By what a pixel of the result costs, with its tile's margins. One not measured costs as the last that was."""
    if not measured:
        return most
    sides = {side: cost for side, cost in measured.items() if side > 4 * (card.halo + card.blend)}
    costs = {side: cost / _useful(card, side) for side, cost in sides.items()}
    costs[most] = WORTH_ANOTHER_SIZE * measured[max(measured)] / _useful(card, most)
    return min(costs, key=lambda side: costs[side])


def _useful(card: Card, side: int) -> float:
    """The share of a tile that becomes part of the result."""
    return ((side - 2 * (card.halo + card.blend)) / side) ** 2


def _machine(net: Network) -> str:
    """What the answer depends on beside the network: processor, cores, what computes."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "CPU part"))]
        facts: tuple[object, ...] = (models[:1], len(os.sched_getaffinity(0)), net.threads)
        facts += (sorted(runtime_versions().items()), *([] if net.device == CPU else [str(net.device)]))
        return hashlib.sha256(repr((platform.machine(), facts)).encode()).hexdigest()[:12]
    return platform.machine()
