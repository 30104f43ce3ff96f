"""EXIF as bytes: changed in place where a tag must change, so that everything else, maker notes first, stays as it was.

EXIF is a small TIFF: directories of entries whose values lie at offsets that count from its beginning. Maker notes hold
offsets of their own making, so a block that is written anew breaks some of them; here only values of the same size are
changed, entries are taken out, and a thumbnail is put at the end. A TIFF file carries the same directories itself.
"""

import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

ORIENTATION, EXIF, GPS, INTEROPERABILITY, MAKER_NOTE = 0x0112, 0x8769, 0x8825, 0xA005, 0x927C
SIDES = {0x0100: 0, 0x0101: 1, 0xA002: 0, 0xA003: 1}  # width and height, in the first directory and in EXIF's own
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
THUMBNAIL_AT, THUMBNAIL_BYTES = 0x0201, 0x0202
BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
UNIT_OF_TYPE = {5: 4, 10: 4} | {kind: size for kind, size in BYTES_OF_TYPE.items() if kind not in (5, 10)}
MOST_ENTRIES = 4096
IPTC = 0x83BB
RESOLUTION = frozenset({X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT})
EMPTY = b"II*\0\x08\0\0\0" + bytes(6)

# what a TIFF file says of the photo rather than of its own pixels: description, camera, program, date, people, rating
DESCRIBING = frozenset({0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298, 0x4746, 0x4749, *range(0x9C9B, 0x9CA0)})

Read = Callable[[int, int], bytes]


class NotExif(ValueError):
    """These bytes are no directory of tags."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag. at: where the entry itself stands; value_at: where its value does."""

    tag: int
    kind: int
    count: int
    at: int
    value_at: int
    value: bytes

    def number(self, order: str) -> int:
        code = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}.get(self.kind)
        if code is None or not self.value:
            raise NotExif(f"tag {self.tag:#x} is no number")
        return int(struct.unpack_from(order[0] + code, self.value)[0])


def edited(
    block: bytes,
    size: tuple[int, int],
    *,
    thumbnail: bytes | None = None,
    location: bool = True,
    limit_bytes: int = 1 << 30,
) -> bytes:
    """The block for an upright picture of this (width, height), with another thumbnail or none.

    location=False: without position and without maker notes, which may name the place; nothing of them is left in the
    bytes. The thumbnail is left out where the block would exceed limit_bytes. NotExif when the block is no EXIF.
    """
    data = bytearray(block)
    order, at = _start(_reader(data))
    entries, next_at, _ = _directory(_reader(data), at, order)
    _new_sides(data, order, entries, size)
    for entry in [entry for entry in entries if entry.tag == EXIF]:
        inner, _, _ = _directory(_reader(data), entry.number(order), order)
        _new_sides(data, order, inner, size)
        if not location:
            _blank(data, [e for e in inner if e.tag == MAKER_NOTE])
            _taken_out(data, order, entry.number(order), inner, MAKER_NOTE)
    if not location:
        for entry in [entry for entry in entries if entry.tag == GPS]:
            inner, _, inner_end = _directory(_reader(data), entry.number(order), order)
            _blank(data, inner)
            data[entry.number(order) : inner_end] = bytes(inner_end - entry.number(order))
        next_at -= 12 * _taken_out(data, order, at, entries, GPS)
    _without_thumbnail(data, order, next_at)
    if thumbnail is not None and len(data) + len(thumbnail) + 80 <= limit_bytes:
        _with_thumbnail(data, order, next_at, thumbnail)
    return bytes(data)


def fitted(
    block: bytes, size: tuple[int, int], limit_bytes: int, *, thumbnail: bytes | None = None, location: bool = True
) -> tuple[bytes | None, str | None]:
    """(the block as `edited` gives it in at most so many bytes, what that cost in words); None when it is no EXIF.

    Where it is too long it goes without maker notes, which are most of such a block: date, camera and place fit.
    """
    try:
        result = edited(block, size, thumbnail=thumbnail, location=location, limit_bytes=limit_bytes)
        if len(result) <= limit_bytes:
            return result, None
        short = from_tiff(_reader(block), maker_notes=False)
        if short is not None:
            result = edited(short, size, thumbnail=thumbnail, location=location, limit_bytes=limit_bytes)
        if len(result) <= limit_bytes:
            return result, "its maker notes were left out: they are too long"
    except (ValueError, IndexError, struct.error):
        return None, "its EXIF is damaged: left out"
    return None, "its EXIF was left out: it is too long"


def resolution_block(dots_per_mm: tuple[float, float]) -> bytes:
    """A block that says only how large a pixel is, for formats that say it nowhere else."""
    x, y = (struct.pack("<II", round(dots * 25.4 * 1000), 1000) for dots in dots_per_mm)
    tags = [(X_RESOLUTION, 5, 1, x), (Y_RESOLUTION, 5, 1, y), (RESOLUTION_UNIT, 3, 1, struct.pack("<H", 2))]
    return _block("<", tags, {})


def from_tiff(read: Read, *, maker_notes: bool = True) -> bytes | None:
    """What a TIFF file, or a camera's raw file in its form, tells of the photo, as an EXIF block; None when nothing.

    read: (offset, length) -> bytes. Maker notes come along as they are; those that count from the beginning of the file
    lose their inner offsets.
    """
    try:
        order, at = _start(read)
        entries, _, _ = _directory(read, at, order)
        tags = [(e.tag, e.kind, e.count, e.value) for e in entries if e.tag in DESCRIBING | RESOLUTION]
        below = {e.tag: _plain(read, e.number(order), order, maker_notes) for e in entries if e.tag in (EXIF, GPS)}
    except (NotExif, struct.error):
        return None
    return _block(order, tags, below) if tags or below else None


def dots_per_mm(block: bytes) -> tuple[float, float] | None:
    """How large the block says a pixel is, if it does."""
    try:
        order, at = _start(_reader(block))
        entries, _, _ = _directory(_reader(block), at, order)
    except (NotExif, struct.error):
        return None
    said = {entry.tag: entry for entry in entries}
    if not said.keys() >= RESOLUTION:
        return None
    mm = {b"\2": 25.4, b"\3": 10.0}.get(said[RESOLUTION_UNIT].value.strip(b"\0"))
    parts = [
        struct.unpack(order[0] + "II", said[tag].value[:8].ljust(8, b"\0")) for tag in (X_RESOLUTION, Y_RESOLUTION)
    ]
    if mm is None or any(dots == 0 or unit == 0 for dots, unit in parts):
        return None
    (x, x_unit), (y, y_unit) = parts
    return x / x_unit / mm, y / y_unit / mm


def into_tiff(descriptor: int, block: bytes | None, iptc: bytes | None = None) -> None:
    """Give a complete TIFF or BigTIFF file the tags of the block and IPTC's: a new first directory at its end."""
    block = block or EMPTY

    def read(at: int, count: int) -> bytes:
        return os.pread(descriptor, count, at)

    from_order, from_at = _start(_reader(block))
    order, at = _start(read)
    big = order.endswith("8")
    source, _, _ = _directory(_reader(block), from_at, from_order)
    present, next_at, _ = _directory(read, at, order)
    has = {entry.tag for entry in present}
    end = os.fstat(descriptor).st_size
    body = _Body(order, end + end % 2)
    lines = [read(entry.at, 20 if big else 12) for entry in present]
    for entry in source:
        if entry.tag in (EXIF, GPS):
            inner = _plain(_reader(block), entry.number(from_order), from_order)
            lines.append(body.line(entry.tag, 4, 1, struct.pack(order[0] + "I", body.directory(from_order, inner))))
        elif entry.tag in DESCRIBING and entry.tag not in has:
            lines.append(body.line(entry.tag, entry.kind, entry.count, _swapped(entry, from_order, order)))
    if iptc is not None:
        lines.append(body.line(IPTC, 7, len(iptc), iptc))
    following = read(next_at, 8 if big else 4)
    lines.sort(key=lambda line: struct.unpack(order[0] + "H", line[:2]))
    where = body.place(_packed(order, lines, following))
    os.pwrite(descriptor, bytes(end % 2) + body.bytes(), end)
    os.pwrite(descriptor, struct.pack(order[0] + ("Q" if big else "I"), where), 8 if big else 4)


def photometrics(read: Read) -> set[int]:
    """The kinds of pixels that a TIFF's directories speak of, those below the first ones included."""
    found: set[int] = set()
    seen: set[int] = set()
    waiting: list[int] = []
    try:
        order, at = _start(read)
        waiting.append(at)
        while waiting and len(seen) < 32:
            at = waiting.pop()
            if at in seen or not at:
                continue
            seen.add(at)
            entries, next_at, _ = _directory(read, at, order)
            for entry in entries:
                if entry.tag == 0x0106:
                    found.add(entry.number(order))
                elif entry.tag == 0x014A and entry.kind in (4, 13):
                    waiting += struct.unpack(f"{order[0]}{entry.count}I", entry.value)
            code = "Q" if order.endswith("8") else "I"
            waiting += struct.unpack(order[0] + code, read(next_at, struct.calcsize(code)))
    except (NotExif, struct.error):
        pass
    return found


def _reader(data: bytes | bytearray) -> Read:
    return lambda at, count: bytes(data[at : at + count])


def _start(read: Read) -> tuple[str, int]:
    """(byte order, where the first directory is); the order of BigTIFF ends in 8."""
    head = read(0, 16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        raise NotExif("no byte order")
    if struct.unpack(order + "H", head[2:4]) == (43,):
        return order + "8", int(struct.unpack(order + "Q", head[8:16])[0])
    return order, int(struct.unpack(order + "I", head[4:8])[0])


def _directory(read: Read, at: int, order: str) -> tuple[list[Entry], int, int]:
    """(entries whose values are there, where the offset of the next directory stands, where the directory ends)."""
    big = order.endswith("8")
    order = order[0]
    head = read(at, 8 if big else 2)
    if at < 8 or len(head) != (8 if big else 2):
        raise NotExif("a directory lies outside")
    (count,) = struct.unpack(order + ("Q" if big else "H"), head)
    if count > MOST_ENTRIES:
        raise NotExif("too many tags")
    wide, inline = (20, 8) if big else (12, 4)
    lines = read(at + len(head), count * wide)
    if len(lines) != count * wide:
        raise NotExif("a directory ends too early")
    entries = []
    for n in range(count):
        tag, kind, number = struct.unpack_from(order + ("HHQ" if big else "HHI"), lines, n * wide)
        line_at = at + len(head) + n * wide
        length = BYTES_OF_TYPE.get(kind, 0) * number
        value_at = line_at + wide - inline
        if length > inline:
            (value_at,) = struct.unpack_from(order + ("Q" if big else "I"), lines, (n + 1) * wide - inline)
        if length > 1 << 24:
            continue
        value = read(value_at, length)
        if len(value) == length:
            entries.append(Entry(tag, kind, number, line_at, value_at, value))
    end = at + len(head) + count * wide
    return entries, end, end + inline


def _new_sides(data: bytearray, order: str, entries: list[Entry], size: tuple[int, int]) -> None:
    for entry in entries:
        wanted = 1 if entry.tag == ORIENTATION else size[SIDES[entry.tag]] if entry.tag in SIDES else None
        if wanted is not None and entry.kind in (3, 4) and entry.count == 1:
            if entry.kind == 3 and wanted > 0xFFFF:  # four bytes are there: an entry's own
                struct.pack_into(order + "H", data, entry.at + 2, 4)
            code = "H" if wanted <= 0xFFFF and entry.kind == 3 else "I"
            struct.pack_into(order + code, data, entry.value_at, wanted)


def _blank(data: bytearray, entries: Iterable[Entry]) -> None:
    for entry in entries:
        data[entry.value_at : entry.value_at + len(entry.value)] = bytes(len(entry.value))


def _taken_out(data: bytearray, order: str, at: int, entries: list[Entry], tag: int) -> int:
    """Take the tag's entries out of the directory at `at`, in place; how many there were."""
    (count,) = struct.unpack_from(order + "H", data, at)
    gone = [entry.at for entry in entries if entry.tag == tag]
    for n, line_at in enumerate(gone):
        start = line_at - 12 * n
        tail = bytes(data[start + 12 : at + 2 + 12 * (count - n) + 4])
        data[start : start + len(tail) + 12] = tail + bytes(12)
    struct.pack_into(order + "H", data, at, count - len(gone))
    return len(gone)


def _without_thumbnail(data: bytearray, order: str, next_at: int) -> None:
    (at,) = struct.unpack_from(order + "I", data, next_at)
    struct.pack_into(order + "I", data, next_at, 0)
    if not at:
        return
    try:
        entries, _, end = _directory(_reader(data), at, order)
    except NotExif:
        return
    said = {entry.tag: entry for entry in entries}
    if THUMBNAIL_AT in said and THUMBNAIL_BYTES in said:
        start, length = said[THUMBNAIL_AT].number(order), said[THUMBNAIL_BYTES].number(order)
        data[start : start + length] = bytes(len(data[start : start + length]))
        if start + length >= len(data):
            del data[start:]
            end = min(end, len(data))
    if end >= len(data):
        del data[at:]


def _with_thumbnail(data: bytearray, order: str, next_at: int, thumbnail: bytes) -> None:
    data += bytes(len(data) % 2)
    at = len(data)
    struct.pack_into(order + "I", data, next_at, at)
    after = at + 2 + 3 * 12 + 4
    data += struct.pack(order + "H", 3)
    data += struct.pack(order + "HHIHxx", 0x0103, 3, 1, 6)  # JPEG
    data += struct.pack(order + "HHII", THUMBNAIL_AT, 4, 1, after)
    data += struct.pack(order + "HHII", THUMBNAIL_BYTES, 4, 1, len(thumbnail))
    data += struct.pack(order + "I", 0) + thumbnail


@dataclass(frozen=True, slots=True)
class _Tree:
    """A directory by value: (tag, kind, count, bytes) of each entry; interoperability below it."""

    tags: list[tuple[int, int, int, bytes]]
    below: "dict[int, _Tree]"


def _plain(read: Read, at: int, order: str, maker_notes: bool = True) -> _Tree:
    entries, _, _ = _directory(read, at, order)
    below = {}
    for entry in entries:
        if entry.tag == INTEROPERABILITY:
            inner, _, _ = _directory(read, entry.number(order), order)
            below[entry.tag] = _Tree([(e.tag, e.kind, e.count, e.value) for e in inner], {})
    left_out = below.keys() if maker_notes else {*below, MAKER_NOTE}
    return _Tree([(e.tag, e.kind, e.count, e.value) for e in entries if e.tag not in left_out], below)


class _Body:
    """Bytes that will begin at `start` of a file, filled from the front."""

    def __init__(self, order: str, start: int) -> None:
        self._order, self._big, self._start = order[0], order.endswith("8"), start
        self._data = bytearray()

    def place(self, value: bytes) -> int:
        at = self._start + len(self._data)
        self._data += value + bytes(len(value) % 2)
        return at

    def line(self, tag: int, kind: int, count: int, value: bytes) -> bytes:
        inline, code = (8, "Q") if self._big else (4, "I")
        held = value.ljust(inline, b"\0")
        if len(value) > inline:
            held = struct.pack(self._order + code, self.place(value))
        return struct.pack(self._order + "HH" + code, tag, kind, count) + held

    def directory(self, from_order: str, tree: _Tree) -> int:
        order = self._order
        lines = []
        for tag, kind, count, value in tree.tags:
            lines.append(self.line(tag, kind, count, _swap(kind, value, from_order[0] != order)))
        for tag, inner in tree.below.items():
            lines.append(self.line(tag, 4, 1, struct.pack(order + "I", self.directory(from_order, inner))))
        lines.sort(key=lambda line: struct.unpack(order + "H", line[:2]))
        return self.place(_packed(order + "8" * self._big, lines, bytes(8 if self._big else 4)))

    def bytes(self) -> bytes:
        return bytes(self._data)


def _block(order: str, tags: list[tuple[int, int, int, bytes]], below: dict[int, _Tree]) -> bytes:
    order = order[0]
    body = _Body(order, 8)
    # the first directory comes last, when all that it points to has its place
    lines = [body.line(*tag) for tag in tags]
    for tag, tree in below.items():
        lines.append(body.line(tag, 4, 1, struct.pack(order + "I", body.directory(order, tree))))
    lines.sort(key=lambda line: struct.unpack(order + "H", line[:2]))
    at = body.place(_packed(order, lines, bytes(4)))
    head = {"<": b"II*\0", ">": b"MM\0*"}[order]
    return head + struct.pack(order + "I", at) + body.bytes()


def _packed(order: str, lines: list[bytes], following: bytes) -> bytes:
    return struct.pack(order[0] + ("Q" if order.endswith("8") else "H"), len(lines)) + b"".join(lines) + following


def _swapped(entry: Entry, from_order: str, order: str) -> bytes:
    return _swap(entry.kind, entry.value, from_order[0] != order[0])


def _swap(kind: int, value: bytes, needed: bool) -> bytes:
    unit = UNIT_OF_TYPE.get(kind, 1)
    if not needed or unit == 1:
        return value
    return b"".join(value[at : at + unit][::-1] for at in range(0, len(value), unit))
