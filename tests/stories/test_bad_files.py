"""Bad files beside good photos: each is refused for a reason that its owner understands, and nothing else suffers."""

import os
import struct
import zlib

import pytest

from tests import pictures
from tests.command import until
from tests.stories.conftest import Home, noisy


def png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its data does not have."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(500))) + chunk(b"IEND", b"")
    )


WHOLE = pictures.jpeg_bytes(noisy(7))
BAD = {
    "empty.jpg": (b"", "the file is empty"),
    "truncated.jpg": (WHOLE[: len(WHOLE) // 2], "the JPEG file ends too early"),
    "truncated.png": (png(100, 100), "the PNG file ends too early"),
    "diary.jpg": (b"Dear diary, today I took no photo at all.\n", "not a photo: the content is none of jpeg, png"),
    "no-pixels.png": (png(0, 10), "the picture has no pixels (0×10)"),
    "bomb.png": (png(30000, 20000), "the picture is 30000×20000 (600 megapixels); limits.max_megapixels allows 500"),
    "phone.heic": (b"\0\0\0\x18ftypheic" + bytes(60), "the HEIC file is damaged"),
}


def test_bad_files_are_refused_with_a_reason_and_the_good_photo_beside_them_is_done(home: Home) -> None:
    for name, (content, _reason) in BAD.items():
        home.raw(name, content)
    home.raw("notes.txt", b"no photo, and nobody says so")
    home.photo("good.png", noisy())

    answer = home.once()

    assert answer.returncode == 1
    assert sorted(home.results()) == sorted(["good.png", *(f"failed/{name}.txt" for name in BAD)])
    said = {line.split("  ")[0].split(" -> ")[0]: line for line in answer.stdout.splitlines()}
    assert said.keys() == {"good.png", *BAD}
    status = home.status()
    assert status["counts"] == {"refused": len(BAD), "done": 1}
    reasons = {entry["source"].rpartition("/")[2]: entry["reason"] for entry in status["problems"]}
    for name, (_content, reason) in BAD.items():
        assert reasons[name].startswith(reason)
        assert reason in said[name]


def test_refused_files_are_not_tried_again_until_they_change(home: Home) -> None:
    photo = home.raw("cat.jpg", b"not yet a photo")
    assert home.once().returncode == 1
    again = home.once()
    assert (again.returncode, again.stdout) == (0, "")
    pictures.write_jpeg(photo, noisy())
    del home.originals[photo]  # it was its owner who changed it
    assert home.once().returncode == 0
    assert list(home.results()) == ["cat.jpg"]
    assert home.status()["problems"] == []


def test_the_service_waits_for_a_file_that_ends_too_early_and_does_it_when_the_rest_has_come(home: Home) -> None:
    photo = home.inbox / "cat.jpg"
    home.start()
    photo.write_bytes(WHOLE[: len(WHOLE) // 2])
    until(lambda: home.states() == {"cat.jpg": "waiting"}, "it waits")
    assert home.results() == {}
    with photo.open("ab") as file:
        file.write(WHOLE[len(WHOLE) // 2 :])
    home.until_done("cat.jpg")
    assert home.status()["problems"] == []


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_links_and_pipes_are_left_alone(home: Home, kind: str) -> None:
    if kind == "link":
        outside = pictures.write_png(home.folder / "elsewhere.png", noisy())
        (home.inbox / "photo.png").symlink_to(outside)
    else:
        os.mkfifo(home.inbox / "photo.png")
    assert home.once().returncode == 0
    assert home.results() == {}
