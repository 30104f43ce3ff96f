"""JPEG XL: decoded by imagecodecs, the only file that knows it (extra `jxl`)."""

import os
from collections.abc import Callable, Iterator

import numpy as np

from darkroomd.errors import Incomplete, Rejected
from darkroomd.job import Raster, Tags

INSTALL = "JPEG XL photos need one more package: pip install 'darkroomd[jxl]'"
BARE = b"\xff\x0a"
# of a JPEG XL file that names its colours instead of holding a profile
PRIMARIES = {2: "primaries of its own", 9: "the primaries of BT.2100", 11: "the primaries of P3"}
TRANSFERS = {
    0: "a gamma of its own",
    8: "linear light",
    16: "HDR light (PQ)",
    17: "the curve of DCI",
    18: "HDR light (HLG)",
}
RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def read(descriptor: int, check: Callable[[int, int], None]) -> Raster:
    """The picture, upright, in sRGB. check: raises when a picture of this size is not wanted.

    A profile cannot be read with this library: colours other than sRGB are told in the notes.
    """
    try:
        import imagecodecs
    except ImportError as error:
        raise Rejected(INSTALL) from error
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        data = file.read()
    boxes = [] if data.startswith(BARE) else list(_boxes(data))
    start = data if data.startswith(BARE) else next((b for k, b in boxes if k in (b"jxlc", b"jxlp")), b"")
    stream = start if start.startswith(BARE) else start[4:]
    check(*size(stream))
    try:
        pixels = np.asarray(imagecodecs.jpegxl_decode(data))
    except (imagecodecs.JpegxlError, ValueError, RuntimeError) as error:
        raise Rejected(f"the JPEG XL file is damaged ({str(error)[:160]})") from error
    notes = [f"its colours ({named}) were taken for sRGB"] if (named := colours(stream)) else []
    if b"jhgm" in dict(boxes):
        notes.append("its HDR gain map was left out")
    if pixels.ndim == 4:
        notes.append(f"the file holds {len(pixels)} pictures: only the first was enhanced")
        pixels = pixels[0]
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.dtype not in (np.uint8, np.uint16):
        notes.append(f"converted from {pixels.dtype} samples to 16 bits")
        pixels = np.rint(np.clip(pixels.astype(np.float32), 0, 1) * 65535).astype(np.uint16)
    known = dict(boxes)
    exif = known.get(b"Exif")
    tags = Tags(exif=exif[4 + int.from_bytes(exif[:4], "big") :] if exif else None, xmp=known.get(b"xml "))
    return Raster(np.ascontiguousarray(pixels), 8 * pixels.itemsize, tags, tuple(notes))


def size(codestream: bytes) -> tuple[int, int]:
    """(width, height), which stand first of all."""
    if not codestream.startswith(BARE) or len(codestream) < 16:
        raise Incomplete("the JPEG XL file ends too early")
    return _Bits(codestream[2:]).size()


def colours(codestream: bytes) -> str | None:
    """What the codes of the pixels mean, in words, where it is neither sRGB nor its grey; None where it is."""
    bits = _Bits(codestream[2:1024])
    bits.size()
    if bits.flag() or not _at_colours(bits) or bits.flag():  # all as by default; not known; sRGB
        return None
    if bits.flag():
        return "a profile of its own"
    space = bits.enum()
    white = bits.enum() if space != 2 else 1
    if white != 1:
        return "another white"
    primaries = bits.enum() if space == 0 else 1
    if primaries != 1:
        return PRIMARIES.get(primaries, "primaries of its own")
    transfer = 0 if bits.flag() else bits.enum()
    return TRANSFERS.get(transfer)


def _at_colours(bits: "_Bits") -> bool:
    """Read on to where the colours are named; False for what is more than a photo."""
    if bits.flag():
        bits.take(3)  # its way up
        if bits.flag():
            bits.size()
        if bits.flag() or bits.flag():  # a preview, a film
            return False
    bits.depth()
    bits.flag()  # 16 bits are enough for its buffers
    known = True
    for _ in range(bits.number((0, 0), (1, 0), (2, 4), (1, 12))):
        known &= bits.flag() or bits.channel()
    bits.flag()  # XYB
    return known


class _Bits:
    """Fields of ISO/IEC 18181-1, the lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value, self._bits = self._bits & ((1 << count) - 1), self._bits >> count
        return value

    def flag(self) -> bool:
        return self.take(1) == 1

    def number(self, *ways: tuple[int, int]) -> int:
        """One of four ways: a number, and the bits of what is added to it."""
        least, count = ways[self.take(2)]
        return least + self.take(count)

    def enum(self) -> int:
        return self.number((0, 0), (1, 0), (2, 4), (18, 6))

    def size(self) -> tuple[int, int]:
        small = self.flag()
        height = self._side(small)
        ratio = self.take(3)
        if ratio:
            across, down = RATIOS[ratio - 1]
            return height * across // down, height
        return self._side(small), height

    def _side(self, small: bool) -> int:
        return 8 * (self.take(5) + 1) if small else self.number((1, 9), (1, 13), (1, 18), (1, 30))

    def depth(self) -> None:
        floats = self.flag()
        self.number(*(((32, 0), (16, 0), (24, 0), (1, 6)) if floats else ((8, 0), (10, 0), (12, 0), (1, 6))))
        if floats:
            self.take(4)

    def channel(self) -> bool:
        """Whether it was one that is known here: transparency, depth, a mask."""
        kind = self.enum()
        self.depth()
        self.number((0, 0), (3, 0), (4, 0), (1, 3))
        self.take(8 * self.number((0, 0), (0, 4), (16, 5), (48, 10)))
        if kind == 0:
            self.flag()
        return kind not in (2, 5)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        length, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if length == 1:
            length, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        end = at + max(length, head) if length else len(data)
        yield kind, data[at + head : end]
        at = end
