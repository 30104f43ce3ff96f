"""What is wrong with a picture, and what cannot be brought back.

Noise, blur and visible compression are told by a small network (tiles.py); clipping, block edges and the file's own
JPEG quality are measured. Where the network is not, or the picture is too small for it, the core's measures stand in;
their constants were fitted on training pictures with known damage (training/fit_look.py has the error).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from darkroomd._core import Measurement, measure
from darkroomd.content import SAMPLED_PIXELS, content, shown
from darkroomd.device import Detector, detector, looker
from darkroomd.faces import faces
from darkroomd.job import MAP_CELL, Box, Engine, Face, Findings, Maps, Picture, Region
from darkroomd.lines import lines
from darkroomd.resolution import enlarged
from darkroomd.scratch import bands, sampled
from darkroomd.tiles import Seen
from darkroomd.tiles import seen as seen_by_network

Found = TypeVar("Found", Face, Box)

CELL = MAP_CELL
# the network that looks takes 8 MB for each, and keeps them; more at once are no quicker, one alone takes 12 % longer
TILES_AT_ONCE = 2

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
MOVED = 0.6
MOVED_BEYOND_REPAIR_SIGMA = 2.0  # across the movement a picture is sharp: the same number is more loss than of a lens
DARK_PERCENT = 12.0  # a thirtieth of the light left training photographs at 9 to 11 %, few night scenes are below 16
PLAIN_LEVELS = 3.0  # standard deviation of the luma in a picture of nothing
# an earlier save shows beneath the last one when it is at least this much stronger
EARLIER_SAVE = 15

# where the strongest edges are as crisp as this and it is not noise or blocks that make them so, there is no blur
CRISP_SIGMA = 0.3
CALM_SIGMA = 3.0
EVEN_BLOCKINESS = 1.5
DRAWN_SHARE = 0.5
DRAWN_ACROSS_BLOCKS = 0.9
SLOPE_PER_NOISE = 0.89  # mean slope of even noise with sigma 1
# the steepest tenth of a photograph beside its noise of sigma 1 or 2: 10 and more; of one blurred beyond use: 1 to 4
EDGE_PER_NOISE = 5.0
# how many times a picture was enlarged for each pixel of its blur (nine portraits, enlarged 1.5 to 6 times)
ENLARGED_PER_BLUR = 2.5
LEAST_ENLARGED = 2.0  # the least that leaves a trace which can be told
# where there is so much noise, and the picture beneath is less than this share of it, nobody can tell what it shows
STRONG_NOISE_SIGMA, LEAST_SIGNAL = 20.0, 0.4


def findings(picture: Picture, regions: frozenset[Region] = frozenset(), engine: Engine = Engine()) -> Findings:  # noqa: B008
    """Look at a picture; never modifies it. regions: what else to find, faces or text or both, where a detector is."""
    measured = _measured(picture.pixels)
    network = looker(engine)
    told = None if network is None else seen_by_network(picture.pixels, _asking(network))
    noise_sigma = _noise_sigma(measured) if told is None else told.noise_sigma
    blur_sigma = _blur_sigma(measured)
    if told is not None and blur_sigma is not None:
        blur_sigma = _blur_told(told, blur_sigma, measured)
    bright, dark = (100 * _share_of_pixels(share, picture) for share in (measured.bright, measured.dark))
    found_faces = _found(faces, picture, "faces", engine) if "faces" in regions else None
    found_text = (
        _found(partial(lines, noise_sigma=noise_sigma), picture, "lines", engine) if "text" in regions else None
    )
    if found_faces and found_text:
        found_text = tuple(box for box in found_text if not any(_within(box, face) for face in found_faces))
    scene = shown(picture.pixels, found_faces or (), found_text or ())
    subject = content(scene)
    lost = 0.0 if subject == "document" else bright  # the white of paper and of screens was never anything else
    motion = None if told is None else told.motion
    # the network has not learned noise of more than 55
    noise = max(noise_sigma, _noise_sigma(measured)) if noise_sigma >= STRONG_NOISE_SIGMA else 0.0
    return Findings(
        megapixels=picture.megapixels,
        noise_sigma=noise_sigma,
        blur_sigma=blur_sigma,
        blockiness=_blockiness(measured),
        jpeg_quality=picture.jpeg_quality,
        clipped_percent=bright + dark,
        limits=_limits(lost, dark, blur_sigma, motion or 0.0, picture)
        + _limits_of_size(picture, blur_sigma)
        + _limits_of_tone(scene.luma, noise),
        faces=found_faces,
        text=found_text,
        visible_quality=_visible_quality(picture, told),
        motion=motion,
        grain=None if told is None else told.grain,
        brightness=float(scene.luma.mean()) / 2.55,
        content=subject,
        maps=None if told is None else _maps(told, measured),
    )


def new_faces(known: tuple[Face, ...], result: Picture, engine: Engine = Engine()) -> tuple[Face, ...]:  # noqa: B008
    """The faces of a result, of the original's size, that are none of those known."""
    return tuple(face for face in _found(faces, result, "faces", engine) or () if not any(face.meets(k) for k in known))


def _maps(told: Seen, measured: "Measurement | _Maps") -> Maps:
    """The network's tiles lie far apart in a large picture: between them linearly. Detail is measured everywhere."""
    shape = measured.edge.shape
    rows, columns = (
        np.interp(CELL * (np.arange(count) + 0.5), starts + told.side / 2, np.arange(len(starts)))
        for count, starts in zip(shape, (told.tops, told.lefts), strict=True)
    )
    noise, blur, quality = (
        _between(values, rows, columns) for values in (told.noise_map, told.blur_map, told.quality_map)
    )
    # the core takes texture for noise, the network reads channels: the luma's noise is the less of both
    luma_noise = np.minimum(np.nan_to_num(measured.noise_sigma), noise)
    detail = np.nan_to_num(measured.edge) - SLOPE_PER_NOISE * luma_noise
    return Maps(noise, blur, quality, np.maximum(detail, 0).astype(np.float32))


def _between(values: npt.NDArray[np.float32], rows: Any, columns: Any) -> npt.NDArray[np.float32]:
    down = np.array([np.interp(rows, np.arange(len(values)), column) for column in values.T]).T
    return np.array([np.interp(columns, np.arange(values.shape[1]), row) for row in down], np.float32)


def _asking(network: Detector) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    def ask(tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        few = (tiles[n : n + TILES_AT_ONCE] for n in range(0, len(tiles), TILES_AT_ONCE))
        return np.concatenate([np.asarray(network.run(part)["seen"], dtype=np.float32) for part in few])

    return ask


def _blur_told(told: Seen, measured_sigma: float, measured: "Measurement | _Maps") -> float:
    """The network's, unless there are plainly crisp edges; noise and blocks are crisp too, and do not count."""
    crisp = measured_sigma <= CRISP_SIGMA and told.noise_sigma < CALM_SIGMA
    if crisp and _blockiness(measured) < EVEN_BLOCKINESS and _edges_beyond_noise(measured, told.noise_sigma):
        return min(told.blur_sigma, CRISP_SIGMA)
    return told.blur_sigma


def _edges_beyond_noise(measured: "Measurement | _Maps", noise_sigma: float) -> bool:
    """Whether the strongest edges are far steeper than the noise: where they are not, noise is what is crisp."""
    told = measured.noise_sigma[np.isfinite(measured.noise_sigma)]
    quiet = float(np.quantile(told, QUIET_QUANTILE)) if told.size else 0.0
    luma_noise = min(quiet, noise_sigma / CHANNEL_NOISE_PER_LUMA_NOISE)  # the core takes texture for noise
    edges = measured.edge[np.isfinite(measured.edge)]
    return bool(np.quantile(edges, EDGE_QUANTILE) >= EDGE_PER_NOISE * SLOPE_PER_NOISE * luma_noise)


def _visible_quality(picture: Picture, told: Seen | None) -> int | None:
    """The file's own number is exact; what the pixels show counts where it is clearly worse, or there is no number."""
    if told is None:
        return picture.jpeg_quality
    shown = round(told.quality)
    if _drawn(picture):
        return picture.jpeg_quality
    if picture.jpeg_quality is None:
        return shown
    return shown if shown <= picture.jpeg_quality - EARLIER_SAVE else picture.jpeg_quality


def _drawn(picture: Picture) -> bool:
    """Whether most pixels are exactly as their neighbours, as in drawings: even, but not by compression."""
    step = max(1, round((picture.width * picture.height / SAMPLED_PIXELS) ** 0.5))
    rows = sampled(picture.pixels, step)
    if rows.shape[1] <= 8:
        return False
    same = (rows[:, 1:] == rows[:, :-1]).all(axis=2).mean(axis=0)
    # the blocks of a strongly compressed photograph are even inside, but not across their borders
    *inside, across = (float(same[column::8].mean()) for column in range(8))
    return float(same.mean()) >= DRAWN_SHARE and across >= DRAWN_ACROSS_BLOCKS * min(inside)


def _within(box: Box, face: Face) -> bool:
    """Whether the middle of a line lies in a face: brows and lashes follow each other as letters do."""
    x, y = box.left + box.width / 2 - face.left, box.top + box.height / 2 - face.top
    return 0 < x < face.width and 0 < y < face.height


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


def _limits(
    bright_percent: float, dark_percent: float, blur_sigma: float | None, motion: float, picture: Picture
) -> tuple[str, ...]:
    said = []
    if bright_percent >= CLIPPED_WORTH_SAYING_PERCENT:
        said.append(f"{bright_percent:.0f} % of the picture is clipped to white: nothing to reconstruct there")
    if dark_percent >= CLIPPED_WORTH_SAYING_PERCENT:
        said.append(f"{dark_percent:.0f} % of the picture is clipped to black: nothing to reconstruct there")
    if blur_sigma is not None and blur_sigma >= MOVED_BEYOND_REPAIR_SIGMA and motion >= MOVED:
        said.append("strong motion blur: hardly recoverable; another shot of the moment would help more than any mode")
    elif blur_sigma is not None and blur_sigma >= BLUR_BEYOND_REPAIR_SIGMA:
        width, height = (round(side / (ENLARGED_PER_BLUR * blur_sigma)) for side in (picture.width, picture.height))
        said.append(
            "strong blur: only partly recoverable; a sharper original would help more than any mode "
            f"(there is no more to see than in a picture of about {width}×{height} pixels)"
        )
    return tuple(said)


def _limits_of_size(picture: Picture, blur_sigma: float | None) -> tuple[str, ...]:
    """What strong blur hides is said already, with a size."""
    blur = blur_sigma or 0.0
    if blur >= BLUR_BEYOND_REPAIR_SIGMA or not enlarged(picture.pixels):
        return ()
    times = max(LEAST_ENLARGED, ENLARGED_PER_BLUR * blur)
    width, height = (round(side / times) for side in (picture.width, picture.height))
    return (
        f"enlarged from about {width}×{height} pixels: there is no more to see than in the small picture, of which "
        "mode upscale makes more",
    )


def _limits_of_tone(luma: npt.NDArray[np.float32], strong_noise: float) -> tuple[str, ...]:
    said = []
    if luma.mean() < 2.55 * DARK_PERCENT:
        said.append("very dark: no mode brightens it, and shadows hold more noise than picture")
    luma_noise = strong_noise / CHANNEL_NOISE_PER_LUMA_NOISE
    signal = max(0.0, float(luma.var()) - luma_noise**2) ** 0.5 if luma.size > 1 else PLAIN_LEVELS
    if luma.size > 1 and signal < LEAST_SIGNAL * luma_noise:
        said.append("hardly anything but noise: nothing that could be recognised; another shot is needed")
    elif signal < PLAIN_LEVELS and luma.size > 1:
        said.append("almost the same everywhere: there is too little in the picture to work on")
    return tuple(said)
