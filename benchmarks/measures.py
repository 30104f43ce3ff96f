"""How near, how sharp, how readable: the figures of the tables.

PSNR over all pixels and channels of pictures clipped to 0..1. SSIM as scikit-image computes it with a Gaussian window
of sigma 1.5 and population covariance, mean over channels. Luma figures: ITU-R BT.601 in 16..235, as the field's tables
of enlargement have it.
"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter, sobel, uniform_filter
from skimage.metrics import structural_similarity

from benchmarks.bench import Floats
from darkroomd.guard import colour_difference


def psnr(a: Floats, b: Floats, where: npt.NDArray[np.bool_] | None = None) -> float:
    """dB; at most 100. where: a mask of the pixels that count."""
    error = (np.clip(a, 0, 1) - b) ** 2
    if where is not None:
        error = error[where]
    return float(10 * np.log10(1 / max(1e-10, float(np.mean(error, dtype=np.float64)))))


def ssim(a: Floats, b: Floats) -> float:
    return float(
        structural_similarity(
            np.clip(a, 0, 1),
            b,
            channel_axis=2 if a.ndim == 3 else None,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def luma(picture: Floats) -> Floats:
    """BT.601, 16..235, as 0..1."""
    return np.asarray((np.clip(picture, 0, 1) @ np.array([65.481, 128.553, 24.966]) + 16) / 255, np.float32)


def grey(picture: Floats) -> Floats:
    """BT.601, full range."""
    return np.asarray(picture @ np.array([0.299, 0.587, 0.114]), np.float32)


def gain(result: Floats, damaged: Floats, truth: Floats) -> float:
    """How much steeper than in the damaged picture the truth's strong edges are: 1 is as before."""
    edges = _strong_edges(truth)
    return float(_slope(result)[edges].mean() / _slope(damaged)[edges].mean())


def overshoot(result: Floats, truth: Floats) -> float:
    """Mean distance, in 8-bit levels, by which the result leaves the range that the truth has within three pixels,
    at the truth's strong edges: what one sees as a halo."""
    result, truth = grey(np.clip(result, 0, 1)), grey(truth)
    high, low = maximum_filter(truth, 7), minimum_filter(truth, 7)
    strong = (high - low) >= np.quantile(high - low, 0.9)
    beyond = np.maximum(np.maximum(result - high, low - result), 0)
    return float(255 * beyond[strong].mean())


def _slope(picture: Floats) -> Floats:
    y = grey(np.clip(picture, 0, 1))
    return np.asarray(np.hypot(sobel(y, 0), sobel(y, 1)), np.float32)


def _strong_edges(truth: Floats) -> npt.NDArray[np.bool_]:
    slope = _slope(truth)
    return np.asarray(slope >= np.quantile(slope, 0.95))


def edge_width(picture: Floats, angle: float, centre: tuple[float, float]) -> float:
    """10 to 90 % of the rise of one straight edge, in pixels. angle: of its normal, radians; centre: (x, y) on it."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    distance = (x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)
    near = (np.abs(distance) < 12) & (np.hypot(x - centre[0], y - centre[1]) < min(picture.shape[:2]) / 2 - 4)
    which = np.floor(distance[near] * 4).astype(int)  # quarters of a pixel; on a straight edge some are empty
    values = grey(np.clip(picture, 0, 1))[near]
    quarters = np.unique(which)
    profile = np.array([values[which == quarter].mean() for quarter in quarters])
    places = np.array([distance[near][which == quarter].mean() for quarter in quarters])
    low, high = profile[places < -8].mean(), profile[places > 8].mean()
    rise = (profile - low) / (high - low)
    crossings = []
    for level in (0.1, 0.9):
        i = int(np.argmax(rise > level))
        part = (level - rise[i - 1]) / (rise[i] - rise[i - 1])
        crossings.append(places[i - 1] + part * (places[i] - places[i - 1]))
    return float(crossings[1] - crossings[0])


def fine(picture: Floats) -> Floats:
    """What a blur of 1.5 pixels takes away, in grey."""
    y = grey(picture)
    return np.asarray(y - gaussian_filter(y, 1.5), np.float32)


def flat_and_textured(truth: Floats) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Where the truth has next to no fine detail, and where it has some but no strong edge (15 × 15 pixels around)."""
    energy = uniform_filter(fine(truth) ** 2, 15)
    slope = maximum_filter(_slope(truth), 9)
    flat = energy <= max(float(np.quantile(energy, 0.1)), (0.6 / 255) ** 2)
    textured = (energy >= np.quantile(energy, 0.5)) & (slope <= np.quantile(slope, 0.75)) & ~flat
    return flat, textured


def noise_left(result: Floats, truth: Floats, flat: npt.NDArray[np.bool_]) -> float:
    """Standard deviation of the fine error in the flat parts, 8-bit levels."""
    return float(255 * (fine(result) - fine(truth))[flat].std())


def texture_kept(result: Floats, truth: Floats, textured: npt.NDArray[np.bool_]) -> float:
    """The share of the truth's fine detail that is in the result, by regression: noise does not count for it."""
    wanted, got = fine(truth)[textured], fine(result)[textured]
    return float(wanted @ got / max(1e-12, float(wanted @ wanted)))


def colour_drift(result: Floats, before: Floats) -> Floats:
    """CIEDE2000 between means over 32 × 32 pixels: (rows, columns)."""
    return np.asarray(colour_difference(*(_cells(np.clip(p, 0, 1)) for p in (result, before))), np.float32)


def _cells(picture: Floats, side: int = 32) -> Floats:
    rows, columns = picture.shape[0] // side, picture.shape[1] // side
    cut = picture[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    return np.asarray(cut.mean(axis=(1, 3)), np.float32)


def error_rate(read: str, truth: str) -> float:
    """Character error rate: edits (Levenshtein) per character of the truth, white space made one blank; at most 1."""
    read, truth = (" ".join(text.split()) for text in (read, truth))
    if not truth or not read:
        return float(bool(truth) or bool(read))
    letters = np.frombuffer(truth.encode("utf-32-le"), np.uint32)
    steps = np.arange(len(letters) + 1)
    costs = steps.copy()
    for letter in np.frombuffer(read.encode("utf-32-le"), np.uint32):
        kept = np.minimum(costs[1:] + 1, costs[:-1] + (letters != letter))
        best = np.concatenate(([costs[0] + 1], kept))
        costs = np.minimum.accumulate(best - steps) + steps  # insertions run along the row
    return float(min(1.0, costs[-1] / len(letters)))
