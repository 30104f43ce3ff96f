"""The shape of what users write: the keys of every section, and what each one takes. The only file that knows pydantic.

Every key says what it wants once; that text is the message of all its faults. Defaults live in the nouns (Output,
Limits, Service), so None below means "not written".
"""

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
)
from pydantic import WrapValidator as Wrap
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError

from darkroomd.job import DEVICE, DEVICES, Format, Order
from darkroomd.marks import Fault, Node, shown
from darkroomd.polite import QUIET_HOURS


@dataclass(frozen=True)
class _Wants(Wrap):
    """Says what a key takes: in the message of its faults, and in the schema for editors."""

    what: str = ""
    word: str = ""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler(core)
        kinds = [one for one in found.get("anyOf", [found]) if one.get("type") != "null"]
        kinds += [{"const": self.word}] if self.word else []
        return {"description": self.what, **(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})}


def _wants(what: str, auto: int | None = None, none: int | None = None) -> _Wants:
    word, meant = ("none", none) if auto is None else ("auto", auto)

    def check(value: object, inner: ValidatorFunctionWrapHandler) -> object:
        if meant is not None and value == word:
            return meant
        try:
            return inner(value)
        except ValidationError:
            raise PydanticCustomError("wants", what) from None

    return _Wants(check, what=what, word=word if meant is not None else "")


def _file_name(template: str) -> str:
    if "/" in template or ".." in template:
        raise ValueError("names a file in the mirrored folder, so it takes no / and no ..")
    if not template.isprintable():
        raise ValueError("holds a character that file names should not have")
    try:
        fields = [(name, spec, change) for _, name, spec, change in Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise ValueError(f"is not a template: {error}") from None
    for name, spec, change in fields:
        if name not in ("stem", "ext", "mode") or spec or change:
            raise ValueError(f"{{{shown(name)}}} is not a field: take {{stem}}, {{ext}} and {{mode}} as they are")
    if all(name != "stem" for name, _, _ in fields):
        raise ValueError("must hold {stem}, the photo's own name, so that each photo gets its own copy")
    return template


def _pattern(name: str) -> str:
    if not name or "\0" in name:
        raise ValueError('matches no file: write a pattern such as "scan_*"')
    if name.startswith(("/", "~")) or ".." in name.split("/"):
        raise ValueError("is matched below the watched folder, so it cannot begin with / or ~ or hold ..")
    return name


_Name = Annotated[str, _wants("text")]
_QUIET = rf"^(none|{QUIET_HOURS.pattern})$"


# on this machine only: whoever wants to be asked from elsewhere puts a proxy in front, which can also ask who it is
_METRICS = r"^(none|(127\.0\.0\.1|localhost|\[::1\]):[0-9]{1,5}|[/~$].+)$"
_METRICS_WORDS = "none, 127.0.0.1:PORT or the path of a socket, such as /run/darkroomd/metrics.sock"


# in quotes, because YAML reads a bare 0640 as the number 416; its owner must be able to read it
_PERMISSIONS = r"^(umask|keep|0[4-7][0-7][0-7])$"
_PERMISSIONS_WORDS = 'umask, keep or digits in quotes such as "0640"'


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Options(Shape):
    """What can be adjusted wherever a mode is named; the nearest to the photo counts."""

    strength: Annotated[float | None, Field(ge=0, le=1), _wants("a number from 0 (no change) to 1 (full strength)")] = (
        None
    )
    background: Annotated[Literal["general", "leave"] | None, _wants("general or leave")] = None
    scale: Annotated[float | None, Field(gt=1, le=4), _wants("a number above 1, up to 4")] = None
    longest_side: Annotated[int | None, Field(ge=16, le=100_000), _wants("a whole number from 16 to 100000")] = None
    megapixels: Annotated[float | None, Field(gt=0, le=10_000), _wants("a number above 0, up to 10000")] = None
    grain: Annotated[Literal["keep", "remove"] | None, _wants("keep or remove")] = None
    tone: Annotated[Literal["keep", "restore"] | None, _wants("keep or restore")] = None
    light: Annotated[Literal["keep", "even"] | None, _wants("keep or even")] = None


OPTIONS = tuple(Options.model_fields)
SIZES = ("scale", "longest_side", "megapixels")  # three ways to say one thing: a mode has all of them or none


class Rule(Options):
    name: Annotated[str, _wants("text"), AfterValidator(_pattern)]
    skip: Annotated[bool, _wants("true or false")] = False
    mode: _Name | None = None


class Folder(Options):
    watch: _Name
    output: _Name
    mode: _Name = "auto"
    rules: list[Rule] = []


class Mode(Options):
    based_on: _Name


class Output(Shape):
    format: Annotated[Format | Literal["keep"] | None, _wants("keep, jpeg, png, webp, tiff or avif")] = None
    convert_to: Annotated[Format | Literal["auto"] | None, _wants("auto, jpeg, png, webp, tiff or avif")] = None
    quality: Annotated[int | None, Field(ge=1, le=100), _wants("a whole number from 1 to 100")] = None
    name: Annotated[str, _wants("text"), AfterValidator(_file_name)] | None = None
    existing: Annotated[Literal["number", "conflict"] | None, _wants("number or conflict")] = None
    metadata: Annotated[Literal["keep", "strip-location", "strip"] | None, _wants("keep, strip-location or strip")] = (
        None
    )
    mtime: Annotated[Literal["keep", "now"] | None, _wants("keep or now")] = None
    unchanged: Annotated[Literal["copy", "skip"] | None, _wants("copy or skip")] = None
    duplicates: Annotated[Literal["copy", "link", "enhance"] | None, _wants("copy, link or enhance")] = None
    permissions: Annotated[str | None, Field(pattern=_PERMISSIONS), _wants(_PERMISSIONS_WORDS)] = None
    owner: Annotated[Literal["service", "keep"] | None, _wants("service or keep")] = None
    reasons: Annotated[Literal["failed", "beside", "none"] | None, _wants("failed, beside or none")] = None


class Service(Shape):
    device: Annotated[str | None, Field(pattern=f"^({DEVICE})$"), _wants(DEVICES)] = None
    workers: Annotated[int | None, Field(ge=1, le=256), _wants("auto or a whole number from 1 to 256", auto=0)] = None
    settle_seconds: Annotated[float | None, Field(gt=0, le=3600), _wants("a number above 0, up to 3600")] = None
    rescan_minutes: Annotated[float | None, Field(gt=0, le=1440), _wants("a number above 0, up to 1440")] = None
    memory_limit_mb: Annotated[int | None, Field(ge=256), _wants("auto or a whole number from 256 up", auto=0)] = None
    idle_minutes: Annotated[float | None, Field(gt=0, le=1440), _wants("a number above 0, up to 1440")] = None
    redo: Annotated[Literal["ask", "on-change"] | None, _wants("ask or on-change")] = None
    metrics: Annotated[str | None, Field(pattern=_METRICS), _wants(_METRICS_WORDS)] = None
    privacy: Annotated[bool | None, _wants("true or false")] = None
    order: Annotated[Order | None, _wants("oldest, newest or smallest")] = None
    cores: Annotated[int | None, Field(ge=1, le=1024), _wants("auto or a whole number from 1 to 1024", auto=0)] = None
    nice: Annotated[int | None, Field(ge=0, le=19), _wants("a whole number from 0 to 19")] = None
    quiet_hours: Annotated[str | None, Field(pattern=_QUIET), _wants("none or times such as 22:00-07:00")] = None
    pause_on_battery: Annotated[bool | None, _wants("true or false")] = None
    pause_when_busy_percent: Annotated[
        float | None, Field(gt=0, le=100), _wants("none or a number above 0, up to 100", none=0)
    ] = None
    recycle_photos: Annotated[int | None, Field(ge=1, le=1_000_000), _wants("a whole number from 1 up")] = None
    recycle_mb: Annotated[int | None, Field(ge=256), _wants("a whole number from 256 up")] = None


class Limits(Shape):
    max_megapixels: Annotated[float | None, Field(gt=0, le=100_000), _wants("a number above 0, up to 100000")] = None
    max_file_mb: Annotated[float | None, Field(gt=0, le=1_000_000), _wants("a number above 0, up to 1000000")] = None
    max_decoding_mb: Annotated[float | None, Field(ge=64, le=1_000_000), _wants("a number from 64 to 1000000")] = None


class File(Shape):
    folders: list[Folder] = []
    modes: dict[str, Mode] = {}
    output: Output = Output()
    service: Service = Service()
    limits: Limits = Limits()


_SHAPES: dict[tuple[str, ...], type[Shape]] = {
    (): File,
    ("folders",): Folder,
    ("folders", "rules"): Rule,
    ("output",): Output,
    ("service",): Service,
    ("limits",): Limits,
}
_MISSING = {
    "watch": "say which folder to watch",
    "output": "say where the enhanced copies go",
    "name": 'say which photos the rule is for, such as "scan_*"',
    "based_on": "say which mode this one starts from: `based_on: {base}`",
}


def schema() -> dict[str, Any]:
    """JSON Schema of a config file, for editors: every key and what it takes. It knows no modes' names."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of darkroomd",
        **_without_defaults(File.model_json_schema()),
    }


def _without_defaults(part: Any) -> Any:
    """Without pydantic's own titles and defaults; the real defaults are in example.yaml."""
    if isinstance(part, list):
        return [_without_defaults(one) for one in part]
    if not isinstance(part, dict):
        return part
    kept = {
        name: inner
        for name, inner in part.items()
        if name != "default" and not (name == "title" and isinstance(inner, str))
    }
    return {name: _without_defaults(inner) for name, inner in kept.items()}


def fit(tree: Node, builtin: Collection[str], faults: list[Fault]) -> File | None:
    """The tree as a File; None, and faults, when it is none. builtin: the names of the modes that ship."""
    try:
        return File.model_validate(tree.plain())
    except ValidationError as error:
        faults += [_fault(tree, detail, builtin) for detail in error.errors(include_url=False, include_input=False)]
        return None


def _fault(tree: Node, detail: ErrorDetails, builtin: Collection[str]) -> Fault:
    steps = detail["loc"]
    node = tree.at(steps)
    match detail["type"]:
        case "missing":
            name = str(steps[-1])
            base = steps[-2] if steps[-2] in builtin else "general"
            return Fault(node.place, f"{node.key}.{name}", f"is missing: {_MISSING[name].format(base=base)}")
        case "extra_forbidden":
            return Fault(node.key_place, node.key, _unknown_key(tuple(s for s in steps if isinstance(s, str))))
        case "value_error":
            return Fault(node.place, node.key, str(detail["ctx"]["error"]))
        case "wants":
            quotable = not isinstance(node.value, (str, dict, list)) and node.seen != "nothing" and node.place.line
            hint = " (in quotes it is text)" if quotable and detail["msg"] == "text" else ""
            return Fault(node.place, node.key, f"wants {detail['msg']}, not {node.seen}{hint}")
        case "list_type":
            return Fault(node.place, node.key, f"wants a list, of lines that begin with `- `, not {node.seen}")
        case _:
            return Fault(node.place, node.key, f"wants a mapping, of `key: value` lines, not {node.seen}")


def _unknown_key(steps: tuple[str, ...]) -> str:
    here, wrong = list(_SHAPES.get(steps[:-1], Mode).model_fields), steps[-1]
    if near := get_close_matches(wrong.lower().replace("-", "_"), here, 1):
        return f"is not a key; did you mean `{near[0]}`?"
    if homes := [".".join(home) for home, shape in _SHAPES.items() if home and wrong in shape.model_fields]:
        return f"is not a key here, only in {' and '.join(homes)}"
    return f"is not a key; the keys here are {', '.join(here)}"
