"""What the networks do to pictures whose truth is known: `python -m benchmarks.quality [SUBJECT ...]`.

Input | classic filter | ours, on public test sets that no network has trained on. Each subject rewrites its section of
RESULTS.md; a subject whose network is not there is left out. At the end the figures on the cards are copied from the
tables. `--every 4` takes each fourth picture, for a first look, and says so.
"""

import argparse
from pathlib import Path
from types import ModuleType

from benchmarks import cards, colour, general, hopeless, old_photo, portrait, text, texture, unblur, upscale, writing
from benchmarks.bench import Bench
from benchmarks.results import machine, rewrite
from darkroomd.places import shipped_folder

DATA = Path(__file__).parents[2] / "shared" / "data" / "test"
SUBJECTS: dict[str, ModuleType] = {
    "general": general,
    "upscale": upscale,
    "unblur": unblur,
    "text": text,
    "portrait": portrait,
    "old-photo": old_photo,
    "texture": texture,
    "colour": colour,
    "hopeless": hopeless,
    "writing": writing,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", nargs="*", choices=[*SUBJECTS, []], default=list(SUBJECTS))
    parser.add_argument("--data", type=Path, default=DATA, help="folder of test sets")
    parser.add_argument("--models", type=Path, default=shipped_folder(), help="folder of networks and their cards")
    parser.add_argument("--every", type=int, default=1, help="a first look: each n-th picture of a set")
    given = parser.parse_args()
    if not given.data.is_dir():
        raise SystemExit(f"{given.data} is not there: name the folder of test sets with --data")
    bench = Bench(given.data, given.models, given.every)
    for name in given.subject:
        subject = SUBJECTS[name]
        if not any(bench.has(network) for network in subject.NETWORKS):
            print(f"{name}: no network yet")
            continue
        look = f" A first look, at one picture in {given.every}." if given.every > 1 else ""
        section = f"{machine()}.{look} {subject.section(bench)}"
        if given.models == shipped_folder():
            rewrite(subject.TITLE, section)
        else:
            print(section)
    if given.models == shipped_folder():
        cards.main()


if __name__ == "__main__":
    main()
