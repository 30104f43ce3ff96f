"""HEIC, the photos of phones: read by pi-heif, the only file that knows it (extra `heif`)."""

import os
from collections.abc import Callable

import numpy as np

from darkroomd.errors import Incomplete, Rejected
from darkroomd.job import Raster, Tags

INSTALL = "HEIC photos need one more package: pip install 'darkroomd[heif]'"


def read(descriptor: int, check: Callable[[int, int], None]) -> Raster:
    """The first picture of the file, turned upright. check: raises when a picture of this size is not wanted."""
    try:
        import pi_heif
    except ImportError as error:
        raise Rejected(INSTALL) from error
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        with os.fdopen(os.dup(descriptor), "rb") as file:
            pictures = pi_heif.open_heif(file, convert_hdr_to_8bit=False)
            photo = pictures[pictures.primary_index]
            check(*photo.size)
            pixels = np.asarray(photo)
    except (OSError, ValueError, EOFError, RuntimeError, SyntaxError, LookupError) as error:
        said = [type(error).__name__, *str(error).splitlines()][-1][:160]
        if "end of file" in said.lower() or "eof" in said.lower():
            raise Incomplete(f"the HEIC file ends too early ({said})") from error
        raise Rejected(f"the HEIC file is damaged ({said})") from error
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    bits = int(photo.info.get("bit_depth", 8))
    if pixels.dtype == np.uint16:  # moved up by pi-heif, with zeros below: white would be grey
        pixels = np.rint((pixels >> (16 - bits)).astype(np.float32) * (65535 / ((1 << bits) - 1))).astype(np.uint16)
    notes = [f"the file holds {len(pictures)} pictures: only the first was enhanced"] if len(pictures) > 1 else []
    kinds = photo.info.get("aux") or ()
    if any("gainmap" in str(kind).lower() for kind in kinds):
        notes.append("its HDR gain map was left out: ours go from JPEG into JPEG only")
    if photo.info.get("depth_images") or any("gainmap" not in str(kind).lower() for kind in kinds):
        notes.append("the depth map and mattes were left out: they belong to the picture as it was")
    exif = photo.info.get("exif")
    tags = Tags(
        exif=bytes(exif).removeprefix(b"Exif\0\0") if exif else None,
        xmp=photo.info.get("xmp"),
        icc=photo.info.get("icc_profile"),
    )
    return Raster(np.ascontiguousarray(pixels), bits, tags, tuple(notes))
