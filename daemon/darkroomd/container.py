"""Tags into the bytes of a JPEG, PNG, WebP or AVIF file, beside its pixels: segments, chunks and boxes."""

import struct
import zlib
from collections.abc import Callable, Iterator
from hashlib import md5

EXIF_HEAD = b"Exif\0\0"
XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
XMP_MORE_HEAD = b"http://ns.adobe.com/xmp/extension/\0"
SEGMENT_BYTES = 65533  # a segment counts its own length of two bytes in sixteen bits
EXIF_LIMIT_BYTES = SEGMENT_BYTES - len(EXIF_HEAD)

# SOI; signature and IHDR
JPEG_HEAD_BYTES, PNG_HEAD_BYTES = 2, 33


class Spliced:
    """Passes on what is written to it, with `extra` put in after the first `at` bytes."""

    def __init__(self, write: Callable[[bytes], int], at: int, extra: bytes) -> None:
        self._write, self._left, self._extra = write, at, extra

    def __call__(self, data: bytes) -> int:
        """The number of bytes taken: all of them."""
        data = bytes(data)
        if self._left >= 0:
            head, rest = data[: self._left], data[self._left :]
            self._left -= len(head)
            self._all(head)
            if self._left == 0:
                self._all(self._extra)
                self._left = -1
            self._all(rest)
        else:
            self._all(data)
        return len(data)

    def _all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._write(bytes(view)) :]


def jfif(dots_per_mm: tuple[float, float] | None) -> bytes:
    """The segment that begins a JPEG file of one or three channels: how large a pixel is."""
    x, y = (round(dots * 25.4) for dots in dots_per_mm or (0, 0))
    unit = 1 if 0 < x <= 0xFFFF and 0 < y <= 0xFFFF else 0
    return segment(0xE0, b"JFIF\0" + struct.pack(">BBBHHBB", 1, 1, unit, *((x, y) if unit else (1, 1)), 0, 0))


def jpeg_segments(exif: bytes | None, xmp: bytes | None, iptc: bytes | None) -> bytes:
    """For behind those of `jfif`. exif: at most EXIF_LIMIT_BYTES. A long XMP packet goes into as many as it needs.

    iptc: as iptc.wrapped gives it; left out when it is too long for one segment.
    """
    parts = []
    if exif is not None:
        parts.append(segment(0xE1, EXIF_HEAD + exif))
    if xmp is not None and len(XMP_HEAD) + len(xmp) <= SEGMENT_BYTES:
        parts.append(segment(0xE1, XMP_HEAD + xmp))
    elif xmp is not None:
        parts += _extended(xmp)
    if iptc is not None and len(iptc) <= SEGMENT_BYTES:
        parts.append(segment(0xED, iptc))
    return b"".join(parts)


def png_chunks(exif: bytes | None, xmp: bytes | None) -> bytes:
    """For behind IHDR."""
    parts = []
    if exif is not None:
        parts.append(_chunk(b"eXIf", exif))
    if xmp is not None:
        parts.append(_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
    return b"".join(parts)


def webp_with(file: bytes, width: int, height: int, exif: bytes | None, xmp: bytes | None) -> bytes:
    """A WebP file with these tags, which it does not have yet."""
    chunks = dict(_riff(file))
    has_alpha = b"ALPH" in chunks or (b"VP8L" in chunks and bool(chunks[b"VP8L"][4] & 0x10))
    flags = chunks.pop(b"VP8X", b"\0")[0] | 0x10 * has_alpha | 0x08 * (exif is not None) | 0x04 * (xmp is not None)
    head = bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = [(b"VP8X", head), *chunks.items()]
    body += [(name, value) for name, value in ((b"EXIF", exif), (b"XMP ", xmp)) if value is not None]
    data = b"".join(name + struct.pack("<I", len(value)) + value + bytes(len(value) % 2) for name, value in body)
    return b"RIFF" + struct.pack("<I", 4 + len(data)) + b"WEBP" + data


def segment(marker: int, body: bytes) -> bytes:
    """One of a JPEG file. body: at most SEGMENT_BYTES."""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def _extended(xmp: bytes) -> Iterator[bytes]:
    """XMP specification, part 3, 1.1.3.1: a small packet that names the digest of the rest, and the rest in pieces."""
    digest = md5(xmp, usedforsecurity=False).hexdigest().upper()
    small = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmpNote="http://ns.adobe.com/xmp/note/" '
        f'xmpNote:HasExtendedXMP="{digest}"/></rdf:RDF></x:xmpmeta>'
    )
    yield segment(0xE1, XMP_HEAD + small.encode())
    step = 65000
    for at in range(0, len(xmp), step):
        head = XMP_MORE_HEAD + digest.encode() + struct.pack(">II", len(xmp), at)
        yield segment(0xE1, head + xmp[at : at + step])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _riff(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(file):
        (length,) = struct.unpack_from("<I", file, at + 4)
        yield file[at : at + 4], file[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def avif_with_exif(file: bytes, exif: bytes) -> bytes:
    """An AVIF file whose EXIF item, which it must have, holds this block: put at the end, and pointed to."""
    data = bytearray(file)
    boxes = {kind: (start, end) for kind, start, end in _boxes(file, *_inside(file, b"meta"))}
    start, end = boxes[b"iinf"]
    head = 6 if file[start] == 0 else 8
    items = [(at, stop) for kind, at, stop in _boxes(file, start + head, end) if kind == b"infe"]
    number = next(
        int.from_bytes(file[at + 4 : at + 6], "big")
        for at, stop in items
        if file[at] == 2 and file[at + 8 : at + 12] == b"Exif"
    )
    value = struct.pack(">I", 0) + exif
    where = len(data) + 8
    data += struct.pack(">I", 8 + len(value)) + b"mdat" + value
    base_at, extent_at = _location(file, boxes[b"iloc"][0], number)
    struct.pack_into(">I", data, base_at, where)
    struct.pack_into(">II", data, extent_at, 0, len(value))
    return bytes(data)


def _inside(file: bytes, kind: bytes) -> tuple[int, int]:
    """Where the contents of the top box `meta` lie, behind its version and flags."""
    start, end = next((start, end) for name, start, end in _boxes(file, 0, len(file)) if name == kind)
    return start + 4, end


def _boxes(file: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 8 <= end:
        length = int.from_bytes(file[at : at + 4], "big") or end - at
        yield file[at + 4 : at + 8], at + 8, at + length
        at += max(8, length)


def _location(file: bytes, start: int, item: int) -> tuple[int, int]:
    """Where an item's base offset, and offset and length of its one extent, stand in `iloc` as libheif writes it:
    four bytes each."""
    version, sizes = file[start], file[start + 4 : start + 6]
    at = start + 6
    count = int.from_bytes(file[at : at + 2], "big")
    at += 2
    for _ in range(count if sizes == b"\x44\x40" and version in (0, 1) else 0):
        number = int.from_bytes(file[at : at + 2], "big")
        base_at = at + 2 + (2 if version == 1 else 0) + 2
        extents = int.from_bytes(file[base_at + 4 : base_at + 6], "big")
        at = base_at + 6
        if number == item and extents == 1:
            return base_at, at
        at += 8 * extents
    raise ValueError("an AVIF file of an unknown build")
