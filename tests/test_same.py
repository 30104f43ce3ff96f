"""What comes out is the same photograph: its colours in its own profile, its bits, its sky, its cut-out edges."""

import os
import resource
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import pyvips
import tifffile
from PIL import Image as Pillow

from darkroomd import enhance, original, picture, pipeline, scratch, transparent
from darkroomd.errors import Rejected
from darkroomd.job import Limits, Mode, Picture, Tags, Treatment
from tests import networks, pictures
from tests.conftest import make_job

SAME, SMOOTH = (Mode(name, (Treatment(name),)) for name in ("same", "smooth"))
LARGER = Mode("twice", (Treatment("twice"),), scale=1.5)

# what a monitor's or a printer's profile holds: red, green and blue in XYZ under D50, and the exponent of its curve
SPACES = {
    "Display P3": (((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)), 2.2),
    "Adobe RGB": (((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)), 2.2),
    "ProPhoto": (((0.79767, 0.28804, 0.0), (0.13519, 0.71187, 0.0), (0.03134, 0.00009, 0.82491)), 1.8),
}


@pytest.fixture(autouse=True)
def small_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks.shipped(
        tmp_path / "models", monkeypatch, same=networks.identity(), smooth=networks.box_blur(2),
        twice=(networks.enlarge(2), {"scale": 2}),
    )  # fmt: skip


def profile(name: str) -> bytes:
    """A matrix profile, version 2, as ICC.1:2001-04 lays it out."""
    columns, gamma = SPACES[name]

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    text = name.encode() + b"\0"
    words = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    tags = [(b"desc", words), (b"cprt", b"text\0\0\0\0none\0"), (b"wtpt", xyz((0.9642, 1.0, 0.8249)))]
    tags += [(letter + b"XYZ", xyz(column)) for letter, column in zip((b"r", b"g", b"b"), columns, strict=True)]
    tags += [(letter + b"TRC", curve) for letter in (b"r", b"g", b"b")]
    at, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for kind, data in tags:
        table += kind + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I", at + len(body)) + bytes(4) + b"\x02\x10\0\0mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    return head + struct.pack(">iii", 63190, 65536, 54061) + bytes(128 - len(head) - 12) + table + body


def in_space(path: Path, name: str, pixels: npt.NDArray[Any]) -> Path:
    image = pictures.image_of(pixels).copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile(name))
    image.write_to_file(str(path))
    return path


def result_of(source: Path, mode: Mode) -> Path:
    """The path of the copy, which passed every check."""
    answer = pipeline.run(make_job(source, source.with_name(f"out{source.suffix}"), mode))
    assert answer.verdict.status == "done", answer.verdict
    assert answer.temporary is not None
    return answer.temporary


def lab(path: Path) -> pyvips.Image:
    return pyvips.Image.new_from_file(str(path)).icc_import(embedded=True, pcs="lab", intent="relative")


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize(("dtype", "ending"), [(np.uint8, "png"), (np.uint16, "tif")])
def test_a_wide_gamut_photo_keeps_every_colour_within_half_a_delta_e(
    tmp_path: Path, name: str, dtype: Any, ending: str
) -> None:
    levels = np.linspace(0, np.iinfo(dtype).max, 8)
    lattice = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(16, 32, 3)
    source = in_space(tmp_path / f"in.{ending}", name, np.rint(lattice).astype(dtype).repeat(4, 0).repeat(4, 1))
    copy = result_of(source, SAME)
    assert pyvips.Image.new_from_file(str(copy)).get("icc-profile-data") == profile(name)
    assert lab(source).dE00(lab(copy)).max() <= 0.5
    outside = pyvips.Image.new_from_file(str(source)).icc_transform("srgb", embedded=True).icc_import(pcs="lab")
    assert lab(source).dE00(outside).max() > 2  # what sRGB alone would have made of it


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_smooth_sky_gets_no_bands(tmp_path: Path, dtype: Any) -> None:
    """From noise that hides the steps to a sky without noise: of eight bits the nearest level, of sixteen all."""
    full = np.iinfo(dtype).max
    truth = np.linspace(0.55, 0.65, 480)[:, None, None].repeat(320, 1).repeat(3, 2) * full
    noise = np.random.default_rng(0).normal(0, full / 200, truth.shape)
    source = tmp_path / "sky.png"
    pictures.write_png(source, np.rint(truth + noise).astype(dtype))
    sky = pictures.read(result_of(source, SMOOTH)).astype(np.float64)[8:-8, 8:-8]
    off = sky - truth[8:-8, 8:-8]
    assert abs(off.mean()) < 0.02 * full / 255  # cut off instead of rounded, half a level
    rows = off.mean(axis=(1, 2))
    assert abs(rows).max() < 0.2 * full / 255  # a band is darker or brighter than its place in the sky
    if dtype == np.uint16:
        assert len(np.unique(sky)) > 1500


def test_a_picture_cut_out_of_black_gets_no_dark_fringe_when_it_grows(tmp_path: Path) -> None:
    y, x = np.mgrid[0:96, 0:96]
    alpha = np.clip((36 - np.hypot(x - 47.5, y - 47.5)) * 128, 0, 255)
    red = np.where(alpha[..., None] > 0, np.array([230, 40, 40]), 0)
    source = pictures.write_png(tmp_path / "disc.png", np.dstack([red, alpha]).astype(np.uint8))
    for mode in (LARGER, SMOOTH):
        after = pictures.read(result_of(source, mode)).astype(np.float64)
        assert after.shape[2] == 4
        cover = after[..., 3:] / 255
        on_white = after[..., :3] * cover + 255 * (1 - cover)
        assert on_white[..., 0].min() >= 224  # red and white alike have 230 and more: less is black from outside
    np.testing.assert_array_equal(after[alpha == 0], 0)  # at the same size the invisible is what it was


def test_only_what_lies_near_the_visible_is_filled_and_nothing_visible_changes() -> None:
    pixels, alpha = np.zeros((400, 700, 3), np.uint16), np.zeros((400, 700, 1), np.uint8)
    pixels[100:140, 100:140], alpha[100:140, 100:140] = 50_000, 200
    photo = Picture(pixels, alpha, "png", Tags())
    filled = transparent.filled(photo)
    assert filled.pixels[95, 120].min() > 49_000
    assert filled.pixels[120, 650].max() == 0
    np.testing.assert_array_equal(transparent.put_back(photo, filled).pixels, pixels)
    opaque = Picture(pixels, alpha | 1, "png", Tags())
    assert transparent.filled(opaque) is opaque


def decoded(path: Path, limits: Limits | None = None) -> Picture:
    descriptor = original.opened(path)
    try:
        return picture.decoded(descriptor, limits or Limits())
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.uint32, np.int16, np.int8, np.complex64])
def test_samples_that_no_photo_has_are_told_as_not_supported(tmp_path: Path, dtype: Any) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones((40, 60), dtype), photometric="minisblack")
    with pytest.raises(Rejected, match="not supported") as refusal:
        decoded(tmp_path / "a.tif")
    assert "damaged" not in str(refusal.value)
    assert "supported are TIFF files of 8 and 16 bits" in str(refusal.value)


def test_decoding_gets_no_more_memory_than_the_limit_and_says_which(tmp_path: Path) -> None:
    Pillow.new("RGB", (6000, 6000)).save(tmp_path / "large.jpg", progressive=True)
    job = make_job(tmp_path / "large.jpg", tmp_path / "out.jpg", SAME, limits=Limits(max_decoding_mb=64))
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(Rejected, match=r"takes more memory than limits\.max_decoding_mb allows \(64\)"):
        pipeline.run(job)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_a_limit_of_somebody_else_is_a_shortage_and_no_refusal() -> None:
    def shortage() -> None:
        with scratch.at_most(1 << 20, "ours"):
            assert resource.getrlimit(resource.RLIMIT_DATA) == within
            raise MemoryError

    before = resource.getrlimit(resource.RLIMIT_DATA)
    with scratch.at_most(4096, "somebody else's"):
        within = resource.getrlimit(resource.RLIMIT_DATA)
        try:
            shortage()
        except MemoryError:
            told = "a shortage"
    assert told == "a shortage"
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


@pytest.mark.parametrize("kind", ["progressive.jpg", "interlaced.png", "photo.webp", "photo.avif", "plain.jpg"])
def test_a_giant_that_must_be_decoded_whole_says_what_that_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(scratch, "LARGE_BYTES", 40_000)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    image = pictures.image_of(pictures.scene(300, 200))
    image.write_to_file(str(tmp_path / kind), **({"interlace": True} if kind[0] in "pi" and kind[1] in "rn" else {}))
    photo = decoded(tmp_path / kind)
    assert bool(photo.decoding_mb) == (kind != "plain.jpg")
    assert [note.split(":")[0] for note in photo.notes] == (
        [] if kind == "plain.jpg" else [f"{picture.WHOLE[photo.format]} must be decoded whole"]
    )


def test_a_giant_is_forecast_by_its_bands() -> None:
    from darkroomd.job import Engine
    from darkroomd.models import cards

    known = cards()["same"]
    small, giant = (enhance.peak_memory_mb(known, side, side, Engine(), 3) for side in (4000, 20000))
    assert giant < 600
    assert small > 4000 * 4000 * 3 * 2 / 1e6


def test_our_own_result_is_enhanced_again_on_purpose_only(tmp_path: Path) -> None:
    source = pictures.write_png(tmp_path / "in.png", pictures.with_noise(pictures.scene(96, 64), 9))
    once = result_of(source, SAME).rename(tmp_path / "once.png")
    job = make_job(once, tmp_path / "twice.png", SAME)
    answer = pipeline.run(job)
    assert (answer.verdict.status, answer.temporary) == ("unchanged", None)
    assert "darkroomd enhance --again" in str(answer.verdict.reason)
    assert pipeline.run(replace(job, again=True)).verdict.status == "done"
