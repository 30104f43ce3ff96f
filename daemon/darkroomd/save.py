"""Pixels to files: the format, how many bits, the colours that the photo came in, its tags.

A lossy format is written at `output.quality`. The colour of a JPEG keeps its full resolution, unless a small file is
wanted and the photo's own was halved.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyvips

from darkroomd import container, exif, gain_map, iptc, xmp
from darkroomd.colour import as_image, in_own_colours, own_image, to_network
from darkroomd.errors import Rejected
from darkroomd.job import FORMAT_OF, INSTEAD, SPELLINGS, Format, Limits, Output, Picture, Step, Tags
from darkroomd.scratch import forget, giant, sampled

# the formats that hold more than the 8-bit RGB that every one of them holds
HOLDS = {
    "jpeg": {"cmyk"},
    "png": {"alpha", "wide"},
    "webp": {"alpha"},
    "tiff": {"alpha", "wide", "float", "cmyk"},
    "avif": {"alpha", "deep"},
}
# the longest side that a format's header or libvips' encoder allows
LONGEST_SIDE = {"jpeg": 65_535, "webp": 16_383, "avif": 16_384}
THUMBNAIL_PIXELS = 160
# from here on a JPEG's colour is never halved: that alone takes 0.4 dB of what a network gained on training pictures,
# also where the photo's own was, for the network has sharpened its edges again
FULL_COLOUR_QUALITY = 90


def result_format(picture: Picture, source: Path, target: Path | None, output: Output) -> Format:
    """The format asked for, else the photo's own, whatever its name says; for a photo of a kind that is only read, or
    whose name says so, what the name of the result promises."""
    if output.format != "keep":
        return output.format
    ending = "" if target is None else target.suffix.lower()
    promised = FORMAT_OF.get(ending)
    own: Format | None = next((form for form in SPELLINGS if form == picture.format), None)
    if own is not None and (promised is None or ending == source.suffix.lower()):
        return own
    return promised or INSTEAD[picture.format]


def losses(picture: Picture, form: str) -> tuple[str, ...]:
    """What this format cannot hold of the photo, in words for its verdict."""
    said, holds, name = [], HOLDS[form], form.upper()
    if picture.alpha is not None and "alpha" not in holds:
        said.append(f"{name} has no transparency: laid on white")
    if _is_cmyk(picture) and "cmyk" not in holds:
        said.append("converted from CMYK to sRGB")
    if _is_float(picture) and "float" not in holds:
        said.append(f"{name} has no float samples: light beyond white was cut off")
    elif picture.bits > 8 and not holds & {"wide", "deep"}:
        said.append(f"{name} has 8 bits a sample, the photo had {picture.bits}")
    if picture.gain_map is not None and form != "jpeg":
        said.append(f"its HDR gain map was left out: ours go into JPEG only, not into {name}")
    said += _lost_tags(picture, form)
    return tuple(said)


def check_size(steps: tuple[Step, ...], form: str, limits: Limits) -> None:
    """Rejected, before any network runs, when the result would be larger than the format or `limits` allow."""
    for width, height in (step.size for step in steps if step.size is not None):
        if width * height > limits.max_megapixels * 1e6:
            raise Rejected(
                f"the result would be {width}×{height} ({width * height / 1e6:.0f} megapixels); "
                f"limits.max_megapixels allows {limits.max_megapixels:g}"
            )
        _check_sides(width, height, form)


def encode(picture: Picture, form: str, output: Output, descriptor: int, event: str | None, version: str) -> None:
    """Write the photo to an open descriptor in this format; upright, so its way up is 1.

    With its tags, or with those that output.metadata leaves, and a note about what was done: event, by which version of
    the product; None for a picture that is only converted. Rejected when the format holds no picture of this size.
    """
    _check_sides(picture.width, picture.height, form)
    image, icc = _image(picture, form)
    tags = _kept(picture, form, output, event, version)
    if icc is not None:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc)
    if tags.dots_per_mm is not None:
        image = image.copy(xres=tags.dots_per_mm[0], yres=tags.dots_per_mm[1])
        image.set_type(pyvips.GValue.gstr_type, "resolution-unit", "in")
    if giant(picture.pixels.nbytes):
        image.set_progress(True)
        image.signal_connect("eval", lambda _image, _progress: forget(picture.pixels, picture.own, picture.alpha))
    os.lseek(descriptor, 0, os.SEEK_SET)
    _SAVE[form](image, picture, tags, output, descriptor)


def _check_sides(width: int, height: int, form: str) -> None:
    if max(width, height) > LONGEST_SIDE.get(form, max(width, height)):
        raise Rejected(
            f"the result would be {width}×{height}, and {form.upper()} files end at {LONGEST_SIDE[form]} pixels; "
            "output.format: png or tiff has no such limit"
        )


def _is_cmyk(picture: Picture) -> bool:
    return picture.own is not None and picture.own.shape[2] == 4


def _is_float(picture: Picture) -> bool:
    return picture.own is not None and picture.own.dtype == np.float32


def _image(picture: Picture, form: str) -> tuple[Any, bytes | None]:
    """(what the format gets, with alpha, in its number of bits; the profile of its colours)."""
    holds, icc = HOLDS[form], picture.tags.icc
    grey = picture.pixels.shape[2] == 1
    wide = picture.pixels.dtype == np.uint16
    image = as_image(picture.pixels, ("grey16" if wide else "b-w") if grey else ("rgb16" if wide else "srgb"))
    keeps_own = (not _is_cmyk(picture) or "cmyk" in holds) and (not _is_float(picture) or "float" in holds)
    if picture.own is not None and keeps_own:
        own = own_image(picture.own, picture.tags)
        image = in_own_colours(image, to_network(own, picture.tags), own, picture.tags)
    elif picture.own is not None:
        icc = None
    if picture.alpha is not None:
        alpha = as_image(picture.alpha, "b-w")
        if alpha.format != image.format:
            alpha = _with_format(alpha, image.format)
        image = image.bandjoin(alpha)
    if image.format == "ushort" and (picture.bits == 8 or not holds & {"wide", "deep"}):
        image = _with_format(image, "uchar")
    if picture.alpha is not None and "alpha" not in holds:
        image = image.flatten(background=255)
    if grey and icc is not None and form in ("webp", "avif"):  # which are written in three channels
        image = image.copy()
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc)
        image, icc = image.icc_transform("srgb", embedded=True, depth=8 if image.format == "uchar" else 16), None
        image.remove("icc-profile-data")
    return image, icc


def _with_format(image: Any, wanted: str) -> Any:
    """The same colours in samples of another size, rounded to the nearest."""
    if image.format == wanted:
        return image
    scale = {"uchar": 255, "ushort": 65535, "float": 1}
    interpretation = {
        ("uchar", True): "b-w", ("ushort", True): "grey16", ("uchar", False): "srgb", ("ushort", False): "rgb16",
    }.get((wanted, image.bands < 3), image.interpretation)  # fmt: skip
    image = image * (scale[wanted] / scale[image.format])
    return (image if wanted == "float" else image.rint()).cast(wanted).copy(interpretation=interpretation)


def _kept(picture: Picture, form: str, output: Output, event: str | None, version: str) -> Tags:
    """The tags as they are written: upright, of the new size, with what was done, less what must go."""
    tags, location = picture.tags, output.metadata == "keep"
    behind = picture.gain_map if form == "jpeg" and gain_map.is_ultra_hdr(picture.gain_map) else b""
    behind_bytes = len(behind or b"")
    if output.metadata == "strip":
        packet = xmp.written(None, event, version, gain_map_bytes=behind_bytes)
        return Tags(xmp=packet, icc=tags.icc, dots_per_mm=tags.dots_per_mm)
    block = tags.exif
    if block is not None:
        block, _ = exif.fitted(
            block, (picture.width, picture.height), _exif_limit(form),
            thumbnail=_thumbnail(picture.pixels), location=location,
        )  # fmt: skip
    elif tags.dots_per_mm is not None and form in ("webp", "avif"):
        block = exif.resolution_block(tags.dots_per_mm)
    records = tags.iptc if tags.iptc is None or location else iptc.without_place(tags.iptc)
    beside = form in ("jpeg", "tiff")  # these hold the records as they are
    more = iptc.as_xmp(records) if records is not None and not beside else None
    packet = xmp.written(tags.xmp, event, version, location=location, more=more, gain_map_bytes=behind_bytes)
    return Tags(block, packet, records if beside else None, tags.icc, tags.dots_per_mm, tags.texts)


def _exif_limit(form: str) -> int:
    return container.EXIF_LIMIT_BYTES if form == "jpeg" else 1 << 24


def _lost_tags(picture: Picture, form: str) -> list[str]:
    """What of the photo's tags has no place in this format, or cannot be read."""
    said, tags = [], picture.tags
    if tags.exif is not None:
        _, lost = exif.fitted(tags.exif, (picture.width, picture.height), _exif_limit(form))
        said += [] if lost is None else [lost]
    if tags.xmp is not None and not xmp.readable(tags.xmp):
        said.append("its XMP is damaged: left out")
    if form == "jpeg" and tags.iptc is not None and len(iptc.wrapped(tags.iptc)) > container.SEGMENT_BYTES:
        said.append("its IPTC records were left out: JPEG holds 64 kB of them")
    return said


def _thumbnail(pixels: npt.NDArray[Any]) -> bytes:
    step = max(1, min(pixels.shape[:2]) // (4 * THUMBNAIL_PIXELS))
    small = sampled(pixels, step, step)
    wide, grey = small.dtype == np.uint16, small.shape[2] == 1
    image = as_image(small, ("grey16" if wide else "b-w") if grey else ("rgb16" if wide else "srgb"))
    image = _with_format(image, "uchar").thumbnail_image(THUMBNAIL_PIXELS, height=THUMBNAIL_PIXELS)
    return bytes(image.jpegsave_buffer(Q=80, keep="none"))


def _jpeg(image: Any, picture: Picture, tags: Tags, output: Output, descriptor: int) -> None:
    records = None if tags.iptc is None else iptc.wrapped(tags.iptc)
    extra = container.jpeg_segments(tags.exif, tags.xmp, records)
    if image.bands < 4:
        extra = container.jfif(tags.dots_per_mm) + extra
    if picture.gain_map is not None:
        extra += gain_map.segments(picture.gain_map)
    # the best Huffman codes need all coefficients in memory: 2 % of the file against gigabytes of a giant
    optimal = not giant(picture.pixels.nbytes)
    image.jpegsave_target(
        _target(descriptor, container.JPEG_HEAD_BYTES, extra), Q=output.quality, optimize_coding=optimal, keep="icc",
        subsample_mode="on" if picture.subsampled and output.quality < FULL_COLOUR_QUALITY else "off",
    )  # fmt: skip
    if picture.gain_map is not None:
        photo_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        _write(descriptor, picture.gain_map)
        at = container.JPEG_HEAD_BYTES + len(extra) - gain_map.INDEX_BYTES
        os.pwrite(descriptor, gain_map.index(photo_bytes, len(picture.gain_map), at), at)


def _png(image: Any, _: Picture, tags: Tags, _output: Output, descriptor: int) -> None:
    for n, (name, text) in enumerate(tags.texts):
        image.set_type(pyvips.GValue.gstr_type, f"png-comment-{n}-{name}", text)
    extra = container.png_chunks(tags.exif, tags.xmp)
    keep = "icc" if not tags.texts else "icc:other"
    image.pngsave_target(_target(descriptor, container.PNG_HEAD_BYTES, extra), compression=6, keep=keep)


def _webp(image: Any, picture: Picture, tags: Tags, output: Output, descriptor: int) -> None:
    exact = {"lossless": True} if picture.lossless and picture.format == "webp" else {"Q": output.quality}
    data = bytes(image.webpsave_buffer(smart_subsample=True, keep="icc", **exact))
    if tags.exif is not None or tags.xmp is not None:
        data = container.webp_with(data, picture.width, picture.height, tags.exif, tags.xmp)
    _write(descriptor, data)


def _tiff(image: Any, picture: Picture, tags: Tags, _: Output, descriptor: int) -> None:
    if tags.xmp is not None:
        image.set_type(pyvips.GValue.blob_type, "xmp-data", tags.xmp)
    image.tiffsave_target(
        pyvips.Target.new_to_descriptor(descriptor), compression="deflate", keep="icc:xmp",
        predictor="float" if image.format == "float" else "horizontal",
        bigtiff=image.width * image.height * image.bands * picture.pixels.itemsize > 3_500_000_000,
    )  # fmt: skip
    if tags.exif is not None or tags.iptc is not None:
        exif.into_tiff(descriptor, tags.exif, tags.iptc)


def _avif(image: Any, picture: Picture, tags: Tags, output: Output, descriptor: int) -> None:
    bits = 12 if picture.bits == 12 else 10 if image.format == "ushort" else 8
    if image.format == "ushort":  # libvips keeps the highest bits
        full = (1 << bits) - 1
        codes = (image * (full / 65535)).rint().cast("ushort") << (16 - bits)
        image = codes.copy(interpretation=image.interpretation)
    if tags.xmp is not None:
        image.set_type(pyvips.GValue.blob_type, "xmp-data", tags.xmp)
    keep = "icc:xmp"
    if tags.exif is not None:
        image.set_type(pyvips.GValue.blob_type, "exif-data", b"Exif\0\0" + exif.resolution_block((1, 1)))
        keep += ":exif"
    data = bytes(image.heifsave_buffer(Q=output.quality, compression="av1", effort=4, bitdepth=bits, keep=keep))
    _write(descriptor, data if tags.exif is None else container.avif_with_exif(data, tags.exif))


_SAVE: dict[str, Callable[[Any, Picture, Tags, Output, int], None]] = {
    "jpeg": _jpeg, "png": _png, "webp": _webp, "tiff": _tiff, "avif": _avif,
}  # fmt: skip


def _target(descriptor: int, at: int, extra: bytes) -> Any:
    target = pyvips.TargetCustom()
    target.on_write(container.Spliced(lambda data: os.write(descriptor, data), at, extra))
    return target


def _write(descriptor: int, data: bytes) -> None:
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)
