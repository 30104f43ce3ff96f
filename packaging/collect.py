"""For packages that bring their own libraries: a wheel of darkroomd and what it needs, in one folder.

    python packaging/collect.py WHEEL FOLDER [EXTRA]

The libraries are those of the environment that runs this, file by file as pip installed them, with their licences: the
versions that the tests ran with, and no network. Prints the Python version that the folder is for.
"""

import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement


def needed(name: str, extras: frozenset[str], seen: set[str]) -> Iterator[Distribution]:
    """The libraries of a distribution, and theirs, each once."""
    for text in distribution(name).requires or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
            continue
        key = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if key not in seen:
            seen.add(key)
            yield distribution(requirement.name)
            yield from needed(requirement.name, frozenset(requirement.extras), seen)


def copied(library: Distribution, folder: Path) -> None:
    """Every file but commands and caches."""
    for file in library.files or []:
        if ".." in file.parts or "__pycache__" in file.parts:
            continue
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(file.locate()), target)


def main(wheel: Path, folder: Path, extra: str = "cpu") -> None:
    folder.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    for library in needed("darkroomd", frozenset([extra]), {"darkroomd"}):
        copied(library, folder)
    print(f"{sys.version_info.major}.{sys.version_info.minor}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
