"""What the docs say is what the code does: configs load, commands parse, and nothing is left out or made up."""

import ast
import os
import re
import shlex
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import click
import pytest
import yaml
from pydantic import BaseModel

from darkroomd import cli, config, errors
from darkroomd.by_hand import Explanation
from darkroomd.job import Findings, GuardResult, Status, Step, Verdict
from darkroomd.models import Card
from darkroomd.record import Entry, Ledger, State
from darkroomd.shape import File
from darkroomd.status import status_of
from tests import pictures
from tests.command import typed

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "daemon/darkroomd"
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "models/*.md", "training/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
)
COMMANDS = ROOT / "docs/commands.md"
OPERATIONS = ROOT / "docs/operations.md"
ONE_FOLDER = "folders: [{watch: in, output: out}]\n"

# Events whose name is put together when it happens, and what it can be.
MADE_EVENTS = {
    ("_tell", "photo.{verdict.status}"): "photo.done photo.unchanged",
    ("_tell", "photo.{state}"): "photo.done photo.unchanged",
    ("info", "photo.{state}"): "photo.superseded photo.skipped photo.pending",
}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def fenced(page: Path, *languages: str) -> list[str]:
    """The blocks of a page that are marked with one of the languages."""
    found = re.findall(r"^ *```([\w-]*)[^\n]*\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [text for language, text in found if language in languages]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def first_cells(text: str) -> set[str]:
    """Every `word` in the first column of the tables in a text."""
    return {
        word
        for row in re.findall(r"^\| (`(?:\\\||[^|])*) \|", text, re.MULTILINE)
        for word in re.findall(r"`([^`]+)`", row)
    }


# Configs


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_config_in_the_docs_loads(page: Path, tmp_path: Path) -> None:
    for block in fenced(page, "yaml", "yml"):
        file = tmp_path / "config.yaml"
        file.write_text(block if re.search(r"^folders:", block, re.MULTILINE) else ONE_FOLDER + block)
        assert config.load(file, {"HOME": str(tmp_path)}).folders


def test_the_readme_shows_the_minimal_config_as_it_is() -> None:
    blocks = fenced(ROOT / "README.md", "yaml")
    assert blocks == [] or (ROOT / "config/minimal.yaml").read_text() in blocks


def config_keys(shape: type[BaseModel] = File) -> Iterator[str]:
    for name, field in shape.model_fields.items():
        yield name
        inner = [field.annotation, *get_args(field.annotation)]
        for one in inner:
            if isinstance(one, type) and issubclass(one, BaseModel):
                yield from config_keys(one)


def test_every_config_key_is_explained() -> None:
    text = prose(ROOT / "docs/configuration.md")
    headings = set(re.findall(r"^##+ `(\w+)`", text, re.MULTILINE))
    assert set(config_keys()) - first_cells(text) - headings == set()
    assert {"watch", "skip", "based_on", "quality", "redo", "max_file_mb"} <= set(config_keys())


# Commands


def command_lines(page: Path) -> Iterator[list[str]]:
    """The words of every call of darkroomd in a page's console and shell blocks, without the command itself.

    A console block has prompts and output; without any prompt it has commands, each with a remark behind three spaces.
    """
    for block in fenced(page, "console"):
        prompted = re.findall(r"^ *[$#] ((?:[^\n]*\\\n)*[^\n]*)", block, re.MULTILINE)
        prompted = prompted or [line.split("   ")[0] for line in block.splitlines()]
        yield from (call for line in prompted for call in calls(line))
    for block in fenced(page, "sh", "bash", "shell"):
        for line in block.replace("\\\n", " ").splitlines():
            yield from calls(line)


def calls(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line.replace("\\\n", " "), posix=True, punctuation_chars=True)
    lexer.commenters, lexer.whitespace_split = "#", True
    command: list[str] = []
    for word in [*lexer, ";"]:
        if not re.fullmatch(r"[();<>|&]+", word):
            command.append(word)
            continue
        while command and (re.fullmatch(r"\w+=.*", command[0]) or command[0] in ("sudo", "env", "time", "nice", "-u")):
            command = command[2:] if command[0] == "-u" else command[1:]
        if command and Path(command[0]).name == "darkroomd":
            yield command[1:]
        command = ["redirected to"] if word.startswith((">", "<")) else []


def parse(words: list[str]) -> None:
    """As click would, up to the moment before the command is carried out."""
    command: click.Command = cli.main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        inner = command.get_command(click.Context(command), words[0])
        if inner is None:
            raise click.UsageError(f"there is no command {words[0]}")
        command, words = inner, words[1:]
    # click remembers the names of --help from whoever asked a command first
    parent = None if command is cli.main else click.Context(cli.main, **cli.main.context_settings)
    with suppress(click.exceptions.Exit):  # --help and --version
        command.make_context(command.name, list(words), parent=parent)


@pytest.fixture
def files_need_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click.Path, "convert", lambda _self, value, _parameter, _context: value)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_in_the_docs_is_one(page: Path, files_need_not_exist: None) -> None:
    for words in command_lines(page):
        try:
            parse(words)
        except click.UsageError as error:
            raise AssertionError(f"darkroomd {shlex.join(words)}: {error.format_message()}") from None
        for option, value in pairwise(words):
            assert option not in ("-m", "--mode") or value in config.builtin_modes()


def test_a_wrong_command_in_the_docs_would_be_seen(files_need_not_exist: None, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ NO_COLOR=1 darkroomd enhance a.jpg --sharper | less\nnot a command\n"
        "$ cd x && darkroomd models sell\n"
        "```\n\n```sh\nsudo -u anna A=1 /opt/bin/darkroomd enhance  # no photo\ndarkroomd once > \\\n  log\n```\n"
    )
    lines = list(command_lines(page))
    assert lines == [["enhance", "a.jpg", "--sharper"], ["models", "sell"], ["enhance"], ["once"]]
    for wrong in lines[:3]:
        with pytest.raises(click.UsageError):
            parse(wrong)
    parse(lines[3])


# What changes the machine or asks the network, and where it is carried out so that it harms nobody.
BOOTED = "tests/test_booted.py"
ELSEWHERE = {
    "install-service --start": (BOOTED, '"install-service", "--system"'),
    "install-service --system --start": (BOOTED, '"install-service", "--system"'),
    "install-service --system --watch /srv/photos/inbox --output /srv/photos/enhanced": (
        BOOTED,
        '"install-service", "--system"',
    ),
    "uninstall-service --system": (BOOTED, '"uninstall-service", "--system"'),
    "models fetch": ("tests/test_fetch.py", '"models", "fetch"'),
}
TOLD_BY_THE_MACHINE = ("check", "doctor")  # 1 where its disk is nearly full, or a detector was not fetched


@pytest.fixture
def furnished(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with every photo and config that the docs name, in which nothing asks the machine's own systemd."""
    for name in ("holiday.jpg", "beach.jpg", "holidays/a.jpg", "Pictures/Inbox/holidays/b.jpg"):
        pictures.write_jpeg(at_home / name, pictures.with_noise(pictures.scene(48, 40), 12))
    pictures.write_png(at_home / "small.png", pictures.scene(24, 20))
    pictures.image_of(pictures.scene(48, 40)).tiffsave(str(at_home / "panorama.tif"))
    for copy in ("config.yaml", "config/minimal.yaml", "config/darkroomd/config.yaml"):
        (at_home / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "config/minimal.yaml", at_home / copy)
    (at_home / "examples").mkdir()
    shutil.copy(ROOT / "examples/config.yaml", at_home / "examples")
    (at_home / "bin").mkdir()
    (at_home / "bin/systemctl").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", f"{at_home}/bin:{os.environ['PATH']}")
    return at_home


@pytest.mark.parametrize("line", sorted({shlex.join(words) for page in PAGES for words in command_lines(page)}))
def test_every_command_in_the_docs_does_what_it_is_shown_for(
    line: str, furnished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if line in ELSEWHERE:
        file, call = ELSEWHERE[line]
        assert call in (ROOT / file).read_text()
        return
    if line.startswith("run "):  # until its first photo is done
        monkeypatch.setattr(cli, "_say_verdict", lambda _verdict: os.kill(os.getpid(), signal.SIGTERM))
    words = [word.replace("~", str(furnished), 1) if word.startswith("~") else word for word in shlex.split(line)]
    answer = typed(*words)
    assert answer.exit_code in ((0, 1) if words[0] in TOLD_BY_THE_MACHINE else (0,)), answer.output


def command_tree(group: click.Group = cli.main, path: str = "darkroomd") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from command_tree(command, f"{path} {name}")


def sections() -> dict[str, str]:
    """commands.md by the command in each heading."""
    parts = re.split(r"^##+ `(darkroomd[^`]*)`\n", COMMANDS.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_and_option_is_explained_and_no_other() -> None:
    real = {
        path: {
            name for one in command.params if isinstance(one, click.Option) for name in (*one.opts, *one.secondary_opts)
        }
        for path, command in command_tree()
    }
    shown = {
        path: {word.split()[0] for word in first_cells(text) if word.startswith("-")}
        for path, text in sections().items()
    }
    assert shown == real


def test_every_command_says_its_exit_codes() -> None:
    assert [path for path, text in sections().items() if "Exit codes" not in text] == [
        "darkroomd config show",
        "darkroomd config schema",
        "darkroomd models list",
        "darkroomd models verify",
    ]  # told for both at `darkroomd config` and `darkroomd models`


# What scripts read


def test_every_field_of_a_verdict_is_explained() -> None:
    text = sections()["darkroomd enhance"]
    step, guard = Step("n", "d", "all", 1.0), GuardResult("colour", 0, 1, True)
    verdict: dict[str, Any] = Verdict(Path("a"), "done", "auto", steps=(step,), guards=(guard,)).as_json()
    assert verdict.keys() | Findings(1, 0, 0, 1, 90, 0).facts().keys() <= first_cells(text)
    inside = {*verdict["steps"][0], *verdict["guards"][0]}
    assert inside <= set(re.findall(r"`(\w+)`", text))


def test_every_field_of_an_explanation_is_explained() -> None:
    facts = Explanation(Path("a"), "auto", "", None, {}, (), (), 1, 1, 0, 0).as_json()
    assert facts.keys() <= set(re.findall(r"`(\w+)`", sections()["darkroomd explain"]))


def test_every_field_of_the_status_is_explained(tmp_path: Path) -> None:
    with Ledger.open(tmp_path, owner=False) as ledger:
        facts = status_of(ledger, [], 0.0)
    told = sections()["darkroomd status"]
    assert facts.keys() <= first_cells(told)
    assert {field.name for field in fields(Entry)} <= set(re.findall(r"`(\w+)`", told))


def test_every_state_of_a_photo_is_explained() -> None:
    part = OPERATIONS.read_text().split("## States of a photo")[1].split("\n## ")[0]
    assert first_cells(part) == set(get_args(State))


def test_every_exit_code_is_explained_and_no_other() -> None:
    part = OPERATIONS.read_text().split("## Exit codes")[1].split("\n## ")[0]
    shown = {int(code) for code in re.findall(r"^\| (\d+) \|", part, re.MULTILINE)}
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert shown == codes | {click.UsageError.exit_code}


def test_every_field_of_a_card_is_explained() -> None:
    shown = first_cells((ROOT / "models/README.md").read_text())
    assert {field.name for field in fields(Card)} - {"name"} <= shown
    for card in yaml.safe_load((ROOT / "models/cards.yaml").read_text()).values():
        assert card.keys() <= shown


# The log


def logged() -> dict[str, set[str]]:
    """Every event in the code, with the fields that stand beside its name; those in a dictionary are not seen."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = node.func.value
            is_log = isinstance(owner, ast.Name) and owner.id == "log" and node.func.attr != "set_up"
            if not is_log and node.func.attr not in ("_tell", "_put_off"):
                continue
            for text in filter(None, map(event_in, node.args)):
                for event in MADE_EVENTS.get((node.func.attr, text), text).split():
                    found.setdefault(event, set()).update(word.arg for word in node.keywords if word.arg)
    return found


def event_in(argument: ast.expr) -> str | None:
    """The name of an event; with {…} where something is put in."""
    text = ast.unparse(argument)[2:-1] if isinstance(argument, ast.JoinedStr) else getattr(argument, "value", None)
    return text if isinstance(text, str) and re.match(r"\w+\.[\w{]", text) else None


def test_every_event_of_the_log_is_explained_with_its_fields_and_no_other() -> None:
    part = OPERATIONS.read_text().split("## The log")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([\w.]+)` \| [\w, ]+ \|([^|]*)\|", part, re.MULTILINE)
    shown = {event: set(re.findall(r"`(\w+)`", words)) for event, words in rows}
    assert shown.keys() == logged().keys()
    assert {event: told - shown[event] for event, told in logged().items() if told - shown[event]} == {}


# Links and names


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_that_the_docs_name_exists(page: Path) -> None:
    for file, test in re.findall(r"(tests/[\w/]+\.py)::(\w+)", page.read_text()):
        assert f"def {test}(" in (ROOT / file).read_text(), test


def test_every_row_of_the_catalogues_names_the_test_that_proves_it() -> None:
    text = OPERATIONS.read_text()
    rows = []
    for heading in ("## When something is wrong", "### How photos arrive", "### Whatever else may come"):
        part = text.partition(heading)[2].partition("\n#")[0]
        rows += [line for line in part.splitlines() if line.startswith("| ")][1:]
    rows = [row for row in rows if not row.startswith("| ---")]
    assert len(rows) > 100
    assert [row for row in rows if not re.search(r"`tests/[\w/]+\.py::test_\w+` \|$", row)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_make_target_that_the_docs_name_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE)) | {".venv/.ready"}
    text = page.read_text()
    named = re.findall(r"`make ([\w./-]+)", text) + [
        word for block in fenced(page, "sh", "console") for word in re.findall(r"^(?:\$ )?make ([\w./-]+)", block, re.M)
    ]
    assert [name for name in named if name not in targets] == []


def test_dashboard_and_alerts_ask_for_events_states_and_stages_that_there_are() -> None:
    text = (ROOT / "config/grafana-dashboard.json").read_text() + OPERATIONS.read_text().split("## Figures")[1]
    real = {"event": set(logged()), "state": set(get_args(State)), "status": set(get_args(Status))}
    asked = re.findall(r'\b(event|state|status)=~?\\?"([^"\\]+)', text)
    assert {label for label, _ in asked} >= {"event", "state"}
    for label, words in asked:
        assert set(words.split("|")) <= real[label], (label, words)
