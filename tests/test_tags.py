"""What a file says beside its pixels: kept, taken out when asked, and witnessed by ExifTool, which knows nothing of us.

`python -m tests.test_tags` writes the table of docs/formats.md anew.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

from darkroomd import exif, iptc, xmp
from darkroomd.job import Output, Picture, Tags
from darkroomd.save import encode, losses
from tests import pictures
from tests.pictures import opened

DOCS = Path(__file__).parent.parent / "docs/formats.md"
BEGIN, END = "<!-- tests/test_tags.py writes from here -->\n", "<!-- to here -->\n"
needs_exiftool = pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="needs exiftool: apt-get install libimage-exiftool-perl"
)

SAID = {
    "IFD0:Make": "Acme", "IFD0:Model": "One", "IFD0:Copyright": "Anna",
    "ExifIFD:DateTimeOriginal": "2001:02:03 04:05:06",
    "ExifIFD:ExposureTime": "0.003", "ExifIFD:UserComment": "by the lake", "GPS:GPSLatitude": "48.2085",
    "GPS:GPSLatitudeRef": "N", "GPS:GPSLongitude": "11.5", "GPS:GPSLongitudeRef": "E", "XMP-dc:Title": "Lake",
    "XMP-xmp:Rating": "4", "IPTC:City": "Ulm", "IPTC:Keywords": "water", "IFD0:XResolution": "300",
    "IFD0:YResolution": "300",
    "IFD0:ResolutionUnit#": "2", "IFD0:Orientation#": "6",
}  # fmt: skip
FORMS = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "tiff": ".tif", "avif": ".avif"}
BITS = {"jpeg": 8, "png": 16, "webp": 8, "tiff": 16, "avif": 10}
HAS_IPTC = ("jpeg", "tiff")
COLUMNS = ("bits", "alpha", "profile", "EXIF", "GPS", "XMP", "IPTC", "way up", "date", "resolution", "made by")


def exiftool(path: Path, *words: str) -> dict[str, Any]:
    answer = subprocess.run(
        ["exiftool", "-j", "-G1", "-n", *words, str(path)], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(answer.stdout)[0]
    return found


def tagged(path: Path, form: str) -> Path:
    """A photo that lies on its side, with every kind of tag, written by ExifTool."""
    pixels = pictures.scene(64, 48).astype(np.uint16) * 257
    if form != "jpeg":
        pixels = np.concatenate([pixels, np.full((48, 64, 1), 40000, np.uint16)], axis=2)
    image = pictures.image_of(pixels if BITS[form] > 8 else (pixels >> 8).astype(np.uint8)).copy()
    profile = pyvips.Image.black(2, 2, bands=3).copy(interpretation="srgb").icc_transform("p3", input_profile="srgb")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile.get("icc-profile-data"))
    save: dict[str, Callable[[], object]] = {
        "jpeg": lambda: image.jpegsave(str(path), Q=95, keep="icc"),
        "png": lambda: image.pngsave(str(path), keep="icc"),
        "webp": lambda: image.webpsave(str(path), Q=95, keep="icc"),
        "tiff": lambda: image.tiffsave(str(path), keep="icc"),
        "avif": lambda: image.heifsave(str(path), compression="av1", bitdepth=10, Q=95, keep="icc"),
    }  # fmt: skip
    save[form]()
    # a PNG's IPTC would be a text of ImageMagick's making, and WebP and AVIF have none
    said = {name: value for name, value in SAID.items() if not name.startswith("IPTC") or form in HAS_IPTC}
    words = [f"-{name}={value}" for name, value in said.items()]
    subprocess.run(["exiftool", "-q", "-overwrite_original", *words, str(path)], check=True, capture_output=True)
    return path


def saved(photo: Picture, path: Path, form: str, metadata: Any = "keep") -> Path:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        encode(photo, form, Output(metadata=metadata), descriptor, "mode general; network x", "1.2.3")
    finally:
        os.close(descriptor)
    return path


def kept(source: str, target: str, folder: Path) -> dict[str, str]:
    """One row: what became of each thing on the way from one format to another."""
    photo = opened(tagged(folder / f"in{FORMS[source]}", source))
    path = saved(photo, folder / f"from-{source}{FORMS[target]}", target)
    result, after = opened(path), exiftool(path)

    def same(*names: str) -> str:
        return "kept" if all(str(after.get(name.rstrip("#"))) == SAID[name] for name in names) else "lost"

    bits = "kept" if result.bits == BITS[source] else f"{BITS[source]} to {result.bits}"
    alpha = "none" if source == "jpeg" else "kept" if result.alpha is not None else "on white"
    place = "none" if source not in HAS_IPTC else same("IPTC:City", "IPTC:Keywords")
    if place == "lost" and (after.get("XMP-photoshop:City"), after.get("XMP-dc:Subject")) == ("Ulm", "water"):
        place = "as XMP"
    # an AVIF is turned by its own box, whatever EXIF says
    upright = (result.height > result.width or source == "avif") and after.get("IFD0:Orientation", 1) == 1
    lasting = 300 in (after.get("IFD0:XResolution"), after.get("JFIF:XResolution"))
    lasting = lasting or after.get("PNG-pHYs:PixelsPerUnitX") == 11811
    return dict(zip(COLUMNS, (
        bits, alpha, "kept" if result.tags.icc == photo.tags.icc is not None else "lost",
        same("IFD0:Make", "IFD0:Model", "IFD0:Copyright", "ExifIFD:ExposureTime", "ExifIFD:UserComment"),
        same("GPS:GPSLatitude", "GPS:GPSLongitude", "GPS:GPSLatitudeRef"),
        same("XMP-dc:Title", "XMP-xmp:Rating"), place,
        "applied once" if upright else "lost", same("ExifIFD:DateTimeOriginal"), "kept" if lasting else "lost",
        "said" if xmp.made_by_us(result.tags.xmp) == "darkroomd 1.2.3: mode general; network x" else "lost",
    ), strict=True))  # fmt: skip


def table(folder: Path) -> str:
    rows = [(source, target, kept(source, target, folder)) for source in FORMS for target in FORMS]
    lines = ["| from | to | " + " | ".join(COLUMNS) + " |", "| --- " * (len(COLUMNS) + 2) + "|"]
    lines += [f"| {source} | {target} | " + " | ".join(row.values()) + " |" for source, target, row in rows]
    return "\n".join(lines) + "\n"


@needs_exiftool
def test_the_table_in_the_docs_is_what_exiftool_sees(tmp_path: Path) -> None:
    written = DOCS.read_text().split(BEGIN)[1].split(END)[0]
    assert written == table(tmp_path)
    assert "lost" not in written


@needs_exiftool
@pytest.mark.parametrize("form", FORMS)
def test_a_copy_without_place_says_nothing_of_it_and_keeps_the_rest(tmp_path: Path, form: str) -> None:
    photo = opened(tagged(tmp_path / f"in{FORMS[form]}", form))
    path = saved(photo, tmp_path / f"out{FORMS[form]}", form, "strip-location")
    after = exiftool(path)
    assert not [name for name in after if "GPS" in name or "City" in name]
    assert b"Ulm" not in path.read_bytes()
    assert (after["IFD0:Make"], after["ExifIFD:DateTimeOriginal"]) == ("Acme", "2001:02:03 04:05:06")


@needs_exiftool
def test_a_stripped_copy_keeps_its_colours_and_says_who_made_it_and_no_more(tmp_path: Path) -> None:
    photo = opened(tagged(tmp_path / "in.jpg", "jpeg"))
    path = saved(photo, tmp_path / "out.jpg", "jpeg", "strip")
    content = path.read_bytes()
    for word in (b"Acme", b"Anna", b"Lake", b"Ulm", b"2001"):
        assert word not in content
    result = opened(path)
    assert result.tags.icc == photo.tags.icc
    assert xmp.made_by_us(result.tags.xmp) is not None
    source_type = exiftool(path)["XMP-iptcExt:DigitalSourceType"]
    assert source_type == "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"


NOTE = b"Nobody\0" + bytes(range(1, 200))


def block(order: str = "<", thumbnail: bytes | None = None) -> bytes:
    """An EXIF block with maker notes, a position, and perhaps a thumbnail."""
    below = exif._Tree([(0x9003, 2, 20, b"2001:02:03 04:05:06\0"), (exif.MAKER_NOTE, 7, len(NOTE), NOTE)], {})
    place = exif._Tree([(1, 2, 2, b"N\0"), (2, 5, 3, bytes(range(1, 25)))], {})
    made = exif._block(order, [(0x010F, 2, 5, b"Acme\0"), (0x0112, 3, 1, b"\6\0" if order == "<" else b"\0\6")],
                       {exif.EXIF: below, exif.GPS: place})  # fmt: skip
    if thumbnail is None:
        return made
    data = bytearray(made)
    _, at = exif._start(exif._reader(data))
    _, next_at, _ = exif._directory(exif._reader(data), at, order)
    exif._with_thumbnail(data, order, next_at, thumbnail)
    return bytes(data)


@pytest.mark.parametrize("order", ["<", ">"])
def test_maker_notes_stay_where_they_are_byte_for_byte(order: str) -> None:
    before = block(order)
    after = exif.edited(before, (640, 480))
    assert after.find(NOTE) == before.find(NOTE) > 0
    assert len(after) == len(before)
    assert sum(a != b for a, b in zip(after, before, strict=True)) == 1  # the way up


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_thumbnail_is_the_new_picture_s_or_there_is_none(order: str) -> None:
    old, new = b"\xff\xd8old" * 9, b"\xff\xd8new" * 9
    before = block(order, old)
    assert old in before
    assert old not in exif.edited(before, (8, 8))
    after = exif.edited(before, (8, 8), thumbnail=new)
    assert new in after
    assert old not in after
    assert new not in exif.edited(before, (8, 8), thumbnail=new, limit_bytes=len(before))


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_place_is_gone_from_the_bytes_of_exif(order: str) -> None:
    after = exif.edited(block(order), (8, 8), location=False)
    assert bytes(range(1, 25)) not in after
    assert NOTE not in after
    assert b"2001:02:03 04:05:06" in after


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_exif_goes_into_a_tiff_file_and_comes_out_again(tmp_path: Path, order: str, big: bool) -> None:
    pictures.image_of(pictures.scene(32, 24)).tiffsave(str(tmp_path / "a.tif"), bigtiff=big, keep="none")
    descriptor = os.open(tmp_path / "a.tif", os.O_RDWR)
    exif.into_tiff(descriptor, block(order))
    found = exif.from_tiff(lambda at, count: os.pread(descriptor, count, at))
    os.close(descriptor)
    assert found is not None
    for said in (b"Acme\0", b"2001:02:03 04:05:06", NOTE):
        assert said in found
    np.testing.assert_array_equal(opened(tmp_path / "a.tif").pixels, pictures.scene(32, 24))


@pytest.mark.parametrize("bad", [b"", b"II*\0", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", bytes(99)])
def test_what_is_no_exif_is_told(bad: bytes) -> None:
    with pytest.raises((exif.NotExif, ValueError)):
        exif.edited(bad, (8, 8))
    assert exif.from_tiff(exif._reader(bad)) is None
    assert exif.photometrics(exif._reader(bad)) == set()


def test_iptc_is_found_in_its_wrapping_and_loses_its_places() -> None:
    records = b"".join(
        b"\x1c\2" + bytes([n]) + len(t).to_bytes(2, "big") + t for n, t in ((90, b"Ulm"), (120, b"A l\xe4ke"))
    )
    assert iptc.records(iptc.wrapped(records)) == records
    assert iptc.as_xmp(records) == {"photoshop:City": ("", ["Ulm"]), "dc:description": ("Alt", ["A läke"])}
    assert b"Ulm" not in iptc.without_place(records)
    assert iptc.records(b"Photoshop 3.0\0" + b"8BIM\x04\x05\0\0\0\0\0\1x\0") == b""


def test_a_history_that_is_there_is_gone_on_with() -> None:
    once = xmp.written(None, "mode general", "1.0")
    assert once is not None
    twice = xmp.written(once, "mode text", "2.0")
    assert twice is not None
    assert xmp.made_by_us(twice) == "darkroomd 2.0: mode text"
    assert twice.count(b"<xmpMM:History") == 1
    assert twice.count(xmp.ENHANCED.encode()) == 1
    assert xmp.made_by_us(once.replace(b"darkroomd 1.0", b"Painter 1.0")) is None
    assert xmp.written(None, None, "1.0") is None


def test_what_spoke_of_the_old_pixels_is_gone_and_foreign_words_stay() -> None:
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<r:Description r:about="" xmlns:t="http://ns.adobe.com/tiff/1.0/" xmlns:own="urn:own#" t:Orientation="6" '
        b'own:word="kept"><t:ImageWidth>9</t:ImageWidth></r:Description></r:RDF></x:xmpmeta>'
    )
    after = xmp.written(packet, "mode general", "1.0")
    assert after is not None
    assert b"kept" in after
    assert b"Orientation" not in after
    assert b"ImageWidth" not in after


@pytest.mark.parametrize("form", ["jpeg", "png"])
def test_a_packet_of_a_hundred_kilobytes_is_written_whole(tmp_path: Path, form: str) -> None:
    packet = xmp.written(None, None, "1.0", more={"dc:title": ("Alt", ["x" * 100_000])})
    photo = Picture(pictures.scene(32, 24), None, "png", Tags(xmp=packet))
    content = saved(photo, tmp_path / "out", form).read_bytes()
    assert content.count(b"x" * 30_000) >= 3


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        before, rest = DOCS.read_text().split(BEGIN)
        DOCS.write_text(before + BEGIN + table(Path(name)) + END + rest.split(END)[1])


def long_notes(length: int) -> bytes:
    """EXIF of a camera that says when, and has maker notes of so many bytes."""
    date = b"2001:02:03 04:05:06\0"
    inner = exif._Tree([(0x9003, 2, 20, date), (exif.MAKER_NOTE, 7, length, b"n" * length)], {})
    return exif._block("<", [(0x010F, 2, 5, b"Acme\0")], {exif.EXIF: inner})


def test_maker_notes_too_long_for_a_jpeg_go_and_the_date_stays(tmp_path: Path) -> None:
    photo = Picture(pictures.scene(64, 48), None, "raw", Tags(exif=long_notes(90_000)))
    after = opened(saved(photo, tmp_path / "out.jpg", "jpeg")).tags.exif
    assert after is not None
    assert b"2001:02:03 04:05:06" in after
    assert b"Acme" in after
    assert losses(photo, "jpeg") == ("its maker notes were left out: they are too long",)
    assert losses(photo, "tiff") == losses(photo, "png") == ()
    assert b"n" * 90_000 in (saved(photo, tmp_path / "out.tif", "tiff")).read_bytes()


def test_tags_that_cannot_be_read_or_kept_are_told() -> None:
    pixels = pictures.scene(64, 48)
    for tags, told in (
        (Tags(exif=b"II*\0\xff\xff"), "its EXIF is damaged: left out"),
        (Tags(xmp=b"<x:xmpmeta"), "its XMP is damaged: left out"),
        (
            Tags(iptc=b"\x1c\x02\x78\x7f\xff" + b"a" * 70_000),
            "its IPTC records were left out: JPEG holds 64 kB of them",
        ),
    ):
        assert losses(Picture(pixels, None, "jpeg", tags), "jpeg") == (told,)
    assert losses(Picture(pixels, None, "jpeg", Tags(exif=long_notes(9), xmp=None)), "jpeg") == ()
