"""Why the numbers in mode auto's table are what they are: `python -m benchmarks.choices [PART ...] [--data FOLDER]`.

On photographs from training that no network of ours has learned from (the last of each folder by name), never on test
pictures: how near to the truth each strength comes, and how much fine detail it leaves. Rewrites its sections of
RESULTS.md, which models/modes.yaml and guard.py refer to.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyvips

from benchmarks.auto import floats, grainy
from benchmarks.bench import SUFFIXES, Floats
from benchmarks.guards import COLOURS, DAMAGE, Pixels, as_file, blurred, image_of, saved, tinted, with_noise
from benchmarks.look import found, moved
from benchmarks.measures import psnr
from benchmarks.results import machine, rewrite, table
from darkroomd._core import mix
from darkroomd.device import network
from darkroomd.enhance import through
from darkroomd.guard import guards
from darkroomd.job import Engine

DATA = Path(__file__).parents[2] / "shared/data/train"
PHOTOS, FACES = "photo/cid22", "face/gov_headshots"
SIDE = 256
Damage = Callable[[Pixels], Pixels]
Case = tuple[str, Damage]
STRENGTHS = (0.2, 0.4, 0.6, 0.8, 1.0)
EARLIER_LIMITS = (60, 65, 70, 75, 80)


def held_out(folder: Path, count: int, most: int = SIDE) -> list[Pixels]:
    """The middles, `most` pixels square, of the last photographs by name."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)[-count:]
    middles = []
    for path in paths:
        image = pyvips.Image.new_from_file(str(path))
        image = image[:3] if image.bands >= COLOURS else image[0].bandjoin([image[0], image[0]])
        side = min(most, image.width, image.height) // 8 * 8
        middles.append(image.crop((image.width - side) // 2, (image.height - side) // 2, side, side).numpy())
    return middles


def answer(name: str, before: Pixels) -> Pixels:
    return np.asarray(through(network(name, Engine()), np.ascontiguousarray(before), Engine()))


def fine(picture: Floats) -> Floats:
    """What is finer than about two pixels."""
    luma = picture.mean(axis=2)
    around = (luma[:-2] + luma[1:-1] + luma[2:])[:, 1:-1] / 3
    around = (around + np.roll(around, 1, axis=1) + np.roll(around, -1, axis=1)) / 3
    return np.asarray(luma[1:-1, 1:-1] - around, np.float32)[8:-8, 8:-8]


def kept(result: Floats, truth: Floats) -> float:
    """The share of the truth's fine detail that the result has."""
    there = fine(truth)
    return float((fine(result) * there).sum() / (there * there).sum())


def by_strength(truths: Sequence[Pixels], damage: Damage, name: str = "general") -> list[tuple[float, float, float]]:
    """For each strength: PSNR gained in the mean and for the tenth that gains least, and fine detail left, in percent
    of what the damaged photograph has."""
    figures = []
    for truth in truths:
        before = damage(truth)
        after, clean, was = answer(name, before), floats(truth), floats(before)
        mixed = [floats(np.asarray(mix(before, after, strength))) for strength in STRENGTHS]
        detail = max(kept(was, clean), 1e-3)
        figures.append([(psnr(one, clean) - psnr(was, clean), kept(one, clean) / detail) for one in mixed])
    told = np.array(figures)
    return [
        (float(g.mean()), float(np.quantile(g, 0.1)), 100 * float(k.mean()))
        for g, k in zip(told[..., 0].T, told[..., 1].T, strict=True)
    ]


def saved_again(photo: Pixels, quality: int) -> Pixels:
    return saved(saved(photo, quality), 95)


def soft(photo: Pixels, sigma: float) -> Pixels:
    return saved(blurred(photo, sigma), 85)


def rows_of_strength(data: Path, count: int) -> list[list[str]]:
    photos, faces = held_out(data / PHOTOS, count), held_out(data / FACES, count)
    grain = [grainy(photo) for photo in photos]
    asked: list[tuple[str, Sequence[Pixels], Damage]] = []
    for quality in (20, 30, 40, 50, 60, 75, 85):
        asked.append((f"JPEG {quality}", photos, partial(saved, quality=quality)))
    for quality in (30, 50, 75):
        asked.append((f"JPEG {quality}, portraits", faces, partial(saved, quality=quality)))
    for quality in (30, 50, 70):
        asked.append((f"JPEG {quality} over film grain", grain, partial(saved, quality=quality)))
    for quality in (30, 50, 65, 75):
        asked.append((f"JPEG {quality}, then 95", photos, partial(saved_again, quality=quality)))
    for sigma in (3, 4, 6, 10):
        asked.append((f"noise {sigma}", photos, partial(with_noise, sigma=sigma)))
    rows = []
    for name, truths, damage in asked:
        figures = by_strength(truths, damage)
        rows.append([name, *(f"{gain:+.2f} ({least:+.2f}) {detail:.0f} %" for gain, least, detail in figures)])
        print(" | ".join(rows[-1]), flush=True)
    return rows


def stored_small(face: Pixels, factor: float, quality: int = 85) -> Pixels:
    """Saved at a fraction of its size as a JPEG, and enlarged again."""
    small = image_of(face).resize(1 / factor).jpegsave_buffer(Q=quality)
    image = pyvips.Image.new_from_buffer(small, "")
    large = image.resize(face.shape[1] / image.width, vscale=face.shape[0] / image.height)
    return np.asarray(large.cast("uchar").numpy())


def rows_of_faces(data: Path, count: int) -> list[list[str]]:
    """Portraits enlarged from a fraction of their size, and out of focus: what `portrait` gains."""
    faces = held_out(data / FACES, count)
    rows = []
    cases: list[Case] = [
        (f"enlarged {factor:g} times", partial(stored_small, factor=factor)) for factor in (1.5, 2, 2.5, 3, 4, 6)
    ]
    cases += [(f"out of focus, sigma {sigma:g}", partial(soft, sigma=sigma)) for sigma in (1.5, 2.0, 2.5, 3.0)]
    for name, damage in cases:
        sigma = float(np.median([found(damage(face)).blur_sigma or 0.0 for face in faces]))
        half, full = (by_strength(faces, damage, "portrait")[n] for n in (2, 4))
        rows.append([name, f"{sigma:.1f}", f"{half[0]:+.2f} ({half[1]:+.2f})", f"{full[0]:+.2f} ({full[1]:+.2f})"])
        print(" | ".join(rows[-1]), flush=True)
    return rows


def rows_of_movement(data: Path, count: int) -> list[list[str]]:
    """What `unblur` gains."""
    photos = held_out(data / PHOTOS, count)
    rows = []
    cases: list[Case] = [(f"movement of {length} pixels", partial(moved, length=length)) for length in (5, 9, 13, 21)]
    cases += [(f"out of focus, sigma {sigma:g}", partial(blurred, sigma=sigma)) for sigma in (1.5, 2.5, 3.5)]
    for name, damage in cases:
        looks = [found(damage(photo)) for photo in photos]
        sigma, motion = (
            float(np.median(v)) for v in ([f.blur_sigma or 0.0 for f in looks], [f.motion or 0.0 for f in looks])
        )
        gains = by_strength(photos, damage, "unblur")[2:]
        rows.append(
            [name, f"{sigma:.1f}", f"{motion:.2f}", *(f"{mean:+.2f} ({least:+.2f})" for mean, least, _ in gains)]
        )
        print(" | ".join(rows[-1]), flush=True)
    return rows


def rows_of_colour(data: Path, count: int) -> list[list[str]]:
    """What of the limit of the check of colours good results use up, and colours that are shifted a little."""
    photos = held_out(data / PHOTOS, count)
    rows = []
    for name in ("none", "noise 15", "noise 50", "JPEG 10", "JPEG 30", "blur 1", "blur 2"):
        truth: list[float] = []
        ours: list[float] = []
        shifted: list[float] = []
        for photo in photos:
            before = np.ascontiguousarray(DAMAGE[name](photo))
            picture, seen = as_file(name, before), found(before)
            for told, after in (
                (truth, photo),
                (ours, answer("general", before)),
                (shifted, tinted(answer("general", before))),
            ):
                sigmas = seen.noise_sigma, seen.blur_sigma or 0.0
                checked = guards(picture, picture.with_pixels(after), *sigmas, quality=seen.visible_quality)
                told.append(checked.results[0].value / checked.results[0].limit)
        rows.append([name, f"{max(truth):.2f}", f"{max(ours):.2f}", f"{min(shifted):.2f}"])
        print(" | ".join(rows[-1]), flush=True)
    return rows


def rows_of_earlier_saves(data: Path, count: int) -> list[list[str]]:
    """For a limit of `earlier_quality`: how many photographs would be taken for saved more strongly before."""
    photos = held_out(data / PHOTOS, 4 * count, 512)
    cases: list[Case] = [("as it is", lambda p: p)]
    cases += [(f"saved once, JPEG {quality}", partial(saved, quality=quality)) for quality in (92, 85)]
    cases += [
        (f"JPEG {quality}, then 95", partial(saved_again, quality=quality)) for quality in (50, 60, 65, 70, 75, 80)
    ]
    rows = []
    for name, damage in cases:
        shown = [found(damage(photo)).visible_quality for photo in photos]
        told = np.array([100 if quality is None else quality for quality in shown])
        shares = [f"{100 * float((told < limit).mean()):.0f} %" for limit in EARLIER_LIMITS]
        rows.append([name, f"{float(np.median(told)):.0f}", *shares])
        print(" | ".join(rows[-1]), flush=True)
    return rows


PARTS: dict[str, tuple[str, tuple[str, ...], Callable[[Path, int], list[list[str]]]]] = {
    "strength": (
        "Auto: choices",
        ("`general` at strength", *(f"{strength:g}" for strength in STRENGTHS)),
        rows_of_strength,
    ),
    "faces": ("Auto: choices, faces", ("portraits", "told blur", "`portrait` at 0.6", "at 1"), rows_of_faces),
    "movement": (
        "Auto: choices, movement",
        ("photographs", "told blur", "told movement", "`unblur` at 0.6", "at 0.8", "at 1"),
        rows_of_movement,
    ),
    "earlier": (
        "Auto: choices, earlier saves",
        ("photographs", "told quality", *(f"below {limit}" for limit in EARLIER_LIMITS)),
        rows_of_earlier_saves,
    ),
    "colour": ("Auto: choices, colour", ("damage", "the truth", "`general`", "red +6, blue -8"), rows_of_colour),
}
SAID = {
    "strength": "PSNR gained in the mean (for the tenth that gains least), and the share of fine detail that is left.",
    "faces": "PSNR gained in the mean (for the tenth that gains least).",
    "movement": "PSNR gained in the mean (for the tenth that gains least).",
    "earlier": "Here four times as many, whole, some of which the network that looks has learned from: the quality "
    "that the pixels show, in the median, and the share below each limit.",
    "colour": "Of the limit of the check `colour` is used up, at most by good results and at least by shifted ones:",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--data", type=Path, default=DATA, help="folder of training pictures")
    parser.add_argument("--count", type=int, default=10, help="photographs")
    parser.add_argument("--show", action="store_true", help="write nothing")
    given = parser.parse_args()
    for part in given.part:
        title, head, rows_of = PARTS[part]
        rows = rows_of(given.data, given.count)
        if not given.show:
            text = f"{machine()}. {given.count} pictures from training that no network has learned from. {SAID[part]}"
            rewrite(title, f"{text}\n\n{table(head, rows)}")


if __name__ == "__main__":
    main()
