"""Networks: cards, digests, and files that are what their card says. device.py opens sessions on them.

A network is a file plus a card in models/cards.yaml; nothing here knows a network by name. A file whose SHA-256
is not the one on its card is never loaded.
"""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from darkroomd.errors import Unavailable
from darkroomd.places import shipped_folder

# libyaml where PyYAML was built with it, which is quicker
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
HOW_TO_FETCH = "darkroomd models fetch"


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of a network; models/README.md explains each field. Lengths in pixels of the input.

    tile: the longest side of a tile that is worth its memory. halo: context a tile needs around what it answers
    for. blend: pixels beyond it in which neighbouring tiles fade into each other. memory_bytes_per_pixel: what the
    runtime holds for each pixel of a tile.
    """

    name: str
    file: str
    sha256: str
    purpose: str
    licence: str
    scale: int
    multiple_of: int
    halo: int
    blend: int
    tile: int
    parameters: int
    multiply_adds_per_pixel: int
    memory_bytes_per_pixel: int
    recipe: str
    recipe_sha256: str
    steps: int
    data: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """The short form of the file's SHA-256, as it stands in verdicts."""
        return self.sha256[:12]

    @property
    def gflop_per_megapixel(self) -> float:
        """Arithmetic for one megapixel of input: two operations per multiply-add."""
        return 2 * self.multiply_adds_per_pixel / 1000


@dataclass(frozen=True, slots=True)
class DetectorCard:
    """What is known of a detector: a network of others that finds something, and changes nothing.

    It does not ship. package, version: of the Python package that carries it; member: its file in there; notices: the
    files in there with the licence of the detector. size: of the file, bytes.
    """

    name: str
    kind: str
    file: str
    sha256: str
    purpose: str
    licence: str
    copyright: str
    package: str
    version: str
    member: str
    notices: list[str]
    size: int

    @property
    def digest(self) -> str:
        """The short form of the file's SHA-256."""
        return self.sha256[:12]


@dataclass(frozen=True, slots=True)
class LookCard:
    """What is known of the network that looks (kind: look). recipe, tiles: how it was made, of how many."""

    name: str
    kind: str
    file: str
    sha256: str
    purpose: str
    licence: str
    parameters: int
    recipe: str
    recipe_sha256: str
    tiles: int
    data: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """The short form of the file's SHA-256."""
        return self.sha256[:12]


def look_card(folder: Path | None = None) -> LookCard | None:
    """The card of the network that looks, None where there is none; Unavailable as for cards."""
    return next((card for card in _all_cards(folder).values() if isinstance(card, LookCard)), None)


def detectors(folder: Path | None = None) -> dict[str, DetectorCard]:
    """Every detector's card by name; Unavailable as for cards."""
    return {name: card for name, card in _all_cards(folder).items() if isinstance(card, DetectorCard)}


def is_whole(card: Card | DetectorCard | LookCard, folder: Path | None = None) -> bool:
    """Whether the file on the card is there, as it should be."""
    try:
        verified_bytes(card, folder)
    except Unavailable:
        return False
    return True


def sha256_of(content: bytes) -> str:
    """As it stands on a card."""
    return hashlib.sha256(content).hexdigest()


def cards(folder: Path | None = None) -> dict[str, Card]:
    """Every network's card by name. Unavailable when cards.yaml is missing or damaged, or a card lacks a field."""
    return {name: card for name, card in _all_cards(folder).items() if isinstance(card, Card)}


def _all_cards(folder: Path | None) -> dict[str, Card | DetectorCard | LookCard]:
    path = (folder or shipped_folder()) / "cards.yaml"
    try:
        text = path.read_text()
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}; reinstall darkroomd to get its networks back") from error
    return _read(path, text)


@lru_cache(maxsize=4)  # asked for three times with each photo, 6 ms each
def _read(path: Path, text: str) -> dict[str, Card | DetectorCard | LookCard]:
    kinds = {None: Card, "detector": DetectorCard, "look": LookCard}
    found: dict[str, Card | DetectorCard | LookCard] = {}
    try:
        for name, values in yaml.load(text, Loader=LOADER).items():
            found[name] = kinds[values.get("kind")](name=name, **values)
    except KeyError as error:
        raise Unavailable(f"{path}: {name}: there is no kind {error}") from error
    except TypeError as error:
        raise Unavailable(f"{path}: {name}: {str(error).partition('__init__() ')[2]}") from error
    except (yaml.YAMLError, AttributeError) as error:
        raise Unavailable(f"{path}: these are no cards; reinstall darkroomd, or restore the file") from error
    return found


def digests(folder: Path | None = None) -> dict[str, str]:
    """Name to SHA-256 of every network: what makes two results comparable."""
    return {name: card.sha256 for name, card in cards(folder).items()}


def verified_bytes(card: Card | DetectorCard | LookCard, folder: Path | None = None) -> bytes:
    """The network's file, if it is the one on the card; Unavailable (with both digests) if not."""
    path = (folder or shipped_folder()) / card.file
    try:
        content = path.read_bytes()
    except OSError as error:
        back = f"{HOW_TO_FETCH} fetches it" if isinstance(card, DetectorCard) else "reinstall darkroomd to get it back"
        raise Unavailable(f"network {card.name}: {path}: {error.strerror}; {back}") from error
    found = sha256_of(content)
    if found != card.sha256:
        raise Unavailable(
            f"network {card.name}: {path} is not the file on its card "
            f"(SHA-256 {found[:12]}…, card {card.sha256[:12]}…); reinstall darkroomd, or restore the file"
        )
    return content


def card(name: str) -> Card:
    """A network's card; Unavailable, with the names that there are, when it has none."""
    known = cards()
    if name not in known:
        raise Unavailable(f"no network named {name!r}; there are: {', '.join(sorted(known))}")
    return known[name]
