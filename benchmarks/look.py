"""How well look sees: `python -m benchmarks.look [--data FOLDER]`.

Sharp photographs that no network has trained on, damaged by a known amount drawn for each, and what `found` says of
them: in the product's words, through the product's own call. Rewrites its section of RESULTS.md.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyvips

from benchmarks.guards import Pixels, blurred, image_of, photographs, saved, with_noise
from benchmarks.quality import DATA
from benchmarks.results import RESULTS, machine, rewrite, table
from darkroomd.device import network
from darkroomd.enhance import through
from darkroomd.job import Engine, Findings, Picture, Region, Tags
from darkroomd.look import findings


def found(pixels: Pixels) -> Findings:
    return findings(Picture(np.ascontiguousarray(pixels), None, "png", Tags()))


def moved(pixels: Pixels, length: float) -> Pixels:
    """Straight movement over so many pixels, in linear light, to the right and a little down."""
    side = int(length) // 2 * 2 + 3
    reach = np.arange(side) - side // 2
    path = np.zeros((side, side))
    for at in np.linspace(-length / 2, length / 2, 8 * side):
        path[side // 2 + round(0.3 * at), side // 2 + round(at)] += 1
    mask = pyvips.Image.new_from_array(path.tolist(), scale=float(path.sum()))
    assert reach.size == side
    light = image_of(pixels).colourspace("scrgb")
    return np.asarray(light.conv(mask, precision="float").colourspace("srgb").numpy())


def as_jpeg(pixels: Pixels, quality: float) -> Pixels:
    return saved(pixels, int(quality))


# name, damage by a known amount, least and most of it, what is read, allowed error, asked share
Row = tuple[str, Callable[[Pixels, float], Pixels], float, float, Callable[[Findings], float | None], float, str]
ROWS: list[Row] = [
    ("noise, sigma 0 to 50", with_noise, 0, 50, lambda f: f.noise_sigma, 3, "90 %"),
    ("noise, sigma 0 to 10", with_noise, 0, 10, lambda f: f.noise_sigma, 3, ""),
    ("JPEG in the pixels, quality 10 to 95", as_jpeg, 10, 95, lambda f: f.visible_quality, 10, "90 %"),
    ("blur, sigma 0 to 3 pixels", lambda p, s: blurred(p, max(s, 0.1)), 0, 3, lambda f: f.blur_sigma, 0.4, "85 %"),
    ("movement, 7 to 21 pixels", moved, 7, 21, lambda f: (f.blur_sigma or 0) * 24**0.5, 4, ""),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sets", default="photo_gt,cbsd68", help="folders of sharp photographs below --data")
    parser.add_argument("--count", type=int, default=40, help="photographs of each set")
    parser.add_argument("--show", action="store_true", help="write nothing")
    parser.add_argument("--cost", action="store_true", help="only what looking costs; the tables stay")
    given = parser.parse_args()
    if given.cost:
        tables = RESULTS.read_text().split("\n## Look\n")[1].split("\nAt 12 megapixels")[0]
        rewrite("Look", tables + "\n" + cost(next(photographs(given.data / given.sets.split(",")[0], given.count))))
        return
    photos = [p for name in given.sets.split(",") for p in photographs(given.data / name, given.count)]
    amounts = np.random.default_rng(0).uniform(size=len(photos))
    rows = []
    for name, damage, least, most, read, allowed, asked in ROWS:
        errors = []
        for photo, share in zip(photos, amounts, strict=True):
            amount = least + (most - least) * float(share)
            errors.append((read(found(damage(photo, amount))) or 0.0) - amount)
        off = np.abs(errors)
        shares = [f"{100 * float((off <= allowed).mean()):.0f} %", asked, f"{float(np.median(errors)):+.2f}"]
        rows.append([name, f"±{allowed:g}", *shares, f"{float(np.quantile(off, 0.9)):.2f}"])
        print(" | ".join(rows[-1]), flush=True)
    kinds = {
        "movement of 15 pixels": (lambda p: moved(p, 15), lambda f: f.motion >= 0.5),
        "Gaussian blur of 2 pixels": (lambda p: blurred(p, 2.0), lambda f: f.motion < 0.5),
        "noise of sigma 15": (lambda p: with_noise(p, 15), lambda f: f.grain < 0.5),
    }
    answers = []
    for name, (change, right) in kinds.items():
        share = np.mean([right(found(change(photo))) for photo in photos])  # type: ignore[no-untyped-call]
        answers.append([name, f"{100 * float(share):.0f} %"])
        print(" | ".join(answers[-1]), flush=True)
    if given.show:
        return
    text = f"{machine()}. {len(photos)} photographs; the amount is drawn evenly for each. Blur in code values, "
    text += "movement in linear light; the network learned from other pictures.\n\n"
    text += table(["what", "allowed", "within", "asked", "median error", "90 % of errors within"], rows)
    text += "\n\n" + table(["a photograph with", "told as such"], answers) + "\n\n" + cost(photos[0])
    rewrite("Look", text)


def cost(photo: Pixels) -> str:
    """Seconds of processors for look, alone and with both detectors, and for enhancing the same 12 megapixels."""
    large = np.tile(photo, (-(-3000 // photo.shape[0]), -(-4000 // photo.shape[1]), 1))[:3000, :4000]
    picture = Picture(np.ascontiguousarray(large), None, "png", Tags())
    best = {}
    for name, regions in (("alone", frozenset[Region]()), ("detectors", frozenset[Region](("faces", "text")))):
        findings(picture, regions)
        looks = []
        for _ in range(3):
            began = time.process_time()
            findings(picture, regions)
            looks.append(time.process_time() - began)
        best[name] = min(looks)
    whole = []
    for engine in (Engine(device="cpu"), Engine()):
        net = network("general", engine)
        began = time.process_time()
        through(net, picture.pixels, engine)
        seconds = time.process_time() - began
        shares = f"{100 * best['alone'] / seconds:.1f} and {100 * best['detectors'] / seconds:.1f} %"
        whole.append(f"{seconds:.1f} s on {net.device} ({shares})")
    return (
        f"At 12 megapixels, look took {best['alone']:.2f} s of processor, with faces and lines of text "
        f"{best['detectors']:.2f} s; the network general {', '.join(dict.fromkeys(whole))}. Asked: at most 6 %."
    )


if __name__ == "__main__":
    main()
