"""How often look tells what a picture shows: `python -m benchmarks.content [--data FOLDER]`.

The sets of faces, pages and old photographs are labelled by what they are; the two of sharp photographs were labelled
by eye, below. Where two labels are right, either counts. Rewrites its section of RESULTS.md.
"""

import argparse
from collections import Counter
from pathlib import Path

import pyvips

from benchmarks.bench import SUFFIXES
from benchmarks.quality import DATA
from benchmarks.results import machine, rewrite, table
from darkroomd.job import Picture, Tags
from darkroomd.look import findings

SIDE = 640  # longest side at which a picture is shown to look
SETS = {
    "face_gt": ("portrait",),
    "real_faces": ("portrait",),
    "real_text": ("document",),
    "old_photos": ("old photo",),
    "photo_gt": ("photo",),
    "cbsd68": ("photo",),
}
# portraits without colour are old photographs as well; in the order of the files' names, views of land, water, sky and
# towns from afar are landscapes, what has a subject in front of such a view is either, and so are half-length portraits
GREY_PORTRAITS = ("Einstein", "Hepburn", "099_Victoria")
LANDSCAPES = {"photo_gt": (11, 19), "cbsd68": (13, 16, 17, 19, 28, 32, 41, 48, 49, 52, 56, 57)}
EITHER = {
    "photo_gt": (0, 2, 4, 5, 7, 13),
    "cbsd68": (2, 10, 18, 20, 21, 27, 29, 36, 39, 42, 43, 50, 51, 55, 58, 59, 60, 65, 67),
}
PORTRAITS = {"cbsd68": (33, 61)}
PEOPLE = {"photo_gt": (6, 15), "cbsd68": (1, 22, 40, 45, 53)}


def labels(name: str, number: int, path: Path) -> tuple[str, ...]:
    """What is right for this picture."""
    if name == "real_faces" and any(word in path.name for word in GREY_PORTRAITS):
        return ("portrait", "old photo")
    if number in PORTRAITS.get(name, ()):
        return ("portrait",)
    if number in LANDSCAPES.get(name, ()):
        return ("landscape",)
    if number in EITHER.get(name, ()):
        return ("photo", "landscape")
    if number in PEOPLE.get(name, ()):
        return ("photo", "portrait")
    return SETS[name]


def told(path: Path) -> str:
    image = pyvips.Image.thumbnail(str(path), SIDE, height=SIDE, size="down")
    image = image.flatten(background=255) if image.hasalpha() else image
    pixels = image.colourspace("b-w" if image.bands == 1 else "srgb").cast("uchar").numpy()
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return findings(Picture(pixels, None, "png", Tags()), frozenset({"faces", "text"})).content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--every", type=int, default=1, help="each n-th picture of a set")
    parser.add_argument("--show", action="store_true", help="write nothing")
    given = parser.parse_args()
    rows, right_at_all, count_at_all = [], 0, 0
    for name, kinds in SETS.items():
        paths = sorted(p for p in (given.data / name).iterdir() if p.suffix.lower() in SUFFIXES - {".tif"})
        answers: Counter[str] = Counter()
        right = 0
        for number, path in [*enumerate(paths)][:: given.every]:
            answer = told(path)
            answers[answer] += 1
            good = answer in labels(name, number, path)
            right += good
            if not good:
                print(name, number, path.name, answer, "instead of", labels(name, number, path), flush=True)
        right_at_all, count_at_all = right_at_all + right, count_at_all + answers.total()
        said = ", ".join(f"{count} {answer}" for answer, count in answers.most_common())
        rows.append([name, " or ".join(kinds), str(answers.total()), f"{100 * right / answers.total():.0f} %", said])
        print(" | ".join(rows[-1]), flush=True)
    share = 100 * right_at_all / count_at_all
    rows.append(["**all**", "", str(count_at_all), f"**{share:.0f} %** (asked: 90 %)", ""])
    if not given.show:
        text = (
            f"{machine()}. What `found.content` says of pictures reduced to {SIDE} pixels; the photographs' labels, by "
        )
        text += "eye, are in the script, and of some two labels are right.\n\n"
        rewrite("Look: content", text + table(["set", "what it shows", "pictures", "right", "told"], rows))


if __name__ == "__main__":
    main()
