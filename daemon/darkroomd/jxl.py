"""JPEG XL: decoded by imagecodecs, the only file that knows it (extra `jxl`)."""

import os
from collections.abc import Callable, Iterator

import numpy as np

from darkroomd.errors import Incomplete, Rejected
from darkroomd.job import Raster, Tags

INSTALL = "JPEG XL photos need one more package: pip install 'darkroomd[jxl]'"
BARE = b"\xff\x0a"
RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def read(descriptor: int, check: Callable[[int, int], None]) -> Raster:
    """The picture, upright, in sRGB. check: raises when a picture of this size is not wanted.

    A profile of its own cannot be read with this library; libjxl turns what it encoded itself into sRGB.
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
    check(*size(start[4:] if not start.startswith(BARE) else start))
    try:
        pixels = np.asarray(imagecodecs.jpegxl_decode(data))
    except (imagecodecs.JpegxlError, ValueError, RuntimeError) as error:
        raise Rejected(f"the JPEG XL file is damaged ({str(error)[:160]})") from error
    notes = []
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
    """(width, height) as ISO/IEC 18181-1 writes them first of all: fields of bits, the lowest first."""
    if not codestream.startswith(BARE) or len(codestream) < 16:
        raise Incomplete("the JPEG XL file ends too early")
    bits = int.from_bytes(codestream[2:16], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    def side(small: bool) -> int:
        return 8 * (take(5) + 1) if small else take((9, 13, 18, 30)[take(2)]) + 1

    small = take(1) == 1
    height = side(small)
    ratio = take(3)
    if ratio:
        across, down = RATIOS[ratio - 1]
        return height * across // down, height
    return side(small), height


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        length, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if length == 1:
            length, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        end = at + max(length, head) if length else len(data)
        yield kind, data[at + head : end]
        at = end
