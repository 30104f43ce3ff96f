"""What computes, and what happens when it is not there, has no room, or computes too coarsely. Cards are pretended."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from darkroomd import device, models
from darkroomd.device import CPU, Device, Network, candidates, nvidia_cards, workers_for
from darkroomd.errors import OutOfMemory, Unavailable
from darkroomd.half import half
from darkroomd.job import Engine
from tests import networks, pictures

CPU_WHEEL = {"onnxruntime": "1.32.0"}
GPU_WHEEL = {"onnxruntime-gpu": "1.31.1"}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretends what is installed and there."""

    def pretend(wheels: dict[str, str], cards: int = 0, others: str = "") -> None:
        monkeypatch.setattr(device, "runtime_versions", lambda: wheels)
        monkeypatch.setattr(device, "nvidia_cards", lambda: cards)
        for name in ("installed", "graphics", "bfloat16"):
            monkeypatch.setattr(device, name, lambda there=name in others: there)

    return pretend


@pytest.fixture
def pretended_card(machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> list[Device]:
    """A card whose sessions compute on the processor; the list of those that were opened."""
    opened: list[Device] = []
    real = device._session

    def session(content: bytes, wanted: Device, threads: int, engines: str | None = None) -> Any:
        opened.append(wanted)
        halved = wanted.kind == "cuda" and len(opened) % 2 == 1
        return real(networks.as_a_card_rounds(content) if halved else content, CPU, threads)

    machine(GPU_WHEEL, 1)
    monkeypatch.setattr(device, "_session", session)
    return opened


# Which device


@pytest.mark.parametrize(
    ("asked", "wheels", "cards", "others", "found"),
    [
        ("auto", CPU_WHEEL, 0, "", ["cpu"]),
        ("auto", CPU_WHEEL, 2, "graphics bfloat16", ["cpu"]),  # nothing that is installed can use them
        ("auto", GPU_WHEEL, 0, "", ["cpu"]),
        ("auto", GPU_WHEEL, 2, "", ["cuda:0", "cpu"]),
        ("auto", CPU_WHEEL, 0, "installed", ["cpu"]),  # in float32 it would be no quicker
        ("auto", CPU_WHEEL, 0, "installed bfloat16", ["openvino:cpu", "cpu"]),
        ("auto", CPU_WHEEL, 0, "installed graphics", ["openvino:gpu", "cpu"]),
        ("cpu", GPU_WHEEL, 2, "installed bfloat16", ["cpu"]),
        ("cuda", GPU_WHEEL, 2, "", ["cuda:0"]),
        ("cuda:1", GPU_WHEEL, 2, "", ["cuda:1"]),
        ("tensorrt:1", GPU_WHEEL, 2, "", ["tensorrt:1"]),
        ("openvino", CPU_WHEEL, 0, "installed", ["openvino:cpu"]),
        ("openvino", CPU_WHEEL, 0, "installed graphics bfloat16", ["openvino:gpu", "openvino:cpu"]),
    ],
)
def test_auto_takes_what_is_there_and_a_name_takes_nothing_else(
    machine: Callable[..., None], asked: str, wheels: dict[str, str], cards: int, others: str, found: list[str]
) -> None:
    machine(wheels, cards, others)
    assert [str(one) for one in candidates(asked)] == found


@pytest.mark.parametrize(
    ("asked", "wheels", "cards", "words"),
    [
        ("cuda", CPU_WHEEL, 1, r'needs ONNX Runtime for NVIDIA cards: uninstall .* install "darkroomd\[gpu\]"'),
        ("tensorrt", CPU_WHEEL, 1, r'install "darkroomd\[tensorrt\]"'),
        ("cuda", GPU_WHEEL, 0, "device cuda: no NVIDIA card is there"),
        ("cuda:2", GPU_WHEEL, 2, "device cuda:2: there are 2, numbered from 0"),
        ("openvino", CPU_WHEEL, 0, r'install "darkroomd\[openvino\]"'),
        ("cpu", {}, 0, r'ONNX Runtime is not installed; .*"darkroomd\[cpu\]"'),
        ("cpu", CPU_WHEEL | GPU_WHEEL, 0, "onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1 overwrite each other's files"),
    ],
)
def test_a_device_that_cannot_be_is_an_error_that_says_what_to_do(
    machine: Callable[..., None], asked: str, wheels: dict[str, str], cards: int, words: str
) -> None:
    machine(wheels, cards)
    with pytest.raises(Unavailable, match=words):
        candidates(asked)


def test_each_worker_has_a_card_of_its_own_unless_one_is_named(machine: Callable[..., None]) -> None:
    machine(GPU_WHEEL, 3)
    assert [str(candidates("cuda", worker)[0]) for worker in range(4)] == ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]
    assert [str(candidates("cuda:1", worker)[0]) for worker in range(3)] == ["cuda:1"] * 3
    assert {asked: workers_for(asked) for asked in ("auto", "cuda", "tensorrt", "cuda:1", "cpu")} == {
        "auto": 3, "cuda": 3, "tensorrt": 3, "cuda:1": 1, "cpu": 1,
    }  # fmt: skip


def test_cards_are_counted_as_cuda_will_show_them(tmp_path: Path) -> None:
    assert nvidia_cards(tmp_path, {}) == 0
    (tmp_path / "dxg").touch()
    assert nvidia_cards(tmp_path, {}) == 1  # WSL
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-modeset"):
        (tmp_path / name).touch()
    assert nvidia_cards(tmp_path, {}) == 2
    for visible, there in {"1": 1, "0,1": 2, "0,1,2,3": 2, "": 0, "-1": 0, "0,-1,1": 1}.items():
        assert nvidia_cards(tmp_path, {"CUDA_VISIBLE_DEVICES": visible}) == there


def test_both_runtimes_are_seen_as_they_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "version", lambda name: "1.32.0")
    assert device.runtime_versions() == {"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.32.0"}


def test_without_the_runtime_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Unavailable, match=r'pip install "darkroomd\[cpu\]"'):
        Network(models.card("general"), Engine(device="cpu"))


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.parametrize("kind", ["cuda", "tensorrt"])
def test_a_provider_that_does_not_open_is_an_error_and_never_a_silent_cpu(
    machine: Callable[..., None], at_home: Path, kind: str
) -> None:
    """With the runtime that is installed here: it leaves the provider out, and would compute on the processor."""
    machine(GPU_WHEEL, 1)
    with pytest.raises(Unavailable, match=f"device {kind}:0: "):
        Network(models.card("general"), Engine(device=kind))


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.parametrize("which", [CPU, Device("cuda", 0)])
def test_what_is_printed_is_not_lost_when_two_sessions_open_at_once(which: Device) -> None:
    stdout, second_is_open, first_is_shut = sys.stdout, threading.Event(), threading.Event()

    def open_the_second() -> None:
        with device._said(which):
            second_is_open.set()
            first_is_shut.wait()

    other = threading.Thread(target=open_the_second)
    with device._said(which):
        other.start()
        second_is_open.wait(timeout=0.05)  # it does not come where the second waits for the first
    first_is_shut.set()
    other.join()
    assert sys.stdout is stdout


@pytest.mark.parametrize(("asked", "granted", "started"), [(0, 0, 0), (0, 1, 1), (3, 1, 3)])
def test_the_runtime_starts_no_more_threads_than_the_process_is_granted_cores(
    monkeypatch: pytest.MonkeyPatch, asked: int, granted: int, started: int
) -> None:
    """0: as many as it likes, which is one for each core of the machine, whatever the process may use of them."""
    monkeypatch.setattr(device, "granted_cores", lambda: granted)
    session = device._session(networks.identity(), CPU, asked)
    assert session.get_session_options().intra_op_num_threads == started


def test_auto_comes_down_to_the_processor_and_says_why(machine: Callable[..., None]) -> None:
    machine(GPU_WHEEL, 1)
    net = Network(models.card("general"), Engine(device="auto"))
    assert str(net.device) == "cpu"
    assert net.note.startswith("device cuda:0: ")
    assert net.run(np.zeros((1, 3, 64, 64), np.float32)).shape == (1, 3, 64, 64)


# A shortage of memory


class Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def io_binding(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("Failed to allocate memory for requested buffer of size 1048576"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("CUDA failure 2: out of memory ; GPU=0"),
        RuntimeError("CUDNN failure 4000: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED"),
    ],
)
def test_a_shortage_of_memory_is_told_apart_from_other_failures(error: Exception) -> None:
    net = Network(models.card("general"), Engine(device="cpu"))
    tile = np.zeros((1, 3, 64, 96), np.float32)
    net._exact = Failing(error)
    with pytest.raises(OutOfMemory, match="not enough memory for a 96×64 tile"):
        net.run(tile)
    assert net.run(tile).shape == tile.shape  # in a fresh session, whose arena is empty
    net._exact = Failing(RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        net.run(tile)


@pytest.mark.parametrize("asked", ["cpu", "openvino"])
def test_a_real_shortage_ends_in_smaller_tiles_for_this_picture_and_the_next(asked: str) -> None:
    """With 120 MB more than the process has: ONNX Runtime fails in its own way, OpenVINO is kept from it."""
    program = f"""
import resource, numpy as np
from darkroomd import enhance, models
from darkroomd.device import Network
from darkroomd.job import Engine
engine = Engine(device={asked!r}, threads=1)
net = Network(models.card("general"), engine)
net.run(np.zeros((1, 3, 128, 128), np.float32))
pages = int(open("/proc/self/statm").read().split()[0])
most = pages * resource.getpagesize() + 120_000_000
resource.setrlimit(resource.RLIMIT_AS, (most, most))
small = np.full((600, 700, 3), 128, np.uint8)
first = enhance.tile_plan(net.card, 700, 600, engine)
after = enhance.through(net, small, engine)
second = enhance.tile_plan(net.card, 700, 600, engine, net.longest_side)
print(first.tile_width, second.tile_width, net.longest_side, after.shape, int(after.mean()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second, longest, *rest = done.stdout.replace("(", "").replace(")", "").replace(",", "").split()
    assert int(first) > int(longest) >= int(second)
    assert rest[:3] == ["600", "700", "3"]
    assert abs(int(rest[3]) - 128) <= 2


# Half precision


def tile(side: int = 256) -> np.ndarray:
    pixels = pictures.with_noise(pictures.scene(side, side), 12)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255)


def test_half_precision_of_every_network_is_close_to_full_precision(pretended_card: list[Device]) -> None:
    """Its error stays below what takes half precision back. On a processor: a card rounds in another order."""
    for card in models.cards().values():
        pretended_card.clear()
        net = Network(card, Engine(device="cuda"))
        halved = net._answer(net._half, tile())
        apart = np.abs(halved - net._in_full(tile()))
        assert apart.mean() < device.HALF_MAY_DIFFER_MEAN / 2, card.name
        assert apart.max() < device.HALF_MAY_DIFFER_MOST / 2, card.name
        assert apart.max() > 0  # it was half precision
        assert pretended_card == [Device("cuda", 0)] * 2


def test_the_first_tile_is_checked_and_full_precision_is_not_opened_again_without_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pretended_card: list[Device]
) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, same=networks.identity())
    net = Network(models.card("same"), Engine(device="cuda"))
    halved, ran = net._half, []
    answer = net._answer

    def noted(session: Any, *rest: Any) -> Any:
        ran.append("half" if session is halved else "full")
        return answer(session, *rest)

    monkeypatch.setattr(net, "_answer", noted)
    for _ in range(device.CHECKED_ONE_IN + 2):
        np.testing.assert_allclose(net.run(tile(64)), tile(64), atol=0.0005)
    assert ran.count("full") == 2
    assert ran[:4] == ["half", "full", "half", "half"]


def test_a_network_too_coarse_in_half_precision_goes_on_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pretended_card: list[Device]
) -> None:
    """(x + 3000) - 3000: in float16 the neighbours of 3000 are 2 apart."""
    nodes = [
        helper.make_node("Add", ["picture", "much"], ["up"]),
        helper.make_node("Sub", ["up", "much"], ["restored"]),
    ]
    networks.shipped(tmp_path / "models", monkeypatch, coarse=networks.network(nodes, {"much": 3000.0}))
    net = Network(models.card("coarse"), Engine(device="cuda"))
    assert np.abs(net._answer(net._half, tile(64)) - tile(64)).max() > 0.1
    for _ in range(2):
        np.testing.assert_allclose(net.run(tile(64)), tile(64), atol=0.0005)
    assert net._half is None


def test_a_tile_that_half_precision_cannot_hold_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pretended_card: list[Device]
) -> None:
    """x * 60000 / 60000: beyond float16 where x is above 1.09."""
    nodes = [
        helper.make_node("Mul", ["picture", "much"], ["up"]),
        helper.make_node("Div", ["up", "much"], ["restored"]),
    ]
    networks.shipped(tmp_path / "models", monkeypatch, hot=networks.network(nodes, {"much": 60000.0}))
    net = Network(models.card("hot"), Engine(device="cuda"))
    net.run(tile(64))
    bright = tile(64) + 1
    np.testing.assert_allclose(net.run(bright), bright, atol=0.0005)
    assert net._half is None  # infinite is as far away as it can be


def test_the_graph_in_half_precision_is_whole_and_keeps_its_ends(tmp_path: Path) -> None:
    content = models.verified_bytes(models.card("general"))
    model = onnx.load_from_string(half(content))
    onnx.checker.check_model(model, full_check=True)
    ends = [*model.graph.input, *model.graph.output]
    assert [end.type.tensor_type.elem_type for end in ends] == [onnx.TensorProto.FLOAT] * 2
    assert {weight.data_type for weight in model.graph.initializer} == {onnx.TensorProto.FLOAT16}
    assert len(half(content)) < 2.2 * models.card("general").parameters  # bytes


def test_sizes_of_a_resize_and_casts_stay_numbers_that_they_were() -> None:
    twice = onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32))
    nodes = [
        helper.make_node("Cast", ["picture"], ["wide"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Constant", [], ["twice"], value=twice),
        helper.make_node("Resize", ["wide", "", "twice"], ["restored"], mode="nearest"),
    ]
    model = onnx.load_from_string(half(networks.network(nodes)))
    (scales,) = [node for node in model.graph.node if node.op_type == "Constant"]
    assert scales.attribute[0].t.data_type == onnx.TensorProto.FLOAT
    assert [node.attribute[0].i for node in model.graph.node if node.op_type == "Cast"] == [
        onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT,
    ]  # fmt: skip


def test_half_precision_without_onnx_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(Unavailable, match=r'pip install "darkroomd\[gpu\]"'):
        half(b"")


def test_tensorrt_meets_few_shapes_and_the_answer_is_the_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pretended_card: list[Device]
) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, same=networks.identity())
    net = Network(models.card("same"), Engine(device="tensorrt"))
    shapes: set[tuple[int, ...]] = set()
    answer = net._answer

    def noted(session: Any, given: Any, *rest: Any) -> Any:
        shapes.add(given.shape[2:])
        return answer(session, given, *rest)

    monkeypatch.setattr(net, "_answer", noted)
    net.run(tile(64))  # checked, so full precision has seen it as it is
    shapes.clear()
    for side in (64, 136, 200, 248):
        np.testing.assert_array_equal(net.run(tile(side)), tile(side))
    assert shapes == {(256, 256)}
    assert pretended_card == [Device("tensorrt", 0), Device("cuda", 0)]
