"""Every format that a photo may come in, by what is in the file: read right, and written so that little is lost."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image as Pillow

from darkroomd import heic, jxl, original, picture, raw, save
from darkroomd.errors import Rejected
from darkroomd.job import Limits, Output, Picture
from tests import pictures
from tests.pictures import opened

DATA = Path(__file__).parent / "data"
SCENE = pictures.scene(96, 64)


def saved(photo: Picture, path: Path, form: str, output: Output | None = None) -> Path:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        save.encode(photo, form, output or Output(), descriptor, "mode general", "1.2.3")
    finally:
        os.close(descriptor)
    return path


def whole(photo: Picture) -> np.ndarray[Any, Any]:
    """The file's own pixels, with alpha."""
    own = photo.pixels if photo.own is None else photo.own
    return own if photo.alpha is None else np.concatenate([own, photo.alpha], axis=2)


KINDS: dict[str, Callable[[Path], object]] = {
    "progressive.jpg": lambda p: Pillow.fromarray(SCENE).save(p, quality=95, progressive=True),
    "grey.jpg": lambda p: Pillow.fromarray(SCENE[:, :, 0]).save(p, quality=95),
    "palette.png": lambda p: Pillow.fromarray(SCENE).quantize(64).save(p),
    "interlaced.png": lambda p: pictures.image_of(SCENE).pngsave(str(p), interlace=True),
    "one bit.png": lambda p: Pillow.fromarray(SCENE[:, :, 0]).convert("1").save(p),
    "tiled.tif": lambda p: pictures.image_of(SCENE).tiffsave(str(p), tile=True, tile_width=32, tile_height=32),
    "big.tif": lambda p: pictures.image_of(SCENE).tiffsave(str(p), bigtiff=True),
    "lzw.tif": lambda p: pictures.image_of(SCENE).tiffsave(str(p), compression="lzw"),
    "jpeg.tif": lambda p: pictures.image_of(SCENE).tiffsave(str(p), compression="jpeg", Q=95),
    "lossless.webp": lambda p: pictures.image_of(SCENE).webpsave(str(p), lossless=True),
    "photo.webp": lambda p: pictures.image_of(SCENE).webpsave(str(p), Q=95),
    "photo.avif": lambda p: pictures.image_of(SCENE).heifsave(str(p), compression="av1", Q=95),
    "photo.gif": lambda p: pictures.image_of(SCENE).gifsave(str(p)),
    "photo.jxl": lambda p: p.write_bytes(imagecodecs.jpegxl_encode(SCENE, lossless=True)),
    "film.gif": lambda p: Pillow.fromarray(SCENE).save(p, save_all=True, append_images=[Pillow.new("RGB", (96, 64))]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_is_read_whatever_its_name_says(tmp_path: Path, kind: str) -> None:
    KINDS[kind](tmp_path / kind)
    (tmp_path / kind).rename(tmp_path / "photo.bmp")
    photo = opened(tmp_path / "photo.bmp")
    grey = kind in ("grey.jpg", "one bit.png")
    assert photo.pixels.shape == (64, 96, 1 if grey else 3)
    likeness = pictures.psnr(photo.pixels, SCENE[:, :, :1] if grey else SCENE)
    assert likeness > (4 if kind == "one bit.png" else 25)
    assert bool(photo.notes) == (kind == "film.gif")


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_avif_keeps_its_bits_and_white_stays_white(tmp_path: Path, bits: int) -> None:
    full = (1 << bits) - 1
    codes = np.arange(64 * 64 * 3).reshape(64, 64, 3) % (full + 1)
    codes[0] = full
    held = (codes << (16 - bits)).astype(np.uint16) if bits > 8 else codes.astype(np.uint8)
    pictures.image_of(held).heifsave(str(tmp_path / "in"), compression="av1", lossless=True, bitdepth=bits)
    photo = opened(tmp_path / "in")
    assert photo.bits == bits
    assert photo.pixels.max() == np.iinfo(photo.pixels.dtype).max
    again = opened(saved(photo, tmp_path / "out", "avif", Output(quality=100)))
    assert (again.bits, again.pixels.dtype) == (bits, photo.pixels.dtype)
    step = np.iinfo(photo.pixels.dtype).max / full
    assert np.abs(again.pixels.astype(int) - photo.pixels).max() <= 4 * step


@pytest.mark.parametrize("extra", [{}, {"bigtiff": True}, {"tile": True}])
def test_float_light_beyond_white_comes_back_from_tiff(tmp_path: Path, extra: dict[str, Any]) -> None:
    light = np.random.default_rng(0).random((40, 60, 3), dtype=np.float32)
    light[:4, :4] = 7.5
    pyvips.Image.new_from_array(light).copy(interpretation="scrgb").tiffsave(str(tmp_path / "in"), **extra)
    photo = opened(tmp_path / "in")
    assert (photo.pixels.dtype, photo.bits) == (np.uint16, 32)
    again = opened(saved(photo, tmp_path / "out", "tiff"))
    np.testing.assert_allclose(whole(again), light, atol=1e-6)
    assert save.losses(photo, "tiff") == ()
    assert save.losses(photo, "jpeg") == ("JPEG has no float samples: light beyond white was cut off",)


def test_a_phone_s_photo_is_upright_in_its_own_colours_with_its_tags() -> None:
    photo = opened(DATA / "phone.heic")
    assert (photo.format, photo.bits) == ("heic", 8)
    assert photo.pixels.shape == (64, 48, 3)  # stored lying, with a quarter turn
    assert photo.own is not None  # Display P3
    assert photo.tags.exif is not None
    assert b"2001:02:03 04:05:06" in photo.tags.exif


def test_ten_bits_of_a_phone_are_ten_bits_in_the_copy(tmp_path: Path) -> None:
    photo = opened(DATA / "ten_bits.heic")
    assert (photo.bits, photo.pixels.dtype) == (10, np.uint16)
    assert photo.pixels.max() == 65535
    assert opened(saved(photo, tmp_path / "out", "avif")).bits == 10


def dng(path: Path, width: int = 256, height: int = 192) -> Path:
    """A camera raw file made by arithmetic: a red left half and a green right half behind a Bayer filter."""
    colours = np.zeros((height, width, 3), np.uint16)
    colours[:, : width // 2] = [30000, 3000, 3000]
    colours[:, width // 2 :] = [3000, 30000, 3000]
    mosaic = colours[:, :, 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = colours[::2, ::2, 0], colours[1::2, 1::2, 2]
    matrix = [int(v * 10000) for v in (3.2405, -1.5371, -0.4985, -0.9693, 1.8760, 0.0416, 0.0556, -0.2040, 1.0572)]
    rational = tuple(part for value in matrix for part in (value, 10000))
    tags = [
        (271, 2, 5, "Acme", True), (272, 2, 4, "One", True), (306, 2, 20, "2001:02:03 04:05:06", True),
        (33421, 3, 2, (2, 2), True), (33422, 1, 4, b"\0\1\1\2", True), (50706, 1, 4, b"\1\4\0\0", True),
        (50708, 2, 9, "Acme One", True), (50717, 4, 1, 65535, True), (50721, 10, 9, rational, True),
        (50728, 5, 3, (1, 1, 1, 1, 1, 1), True), (50778, 3, 1, 21, True),
    ]  # fmt: skip
    tifffile.imwrite(path, mosaic, photometric=32803, extratags=tags)
    return path


def test_a_camera_s_raw_file_is_developed_to_16_bits_with_its_camera_and_date(tmp_path: Path) -> None:
    photo = opened(dng(tmp_path / "photo.tif"))  # by its content: the name says TIFF
    assert (photo.format, photo.bits, photo.pixels.dtype) == ("raw", 16, np.uint16)
    assert photo.pixels.shape == (192, 256, 3)
    left, right = photo.pixels[96, 60], photo.pixels[96, 200]
    assert left[0] > 2 * left[1]
    assert right[1] > 2 * right[0]
    assert photo.tags.exif is not None
    assert b"Acme" in photo.tags.exif
    assert b"2001:02:03 04:05:06" in photo.tags.exif


@pytest.mark.parametrize(
    ("reader", "content", "module"),
    [(heic, DATA / "phone.heic", "pi_heif"), (raw, None, "rawpy"), (jxl, None, "imagecodecs")],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: Any, content: Path | None, module: str
) -> None:
    if content is None:
        content = tmp_path / "photo"
        dng(content) if reader is raw else content.write_bytes(imagecodecs.jpegxl_encode(SCENE))
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(Rejected, match=r"need one more package: pip install 'darkroomd\["):
        opened(content)


@pytest.mark.parametrize("make", [lambda p: p.write_bytes((DATA / "phone.heic").read_bytes()), dng,
                                  lambda p: p.write_bytes(imagecodecs.jpegxl_encode(SCENE))])  # fmt: skip
def test_what_other_libraries_read_keeps_to_the_limits_and_may_be_damaged(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "photo"
    make(path)
    with pytest.raises(Rejected, match=r"limits\.max_megapixels allows"):
        opened(path, Limits(max_megapixels=0.001))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(Rejected, match=r"ends too early|damaged"):
        opened(path)


@pytest.mark.parametrize(("width", "height"), [(8, 8), (256, 256), (96, 64), (3000, 2), (600, 500), (1920, 1080)])
@pytest.mark.parametrize("boxed", [False, True])
def test_the_size_of_a_jpeg_xl_is_read_from_its_first_bytes(width: int, height: int, boxed: bool) -> None:
    data = bytes(imagecodecs.jpegxl_encode(np.zeros((height, width, 3), np.uint8), usecontainer=boxed))
    codestream = data[data.index(b"\xff\x0a", 12) :] if boxed else data
    assert jxl.size(codestream) == (width, height)


def test_a_photo_too_long_for_a_format_is_told_which_format_takes_it(tmp_path: Path) -> None:
    pictures.write_png(tmp_path / "long.png", np.zeros((1, 16384, 3), np.uint8))
    with pytest.raises(Rejected, match=r"16384×1, and WEBP files end at 16383 pixels; output\.format: png or tiff"):
        saved(opened(tmp_path / "long.png"), tmp_path / "out", "webp")


def test_a_lossless_webp_stays_lossless(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 4)).astype(np.uint8)
    noise[:, :, 3] |= 1  # webp forgets the colours of what cannot be seen at all
    pictures.image_of(noise).webpsave(str(tmp_path / "in"), lossless=True)
    photo = opened(tmp_path / "in")
    np.testing.assert_array_equal(whole(opened(saved(photo, tmp_path / "out", "webp"))), noise)


def test_sixteen_bits_become_eight_by_rounding_not_by_cutting(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 4096).astype(np.uint16).reshape(64, 64, 1).repeat(3, axis=2)
    pictures.write_png(tmp_path / "in.png", ramp)
    result = opened(saved(opened(tmp_path / "in.png"), tmp_path / "out", "jpeg", Output(quality=100)))
    assert abs(float(np.mean(result.pixels - ramp / 257.0))) < 0.1


def test_orientation_of_raw_bytes_is_read_without_turning_an_avif_twice(tmp_path: Path) -> None:
    image = pictures.image_of(SCENE).copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    image.heifsave(str(tmp_path / "in"), compression="av1", Q=95)
    photo = opened(tmp_path / "in")
    assert photo.pixels.shape == (96, 64, 3)
    assert pictures.psnr(photo.pixels, np.rot90(SCENE, -1)) > 25


def header(colours: str) -> bytes:
    """The first bytes of a JPEG XL file of 8 × 8 pixels of 8 bits; colours: the bits that name them, in their order."""
    bits = "1" + "00000" + "100"  # small, 8 high, as wide as high
    bits += "0" + "0" + "000" + "1" + "00" + "1" + colours  # not all by default, no more to say, 8 bits, XYB
    bits = bits.ljust(240, "0")
    return b"\xff\x0a" + bytes(int(bits[n : n + 8][::-1], 2) for n in range(0, len(bits), 8))


@pytest.mark.parametrize(
    ("colours", "told"),
    [
        ("1", None),
        ("01", "a profile of its own"),
        ("00" + "00" + "10" + "10" + "0" + "10", None),  # RGB, D65, sRGB's primaries, the curve of BT.709
        ("00" + "00" + "10" + "10" + "0" + "01" + "1101", None),  # the curve of sRGB
        ("00" + "00" + "10" + "10" + "0" + "01" + "0111", "HDR light (PQ)"),
        ("00" + "00" + "10" + "10" + "1", "a gamma of its own"),
        ("00" + "00" + "10" + "01" + "1001", "the primaries of P3"),
        ("00" + "00" + "01" + "0001", "another white"),
        ("00" + "10" + "10" + "0" + "01" + "0110", "linear light"),  # grey
    ],
)
def test_colours_of_a_jpeg_xl_that_are_not_srgb_are_told(colours: str, told: str | None) -> None:
    assert jxl.size(header(colours)) == (8, 8)
    assert jxl.colours(header(colours)) == told


def test_a_jpeg_xl_of_linear_light_says_what_became_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(SCENE.astype(np.uint16) * 257))
    assert opened(tmp_path / "a.jxl").notes == ("its colours (linear light) were taken for sRGB",)
    (tmp_path / "b.jxl").write_bytes(imagecodecs.jpegxl_encode(SCENE))
    assert opened(tmp_path / "b.jxl").notes == ()


@pytest.mark.parametrize("size", [(1, 300), (300, 1), (3, 3), (1, 1)])
@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "tiff", "avif"])
def test_a_line_or_a_dot_is_written_and_found_whole(tmp_path: Path, size: tuple[int, int], form: str) -> None:
    pictures.write_png(tmp_path / "in.png", np.full((*size, 3), 90, np.uint8))
    path = saved(opened(tmp_path / "in.png"), tmp_path / "out", form)
    descriptor = original.opened(path)
    picture.check_file(descriptor, size[1], size[0])
    os.close(descriptor)


def test_a_heic_that_holds_no_picture_is_damaged(tmp_path: Path) -> None:
    data = (DATA / "phone.heic").read_bytes()
    (tmp_path / "photo").write_bytes(data.replace(b"hvcC", bytes(4)))
    with pytest.raises(Rejected, match="the HEIC file is damaged"):
        opened(tmp_path / "photo")


def test_a_bigtiff_whose_offsets_reach_beyond_every_file_is_damaged(tmp_path: Path) -> None:
    pictures.image_of(SCENE).tiffsave(str(tmp_path / "in.tif"), bigtiff=True)
    data = bytearray((tmp_path / "in.tif").read_bytes())
    data[8:16] = b"\xff" * 8
    (tmp_path / "in.tif").write_bytes(data)
    with pytest.raises(Rejected, match="damaged"):
        opened(tmp_path / "in.tif")
