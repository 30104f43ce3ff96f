"""The figures on the cards, copied from the tables: `python -m benchmarks.cards`.

A card's `figures` are rows of RESULTS.md: the table's section, and for each row its figures by the table's own heads.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from benchmarks.results import RESULTS
from darkroomd.places import shipped_folder

# network: (section, first cell of the rows as a pattern, heads of the columns)
SHOWN = {
    "general": ("Quality: general", r"CBSD68, .* 8-bit files|LIVE1.*|real noise.*|clean.*", ("input dB", "ours dB")),
    "upscale-2": ("Quality: upscale", r".*×2", ("bicubic dB", "ours dB")),
    "upscale-4": ("Quality: upscale", r".*×4", ("bicubic dB", "ours dB")),
    "unblur": ("Quality: unblur", r".*", ("input dB", "ours dB")),
    "text": ("Quality: text", r".*", ("input", "ours")),
    "portrait": ("Quality: portrait", r".*: (input|general|portrait)|.* skin .*|.*glasses .*", ()),
    "old-photo": ("Quality: old-photo", r".*", ("input dB", "ours dB")),
}


def tables(section: str) -> Iterator[list[dict[str, str]]]:
    """The tables of one section of RESULTS.md, each a list of rows by the heads of their columns."""
    text = RESULTS.read_text()
    part = next((p for p in text.split("\n## ") if p.startswith(f"{section}\n")), "")
    for block in re.findall(r"(?:^\|.*\n)+", part + "\n", re.MULTILINE):
        lines = [[cell.strip() for cell in line.strip()[2:-2].split(" | ")] for line in block.splitlines()]
        yield [dict(zip(lines[0], line, strict=False)) for line in lines[2:]]


def figures(network: str) -> dict[str, dict[str, float]]:
    """Row -> head -> figure; empty when the table is not there, or none is made for this network."""
    if network not in SHOWN:
        return {}
    section, pattern, heads = SHOWN[network]
    found: dict[str, dict[str, float]] = {}
    for rows in tables(section):
        for row in rows:
            label = next(iter(row.values()))
            wanted = heads or tuple(row)[1:]
            if re.fullmatch(pattern, label) and set(wanted) <= row.keys():
                numbers = {head: row[head].removesuffix(" %") for head in wanted}
                told = {head: float(n) for head, n in numbers.items() if re.fullmatch(r"[-+]?[\d.]+", n)}
                found |= {label: told} if told else {}
    return found


def rewritten(text: str, network: str, found: dict[str, dict[str, float]]) -> str:
    """cards.yaml with the `figures` of one card replaced; everything else stays as it is, comments too."""
    lines = [
        f"    {_quoted(row)}: {{{', '.join(f'{h}: {v:g}' for h, v in values.items())}}}"
        for row, values in found.items()
    ]
    block = "\n".join(["  figures: # from benchmarks/RESULTS.md, by benchmarks/cards.py", *lines, ""])
    card = re.search(rf"^{re.escape(network)}:\n(?:  .*\n|\n)*", text, re.MULTILINE)
    assert card is not None, network
    old = re.search(r"^  figures:.*\n(?:    .*\n)*", card[0], re.MULTILINE)
    new = card[0].replace(old[0], block) if old else card[0].rstrip("\n") + "\n" + block
    return text.replace(card[0], new)


def _quoted(words: str) -> str:
    return yaml.safe_dump(words, allow_unicode=True, width=1000).splitlines()[0]


def main(folder: Path | None = None) -> None:
    path = (folder or shipped_folder()) / "cards.yaml"
    text = path.read_text()
    for network in yaml.safe_load(text):
        if found := figures(network):
            text = rewritten(text, network, found)
    path.write_text(text)


if __name__ == "__main__":
    main()
