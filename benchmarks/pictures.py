"""The pictures in the docs: `python -m benchmarks.pictures`.

docs/pictures/*.jpg are made from pictures that come with scikit-image (free to show): by the product's own pipeline,
and those with a classic filter beside them (COMPARED) by the network of the mode.
"""

import tempfile
from pathlib import Path

import numpy as np
import pyvips

from benchmarks.bench import Bench, Floats, codes, pixels
from benchmarks.damage import blurred, disc, jpeg, noisy, reduced
from benchmarks.filters import LANCZOS, adaptive_threshold, enlarged
from benchmarks.sheets import sheet
from darkroomd import pipeline
from darkroomd.by_hand import job_for
from darkroomd.config import defaults
from darkroomd.places import shipped_folder
from examples.sample_photos import drop_samples, sample_pictures

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


def twice_as_large(bench: Bench) -> list[Floats]:
    """A cat stored at half size: Lanczos | upscale-2 | as she is."""
    truth = pixels(sample_pictures() / "chelsea.png")[20:280, 90:350]
    small = jpeg(reduced(truth, 2), 90)
    return [enlarged(small, 2, LANCZOS), bench.answer("upscale-2", small), truth]


def page_by_lamp(bench: Bench) -> list[Floats]:
    """A page, noisy and a little out of focus: as photographed | adaptive threshold | text."""
    page = pixels(sample_pictures() / "page.png")[8:188, 20:320]
    damaged = jpeg(noisy(blurred(page, disc(0.8), 0, 0), 25, 0), 70)
    return [damaged, adaptive_threshold(damaged), bench.answer("text", damaged)]


COMPARED = {"twice-as-large": ("upscale-2", twice_as_large), "page": ("text", page_by_lamp)}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        drop_samples(folder)
        DOCS.mkdir(parents=True, exist_ok=True)
        for shown, (sample, left, top) in SHOWN.items():
            pair = beside(folder / sample, enhanced(folder / sample, folder), left, top)
            pair.jpegsave(str(DOCS / f"{shown}.jpg"), Q=90, subsample_mode="off")
            print(DOCS / f"{shown}.jpg")
    bench = Bench(Path(), shipped_folder())
    for shown, (network, compared) in COMPARED.items():
        if bench.has(network):
            whole = sheet([[np.clip(one, 0, 1) for one in compared(bench)]])[:-6, :-6]
            image = pyvips.Image.new_from_array(codes(whole), interpretation="srgb")
            image.jpegsave(str(DOCS / f"{shown}.jpg"), Q=90, subsample_mode="off")
            print(DOCS / f"{shown}.jpg")


if __name__ == "__main__":
    main()
