"""What is wrong with a picture, and what cannot be brought back.

Measured, not learned: noise, blur and block edges per cell by the core, summed up so that texture is not taken
for noise. The constants were fitted on training pictures with known damage (training/fit_look.py has the error).
"""

import numpy as np

from darkroomd._core import Measurement, measure
from darkroomd.job import Findings, Picture

CELL = 64

# noise is read where the picture is calm: this quantile of the cells, counted from the quietest
QUIET_QUANTILE = 0.10
# blur is read where edges are strong: cells beyond this quantile of edge strength
EDGE_QUANTILE = 0.90

# share of gradient that survives a 3-pixel box blur, and the Gaussian sigma (pixels) that leaves that share
SHARPNESS_TO_SIGMA: tuple[tuple[float, float], ...] = ((0.55, 0.0), (0.65, 0.5), (0.78, 1.0), (0.87, 1.5), (0.93, 2.0), (0.97, 3.0))

CLIPPED_WORTH_SAYING_PERCENT = 1.0
BLUR_BEYOND_REPAIR_SIGMA = 2.5


def findings(picture: Picture) -> Findings:
    """Look at a picture; never modifies it."""
    seen = measure(picture.pixels, CELL)
    noise_sigma = _noise_sigma(seen)
    blur_sigma = _blur_sigma(seen)
    bright, dark = 100 * float(seen.bright.mean()), 100 * float(seen.dark.mean())
    return Findings(
        megapixels=picture.megapixels,
        noise_sigma=noise_sigma,
        blur_sigma=blur_sigma,
        blockiness=float(np.median(seen.blockiness)),
        jpeg_quality=picture.jpeg_quality,
        clipped_percent=bright + dark,
        limits=_limits(bright, dark, blur_sigma),
    )


def _noise_sigma(seen: Measurement) -> float:
    open_cells = seen.noise_sigma[(seen.bright < 0.2) & (seen.dark < 0.2)]
    cells = open_cells if open_cells.size else seen.noise_sigma
    return float(np.quantile(cells, QUIET_QUANTILE))


def _blur_sigma(seen: Measurement) -> float | None:
    strong = (seen.edge >= np.quantile(seen.edge, EDGE_QUANTILE)) & np.isfinite(seen.sharpness)
    if not strong.any():
        return None
    shares, sigmas = zip(*SHARPNESS_TO_SIGMA, strict=True)
    return float(np.interp(np.median(seen.sharpness[strong]), shares, sigmas))


def _limits(bright_percent: float, dark_percent: float, blur_sigma: float | None) -> tuple[str, ...]:
    said = []
    if bright_percent >= CLIPPED_WORTH_SAYING_PERCENT:
        said.append(f"{bright_percent:.0f} % of the picture is clipped to white: nothing to reconstruct there")
    if dark_percent >= CLIPPED_WORTH_SAYING_PERCENT:
        said.append(f"{dark_percent:.0f} % of the picture is clipped to black: nothing to reconstruct there")
    if blur_sigma is not None and blur_sigma >= BLUR_BEYOND_REPAIR_SIGMA:
        said.append("strong blur: only partly recoverable; a sharper original would help more than any mode")
    return tuple(said)
