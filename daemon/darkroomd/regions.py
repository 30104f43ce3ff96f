"""Parts of a picture with a network of their own, and the soft masks with which its answer is laid over them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from darkroomd.job import Box, Face

# The portrait network has learned faces with this distance between their eyes, in pixels: others are shown to it at
# another size. Below the least there is nothing to go by: a face would be invented.
LEAST_EYE_DISTANCE = 8.0
SMALL_EYE_DISTANCE = 24.0
LARGE_EYE_DISTANCE = 128.0
EYE_DISTANCE_PER_WIDTH = 0.4  # of a face seen from the front; one in profile has its eyes closer together

# a face's ellipse, hair included: sides in widths and heights of the detector's box, and where it begins to fade
HAIR_WIDTH, HAIR_HEIGHT, HAIR_ABOVE = 0.85, 0.95, 0.12
SOLID = 0.65

# around a line of text, in heights of the line: what is treated as fully, and how far it fades
LINE_MARGIN, LINE_FADE = 0.2, 0.5
CONTEXT = 24  # pixels that a network sees around what it answers for
LARGEST_GROUP = 16_000_000  # pixels of lines that are treated together: their mask takes four bytes a pixel

Mask = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Patch:
    """Part of a picture, in pixels. turns: quarter turns against the clock that put it upright. factor: the size at
    which the network sees it. mask: (height, width), 1 where its answer counts, 0 where the picture stays.
    """

    box: Box
    turns: int
    factor: float
    mask: Mask


def eye_distance(face: Face) -> float:
    """In pixels, as if the face looked at the viewer."""
    (x0, y0), (x1, y1) = face.points[:2]
    return max(math.hypot(x1 - x0, y1 - y0), EYE_DISTANCE_PER_WIDTH * min(face.width, face.height))


def clear_faces(faces: Sequence[Face] | None) -> tuple[Face, ...]:
    """Those that are large enough to be restored rather than invented."""
    return tuple(face for face in faces or () if eye_distance(face) >= LEAST_EYE_DISTANCE)


def face_patches(faces: Sequence[Face], width: int, height: int) -> list[Patch]:
    """One for each clear face, with its hair."""
    patches = []
    for face in clear_faces(faces):
        distance = eye_distance(face)
        factor = 1.0
        if distance < SMALL_EYE_DISTANCE:
            factor = SMALL_EYE_DISTANCE / distance
        elif distance > LARGE_EYE_DISTANCE:
            factor = LARGE_EYE_DISTANCE / distance
        (x0, y0), (x1, y1) = face.points[:2]
        roll = math.atan2(y1 - y0, x1 - x0)
        up = math.sin(roll), -math.cos(roll)
        x = face.left + face.width / 2 + up[0] * HAIR_ABOVE * face.height
        y = face.top + face.height / 2 + up[1] * HAIR_ABOVE * face.height
        radii = HAIR_WIDTH * face.width, HAIR_HEIGHT * face.height
        reach = max(radii) + CONTEXT / min(factor, 1.0)
        box = _inside(x - reach, y - reach, x + reach, y + reach, width, height)
        patches.append(Patch(box, round(roll / (math.pi / 2)) % 4, factor, _ellipse(box, x, y, radii, roll)))
    return patches


def _ellipse(box: Box, x: float, y: float, radii: tuple[float, float], roll: float) -> Mask:
    down = np.arange(box.top, box.top + box.height, dtype=np.float32)[:, None] + 0.5 - y
    across = np.arange(box.left, box.left + box.width, dtype=np.float32) + 0.5 - x
    along = (across * math.cos(roll) + down * math.sin(roll)) / radii[0]
    upright = (down * math.cos(roll) - across * math.sin(roll)) / radii[1]
    return _soft((1 - np.hypot(along, upright)) / (1 - SOLID))


def line_patches(lines: Sequence[Box], width: int, height: int) -> list[Patch]:
    """Lines that lie near each other, together."""
    grown = [
        _inside(
            line.left - reach, line.top - reach, line.left + line.width + reach, line.top + line.height + reach,
            width, height,
        )
        for line in lines
        for reach in [(LINE_MARGIN + LINE_FADE) * min(line.height, line.width) + CONTEXT]
    ]  # fmt: skip
    patches = []
    for box, members in _groups(grown):
        mask = np.zeros((box.height, box.width), np.float32)
        for member in members:
            _add_line(mask, box, lines[member], grown[member])
        patches.append(Patch(box, 0, 1.0, mask))
    return patches


def _add_line(mask: Mask, box: Box, line: Box, grown: Box) -> None:
    size = min(line.height, line.width)
    down = np.arange(grown.top, grown.top + grown.height, dtype=np.float32)[:, None] + 0.5
    across = np.arange(grown.left, grown.left + grown.width, dtype=np.float32) + 0.5
    beyond = np.hypot(
        np.maximum(np.maximum(line.left - across, across - line.left - line.width), 0),
        np.maximum(np.maximum(line.top - down, down - line.top - line.height), 0),
    )
    part = mask[grown.top - box.top :, grown.left - box.left :][: grown.height, : grown.width]
    np.maximum(part, _soft(1 + (LINE_MARGIN * size - beyond) / (LINE_FADE * size + 1)), out=part)


def _groups(boxes: list[Box]) -> list[tuple[Box, list[int]]]:
    """Boxes that touch, with the box around them, as long as that is not too large."""
    groups = [(box, [n]) for n, box in enumerate(boxes)]
    merged = True
    while merged:
        merged = False
        rest: list[tuple[Box, list[int]]] = []
        for box, members in groups:
            for n, (other, others) in enumerate(rest):
                both = _around(box, other)
                if _touch(box, other) and both.width * both.height <= LARGEST_GROUP:
                    rest[n] = both, others + members
                    merged = True
                    break
            else:
                rest.append((box, members))
        groups = rest
    return groups


def _touch(one: Box, other: Box) -> bool:
    across = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    return across > 0 and min(one.top + one.height, other.top + other.height) > max(one.top, other.top)


def _around(one: Box, other: Box) -> Box:
    left, top = min(one.left, other.left), min(one.top, other.top)
    right = max(one.left + one.width, other.left + other.width)
    return Box(left, top, right - left, max(one.top + one.height, other.top + other.height) - top)


def _inside(left: float, top: float, right: float, bottom: float, width: int, height: int) -> Box:
    x, y = max(0, math.floor(left)), max(0, math.floor(top))
    return Box(x, y, max(1, min(width, math.ceil(right)) - x), max(1, min(height, math.ceil(bottom)) - y))


def _soft(rising: Any) -> Mask:
    """0 up to 0, 1 from 1 on, without a corner between."""
    clipped = np.clip(rising, 0, 1)
    return np.asarray(clipped * clipped * (3 - 2 * clipped), np.float32)
