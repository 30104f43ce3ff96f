"""What writing costs: how much of a network's gain each format loses again. Part of `python -m benchmarks.quality`.

The network's answer against the truth, and the file that the product writes of it against the truth: the difference is
what the format, its quality and its colour at half resolution take away.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.bench import Bench, Floats, means, pixels, told
from benchmarks.damage import jpeg, noisy
from benchmarks.measures import psnr
from benchmarks.results import table
from darkroomd.job import Output, Picture, Tags
from darkroomd.save import encode

TITLE = "Quality: writing"
NETWORKS = ("general",)
STEP = 4  # every so many-th picture of CBSD68
# the default was chosen by the middles of these pictures, which networks have trained on, beside the test sets
TRAINING_SETS, TRAINING_PICTURES, TRAINING_SIDE = ("clic2k", "cid22"), 8, 320

# format, quality, whether the photo's colour came at half resolution
WAYS = [
    ("jpeg", 85, True), ("jpeg", 85, False), ("jpeg", 92, True), ("jpeg", 94, True), ("jpeg", 95, True),
    ("jpeg", 96, True), ("jpeg", 97, True), ("webp", 92, True), ("webp", 96, True), ("avif", 92, True),
    ("avif", 96, True), ("png", 96, True), ("tiff", 96, True),
]  # fmt: skip


def written(answer: Floats, form: str, quality: int, subsampled: bool) -> tuple[Floats, float]:
    """The pixels of the file that the product writes, and its bits a pixel. answer: (height, width, 3), 0..1."""
    codes = np.clip(np.rint(answer * 65535), 0, 65535).astype(np.uint16)
    photo = Picture(codes, None, "jpeg", Tags(), subsampled=subsampled)
    with TemporaryDirectory() as name:
        path = Path(name) / "out"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            encode(photo, form, Output(quality=quality), descriptor, None, "0")
        finally:
            os.close(descriptor)
        return pixels(path), 8 * path.stat().st_size / (codes.shape[0] * codes.shape[1])


def section(bench: Bench) -> str:
    training = Bench(bench.data.parent / "train" / "photo", bench.models, bench.every)
    chosen_by = [middle(pixels(path)) for name in TRAINING_SETS for path in some(training, name)]
    return (
        "In turn with noise of sigma 10 and as JPEG 70, through `general`; the file that the product writes for a "
        "photo whose colour came at half or full resolution. Asked for: below 0.3 dB. The default was chosen by the "
        "first table."
        f"\n\nMiddles of {len(chosen_by)} training pictures:\n\n{cost(bench, chosen_by)}\n\n"
        f"Every {STEP}th picture of CBSD68, whose own colour was halved long ago:\n\n"
        + cost(bench, [pixels(path) for path in bench.pictures("cbsd68")[::STEP]])
    )


def some(bench: Bench, name: str) -> list[Path]:
    found = bench.pictures(name)
    return found[:: max(1, len(found) // TRAINING_PICTURES)][:TRAINING_PICTURES]


def middle(picture: Floats) -> Floats:
    top, left = ((length - TRAINING_SIDE) // 2 for length in picture.shape[:2])
    return np.ascontiguousarray(picture[top : top + TRAINING_SIDE, left : left + TRAINING_SIDE])


def cost(bench: Bench, truths: list[Floats]) -> str:
    pairs: list[tuple[Floats, Floats]] = []
    for number, truth in enumerate(truths):
        damaged = noisy(truth, 10, number, True) if number % 2 else jpeg(truth, 70)
        pairs.append((bench.answer("general", damaged), truth))
    rows = []
    for form, quality, subsampled in WAYS:

        def judge(pair: tuple[Floats, Floats], way: tuple[str, int, bool] = (form, quality, subsampled)) -> list[float]:
            answer, truth = pair
            result, bits = written(answer, *way)
            before = psnr(np.clip(answer, 0, 1), truth)
            return [before, before - psnr(result, truth), bits]

        before, cost, bits = means(judge, pairs)
        lossy = form in ("jpeg", "webp", "avif")
        rows.append(told([
            form.upper(), f"{quality}" if lossy else "", ("half" if subsampled else "full") if form == "jpeg" else "",
            f"{before:.2f}", f"{cost:.2f}", f"{bits:.1f}",
        ]))  # fmt: skip
    head = ["format", "quality", "photo's colour", "network, dB", "cost, dB", "bits a pixel"]
    return table(head, rows)
