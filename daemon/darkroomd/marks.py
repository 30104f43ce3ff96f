"""YAML -> nodes that know where they were written. The only file that knows PyYAML's parser.

A config needs lists, mappings, text, numbers and truth values. The rest of YAML is refused here (tags, anchors, several
documents) or kept as a node without a value, so that no setting can take it (null, dates, 010, .inf).
"""

import os
import re
import stat
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# libyaml where PyYAML was built with it, which is ten times as quick
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_BYTES = 1_000_000
MAX_DEPTH = 20
# What stands for null, dates and the like: no type takes it, where None would pass for "not set".
NO_VALUE = object()

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,14})")
_DECIMAL = re.compile(r"[-+]?([0-9]{1,15}\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")
_YAML = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something was written. layer: later layers override earlier ones. The environment has no lines."""

    layer: int
    name: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.name}:{self.line}:{self.column}" if self.line else self.name


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """Something that the operator must change; sorts by place and prints as `file:line:column: key: message`."""

    place: Place
    key: str
    message: str

    def __str__(self) -> str:
        key = f"{self.key}: " if self.place.line else ""
        return shown(f"{self.place}: {key}{self.message}", 10_000)


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its key ("folders[0].watch"), the places of both, and how a message names the value.

    value is None for what no setting may be.
    """

    value: "dict[str, Node] | list[Node] | str | int | float | bool | None"
    key: str
    place: Place
    key_place: Place
    seen: str

    def fields(self) -> "dict[str, Node]":
        """The entries of a mapping; nothing for any other value."""
        return self.value if isinstance(self.value, dict) else {}

    def items(self, name: str) -> "list[Node]":
        """The items of the list under that name; nothing if it is no list."""
        found = self.fields().get(name)
        return found.value if found is not None and isinstance(found.value, list) else []

    def text(self, name: str) -> "Node | None":
        """The entry of that name if it is text."""
        found = self.fields().get(name)
        return found if found is not None and isinstance(found.value, str) else None

    def at(self, steps: tuple[str | int, ...]) -> "Node":
        """The node that names and positions lead to, or the last one on the way that is there."""
        node = self
        for step in steps:
            inner = node.value
            if isinstance(inner, list) and isinstance(step, int):
                node = inner[step]
            elif isinstance(inner, dict) and step in inner:
                node = inner[str(step)]
        return node

    def plain(self) -> Any:
        """The value without its places; NO_VALUE for what no setting may be."""
        if isinstance(self.value, dict):
            return {name: child.plain() for name, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return NO_VALUE if self.value is None else self.value

    def over(self, below: "Node") -> "Node":
        """This layer laid over the one below: mappings merge key by key, everything else replaces."""
        if not (isinstance(self.value, dict) and isinstance(below.value, dict)):
            return self
        merged = below.value | {k: v.over(below.value[k]) if k in below.value else v for k, v in self.value.items()}
        return Node(merged, below.key, below.place, below.key_place, below.seen)


def mapping(place: Place, fields: dict[str, Node], key: str = "") -> Node:
    """A mapping that nobody wrote as such."""
    return Node(fields, key, place, place, "a mapping")


def read_file(path: Path, layer: int, faults: list[Fault]) -> Node | None:
    """The YAML mapping in a file; an empty one has no fields. None, and faults, when there is no such mapping.

    Never waits on a FIFO, and reads nothing that somebody else could have written.
    """
    top = Place(layer, shown(str(path), 4096), 1, 1)
    data = b""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            refusal = _refusal(os.fstat(descriptor))
            if not refusal:
                with open(descriptor, "rb", closefd=False) as file:
                    data = file.read(MAX_BYTES + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        refusal = "does not exist: write one (config/minimal.yaml is a start), or name another with --config"
    except OSError as error:
        refusal = f"cannot be read: {error.strerror}"
    if not refusal and len(data) > MAX_BYTES:
        refusal = f"is larger than {MAX_BYTES // 1_000_000} MB: this cannot be a configuration"
    if refusal:
        faults.append(Fault(top, "file", refusal))
        return None
    try:
        text = data.removeprefix(BOM_UTF8).decode()  # utf-8-sig is a file to load, which may fail
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode()
        faults.append(Fault(_place(top, before, len(before)), "yaml", "is not UTF-8 text: save the file as UTF-8"))
        return None
    return read_text(text, top, faults)


def read_text(text: str, top: Place, faults: list[Fault]) -> Node | None:
    """The YAML mapping in a text; an empty one has no fields. None, and faults, when there is no such mapping."""
    if odd := yaml.reader.Reader.NON_PRINTABLE.search(text):
        faults.append(Fault(_place(top, text, odd.start()), "yaml", f"the character {odd.group()!r} has no place here"))
        return None
    before = len(faults)
    root: Any = None
    try:
        for event, why in _foreign(text):
            faults.append(Fault(_marked(top, event), "yaml", why))
        if len(faults) == before:
            root = yaml.compose(text, Loader=LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        index = mark.index if mark else 0
        faults.append(Fault(_place(top, text, index), "yaml", _syntax(error, text, index)))
    if len(faults) > before:
        return None
    if root is None or (isinstance(root, yaml.ScalarNode) and not root.value):
        return mapping(top, {})
    node = _node(root, "", top, top, faults)
    if not isinstance(node.value, dict):
        faults.append(Fault(node.place, "yaml", f"wants sections such as `folders:` here, not {node.seen}"))
        return None
    return node


def read_environment(environ: Mapping[str, str], layer: int, sections: tuple[str, ...], faults: list[Fault]) -> Node:
    """Every DARKROOMD_SECTION__KEY as a field of its section. A value is one plain YAML scalar, never quoted."""
    tree: dict[str, Node] = {}
    for variable in sorted(name for name in environ if name.startswith("DARKROOMD_")):
        section, gap, name = variable.removeprefix("DARKROOMD_").lower().partition("__")
        place = Place(layer, f"environment {shown(variable)}")
        if section in sections and gap:
            raw = environ[variable].strip()
            value, seen = _scalar(_tag(raw), raw)
            fields = tree.setdefault(section, mapping(place, {}, section)).fields()
            fields[name] = Node(value, f"{section}.{name}", place, place, seen)
        elif gap:
            faults.append(Fault(place, "", f"only {', '.join(sections)} can be set here, not {shown(section)!r}"))
        elif meant := [s for s in sections if section.startswith(f"{s}_")]:
            right = f"DARKROOMD_{meant[0]}__{section.removeprefix(meant[0] + '_')}".upper()
            faults.append(Fault(place, "", f"has one underscore where two are wanted: {shown(right)}"))
    return mapping(Place(layer, "environment"), tree)


def shown(text: str, limit: int = 60) -> str:
    """Text as it may stand on one line of a message."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return cut if cut.isprintable() else repr(cut)[1:-1]


def _refusal(facts: os.stat_result) -> str | None:
    if stat.S_ISDIR(facts.st_mode):
        return "is a folder: name the file in it"
    if not stat.S_ISREG(facts.st_mode):
        return "is not a regular file"
    if facts.st_uid not in (0, os.geteuid()):
        return f"belongs to user {facts.st_uid}, who could change it: chown it to root or to the user who runs this"
    if facts.st_mode & stat.S_IWOTH:
        return "can be changed by every user of this machine: chmod o-w it"
    return None


def _foreign(text: str) -> Iterator[tuple[Any, str]]:
    # On events, not nodes: an alias bomb or a thousand brackets must be refused before anything walks them.
    depth = documents = 0
    event: Any
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                yield event, "a second document begins here: one file holds one"
                return
        elif isinstance(event, yaml.AliasEvent):
            yield event, f"aliases (*{shown(str(event.anchor))}) are not taken: write the value out"
        elif getattr(event, "anchor", None):
            yield event, f"anchors (&{shown(event.anchor)}) are not taken: write the value out where it is needed"
        elif getattr(event, "tag", None):
            yield event, f"tags ({shown(event.tag)}) are not taken: write the plain value"
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                yield event, f"is nested more than {MAX_DEPTH} levels deep"
                return
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _node(node: Any, key: str, key_place: Place, top: Place, faults: list[Fault]) -> Node:
    place = _marked(top, node)
    if isinstance(node, yaml.ScalarNode):
        value, seen = _scalar(node.tag, node.value)
        return Node(value, key, place, key_place, seen)
    if isinstance(node, yaml.SequenceNode):
        items = [_node(item, f"{key}[{n}]", _marked(top, item), top, faults) for n, item in enumerate(node.value)]
        return Node(items, key, place, key_place, "a list")
    fields: dict[str, Node] = {}
    for name_node, value_node in node.value:
        at = _marked(top, name_node)
        if not isinstance(name_node, yaml.ScalarNode):
            faults.append(Fault(at, key or "yaml", "a key is one word, not a list or a mapping"))
            continue
        # A key is the word as written: a mode may be called `on`.
        name: str = name_node.value
        child = f"{key}.{shown(name)}" if key else shown(name)
        if name in fields:
            faults.append(Fault(at, child, f"is written twice (first in line {fields[name].key_place.line}): keep one"))
            continue
        fields[name] = _node(value_node, child, at, top, faults)
    return Node(fields, key, place, key_place, "a mapping")


def _scalar(tag: str, raw: str) -> tuple[str | int | float | bool | None, str]:
    """The value, and how a message names it."""
    value: str | int | float | bool | None = None
    match tag.removeprefix(_YAML):
        case "bool":
            value = raw.lower() in ("yes", "true", "on")
            spelt = str(value).lower()
            note = "" if raw == spelt else f", which YAML reads as {spelt}"
        case "null":
            note = ", which YAML reads as nothing" if raw else "nothing"
        case "timestamp":
            note = ", which YAML reads as a date"
        case "int" if _INTEGER.fullmatch(raw):
            value, note = int(raw), ""
        case "float" if _DECIMAL.fullmatch(raw):
            value, note = float(raw), ""
        case "float" if raw.lower().lstrip("+-") in (".inf", ".nan"):
            note = ", which is no number to count with"
        case "int" | "float":
            note = ", which programs read in different ways (write plain decimal digits)"
        case _ if _DECIMAL.fullmatch(raw) and "e" in raw.lower():
            value, note = raw, ", which YAML reads as text (write plain decimal digits)"
        case _:
            return raw, f"the text {shown(raw)!r}"
    return value, shown(raw) + note


def _tag(raw: str) -> Any:
    resolver: Any = yaml.resolver.Resolver()
    return resolver.resolve(yaml.ScalarNode, raw, (True, False))


def _syntax(error: yaml.YAMLError, text: str, index: int) -> str:
    if text[index : index + 1] == "\t":
        return "a tab cannot indent YAML: use spaces"
    parts = [getattr(error, "context", None), getattr(error, "problem", None)]
    return ", ".join(shown(part, 200) for part in parts if part) or "is not YAML"


def _marked(top: Place, thing: Any) -> Place:
    return Place(top.layer, top.name, thing.start_mark.line + 1, thing.start_mark.column + 1)


def _place(top: Place, text: str, index: int) -> Place:
    before = text[:index]
    return Place(top.layer, top.name, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
