"""The numbers behind look.py's constants: `python -m training.fit_look --data FOLDER`, in the product's environment.

Training photographs with known noise, blur and JPEG quality, each measured by the product's own core. Prints, for each
strength, the middle and the spread of what look reads; the constants in look.py are set from the middle column.
"""

import argparse
from pathlib import Path

import numpy as np
import pyvips

from darkroomd._core import measure
from darkroomd.look import CELL, EDGE_QUANTILE, QUIET_QUANTILE

SIDE = 1024


def photographs(data: Path, count: int) -> list[pyvips.Image]:
    """Every n-th photograph, its middle, reduced so that it is sharp at 100 %."""
    found = sorted(p for name in ("photo/wallpapers", "photo/clic2k") for p in (data / name).iterdir())
    images = []
    for path in found[:: max(1, len(found) // count)]:
        image = pyvips.Image.new_from_file(str(path))[:3].resize(0.6)
        left, top = max(0, (image.width - SIDE) // 2), max(0, (image.height - SIDE) // 2)
        images.append(image.crop(left, top, min(SIDE, image.width), min(SIDE, image.height)).copy_memory())
    return images


def spread(values: list[float]) -> str:
    return "  ".join(f"{q:7.3f}" for q in np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=40)
    given = parser.parse_args()
    images = photographs(given.data, given.count)
    rng = np.random.default_rng(0)
    print(f"{len(images)} photographs; columns: 5 %, 25 %, 50 %, 75 %, 95 % of photographs")
    for sigma in (0, 1, 2, 3, 5, 10, 20, 30, 50):
        noisy = [
            np.clip(np.rint(i.numpy() + rng.normal(0, sigma, i.numpy().shape)), 0, 255).astype(np.uint8) for i in images
        ]
        print(
            f"noise {sigma:4}   ",
            spread([float(np.nanquantile(measure(n, CELL).noise_sigma, QUIET_QUANTILE)) for n in noisy]),
        )
    for sigma in (0.0, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0):
        values = []
        for image in images:
            seen = measure((image.gaussblur(sigma) if sigma else image).numpy(), CELL)
            strong = (seen.edge >= np.nanquantile(seen.edge, EDGE_QUANTILE)) & np.isfinite(seen.softness)
            values.append(float(np.median(seen.softness[strong])))
        print(f"blur {sigma:5}   ", spread(values))
    for quality in (10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95, 100):
        saved = [pyvips.Image.new_from_buffer(i.jpegsave_buffer(Q=quality), "").numpy() for i in images]
        print(f"blocks q{quality:4} ", spread([float(np.nanmedian(measure(s, CELL).blockiness)) for s in saved]))
    print("blocks none  ", spread([float(np.nanmedian(measure(i.numpy(), CELL).blockiness)) for i in images]))


if __name__ == "__main__":
    main()
