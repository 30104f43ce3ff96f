"""HDR gain maps of JPEG files: a small second JPEG behind the photo, which says how much brighter than the photo each
place is on a screen that can show it. Phones write one with nearly every picture.

A map is laid over its photo at any size and says nothing of single pixels, so that it fits an enhanced copy as well. It
is passed on as its own bytes; what points to it is written anew. CIPA DC-007 (the index of pictures), Ultra HDR 1.1 and
ISO 21496-1 (what a map says of itself).
"""

import re
import struct
from collections.abc import Callable, Iterator

from darkroomd.container import XMP_HEAD, segment

Read = Callable[[int, int], bytes]

ISO_HEAD = b"urn:iso:std:iso:ts:21496:-1\0"
INDEX_HEAD, PROFILE_HEAD = b"MPF\0", b"ICC_PROFILE\0"
ULTRA_HDR = b"http://ns.adobe.com/hdr-gain-map/1.0/"
# what a picture behind the photo says when it is a gain map: Android's, ISO's, Apple's
SAYS_SO = (ULTRA_HDR, ISO_HEAD, b"urn:com:apple:photo:2020:aux:hdrgainmap")
# of a map; real ones have a tenth of it
LARGEST_BYTES = 32 << 20
MOST_PICTURES = 16
# where the index's own offsets count from, in its segment
INDEX_AT = 4 + len(INDEX_HEAD)


def found(read: Read, size_bytes: int) -> bytes | None:
    """The gain map of an open JPEG file of so many bytes, a JPEG itself; None when it has none.

    read: (offset, length) -> bytes. Nothing in it is believed: what lies beyond the file, or is no JPEG, is none.
    """
    index, packet = None, b""
    for marker, at, body in _segments(read):
        if marker == 0xE2 and body.startswith(INDEX_HEAD):
            index = at + INDEX_AT, body[len(INDEX_HEAD) :]
        elif marker == 0xE1 and body.startswith(XMP_HEAD):
            packet = body[len(XMP_HEAD) :]
    places = [] if index is None else _indexed(*index)
    if b"GainMap" in packet:
        places += _listed(packet, size_bytes)
    for at, length in places:
        if 0 < length <= LARGEST_BYTES and 0 < at <= size_bytes - length:
            file = read(at, length)
            if file.startswith(b"\xff\xd8\xff") and any(_says_so(body) for _, _, body in _segments(_reader(file))):
                return file
    return None


def dressed(pixels: bytes, file: bytes) -> bytes:
    """The picture of one JPEG with what another, a gain map, says of itself: how its values are meant, its profile."""
    said = [(marker, body) for marker, _, body in _segments(_reader(file))
            if marker == 0xE0 or body.startswith((XMP_HEAD, ISO_HEAD, PROFILE_HEAD))]  # fmt: skip
    parts = [segment(marker, body) for marker, body in said]
    return b"\xff\xd8" + b"".join(parts) + pixels[_end_of_tags(pixels) :]


def is_ultra_hdr(gain_map: bytes | None) -> bool:
    """Whether the photo's own XMP must tell of this map."""
    return gain_map is not None and ULTRA_HDR in gain_map[: _end_of_tags(gain_map)]


def segments(gain_map: bytes) -> bytes:
    """For the head of the photo that the map will follow; its last INDEX_BYTES are for `index`."""
    said = ISO_HEAD in gain_map[: _end_of_tags(gain_map)]
    return (segment(0xE2, ISO_HEAD + bytes(4)) if said else b"") + index(0, 0, 0)


def index(photo_bytes: int, map_bytes: int, segment_at: int) -> bytes:
    """The segment that says where both pictures lie. segment_at: where it stands itself."""
    entries = struct.pack(">IIIHH", 0x030000, photo_bytes, 0, 0, 0)
    entries += struct.pack(">IIIHH", 0, map_bytes, max(0, photo_bytes - segment_at - INDEX_AT), 0, 0)
    tags = struct.pack(">HHI4s", 0xB000, 7, 4, b"0100") + struct.pack(">HHII", 0xB001, 4, 1, 2)
    tags += struct.pack(">HHII", 0xB002, 7, len(entries), 8 + 2 + 3 * 12 + 4)
    return segment(0xE2, INDEX_HEAD + b"MM\0*" + struct.pack(">IH", 8, 3) + tags + bytes(4) + entries)


INDEX_BYTES = len(index(0, 0, 0))


def _reader(file: bytes) -> Read:
    return lambda at, count: file[at : at + count]


def _segments(read: Read) -> Iterator[tuple[int, int, bytes]]:
    """(marker, offset, body) of what stands before the pixels of a JPEG file."""
    at = 2
    while True:
        head = read(at, 4)
        if len(head) < 4 or head[0] != 0xFF or head[1] in (0xD9, 0xDA):
            return
        length = int.from_bytes(head[2:], "big")
        yield head[1], at, read(at + 4, length - 2) if length > 2 else b""
        at += 2 + max(2, length)


def _end_of_tags(file: bytes) -> int:
    """Where the pixels' own segments begin, behind those of applications and comments."""
    at = 2
    for marker, where, body in _segments(_reader(file)):
        if not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            return where
        at = where + 4 + len(body)
    return at


def _says_so(body: bytes) -> bool:
    return body.startswith((XMP_HEAD, ISO_HEAD)) and any(words in body for words in SAYS_SO)


def _indexed(base: int, table: bytes) -> list[tuple[int, int]]:
    """(offset, length) of the further pictures in the index; base: where its offsets count from."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(table[:4])
    if order is None:
        return []
    try:
        (at,) = struct.unpack_from(order + "I", table, 4)
        (count,) = struct.unpack_from(order + "H", table, at)
        for n in range(min(count, MOST_PICTURES)):
            tag, _, size, where = struct.unpack_from(order + "HHII", table, at + 2 + 12 * n)
            if tag == 0xB002:
                entries = [
                    struct.unpack_from(order + "III", table, where + 16 * k)
                    for k in range(1, min(size // 16, MOST_PICTURES))
                ]
                return [(base + offset, length) for _, length, offset in entries]
    except struct.error:
        pass
    return []


def _listed(packet: bytes, size_bytes: int) -> list[tuple[int, int]]:
    """The same of the list in the photo's XMP, which counts from the end of the file."""
    items: list[bytes] = re.findall(rb"<[\w:]*Item\b[^>]*>", packet)
    said = [re.search(rb'Length="(\d{1,10})"', item) for item in items]
    lengths = [0 if one is None else int(one[1]) for one in said]
    return [(size_bytes - sum(lengths[n:]), lengths[n]) for n, item in enumerate(items) if b'"GainMap"' in item]
