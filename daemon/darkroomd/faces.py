"""Where the faces in a picture are: boxes, eyes, noses and mouths, by the detector `faces` (YuNet)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from darkroomd.device import Detector
from darkroomd.job import Face
from darkroomd.scratch import resized

# the detector sees squares of this side; a face is found from about 10 pixels wide up to half a square
SIDE = 640
# the whole picture in one square finds large faces; at this longest side, in squares that overlap, small ones appear
LARGE_SIDE = 1600
OVERLAP = 128  # more than a face that the smaller view would miss

# on photographs without faces, lamps and rocks reached 0.76; on old photographs, faces 20 pixels wide still reach 0.8
SCORE = 0.78
STRIDES = (8, 16, 32)
SAME_FACE = 0.3  # of the smaller box, covered by the other

Points = npt.NDArray[np.float32]


def faces(pixels: Any, detector: Detector) -> tuple[Face, ...]:
    """Every face, the surest first. pixels: (height, width, 1 or 3), uint8 or uint16, upright."""
    height, width = pixels.shape[:2]
    found: list[Face] = []
    seen = pixels
    for side in dict.fromkeys((max(SIDE, min(LARGE_SIDE, max(width, height))), SIDE)):
        factor = side / max(width, height)
        seen = resized(seen, max(1, round(width * factor)), max(1, round(height * factor)))  # the smaller of the larger
        small = _eight_bit_colour(seen)
        for left, top in _squares(small.shape[1], small.shape[0]):
            square = np.zeros((SIDE, SIDE, 3), np.float32)
            part = small[top : top + SIDE, left : left + SIDE]
            square[: part.shape[0], : part.shape[1]] = part[..., ::-1]  # it knows blue, green, red
            answers = detector.run(np.ascontiguousarray(square.transpose(2, 0, 1)[None]))
            for score, corners in _decoded(answers):
                points = (corners + np.array([left, top], np.float32)) / factor
                face = Face(
                    left=float(points[0, 0]), top=float(points[0, 1]),
                    width=float(points[1, 0] - points[0, 0]), height=float(points[1, 1] - points[0, 1]),
                    points=tuple((float(x), float(y)) for x, y in points[2:]), score=round(score, 3),
                )  # fmt: skip
                if _is_plausible(face, width, height):
                    found.append(face)
    return _each_once(found)


def _eight_bit_colour(pixels: Any) -> npt.NDArray[np.uint8]:
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _squares(width: int, height: int) -> Iterator[tuple[int, int]]:
    for top in _starts(height):
        for left in _starts(width):
            yield left, top


def _starts(length: int) -> list[int]:
    if length <= SIDE:
        return [0]
    count = -(-(length - OVERLAP) // (SIDE - OVERLAP))
    return [round(n * (length - SIDE) / (count - 1)) for n in range(count)]


def _decoded(answers: dict[str, Any]) -> Iterator[tuple[float, Points]]:
    """(score, corners and landmarks as seven points in the square's pixels), as YuNet's authors decode them.

    For each stride, one row for each cell: class and object scores, whose product's root is the score; the box's
    centre as an offset from the cell and its sides as logarithms; landmarks as offsets: all in cells.
    """
    for stride in STRIDES:
        likely, there = (np.clip(answers[f"{name}_{stride}"][0, :, 0], 0, 1) for name in ("cls", "obj"))
        scores = np.sqrt(likely * there)
        for cell in np.flatnonzero(scores >= SCORE):
            corner = np.array([cell % (SIDE // stride), cell // (SIDE // stride)], np.float32)
            box, landmarks = answers[f"bbox_{stride}"][0, cell], answers[f"kps_{stride}"][0, cell]
            centre, half = corner + box[:2], np.exp(box[2:]) / 2
            points = np.concatenate([[centre - half, centre + half], landmarks.reshape(5, 2) + corner])
            yield float(scores[cell]), (points * stride).astype(np.float32)


def _is_plausible(face: Face, width: int, height: int) -> bool:
    """Inside the picture for the most part, and eyes apart, on the other side of the nose than the mouth."""
    right_eye, left_eye, _nose, right_mouth, left_mouth = (np.array(point) for point in face.points)
    eyes, mouth = (right_eye + left_eye) / 2, (right_mouth + left_mouth) / 2
    seen = (
        min(face.left + face.width, width) - max(face.left, 0),
        min(face.top + face.height, height) - max(face.top, 0),
    )
    inside = max(seen[0], 0) * max(seen[1], 0) >= 0.5 * face.width * face.height
    return bool(inside and np.hypot(*(mouth - eyes)) >= 0.2 * face.height)


def _each_once(found: list[Face]) -> tuple[Face, ...]:
    kept: list[Face] = []
    for face in sorted(found, key=lambda face: -face.score):
        if all(_shared(face, other) <= SAME_FACE for other in kept):
            kept.append(face)
    return tuple(kept)


def _shared(one: Face, other: Face) -> float:
    across = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    down = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    smaller = min(one.width * one.height, other.width * other.height)
    return max(across, 0.0) * max(down, 0.0) / smaller
