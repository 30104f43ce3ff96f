"""Man pages, from what the commands say of themselves: plain facts in, pages in the language of man(7) out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

CODES = (
    ("0", "all is well"),
    ("1", "some photos were refused or failed, or something is not as it should be"),
    ("2", "wrong usage"),
    ("69", "a network, a device or the disk of darkroomd's own files is not there"),
    ("73", "a result cannot be written"),
    ("75", "another darkroomd has the state folder, or photos must wait"),
    ("78", "the config has faults"),
)


@dataclass(frozen=True, slots=True)
class Page:
    """One command. path: such as `darkroomd config show`. options, commands: (how it is written, what it is for)."""

    path: str
    brief: str
    text: str
    words: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    commands: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """Under which `man` finds it."""
        return self.path.replace(" ", "-")


def written(page: Page, version: str) -> str:
    """The page, for `man`. It has no date, so that the same version always gives the same bytes."""
    return "\n".join(_lines(page, version)) + "\n"


def _lines(page: Page, version: str) -> Iterator[str]:
    yield f'.TH "{_plain(page.name.upper())}" "1" "" "darkroomd {_plain(version)}" "darkroomd"'
    yield ".SH NAME"
    yield f"{_plain(page.name)} \\- {_plain(page.brief)}"
    yield ".SH SYNOPSIS"
    yield f"\\fB{_plain(page.path)}\\fR {_plain(' '.join(page.words))}"
    yield ".SH DESCRIPTION"
    yield _plain(page.text)
    for heading, rows in (
        ("OPTIONS", page.options),
        ("COMMANDS", page.commands),
        ("EXIT STATUS", () if page.commands else CODES),
    ):
        if rows:
            yield f".SH {heading}"
        for written_so, meaning in rows:
            yield ".TP"
            yield f"\\fB{_plain(written_so)}\\fR"
            yield _plain(meaning)
    if " " in page.path:
        yield ".SH SEE ALSO"
        yield f"\\fB{_plain(page.path.rpartition(' ')[0].replace(' ', '-'))}\\fR(1)"


def _plain(text: str) -> str:
    """Text in which man sees nothing to act on: a dash stays a dash, and no line begins with a dot or an apostrophe."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE)
