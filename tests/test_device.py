"""What computes, and what happens when it is not there or has no room."""

import sys

import numpy as np
import pytest

from darkroomd import device, models
from darkroomd.errors import OutOfMemory, Unavailable
from darkroomd.job import Engine


def test_an_unknown_network_is_an_error_that_says_which_there_are() -> None:
    with pytest.raises(Unavailable, match=r"no network named 'magic'; there are: general"):
        device.network("magic", Engine())


def test_a_device_that_is_not_there_is_an_error_and_never_a_silent_cpu() -> None:
    assert device.chosen_device("auto") == "cpu"
    with pytest.raises(Unavailable, match="device 'cuda' is not available"):
        device.chosen_device("cuda")


def test_without_the_runtime_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Unavailable, match=r'pip install "darkroomd\[cpu\]"'):
        device.Network(models.cards()["general"], Engine())


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def run(self, *_: object) -> None:
        raise self.error


def test_a_shortage_of_memory_is_told_apart_from_other_failures() -> None:
    net = device.Network(models.cards()["general"], Engine())
    tile = np.zeros((1, 3, 64, 96), np.float32)
    for shortage in (
        MemoryError(),
        net._failure.RuntimeException("Failed to allocate memory for requested buffer"),
        net._failure.Fail("std::bad_alloc"),
    ):
        net._session = Failing(shortage)
        with pytest.raises(OutOfMemory, match="not enough memory for a 96×64 tile"):
            net.run(tile)
    net._session = Failing(net._failure.RuntimeException("something else"))
    with pytest.raises(net._failure.RuntimeException, match="something else"):
        net.run(tile)


def test_two_runtimes_at_once_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "version", lambda name: "1.32.0")
    assert device.runtime_versions() == {"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.32.0"}
