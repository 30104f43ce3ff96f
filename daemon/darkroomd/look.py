"""What is wrong with a picture, and what cannot be brought back.

Measured, not learned: noise, blur and block edges per cell by the core, summed up so that texture is not taken
for noise. The constants were fitted on training pictures with known damage (training/fit_look.py has the error).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from darkroomd._core import Measurement, measure
from darkroomd.device import Detector, detector
from darkroomd.faces import faces
from darkroomd.job import Box, Engine, Face, Findings, Picture, Region
from darkroomd.lines import lines
from darkroomd.scratch import bands

Found = TypeVar("Found", Face, Box)

CELL = 64

# noise is read where the picture is calm: this quantile of the cells, counted from the quietest
QUIET_QUANTILE = 0.10
# blur is read where edges are strong: cells beyond this quantile of edge strength
EDGE_QUANTILE = 0.90

# the core reads luma; noise that is independent in R, G and B is this much stronger in each of them
CHANNEL_NOISE_PER_LUMA_NOISE = 1.5
# softness, and the Gaussian sigma (pixels) that gives it to half of the training photographs
SOFTNESS_TO_SIGMA = ((0.58, 0.0), (0.70, 0.7), (0.754, 1.0), (0.861, 1.5), (0.906, 2.0), (0.93, 3.0))

CLIPPED_WORTH_SAYING_PERCENT = 1.0
BLUR_BEYOND_REPAIR_SIGMA = 2.5


def findings(picture: Picture, regions: frozenset[Region] = frozenset(), engine: Engine = Engine()) -> Findings:  # noqa: B008
    """Look at a picture; never modifies it. regions: what else to find, faces or text or both, where a detector is."""
    seen = _measured(picture.pixels)
    noise_sigma = _noise_sigma(seen)
    blur_sigma = _blur_sigma(seen)
    bright, dark = (100 * _share_of_pixels(share, picture) for share in (seen.bright, seen.dark))
    return Findings(
        megapixels=picture.megapixels,
        noise_sigma=noise_sigma,
        blur_sigma=blur_sigma,
        blockiness=_blockiness(seen),
        jpeg_quality=picture.jpeg_quality,
        clipped_percent=bright + dark,
        limits=_limits(bright, dark, blur_sigma),
        faces=_found(faces, picture, "faces", engine) if "faces" in regions else None,
        text=_found(lines, picture, "lines", engine) if "text" in regions else None,
    )


Finder = Callable[[Any, Detector], tuple[Found, ...]]


def _found(find: Finder[Found], picture: Picture, name: str, engine: Engine) -> tuple[Found, ...] | None:
    known = detector(name, engine)
    return None if known is None else find(picture.pixels, known)


@dataclass(frozen=True, slots=True)
class _Maps:
    """Of a giant that was measured band by band: the core's maps, one below the other."""

    noise_sigma: npt.NDArray[np.float32]
    edge: npt.NDArray[np.float32]
    softness: npt.NDArray[np.float32]
    blockiness: npt.NDArray[np.float32]
    dark: npt.NDArray[np.float32]
    bright: npt.NDArray[np.float32]


def _measured(pixels: Any) -> Measurement | _Maps:
    parts = [measure(pixels[rows], CELL) for rows in bands(pixels, CELL)]
    if len(parts) == 1:
        return parts[0]
    return _Maps(**{one.name: np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(_Maps)})


def _share_of_pixels(per_cell: npt.NDArray[np.float32], picture: Picture) -> float:
    """The mean over pixels of a share per cell: the last cells are smaller than the others."""
    rows, columns = (
        np.minimum(CELL, length - CELL * np.arange(count))
        for length, count in zip((picture.height, picture.width), per_cell.shape, strict=True)
    )
    return float(rows @ per_cell @ columns) / (picture.width * picture.height)


def _noise_sigma(seen: Measurement | _Maps) -> float:
    """0 for a picture too small to tell."""
    told = np.isfinite(seen.noise_sigma)
    unclipped = told & (seen.bright < 0.2) & (seen.dark < 0.2)
    cells = seen.noise_sigma[unclipped if unclipped.any() else told]
    return CHANNEL_NOISE_PER_LUMA_NOISE * float(np.quantile(cells, QUIET_QUANTILE)) if cells.size else 0.0


def _blur_sigma(seen: Measurement | _Maps) -> float | None:
    edged = np.isfinite(seen.softness)
    if not edged.any():
        return None
    strong = edged & (seen.edge >= np.quantile(seen.edge[edged], EDGE_QUANTILE))
    shares, sigmas = zip(*SOFTNESS_TO_SIGMA, strict=True)
    return float(np.interp(np.median(seen.softness[strong]), shares, sigmas))


def _blockiness(seen: Measurement | _Maps) -> float:
    told = seen.blockiness[np.isfinite(seen.blockiness)]
    return float(np.median(told)) if told.size else 1.0


def _limits(bright_percent: float, dark_percent: float, blur_sigma: float | None) -> tuple[str, ...]:
    said = []
    if bright_percent >= CLIPPED_WORTH_SAYING_PERCENT:
        said.append(f"{bright_percent:.0f} % of the picture is clipped to white: nothing to reconstruct there")
    if dark_percent >= CLIPPED_WORTH_SAYING_PERCENT:
        said.append(f"{dark_percent:.0f} % of the picture is clipped to black: nothing to reconstruct there")
    if blur_sigma is not None and blur_sigma >= BLUR_BEYOND_REPAIR_SIGMA:
        said.append("strong blur: only partly recoverable; a sharper original would help more than any mode")
    return tuple(said)
