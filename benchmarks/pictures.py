"""The pictures in the docs: `python -m benchmarks.pictures`.

docs/pictures/*.jpg are made by the product's own pipeline from pictures that come with scikit-image (free to show).
"""

import tempfile
from pathlib import Path

import pyvips

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


if __name__ == "__main__":
    main()
