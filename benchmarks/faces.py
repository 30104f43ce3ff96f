"""Who is in a picture, by a recogniser that no network has seen: dlib's, with the weights of face_recognition_models.

Both are benchmark packages, under the Boost licence and CC0; the product knows neither.
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.bench import Floats, codes


@dataclass(frozen=True)
class Face:
    """Where a face is: box as (left, top, right, bottom); shape: dlib's five landmarks."""

    box: tuple[int, int, int, int]
    shape: Any


@cache
def _tool(name: str) -> Any:
    import dlib  # noqa: PLC0415 - of the benchmarks' packages alone

    if name == "detector":
        return dlib.get_frontal_face_detector()
    spec = find_spec("face_recognition_models")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "models"
    if name == "landmarks":
        return dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat"))
    return dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat"))


def largest(picture: Floats) -> Face | None:
    """The largest face that is seen."""
    eight = codes(picture)
    found = max(_tool("detector")(eight, 1), key=lambda box: box.area(), default=None)
    if found is None:
        return None
    return Face((found.left(), found.top(), found.right(), found.bottom()), _tool("landmarks")(eight, found))


def identity(picture: Floats, face: Face) -> npt.NDArray[np.float64]:
    """128 numbers; two pictures of one person are nearer than 0.6."""
    return np.asarray(_tool("recogniser").compute_face_descriptor(codes(picture), face.shape))


def cheeks(face: Face) -> list[tuple[int, int, int]]:
    """(left, top, side) of a square of skin under each eye, beside the nose."""
    points = np.array([(p.x, p.y) for p in face.shape.parts()], dtype=np.float64)
    one, other, nose = points[:2].mean(axis=0), points[2:4].mean(axis=0), points[4]
    side = max(12, round(0.32 * float(np.hypot(*(one - other)))))
    found = []
    for eye in (one, other):
        centre = eye + 0.75 * (nose - (one + other) / 2) + 0.05 * (eye - nose)
        found.append((round(centre[0] - side / 2), round(centre[1] - side / 2), side))
    return found
