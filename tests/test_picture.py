"""Files to pixels and back: what a photo is, what is refused, what is kept."""

import errno
import io
import os
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image as Pillow

from darkroomd import original, picture, save
from darkroomd.errors import Incomplete, Rejected, Retryable
from darkroomd.job import Limits, Output, Picture
from tests import pictures
from tests.pictures import opened

AS_IT_IS = Output()


def saved(photo: Picture, path: Path, output: Output = AS_IT_IS, event: str | None = "mode general") -> Path:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        form = output.format if output.format != "keep" else photo.format
        save.encode(photo, form, output, descriptor, event, "1.2.3")
    finally:
        os.close(descriptor)
    return path


@pytest.mark.parametrize("form", ["png", "tiff"])
@pytest.mark.parametrize("kind", ["rgb8", "rgb16", "grey8", "grey16", "rgba8", "rgba16"])
def test_every_bit_comes_back_from_lossless_formats(tmp_path: Path, form: str, kind: str) -> None:
    dtype = np.uint16 if kind.endswith("16") else np.uint8
    bands = {"rgb": 3, "grey": 1, "rgba": 4}[kind.rstrip("0123456789")]
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (37, 53, bands)).astype(dtype)
    image = pictures.image_of(pixels)
    image.pngsave(str(tmp_path / "in.png")) if form == "png" else image.tiffsave(str(tmp_path / "in.tiff"))

    photo = opened(tmp_path / f"in.{form}")
    again = opened(saved(photo, tmp_path / f"out.{form}"))

    for both in (photo, again):
        assert both.format == form
        whole = both.pixels if both.alpha is None else np.concatenate([both.pixels, both.alpha], axis=2)
        assert whole.dtype == dtype
        np.testing.assert_array_equal(whole, pixels)


@pytest.mark.parametrize("form", ["jpeg", "webp", "avif"])
def test_lossy_formats_are_read_and_written(tmp_path: Path, form: str) -> None:
    scene = pictures.scene(96, 64)
    image = pictures.image_of(scene)
    if form == "avif":
        image.heifsave(str(tmp_path / "in"), compression="av1", Q=95)
    else:
        (image.jpegsave if form == "jpeg" else image.webpsave)(str(tmp_path / "in"), Q=95)
    photo = opened(tmp_path / "in")
    again = opened(saved(photo, tmp_path / "out", Output(quality=95)))
    assert (photo.format, again.format) == (form, form)
    assert pictures.psnr(again.pixels, scene) > 30


def test_a_file_is_what_its_content_says_not_its_name(tmp_path: Path) -> None:
    pictures.write_png(tmp_path / "really.png", pictures.scene(40, 30)).rename(tmp_path / "photo.jpg")
    assert opened(tmp_path / "photo.jpg").format == "png"


def png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its data does not have."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 500)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


JPEG = pictures.jpeg_bytes(pictures.scene(200, 150))

REFUSED = {
    "empty": (b"", Incomplete, "the file is empty"),
    "text": (b"Dear diary, today I took no photo at all.\n", Rejected, "not a photo"),
    "random": (bytes(range(256)), Rejected, "not a photo"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', Rejected, "SVG files are not supported"),
    "gif": (b"GIF89a" + bytes(60), Rejected, "the GIF file is damaged"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(60), Rejected, "the HEIC file is damaged"),
    "film": (b"\0\0\0\x18ftypisom" + bytes(60), Rejected, "a film, not a photo"),
    "bmp": (b"BM" + bytes(60), Rejected, "BMP files are not supported"),
    "truncated jpeg": (JPEG[: len(JPEG) // 2], Incomplete, "ends too early"),
    "jpeg header only": (JPEG[:30], Incomplete, "ends too early"),
    "truncated png": (png(100, 100), Incomplete, "ends too early"),
    "no pixels": (png(0, 10), Rejected, r"the picture has no pixels \(0×10\)"),
    "600 megapixels by its header": (
        png(30000, 20000),
        Rejected,
        r"30000×20000 \(600 megapixels\); limits.max_megapixels allows 500",
    ),
    "two billion pixels wide": (png(2**31 - 1, 1), Rejected, "megapixels|damaged"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_file_is_refused_with_a_reason_that_a_user_understands(tmp_path: Path, name: str) -> None:
    content, error, words = REFUSED[name]
    (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(error, match=words):
        opened(tmp_path / "photo.jpg")


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.write(JPEG)
        file.truncate(1 << 40)
    with pytest.raises(Rejected, match=r"limits.max_file_mb allows 1024"):
        opened(tmp_path / "sparse.jpg")


def test_pipes_links_and_missing_files_never_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(Rejected, match="not a regular file"):
        original.opened(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("/etc/hostname")
    with pytest.raises(Retryable):
        original.opened(tmp_path / "link.jpg")
    with pytest.raises(Retryable, match="cannot read the file"):
        original.opened(tmp_path / "missing.jpg")


def tagged_jpeg(path: Path, orientation: int = 1) -> Path:
    """A JPEG as a phone writes it: EXIF with a date, a place and a way up."""
    exif = Pillow.Exif()
    exif[0x010F], exif[0x0112] = "Acme", orientation
    exif[0x8769] = {0x9003: "2001:02:03 04:05:06"}
    exif[0x8825] = {1: "N", 2: (48.0, 12.0, 30.0), 3: "E", 4: (11.0, 34.0, 0.0)}
    Pillow.fromarray(pictures.scene(60, 40)).save(path, exif=exif, quality=90, dpi=(300, 300))
    return path


def test_date_place_maker_and_resolution_are_kept(tmp_path: Path) -> None:
    photo = opened(tagged_jpeg(tmp_path / "in.jpg"))
    with Pillow.open(saved(photo, tmp_path / "out.jpg")) as result:
        exif = result.getexif()
        assert exif[0x010F] == "Acme"
        assert exif.get_ifd(0x8769)[0x9003] == "2001:02:03 04:05:06"
        assert [float(part) for part in exif.get_ifd(0x8825)[2]] == [48.0, 12.0, 30.0]
        assert tuple(round(float(d)) for d in result.info["dpi"]) == (300, 300)


def test_nothing_of_date_place_or_maker_is_left_when_stripping_is_asked_for(tmp_path: Path) -> None:
    photo = opened(tagged_jpeg(tmp_path / "in.jpg"))
    result = saved(photo, tmp_path / "out.jpg", Output(metadata="strip"))
    content = result.read_bytes()
    assert b"Acme" not in content
    assert b"2001:02:03" not in content
    with Pillow.open(result) as image:
        assert image.getexif().get_ifd(0x8825) == {}


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool: apt-get install libimage-exiftool-perl")
def test_exiftool_reads_the_same_tags_before_and_after(tmp_path: Path) -> None:
    source = tagged_jpeg(tmp_path / "in.jpg", orientation=6)
    result = saved(opened(source), tmp_path / "out.jpg")
    wanted = ["-Make", "-DateTimeOriginal", "-GPSLatitude", "-GPSLongitude", "-XResolution"]
    before, after = (
        subprocess.run(["exiftool", "-S", *wanted, path], capture_output=True, text=True, check=True).stdout
        for path in (source, result)
    )
    assert before == after
    assert "2001:02:03 04:05:06" in after
    up = subprocess.run(
        ["exiftool", "-S", "-n", "-Orientation", result], capture_output=True, text=True, check=True
    ).stdout
    assert up.strip() in ("", "Orientation: 1")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_way_up_is_applied_once_and_the_tag_reset(tmp_path: Path, orientation: int) -> None:
    source = tagged_jpeg(tmp_path / "in.jpg", orientation)
    photo = opened(source)
    assert (photo.width, photo.height) == ((60, 40) if orientation < 5 else (40, 60))
    again = opened(saved(photo, tmp_path / "out.png", Output(format="png")))
    np.testing.assert_array_equal(again.pixels, photo.pixels)
    assert pyvips.Image.new_from_file(str(tmp_path / "out.png")).get("orientation") == 1


def test_a_colour_profile_stays_with_its_picture(tmp_path: Path) -> None:
    image = pictures.image_of(pictures.scene(60, 40)).icc_transform("p3", embedded=False, input_profile="srgb")
    image.pngsave(str(tmp_path / "p3.png"))
    profile = pyvips.Image.new_from_file(str(tmp_path / "p3.png")).get("icc-profile-data")
    photo = opened(tmp_path / "p3.png")
    for form in ("png", "jpeg"):
        result = pyvips.Image.new_from_file(str(saved(photo, tmp_path / f"out.{form}", Output(format=form))))
        assert result.get("icc-profile-data") == profile


def test_a_cmyk_jpeg_is_enhanced_as_rgb_and_stays_cmyk_where_the_format_can(tmp_path: Path) -> None:
    Pillow.fromarray(pictures.scene(60, 40)).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    photo = opened(tmp_path / "cmyk.jpg")
    assert photo.pixels.shape == (40, 60, 3)
    assert save.losses(photo, "jpeg") == ()
    inks = [
        pyvips.Image.new_from_file(str(path))
        for path in (tmp_path / "cmyk.jpg", saved(photo, tmp_path / "o.tif", Output(format="tiff")))
    ]
    assert [image.interpretation for image in inks] == ["cmyk", "cmyk"]
    np.testing.assert_array_equal(inks[0].numpy(), inks[1].numpy())
    assert save.losses(photo, "png") == ("converted from CMYK to sRGB",)
    assert opened(saved(photo, tmp_path / "o.png", Output(format="png"))).own is None


def test_only_the_first_picture_of_many_is_taken_and_the_rest_is_told(tmp_path: Path) -> None:
    pages = [Pillow.fromarray(pictures.scene(60, 40, seed)) for seed in (0, 1, 2)]
    pages[0].save(tmp_path / "many.tif", save_all=True, append_images=pages[1:])
    photo = opened(tmp_path / "many.tif")
    np.testing.assert_array_equal(photo.pixels, pictures.scene(60, 40, 0))
    assert photo.notes == ("the file holds 3 pictures: only the first was enhanced",)


def test_transparency_is_laid_on_white_where_the_format_has_none(tmp_path: Path) -> None:
    pixels = np.zeros((32, 32, 4), np.uint8)
    pictures.write_png(tmp_path / "in.png", pixels)
    result = opened(saved(opened(tmp_path / "in.png"), tmp_path / "out.jpg", Output(format="jpeg")))
    assert result.pixels.min() > 250


@pytest.mark.parametrize("quality", [1, 10, 25, 50, 75, 90, 100])
def test_the_quality_of_a_jpeg_is_read_from_its_tables(quality: int) -> None:
    file = io.BytesIO()
    Pillow.fromarray(pictures.scene(64, 64)).save(file, "JPEG", quality=quality)
    assert picture.jpeg_quality(file.getvalue()) == quality


def test_no_quality_is_guessed_without_a_table() -> None:
    assert picture.jpeg_quality(b"\xff\xd8\xff\xda\0\0") is None
    assert picture.jpeg_quality(JPEG[:40]) is None


def test_what_was_written_is_checked_by_reading_it(tmp_path: Path) -> None:
    path = pictures.write_jpeg(tmp_path / "good.jpg", pictures.scene(80, 60))
    with path.open("rb") as file:
        picture.check_file(file.fileno(), 80, 60)
        with pytest.raises(Retryable, match="80×60 pixels instead of 80×61"):
            picture.check_file(file.fileno(), 80, 61)
    path.write_bytes(path.read_bytes()[:-400])
    with path.open("rb") as file, pytest.raises(Retryable, match="does not decode"):
        picture.check_file(file.fileno(), 80, 60)


def test_this_libvips_has_every_format_that_we_promise() -> None:
    assert all(picture.formats().values())


def test_a_disk_that_does_not_support_a_call_is_no_kind_of_file_that_is_not_supported() -> None:
    said = picture._refusal(pyvips.Error("unable to read", "system error: Operation not supported"), "tiff", [])
    assert isinstance(said, Retryable)


@pytest.mark.parametrize("form", ["png", "jpeg", "tiff"])
@pytest.mark.parametrize("call", ["preadv", "pread", "fstat"])
def test_a_disk_that_fails_at_any_moment_of_reading_is_never_called_a_damaged_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, call: str
) -> None:
    photo = tmp_path / f"photo.{form}"
    pictures.image_of(pictures.scene(64, 48)).write_to_file(str(photo))
    real, calls, failed = getattr(os, call), 0, 0
    for moment in range(1, 40):
        descriptor, calls = original.opened(photo), 0

        def failing(*given: object, moment: int = moment) -> object:
            nonlocal calls
            calls += 1
            if calls == moment:
                raise OSError(errno.EIO, "Input/output error")
            return real(*given)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            try:
                picture.decoded(descriptor, Limits())
            except (OSError, Retryable):
                failed += 1
            finally:
                os.close(descriptor)
        if calls < moment:
            break
    assert failed > 0
