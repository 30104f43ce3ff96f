"""Makes photos/<mode>/ and enhanced/<mode>/ and, the first time, drops sample photos: free pictures that come
with scikit-image, damaged on the spot as dark rooms, messengers and cheap lenses damage them."""

from importlib.util import find_spec
from pathlib import Path

import pyvips

ROOT = Path(__file__).resolve().parent.parent
MODES = ("auto", "general", "old-photo", "portrait", "text", "unblur", "upscale")


def sample_pictures() -> Path:
    """The folder of free pictures inside the scikit-image package, which is found but not loaded."""
    package = find_spec("skimage")
    if package is None or package.origin is None:
        raise SystemExit("the sample photos come with scikit-image: pip install --no-deps scikit-image")
    return Path(package.origin).parent / "data"


def noisy(image: pyvips.Image, sigma: float) -> pyvips.Image:
    """Independent noise in every channel; sigma in 8-bit levels."""
    bands = [pyvips.Image.gaussnoise(image.width, image.height, sigma=sigma, mean=0) for _ in range(image.bands)]
    return (image + bands[0].bandjoin(bands[1:])).cast("uchar").copy(interpretation="srgb")


def drop_samples(photos: Path) -> list[Path]:
    """Write the sample photos into the folders of the modes; returns what was written."""
    pictures = sample_pictures()
    coffee, astronaut, chelsea, motorcycle = (
        pyvips.Image.new_from_file(str(pictures / name))[:3]
        for name in ("coffee.png", "astronaut.png", "chelsea.png", "motorcycle_left.png")
    )
    page = pyvips.Image.new_from_file(str(pictures / "page.png"))
    page = page.bandjoin([page, page]).copy(interpretation="srgb")
    grain = pyvips.Image.gaussnoise(astronaut.width, astronaut.height, sigma=14, mean=0)
    grey = astronaut.colourspace("b-w")[0] * 0.8 + 30 + grain
    sepia = grey.bandjoin([grey * 0.92, grey * 0.75]).cast("uchar").copy(interpretation="srgb")
    samples = {
        "auto/coffee-in-a-dark-room.jpg": (noisy(coffee, 18), 88),
        "auto/astronaut-by-messenger.jpg": (astronaut, 22),
        "auto/chelsea-as-she-is.jpg": (chelsea, 95),
        "general/motorcycle-cheap-lens.jpg": (noisy(motorcycle.gaussblur(0.7), 9), 70),
        "old-photo/astronaut-of-long-ago.jpg": (sepia, 85),
        "portrait/astronaut-at-dusk.jpg": (noisy(astronaut.gaussblur(1.2), 12), 70),
        "text/page-by-phone.jpg": (noisy(page, 16), 60),
        "unblur/coffee-out-of-focus.jpg": (coffee.gaussblur(1.8), 92),
        "upscale/chelsea-in-small.jpg": (chelsea.resize(0.5), 92),
    }
    for name, (image, quality) in samples.items():
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        image.jpegsave(str(photos / name), Q=quality)
    return [photos / name for name in samples]


def main() -> None:
    photos, enhanced = ROOT / "photos", ROOT / "enhanced"
    first_time = not photos.exists()
    for mode in MODES:
        (photos / mode).mkdir(parents=True, exist_ok=True)
        (enhanced / mode).mkdir(parents=True, exist_ok=True)
    if first_time:
        for path in drop_samples(photos):
            print(f"sample photo: {path.relative_to(ROOT)}")
    print("drop photos into:", ", ".join(f"photos/{mode}/" for mode in MODES))
    print("find results in: ", ", ".join(f"enhanced/{mode}/" for mode in MODES), "(Ctrl-C stops)")


if __name__ == "__main__":
    main()
