"""The pictures in the docs: `python -m benchmarks.pictures`.

docs/pictures/*.jpg are made from pictures that come with scikit-image (free to show): by the product's own pipeline,
and those with a classic filter beside them (COMPARED) by the network of the mode.
"""

import tempfile
from pathlib import Path

import numpy as np
import pyvips
from PIL import Image, ImageDraw

from benchmarks.bench import Bench, Floats, codes, pixels
from benchmarks.damage import blurred, convolved, disc, gaussian, jpeg, noisy, reduced
from benchmarks.filters import BICUBIC, LANCZOS, adaptive_threshold, enlarged, repaired
from benchmarks.measures import grey
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


def face_stored_small(bench: Bench) -> list[Floats]:
    """A face stored at half size by a messenger, and enlarged again: as it came | portrait | as she is."""
    truth = pixels(sample_pictures() / "astronaut.png")[:256, 80:336]
    small = jpeg(noisy(reduced(convolved(truth, gaussian(1.0)), 2), 8, 0), 65)
    damaged = np.clip(enlarged(small, 2, BICUBIC), 0, 1)
    return [one[30:230, 30:230] for one in (damaged, bench.answer("portrait", damaged), truth)]


def old_print(bench: Bench) -> list[Floats]:
    """A print with grain, scratches and creases: as scanned | median, inpainting, non-local means | old-photo."""
    truth = np.repeat(grey(pixels(sample_pictures() / "camera.png")[20:276, 120:376])[:, :, None], 3, axis=2)
    sepia = np.asarray((0.1 + 0.82 * truth) * np.array([1.0, 0.9, 0.74]), np.float32)
    sheet_of_glass = Image.new("L", (512, 512))
    draw, rng = ImageDraw.Draw(sheet_of_glass), np.random.default_rng(4)
    for width in (1, 2, 2, 3, 5):
        bends = np.cumsum(rng.normal(0, 14, 14))
        along = np.linspace(-20, 532, 14)
        line = np.stack([along, rng.uniform(60, 450) + bends], axis=1)
        draw.line([tuple(point) for point in (line if width % 2 else line[:, ::-1]).tolist()], fill=255, width=width)
    scratches = np.asarray(sheet_of_glass.resize((256, 256), Image.Resampling.BOX), np.float32)[:, :, None] / 255
    grainy = sepia + 0.04 * rng.standard_normal((256, 256, 1), dtype=np.float32)
    damaged = jpeg(np.clip(grainy * (1 - scratches) + scratches * np.array([0.93, 0.9, 0.83]), 0, 1), 88)
    return [damaged, repaired(damaged, 10), bench.answer("old-photo", damaged)]


COMPARED = {
    "twice-as-large": ("upscale-2", twice_as_large),
    "page": ("text", page_by_lamp),
    "face": ("portrait", face_stored_small),
    "old-print": ("old-photo", old_print),
}


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
