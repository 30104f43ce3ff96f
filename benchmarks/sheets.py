"""Contact sheets to judge by: `python -m benchmarks.sheets [SUBJECT ...]`, into sheets/, which git ignores.

Crops at 100 %, before | classic filter | ours | truth where there is one. For looking, not for showing: most of the
pictures belong to others.
"""

import argparse
import html
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyvips

from benchmarks import old_photo, portrait, text, unblur, upscale
from benchmarks.bench import Bench, Floats, file_by_mode, pixels, save_png
from benchmarks.damage import blurred, disc, gaussian, jpeg, motion, noisy
from benchmarks.filters import (
    LANCZOS,
    adaptive_threshold,
    enlarged,
    non_local_means,
    repaired,
    richardson_lucy,
    unsharp,
)
from benchmarks.quality import DATA
from darkroomd.job import Verdict
from darkroomd.places import shipped_folder

CROP = 300
ROWS_A_SHEET = 5
SHEETS = Path(__file__).parents[1] / "sheets"
Row = Sequence[Floats]  # pictures of one size, side by side


def crop(picture: Floats, place: tuple[float, float] = (0.5, 0.5), scale: int = 1) -> Floats:
    """CROP pixels of the result's size at a place (0..1 from left, from top)."""
    side = min(CROP // scale, *picture.shape[:2])
    left, top = (round(at * (length - side)) for at, length in zip(place, picture.shape[1::-1], strict=True))
    return np.clip(picture[top : top + side, left : left + side], 0, 1)


def sheet(rows: Sequence[Row]) -> Floats:
    """Rows of pictures with white lines between them; smaller ones lie on white."""
    white = 6
    height, width = max(p.shape[0] for r in rows for p in r), max(p.shape[1] for r in rows for p in r)
    columns = max(len(r) for r in rows)
    whole = np.ones((len(rows) * (height + white), columns * (width + white), 3), np.float32)
    for i, row in enumerate(rows):
        for j, one in enumerate(row):
            top, left = i * (height + white), j * (width + white)
            whole[top : top + one.shape[0], left : left + one.shape[1]] = one
    return whole


def of_general(bench: Bench) -> Iterator[tuple[str, Row]]:
    for number, path in enumerate(bench.pictures("photo_gt")[::4]):
        truth = crop(pixels(path))
        for name, damaged, sigma in (("noise", noisy(truth, 25, number), 25.0), ("jpeg", jpeg(truth, 15), 8.0)):
            ours = bench.answer("general", damaged)
            yield name, [damaged, non_local_means(damaged, sigma), ours, truth]
    for test_set in ("real_jpeg", "rni15"):
        for path in bench.pictures(test_set)[:4]:
            damaged = crop(pixels(path))
            yield "real", [damaged, non_local_means(damaged, 10), bench.answer("general", damaged)]


def of_unblur(bench: Bench) -> Iterator[tuple[str, Row]]:
    kernels = {"gaussian": gaussian(2), "focus": disc(3), "motion": motion(11, 0.5)}
    for number, path in enumerate(bench.pictures("photo_gt")[1::5]):
        truth = crop(pixels(path))
        for name, kernel in kernels.items():
            damaged = blurred(truth, kernel, unblur.NOISE_SIGMA, number)
            classic = [unsharp(damaged, 2, 1.5), richardson_lucy(damaged, kernel)]
            yield name, [damaged, *classic, bench.answer("unblur", damaged), truth]
    for path in bench.pictures("real_blur"):
        damaged = crop(pixels(path))
        yield "real", [damaged, unsharp(damaged, 2, 1.5), bench.answer("unblur", damaged)]


def of_upscale(bench: Bench) -> Iterator[tuple[str, Row]]:
    for scale in (s for s in (2, 4) if bench.has(f"upscale-{s}")):
        for pair in [*upscale.set14(bench, scale)][::4] + [*upscale.realistic(bench, scale)][::6]:
            found = upscale.results(bench, crop(pair.small, scale=scale), scale)
            yield f"x{scale}", [*found, crop(pair.truth)]
        for path in bench.pictures("realsrset")[::3]:
            small = crop(pixels(path), scale=scale)
            yield f"x{scale}-real", [enlarged(small, scale, LANCZOS), bench.answer(f"upscale-{scale}", small)]


def of_text(bench: Bench) -> Iterator[tuple[str, Row]]:
    for kind in text.DAMAGE:
        for one in [*text.sheets(bench, kind)][::3]:
            damaged = crop(one.damaged, (0.1, 0.05))
            classic = [unsharp(damaged, 2, 1.5), adaptive_threshold(damaged)]
            yield "pages", [damaged, *classic, bench.answer("text", damaged), crop(one.clean, (0.1, 0.05))]
    for _, before, after, verdict in real(bench, "real_text", "text"):
        damaged, ours = (crop(one, _middle(before, verdict)) for one in (before, after))
        yield "real", [damaged, unsharp(damaged, 2, 1.5), ours]


def of_portrait(bench: Bench) -> Iterator[tuple[str, Row]]:
    for strength in portrait.STRENGTHS:
        for one in [*portrait.portraits(bench, strength)][::5]:
            found = portrait.results(bench, one.damaged)
            left, top, right, bottom = one.face.box
            middle = ((left + right) / 2 / portrait.SIDE, (top + bottom) / 2 / portrait.SIDE)
            yield strength, [crop(p, middle) for p in (*found.values(), one.truth)]
    for _, before, after, verdict in real(bench, "real_faces", "portrait"):
        damaged, ours = (crop(one, _middle(before, verdict)) for one in (before, after))
        yield "real", [damaged, bench.answer("general", damaged), ours]


def of_old_photo(bench: Bench) -> Iterator[tuple[str, Row]]:
    for kind in old_photo.KINDS[:3]:
        for one in [*old_photo.prints(bench, kind)][::6]:
            damaged = crop(one.damaged)
            yield "prints", [damaged, repaired(damaged, one.sigma), bench.answer("old-photo", damaged), crop(one.truth)]
    for _, before, after, verdict in real(bench, "old_photos", "old-photo"):
        damaged, ours = (crop(one, _middle(before, verdict)) for one in (before, after))
        yield "real", [damaged, repaired(damaged, 6), ours]


def real(bench: Bench, test_set: str, mode: str) -> Iterator[tuple[Path, Floats, Floats, Verdict]]:
    """Real pictures as files through a mode: before, after (the same where nothing was written), and the verdict."""
    for path in bench.pictures(test_set):
        try:
            before = pixels(path)
        except pyvips.Error:  # BMP files under other names, which neither this libvips nor the product reads
            continue
        after, verdict = file_by_mode(mode, path)
        yield path, before, before if after is None else after, verdict


def of_auto(bench: Bench) -> Iterator[tuple[str, Row]]:
    """Real pictures as files through mode auto: before | after | what was found and done."""
    for test_set in ("real_faces", "real_text", "realsrset", "old_photos"):
        for path, before, after, verdict in real(bench, test_set, "auto"):
            place = _middle(before, verdict)
            views = [crop(one, place) for one in (before, after, _overlay(before, verdict))]
            yield test_set, [*views, _words(path, verdict)]


def _middle(picture: Floats, verdict: Verdict) -> tuple[float, float]:
    """Where to look: at the largest face, else at the first line of text, else at the middle."""
    boxes = sorted(verdict.found.get("faces") or [], key=lambda box: -box[2] * box[3]) or verdict.found.get("text")
    if not boxes:
        return 0.5, 0.5
    left, top, width, height = boxes[0]
    at = (left + width / 2, top + height / 2)
    room = (max(1, length - min(CROP, *picture.shape[:2])) for length in picture.shape[1::-1])
    across, down = (min(1.0, max(0.0, (a - CROP / 2) / r)) for a, r in zip(at, room, strict=True))
    return across, down


def _overlay(picture: Floats, verdict: Verdict) -> Floats:
    """The picture, paler, with faces in green and lines of text in blue."""
    marked: Floats = np.float32(0.5) + picture / np.float32(2)
    for name, colour in (("faces", (0.0, 0.6, 0.0)), ("text", (0.0, 0.2, 1.0))):
        for left, top, width, height in verdict.found.get(name) or []:
            x, y = max(0, left), max(0, top)
            framed = marked[y : top + height, x : left + width]
            inside = framed[2:-2, 2:-2].copy()
            framed[:] = colour
            framed[2:-2, 2:-2] = inside
    return marked


def _words(path: Path, verdict: Verdict) -> Floats:
    """What was found, what was done and why, as a picture of CROP × CROP."""
    found = verdict.found
    numbers = ("noise_sigma", "grain", "blur_sigma", "motion", "jpeg_quality", "visible_quality")
    lines = [path.name, f"{found.get('content')}, {found.get('megapixels')} MP"]
    lines += [f"{name} {found.get(name)}" for name in numbers]
    lines += [f"{step.model} over {step.region}, {step.strength:g}: {step.reason}" for step in verdict.steps]
    lines += [verdict.status, verdict.reason or "", *verdict.limits]
    text = html.escape("\n".join(line for line in lines if line))
    image = pyvips.Image.text(text, width=CROP - 8, font="sans 10").gravity("north-west", CROP, CROP)
    paper: Floats = 1 - image.numpy()[..., None].astype(np.float32) / np.float32(255)
    return np.repeat(paper, 3, axis=2)


SUBJECTS: dict[str, tuple[tuple[str, ...], Callable[[Bench], Iterator[tuple[str, Row]]]]] = {
    "auto": (("general",), of_auto),
    "general": (("general",), of_general),
    "upscale": (("upscale-2", "upscale-4"), of_upscale),
    "unblur": (("unblur",), of_unblur),
    "text": (("text",), of_text),
    "portrait": (("portrait",), of_portrait),
    "old-photo": (("old-photo",), of_old_photo),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", nargs="*", default=list(SUBJECTS), help=", ".join(SUBJECTS))
    parser.add_argument("--data", type=Path, default=DATA, help="folder of test sets")
    parser.add_argument("--models", type=Path, default=shipped_folder(), help="folder of networks and their cards")
    parser.add_argument("--every", type=int, default=1, help="each n-th picture of a set")
    parser.add_argument("--to", type=Path, default=SHEETS)
    given = parser.parse_args()
    bench = Bench(given.data, given.models, given.every)
    given.to.mkdir(parents=True, exist_ok=True)
    for name in given.subject:
        networks, rows_of = SUBJECTS[name]
        if not any(bench.has(network) for network in networks):
            continue
        by_kind: dict[str, list[Row]] = {}
        for kind, row in rows_of(bench):
            by_kind.setdefault(kind, []).append(row)
        for kind, rows in by_kind.items():
            for first in range(0, len(rows), ROWS_A_SHEET):
                path = given.to / f"{name}-{kind}-{1 + first // ROWS_A_SHEET}.png"
                save_png(path, sheet(rows[first : first + ROWS_A_SHEET]))
                print(path, flush=True)


if __name__ == "__main__":
    main()
