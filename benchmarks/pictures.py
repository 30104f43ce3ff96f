"""The pictures in the docs, and contact sheets to judge by: `python -m benchmarks.pictures [--sheets FOLDER]`.

docs/pictures/*.jpg are made by the product's own pipeline from pictures that come with scikit-image (free to show).
With --sheets, crops at 100 % of the test sets' real photographs, before | ours, are written to a folder of yours:
for looking, not for showing, because those pictures belong to others.
"""

import argparse
import tempfile
from pathlib import Path

import pyvips

from benchmarks.quality import DATA
from darkroomd import pipeline
from darkroomd.by_hand import job_for
from darkroomd.config import defaults
from examples.sample_photos import drop_samples

DOCS = Path(__file__).parents[1] / "docs" / "pictures"

# sample, left, top of the crop that is shown
SHOWN = {
    "dark-room": ("auto/coffee-in-a-dark-room.jpg", 130, 60),
    "messenger": ("auto/astronaut-by-messenger.jpg", 130, 0),
    "cheap-lens": ("general/motorcycle-cheap-lens.jpg", 250, 120),
}
CROP = (360, 300)


def enhanced(source: Path, folder: Path) -> Path:
    """The product's result for one photo, in mode general, as PNG so that nothing is lost on the way here."""
    settings = defaults()
    job = job_for(source.parent, source, folder / f"{source.stem}.png", settings.modes["general"], settings)
    staged = pipeline.run(job)
    assert staged.temporary is not None, staged.verdict
    return staged.temporary.rename(job.target)


def beside(before: Path, after: Path, left: int, top: int, size: tuple[int, int] = CROP) -> pyvips.Image:
    """Two crops at 100 %, a white line between them."""
    images = [pyvips.Image.new_from_file(str(path)).autorot() for path in (before, after)]
    width, height = min(size[0], images[0].width), min(size[1], images[0].height)
    left, top = min(left, images[0].width - width), min(top, images[0].height - height)
    crops = [image.crop(left, top, width, height).colourspace("srgb")[:3] for image in images]
    return crops[0].join(crops[1], "horizontal", shim=6, background=255)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets of the real test photographs")
    parser.add_argument("--data", type=Path, default=DATA)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for mode in ("auto", "general"):
            (folder / mode).mkdir()
        drop_samples(folder)
        DOCS.mkdir(parents=True, exist_ok=True)
        for shown, (sample, left, top) in SHOWN.items():
            pair = beside(folder / sample, enhanced(folder / sample, folder), left, top)
            pair.jpegsave(str(DOCS / f"{shown}.jpg"), Q=90, subsample_mode="off")
            print(DOCS / f"{shown}.jpg")
        if given.sheets is not None:
            given.sheets.mkdir(parents=True, exist_ok=True)
            for test_set in ("real_jpeg", "realsrset", "rni15", "real_faces", "real_text", "old_photos", "photo_gt"):
                for path in sorted((given.data / test_set).iterdir()):
                    image = pyvips.Image.new_from_file(str(path))
                    left, top = max(0, image.width // 2 - 200), max(0, image.height // 2 - 200)
                    pair = beside(path, enhanced(path, folder), left, top, (400, 400))
                    pair.pngsave(str(given.sheets / f"{test_set}-{path.stem}.png"))


if __name__ == "__main__":
    main()
