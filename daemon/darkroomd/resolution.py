"""Whether a picture was made larger than it was taken: the trace that interpolation leaves in rows and columns.

Every second pixel of a picture that was enlarged twice lies between two others, and bends less: the mean bend of the
columns repeats every two pixels, in the whole picture in step (A. C. Gallagher, Detection of linear and cubic
interpolation in JPEG compressed images, CRV 2005). Enlarged four times it does so as well.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from darkroomd.scratch import forget

# the middle is enough: the trace is the same everywhere
SIDE, LEAST_SIDE = 768, 192
SMOOTH = 15  # pixels: what changes more slowly in the mean bend is the picture itself
SLOW = 0.05  # cycles per pixel: below, there is always more
# The trace as its logarithm above the median of all frequencies, in the direction where it is weaker. Over 142 native
# training photographs, some of them saved as JPEG, it stays below 1.0; benchmarks/resolution.py has the figures.
TRACE = 1.2

Floats = npt.NDArray[np.float32]


def enlarged(pixels: Any) -> bool:
    """Whether the picture, (height, width, 1 or 3), was enlarged twice or four times. False for a small one.

    It does not tell other factors: their traces are too weak, or those of JPEG's blocks.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < LEAST_SIDE:
        return False
    top, left = max(0, (height - SIDE) // 2), max(0, (width - SIDE) // 2)
    # green, which a camera measures at every second pixel, but not in the same columns in each row
    middle = pixels[top : top + SIDE, left : left + SIDE, pixels.shape[2] // 2].astype(np.float32)
    forget(pixels)
    if pixels.dtype == np.uint16:
        middle /= np.float32(257)
    return min(trace(middle), trace(middle.T)) >= TRACE


def trace(plane: Floats) -> float:
    """How far the mean bend of columns repeats every two pixels, as a logarithm; 0 where no more than at random."""
    bend = np.log1p(np.abs(plane[:, 2:] - 2 * plane[:, 1:-1] + plane[:, :-2])).mean(axis=0)
    bend = (bend - np.convolve(bend, np.full(SMOOTH, 1 / SMOOTH), "same"))[SMOOTH // 2 + 1 : -SMOOTH // 2]
    bend = bend[: len(bend) // 2 * 2]
    strength = np.abs(np.fft.rfft(bend * np.hanning(len(bend))))
    usual = float(np.median(strength[int(SLOW * len(bend)) :]))
    return float(np.log(max(strength[-2:].max(), 1e-9) / max(usual, 1e-9)))
