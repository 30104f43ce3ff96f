"""Files to pixels: what a file is, whether it may be opened, which way is up, its colours and its tags.

What a file is, its content says, never its name. Loaders that are not needed for photographs are switched off
before libvips is loaded, and size limits are checked on the header, before a single pixel is decoded.
"""

import os
import re
from dataclasses import replace
from typing import Any

os.environ.setdefault("VIPS_BLOCK_UNTRUSTED", "1")

import numpy as np
import numpy.typing as npt
import pyvips

from darkroomd import exif, gain_map, heic, iptc, jxl, raw
from darkroomd.colour import is_srgb, own_image, readable, to_network
from darkroomd.errors import Incomplete, Rejected, Retryable
from darkroomd.job import Limits, Picture, Raster, Tags
from darkroomd.scratch import BAND_BYTES, bands, forget, giant, room

pyvips.cache_set_max(0)  # a photo is opened once; cached operations only look like a leak
# opens every JPEG to look for a gain map, and knows less of the photo than the plain reader
pyvips.operation_block_set("VipsForeignLoadUhdr", True)

WRITABLE = ("jpeg", "png", "webp", "tiff", "avif")
ONLY_READ = ("gif", "heic", "raw", "jxl")

# (offset, bytes) of each format's signature
SIGNATURES = {
    "jpeg": [(0, b"\xff\xd8\xff")],
    "png": [(0, b"\x89PNG\r\n\x1a\n")],
    "webp": [(8, b"WEBP")],
    "tiff": [(0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")],
    "gif": [(0, b"GIF8")],
    "jxl": [(0, b"\xff\x0a"), (0, b"\0\0\0\x0cJXL ")],
    "raw": [(0, b"FUJIFILMCCD-RAW"), (0, b"IIRO"), (0, b"IIRS"), (0, b"MMOR"), (0, b"IIU\0"),
            (4, b"ftypcrx "), (0, b"FOVb"), (0, b"\0MRM"), (8, b"CR\x02")],
}  # fmt: skip
NOT_SUPPORTED = {
    "SVG": [(0, b"<svg"), (0, b"<?xml")],
    "PDF": [(0, b"%PDF")],
    "BMP": [(0, b"BM")],
    "PSD": [(0, b"8BPS")],
}
# brands of ISO base media files, which AVIF and HEIC are
BRANDS = {b"avif": "avif", b"avis": "avif", b"heic": "heic", b"heix": "heic", b"heim": "heic", b"heis": "heic"}
MOVING = {b"hevc", b"hevx", b"isom", b"mp41", b"mp42", b"qt  "}
# kinds of pixels that only cameras' raw files have: a colour filter array, linear light of the sensor
RAW_PHOTOMETRICS = {32803, 34892}

# how phones' XMP says that a film follows the photo
MOTION = re.compile(rb"(MotionPhoto|MicroVideo)(=[\"']|>)1")
# what giants are called that cannot be decoded in bands
WHOLE = {"jpeg": "a progressive JPEG", "png": "an interlaced PNG", "webp": "a WebP", "avif": "an AVIF",
         "heic": "a HEIC", "raw": "a camera's raw file", "jxl": "a JPEG XL"}  # fmt: skip
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
# and these when there is no memory, or when nothing is wrong with a file that it has no reader for
NO_MEMORY = ("out of memory", "insufficient memory", "cannot allocate", "memory allocation", "no space for")
UNKNOWN_KIND = ("samples out of range", "unsupported", "not supported")
SAMPLES = "supported are TIFF files of 8 and 16 bits without a sign, and of float samples of 16 and 32"
KINDS = {"uint": "32-bit integer", "int": "32-bit integer", "double": "64-bit float", "short": "signed 16-bit"}
MORE_OF_IT = {"tiff": f"; {SAMPLES}"}


def decoded(descriptor: int, limits: Limits) -> Picture:
    """The photo in an open file, upright.

    Rejected, in a user's words, when it is empty, not a photo, of a kind that is not supported, or beyond `limits`
    (from the header, before decoding); Incomplete when it ends too early. Retryable when a giant has no room.
    """
    size = os.fstat(descriptor).st_size
    if size == 0:
        raise Incomplete("the file is empty")
    if size > limits.max_file_mb * 1e6:
        raise Rejected(f"the file is {size / 1e6:.0f} MB; limits.max_file_mb allows {limits.max_file_mb:g}")
    form, troubles = format_of(descriptor), list[OSError]()
    if form in ("heic", "raw", "jxl"):
        raster = _by_another(form, descriptor, limits)
        image, tags, notes, way_up = _image_of(raster.pixels), raster.tags, list(raster.notes), 1
        sample_bits, decoding_mb = raster.bits, 2 * raster.pixels.nbytes / 1e6 if giant(raster.pixels.nbytes) else 0.0
    else:
        image = _header_or_refusal(descriptor, form, troubles)
        within(image.width, image.height, limits)
        tags, notes, way_up = _tags(image, form, descriptor), _left_out(image, form), _way_up(image, form)
        sample_bits, decoding_mb = _bits(image), _decoding_mb(image, form)
    if decoding_mb:
        notes.append(f"{WHOLE[form]} must be decoded whole: that took about {decoding_mb:.0f} MB of memory more")
    try:
        image, more, bits = _samples(image, sample_bits)
        pixels, alpha = _filled(image, way_up)
        own, pixels, tags, lost = _for_networks(pixels, tags)
    except pyvips.Error as error:
        raise _refusal(error, form, troubles) from error
    quality, subsampled, brighter = None, True, None
    if form == "jpeg":
        brighter, gone = _gain_map(descriptor, way_up, limits)
        if brighter is None and not gone and b"hdrgm:Version" in (tags.xmp or b""):
            gone.append("its HDR gain map is not there: left out")
        lost += gone
        quality = jpeg_quality(os.pread(descriptor, 1 << 16, 0))
        subsampled = "jpeg-chroma-subsample" not in image.get_fields() or image.get("jpeg-chroma-subsample") != "4:4:4"
    return Picture(
        pixels, alpha, form, tags, bits, own, quality, subsampled,
        form in ("png", "tiff", "gif", "raw") or (form == "webp" and _webp_is_lossless(descriptor)),
        brighter, tuple(notes + more + lost), decoding_mb,
    )  # fmt: skip


def format_of(descriptor: int) -> str:
    """One of WRITABLE or ONLY_READ, by the file's content. Rejected when it is none of them."""
    head = os.pread(descriptor, 64, 0)
    if head[4:8] == b"ftyp":
        return _brand(head)
    for form in ("raw", *SIGNATURES):
        if any(head[at : at + len(mark)] == mark for at, mark in SIGNATURES[form]):
            is_raw = form == "tiff" and exif.photometrics(_reader(descriptor)) & RAW_PHOTOMETRICS
            return "raw" if is_raw else form
    for form, marks in NOT_SUPPORTED.items():
        if any(head[at : at + len(mark)] == mark for at, mark in marks):
            raise Rejected(f"{form} files are not supported; supported are: {', '.join(WRITABLE + ONLY_READ)}")
    raise Rejected(f"not a photo: the content is none of {', '.join(WRITABLE + ONLY_READ)}")


def packet_of(descriptor: int) -> bytes | None:
    """The XMP of an open file, from its head alone; None when it has none or is no picture. Retryable by the disk."""
    try:
        image = _header_or_refusal(descriptor, format_of(descriptor), [])
    except (Rejected, Incomplete):
        return None
    return bytes(image.get("xmp-data")) if "xmp-data" in image.get_fields() else None


def check_file(descriptor: int, width: int, height: int) -> None:
    """Read every byte of a file that was just written; Retryable unless it is a picture of this size."""
    try:
        image = _header(descriptor, [])
        if (image.width, image.height) != (width, height):
            raise Retryable(f"wrote {image.width}×{image.height} pixels instead of {width}×{height}")
        # all of its codes, but one pixel in 64: twice as fast
        if image.get("vips-loader").startswith("jpegload") and min(width, height) >= 8:
            image = _header(descriptor, [], shrink=8)
        image.avg()
    except pyvips.Error as error:
        raise Retryable(f"what was written does not decode: {_short(error)}") from error


def within(width: int, height: int, limits: Limits) -> None:
    """Rejected when a picture of this size is beyond the limits."""
    if width * height > limits.max_megapixels * 1e6:
        raise Rejected(
            f"the picture is {width}×{height} ({width * height / 1e6:.0f} megapixels); "
            f"limits.max_megapixels allows {limits.max_megapixels:g}"
        )


def _header(descriptor: int, troubles: list[OSError], **options: int) -> Any:
    """The libvips image of an open file, nothing of it decoded yet. pyvips.Error when it is none, or when the disk
    fails while it is read, now or later: what it said is then in `troubles`."""
    source = _streamed(descriptor, troubles)
    return pyvips.Image.new_from_source(source, "", access="sequential", fail_on="truncated", **options)


def _streamed(descriptor: int, troubles: list[OSError]) -> Any:
    """An open file for libvips, read piece by piece.

    Given the descriptor itself it would map the file: of 400 megapixels 130 MB that count as ours, and where the disk
    fails a signal that ends the process instead of an error.
    """
    at, source = 0, pyvips.SourceCustom()
    size = os.fstat(
        descriptor
    ).st_size  # here: what goes wrong while libvips asks would be lost, and the file called damaged

    def read(buffer: Any) -> int:
        nonlocal at
        try:
            count = os.preadv(descriptor, [buffer], at)
        except OSError as error:
            troubles.append(error)  # libvips forgets it, and calls the file damaged or none that it knows
            return -1
        at += count
        return count

    def seek(offset: int, whence: int) -> int:
        nonlocal at
        at = offset + (0, at, size)[whence]
        return at

    source.signal_connect("read", read)
    source.on_seek(seek)
    return source


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
    [10, 11, 12, 12, 13, 14, 14, 14, 16, 16, 16, 17, 18, 19, 22, 22, 24, 24, 24, 26, 29, 35, 37, 40, 40, 49, 51, 51,
     55, 55, 56, 56, 57, 58, 60, 61, 62, 64, 64, 68, 69, 72, 77, 78, 80, 81, 87, 87, 92, 92,
     95, 98, 99, 100, 101, 103, 103, 103, 104, 109, 112, 113, 120, 121]
)  # fmt: skip


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
        for form in WRITABLE
    }


def _brand(head: bytes) -> str:
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))]
    if brands[0] == b"crx ":
        return "raw"
    for brand in brands:
        if brand in BRANDS:
            return BRANDS[brand]
    if any(brand in MOVING for brand in brands):
        raise Rejected("a film, not a photo")
    raise Rejected(f"not a photo: the content is none of {', '.join(WRITABLE + ONLY_READ)}")


def _by_another(form: str, descriptor: int, limits: Limits) -> Raster:
    """What libvips' wheel does not read; each library in its own file, which loads it late."""
    read = {"heic": heic.read, "raw": raw.read, "jxl": jxl.read}[form]
    raster = read(descriptor, lambda width, height: within(width, height, limits))
    if form == "raw":
        block = exif.from_tiff(_reader(descriptor))
        return replace(raster, tags=replace(raster.tags, exif=block)) if block is not None else raster
    return raster


def _header_or_refusal(descriptor: int, form: str, troubles: list[OSError]) -> Any:
    try:
        return _header(descriptor, troubles)
    except pyvips.Error as error:
        if form == "png" and 0 in (width_height := _png_size(descriptor)):
            raise Rejected(f"the picture has no pixels ({width_height[0]}×{width_height[1]})") from error
        raise _refusal(error, form, troubles) from error


def _png_size(descriptor: int) -> tuple[int, int]:
    head = os.pread(descriptor, 24, 0)
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def _refusal(error: Exception, form: str, troubles: list[OSError]) -> Rejected | Retryable | MemoryError:
    said = _short(error)
    if troubles:
        return Retryable(f"the file cannot be read: {troubles[0].strerror}")
    if any(words in str(error).lower() for words in NO_MEMORY):
        return MemoryError(said)
    if "system error: " in str(error):  # of the disk, and not of the bytes on it
        return Retryable(f"the file cannot be read: {said.removeprefix('system error: ')}")
    if any(words in said.lower() for words in UNKNOWN_KIND):
        return Rejected(f"{form.upper()} files of this kind are not supported ({said}){MORE_OF_IT.get(form, '')}")
    if any(words in said.lower() for words in ENDS_EARLY):
        return Incomplete(f"the {form.upper()} file ends too early ({said})")
    return Rejected(f"the {form.upper()} file is damaged ({said})")


def _short(error: Exception) -> str:
    """The last line of what a library says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:160] if lines else type(error).__name__


def _reader(descriptor: int) -> exif.Read:
    """For files that lie: there is nothing at an offset that no file reaches."""
    return lambda at, count: os.pread(descriptor, count, at) if at < 1 << 62 else b""


def _image_of(pixels: npt.NDArray[Any]) -> Any:
    wide, count = pixels.dtype == np.uint16, pixels.shape[2]
    interpretation = ("grey16" if wide else "b-w") if count < 3 else ("rgb16" if wide else "srgb")
    return pyvips.Image.new_from_array(pixels).copy(interpretation=interpretation)


def _bits(image: Any) -> int:
    said = image.get("bits-per-sample") if "bits-per-sample" in image.get_fields() else 8
    return max(8, int(said)) if image.format == "ushort" else {"uchar": 8, "float": 32}.get(image.format, 16)


def _decoding_mb(image: Any, form: str) -> float:
    """What a giant takes beside its pixels because its codes do not come from top to bottom."""
    samples, fields = int(image.width * image.height * image.bands), image.get_fields()
    if not giant(samples * (2 if image.format == "ushort" else 1)):
        return 0.0
    if form == "jpeg" and "jpeg-multiscan" in fields and image.get("jpeg-multiscan"):
        halved = "jpeg-chroma-subsample" in fields and image.get("jpeg-chroma-subsample") != "4:4:4"
        return 2 * samples / (2 if halved and image.bands == 3 else 1) / 1e6  # its coefficients, two bytes each
    if form == "png" and "interlaced" in fields and image.get("interlaced"):
        return samples * (2 if image.format == "ushort" else 1) / 1e6
    return 2 * samples * (2 if image.format == "ushort" else 1) / 1e6 if form in ("webp", "avif") else 0.0


def _left_out(image: Any, form: str) -> list[str]:
    notes, fields = [], image.get_fields()
    pages = image.get("n-pages") if "n-pages" in fields else 1
    if pages > 1 and form != "avif":
        notes.append(f"the file holds {pages} pictures: only the first was enhanced")
    if form == "jpeg" and "xmp-data" in fields and MOTION.search(image.get("xmp-data")):
        notes.append("the film behind the photo was left out")
    return notes


def _gain_map(descriptor: int, way_up: int, limits: Limits) -> tuple[bytes | None, list[str]]:
    """The JPEG's HDR gain map, upright like the photo, and what became of it."""
    file = gain_map.found(_reader(descriptor), os.fstat(descriptor).st_size)
    if file is None:
        return None, []
    try:
        image = pyvips.Image.jpegload_buffer(file, fail_on="truncated")
        if image.width * image.height > limits.max_megapixels * 1e6:
            raise ValueError("larger than a photo may be")
        stored = image.numpy().reshape(image.height, image.width, image.bands)
        if way_up == 1:
            return gain_map.dressed(file, file), []
        kind = "b-w" if image.bands == 1 else "srgb"
        turned = pyvips.Image.new_from_array(np.ascontiguousarray(_upright(stored, way_up))).copy(interpretation=kind)
        return gain_map.dressed(turned.jpegsave_buffer(Q=95, subsample_mode="off", keep="none"), file), []
    except (pyvips.Error, ValueError):
        return None, ["its HDR gain map is damaged: left out"]


def _way_up(image: Any, form: str) -> int:
    """1 to 8 as in EXIF. libvips turns AVIF pictures by itself."""
    return int(image.get("orientation")) if form != "avif" and "orientation" in image.get_fields() else 1


def _tags(image: Any, form: str, descriptor: int) -> Tags:
    fields = set(image.get_fields())

    def blob(name: str) -> bytes | None:
        return bytes(image.get(name)) if name in fields and image.get(name) else None

    block = exif.from_tiff(_reader(descriptor)) if form == "tiff" else blob("exif-data")
    records = blob("iptc-data")
    texts = [(name.split("-", 3)[3], image.get(name)) for name in sorted(fields) if name.startswith("png-comment-")]
    known = "resolution-unit" in fields or (form == "png" and image.xres != 1)
    block = None if block is None else block.removeprefix(b"Exif\0\0")
    dots = None if block is None else exif.dots_per_mm(block)
    if dots is None and known:
        dots = image.xres, image.yres
    return Tags(
        exif=block,
        xmp=blob("xmp-data"),
        iptc=None if records is None else iptc.records(records) or None,
        icc=blob("icc-profile-data"),
        dots_per_mm=dots,
        texts=tuple((name, text) for name, text in texts if not name.startswith(("XML:", "Raw profile"))),
    )


def _samples(image: Any, bits: int) -> tuple[Any, list[str], int]:
    """Grey, RGB or CMYK of 8 or 16 bits or float, with or without alpha; what that cost; bits of a sample."""
    lost: list[str] = []
    if image.interpretation in ("lab", "labs", "labq", "xyz", "lch", "hsv", "yxy"):
        lost.append(f"converted from {image.interpretation} to sRGB")
        image, bits = image.colourspace("rgb16"), 16
    if image.format not in ("uchar", "ushort", "float"):
        raise Rejected(f"files of {KINDS.get(image.format, image.format)} samples are not supported; {SAMPLES}")
    colours = 4 if image.interpretation == "cmyk" else 1 if image.bands < 3 else 3
    if image.bands > colours + 1:
        image = image[: colours + 1] if image.hasalpha() else image[:colours]
        lost.append("extra channels beyond colour and alpha were left out")
    kind = {1: {"uchar": "b-w", "ushort": "grey16", "float": "b-w"}, 3: {"uchar": "srgb", "ushort": "rgb16"}}
    known = kind.get(colours, {}).get(image.format, image.interpretation)
    image = image.copy(interpretation=known)
    if image.format == "ushort" and bits in (10, 12):  # libvips leaves their lowest bits 0, and white would be grey
        full = (1 << bits) - 1
        image = ((image >> (16 - bits)) * (65535 / full)).rint().cast("ushort").copy(interpretation=known)
    return image, lost, bits


def _filled(image: Any, way_up: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """(colours, alpha) of the upright picture, decoded from top to bottom in bands that are let go on the way."""
    dtype = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}[image.format]
    colours = 4 if image.interpretation == "cmyk" else 1 if image.bands < 3 else 3
    size = (image.height, image.width) if way_up < 5 else (image.width, image.height)
    whole = (image.height, image.width, image.bands)
    row_bytes = image.width * image.bands * np.dtype(dtype).itemsize
    if not giant(image.height * row_bytes):
        stored = np.frombuffer(image.write_to_memory(), dtype).reshape(whole)
        upright = stored if way_up == 1 else np.ascontiguousarray(_upright(stored, way_up))
        if image.bands == colours:
            return upright, None
        return np.ascontiguousarray(upright[:, :, :colours]), np.ascontiguousarray(upright[:, :, colours:])
    pixels = room((*size, colours), dtype)
    alpha = room((*size, 1), dtype) if image.bands > colours else None
    # one region for the whole walk: separate crops of a file that can be read once only would each read ahead
    # a band of a picture that lies touches every page of the upright one: few of them, in pieces
    lies = way_up >= 5
    region, waiting_bytes = pyvips.Region.new(image), 0
    step, columns = (max(1, (48 << 20) // row_bytes), 4096) if lies else (max(1, (2 << 20) // row_bytes), image.width)
    for top in range(0, image.height, step):
        rows = min(step, image.height - top)
        data = region.fetch(0, top, image.width, rows)
        band = np.frombuffer(data, dtype).reshape(rows, image.width, image.bands)
        for left in range(0, image.width, columns):
            part = (slice(top, top + rows), slice(left, left + columns))
            _as_stored(pixels, way_up)[part] = band[:, part[1], :colours]
            if alpha is not None:
                _as_stored(alpha, way_up)[part] = band[:, part[1], colours:]
            waiting_bytes += BAND_BYTES if lies else band.nbytes
            if waiting_bytes >= BAND_BYTES:
                forget(pixels, alpha)
                waiting_bytes = 0
    return pixels, alpha


def _upright(stored: npt.NDArray[Any], way_up: int) -> npt.NDArray[Any]:
    return _as_stored(stored, {6: 8, 8: 6}.get(way_up, way_up))


def _as_stored(upright: npt.NDArray[Any], way_up: int) -> npt.NDArray[Any]:
    """A view of the upright picture in which its rows and columns are those of the file (EXIF orientation 1 to 8)."""
    view = upright.swapaxes(0, 1) if way_up >= 5 else upright
    rows = slice(None, None, -1 if way_up in (3, 4, 6, 7) else 1)
    columns = slice(None, None, -1 if way_up in (2, 3, 7, 8) else 1)
    return view[rows, columns]


def _for_networks(
    pixels: npt.NDArray[Any], tags: Tags
) -> tuple[npt.NDArray[Any] | None, npt.NDArray[Any], Tags, list[str]]:
    """(the file's own pixels if a network cannot take them, pixels for the network, tags, what was lost)."""
    lost, count = [], pixels.shape[2]
    if tags.icc is not None and not readable(tags.icc, count):
        lost.append("its colour profile is damaged, or for another kind of picture: left out")
        tags = replace(tags, icc=None)
    wide = tags.icc is not None and count == 3 and not is_srgb(tags.icc, count)
    if pixels.dtype != np.float32 and count != 4 and not wide:
        return None, pixels, tags, lost
    own = own_image(pixels, tags)
    seen = to_network(own, tags)
    result = room((*pixels.shape[:2], 1 if count == 1 else 3), np.uint16)
    for rows in bands(result):
        part = seen.crop(0, rows.start, seen.width, rows.stop - rows.start)
        result[rows] = part.numpy().reshape(rows.stop - rows.start, seen.width, -1)
        forget(pixels)
    return pixels, result, tags, lost


def _webp_is_lossless(descriptor: int) -> bool:
    head = os.pread(descriptor, 4096, 0)
    at = 12
    while at + 8 <= len(head) and head[at : at + 4] not in (b"VP8 ", b"VP8L"):
        length = int.from_bytes(head[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    return head[at : at + 4] == b"VP8L"
