"""The interpreter is free while the core computes."""

import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

from darkroomd import _core
from tests.core.pictures import random_picture

PIXELS = random_picture(400, 600, 3, "uint8")
FLOATS = random_picture(400, 600, 3, "float32")
PLAN = _core.plan_tiles(600, 400, 640, 8, 0, 1)
TILE = np.zeros((1, 3, PLAN.tile_height, PLAN.tile_width), np.float32)
OUT = TILE.copy()

KERNELS: dict[str, Callable[[], object]] = {
    "cut": lambda: _core.cut(PIXELS, PLAN, 0, OUT),
    "add": lambda: _core.Canvas(PLAN, 3, "uint8").add(0, TILE),
    "mix": lambda: _core.mix(PIXELS, PIXELS, 0.5),
    "measure": lambda: _core.measure(PIXELS),
    "resize": lambda: _core.resize(PIXELS, 50, 50),
    "mirrored": lambda: _core.mirrored(PIXELS, 50, 50, 50, 50),
    "linear_from_srgb": lambda: _core.linear_from_srgb(FLOATS),
    "srgb_from_linear": lambda: _core.srgb_from_linear(FLOATS),
    "luma_chroma_from_rgb": lambda: _core.luma_chroma_from_rgb(FLOATS),
    "rgb_from_luma_chroma": lambda: _core.rgb_from_luma_chroma(FLOATS),
}


def turns_given_up(act: Callable[[], object], attempts: int) -> bool:
    """Whether a waiting thread gets the interpreter while this one repeats `act`.

    The switch interval is an hour: the interpreter is not taken away, it can only be given up.
    """
    gate, parked = threading.Lock(), threading.Event()
    seen: list[str] = []

    def wait_for_a_turn() -> None:
        parked.set()
        with gate:
            seen.append("a turn")

    interval = sys.getswitchinterval()
    gate.acquire()
    thread = threading.Thread(target=wait_for_a_turn)
    thread.start()
    parked.wait()
    try:
        sys.setswitchinterval(3600)
        gate.release()
        for _ in range(attempts):
            act()
            if seen:
                return True
        return False
    finally:
        sys.setswitchinterval(interval)
        thread.join()


@pytest.mark.parametrize("name", KERNELS)
def test_another_thread_gets_the_interpreter_while_a_kernel_computes(name: str) -> None:
    assert turns_given_up(KERNELS[name], attempts=5000)


def test_a_computation_that_holds_the_interpreter_lets_nobody_in() -> None:
    assert not turns_given_up(lambda: sum(range(1000)), attempts=1000)


def test_two_threads_may_read_one_picture_at_once() -> None:
    tiles = [np.zeros_like(TILE) for _ in range(4)]
    threads = [threading.Thread(target=_core.cut, args=(PIXELS, PLAN, 0, tile)) for tile in tiles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for tile in tiles[1:]:
        np.testing.assert_array_equal(tile, tiles[0])
