"""OpenVINO computes what ONNX Runtime does, as exactly as it says, and nothing else. The real one, on any processor."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnx import helper

from darkroomd import device, models, openvino
from darkroomd.config import builtin_modes
from darkroomd.confine import walls
from darkroomd.device import OPENVINO_CPU, Network
from darkroomd.errors import OutOfMemory, Unavailable
from darkroomd.job import Engine
from darkroomd.openvino import Compiled, bfloat16, graphics
from darkroomd.workers import Workers
from tests import networks, pictures
from tests.conftest import make_job
from tests.test_device import tile

ASKED = Engine(device="openvino", threads=1)


@pytest.fixture
def taken_for_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the processor is: OpenVINO takes what it has, and its answers are held against float32."""
    monkeypatch.setattr(openvino, "bfloat16", lambda: True)


def exact(card: models.Card, given: Any) -> Any:
    return Network(card, Engine(device="cpu", threads=1)).run(given)


# What it takes

TILE_MB = """
import sys
import numpy as np
from darkroomd.device import network
from darkroomd.job import Engine
def status_mb(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))
net = network(sys.argv[1], Engine(device="openvino", threads=1))
side, scale = net.card.tile, net.card.scale
net.run(np.ones((1, 3, 64, 64), np.float32))
before = status_mb("VmRSS")
net.run(np.ones((1, 3, side, side), np.float32), np.empty((1, 3, side * scale, side * scale), np.float32))
print((status_mb("VmHWM") - before) * 2**20 / side**2 / (net.card.memory_bytes_per_pixel * net.memory_share))
"""


@pytest.mark.parametrize("name", ["general", "upscale-2", "upscale-4"])
def test_a_tile_takes_the_memory_that_explain_expects_of_it(name: str) -> None:
    found = subprocess.run([sys.executable, "-c", TILE_MB, name], capture_output=True, text=True, check=True)
    assert 0.65 < float(found.stdout) < 1.35  # 0.72 to 1.10 where a processor has no bfloat16


# What it computes


def test_every_network_gives_the_answer_that_it_gives_in_onnx_runtime() -> None:
    """In bfloat16 where this processor has it, far from the limits that take it back; else as exactly as float32."""
    for card in models.cards().values():
        given = tile(192 if card.scale == 1 else 96)
        out = np.empty((1, 3, given.shape[2] * card.scale, given.shape[3] * card.scale), np.float32)
        compiled = Compiled(models.verified_bytes(card), 1)
        compiled.run(given, out)
        apart = np.abs(out - exact(card, given))
        assert compiled.coarse == bfloat16()
        assert apart.mean() < (device.BFLOAT16_MAY_DIFFER_MEAN / 2 if compiled.coarse else 1e-5), card.name
        assert apart.max() < (device.BFLOAT16_MAY_DIFFER_MOST / 2 if compiled.coarse else 1e-3), card.name


def test_in_full_precision_it_is_as_exact_as_float32() -> None:
    card, out = models.card("general"), np.empty((1, 3, 96, 96), np.float32)
    compiled = Compiled(models.verified_bytes(card), 1, full=True)
    compiled.run(tile(96), out)
    assert not compiled.coarse
    np.testing.assert_allclose(out, exact(card, tile(96)), atol=1e-5)


@pytest.mark.parametrize("name", [name for name, card in models.cards().items() if card.scale > 1])
def test_a_smooth_sky_has_no_steps_when_it_is_enlarged(name: str, taken_for_bfloat16: None) -> None:
    """Between 0.5 and 1, bfloat16 has a step of 0.0039; pictures of 16 bits have one of 0.000015."""
    card = models.card(name)
    sky = np.broadcast_to(np.linspace(0.55, 0.65, 96, dtype=np.float32), (1, 3, 96, 96)).copy()
    net = Network(card, ASKED)
    apart = np.abs(net.run(sky) - exact(card, sky))
    assert net.device == OPENVINO_CPU
    assert apart.max() < 0.001


def test_a_convolution_that_has_no_end_in_bfloat16_is_computed_in_float32(taken_for_bfloat16: None) -> None:
    for radius, coarse in ((6, True), (8, False)):
        compiled, out = Compiled(networks.box_blur(radius), 1), np.zeros((1, 3, 32, 32), np.float32)
        assert compiled.coarse == coarse
        compiled.run(np.ones_like(out), out)
        assert out[0, 0, 16, 16] == pytest.approx(1, abs=0.01)


# Held against float32


def test_what_tells_nothing_is_not_what_the_check_is_made_with(
    monkeypatch: pytest.MonkeyPatch, taken_for_bfloat16: None
) -> None:
    checked = []
    alike = device._alike

    def noted(answer: Any, *rest: Any) -> bool:
        checked.append(answer.shape)
        return alike(answer, *rest)

    monkeypatch.setattr(device, "_alike", noted)
    net = Network(models.card("general"), ASKED)
    net.run(np.zeros((1, 3, 192, 192), np.float32))
    assert checked == []
    for _ in range(device.CHECKED_ONE_IN + 1):
        net.run(tile(64))
    net.run(tile(192))
    assert checked == [(1, 3, 64, 64)] * 2
    assert net._exact is None  # and holds no memory


def coarse() -> bytes:
    """300 more in between: in bfloat16 the neighbours of 300 are 2 apart."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["picture", "first", "more"], ["up"], pads=[1] * 4),
        helper.make_node("Relu", ["up"], ["positive"]),
        helper.make_node("Conv", ["positive", "second"], ["restored"], pads=[1] * 4),
    ]
    first, second = (rng.normal(0, 0.05, shape) for shape in ((32, 3, 3, 3), (3, 32, 3, 3)))
    return networks.network(nodes, {"first": first, "more": [300.0] * 32, "second": second})


def test_a_network_too_coarse_in_bfloat16_goes_on_in_float32_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken_for_bfloat16: None
) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, coarse=coarse())
    net = Network(models.card("coarse"), ASKED)
    for _ in range(2):
        np.testing.assert_allclose(net.run(tile(64)), exact(net.card, tile(64)), atol=0.001)
    if bfloat16():
        assert (str(net.device), net.note) == ("cpu", "device openvino:cpu: coarse is too coarse in bfloat16")


def test_an_answer_that_is_no_number_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken_for_bfloat16: None
) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, same=networks.identity())
    net = Network(models.card("same"), ASKED)
    net.run(tile(64))
    net._half._requests[-1] = SimpleNamespace(
        set_input_tensor=lambda *given: None,
        set_output_tensor=lambda out: setattr(net, "written", out.data),
        infer=lambda **how: net.written.fill(np.inf),  # type: ignore[attr-defined]
    )
    np.testing.assert_array_equal(net.run(tile(64)), tile(64))


# Memory


def test_an_answer_that_was_not_written_is_a_shortage_of_memory(taken_for_bfloat16: None) -> None:
    """As OpenVINO 2026.4 ends when it finds no memory: without an error, and of no use afterwards."""
    net = Network(models.card("general"), ASKED)
    nothing = SimpleNamespace(
        set_input_tensor=lambda *g: None, set_output_tensor=lambda o: None, infer=lambda **h: None
    )
    net._half._requests[-1] = nothing
    with pytest.raises(OutOfMemory, match="not enough memory for a 64×64 tile"):
        net.run(tile(64), np.ones((1, 3, 64, 64), np.float32))
    assert np.isfinite(net.run(tile(64))).all()  # compiled anew


def test_what_was_taken_for_tiles_is_given_back_after_the_last() -> None:
    program = f"""
import numpy as np
from darkroomd import models
from darkroomd.device import Network
from darkroomd.job import Engine
def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * {os.sysconf("SC_PAGE_SIZE")} / 1e6
net = Network(models.card("general"), Engine(device="openvino", threads=1))
tile = np.zeros((1, 3, 768, 768), np.float32)
out = np.zeros_like(tile)
net.run(tile, out)
before = resident_mb()
net.run(tile, out, last=True)
print(before - resident_mb())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 40


# What it may do


def test_it_reports_to_nobody_and_leaves_nothing_at_home(tmp_path: Path) -> None:
    """As it comes, `import openvino` looks for its maker's server and writes a number into ~/intel."""
    program = """
import sys
from darkroomd import models
from darkroomd.device import Network
from darkroomd.job import Engine
Network(models.card("general"), Engine(device="openvino"))
print([name for name in sys.modules if "telemetry" in name], "openvino" in sys.modules)
"""
    environ = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environ)
    assert done.stdout == "[] True\n"
    assert list(tmp_path.iterdir()) == []


def test_a_worker_behind_its_walls_computes_with_it(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    photo = pictures.write_jpeg(tmp_path / "in/a.jpg", pictures.with_noise(pictures.scene(160, 120), 12))
    job = make_job(photo, tmp_path / "out/a.jpg", replace(builtin_modes()["general"], choose=False))
    workers = Workers(1, "darkroomd.pipeline:run", walls=walls)
    try:
        staged = workers.submit(replace(job, engine=ASKED), 0.0).result(120)
    finally:
        workers.stop()
    assert (staged.verdict.status, staged.verdict.device) == ("done", "openvino:cpu"), staged.verdict


def test_where_no_code_may_be_made_at_run_time_auto_goes_without_it_and_says_why() -> None:
    """As under systemd's MemoryDenyWriteExecute."""
    program = """
import ctypes, sys
from darkroomd import device, models
from darkroomd.job import Engine
device.installed = device.bfloat16 = lambda: True
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE
    sys.exit(3)
net = device.Network(models.card("general"), Engine(device="auto"))
print(net.device, net.note, sep="; ")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip("this kernel cannot forbid it for one process (6.3 and later can)")
    assert done.stdout.startswith("cpu; device openvino:cpu: OpenVINO makes code while it runs"), done.stderr


def test_what_cannot_be_loaded_or_read_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match=r"^[^\n]+$"):
        Compiled(b"no network", 1)
    openvino._openvino.cache_clear()
    openvino._core.cache_clear()
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(device, "installed", lambda: True)
    try:
        with pytest.raises(Unavailable, match="device openvino:cpu: OpenVINO cannot be loaded"):
            Network(models.card("general"), ASKED)
    finally:
        openvino._openvino.cache_clear()
        openvino._core.cache_clear()


def test_a_shortage_while_it_is_loaded_is_not_taken_for_a_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*given: Any, **how: Any) -> Any:
        raise Unavailable("OpenVINO cannot be loaded: libx.so: failed to map segment from shared object")

    monkeypatch.setattr(device, "Compiled", short)
    with pytest.raises(MemoryError):
        Network(models.card("general"), ASKED)


# What is there


@pytest.mark.parametrize(
    ("flags", "there"),
    [
        ("fpu avx2 avx512f avx512_bf16", True),
        ("fpu amx_tile amx_bf16 amx_int8", True),
        ("fpu avx2 avx512f avx512bw avx512_vnni", False),  # OpenVINO would emulate it
        ("", False),
    ],
)
def test_bfloat16_is_what_the_processor_says(tmp_path: Path, flags: str, there: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"model name\t: Some\nflags\t\t: {flags}\n")
    assert bfloat16(tmp_path / "cpuinfo") == there


def test_a_processor_that_says_nothing_has_no_bfloat16(tmp_path: Path) -> None:
    assert not bfloat16(tmp_path / "nowhere")


def test_graphics_is_intels_or_none(tmp_path: Path) -> None:
    assert not graphics(tmp_path)
    for name, vendor in (("card0", "0x8086"), ("renderD128", "0x1002")):
        (tmp_path / name / "device").mkdir(parents=True)
        (tmp_path / name / "device/vendor").write_text(f"{vendor}\n")
    assert not graphics(tmp_path)
    (tmp_path / "renderD128/device/vendor").write_text("0x8086\n")
    assert graphics(tmp_path)
