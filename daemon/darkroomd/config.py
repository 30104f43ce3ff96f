"""YAML -> frozen Config, or every fault at once as `file:line:column: key: message`.

The file, then conf.d/*.yaml beside it in name order, then DARKROOMD_SECTION__KEY; what comes later wins. The shape of
each section is checked in shape.py; what spans sections (mode names, folders that overlap) is checked here on the
marked nodes, so that one wrong value hides no other fault. docs/configuration.md tells all this to users.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from string import Template
from typing import Literal

from darkroomd import marks, models, places, shape
from darkroomd.errors import ConfigError, Unavailable
from darkroomd.job import Limits, Mode, Order, Output
from darkroomd.marks import Fault, Node, Place
from darkroomd.overlap import Spot, below, enters, is_file, spot

MODE_NAME = re.compile(r"\w[\w-]{0,39}")  # it may become part of a file name
_WORDS = ("yes", "no", "on", "off", "true", "false", "null", "y", "n")  # text that YAML takes for something else
ENVIRONMENT_SECTIONS = ("output", "service", "limits")


@dataclass(frozen=True, slots=True)
class Rule:
    """An exception to a folder's mode; the first rule that matches a photo wins.

    name: a glob (fnmatch, upper and lower case alike) on the file's name, or on its path below the watched folder when
    it has a slash. mode: None exactly when skip.
    """

    name: str
    skip: bool
    mode: Mode | None


@dataclass(frozen=True, slots=True)
class Folder:
    """A watched folder and where its copies go. Both paths are absolute; neither need exist yet."""

    watch: Path
    output: Path
    mode: Mode
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """How the service uses the machine and its time.

    device: what computes, as job.DEVICE says. workers: processes, which share the cores; 0 for as many as the device
    needs. memory_limit_mb: of each, 0 for none. idle_minutes: after which a worker without photos ends. redo: whether
    a photo whose settings changed waits for a command or is enhanced again. metrics: `none`, `HOST:PORT` of this
    machine, or the path of a socket. privacy: whether the log leaves photos' names out. order: which of the waiting
    photos of a folder comes first. cores: how many may be used, 0 for all. nice: of the workers. quiet_hours:
    `HH:MM-HH:MM`, in which no photo is begun, or `none`. pause_on_battery, pause_when_busy_percent (0 for never): nor
    then. recycle_photos, recycle_mb: after so many photos, or at rest with so much memory, a worker makes room for a
    new one.
    """

    device: str = "auto"
    workers: int = 0
    settle_seconds: float = 2.0
    rescan_minutes: float = 1.0
    memory_limit_mb: int = 0
    idle_minutes: float = 5.0
    redo: Literal["ask", "on-change"] = "ask"
    metrics: str = "none"
    privacy: bool = False
    order: Order = "oldest"
    cores: int = 0
    nice: int = 10
    quiet_hours: str = "none"
    pause_on_battery: bool = False
    pause_when_busy_percent: float = 0.0
    recycle_photos: int = 500
    recycle_mb: int = 3000


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that a config decides. modes: built-in and the user's, by name. file: None when none was read.

    warnings: what still works and should be written in another way, as `file:line:column: key: message`.
    """

    file: Path | None
    folders: tuple[Folder, ...]
    modes: Mapping[str, Mode]
    output: Output
    service: Service
    limits: Limits
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """A key that has another name now. The old one works, with a warning, until the version `until`."""

    old: tuple[str, str]
    new: tuple[str, str]
    until: str


# Section and key; for one release after a key was renamed. Empty when nothing was renamed lately.
MOVED: tuple[Moved, ...] = ()


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """The config in a file, its drop-ins and the environment. Reads only; raises ConfigError with every fault."""
    faults: list[Fault] = []
    tree, warnings = _tree(path, environ, faults)
    base = Path(os.path.abspath(path.parent))  # noqa: PTH100 - resolve() would follow a symlink out of the folder
    modes = builtin_modes()
    faults += [*_mode_faults(tree, modes), *_option_faults(tree, modes)]
    faults += [*_rule_faults(tree), *_folder_faults(tree, base, environ)]
    built = _build(base / path.name, _shaped(tree, modes, faults), modes, base, environ)
    return replace(built, warnings=tuple(map(str, sorted(warnings))))


def _tree(path: Path, environ: Mapping[str, str], faults: list[Fault]) -> tuple[Node, list[Fault]]:
    """All layers as one, and what is written in an old way. ConfigError when a layer cannot be read."""
    files = [path, *_drop_ins(path.parent / "conf.d", faults)]
    layers = [marks.read_file(file, layer, faults) for layer, file in enumerate(files)]
    if layers[0] is not None and not layers[0].fields():
        faults.append(Fault(layers[0].place, "file", "is empty: begin with `folders:`, as config/minimal.yaml does"))
        layers[0] = None
    layers.append(marks.read_environment(environ, len(files), ENVIRONMENT_SECTIONS, faults))
    tree = marks.mapping(Place(0, str(path), 1, 1), {})
    warnings: list[Fault] = []
    for layer in layers:
        if layer is None:  # half a config would bring up faults that the whole one does not have
            raise _refusal(faults)
        tree = _brought_up_to_date(layer, faults, warnings).over(tree)
    return tree, warnings


def _brought_up_to_date(layer: Node, faults: list[Fault], warnings: list[Fault]) -> Node:
    """A layer with today's names for what was renamed."""
    for moved in MOVED:
        (section, key), (new_section, new_key) = moved.old, moved.new
        old = layer.at(moved.old)
        if key not in layer.fields().get(section, layer).fields():
            continue
        name = f"{new_section}.{new_key}"
        if new_key in layer.fields().get(new_section, layer).fields():
            faults.append(Fault(old.key_place, old.key, f"is the old name of {name}, which is there too: keep {name}"))
            continue
        why = f"is now called {name}; the old name works until darkroomd {moved.until}"
        warnings.append(Fault(old.key_place, old.key, why))
        left = {name: node for name, node in layer.fields()[section].fields().items() if name != key}
        new = replace(old, key=name)
        layer = replace(layer, value=layer.fields() | {section: replace(layer.fields()[section], value=left)})
        layer = marks.mapping(new.place, {new_section: marks.mapping(new.place, {new_key: new}, new_section)}).over(
            layer
        )
    return layer


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of a config as it holds: how deep it is, its text, and where its value was written (None: nowhere)."""

    depth: int
    text: str
    origin: str | None = None


def settings(path: Path | None, environ: Mapping[str, str] = os.environ) -> list[Setting]:
    """Every setting that holds, as lines of a config: defaults, file, drop-ins and environment together.

    path: None when there is no file. Raises ConfigError, with every fault.
    """
    faults: list[Fault] = []
    if path is None:
        defaults(environ)  # for its faults
        tree = marks.read_environment(environ, 1, ENVIRONMENT_SECTIONS, faults)
    else:
        load(path, environ)
        tree, _warnings = _tree(path, environ, faults)
    example = marks.read_file(places.shipped("config") / "example.yaml", 0, faults)
    if example is None:
        raise _refusal(faults)
    known = {name: node for name, node in example.fields().items() if name in ENVIRONMENT_SECTIONS}
    whole = tree.over(replace(example, value=known))
    order = [name for name in example.fields() if name in whole.fields()]
    return [*_settings({name: whole.fields()[name] for name in order}, 0, example.place.name)]


def _settings(fields: Mapping[str, Node], depth: int, example: str, dash: str = "") -> Iterator[Setting]:
    for name, node in fields.items():
        head, dash = f"{dash}{_plain(name)}:", "  " if dash else ""
        if isinstance(node.value, dict) and node.value:
            yield Setting(depth, head)
            yield from _settings(node.value, depth + 1 + bool(dash), example)
        elif isinstance(node.value, list) and node.value:
            yield Setting(depth, head)
            for item in node.value:
                yield from _settings(item.fields(), depth + 1, example, "- ")
        else:
            origin = "default" if node.place.name == example else str(node.place)
            yield Setting(depth, f"{head} {_plain(node.plain())}", origin)


def _plain(value: object) -> str:
    """A value as YAML; JSON is YAML as well, and quotes whatever might be read in another way."""
    simple = isinstance(value, str) and re.fullmatch(r"[A-Za-z/~][\w./~-]*", value) and value.lower() not in _WORDS
    return str(value) if simple else json.dumps(value, ensure_ascii=False)


def defaults(environ: Mapping[str, str] = os.environ) -> Config:
    """What holds without a config file: no folders, built-in modes, the environment's overrides. Raises ConfigError."""
    faults: list[Fault] = []
    tree = marks.read_environment(environ, 0, ENVIRONMENT_SECTIONS, faults)
    modes = builtin_modes()
    return _build(None, _shaped(tree, modes, faults), modes, Path("/"), environ)


def builtin_modes() -> dict[str, Mode]:
    """The modes that ship, by name: those of models/modes.yaml whose networks have cards. Unavailable without cards.

    A mode that chooses chooses from the networks that have cards.
    """
    described = _described_modes()
    there = models.cards(places.shipped_folder())
    for name, mode in described.items():
        if mode.choose:
            described[name] = replace(mode, steps=tuple(step for step in mode.steps if step.network in there))
    return {name: mode for name, mode in described.items() if mode.steps and set(mode.networks) <= there.keys()}


def _described_modes() -> dict[str, Mode]:
    faults: list[Fault] = []
    file = places.shipped_folder() / "modes.yaml"
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"{file}: {error.strerror}; reinstall darkroomd to get its modes back") from error
    shipped = marks.read_text(text, Place(0, str(file), 1, 1), faults)
    if shipped is None:
        raise _refusal(faults)
    return {name: Mode.of({"name": name} | settings) for name, settings in shipped.plain().items()}


def _shaped(tree: Node, builtin: Mapping[str, Mode], faults: list[Fault]) -> shape.File:
    written = shape.fit(tree, builtin, faults)
    if written is None or faults:
        raise _refusal(faults)
    return written


def _refusal(faults: list[Fault]) -> ConfigError:
    return ConfigError([str(fault) for fault in sorted(faults)])


def _mode_faults(tree: Node, builtin: Mapping[str, Mode]) -> Iterator[Fault]:
    own = tree.fields()["modes"].fields() if "modes" in tree.fields() else {}
    bases = {name: base.value for name, mode in own.items() if (base := mode.text("based_on"))}
    for name, mode in own.items():
        if not MODE_NAME.fullmatch(name):
            yield Fault(mode.key_place, mode.key, "a mode's name is made of up to 40 letters, digits, - and _")
        if (base := mode.text("based_on")) is not None:
            yield from _unknown_mode(base, {*builtin, *own})
            circle = [name]
            while (step := bases.get(circle[-1])) and step not in circle:
                circle.append(str(step))
            if step == name and not (len(circle) == 1 and name in builtin):
                yield Fault(base.place, base.key, f"goes round in a circle: {' -> '.join([*circle, name])}")
    for folder in tree.items("folders"):
        for node in [folder, *folder.items("rules")]:
            if (used := node.text("mode")) is not None:
                yield from _unknown_mode(used, {*builtin, *own})


def _unknown_mode(node: Node, known: set[str]) -> Iterator[Fault]:
    name = str(node.value)
    if name in known:
        return
    near = get_close_matches(name, sorted({*known, *_described_modes()}), 1)
    modes = f"the modes are {', '.join(marks.shown(mode) for mode in sorted(known))}"
    if near and near[0] in known:
        why = f"there is no mode {marks.shown(name)!r}; did you mean {near[0]}?"
    elif near:
        why = f"no network for {near[0]} ships with this version; {modes}"
    else:
        why = f"there is no mode {marks.shown(name)!r}; {modes}"
    yield Fault(node.place, node.key, why)


def _option_faults(tree: Node, builtin: Mapping[str, Mode]) -> Iterator[Fault]:
    """Options that the mode they stand beside does not have: they would quietly do nothing."""
    own = tree.fields()["modes"].fields() if "modes" in tree.fields() else {}
    places_of_options = [(mode, name) for name, mode in own.items()]
    for folder in tree.items("folders"):
        used = folder.text("mode")
        name = str(used.value) if used else "auto"
        places_of_options.append((folder, name))
        for rule in folder.items("rules"):
            another = rule.text("mode")
            places_of_options.append((rule, str(another.value) if another else name))
    for node, name in places_of_options:
        mode = _root(name, own, builtin)
        sizes = [option for option in shape.SIZES if option in node.fields()]
        if len(sizes) > 1:
            second = node.fields()[sizes[1]]
            yield Fault(second.key_place, second.key, f"says how large the result is, and so does {sizes[0]}: keep one")
        for option, value in node.fields().items():
            if mode and option in shape.OPTIONS and not _has(mode, option):
                having = [other.name for other in builtin.values() if _has(other, option)]
                which = f"modes with it: {', '.join(having)}" if having else "no mode of this version has it"
                yield Fault(value.key_place, value.key, f"is no option of mode {marks.shown(name)}; {which}")


def _has(mode: Mode, option: str) -> bool:
    return getattr(mode, "scale" if option in shape.SIZES else option) is not None


def _root(name: str, own: Mapping[str, Node], builtin: Mapping[str, Mode]) -> Mode | None:
    """The built-in mode that a mode starts from in the end; None where that is a fault of its own."""
    for _ in range(len(own) + 1):
        base = own[name].text("based_on") if name in own else None
        if base is None or base.value == name:
            return builtin.get(name)
        name = str(base.value)
    return None


def _rule_faults(tree: Node) -> Iterator[Fault]:
    for rule in (rule for folder in tree.items("folders") for rule in folder.items("rules")):
        fields = rule.fields()
        adjusts = [name for name in ("mode", *shape.OPTIONS) if name in fields]
        skip = fields["skip"].value if "skip" in fields else False
        if skip is True and adjusts:
            yield Fault(rule.place, rule.key, f"skips the photo and gives it a {' and a '.join(adjusts)}: keep one")
        if skip is False and fields and fields.keys() <= {"name", "skip"}:
            yield Fault(rule.place, rule.key, "does nothing: give it `skip: true`, a mode or a strength")


def _folder_faults(tree: Node, base: Path, environ: Mapping[str, str]) -> Iterator[Fault]:
    listed = tree.fields().get("folders", tree)
    if listed is tree or listed.value == []:
        yield Fault(listed.place, "folders", "is missing: list at least one folder with `watch:` and `output:`")
    watches: list[tuple[Node, Spot]] = []
    outputs: list[tuple[Node, Spot]] = []
    for folder in tree.items("folders"):
        for node, spots in ((folder.text("watch"), watches), (folder.text("output"), outputs)):
            if node is None:
                continue
            try:
                path = _expanded(str(node.value), base, environ)
            except ValueError as error:
                yield Fault(node.place, node.key, str(error))
                continue
            spots.append((node, spot(path)))
            if is_file(path):
                yield Fault(node.place, node.key, f"{marks.shown(str(path), 4096)} is a file: name a folder")
    yield from _overlaps(watches, outputs)
    if (socket := tree.at(("service", "metrics"))) is not tree and str(socket.value).startswith(("/", "~", "$")):
        try:
            _expanded(str(socket.value), base, environ)
        except ValueError as error:
            yield Fault(socket.place, socket.key, str(error))


def _overlaps(watches: list[tuple[Node, Spot]], outputs: list[tuple[Node, Spot]]) -> Iterator[Fault]:
    for watch in watches:
        for output in outputs:
            if enters(output[1], watch[1]):
                hidden = f"a hidden one in it, such as {marks.shown(str(watch[0].value))}/.enhanced"
                yield _overlap(output, "lies inside", watch, f"name a folder beside it, or {hidden}")
            elif below(watch[1], output[1]) is not None:
                yield _overlap(output, "holds", watch, "name a folder beside it")
    for n, second in enumerate(watches):
        for first in watches[:n]:
            if enters(second[1], first[1]) or enters(first[1], second[1]):
                how = "lies inside" if below(second[1], first[1]) else "holds"
                yield _overlap(second, how, first, "its photos would be enhanced twice; use rules instead")


def _overlap(one: tuple[Node, Spot], how: str, other: tuple[Node, Spot], what: str) -> Fault:
    how = "is the same as" if below(one[1], other[1]) == () else how
    where = f"the watched folder {marks.shown(str(other[1].real), 4096)} ({other[0].key})"
    return Fault(one[0].place, one[0].key, f"{how} {where}: {what}")


def _expanded(text: str, base: Path, environ: Mapping[str, str]) -> Path:
    """~ and $VARIABLES filled in; a relative path starts at base. Raises ValueError with what to write instead."""
    if not text or "\0" in text:
        raise ValueError("is not the name of a folder")
    try:
        filled = Template(text).substitute(environ)
    except KeyError as error:
        raise ValueError(f"${error.args[0]} is not set in the environment ($$ means a plain $)") from None
    except ValueError:
        raise ValueError("has a $ without a name behind it ($$ means a plain $)") from None
    if text == "~" or text.startswith("~/"):
        filled = environ.get("HOME", "~") + filled[1:]
    filled = os.path.expanduser(filled)  # noqa: PTH111 - Path.expanduser raises where this leaves ~nobody alone
    if filled.startswith("~"):
        raise ValueError(f"{marks.shown(filled.split('/')[0])} has no home folder: write the whole path")
    path = base / filled
    return Path(os.path.realpath(path)) if ".." in path.parts else path


def _drop_ins(folder: Path, faults: list[Fault]) -> list[Path]:
    try:
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        faults.append(Fault(Place(0, str(folder), 1, 1), "file", f"cannot be read: {error.strerror}"))
        return []
    for name in (name for name in names if name.endswith(".yml")):
        faults.append(Fault(Place(1, str(folder / name), 1, 1), "file", "is not read: rename it to end in .yaml"))
    return [folder / name for name in names if name.endswith(".yaml")]


def _build(
    file: Path | None, written: shape.File, modes: dict[str, Mode], base: Path, environ: Mapping[str, str]
) -> Config:
    """The Config of a file without faults."""
    modes = modes | {name: _resolved(name, written.modes, modes) for name in written.modes}
    folders = []
    for folder in written.folders:
        mode = _adjusted(modes[folder.mode], folder)
        rules = tuple(
            Rule(r.name, r.skip, None if r.skip else _adjusted(modes[r.mode] if r.mode else mode, r))
            for r in folder.rules
        )
        watch, output = (_expanded(text, base, environ) for text in (folder.watch, folder.output))
        folders.append(Folder(watch, output, mode, rules))
    return Config(
        file=file,
        folders=tuple(folders),
        modes=modes,
        output=Output(**written.output.model_dump(exclude_unset=True)),
        service=_filled(Service(**written.service.model_dump(exclude_unset=True)), base, environ),
        limits=Limits(**written.limits.model_dump(exclude_unset=True)),
    )


def _filled(service: Service, base: Path, environ: Mapping[str, str]) -> Service:
    """With the path of the metrics' socket written out; $XDG_RUNTIME_DIR is where a user's sockets lie."""
    is_path = service.metrics.startswith(("/", "~", "$"))
    return replace(service, metrics=str(_expanded(service.metrics, base, environ))) if is_path else service


def _resolved(name: str, own: Mapping[str, shape.Mode], builtin: Mapping[str, Mode]) -> Mode:
    base = own[name].based_on
    start = builtin[base] if base == name or base not in own else _resolved(base, own, builtin)
    return _adjusted(replace(start, name=name), own[name])


def _adjusted(mode: Mode, written: shape.Options) -> Mode:
    given = {name: value for name in shape.OPTIONS if (value := getattr(written, name)) is not None}
    if given.keys() & set(shape.SIZES):  # the nearest to the photo counts, whichever of the three it is
        mode = replace(mode, longest_side=None, megapixels=None)
    return replace(mode, **given)
