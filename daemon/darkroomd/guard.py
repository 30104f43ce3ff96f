"""Checks of a result against its original, before anyone sees it, and what to do where one fails: less of it.

Every check looks at the result reduced to the original's size, in cells of 32 × 32 original pixels. The limits were set
on training photographs; benchmarks/guards.py says how often each trips on good results and on bad ones.
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from darkroomd._core import linear_from_srgb, mix
from darkroomd.job import GuardResult, Picture
from darkroomd.need import blended
from darkroomd.scratch import by_bands, forget

# the maps that the checks make need six times the picture's memory: beyond this it is checked band by band
BANDED_BYTES = 64 << 20
# 256 pixels a cell: the mean of noise with sigma 25 stays within 2 levels, a black patch does not
ROW_STEP = 4
CELL = 32

# the picture's low frequencies may move by this mean CIEDE2000: half of what a viewer notices side by side
COLOUR_LIMIT = 1.0
# and by this much more for each level of noise in the original: noise that is clipped at black and white lifts and
# lowers the means, so that taking it away must move them (0.10 to 0.145 on five pictures, bright and dark, sigma 5..55)
COLOUR_PER_NOISE_LEVEL = 0.15
# and by what the truth itself scores against its blurred or compressed picture (14 photographs, 5 portraits, 5 charts
# for training; blur of 1 to 3 pixels, JPEG 10 to 40): a check that refuses the truth is wrong. Coarseness: how much
# wider the steps of JPEG are than at quality 50, which is 4 at quality 10 and 1.5 at 20
COLOUR_PER_BLUR = 0.25
COLOUR_PER_COARSENESS = 0.75
AREA_PER_NOISE_LEVEL = 0.2
# and no single cell by this: a black or flat tile is ten times beyond it
AREA_LIMIT = 12.0

# grey (CIELAB chroma below) must not take on colour, and areas of pure white must stay white
NEUTRAL_CHROMA = 2.5
NEUTRAL_LIMIT = 2.5
WHITE_LIMIT_LEVELS = 3.0
NEUTRAL_PER_NOISE_LEVEL = 0.12
NEUTRAL_PER_COARSENESS = 1.4
WHITE_PER_COARSENESS_LEVELS = 0.4

# structure of 8 pixels and more that is this strong (8-bit levels) is no noise, and must not vanish
STRUCTURE_LEVELS = 6.0
FLAT_CELLS_LIMIT = 0.0
MOSAIC_NOISE_SIGMA, MOSAIC_BLUR_SIGMA = 2.5, 2.0
STRUCTURE_PER_COARSENESS_LEVELS = 3.0  # whole blocks of a strongly compressed picture are off by so much
MOSAIC_LIKENESS = 0.6  # between the fine structure before and after: a drawing is even too, but keeps its lines

# overshoot: what a result has beyond the range of the pixels around, where the original has a step of this many levels
HALO_REACH = 6
HALO_STEP_LEVELS = 24.0
HALO_LIMIT = 0.06
HALO_PER_BLUR = 0.055  # times sigma squared: beyond the reach, the edge that is put back is not there to compare with

# strokes: dark or light lines up to 8 pixels thick
STROKE_REACH = 4
STROKE_LEVELS = 36.0
STROKE_KEPT = 0.35
TEXT_LIMIT = 0.10
TEXT_PER_NOISE_LEVEL = 0.002
TEXT_PER_BLUR = 0.04
STROKES_HIDDEN_BLUR = 1.5  # pixels: from here on blur hides strokes that the truth has, and only lost ones count

# letters tell their own softness, as the network that looks, which has learned photographs, reads 0.2 to 2 of pages
# that moved by 8 pixels. What the truth scores against such pages: lines that movement had run together stand
# up in straight rows, and their strokes are hidden by less than what hides those of a photograph
LEAST_INK_LEVELS = 20
SHARP_LETTERS_SIGMA, SOFTEST_LETTERS_SIGMA = 0.5, 2.0  # by this measure: no blur at all, and movement by 8 pixels
SEAM_PER_SOFT_LETTERS_LEVELS = 3.0  # times sigma squared
STROKES_HIDDEN_SOFT_LETTERS = 1.1

SEAM_LENGTH = 128
SEAM_LIMIT_LEVELS = 2.0
SEAM_EDGE_LEVELS = 3.0  # a step of the original's own, within two pixels
SEAM_SIDE, SEAM_APART = 12, 4  # pixels on each side of a border that are compared, and how far from it they begin
SEAM_PER_BLUR_LEVELS = 1.2  # times sigma squared: lines that blur had hidden are no seams
SEAM_PER_COARSENESS_LEVELS = 0.4

# of the layout of light and dark in a face, as 1 - correlation over 24 × 24 areas
FACE_LIMIT = 0.06
FACE_PER_NOISE_LEVEL = 0.002
FACE_GRID = 24
# of the layout of a face that was not found in the original, over 8 × 8 areas: what was not there, as a share of what
# is there now. Of 36 faces laid over training photographs the least had 0.96; of 476 portraits that strong noise and
# blur hid from the detector the perfect restoration, which no network makes, stays below 0.9 for 95 %
INVENTED_LIMIT, INVENTED_GRID = 0.9, 8

# a share of the cells: where more than this is spoiled, so is the whole
MOST_SPOILED = 0.25

Box = tuple[float, float, float, float]
Map = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checks say: each with its value and limit, and the cells (rows, columns) where a local one failed."""

    results: tuple[GuardResult, ...]
    spoiled: Map

    @property
    def passed(self) -> bool:
        return all(result.passed for result in self.results)

    @property
    def local(self) -> bool:
        """Whether there are places to blame: only then can they be mended alone."""
        return bool(self.spoiled.any()) and float(self.spoiled.mean()) <= MOST_SPOILED

    @property
    def throughout(self) -> bool:
        """Whether the picture is to blame as well: mended in places alone, it would be patched."""
        return any(result.name == "colour" and not result.passed for result in self.results)


def guards(
    before: Picture,
    after: Picture,
    noise_sigma: float,
    blur_sigma: float = 0.0,
    faces: tuple[Box, ...] = (),
    text: tuple[Box, ...] = (),
    tone_kept: bool = True,
    quality: float | None = None,
    appeared: tuple[Box, ...] = (),
) -> Checked:
    """All checks of `after`, which is of the size of `before`, passed or not.

    noise_sigma, blur_sigma, quality: what look read in the original, 8-bit levels, pixels and of JPEG (None for no
    compression). faces, text: (left, top, width, height) in the original. appeared: faces that were found in `after`
    only. tone_kept: False for a mode that is asked to
    change colours.

    In the order of the answer: `colour`: mean CIEDE2000 between low frequencies. `area`: the worst area's. `neutral`:
    chroma that grey has taken on.
    `white`: levels that pure white has lost. `flat`: cells whose structure is gone. `halo`: overshoot along steps, as a
    share of the step. `seam`: the strongest straight border that the original does not have, 8-bit levels. With faces,
    `face`: 1 - correlation of the least similar. With appeared, `invented`: how much of the layout of light and dark of
    the worst was not there before. With text, `text`: share of strokes that vanished or appeared.
    """
    if before.pixels.nbytes < BANDED_BYTES:
        return _guards(before, after, noise_sigma, blur_sigma, faces, text, tone_kept, quality, appeared)
    parts = []
    step = max(CELL, BANDED_BYTES // 2 // (before.pixels.nbytes // before.height) // CELL * CELL)
    for top in range(0, before.height, step):
        rows = slice(top, min(before.height, top + step))
        there = [[(x, y - rows.start, w, h) for x, y, w, h in found if rows.start <= y + h / 2 < rows.stop]
                 for found in (faces, text, appeared)]  # fmt: skip
        ours, theirs = before.with_pixels(before.pixels[rows]), after.with_pixels(after.pixels[rows])
        known, lines, new = (tuple(boxes) for boxes in there)
        parts.append(_guards(ours, theirs, noise_sigma, blur_sigma, known, lines, tone_kept, quality, new))
        forget(before.pixels, after.pixels)
    return _joined(parts)


def _joined(parts: list[Checked]) -> Checked:
    """Of a giant that was checked band by band: the worst of each, the mean `colour`, all `flat` cells."""
    results = []
    for name in dict.fromkeys(result.name for part in parts for result in part.results):
        told = [result for part in parts for result in part.results if result.name == name]
        values = [result.value for result in told]
        value = float(np.mean(values)) if name == "colour" else sum(values) if name == "flat" else max(values)
        results.append(replace(told[0], value=value, passed=value <= told[0].limit))
    return Checked(tuple(results), np.concatenate([part.spoiled for part in parts]))


def _guards(
    before: Picture,
    after: Picture,
    noise_sigma: float,
    blur_sigma: float,
    faces: tuple[Box, ...],
    text: tuple[Box, ...],
    tone_kept: bool,
    quality: float | None,
    appeared: tuple[Box, ...],
) -> Checked:
    coarseness = 0.0 if quality is None else max(0.0, 50 / max(quality, 5) - 1)
    pixels = after.pixels
    low = _low_frequencies(before.pixels), _low_frequencies(pixels)
    labs = lab_from_srgb(low[0]), lab_from_srgb(low[1])
    drift = colour_difference_of_lab(*labs)
    spoiled = np.zeros(drift.shape, np.bool_)
    results = []

    def check(name: str, value: float, limit: float, where: Map | None = None) -> None:
        results.append(GuardResult(name, value, round(limit, 3), value <= limit))
        if where is not None and value > limit:
            spoiled[:] |= where

    area_limit = AREA_LIMIT + AREA_PER_NOISE_LEVEL * noise_sigma
    if tone_kept:
        limit = COLOUR_LIMIT + COLOUR_PER_NOISE_LEVEL * noise_sigma
        limit += COLOUR_PER_BLUR * blur_sigma + COLOUR_PER_COARSENESS * coarseness
        check("colour", float(drift.mean()), limit)
        check("area", float(drift.max()), area_limit, drift > area_limit)
        chroma = [np.hypot(lab[..., 1], lab[..., 2]) for lab in labs]
        taken_on = np.where(chroma[0] < NEUTRAL_CHROMA, chroma[1] - chroma[0], 0.0)
        limit = NEUTRAL_LIMIT + NEUTRAL_PER_NOISE_LEVEL * noise_sigma + NEUTRAL_PER_COARSENESS * coarseness
        check("neutral", float(np.quantile(taken_on, 0.99)), limit, taken_on > limit)
        lost = 255 * np.where(low[0].min(axis=2) >= 254.5 / 255, (low[0] - low[1]).max(axis=2), 0.0)
        limit = WHITE_LIMIT_LEVELS + NEUTRAL_PER_NOISE_LEVEL * noise_sigma + WHITE_PER_COARSENESS_LEVELS * coarseness
        check("white", float(lost.max()), limit, lost > limit)
    profiles = [_profiles(before.pixels), _profiles(pixels)]
    letters = _softness_of_letters(profiles[0], text)
    blur_sigma = max(blur_sigma, letters)
    hidden = max(1.5 * noise_sigma, STRUCTURE_PER_COARSENESS_LEVELS * coarseness)
    clear = noise_sigma < MOSAIC_NOISE_SIGMA and blur_sigma < MOSAIC_BLUR_SIGMA
    flat = _flattened(profiles[0][0], profiles[1][0], drift.shape, hidden, clear)
    check("flat", float(flat.sum()), FLAT_CELLS_LIMIT, flat)
    overshoot = _overshoot(profiles[0], profiles[1], drift.shape, noise_sigma)
    limit = HALO_LIMIT + HALO_PER_BLUR * blur_sigma**2
    check("halo", float(np.quantile(overshoot, 0.95)), limit, overshoot > limit)
    soft = max(SEAM_PER_BLUR_LEVELS * blur_sigma**2, SEAM_PER_SOFT_LETTERS_LEVELS * letters**2)
    limit = SEAM_LIMIT_LEVELS + soft + SEAM_PER_COARSENESS_LEVELS * coarseness
    upright, lying = (
        _seam(was, now, noise_sigma, limit, blamed)
        for (was, now), blamed in zip(zip(*profiles, strict=True), (spoiled, spoiled.T), strict=True)
    )
    check("seam", max(upright[0], lying[0]), limit, upright[1] | lying[1].T)
    for name, boxes, limit, judge in (
        ("face", faces, FACE_LIMIT + FACE_PER_NOISE_LEVEL * noise_sigma, _unlike),
        ("invented", appeared, INVENTED_LIMIT, _not_there),
    ):
        if boxes:
            values = [judge(before.pixels, pixels, face) for face in boxes]
            there = _cells_of([box for box, value in zip(boxes, values, strict=True) if value > limit], drift.shape)
            check(name, max(values), limit, there)
    if text:
        where = _cells_of(list(text), drift.shape)
        clear_strokes = blur_sigma < STROKES_HIDDEN_BLUR and letters < STROKES_HIDDEN_SOFT_LETTERS
        changed, strokes = _strokes(profiles[0], profiles[1], drift.shape, noise_sigma, clear_strokes)
        share = changed[where].sum() / max(1.0, strokes[where].sum())
        limit = TEXT_LIMIT + TEXT_PER_NOISE_LEVEL * noise_sigma + TEXT_PER_BLUR * blur_sigma
        check("text", float(share), limit, where)
    return Checked(tuple(results), spoiled)


def weakened(
    before: Picture, after: Picture, checked: Checked, strength: float, everywhere: bool = False
) -> Picture | None:
    """`after` with only `strength` (0..1) of its change: in the places to blame, or everywhere if there are none.

    None when it cannot be: the two are not of one size. The border of such a place is soft.
    """
    if before.pixels.shape != after.pixels.shape:
        return None
    if everywhere or not checked.local:
        return after.with_pixels(by_bands(partial(_mixed, strength), before.pixels, after.pixels))
    kept = 1 - (1 - strength) * _grown(checked.spoiled).astype(np.float32)
    return after.with_pixels(blended(before.pixels, after.pixels, kept, CELL))


def _mixed(strength: float, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return mix(a, b, strength)


def _grown(cells: Map) -> Map:
    """The cells and their eight neighbours."""
    padded = np.pad(cells, 1)
    down = padded[:-2] | padded[1:-1] | padded[2:]
    return np.asarray(down[:, :-2] | down[:, 1:-1] | down[:, 2:])


def _low_frequencies(pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Means over cells of CELL × CELL pixels (the last ones up to twice as large), float32 0..1, three channels.

    `reduceat` because it is five times faster than a mean over a reshaped array: 8 ms at 12 megapixels.
    """
    rows = pixels[::ROW_STEP]
    tops, lefts = _starts(rows.shape[0], CELL // ROW_STEP), _starts(rows.shape[1], CELL)
    sums = np.add.reduceat(np.add.reduceat(rows, lefts, axis=1, dtype=np.uint32), tops, axis=0)
    counts = np.diff(tops, append=rows.shape[0])[:, None] * np.diff(lefts, append=rows.shape[1])
    full_scale = 255.0 if pixels.dtype == np.uint8 else 65535.0
    means = sums / (counts[:, :, None] * full_scale)
    return np.ascontiguousarray(np.broadcast_to(means, (*means.shape[:2], 3)), dtype=np.float32)


def _starts(length: int, step: int) -> npt.NDArray[np.int64]:
    """Where cells begin; what does not fill a cell of its own belongs to the last one."""
    return np.arange(0, max(1, length - step + 1), step)


def _profiles(pixels: npt.NDArray[np.generic]) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """The green channel as sums over four rows, and over four columns (lying), in quarters of an 8-bit level.

    Lines through steps and strokes in both directions, a quarter of the pixels each and half of the noise.
    """
    green = pixels[:, :, pixels.shape[2] // 2]
    eight = green.astype(np.uint8) if green.dtype == np.uint8 else (green.astype(np.uint16) >> 8).astype(np.uint8)
    return _fours(eight), _fours(eight.T)


def _fours(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    if len(rows) < ROW_STEP:
        rows = np.repeat(rows, ROW_STEP, axis=0)
    whole = rows[: len(rows) // ROW_STEP * ROW_STEP].reshape(-1, ROW_STEP, rows.shape[1])
    total = whole[:, 0].astype(np.int16)
    for n in range(1, ROW_STEP):
        total += whole[:, n]
    return total


def _range(values: npt.NDArray[Any], length: int, pick: np.ufunc) -> npt.NDArray[Any]:
    """Running minimum or maximum over [x, x + length) along the last axis, by doubling."""
    reach = 1
    while reach < length:
        step = min(reach, length - reach)
        values = pick(values[:, :-step], values[:, step:])
        reach += step
    return values


def _per_cell(
    values: npt.NDArray[np.generic], offset: int, shape: tuple[int, ...], lying: bool
) -> npt.NDArray[np.float64]:
    """Sums of a profile map over the picture's cells; `values` begins `offset` pixels into the line."""
    rows, columns = shape[::-1] if lying else shape[:2]
    down = np.minimum(np.arange(len(values)) * ROW_STEP // CELL, rows - 1)
    across = np.minimum((np.arange(values.shape[1]) + offset) // CELL, columns - 1)
    tops, lefts = (np.flatnonzero(np.diff(index, prepend=-1)) for index in (down, across))
    sums = np.zeros((rows, columns))
    if tops.size and lefts.size:
        part = np.add.reduceat(np.add.reduceat(values, lefts, axis=1, dtype=np.float32), tops, axis=0)
        sums[np.ix_(down[tops], across[lefts])] = part
    return sums.T if lying else sums


def _overshoot(
    before: tuple[npt.NDArray[np.int16], ...],
    after: tuple[npt.NDArray[np.int16], ...],
    shape: tuple[int, ...],
    noise_sigma: float,
) -> npt.NDArray[np.float64]:
    """Per cell: mean overshoot beside steps as a share of the step; 0 where there are few steps.

    A step, not a line: the original falls off on one side of the pixel only. The top of a blurred line must rise when
    it is sharpened, the plateau beside a step must not.
    """
    reach, least = HALO_REACH, 4 * max(HALO_STEP_LEVELS, 4 * noise_sigma)
    over, count = np.zeros(shape[:2]), np.zeros(shape[:2])
    for lying, (p, q) in enumerate(zip(before, after, strict=True)):
        if p.shape[1] <= 2 * reach + 1:
            continue
        for sign in (1, -1):
            a, b = sign * p, sign * q
            lowest, middle = _range(a, reach + 1, np.minimum), a[:, reach:-reach]
            sides = middle - lowest[:, :-reach], middle - lowest[:, reach:]
            fall, other = np.maximum(*sides), np.minimum(*sides)
            step = (fall >= least) & (4 * other <= fall)
            beyond = np.maximum(b[:, reach:-reach] - _range(a, 2 * reach + 1, np.maximum), 0)
            share = np.where(step, beyond / np.maximum(fall, 1), 0).astype(np.float32)
            over += _per_cell(share, reach, shape, bool(lying))
            count += _per_cell(step, reach, shape, bool(lying))
    return np.where(count >= 12, over / np.maximum(count, 1), 0.0)


def _strokes(
    before: tuple[npt.NDArray[np.int16], ...],
    after: tuple[npt.NDArray[np.int16], ...],
    shape: tuple[int, ...],
    noise_sigma: float,
    clear: bool,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Per cell: pixels of strokes that vanished or (of a clear original) appeared, and of the original's strokes."""
    reach, least = 2 * STROKE_REACH, 4 * max(STROKE_LEVELS, 3 * noise_sigma)
    changed, count = np.zeros(shape[:2]), np.zeros(shape[:2])
    for lying, (p, q) in enumerate(zip(before, after, strict=True)):
        if p.shape[1] <= 2 * reach + 1:
            continue
        for sign in (1, -1):
            was, now = (
                _range(_range(line, reach + 1, np.maximum), reach + 1, np.minimum) - line[:, reach:-reach]
                for line in (sign * p, sign * q)
            )
            stroke = was >= least
            lost = stroke & (now < STROKE_KEPT * was)
            new = (now >= 2 * least) & (was < 0.1 * now) & clear
            changed += _per_cell(lost | new, reach, shape, bool(lying))
            count += _per_cell(stroke, reach, shape, bool(lying))
    return changed, count


def _softness_of_letters(before: tuple[npt.NDArray[np.int16], ...], text: tuple[Box, ...]) -> float:
    """As the sigma of a Gaussian, pixels: of the median line, in the direction in which it is softer; 0 without lines.

    A step of height h through a Gaussian is h / (sigma sqrt(2 pi)) steep. Every line of letters has steps in both
    directions; movement takes only those across it.
    """
    softer = 0.0
    for lying, profile in enumerate(before):
        sigmas = []
        for box in text:
            left, top, width, height = (max(0, round(v)) for v in box)
            if lying:
                left, top, width, height = top, left, height, width
            part = profile[top // ROW_STEP : max(top // ROW_STEP + 1, (top + height) // ROW_STEP), left : left + width]
            if part.shape[1] < CELL // 4 or not part.shape[0]:
                continue
            dark, light = np.quantile(part, (0.02, 0.98))
            if light - dark >= 4 * LEAST_INK_LEVELS:
                slope = float(np.quantile(np.abs(np.diff(part, axis=1)), 0.98))
                sigmas.append((light - dark) / (math.sqrt(2 * math.pi) * max(slope, 1.0)))
        if sigmas:
            softer = max(softer, float(np.median(sigmas)))
    return math.sqrt(max(0.0, min(softer, SOFTEST_LETTERS_SIGMA) ** 2 - SHARP_LETTERS_SIGMA**2))


def _flattened(
    before: npt.NDArray[np.int16], after: npt.NDArray[np.int16], shape: tuple[int, ...], hidden: float, clear: bool
) -> Map:
    """Cells that had structure of eight pixels and more, and have none, or have become a mosaic of even blocks.

    hidden: levels of structure that may be damage. clear: noise over a drawing hides that it is even, and blur its
    lines, so that a mosaic can be told in a clear original only.
    """
    rows, columns = before.shape[0] * ROW_STEP // CELL, before.shape[1] // CELL
    flat = np.zeros(shape[:2], np.bool_)
    if not rows or not columns:
        return flat
    deviation, fine = [], []
    for line in (before, after):
        cut = line[: rows * CELL // ROW_STEP, : columns * CELL].astype(np.float32).reshape(rows, 4, 2, columns, 4, 8)
        eights = cut.mean(axis=(2, 5), keepdims=True)
        deviation.append(eights.std(axis=(1, 2, 4, 5)) / 4)
        fine.append(cut - eights)
    together, own, other = ((a * b).sum(axis=(1, 2, 4, 5)) for a, b in (fine, fine[:1] * 2, fine[1:] * 2))
    likeness = together / np.maximum(np.sqrt(own * other), 1)
    even = []
    for line in (before, after):
        cut = np.diff(line, axis=1, append=0)[: rows * CELL // ROW_STEP, : columns * CELL] == 0
        even.append(cut.reshape(rows, CELL // ROW_STEP, columns, CELL).mean(axis=(1, 3)))
    structured = deviation[0] > max(STRUCTURE_LEVELS, hidden)
    mosaic = (even[1] > 0.7) & (even[0] < 0.35) & (likeness < MOSAIC_LIKENESS) & clear
    flat[:rows, :columns] = structured & ((deviation[1] < 0.25 * deviation[0]) | mosaic)
    return flat


def _seam(
    before: npt.NDArray[np.int16],
    after: npt.NDArray[np.int16],
    noise_sigma: float,
    limit: float,
    blamed: Map,
) -> tuple[float, Map]:
    """The strongest straight border of SEAM_LENGTH pixels that the change has and that stands alone, in levels; and the
    cells with borders beyond the limit, but for those of what is blamed already.

    A tile that came out lighter or darker changes all that lies on one side of the border, from the first pixel on. An
    edge that became sharper changes only what lies next to it. The two sides of a straight edge that the original has
    itself may be treated differently.
    """
    steps, reach = SEAM_LENGTH // ROW_STEP, SEAM_SIDE + SEAM_APART
    cells = np.zeros_like(blamed)
    if len(before) < steps or before.shape[1] <= 2 * reach + 1:
        return 0.0, cells
    tops = _starts(len(before), steps)
    lengths = np.diff(tops, append=len(before))
    counts = lengths[:, None] * np.float32(4)
    was, now = (np.add.reduceat(x, tops, axis=0, dtype=np.int32) / counts for x in (before, after))
    change = now - was
    sums = np.cumsum(np.pad(change, ((0, 0), (1, 0))), axis=1, dtype=np.float64)
    x = np.arange(reach, change.shape[1] - reach)  # the first pixel beyond the border
    sides = sums[:, x + reach] - sums[:, x + SEAM_APART] - sums[:, x - SEAM_APART] + sums[:, x - reach]
    jumps = np.diff(change, axis=1)
    beside = np.maximum.reduce([np.abs(jumps[:, x - 1 + n]) for n in (-4, -3, -2, 2, 3, 4)])
    jump = np.where(jumps[:, x - 1] * sides > 0, np.abs(jumps[:, x - 1]) - beside, 0)
    # what the mean of so many noisy pixels does by itself
    chance = 4.5 * noise_sigma * np.sqrt(2 / SEAM_LENGTH)
    edges = np.abs(np.diff(was, axis=1))
    jump[np.maximum.reduce([edges[:, x - 1 + n] for n in (-2, -1, 0, 1, 2)]) > SEAM_EDGE_LEVELS + chance] = 0
    strength = np.minimum(jump, np.abs(sides) / SEAM_SIDE) - chance
    for strip, at in np.argwhere(strength > limit):
        rows = slice(tops[strip] * ROW_STEP // CELL, -(-(tops[strip] + lengths[strip]) * ROW_STEP // CELL))
        columns = slice((x[at] - 1) // CELL, x[at] // CELL + 1)
        cells[rows, columns] |= not blamed[rows, columns].any()
    return float(strength.max(initial=0)), cells


def _unlike(before: npt.NDArray[np.generic], after: npt.NDArray[np.generic], face: Box) -> float:
    """1 - correlation of the layout of light and dark within a face's box; 0 for a face too small or plain to tell."""
    layouts = [_layout(pixels, face, FACE_GRID) for pixels in (before, after)]
    norms = [0.0 if layout is None else float(np.linalg.norm(layout)) for layout in layouts]
    if layouts[0] is None or layouts[1] is None or norms[0] < FACE_GRID:
        return 0.0
    return 1 - float(layouts[0] @ layouts[1]) / max(norms[0] * norms[1], 1e-9)


def _not_there(before: npt.NDArray[np.generic], after: npt.NDArray[np.generic], face: Box) -> float:
    """Of the layout of light and dark within the box after, the share that it has not before; 0 for too small a one."""
    was, now = (_layout(pixels, face, INVENTED_GRID) for pixels in (before, after))
    if was is None or now is None:
        return 0.0
    return float(np.linalg.norm(now - was) / max(float(np.linalg.norm(now)), 1e-9))


def _layout(pixels: npt.NDArray[np.generic], face: Box, grid: int) -> npt.NDArray[np.float32] | None:
    """The means of grid × grid areas of the box, less their mean; None where the box has not as many pixels."""
    left, top, right, bottom = (round(v) for v in (face[0], face[1], face[0] + face[2], face[1] + face[3]))
    crop = pixels[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    if min(crop.shape[:2]) < grid:
        return None
    tops, lefts = (np.arange(grid) * length // grid for length in crop.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(crop, tops, axis=0, dtype=np.float32), lefts, axis=1).mean(axis=2)
    counts = [np.diff(e, append=n) for e, n in zip((tops, lefts), crop.shape[:2], strict=True)]
    layout = sums / (counts[0][:, None] * counts[1])
    return np.asarray((layout - layout.mean()).ravel(), np.float32)


def _cells_of(boxes: list[Box], shape: tuple[int, ...]) -> Map:
    """The cells that the boxes touch."""
    cells = np.zeros(shape[:2], np.bool_)
    for left, top, width, height in boxes:
        first, last = (int(max(0, top)) // CELL, int(max(0, left)) // CELL), (top + height, left + width)
        cells[first[0] : int(last[0] - 1) // CELL + 1, first[1] : int(last[1] - 1) // CELL + 1] = True
    return cells


def colour_difference(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """CIEDE2000 between sRGB colours 0..1, (..., 3) -> (...)."""
    return colour_difference_of_lab(lab_from_srgb(a), lab_from_srgb(b))


def colour_difference_of_lab(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """CIEDE2000 between CIELAB colours, (..., 3) -> (...). Sharma, Wu and Dalal 2005, with kL = kC = kH = 1."""
    (l1, a1, b1), (l2, a2, b2) = (np.moveaxis(c, -1, 0) for c in (a, b))
    mean_chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    g = 0.5 * (1 - np.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7)))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    hue_step = (h2 - h1 + 180) % 360 - 180
    hue_step = np.where(c1 * c2 == 0, 0.0, hue_step)
    delta_h = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(hue_step) / 2)
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    mean_h = np.where(c1 * c2 == 0, h1 + h2, (h1 + hue_step / 2) % 360)
    t = (
        1
        - 0.17 * np.cos(np.radians(mean_h - 30))
        + 0.24 * np.cos(np.radians(2 * mean_h))
        + 0.32 * np.cos(np.radians(3 * mean_h + 6))
        - 0.20 * np.cos(np.radians(4 * mean_h - 63))
    )
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / np.sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    rotation = 60 * np.exp(-(((mean_h - 275) / 25) ** 2))
    r_t = -2 * np.sqrt(mean_c**7 / (mean_c**7 + 25.0**7)) * np.sin(np.radians(rotation))
    x, y, z = (l2 - l1) / s_l, (c2 - c1) / s_c, delta_h / s_h
    return np.asarray(np.sqrt(np.maximum(x**2 + y**2 + z**2 + r_t * y * z, 0)), dtype=np.float64)


# IEC 61966-2-1 primaries, D65 white
XYZ_FROM_RGB = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab_from_srgb(code: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """CIELAB (D65) of sRGB code values 0..1, (..., 3)."""
    xyz = linear_from_srgb(np.ascontiguousarray(code, dtype=np.float32)).astype(np.float64) @ XYZ_FROM_RGB.T
    relative = xyz / XYZ_FROM_RGB.sum(axis=1)
    f = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)
