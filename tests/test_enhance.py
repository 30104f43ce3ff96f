"""Tiles through networks: what must come back bit for bit, what a shortage of memory changes, and what is no answer."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from darkroomd import _core, device, enhance, models
from darkroomd.config import builtin_modes
from darkroomd.errors import BadResult, OutOfMemory
from darkroomd.job import Box, Engine, Face, Findings, Mode, Picture, Step, Tags, Treatment
from darkroomd.places import shipped_folder
from tests import networks, pictures

ENGINE = Engine(device="cpu")


@pytest.fixture(autouse=True)
def sessions_of_their_own() -> Iterator[None]:
    """A session is kept as long as the process lives: none of one test may be met in another."""
    device.network.cache_clear()
    yield
    device.network.cache_clear()


def photo(pixels: np.ndarray, alpha: np.ndarray | None = None) -> Picture:
    return Picture(pixels, alpha, "png", Tags())


def steps(name: str, strength: float = 1.0) -> tuple[Step, ...]:
    return (Step(name, models.cards()[name].digest, "all", strength, "a test"),)


def noise(height: int, width: int, bands: int, dtype: Any) -> np.ndarray:
    return np.random.default_rng(3).integers(0, np.iinfo(dtype).max, (height, width, bands), dtype, endpoint=True)


def found(**facts: Any) -> Findings:
    clean: dict[str, Any] = {
        "megapixels": 1.0, "noise_sigma": 0.5, "blur_sigma": 0.3, "blockiness": 1.0, "jpeg_quality": 95,
        "clipped_percent": 0.0,
    }  # fmt: skip
    return Findings(**(clean | facts))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 301), (7, 5), (129, 257), (333, 200)])
def test_a_network_that_changes_nothing_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: Any, bands: int, height: int, width: int
) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, same=networks.identity())
    pixels = noise(height, width, bands, dtype)
    alpha = noise(height, width, 1, dtype)
    before = pixels.copy()
    after = enhance.enhanced(photo(pixels, alpha), steps("same"), ENGINE)
    np.testing.assert_array_equal(after.pixels, before)
    assert after.pixels.dtype == dtype
    assert after.alpha is alpha
    np.testing.assert_array_equal(pixels, before)  # the input is left as it was


@pytest.mark.parametrize("radius", [1, 8])
def test_many_tiles_give_the_picture_that_one_tile_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, radius: int
) -> None:
    """halo == the network's radius: one pixel less, and the tiles' borders would show."""
    blur = networks.box_blur(radius)
    networks.shipped(
        tmp_path / "models", monkeypatch,
        small=(blur, {"halo": radius, "blend": 4, "tile": 64}),
        large=(blur, {"halo": radius, "blend": 4, "tile": 2048}),
    )  # fmt: skip
    pixels = noise(211, 307, 3, np.uint16)
    plans = [enhance.tile_plan(models.cards()[name], 307, 211, ENGINE) for name in ("small", "large")]
    assert (len(plans[0]) > 20, len(plans[1])) == (True, 1)
    many, one = (enhance.enhanced(photo(pixels), steps(name), ENGINE).pixels for name in ("small", "large"))
    assert np.abs(many.astype(int) - one.astype(int)).max() <= 1  # of 65535: rounding


def test_too_small_a_halo_would_be_seen_by_the_test_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blur = networks.box_blur(8)
    networks.shipped(
        tmp_path / "models", monkeypatch, small=(blur, {"halo": 2, "tile": 64}), large=(blur, {"halo": 2, "tile": 2048})
    )
    pixels = noise(211, 307, 3, np.uint16)
    many, one = (enhance.enhanced(photo(pixels), steps(name), ENGINE).pixels for name in ("small", "large"))
    assert np.abs(many.astype(int) - one.astype(int)).max() > 100


def test_half_the_strength_is_half_the_way_in_linear_light(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, blur=networks.box_blur(2))
    pixels = pictures.scene(160, 120)
    full, half, barely = (enhance.enhanced(photo(pixels), steps("blur", s), ENGINE).pixels for s in (1.0, 0.5, 0.001))
    low, high = np.minimum(pixels, full), np.maximum(pixels, full)
    assert (half >= low).all()
    assert (half <= high).all()
    assert 0 < pictures.psnr(pixels, full) < pictures.psnr(pixels, half) < pictures.psnr(pixels, barely)
    assert np.abs(barely.astype(int) - pixels.astype(int)).max() <= 1


@pytest.mark.parametrize("answer", [float("nan"), float("inf")])
def test_an_answer_that_is_no_number_is_a_bad_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: float
) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, broken=networks.times(answer))
    with pytest.raises(BadResult, match="network broken: "):
        enhance.enhanced(photo(pictures.scene(40, 30)), steps("broken"), ENGINE)


class ShortOfMemory:
    """A network that has room for tiles up to `room` pixels only, and counts what it was asked for."""

    def __init__(self, inner: device.Network, room: int) -> None:
        self.card, self.inner, self.room = inner.card, inner, room
        self.longest_side: int | None = None
        self.asked: list[int] = []

    def run(self, tile: Any, out: Any = None, last: bool = False) -> Any:
        self.asked.append(tile.shape[2] * tile.shape[3])
        if self.asked[-1] > self.room:
            raise OutOfMemory("not enough memory")
        return self.inner.run(tile, out, last)


def test_tiles_are_cut_and_blended_while_the_network_computes_and_buffers_in_use_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that waits until the tile before it is blended and the one after it is cut: no wait, no answer."""
    networks.shipped(tmp_path / "models", monkeypatch, same=(networks.identity(), {"tile": 64}))
    pixels = noise(90, 130, 3, np.uint8)
    cut_so_far, blended = [Event() for _ in range(99)], [Event() for _ in range(99)]
    ran: list[int] = []

    class Watched:
        def __init__(self, *given: Any) -> None:
            self.inner = _core.Canvas(*given)

        def add(self, index: int, answer: Any) -> None:
            self.inner.add(index, answer)
            blended[index].set()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    def cut(given: Any, plan: Any, index: int, tile: Any) -> None:
        _core.cut(given, plan, index, tile)
        cut_so_far[index].set()

    class Waiting(ShortOfMemory):
        def run(self, tile: Any, out: Any = None, last: bool = False) -> Any:
            index, count = len(ran), len(enhance.tile_plan(self.card, 130, 90, ENGINE))
            before = tile.copy()
            assert index == 0 or blended[index - 1].wait(90)
            assert index + 1 == count or cut_so_far[index + 1].wait(90)
            np.testing.assert_array_equal(tile, before)
            ran.append(index)
            return self.inner.run(tile, out, last)

    monkeypatch.setattr(enhance, "cut", cut)
    monkeypatch.setattr(enhance, "Canvas", Watched)
    waiting = Waiting(device.network("same", ENGINE), 0)
    np.testing.assert_array_equal(enhance.through(waiting, pixels, ENGINE), pixels)  # type: ignore[arg-type]
    assert len(ran) > 4


def test_a_shortage_of_memory_begins_anew_with_smaller_tiles_and_gives_the_same_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, blur=(networks.box_blur(4), {"halo": 4, "tile": 512}))
    pixels = noise(300, 400, 3, np.uint8)
    expected = enhance.enhanced(photo(pixels), steps("blur"), ENGINE).pixels
    short = ShortOfMemory(device.network("blur", ENGINE), 150 * 150)
    monkeypatch.setattr(enhance, "network", lambda name, engine: short)
    after = enhance.enhanced(photo(pixels), steps("blur"), ENGINE).pixels
    assert short.asked[0] > short.room >= short.asked[-1]
    assert np.abs(after.astype(int) - expected.astype(int)).max() <= 1


def test_the_memory_of_tiles_goes_back_after_a_large_photo_and_is_kept_after_a_small_one() -> None:
    """In a process of its own: what it has more than before, in MB, after a tile of 512 pixels, which takes 80."""
    program = """
import numpy as np
from darkroomd import enhance, models
from darkroomd.device import Network
from darkroomd.job import Engine
def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) / 1024
engine = Engine(device="cpu", threads=1)
net = Network(models.card("general"), engine)
photo = np.full((512, 512, 3), 128, np.uint8)
enhance.through(net, photo[:64, :64].copy(), engine)
before = resident()
enhance.through(net, photo, engine)
small = resident() - before
enhance.GIVES_BACK_PIXELS = photo.shape[0] * photo.shape[1]
enhance.through(net, photo, engine)
print(small, resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    small, large = (float(word) for word in done.stdout.split())
    assert small > 50
    assert large < 20


def test_when_not_even_the_smallest_tile_fits_the_shortage_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, blur=networks.box_blur(4))
    short = ShortOfMemory(device.network("blur", ENGINE), 0)
    monkeypatch.setattr(enhance, "network", lambda name, engine: short)
    with pytest.raises(OutOfMemory, match="not enough memory"):
        enhance.enhanced(photo(noise(300, 400, 3, np.uint8)), steps("blur"), ENGINE)
    assert short.asked == sorted(set(short.asked), reverse=True)  # each time smaller, and never twice the same


def test_tiles_are_as_small_as_the_memory_limit_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks.shipped(
        tmp_path / "models", monkeypatch, one=(networks.identity(), {"tile": 1024, "memory_bytes_per_pixel": 430})
    )
    card = models.cards()["one"]

    def pixels_of_a_tile(limit_mb: int) -> int:
        plan = enhance.tile_plan(card, 6000, 4000, Engine(memory_limit_mb=limit_mb))
        return plan.tile_width * plan.tile_height

    free, much, little, nothing = (pixels_of_a_tile(limit) for limit in (0, 10_000, 260, 1))
    assert free == much > little > nothing
    assert 430e-6 * little <= 260 - enhance.RESIDENT_MB
    assert nothing <= (4 * (card.halo + card.blend)) ** 2  # the least that is mostly picture
    peaks = [enhance.peak_memory_mb(card, 6000, 4000, Engine(memory_limit_mb=limit), 3) for limit in (0, 260, 1)]
    assert peaks == sorted(peaks, reverse=True)


def test_the_next_steps_session_is_opened_while_a_step_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first network waits until the second is open: opened one after the other, it would wait in vain."""
    networks.shipped(tmp_path / "models", monkeypatch, first=networks.identity(), second=networks.box_blur(2))
    second_is_open = Event()

    class Waiting(ShortOfMemory):
        def run(self, tile: Any, out: Any = None, last: bool = False) -> Any:
            assert second_is_open.wait(90)
            return self.inner.run(tile, out, last)

    def opened(name: str, engine: Engine) -> Any:
        net = device.network(name, engine)
        if name == "second":
            second_is_open.set()
            return net
        return Waiting(net, 0)

    monkeypatch.setattr(enhance, "network", opened)
    pixels = noise(60, 80, 3, np.uint8)
    both = enhance.enhanced(photo(pixels), steps("first") + steps("second"), ENGINE).pixels
    assert not np.array_equal(both, pixels)


@pytest.mark.parametrize(
    ("mode", "opened"),
    [
        (builtin_modes()["general"], {"general"}),
        (builtin_modes()["portrait"], {"general"}),
        (builtin_modes()["upscale"], {"upscale-2"}),
        (replace(builtin_modes()["upscale"], scale=4), {"upscale-4"}),
        (replace(builtin_modes()["upscale"], scale=1.5), {"upscale-2"}),
        (replace(builtin_modes()["upscale"], scale=9), {"upscale-4"}),
        (replace(builtin_modes()["upscale"], longest_side=4000), set()),  # by the picture's size
        (replace(builtin_modes()["general"], strength=0), set()),
    ],
)
def test_beside_the_first_decoding_only_the_network_that_is_needed_is_opened(
    monkeypatch: pytest.MonkeyPatch, mode: Mode, opened: set[str]
) -> None:
    seen = set[str]()
    monkeypatch.setattr(enhance, "network", lambda name, engine: seen.add(name))
    with enhance.opening(mode, ENGINE):
        pass
    assert seen == opened


def test_no_card_is_opened_while_decoding_limits_the_memory_of_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set[str]()
    monkeypatch.setattr(enhance, "network", lambda name, engine: seen.add(name))
    monkeypatch.setattr(enhance, "candidates", lambda *_: (device.Device("cuda"), device.CPU))
    with enhance.opening(builtin_modes()["general"], ENGINE):
        pass
    assert seen == set()


SIZE = (640, 480)
AUTO = builtin_modes()["auto"]


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, None),
        ({"noise_sigma": 12.34}, "noise (sigma 12.3)"),
        ({"jpeg_quality": 40}, "JPEG at quality 40"),
        ({"jpeg_quality": 90, "blockiness": 3.0}, "JPEG blocks from an earlier save"),
        ({"jpeg_quality": 40, "blockiness": 3.0}, "JPEG at quality 40"),
        ({"blur_sigma": 1.5}, "softness (sigma 1.5 px)"),
        ({"blur_sigma": None}, None),
        ({"noise_sigma": 6.0, "grain": 0.9}, None),
        ({"noise_sigma": 14.0, "grain": 0.9}, "strong film grain (sigma 14.0)"),
        ({"visible_quality": 30}, "JPEG artefacts of an earlier save (as at quality 30)"),
        ({"jpeg_quality": 40, "visible_quality": 40}, "JPEG at quality 40"),
        ({"noise_sigma": 9.0, "jpeg_quality": 40}, "noise (sigma 9.0), JPEG at quality 40"),
        ({"jpeg_quality": 70}, "JPEG at quality 70"),
        ({"jpeg_quality": 40, "grain": 0.8}, "JPEG at quality 40 over film grain"),
    ],
)
def test_mode_auto_runs_the_network_only_for_a_reason(facts: dict[str, Any], reason: str | None) -> None:
    chosen = enhance.steps_for(found(**facts), AUTO, SIZE)
    assert [step.reason for step in chosen] == ([] if reason is None else [reason])


def test_skin_and_film_grain_are_not_smoothed_to_take_light_compression_out() -> None:
    facts: list[dict[str, Any]] = [{"jpeg_quality": 20}, {"jpeg_quality": 75}, {"jpeg_quality": 40, "grain": 0.8}]
    strengths = [step.strength for one in facts for step in enhance.steps_for(found(**one), AUTO, SIZE)]
    assert strengths == [0.8, 0.6, 0.4]


def test_light_noise_is_taken_out_less_than_fully_and_strong_movement_is_not_sharpened() -> None:
    facts: list[dict[str, Any]] = [{"noise_sigma": 4.0}, {"noise_sigma": 9.0}, {"blur_sigma": 2.4}]
    strengths = [step.strength for one in facts for step in enhance.steps_for(found(**one), AUTO, SIZE)]
    assert strengths == [0.8, 1, 0.8]
    assert enhance.steps_for(found(noise_sigma=3.5), AUTO, SIZE) == ()
    assert enhance.steps_for(found(blur_sigma=4.4, motion=0.9), AUTO, SIZE) == ()
    assert len(enhance.steps_for(found(blur_sigma=2.4, motion=0.9), AUTO, SIZE)) == 1
    assert len(enhance.steps_for(found(blur_sigma=1.4, motion=0.9), AUTO, SIZE)) == 1


def test_mode_auto_takes_noise_away_before_it_sharpens() -> None:
    chosen = enhance.steps_for(found(noise_sigma=9.0, blur_sigma=1.5), AUTO, SIZE)
    assert [step.model for step in chosen] == ["general", "unblur"]


def test_mode_auto_sharpens_faces_and_letters_once_by_their_own_networks() -> None:
    face = Face(200, 100, 120, 160, ((230, 150), (290, 150), (260, 180), (235, 220), (285, 220)), 0.9)
    soft = found(blur_sigma=2.0, faces=(face,), text=(Box(300, 300, 200, 30),))
    chosen = enhance.steps_for(soft, AUTO, SIZE)
    assert [(s.model, s.region) for s in chosen] == [("unblur", "background"), ("text", "text"), ("portrait", "faces")]


@pytest.mark.parametrize(
    ("name", "facts", "networks"),
    [
        ("unblur", {"noise_sigma": 5.0}, ["unblur"]),
        ("unblur", {"noise_sigma": 20.0}, ["general", "unblur"]),
        ("unblur", {"noise_sigma": 20.0, "grain": 0.9}, ["unblur"]),
        ("upscale", {"noise_sigma": 5.0, "jpeg_quality": 80}, ["upscale-2"]),
        ("upscale", {"noise_sigma": 20.0}, ["general", "upscale-2"]),
        ("upscale", {"jpeg_quality": 30}, ["general", "upscale-2"]),
        ("upscale", {"jpeg_quality": 90, "visible_quality": 30}, ["general", "upscale-2"]),
    ],
)
def test_what_a_network_does_not_bear_is_taken_out_before_it(
    name: str, facts: dict[str, Any], networks: list[str]
) -> None:
    chosen = enhance.steps_for(found(**facts), builtin_modes()[name], SIZE)
    assert [step.model for step in chosen] == networks
    assert all("before" in step.reason for step in chosen[:-1])


def test_a_noisy_picture_that_is_large_enough_is_not_cleaned_by_the_mode_that_enlarges() -> None:
    mode = replace(builtin_modes()["upscale"], longest_side=max(SIZE))
    assert enhance.steps_for(found(noise_sigma=30.0), mode, SIZE) == ()


def test_other_modes_need_no_reason_and_strength_0_is_none() -> None:
    (step,) = enhance.steps_for(found(), Mode("mine", (Treatment("general"),), strength=0.4), SIZE)
    card = models.cards()["general"]
    assert (step.model, step.digest, step.strength, step.reason) == ("general", card.digest, 0.4, "mode mine")
    content = (shipped_folder() / card.file).read_bytes()
    assert hashlib.sha256(content).hexdigest().startswith(step.digest)
    assert enhance.steps_for(found(noise_sigma=30.0), Mode("mine", (Treatment("general"),), strength=0), SIZE) == ()


# Larger


LARGER = Mode("upscale", (Treatment("twice"), Treatment("four_times")), scale=2.0)


@pytest.fixture
def enlarging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks.shipped(
        tmp_path / "models", monkeypatch,
        twice=(networks.enlarge(2), {"scale": 2}), four_times=(networks.enlarge(4), {"scale": 4}),
    )  # fmt: skip


@pytest.mark.usefixtures("enlarging")
@pytest.mark.parametrize(
    ("changes", "network", "size"),
    [
        ({}, "twice", (200, 100)),
        ({"scale": 1.5}, "twice", (150, 75)),
        ({"scale": 2.01}, "four_times", (201, 100)),
        ({"scale": 4.0}, "four_times", (400, 200)),
        ({"longest_side": 301}, "four_times", (301, 150)),
        ({"longest_side": 120}, "twice", (120, 60)),
        ({"megapixels": 0.02}, "twice", (200, 100)),
    ],
)
def test_the_network_with_the_next_factor_up_makes_any_size(changes: Any, network: str, size: tuple[int, int]) -> None:
    pixels, alpha = noise(50, 100, 3, np.uint8), noise(50, 100, 1, np.uint8)
    (step,) = enhance.steps_for(found(), replace(LARGER, **changes), (100, 50))
    assert (step.model, step.size) == (network, size)
    after = enhance.enhanced(photo(pixels, alpha), (step,), ENGINE)
    assert after.pixels.shape == (*size[::-1], 3)
    assert after.alpha is not None
    assert after.alpha.shape == (*size[::-1], 1)


@pytest.mark.usefixtures("enlarging")
@pytest.mark.parametrize("changes", [{"longest_side": 100}, {"longest_side": 60}, {"megapixels": 0.001}])
def test_a_picture_that_is_large_enough_is_left_alone(changes: Any) -> None:
    assert enhance.steps_for(found(), replace(LARGER, **changes), (100, 50)) == ()


@pytest.mark.usefixtures("enlarging")
def test_more_than_a_network_can_do_is_not_done_and_said() -> None:
    (step,) = enhance.steps_for(found(), replace(LARGER, longest_side=1000), (100, 50))
    assert step.size == (400, 200)
    assert step.reason == "4 times as large, to 400×200 (no network reaches 10 times)"


@pytest.mark.usefixtures("enlarging")
@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (16, 16)])
def test_the_smallest_pictures_can_be_enlarged(shape: tuple[int, int]) -> None:
    steps = enhance.steps_for(found(), replace(LARGER, scale=4.0), shape[::-1])
    pixels = noise(*shape, 3, np.uint16)
    after = enhance.enhanced(photo(pixels), steps, ENGINE)
    np.testing.assert_array_equal(after.pixels, pixels.repeat(4, axis=0).repeat(4, axis=1))
    np.testing.assert_array_equal(enhance.at_size_of(photo(pixels), after).pixels.shape, pixels.shape)


@pytest.mark.usefixtures("enlarging")
def test_strength_lies_between_the_picture_resized_and_the_network() -> None:
    pixels = pictures.scene(40, 30)
    none, half, network = (
        enhance.enhanced(photo(pixels), enhance.steps_for(found(), mode, (40, 30)), ENGINE).pixels
        for mode in (replace(LARGER, strength=strength) for strength in (1e-6, 0.5, 1.0))
    )
    np.testing.assert_array_equal(none, _core.resize(pixels, 80, 60))
    assert (half >= np.minimum(network, none)).all()
    assert (half <= np.maximum(network, none)).all()
    assert 0 < pictures.psnr(network, none) < pictures.psnr(network, half)


@pytest.mark.usefixtures("enlarging")
def test_the_forecast_counts_the_larger_picture() -> None:
    small = enhance.peak_memory_mb(models.cards()["twice"], 2000, 1500, ENGINE, 3)
    large = enhance.peak_memory_mb(models.cards()["four_times"], 2000, 1500, ENGINE, 3)
    assert large - small == pytest.approx(12 * 3 * 3, rel=0.01)  # beyond 160 MB a picture lies in a file


def test_print_that_was_enlarged_from_half_its_size_is_left_and_the_verdict_says_why() -> None:
    mode = builtin_modes()["text"]
    page = replace(found(noise_sigma=0.5), text=(Box(10, 10, 90, 14),), blur_sigma=0.3)

    def strength(**facts: Any) -> float:
        assert enhance.missing(replace(page, **facts), mode) == ()
        (step,) = enhance.steps_for(replace(page, **facts), mode, (800, 600))
        return step.strength

    enlarged = replace(page, blockiness=2.1)
    assert enhance.steps_for(enlarged, mode, (800, 600)) == ()
    (why,) = enhance.missing(enlarged, mode)
    assert why.startswith("letters that were enlarged from half their size stay as they are")
    assert strength(blockiness=2.1, blur_sigma=0.8) == 1
    assert strength(blockiness=1.6, blur_sigma=0.0) == 1  # as pages saved at quality 10 look
    assert strength(blockiness=1.6, visible_quality=12) == 1
    assert strength(blockiness=1.0, blur_sigma=None) == 1
    assert enhance.needed_first(mode) == "text"
