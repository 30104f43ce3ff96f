"""Files to pixels and back: decode, orientation, profile, tags; encode. The only file that knows libvips.

What a file is, its content says, never its name. Loaders that are not needed for photographs are switched off
before libvips is loaded, and size limits are checked on the header, before a single pixel is decoded.
"""

import os
import stat
from pathlib import Path
from typing import Any

os.environ.setdefault("VIPS_BLOCK_UNTRUSTED", "1")

import numpy as np
import numpy.typing as npt
import pyvips

from darkroomd.errors import Incomplete, Rejected, Retryable
from darkroomd.job import Fingerprint, Limits, Output, Picture, Step

pyvips.cache_set_max(0)  # a photo is opened once; cached operations only look like a leak

# (offset, bytes) of each format's signature; AVIF's brand decides between it and other ISO-BMFF files
SIGNATURES = {
    "jpeg": [(0, b"\xff\xd8\xff")],
    "png": [(0, b"\x89PNG\r\n\x1a\n")],
    "webp": [(8, b"WEBP")],
    "tiff": [(0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")],
    "avif": [(4, b"ftypavif"), (4, b"ftypavis")],
}
NOT_SUPPORTED = {
    "HEIC": [(4, b"ftypheic"), (4, b"ftypheix"), (4, b"ftypmif1")],
    "GIF": [(0, b"GIF8")],
    "SVG": [(0, b"<svg"), (0, b"<?xml")],
    "PDF": [(0, b"%PDF")],
    "BMP": [(0, b"BM")],
    "PSD": [(0, b"8BPS")],
    "JPEG XL": [(0, b"\xff\x0a"), (4, b"JXL ")],
}
SUFFIXES = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "tiff": ".tif", "avif": ".avif"}

# libvips says these when a file ends too early, in its words for each format (8.18)
ENDS_EARLY = (
    "truncated",
    "premature",
    "unexpected eof",
    "end of stream",
    "read error",
    "not enough",
    "out of data",
    "end of file",
)


def opened(path: Path) -> int:
    """A descriptor of a regular file, never of what a symlink points to. Retryable when the file is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Retryable(f"cannot read the file: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Rejected("not a regular file")
    return descriptor


def fingerprint_of(descriptor: int) -> Fingerprint:
    """What one fstat tells of an open file."""
    facts = os.fstat(descriptor)
    return Fingerprint(facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def decoded(descriptor: int, limits: Limits) -> Picture:
    """The photo in an open file.

    Rejected, in a user's words, when it is empty, not a photo, of a kind that is not supported, or beyond `limits`
    (from the header, before decoding); Incomplete when it ends too early.
    """
    size = os.fstat(descriptor).st_size
    if size == 0:
        raise Incomplete("the file is empty")
    if size > limits.max_file_mb * 1e6:
        raise Rejected(f"the file is {size / 1e6:.0f} MB; limits.max_file_mb allows {limits.max_file_mb:g}")
    form = _format_of(os.pread(descriptor, 64, 0))
    try:
        image = _header(descriptor)
    except pyvips.Error as error:
        if form == "png" and 0 in (width_height := _png_size(descriptor)):
            raise Rejected(f"the picture has no pixels ({width_height[0]}×{width_height[1]})") from error
        raise _refusal(error, form) from error
    if image.width * image.height > limits.max_megapixels * 1e6:
        raise Rejected(
            f"the picture is {image.width}×{image.height} ({image.width * image.height / 1e6:.0f} megapixels); "
            f"limits.max_megapixels allows {limits.max_megapixels:g}"
        )
    notes = []
    if "n-pages" in image.get_fields() and image.get("n-pages") > 1:
        notes.append(f"the file holds {image.get('n-pages')} pictures: only the first was enhanced")
    quality, subsampled = (None, True)
    if form == "jpeg":
        quality = jpeg_quality(os.pread(descriptor, 1 << 16, 0))
        subsampled = "jpeg-chroma-subsample" not in image.get_fields() or image.get("jpeg-chroma-subsample") != "4:4:4"
    try:
        upright, lost = _as_rgb(image.autorot())
        # pyvips leaves axes of length 1 out: the shape of a grey pixel is ()
        pixels = upright.numpy().reshape(upright.height, upright.width, upright.bands)
    except pyvips.Error as error:
        raise _refusal(error, form) from error
    alpha = None
    if upright.hasalpha():
        alpha, pixels = np.ascontiguousarray(pixels[:, :, -1:]), np.ascontiguousarray(pixels[:, :, :-1])
    return Picture(pixels, alpha, form, _tags(upright), quality, subsampled, tuple(notes + lost))


# the longest side that a format's header or libvips' encoder allows
LONGEST_SIDE = {"jpeg": 65_535, "webp": 16_383, "avif": 16_384}


def check_size(picture: Picture, steps: tuple[Step, ...], output: Output, limits: Limits) -> None:
    """Rejected, before any network runs, when the result would be larger than the format or `limits` allow."""
    for width, height in (step.size for step in steps if step.size is not None):
        if width * height > limits.max_megapixels * 1e6:
            raise Rejected(
                f"the result would be {width}×{height} ({width * height / 1e6:.0f} megapixels); "
                f"limits.max_megapixels allows {limits.max_megapixels:g}"
            )
        form = picture.format if output.format == "keep" else output.format
        if max(width, height) > LONGEST_SIDE.get(form, max(width, height)):
            raise Rejected(
                f"the result would be {width}×{height}, and {form.upper()} files end at {LONGEST_SIDE[form]} pixels; "
                "output.format: png or tiff has no such limit"
            )


def encode(picture: Picture, output: Output, descriptor: int) -> None:
    """Write the photo to an open descriptor in `output`'s format; upright, so its orientation is 1.

    With its tags, or only its colour profile and resolution when `output.metadata` is strip.
    """
    form = picture.format if output.format == "keep" else output.format
    bands = picture.pixels if picture.alpha is None else np.concatenate([picture.pixels, picture.alpha], axis=2)
    image = pyvips.Image.new_from_array(np.ascontiguousarray(bands))
    wide = picture.pixels.dtype == np.uint16
    grey = picture.pixels.shape[2] == 1
    image = image.copy(interpretation=("grey16" if wide else "b-w") if grey else ("rgb16" if wide else "srgb"))
    if form in ("jpeg", "webp", "avif") and wide:
        image = image.cast("uchar", shift=True).copy(interpretation="b-w" if grey else "srgb")
    if form == "jpeg" and picture.alpha is not None:
        image = image.flatten(background=255)
    image = image.copy(**picture.tags["resolution"])
    for name, (kind, value) in picture.tags["fields"].items():
        if output.metadata == "keep" or name == "icc-profile-data":  # without its profile the colours would change
            image.set_type(kind, name, value)
    target = pyvips.Target.new_to_descriptor(descriptor)
    quality = output.quality
    if form == "jpeg":
        # without chroma subsampling where the source had none: its colour edges were sharp
        image.jpegsave_target(
            target, Q=quality, optimize_coding=True, subsample_mode="on" if picture.subsampled else "off"
        )
    elif form == "png":
        image.pngsave_target(target, compression=6)
    elif form == "webp":
        image.webpsave_target(target, Q=quality, smart_subsample=True)
    elif form == "tiff":
        image.tiffsave_target(target, compression="deflate", predictor="horizontal", bigtiff=picture.megapixels > 400)
    else:
        image.heifsave_target(target, Q=quality, compression="av1", effort=4)


def check_file(path: Path, width: int, height: int) -> None:
    """Read every byte of a file that was just written; Retryable unless it is a picture of this size."""
    descriptor = opened(path)  # libvips takes only names that are UTF-8
    try:
        image = _header(descriptor)
        if (image.width, image.height) != (width, height):
            raise Retryable(f"wrote {image.width}×{image.height} pixels instead of {width}×{height}")
        if image.get("vips-loader").startswith("jpegload"):  # all of its codes, but one pixel in 64: twice as fast
            image = _header(descriptor, shrink=8)
        image.avg()
    except pyvips.Error as error:
        raise Retryable(f"what was written does not decode: {_short(error)}") from error
    finally:
        os.close(descriptor)


def jpeg_quality(head: bytes) -> int | None:
    """The libjpeg quality (1..100) with the nearest luma quantisation table; None when `head` has no table.

    Exact for files that libjpeg wrote, close for the tables of cameras and other encoders.
    """
    at = 2
    while at + 4 <= len(head) and head[at] == 0xFF and head[at + 1] != 0xDA:
        length = int.from_bytes(head[at + 2 : at + 4], "big")
        if head[at + 1] == 0xDB:
            wide = head[at + 4] >> 4
            if len(head) < at + 5 + 64 * (1 + wide):
                return None
            table = np.sort(np.frombuffer(head, ">u2" if wide else "u1", 64, at + 5).astype(np.int64))
            distances = [np.abs(np.sort(_scaled_table(quality)) - table).sum() for quality in range(1, 101)]
            return int(np.argmin(distances)) + 1
        at += 2 + length
    return None


# ITU-T T.81, table K.1, in ascending order: only the set of values is compared
ANNEX_K_LUMA = np.array(
    [
        *(
            10,
            11,
            12,
            12,
            13,
            14,
            14,
            14,
            16,
            16,
            16,
            17,
            18,
            19,
            22,
            22,
            24,
            24,
            24,
            26,
            29,
            35,
            37,
            40,
            40,
            49,
            51,
            51,
        ),
        *(55, 55, 56, 56, 57, 58, 60, 61, 62, 64, 64, 68, 69, 72, 77, 78, 80, 81, 87, 87, 92, 92),
        *(95, 98, 99, 100, 101, 103, 103, 103, 104, 109, 112, 113, 120, 121),
    ]
)


def _scaled_table(quality: int) -> npt.NDArray[np.int64]:
    """libjpeg's scaling of table K.1: 5000 / q percent below 50, 200 - 2 q from there on."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    scaled: npt.NDArray[np.int64] = np.clip((ANNEX_K_LUMA * percent + 50) // 100, 1, 255)
    return scaled


def versions() -> dict[str, str]:
    """libvips and its binding, for doctor."""
    return {"libvips": f"{pyvips.version(0)}.{pyvips.version(1)}.{pyvips.version(2)}", "pyvips": pyvips.__version__}


def formats() -> dict[str, bool]:
    """Which of our formats this libvips can both read and write."""
    names = {"avif": "heif"}
    return {
        form: all(
            pyvips.type_find("VipsOperation", f"{names.get(form, form)}{end}") != 0
            for end in ("load_source", "save_target")
        )
        for form in SIGNATURES
    }


def _format_of(head: bytes) -> str:
    for form, marks in SIGNATURES.items():
        if any(head[at : at + len(mark)] == mark for at, mark in marks):
            return form
    for form, marks in NOT_SUPPORTED.items():
        if any(head[at : at + len(mark)] == mark for at, mark in marks):
            raise Rejected(f"{form} files are not supported; supported are: {', '.join(SIGNATURES)}")
    raise Rejected(f"not a photo: the content is none of {', '.join(SIGNATURES)}")


def _header(descriptor: int, **options: int) -> Any:
    os.lseek(descriptor, 0, os.SEEK_SET)
    source = pyvips.Source.new_from_descriptor(descriptor)
    return pyvips.Image.new_from_source(source, "", access="sequential", fail_on="truncated", **options)


def _png_size(descriptor: int) -> tuple[int, int]:
    head = os.pread(descriptor, 24, 0)
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def _refusal(error: Exception, form: str) -> Rejected:
    said = _short(error)
    if any(words in said.lower() for words in ENDS_EARLY):
        return Incomplete(f"the {form.upper()} file ends too early ({said})")
    return Rejected(f"the {form.upper()} file is damaged ({said})")


def _short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:160] if lines else type(error).__name__


def _as_rgb(image: Any) -> tuple[Any, list[str]]:
    """8 or 16 bits, grey or RGB, with or without alpha; and what that cost."""
    lost: list[str] = []
    if image.interpretation == "cmyk":
        image = image.icc_transform("srgb", embedded=True, input_profile="cmyk")
        lost.append("converted from CMYK to sRGB")
    elif image.interpretation not in ("srgb", "rgb16", "b-w", "grey16", "rgb", "multiband"):
        image = image.colourspace("srgb")
    if image.format not in ("uchar", "ushort"):
        lost.append(f"converted from {image.format} samples to 8 bits")
        image = image.colourspace("srgb") if image.interpretation != "multiband" else image.cast("uchar")
    if image.bands > 4:
        image = image[:3]
        lost.append("extra channels beyond colour and alpha were left out")
    return image, lost


# the orientation is applied to the pixels, and an embedded thumbnail would show the old picture
NOT_KEPT = ("exif-ifd0-Orientation", "jpeg-thumbnail-data")


def _tags(image: Any) -> dict[str, Any]:
    """`fields`: libvips' metadata by name, each with its type. `resolution`: pixels per millimetre."""
    fields = {}
    for name in image.get_fields():
        is_tag = name.startswith("exif-") or name in ("xmp-data", "iptc-data", "icc-profile-data", "resolution-unit")
        if is_tag and name not in NOT_KEPT and not name.startswith("exif-ifd1"):
            fields[name] = (image.get_typeof(name), image.get(name))
    fields["orientation"] = (pyvips.GValue.gint_type, 1)  # last: the fields before it would take it away again
    return {"fields": fields, "resolution": {"xres": image.xres, "yres": image.yres}}
