"""What travels through the pipeline, in the order in which it is made. Frozen; paths are absolute.

Sighting -> Settled -> Job (or Skip) -> Picture -> Findings -> Picture -> Verdict -> Staged -> Written.
All but Picture are plain data that may cross to another process.
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

Status = Literal["done", "unchanged", "refused", "failed"]
Order = Literal["oldest", "newest", "smallest"]
Format = Literal["jpeg", "png", "webp", "tiff", "avif"]
DEVICE = r"auto|cpu|cuda(:\d{1,2})?|tensorrt(:\d{1,2})?|openvino"  # what `service.device` and `--device` take
DEVICES = "auto, cpu, cuda (cuda:1 is the second card), tensorrt or openvino"
Region = Literal["all", "faces", "text", "background"]
Finish = Literal["grain", "tone"]
Content = Literal["photo", "portrait", "document", "old photo", "landscape"]

# how the names of files in these formats end; a result whose format is right keeps the photo's spelling
SPELLINGS: dict[Format, tuple[str, ...]] = {
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "png": (".png",),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
    "avif": (".avif",),
}
FORMAT_OF = {spelling: form for form, spellings in SPELLINGS.items() for spelling in spellings}

# formats that are read but not written, the endings of their names, and what a result becomes in their place
READ_ONLY: dict[str, tuple[str, ...]] = {
    "heic": (".heic", ".heif", ".hif"),
    "jxl": (".jxl",),
    "gif": (".gif",),
    "raw": (".dng", ".nef", ".nrw", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw", ".3fr", ".iiq"),
}
INSTEAD: dict[str, Format] = {"heic": "avif", "jxl": "avif", "gif": "png", "raw": "tiff"}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A file's identity as far as one stat can tell. It notices change and saves hashing; it never decides."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """A name was seen below a watched folder, by an event or by a scan."""

    root: Path
    path: Path


@dataclass(frozen=True, slots=True)
class Settled:
    """A regular file that has been quiet for long enough."""

    root: Path
    path: Path
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class Ramp:
    """How a strength depends on a map of look's: 0 up to `none`, 1 from `full` on; falling where `none` is the larger.

    map: noise (8-bit levels), blur (pixels), quality (of JPEG, 100 for none) or detail (slope of the luma beyond that
    of noise, 8-bit levels per pixel).
    """

    map: str
    none: float
    full: float

    @classmethod
    def all_of(cls, plain: Any) -> "tuple[Ramp, ...]":
        """From plain values: as the dataclass has them, or as models/modes.yaml does, `map: [none, full]`.

        With four numbers, `map: [none, full, full, none]`, the strength rises and falls again.
        """
        if not isinstance(plain, dict):
            return tuple(cls(**ramp) if isinstance(ramp, dict) else ramp for ramp in plain or ())
        pairs = [(name, limits[:2]) for name, limits in plain.items()]
        pairs += [(name, limits[:1:-1]) for name, limits in plain.items() if len(limits) == 4]
        return tuple(cls(name, float(none), float(full)) for name, (none, full) in pairs)


@dataclass(frozen=True, slots=True)
class When:
    """A line of the table by which a mode decides: a treatment is done when every fact lies in its range.

    facts: (name as in the JSON's `found`, from, below); of faces and text the number. because: the reason that a person
    reads, with the facts in it. strength: a share of the treatment's; 0 says why it is not done. where: and only
    there; everywhere when empty.
    """

    because: str
    facts: tuple[tuple[str, float, float], ...]
    strength: float = 1.0
    where: tuple[Ramp, ...] = ()

    def holds(self, found: dict[str, Any]) -> bool:
        """Whether all facts are known and in their ranges."""
        known = [(found.get(name), low, high) for name, low, high in self.facts]
        return all(value is not None and low <= value < high for value, low, high in known)

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "When":
        """From plain values: as the dataclass has them, or as models/modes.yaml does, `fact: [from, below]`."""
        facts = plain.get("facts") or [
            (name, *limits) for name, limits in plain.items() if name not in ("because", "strength", "where")
        ]
        ranges = tuple((str(n), float(a), float(b)) for n, a, b in facts)
        return cls(plain["because"], ranges, plain.get("strength", 1.0), Ramp.all_of(plain.get("where")))


@dataclass(frozen=True, slots=True)
class Treatment:
    """One network over one kind of region, as a mode asks for it.

    network: name of a card in models/cards.yaml. region: background is what the regions of the mode's other
    treatments leave over. strength: as a mode's, of which it is a share. when: any of these must hold; without one it
    is always done. where: and only there, by every one of these; everywhere when empty.
    """

    network: str
    region: Region = "all"
    strength: float = 1.0
    when: tuple[When, ...] = ()
    where: tuple[Ramp, ...] = ()

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Treatment":
        """From plain values."""
        when = tuple(When.of(line) for line in plain.get("when", ()))
        return cls(**plain | {"when": when, "where": Ramp.all_of(plain.get("where"))})


@dataclass(frozen=True, slots=True)
class Mode:
    """What to do to a picture: a built-in mode, as adjusted by the config, a rule or the command line.

    steps: in this order. strength: 0 leaves the picture as it is, 1 is the networks' full answer. choose: the networks
    run only when look finds something for them to do (mode auto). background: whether what is neither face nor text is
    treated too. scale: how many times as wide the result is; longest_side (pixels) or megapixels, of the result, say it
    instead where they are not None. Of several networks that enlarge, the one with the next factor up is used. grain:
    whether as much grain as there was is put back at the end. tone: whether what has faded or yellowed gets its full
    range back. light: whether the light on a page is made even and white first. An option that is None is one that the
    mode does not have.
    """

    name: str
    steps: tuple[Treatment, ...]
    strength: float = 1.0
    choose: bool = False
    background: Literal["general", "leave"] | None = None
    scale: float | None = None
    longest_side: int | None = None
    megapixels: float | None = None
    grain: Literal["keep", "remove"] | None = None
    tone: Literal["keep", "restore"] | None = None
    light: Literal["keep", "even"] | None = None

    @property
    def treatments(self) -> tuple[Treatment, ...]:
        """The steps that the options leave."""
        return tuple(t for t in self.steps if not (t.region == "background" and self.background == "leave"))

    @property
    def regions(self) -> frozenset[Region]:
        """What must be found before the steps can be done."""
        return frozenset(t.region for t in self.treatments) & {"faces", "text"}

    @property
    def networks(self) -> tuple[str, ...]:
        """Every network that may be needed, each once."""
        return tuple(dict.fromkeys(t.network for t in self.treatments))

    def plain(self) -> dict[str, Any]:
        """Plain values for the ledger and the recipe: what is None is left out, one whole network is `network`.

        That short form is what versions with one network to a mode wrote: their jobs and recipes mean what they meant.
        """
        plain = {name: value for name, value in asdict(self).items() if value is not None}
        steps = plain.pop("steps")
        if self.steps == (Treatment(self.steps[0].network),):
            return plain | {"network": self.steps[0].network}
        return plain | {"steps": [{k: v for k, v in s.items() if k not in ("when", "where") or v} for s in steps]}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Mode":
        """The mode in plain values; what this version does not know is left out."""
        known = {name: plain[name] for name in cls.__dataclass_fields__ if name in plain and name != "steps"}
        steps = plain.get("steps") or [{"network": plain["network"]}]
        return cls(steps=tuple(Treatment.of(step) for step in steps), **known)


@dataclass(frozen=True, slots=True)
class Output:
    """How a result is written. `name` is a template over {stem}, {ext} and {mode}.

    convert_to: the format for photos of a kind that is only read (auto: by INSTEAD). existing: what happens when the
    name is taken by a file that is not ours (number: a free name with a number; conflict: nothing is written and the
    photo is reported). unchanged: what happens to a photo that needs nothing (copy: its bytes are copied; skip: nothing
    is written). duplicates: what happens to a photo whose bytes have a result already under another name (the result is
    copied, or linked, or the photo enhanced like any other). permissions: of the result, as the umask leaves them, as
    the photo's, or octal digits. owner: whose it is, the service's or, where the system lets us, the photo's. reasons:
    where a note says why a photo has no result: in the output folder's `failed`, beside the result that is missing, or
    nowhere.
    """

    format: Format | Literal["keep"] = "keep"
    quality: int = 96
    name: str = "{stem}{ext}"
    existing: Literal["number", "conflict"] = "number"
    metadata: Literal["keep", "strip-location", "strip"] = "keep"
    mtime: Literal["keep", "now"] = "keep"
    unchanged: Literal["copy", "skip"] = "copy"
    convert_to: Format | Literal["auto"] = "auto"
    duplicates: Literal["copy", "link", "enhance"] = "copy"
    permissions: str = "umask"
    owner: Literal["service", "keep"] = "service"
    reasons: Literal["failed", "beside", "none"] = "failed"


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused from the header alone, before decoding; and how much memory decoding may take."""

    max_megapixels: float = 500.0
    max_file_mb: float = 1024.0
    max_decoding_mb: float = 4096.0


@dataclass(frozen=True, slots=True)
class Engine:
    """What a job may use of the machine.

    device: as in `service.device`. threads: 0 means all cores. worker: which of the workers does it, counted from 0,
    so that each takes a card of its own.
    """

    device: str = "auto"
    threads: int = 0
    memory_limit_mb: int = 0
    worker: int = 0


@dataclass(frozen=True, slots=True)
class Twin:
    """A result that is there, of a photo with as many bytes; of this very photo, if `content` is its SHA-256 as well.

    source, status: of that photo. digest, size: of the result's bytes.
    """

    source: Path
    status: Status
    content: str
    output: Path
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that turns one file into one result; plain data for a worker process.

    again: an own result is enhanced like any photo.
    root: the watched folder. target: the destination by the rules, before any number is added to its name.
    recipe: SHA-256 over everything that shapes the result (mode, network digests, output settings). temporary:
    where the result is staged, in the target's folder; the claim sets it. known_content: SHA-256 of the bytes
    that the ledger has a good result for under the same recipe, so that a touched or re-sent file is not
    enhanced twice. twins: results by the same recipe in the same output folder, of photos with other names and as many
    bytes. search: whether a result from before the ledger was lost may be there, because this one
    knows of none for the photo. output_root: the configured output folder; below it no symlink is followed and missing
    folders are made. None: the target was named by hand, and its folder is taken as it is.
    """

    root: Path
    source: Path
    fingerprint: Fingerprint
    target: Path
    mode: Mode
    output: Output
    limits: Limits
    engine: Engine
    recipe: str
    temporary: Path | None = None
    known_content: str | None = None
    search: bool = False
    twins: tuple[Twin, ...] = ()
    output_root: Path | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Skip:
    """A file that is not to be enhanced, and why, in a user's words."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Tags:
    """What a file says beside its pixels, as bytes that are passed on.

    exif: without the head that JPEG puts before it; its way up is not applied yet. iptc: records of IIM. dots_per_mm:
    None where the file does not say how large a pixel is. texts: of a PNG, keyword and text.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    icc: bytes | None = None
    dots_per_mm: tuple[float, float] | None = None
    texts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Raster:
    """What a decoder beside libvips gives: upright pixels (height, width, 1 to 4), uint8 or full-range uint16."""

    pixels: Any
    bits: int
    tags: Tags
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded photo, upright; the one noun that stays inside its process.

    pixels: numpy (height, width, 1 or 3), uint8 or uint16, in colours that a network knows (sRGB, or grey). own: None
    when the file's own colours are those; else the pixels in them, (height, width, 1, 3 or 4) of the file's type, where
    a colour that sRGB lacks is still there. alpha: (height, width, 1), or None. bits: of a sample in the file.
    decoding_mb: of memory that a giant took because its format must be decoded whole, beside the pixels. jpeg_quality:
    of its last save, None for other formats. subsampled: whether its colour was stored at half resolution. lossless:
    whether its format keeps every bit. gain_map: an upright JPEG that says how much brighter each place is on an HDR
    screen. notes: what was not kept.
    (`Any`, because the service's own process knows nouns and must stay small: it never loads numpy.)
    """

    pixels: Any
    alpha: Any | None
    format: str
    tags: Tags = field(repr=False)
    bits: int = 8
    own: Any | None = None
    jpeg_quality: int | None = None
    subsampled: bool = True
    lossless: bool = False
    gain_map: bytes | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    decoding_mb: float = 0.0

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def megapixels(self) -> float:
        return self.width * self.height / 1e6

    def with_pixels(self, pixels: Any) -> "Picture":
        """The same photo with other pixels of the same size."""
        return replace(self, pixels=pixels)

    def enlarged(self, pixels: Any, alpha: Any | None) -> "Picture":
        """The same photo with pixels of another size, and its alpha at that size."""
        return replace(self, pixels=pixels, alpha=alpha)


@dataclass(frozen=True, slots=True)
class Box:
    """Part of a picture, in pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Face:
    """A face, in pixels of the picture; its box goes from forehead to chin and may reach beyond the picture.

    points: right eye, left eye, nose, right and left corner of the mouth, as (x, y), the person's right being the
    viewer's left. score: how sure the detector is, 0..1.
    """

    left: float
    top: float
    width: float
    height: float
    points: tuple[tuple[float, float], ...]
    score: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(left, top, width, height)"""
        return self.left, self.top, self.width, self.height

    def meets(self, other: "Face") -> bool:
        """Whether the middle of one lies within the other."""
        across, down = (
            abs(2 * (self.left - other.left) + self.width - other.width),
            abs(2 * (self.top - other.top) + self.height - other.height),
        )
        return across < max(self.width, other.width) and down < max(self.height, other.height)


@dataclass(frozen=True, slots=True)
class Maps:
    """What look saw in each place: numpy arrays (rows, columns) of float32, a number for each cell of MAP_CELL pixels.

    noise: 8-bit levels. blur: pixels. quality: of JPEG, 100 for none. detail: mean slope of the luma beyond what noise
    makes, 8-bit levels per pixel. What cannot be told of a place is that of its surroundings.
    """

    noise: Any
    blur: Any
    quality: Any
    detail: Any


MAP_CELL = 64


@dataclass(frozen=True, slots=True)
class Findings:
    """What look saw. Sigmas in 8-bit levels and pixels; shares in percent; None where it could not be told.

    visible_quality: of the strongest JPEG compression that shows in the pixels, whatever the file says of its last
    save; 100 for none. motion, grain: how likely the blur is movement and the noise film grain, 0..1. brightness: the
    mean luma in percent. content: what is in the picture, coarsely. limits: what cannot be brought back, in plain
    words. faces, text: None when nobody looked for them, because the mode
    does not ask or the detector is not there. maps: None for a picture too small for them.
    """

    megapixels: float
    noise_sigma: float
    blur_sigma: float | None
    blockiness: float
    jpeg_quality: int | None
    clipped_percent: float
    limits: tuple[str, ...] = ()
    faces: tuple[Face, ...] | None = None
    text: tuple[Box, ...] | None = None
    visible_quality: int | None = None
    motion: float | None = None
    grain: float | None = None
    brightness: float | None = None
    content: Content = "photo"
    maps: Maps | None = None

    def facts(self) -> dict[str, Any]:
        """The `found` object of the JSON contract."""
        facts: dict[str, Any] = {
            "megapixels": round(self.megapixels, 2),
            "noise_sigma": round(self.noise_sigma, 1),
            "blur_sigma": None if self.blur_sigma is None else round(self.blur_sigma, 2),
            "blockiness": round(self.blockiness, 2),
            "jpeg_quality": self.jpeg_quality,
            "clipped_percent": round(self.clipped_percent, 2),
            "visible_quality": self.visible_quality,
            "motion": None if self.motion is None else round(self.motion, 2),
            "grain": None if self.grain is None else round(self.grain, 2),
            "brightness": None if self.brightness is None else round(self.brightness, 1),
            "content": self.content,
        }
        if self.faces is not None:
            facts["faces"] = [[round(f.left), round(f.top), round(f.width), round(f.height)] for f in self.faces]
        if self.text is not None:
            facts["text"] = [[box.left, box.top, box.width, box.height] for box in self.text]
        return facts


@dataclass(frozen=True, slots=True)
class Step:
    """One network over one region, with the reason that a person reads in explain.

    size: (width, height) of the result of a step that enlarges. finish: what is done to the picture after the last one.
    where: any of these (share of the strength, ramps that all count) decides the strength of a place; everywhere the
    same when empty. percent: of the picture that gets any of it, where it is not all.
    """

    model: str
    digest: str
    region: Region
    strength: float
    reason: str = ""
    size: tuple[int, int] | None = None
    finish: tuple[Finish, ...] = ()
    where: tuple[tuple[float, tuple[Ramp, ...]], ...] = ()
    percent: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a verdict and for explain."""
        plain = asdict(replace(self, where=()))
        return {name: value for name, value in plain.items() if value is not None and value != ()}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Step":
        """The step in plain values; KeyError, TypeError or ValueError when it is none."""
        size = plain.get("size")
        return cls(
            model=_a(str, plain["model"]),
            digest=_a(str, plain["digest"]),
            region=_a(str, plain["region"]),
            strength=float(plain["strength"]),
            reason=_a(str, plain.get("reason", "")),
            size=None if size is None else (_a(int, size[0]), _a(int, size[1])),
            finish=tuple(_a(str, one) for one in plain.get("finish", ())),
            percent=None if plain.get("percent") is None else _a(int, plain["percent"]),
        )


@dataclass(frozen=True, slots=True)
class GuardResult:
    """One check of the result against the original: value within limit, or not."""

    name: str
    value: float
    limit: float
    passed: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one photo: the JSON object that `enhance --json` prints and the ledger keeps."""

    source: Path
    status: Status
    mode: str
    output: Path | None = None
    reason: str | None = None
    found: dict[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    limits: tuple[str, ...] = ()
    guards: tuple[GuardResult, ...] = ()
    width: int = 0
    height: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    peak_rss_mb: int = 0
    device: str | None = None
    open_seconds: tuple[float, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values in the order of the contract."""
        return {
            "source": str(self.source),
            "output": None if self.output is None else str(self.output),
            "status": self.status,
            "mode": self.mode,
            "reason": self.reason,
            "found": self.found,
            "steps": [step.as_json() for step in self.steps],
            "limits": list(self.limits),
            "guards": [
                {"name": g.name, "value": round(g.value, 3), "limit": g.limit, "passed": g.passed} for g in self.guards
            ],
            "width": self.width,
            "height": self.height,
            "seconds": {stage: round(value, 3) for stage, value in self.seconds.items()},
            "peak_rss_mb": self.peak_rss_mb,
            "device": self.device,
            "open_seconds": [round(value, 3) for value in self.open_seconds],
        }

    @classmethod
    def of(cls, job: Job, plain: dict[str, Any]) -> "Verdict":
        """The verdict on a job that as_json() tells of, by somebody who need not be believed: KeyError, TypeError or
        ValueError when it is not one. Which photo it is about, and that a result lies where it belongs, the job says.
        """
        output = None if plain["output"] is None else Path(_a(str, plain["output"]))
        if plain["status"] not in get_args(Status) or (output is not None and output.parent != job.target.parent):
            raise ValueError("not a verdict on this job")
        return cls(
            source=job.source,
            status=plain["status"],
            mode=job.mode.name,
            output=output,
            reason=None if plain["reason"] is None else _a(str, plain["reason"]),
            found=_a(dict, plain["found"]),
            steps=tuple(Step.of(step) for step in plain["steps"]),
            limits=tuple(_a(str, limit) for limit in plain["limits"]),
            guards=tuple(
                GuardResult(_a(str, g["name"]), float(g["value"]), float(g["limit"]), bool(g["passed"]))
                for g in plain["guards"]
            ),
            width=_a(int, plain["width"]),
            height=_a(int, plain["height"]),
            seconds={_a(str, stage): float(seconds) for stage, seconds in plain["seconds"].items()},
            peak_rss_mb=_a(int, plain["peak_rss_mb"]),
            device=None if plain["device"] is None else _a(str, plain["device"]),
            open_seconds=tuple(float(seconds) for seconds in plain["open_seconds"]),
        )


@dataclass(frozen=True, slots=True)
class Staged:
    """A complete result, synced under its temporary name, that nobody can see yet.

    temporary is None when there is nothing to publish: the photo needed nothing and is not to be copied, or the
    bytes are those that the ledger already has a result for (`repeated`), or an earlier ledger had (it is at
    verdict.output, and has `size` bytes). content: SHA-256 of the source's bytes;
    digest, size: of the staged file.
    """

    job: Job
    content: str
    verdict: Verdict
    temporary: Path | None = None
    digest: str | None = None
    size: int = 0
    repeated: bool = False

    def plain(self) -> dict[str, Any]:
        """Plain values, for who has the job: what a worker tells the service."""
        return {
            "verdict": self.verdict.as_json(),
            "content": self.content,
            "staged": self.temporary is not None,
            "digest": self.digest,
            "size": self.size,
            "repeated": self.repeated,
        }

    @classmethod
    def of(cls, job: Job, plain: dict[str, Any]) -> "Staged":
        """What plain() tells; KeyError, TypeError or ValueError when it is not that."""
        return cls(
            job,
            _a(str, plain["content"]),
            Verdict.of(job, plain["verdict"]),
            job.temporary if plain["staged"] else None,
            None if plain["digest"] is None else _a(str, plain["digest"]),
            _a(int, plain["size"]),
            bool(plain["repeated"]),
        )


@dataclass(frozen=True, slots=True)
class Written:
    """A published result; its name is durable."""

    path: Path
    digest: str
    size: int


def _a(kind: Any, value: Any) -> Any:
    """The value, which is of this kind; TypeError when it is of another."""
    if type(value) is not kind:
        raise TypeError(f"{value!r:.60} is no {kind.__name__}")
    return value
