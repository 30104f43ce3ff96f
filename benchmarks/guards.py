"""How often the guards trip: `python -m benchmarks.guards [--data FOLDER]`.

On good results they should not: the perfect restoration of damaged photographs (the truth itself) and what the network
makes of them. On results spoiled in one way each, they must. noise_sigma is what look reads, as in the product.
Rewrites its section of RESULTS.md.
"""

import argparse
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyvips

from benchmarks.bench import SUFFIXES
from benchmarks.quality import DATA
from benchmarks.results import machine, rewrite, table
from darkroomd.device import network
from darkroomd.enhance import through
from darkroomd.guard import Box, guards
from darkroomd.job import Engine, Findings, Picture, Tags
from darkroomd.look import findings

Pixels = npt.NDArray[np.uint8]
COLOURS = 3
SIDE = 640  # longest side that is judged: middles of the photographs
GUARDS = ("colour", "area", "neutral", "white", "flat", "halo", "seam", "face", "text")


def photographs(folder: Path, count: int) -> Iterator[Pixels]:
    """The middles of every n-th photograph."""
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    for path in found[:: max(1, len(found) // count)]:
        try:
            image = pyvips.Image.new_from_file(str(path))
        except pyvips.Error:  # two pages of the set are BMP files, which neither this libvips nor the product reads
            continue
        image = image[:3] if image.bands >= COLOURS else image[0].bandjoin([image[0], image[0]])
        width, height = min(SIDE, image.width), min(SIDE, image.height)
        yield image.crop((image.width - width) // 2, (image.height - height) // 2, width, height).numpy()


def image_of(pixels: Pixels) -> pyvips.Image:
    return pyvips.Image.new_from_array(pixels).copy(interpretation="srgb")


def with_noise(pixels: Pixels, sigma: float) -> Pixels:
    noise = np.random.default_rng(0).normal(0, sigma, pixels.shape)
    return np.asarray(np.clip(np.rint(pixels + noise), 0, 255), dtype=np.uint8)


def blurred(pixels: Pixels, sigma: float) -> Pixels:
    return np.asarray(image_of(pixels).gaussblur(sigma, min_ampl=0.01).numpy())


def saved(pixels: Pixels, quality: int) -> Pixels:
    return np.asarray(pyvips.Image.new_from_buffer(image_of(pixels).jpegsave_buffer(Q=quality), "").numpy())


DAMAGE: dict[str, Callable[[Pixels], Pixels]] = {
    "none": lambda p: p,
    "noise 5": lambda p: with_noise(p, 5),
    "noise 15": lambda p: with_noise(p, 15),
    "noise 25": lambda p: with_noise(p, 25),
    "noise 50": lambda p: with_noise(p, 50),
    "JPEG 10": lambda p: saved(p, 10),
    "JPEG 30": lambda p: saved(p, 30),
    "blur 1": lambda p: blurred(p, 1.0),
    "blur 2": lambda p: blurred(p, 2.0),
    "blur 1, noise 10, JPEG 50": lambda p: saved(with_noise(blurred(p, 1.0), 10), 50),
}


def black_tile(p: Pixels) -> Pixels:
    out = p.copy()
    out[64:192, 64:192] = 0
    return out


def flat_tile(p: Pixels) -> Pixels:
    out = p.copy()
    out[64:192, 64:192] = p[64:192, 64:192].mean(axis=(0, 1)).round()
    return out


def mosaic(p: Pixels) -> Pixels:
    tiles = p[64:192, 64:192].reshape(8, 16, 8, 16, 3).mean(axis=(1, 3))
    out = p.copy()
    out[64:192, 64:192] = tiles.repeat(16, axis=0).repeat(16, axis=1).round()
    return out


def tinted(p: Pixels) -> Pixels:
    return np.asarray(np.clip(p + np.array([6, 0, -8]), 0, 255), dtype=np.uint8)


def sharpened(p: Pixels) -> Pixels:
    """Unsharp mask of radius 2 and amount 2, as an eager editor uses it."""
    low = blurred(p, 2.0).astype(np.float32)
    return np.asarray(np.clip(np.rint(p + 2.0 * (p - low)), 0, 255), dtype=np.uint8)


def seam(p: Pixels) -> Pixels:
    """Everything right of a tile's border four levels brighter."""
    out = p.astype(int)
    out[:, 200:] += 4
    return np.asarray(np.clip(out, 0, 255), dtype=np.uint8)


def erased_strokes(p: Pixels) -> Pixels:
    """What is darker than its surroundings and up to eight pixels thick is painted over."""
    padded = np.pad(p, ((8, 8), (8, 8), (0, 0)), mode="edge")
    image = image_of(padded)
    return np.asarray(image.rank(9, 9, 80).rank(9, 9, 0).crop(8, 8, p.shape[1], p.shape[0]).numpy())


SPOILED: dict[str, Callable[[Pixels], Pixels]] = {
    "a black tile": black_tile,
    "a flat tile": flat_tile,
    "a mosaic tile": mosaic,
    "all colours shifted": tinted,
    "oversharpened": sharpened,
    "a tile's border": seam,
    "strokes erased": erased_strokes,
    "mirrored face": lambda p: np.ascontiguousarray(p[:, ::-1]),
}


def as_file(name: str, pixels: Pixels) -> Picture:
    """The damaged picture as the product gets it: a JPEG file tells its quality."""
    told = re.fullmatch(r"JPEG (\d+)", name)
    return Picture(pixels, None, "jpeg" if told else "png", Tags(), jpeg_quality=int(told[1]) if told else None)


def tripped(
    original: Picture, found: Findings, after: Pixels, face: bool = False, text: bool = False
) -> list[tuple[str, float]]:
    whole: tuple[Box, ...] = ((0.0, 0.0, float(original.width), float(original.height)),)
    sigmas, places = (found.noise_sigma, found.blur_sigma or 0.0), (whole if face else (), whole if text else ())
    checked = guards(original, original.with_pixels(after), *sigmas, *places, quality=found.visible_quality)
    return [(r.name, r.value) for r in checked.results if not r.passed]


def counted(rows: list[list[tuple[str, float]]]) -> list[str]:
    per_guard = Counter(name for row in rows for name, _ in row)
    any_at_all = sum(bool(row) for row in rows)
    return [str(len(rows)), str(any_at_all), *(str(per_guard[name]) if per_guard[name] else "" for name in GUARDS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sets", default="photo_gt,cbsd68", help="folders of sharp photographs below --data")
    parser.add_argument("--faces", default="face_gt")
    parser.add_argument("--text", default="real_text")
    parser.add_argument("--count", type=int, default=20, help="photographs of each set")
    parser.add_argument("--network-every", type=int, default=1, help="each n-th picture through the network as well")
    parser.add_argument("--show", action="store_true", help="print every trip on a good result; write nothing")
    given = parser.parse_args()
    sharp = [p for name in given.sets.split(",") for p in photographs(given.data / name, given.count)]
    faces = list(photographs(given.data / given.faces, given.count))
    pages = list(photographs(given.data / given.text, given.count))
    general = network("general", Engine(device="cpu"))
    rows = []
    for name, damage in DAMAGE.items():
        trips: dict[str, list[list[tuple[str, float]]]] = {"truth": [], "general": []}
        for group in (sharp, faces, pages):
            for truth in group:
                before = as_file(name, np.ascontiguousarray(damage(truth)))
                found = findings(before)
                kinds = trips if len(trips["truth"]) % given.network_every == 0 else {"truth": trips["truth"]}
                for kind, rest in kinds.items():
                    after = truth if kind == "truth" else through(general, before.pixels, Engine(device="cpu"))
                    rest.append(tripped(before, found, after, group is faces, group is pages))
                    if given.show and rest[-1]:
                        print(name, kind, rest[-1])
        for kind, rest in trips.items():
            rows.append([f"{name} -> {kind}", *counted(rest)])
            print(" | ".join(rows[-1]), flush=True)
    for name, spoil in SPOILED.items():
        group = faces if "face" in name else pages if "stroke" in name else sharp
        spoiled = []
        for truth in group:
            before = as_file("", truth)
            spoiled.append(tripped(before, findings(before), spoil(truth), group is faces, group is pages))
        rows.append([f"spoiled: {name}", *counted(spoiled)])
        print(" | ".join(rows[-1]), flush=True)
    if not given.show:
        head = ["result", "pictures", "any", *GUARDS]
        text = "Good results should trip nothing, spoiled ones something. `face` and `text` are asked of the "
        text += "portraits and pages only, for the whole picture.\n\n"
        rewrite("Guards", f"{machine()}. {text}" + table(head, rows))


if __name__ == "__main__":
    main()
