"""A corpus of damaged and hostile files, made by arithmetic: the same bytes each time.

`python -m tests.hostile FOLDER` writes it, for other programs to try.
"""

import io
import random
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image as Pillow

from tests import pictures
from tests.test_gain_map import phone_bytes

DATA = Path(__file__).parent / "data"
SCENE = pictures.scene(96, 64)
HTML = b"<!DOCTYPE html><script>fetch('http://127.0.0.1/')</script>"


def wholes() -> dict[str, bytes]:
    """One sound small photo of each format, and of each way to store it."""
    image = pictures.image_of(SCENE)
    grey = pictures.image_of(SCENE[:, :, :1])
    film = io.BytesIO()
    Pillow.fromarray(SCENE).save(film, "GIF", save_all=True, append_images=[Pillow.fromarray(SCENE[::-1])])
    inks = io.BytesIO()
    Pillow.fromarray(SCENE).convert("CMYK").save(inks, "JPEG")
    return {
        "jpg": bytes(image.jpegsave_buffer(Q=85)),
        "progressive.jpg": bytes(image.jpegsave_buffer(Q=85, interlace=True)),
        "cmyk.jpg": inks.getvalue(),
        "phone.jpg": phone_bytes(6),
        "png": bytes(image.pngsave_buffer()),
        "interlaced.png": bytes(grey.pngsave_buffer(interlace=True)),
        "tif": bytes(image.tiffsave_buffer(compression="lzw")),
        "tiled.tif": bytes(image.tiffsave_buffer(compression="deflate", tile=True, tile_width=32, tile_height=32)),
        "big.tif": bytes(image.tiffsave_buffer(bigtiff=True)),
        "webp": bytes(image.webpsave_buffer(Q=80)),
        "lossless.webp": bytes(image.webpsave_buffer(lossless=True)),
        "avif": bytes(image.heifsave_buffer(compression="av1", Q=60)),
        "gif": film.getvalue(),
        "heic": (DATA / "phone.heic").read_bytes(),
        "jxl": bytes(imagecodecs.jpegxl_encode(SCENE)),
    }


def corpus(seed: int = 20) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of more than 300 files, in a fixed order; other damage with another seed."""
    luck = random.Random(seed)
    for name, whole in wholes().items():
        for share in (0.02, 0.2, 0.5, 0.8, 0.97):
            yield f"truncated-{share}.{name}", whole[: int(len(whole) * share)]
        for n in range(7):  # single bits, most of them near the front, where the structure is
            data = bytearray(whole)
            for _ in range(1 + 3 * n):
                data[int(len(data) * luck.random() ** (2 if n % 2 else 1))] ^= 1 << luck.randrange(8)
            yield f"bits-{n}.{name}", bytes(data)
        for n in range(5):  # numbers in the header that lie
            data = bytearray(whole)
            at = luck.randrange(4, min(len(data) - 8, 220))
            data[at : at + 4] = (
                b"\xff\xff\xff\xff",
                b"\0\0\0\0",
                b"\x7f\xff\xff\xff",
                b"\x00\x00\x00\x01",
                b"\x80" * 4,
            )[n]
            yield f"header-{n}.{name}", bytes(data)
        for n in range(3):  # pieces of it in the wrong order
            cuts = sorted(luck.sample(range(8, len(whole)), 3))
            yield (
                f"shuffled-{n}.{name}",
                whole[: cuts[0]] + whole[cuts[1] : cuts[2]] + whole[cuts[0] : cuts[1]] + whole[cuts[2] :],
            )
        yield f"tail.{name}", whole + HTML
        yield f"twice.{name}", whole + whole
    yield from _bombs()
    yield from _liars(wholes())


def _bombs() -> Iterator[tuple[str, bytes]]:
    rows = zlib.compress(bytes(50_000_000), 9)
    yield "bomb.png", png(60000, 60000, rows)
    yield (
        "bomb-text.png",
        png(8, 8, zlib.compress(bytes(8 * 25)), [(b"zTXt", b"k\0\0" + zlib.compress(bytes(60_000_000), 9))]),
    )
    yield (
        "bomb-profile.png",
        png(8, 8, zlib.compress(bytes(8 * 25)), [(b"iCCP", b"k\0\0" + zlib.compress(bytes(60_000_000), 9))]),
    )
    yield "too-much-data.png", png(8, 8, rows)
    yield "no-rows.png", png(30000, 1, b"")
    yield "bomb.tif", _tiff(60000, 60000)
    yield "wide.png", png(60000, 1, zlib.compress(bytes(1 + 60000 * 3)))
    yield "tall.png", png(1, 60000, zlib.compress(bytes(60000 * 4)))
    frame = b"\x2c\0\0\0\0\1\0\1\0\0\x02\x02\x44\x01\0"
    head = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff"
    yield "million.gif", head + frame * 1_000_000 + b"\x3b"
    yield "huge.gif", b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff" + frame + b"\x3b"
    yield "loop.tif", _tiff(8, 8, next_directory=8)
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "ha"}">' for n in range(9))
    bomb = f'<!DOCTYPE x [{entities}]><x:xmpmeta xmlns:x="adobe:ns:meta/">darkroomd &a8;</x:xmpmeta>'.encode()
    yield "bomb-xmp.png", png(8, 8, zlib.compress(bytes(8 * 25)), [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + bomb)])
    deep = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>darkroomd " + b"<a>" * 50_000 + b"</a>" * 50_000 + b"</x:xmpmeta>"
    yield "deep-xmp.png", png(8, 8, zlib.compress(bytes(8 * 25)), [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + deep)])


def _liars(whole: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="99999" height="99999"><script>alert(1)</script></svg>'
    yield "picture.svg.jpg", svg
    yield "picture.xml.png", b'<?xml version="1.0"?>' + svg
    yield "text.tif", b"P6 99999 99999 255\n" + bytes(64)
    yield "script.gif", b"GIF89a=1;/*" + bytes(40) + b"*/alert(1)//"
    yield "page.jpg", HTML
    yield "shell.png", b"#!/bin/sh\nrm -rf /\n"
    yield "pdf.jpg", b"%PDF-1.7\n" + bytes(200)
    yield "zip.png", b"PK\3\4" + bytes(200)
    yield "matlab.tif", b"MATLAB 5.0 MAT-file" + bytes(200)
    yield "fits.tif", b"SIMPLE  =                    T" + bytes(200)
    yield "vips.png", b"\xb6\xa6\xf2\x08" + bytes(200)
    yield "film.heic", b"\0\0\0\x18ftypisom" + bytes(60)
    for one, other in (
        ("jpg", "png"),
        ("png", "webp"),
        ("webp", "tif"),
        ("gif", "jpg"),
        ("avif", "jpg"),
        ("tif", "png"),
    ):
        yield f"{one}-head.{other}", whole[one][:40] + whole[other]
        yield f"{other}-named.{one}", whole[other]
    bad = b"II*\0\x08\0\0\0\xff\xff" + b"\xff" * 60
    body = whole["jpg"]
    for n, exif in enumerate(
        (bad, bad[:9], b"", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\1\0\x69\x87\4\0\1\0\0\0\x08\0\0\0" + bytes(4))
    ):
        segment = b"Exif\0\0" + exif
        yield f"exif-{n}.jpg", body[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(segment)) + segment + body[2:]
    for n, profile in enumerate((b"not a profile", bytes(128), b"\xff" * 3000)):
        segment = b"ICC_PROFILE\0\1\1" + profile
        yield f"profile-{n}.jpg", body[:2] + b"\xff\xe2" + struct.pack(">H", 2 + len(segment)) + segment + body[2:]


def png(width: int, height: int, rows: bytes, more: list[tuple[bytes, bytes]] | None = None) -> bytes:
    """8-bit RGB, with any rows."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    extra = b"".join(chunk(kind, body) for kind, body in more or [])
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _tiff(width: int, height: int, next_directory: int = 0) -> bytes:
    """Uncompressed grey, with 64 bytes of pixels whatever its sides say."""
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 200),
            (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, width * height & 0xFFFFFFFF)]  # fmt: skip
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return (b"II*\0\x08\0\0\0" + body + struct.pack("<I", next_directory)).ljust(200, b"\0") + np.arange(
        64, dtype=np.uint8
    ).tobytes()


def write(folder: Path) -> list[Path]:
    """The corpus in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for n, (name, data) in enumerate(corpus()):
        paths.append(folder / f"{n:03d}-{name}")
        paths[-1].write_bytes(data)
    return paths


if __name__ == "__main__":
    print(len(write(Path(sys.argv[1]))), "files")
