"""Pictures larger than the memory that they may have: read, looked at, enhanced and written in bands."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pyvips

from darkroomd import enhance, grain, guard, light, look, original, picture, scratch, tone
from darkroomd._core import resize
from darkroomd.errors import Retryable
from darkroomd.job import Box, Limits, Output, Picture, Tags
from darkroomd.save import encode
from tests import pictures
from tests.command import environment

# in a process of its own, whose memory is its own: enhance a file with a network that changes nothing, tell the peak
ONE_PHOTO = """
import sys
from pathlib import Path
import pytest
from tests import networks
from tests.conftest import make_job
from darkroomd import guard, picture, pipeline, scratch
from darkroomd.job import Box, Mode, Treatment
scratch.LARGE_BYTES = guard.BANDED_BYTES = int(sys.argv[3])
scratch.BAND_BYTES = picture.BAND_BYTES = 8 << 20
home, name = Path(sys.argv[1]), sys.argv[2]
large = networks.enlarge(2), {"scale": 2}
networks.shipped(home / "models", pytest.MonkeyPatch(), same=networks.identity(), large=large)
(home / "out").mkdir(exist_ok=True)
mode = Mode(sys.argv[4], (Treatment(sys.argv[4]),), scale=2 if sys.argv[4] == "large" else None)
answer = pipeline.run(make_job(home / name, home / "out" / name, mode))
assert answer.verdict.status == "done", answer.verdict
answer.temporary.rename(home / "out" / name)
print(answer.verdict.peak_rss_mb)
"""
# of memory that is no file's, threads' stacks included; and what the photo and its result hold between them
MEMORY_LIMIT_MB = 600
WIDTH, HEIGHT = 6000, 4000
PIXELS_MB = 2 * WIDTH * HEIGHT * 3 >> 20


@pytest.fixture
def small_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is giant begins at 40 kB, so that giants are quick to make."""
    monkeypatch.setattr(scratch, "LARGE_BYTES", 40_000)
    monkeypatch.setattr(guard, "BANDED_BYTES", 40_000)
    for module in (scratch, picture):
        monkeypatch.setattr(module, "BAND_BYTES", 20_000)
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def peak_mb(home: Path, name: str, large_bytes: int, mode: str = "same") -> int:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT_MB << 20, MEMORY_LIMIT_MB << 20))

    environ = environment(home) | {"TMPDIR": str(home)}
    environ["PYTHONPATH"] += os.pathsep + str(Path(__file__).parent.parent)
    command = [sys.executable, "-c", ONE_PHOTO, str(home), name, str(large_bytes), mode]
    answer = subprocess.run(command, env=environ, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]
    return int(answer.stdout)


def test_a_giant_comes_back_bit_for_bit_through_less_memory_than_it_has_pixels(tmp_path: Path) -> None:
    ramp = pyvips.Image.xyz(WIDTH, HEIGHT)
    image = (ramp[0].bandjoin([ramp[1], ramp[0] + ramp[1]]) % 256).cast("uchar").copy(interpretation="srgb")
    image.tiffsave(str(tmp_path / "giant.tif"))
    empty = pictures.write_png(tmp_path / "small.png", np.zeros((8, 8, 3), np.uint8))
    resting_mb = peak_mb(tmp_path, empty.name, 1 << 40)
    assert peak_mb(tmp_path, "giant.tif", 16 << 20) < resting_mb + PIXELS_MB  # without bands: that and another 100 MB
    before, after = (
        pyvips.Image.new_from_file(str(tmp_path / name), access="sequential") for name in ("giant.tif", "out/giant.tif")
    )
    assert (before - after).abs().max() == 0
    assert sorted(os.listdir(tmp_path)) == ["giant.tif", "models", "out", "small.png"]  # noqa: PTH208


def test_a_giant_is_enlarged_in_less_memory_than_its_result_has_pixels(tmp_path: Path) -> None:
    width, height = WIDTH // 2, HEIGHT // 2
    ramp = pyvips.Image.xyz(width, height)
    image = (ramp[0].bandjoin([ramp[1], ramp[0] + ramp[1], ramp[0]]) % 256).cast("uchar").copy(interpretation="srgb")
    image.tiffsave(str(tmp_path / "giant.tif"))
    empty = pictures.write_png(tmp_path / "small.png", np.zeros((8, 8, 3), np.uint8))
    resting_mb = peak_mb(tmp_path, empty.name, 1 << 40)
    peak = peak_mb(tmp_path, "giant.tif", 4 << 20, "large")
    assert peak < resting_mb + (4 * width * height * 4 >> 20)  # without bands: three times that
    result = pyvips.Image.new_from_file(str(tmp_path / "out/giant.tif"), access="sequential")
    assert (result.width, result.height, result.bands) == (2 * width, 2 * height, 4)


def test_a_giant_is_looked_at_guarded_and_mixed_as_any_picture_is(small_room: None) -> None:
    pixels = pictures.with_noise(pictures.scene(200, 512), 12)
    giant = scratch.room(pixels.shape, pixels.dtype)
    giant[:] = pixels
    assert giant.base is not None
    photo, plain = (Picture(p, None, "png", Tags()) for p in (giant, np.zeros((8, 8, 3), np.uint8)))
    found = look.findings(photo)
    assert found.noise_sigma == pytest.approx(12, abs=3)
    assert found.megapixels == photo.megapixels
    checked = guard.guards(photo, photo, found.noise_sigma)
    assert checked.passed
    spoiled = giant.copy()
    spoiled[200:264] = 0
    worse = guard.guards(photo, photo.with_pixels(spoiled), found.noise_sigma)
    assert not worse.passed
    assert worse.spoiled.shape == checked.spoiled.shape
    assert worse.spoiled.any(axis=1).sum() == 3
    mended = guard.weakened(photo, photo.with_pixels(spoiled), worse, 0.0)
    assert mended is not None
    np.testing.assert_array_equal(mended.pixels[210:250], giant[210:250])
    halved = scratch.by_bands(lambda a, b: enhance._mixed(0.5, a, b), giant, 255 - pixels)
    np.testing.assert_array_equal(halved, enhance._mixed(0.5, pixels, 255 - pixels))
    assert plain.megapixels < 0.001
    for size in ((100, 256), (90, 255), (400, 1000)):
        np.testing.assert_array_equal(scratch.resized(giant, *size), resize(pixels, *size))
    np.testing.assert_array_equal(scratch.sampled(giant, 7, 3), pixels[::7, ::3])
    np.testing.assert_array_equal(tone.full_range(giant), tone.full_range(pixels.copy()))
    line = (Box(0, 0, giant.shape[1], giant.shape[0]),)
    np.testing.assert_array_equal(light.evened(giant, line), light.evened(pixels.copy(), line))
    assert grain.grained(giant, 12).std() > giant.std()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["rgb", "rgba"])
def test_a_giant_is_turned_the_right_way_up(small_room: None, tmp_path: Path, orientation: int, kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (150, 211, len(kind))).astype(np.uint8)
    image = pictures.image_of(pixels).copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    image.tiffsave(str(tmp_path / "in.tif"))
    descriptor = original.opened(tmp_path / "in.tif")
    photo = picture.decoded(descriptor, Limits())
    os.close(descriptor)
    upright = image.autorot().numpy()
    np.testing.assert_array_equal(photo.pixels, upright[:, :, :3])
    if photo.alpha is not None:
        np.testing.assert_array_equal(photo.alpha, upright[:, :, 3:])


@pytest.mark.parametrize("form", ["jpeg", "png", "tiff"])
def test_a_giant_is_written_as_any_picture_is(small_room: None, tmp_path: Path, form: str) -> None:
    scene = pictures.scene(300, 200)
    giant = scratch.room(scene.shape, scene.dtype)
    giant[:] = scene
    descriptor = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    encode(Picture(giant, None, "png", Tags()), form, Output(quality=100), descriptor, None, "1.2.3")
    os.close(descriptor)
    assert pictures.psnr(pictures.read(tmp_path / "out"), scene) > 35


def test_a_scratch_folder_without_room_is_told_with_what_to_do(
    small_room: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Retryable, match=r"has no room for .* GB of pixels \(.*\); TMPDIR names another"):
        scratch.room((1 << 30, 1 << 20, 3), np.uint8)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    with pytest.raises(Retryable, match=r"cannot hold 0\.0 GB of pixels"):
        scratch.room((300, 300, 3), np.uint8)
