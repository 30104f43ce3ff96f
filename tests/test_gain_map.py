"""Photos that phones write for HDR screens: the map behind a photo comes along, the right way up, or its loss is told.

libvips' reader of Ultra HDR, which the product has switched off, is the witness: it goes by Google's library.
"""

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

from darkroomd import gain_map, picture, save
from darkroomd.container import XMP_HEAD, segment
from darkroomd.job import Output, Picture
from tests import pictures
from tests.pictures import opened

SCENE = pictures.scene(96, 64)
# brighter towards the right and the bottom, so that every way up can be told
MAP = (np.arange(24)[None, :] * 6 + np.arange(16)[:, None] * 7).astype(np.uint8)[..., None]
HDRGM = 'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"'
MAP_SAYS = {
    "hdrgm": f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    f'<rdf:Description rdf:about="" {HDRGM} hdrgm:Version="1.0" hdrgm:GainMapMin="0" hdrgm:GainMapMax="2.5" '
    'hdrgm:Gamma="1" hdrgm:OffsetSDR="0.015625" hdrgm:OffsetHDR="0.015625" hdrgm:HDRCapacityMin="0" '
    'hdrgm:HDRCapacityMax="2.5" hdrgm:BaseRenditionIsHDR="False"/></rdf:RDF></x:xmpmeta>',
    "apple": '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:apdi="http://ns.apple.com/pixeldatainfo/1.0/" '
    'apdi:AuxiliaryImageType="urn:com:apple:photo:2020:aux:hdrgainmap"/></rdf:RDF></x:xmpmeta>',
}


def witness(path: Path) -> Any:
    """What Google's library makes of a file: the photo, its gain map and what that says."""
    pyvips.operation_block_set("VipsForeignLoadUhdr", False)
    try:
        return pyvips.Image.uhdrload(str(path))
    finally:
        pyvips.operation_block_set("VipsForeignLoadUhdr", True)


def phone_photo(path: Path, way_up: int = 1, kind: str = "hdrgm", indexed: bool = True) -> Path:
    path.write_bytes(phone_bytes(way_up, kind, indexed))
    return path


def phone_bytes(way_up: int = 1, kind: str = "hdrgm", indexed: bool = True) -> bytes:
    """A JPEG with a gain map behind it, as phones write it; both lie as the sensor does."""
    packet = XMP_HEAD + MAP_SAYS[kind].encode()
    plain = bytes(pictures.image_of(MAP).jpegsave_buffer(Q=95, keep="none"))
    behind = plain[:2] + segment(0xE1, packet) + plain[2:]
    exif = b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHH", 0x0112, 3, 1, way_up, 0) + bytes(4)
    listed = (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {HDRGM} xmlns:Container="http://ns.google.com/photos/1.0/container/" '
        'xmlns:Item="http://ns.google.com/photos/1.0/container/item/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'hdrgm:Version="1.0" dc:source="phone"><Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource">'
        '<Container:Item Item:Semantic="Primary" Item:Mime="image/jpeg"/></rdf:li><rdf:li rdf:parseType="Resource">'
        f'<Container:Item Item:Semantic="GainMap" Item:Mime="image/jpeg" Item:Length="{len(behind)}"/></rdf:li>'
        "</rdf:Seq></Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    head = segment(0xE1, exif) + (segment(0xE1, XMP_HEAD + listed.encode()) if kind == "hdrgm" else b"")
    photo = bytes(pictures.image_of(SCENE).jpegsave_buffer(Q=95, keep="none"))
    place = gain_map.index(len(photo) + len(head) + gain_map.INDEX_BYTES, len(behind), 2 + len(head))
    return photo[:2] + head + (place if indexed else b"") + photo[2:] + behind


def saved(photo: Picture, path: Path, form: str = "jpeg", **output: Any) -> Path:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        save.encode(photo, form, Output(**output), descriptor, "mode general", "1.2.3")
        picture.check_file(descriptor, photo.width, photo.height)
    finally:
        os.close(descriptor)
    return path


def turned(stored: np.ndarray[Any, Any], way_up: int) -> np.ndarray[Any, Any]:
    image = pyvips.Image.new_from_array(stored)
    image.set_type(pyvips.GValue.gint_type, "orientation", way_up)
    upright: np.ndarray[Any, Any] = image.autorot().numpy()
    return upright


@pytest.mark.parametrize("way_up", range(1, 9))
@pytest.mark.parametrize("metadata", ["keep", "strip"])
def test_a_phone_s_gain_map_comes_along_the_right_way_up(tmp_path: Path, way_up: int, metadata: str) -> None:
    photo = opened(phone_photo(tmp_path / "phone.jpg", way_up))
    assert photo.notes == save.losses(photo, "jpeg") == ()
    before, after = (witness(p) for p in (tmp_path / "phone.jpg", saved(photo, tmp_path / "o", metadata=metadata)))
    assert (after.width, after.height) == ((96, 64) if way_up < 5 else (64, 96))
    laid = pyvips.Image.jpegload_buffer(after.get("gainmap-data")).numpy()
    assert np.abs(laid.astype(int) - turned(MAP, way_up)).max() <= 4
    says = [name for name in before.get_fields() if name.startswith("gainmap-") and name != "gainmap-data"]
    assert len(says) > 5
    assert [after.get(name) for name in says] == [before.get(name) for name in says]


def test_an_enlarged_photo_keeps_its_gain_map(tmp_path: Path) -> None:
    photo = opened(phone_photo(tmp_path / "phone.jpg"))
    larger = photo.enlarged(photo.pixels.repeat(2, 0).repeat(2, 1), None)
    after = witness(saved(larger, tmp_path / "out"))
    light = after.uhdr2scRGB()
    assert (light.width, light.height) == (192, 128)
    assert light.max() > 1.5  # brighter than white
    again = opened(tmp_path / "out")
    assert again.gain_map == photo.gain_map
    assert b"phone" in (again.tags.xmp or b"")


def test_a_map_is_found_by_the_list_in_xmp_alone_and_apple_s_by_the_index_alone(tmp_path: Path) -> None:
    for kind, indexed in (("hdrgm", False), ("apple", True)):
        photo = opened(phone_photo(tmp_path / "phone.jpg", kind=kind, indexed=indexed))
        assert photo.gain_map is not None
        again = opened(saved(photo, tmp_path / "out"))
        assert again.gain_map == photo.gain_map
        assert (b"hdrgm:Version" in (again.tags.xmp or b"")) == (kind == "hdrgm")


@pytest.mark.parametrize("form", ["png", "webp", "tiff", "avif"])
def test_where_no_gain_map_goes_its_loss_is_told(tmp_path: Path, form: str) -> None:
    photo = opened(phone_photo(tmp_path / "phone.jpg"))
    assert any("HDR gain map was left out" in words for words in save.losses(photo, form))
    assert b"hdrgm:Version" not in saved(photo, tmp_path / "out", form).read_bytes()


def test_a_damaged_or_lying_gain_map_is_left_out_and_the_photo_stays(tmp_path: Path) -> None:
    whole = phone_photo(tmp_path / "phone.jpg").read_bytes()
    at = whole.index(b"\xff\xd8\xff", 100)
    cases = {
        "cut": whole[: at + 600],
        "scrambled": whole[: at + 700] + b"\xff\xd9" + bytes(len(whole) - at - 702),
        "gone": whole[:at],
        "far": whole.replace(struct.pack(">I", len(whole) - at), b"\xff\xff\xff\xf0"),
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data.replace(b"Item:Length", b"Item:Nothing"))
        photo = opened(tmp_path / name)
        assert photo.gain_map is None, name
        assert photo.notes in (("its HDR gain map is damaged: left out",), ("its HDR gain map is not there: left out",))
        assert pictures.psnr(photo.pixels, SCENE) > 30


@pytest.mark.parametrize("word", ["MotionPhoto", "MicroVideo"])
def test_a_film_behind_a_phone_s_photo_is_told(tmp_path: Path, word: str) -> None:
    packet = MAP_SAYS["apple"].replace(
        "/>", f' xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:{word}="1"/>'
    )
    plain = pictures.jpeg_bytes(SCENE)
    (tmp_path / "a.jpg").write_bytes(plain[:2] + segment(0xE1, XMP_HEAD + packet.encode()) + plain[2:] + bytes(999))
    photo = opened(tmp_path / "a.jpg")
    assert photo.notes == ("the film behind the photo was left out",)
    assert b"GCamera:" + word.encode() not in saved(photo, tmp_path / "out").read_bytes()
