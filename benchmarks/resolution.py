"""How often look tells that a picture was enlarged: `python -m benchmarks.resolution [--data FOLDER]`.

Photographs as they are, blurred, saved as JPEG, and enlarged by each filter and saved again. Rewrites its section of
RESULTS.md.
"""

import argparse
from itertools import cycle
from pathlib import Path

import numpy as np
import pyvips

from benchmarks.bench import SUFFIXES
from benchmarks.guards import COLOURS, Pixels, blurred, image_of, photographs, saved
from benchmarks.quality import DATA
from benchmarks.results import machine, rewrite, table
from darkroomd.resolution import enlarged

FILTERS = ("cubic", "lanczos3", "linear")
QUALITIES = (None, 95, 85, 75)
FACTORS = (2.0, 4.0, 1.5, 3.0)
LARGEST = 1024  # pixels: enlarged from middles that come out no larger


def larger(photo: Pixels, factor: float, name: str) -> Pixels:
    side = round(LARGEST / factor)
    small = image_of(photo)
    small = small.crop(0, 0, min(side, small.width), min(side, small.height))
    return np.asarray(small.resize(factor, kernel=name).cast("uchar").numpy())


def share(told: list[bool]) -> str:
    return f"{100 * float(np.mean(told)):.0f} % of {len(told)}"


def crops(folder: Path) -> list[Pixels]:
    """Whole files of three channels: cameras' own pixels, at 100 %."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    images = (pyvips.Image.new_from_file(str(path)) for path in paths)
    return [image[:3].numpy() for image in images if image.bands >= COLOURS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sets", default="photo_gt,cbsd68,live1,set14,face_gt", help="folders of native photographs")
    parser.add_argument("--raw", default="noise_pairs", help="folder of crops of cameras' pictures at 100 %%")
    parser.add_argument("--count", type=int, default=100, help="photographs of each set")
    parser.add_argument("--show", action="store_true", help="write nothing")
    given = parser.parse_args()
    photos = [p for name in given.sets.split(",") for p in photographs(given.data / name, given.count)]
    rows = [["as it is", share([enlarged(p) for p in photos]), "at most 2 %"]]
    rows.append(["blurred, sigma 1", share([enlarged(blurred(p, 1.0)) for p in photos]), "at most 2 %"])
    rows += [
        [f"saved as JPEG {q}", share([enlarged(saved(p, q)) for p in photos]), "at most 2 %"] for q in (95, 75, 50)
    ]
    rows.append(
        ["crops of cameras' pictures at 100 %", share([enlarged(p) for p in crops(given.data / given.raw)]), ""]
    )
    for factor in FACTORS:
        told = []
        for photo, name, quality in zip(photos, cycle(FILTERS), cycle(QUALITIES), strict=False):
            large = larger(photo, factor, name)
            told.append(enlarged(large if quality is None else saved(large, quality)))
        rows.append([f"enlarged {factor:g} times", share(told), "80 %" if factor == FACTORS[0] else ""])
    for quality in QUALITIES:
        told = []
        for photo in photos:
            large = larger(photo, FACTORS[0], "cubic")
            told.append(enlarged(large if quality is None else saved(large, quality)))
        rows.append([f"enlarged twice, bicubic, saved as {f'JPEG {quality}' if quality else 'PNG'}", share(told), ""])
    for row in rows:
        print(" | ".join(row), flush=True)
    if not given.show:
        text = (
            f"{machine()}. Whether `limits` says that a picture was enlarged. {len(photos)} photographs, enlarged by "
            "bicubic, Lanczos and linear interpolation in turn, saved as PNG or as JPEG 95, 85 or 75 in turn. Some "
            "of the cameras' crops bear the same trace, of the interpolation that made them from raw files.\n\n"
        )
        rewrite("Look: enlarged pictures", text + table(["photographs", "told to be enlarged", "asked"], rows))


if __name__ == "__main__":
    main()
