"""Photos named on the command line: enhanced, or explained, without a watched folder and without the ledger."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from darkroomd.config import Config
from darkroomd.device import network
from darkroomd.enhance import RESIDENT_MB, megapixels_to_run, missing, pictures_mb, sizes_to_run, steps_for, tile_mb
from darkroomd.errors import CannotWrite, Changed, Conflict, Rejected, Retryable
from darkroomd.guard import guards
from darkroomd.job import FORMAT_OF, Content, Engine, Findings, Format, Job, Mode, Picture, Settled, Skip, Step, Verdict
from darkroomd.look import new_faces
from darkroomd.models import cards, digests
from darkroomd.original import opened
from darkroomd.picture import decoded
from darkroomd.pipeline import held_mb, run, seen
from darkroomd.plan import SUFFIXES, mode_for, plan, recipe, target_name
from darkroomd.save import check_size, encode, result_format
from darkroomd.scratch import at_most, giant
from darkroomd.settle import fingerprint
from darkroomd.transparent import filled
from darkroomd.watch import sightings
from darkroomd.write import discard, publish

# what a picture shows, and the mode that is made for it
MADE_FOR: dict[Content, str] = {"portrait": "portrait", "document": "text", "old photo": "old-photo"}


def photos(inputs: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """(folder that the name is relative to, photo): files as they are, folders with the photos in and below them."""
    for path in (Path(os.path.abspath(path)) for path in inputs):  # noqa: PTH100 - a link's own name is kept
        if path.is_dir():
            below = sorted(s.path for s in sightings(path) if s.path.suffix.lower() in SUFFIXES)
            yield from ((path, photo) for photo in below)
        else:
            yield path.parent, path


def job_for(root: Path, source: Path, output: Path | None, mode: Mode, config: Config, number: int = 0) -> Job:
    """The job for one photo. output: a folder that exists, a file with the ending of a format, or None for beside it.

    Retryable when the photo cannot be read.
    """
    mark = fingerprint(source)
    if mark is None:
        raise Retryable("cannot read the file: it is not there, or not a regular file")
    settings = config.output
    if output is None:
        named = replace(settings, name="{stem}-enhanced{ext}")
        target = source.with_name(target_name(source.name, mode, named))
    elif output.is_dir():
        target = output / source.relative_to(root).with_name(target_name(source.name, mode, settings))
    else:
        target = output
        settings = replace(settings, format=FORMAT_OF[target.suffix.lower()])
    return Job(
        root=root,
        source=source,
        fingerprint=mark,
        target=target,
        mode=mode,
        output=settings,
        limits=config.limits,
        engine=Engine(device=config.service.device, memory_limit_mb=config.service.memory_limit_mb),
        recipe=recipe(mode, digests(), settings),
        temporary=target.with_name(f".darkroomd-{os.getpid()}-{number}-1.part"),
    )


def enhanced_file(job: Job) -> Verdict:
    """Do the job and publish the result: its verdict, whatever became of it. CannotWrite and Unavailable are raised."""
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        staged = run(job)
        verdict = staged.verdict
        if staged.temporary is not None and staged.digest is not None:
            verdict = replace(verdict, output=publish(job, staged.digest, staged.size, None).path)
        return verdict
    except Rejected as error:
        return Verdict(job.source, "refused", job.mode.name, reason=str(error))
    except CannotWrite:
        raise
    except OSError as error:
        raise CannotWrite(f"{job.target.parent}: {error.strerror}") from error
    except MemoryError:
        return Verdict(job.source, "failed", job.mode.name, reason="not enough memory for this picture")
    except (Retryable, Conflict, Changed) as error:
        return Verdict(job.source, "failed", job.mode.name, reason=str(error))
    finally:
        discard(job.temporary)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would be done to a photo, and why; nothing was touched. seconds and memory_mb are forecasts."""

    source: Path
    mode: str
    rule: str
    target: Path | None
    found: dict[str, Any]
    limits: tuple[str, ...]
    steps: tuple[Step, ...]
    width: int
    height: int
    seconds: float
    memory_mb: float
    refused: str | None = None
    suggestion: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values; `steps` as in a verdict."""
        return {
            "source": str(self.source),
            "target": None if self.target is None else str(self.target),
            "mode": self.mode,
            "rule": self.rule,
            "refused": self.refused,
            "found": self.found,
            "steps": [step.as_json() for step in self.steps],
            "limits": list(self.limits),
            "width": self.width,
            "height": self.height,
            "seconds": round(self.seconds, 1),
            "memory_mb": round(self.memory_mb),
            "suggestion": self.suggestion,
        }


def explained(source: Path, config: Config) -> Explanation:
    """Which rule, what was found, what would be done, how long it would take on this machine and how much memory."""
    mode, rule, target, skipped = _ruling(source, config)
    if skipped is not None:
        return _refused(source, mode, rule, target, skipped)
    try:
        descriptor = opened(source)
    except (Rejected, Retryable) as error:
        return _refused(source, mode, rule, target, str(error))
    engine = Engine(device=config.service.device, memory_limit_mb=config.service.memory_limit_mb)
    began = time.perf_counter()
    try:
        with at_most(config.limits.max_decoding_mb, "limits.max_decoding_mb"):
            picture = decoded(descriptor, config.limits)
    except Rejected as error:
        return _refused(source, mode, rule, target, str(error))
    finally:
        os.close(descriptor)
    shown, found = seen(filled(picture), mode, engine)
    read_seconds = time.perf_counter() - began
    steps = steps_for(found, mode, (picture.width, picture.height))
    form = result_format(picture, source, target, config.output)
    try:
        check_size(steps, form, config.limits)
    except Rejected as error:
        return _refused(source, mode, rule, target, str(error))
    seconds, memory_mb = _forecast(picture.with_pixels(shown.pixels), found, steps, form, config)
    return Explanation(
        source, mode.name, rule, target, found.facts(), found.limits + picture.notes + missing(found, mode), steps,
        picture.width, picture.height, seconds + read_seconds, memory_mb, suggestion=_suggestion(found, mode, config),
    )  # fmt: skip


def _suggestion(found: Findings, mode: Mode, config: Config) -> str | None:
    """The mode made for what is in the picture, if it is there and this one does not use its network already."""
    suited = MADE_FOR.get(found.content)
    if suited is None or suited not in config.modes or any(step.network == suited for step in mode.treatments):
        return None
    return suited


def _ruling(source: Path, config: Config) -> tuple[Mode, str, Path | None, str | None]:
    """(mode, which rule says so, target, why it is skipped) by the config's folders, else by the default mode."""
    for folder in config.folders:
        watch = folder.watch.resolve()
        mark = fingerprint(source)
        if mark is None or not source.resolve().is_relative_to(watch):
            continue
        mode, rule = mode_for(source.resolve().relative_to(watch), folder)
        says = f"rule {rule.name!r} of {folder.watch}" if rule else f"folder {folder.watch}"
        planned = plan(Settled(watch, source.resolve(), mark), folder, config, digests())
        if isinstance(planned, Skip):
            return mode or folder.mode, says, None, planned.reason
        return planned.mode, says, planned.target, None
    return config.modes["auto"], "in no watched folder: mode auto", None, None


def _refused(source: Path, mode: Mode, rule: str, target: Path | None, reason: str) -> Explanation:
    return Explanation(source, mode.name, rule, target, {}, (), (), 0, 0, 0.0, 0.0, refused=reason)


def _forecast(
    picture: Picture, found: Findings, steps: tuple[Step, ...], form: Format, config: Config
) -> tuple[float, float]:
    """(seconds, MB) after reading and looking: what each part takes is measured on this photo, now.

    The networks on one small tile each, for as many pixels as they will compute; checking and writing for real, but to
    nowhere.
    """
    engine = Engine(device=config.service.device, memory_limit_mb=config.service.memory_limit_mb)
    bytes_per_pixel = picture.pixels.shape[2] * picture.pixels.dtype.itemsize
    picture_mb = 0.0 if giant(picture.pixels.nbytes) else picture.width * picture.height * bytes_per_pixel / 1e6
    # the detectors and their answers are here already, as they will be then
    least_mb = max(RESIDENT_MB + max(picture_mb, picture.decoding_mb), held_mb())
    if not steps:
        return 0.0, least_mb
    seconds, known, tiles, pictures = 0.0, cards(), [], []
    for step in steps:
        net = network(step.model, engine)
        seconds += net.seconds_per_megapixel() * megapixels_to_run(step, net, picture, found, engine)
        sizes = sizes_to_run(step, picture, found)
        tiles.append(net.memory_share * max((tile_mb(known[step.model], *size, engine) for size in sizes), default=0.0))
        pictures.append(pictures_mb(picture.width, picture.height, bytes_per_pixel, known[step.model].scale))
    memory_mb = max(held_mb(), RESIDENT_MB) + sum(tiles) + max(pictures)
    began = time.perf_counter()
    guards(picture, picture, found.noise_sigma, found.blur_sigma or 0.0)
    if found.faces is not None:
        new_faces(found.faces, picture, engine)
    checked = time.perf_counter()
    with os.fdopen(os.memfd_create("forecast"), "wb") as nowhere:
        encode(picture, form, config.output, nowhere.fileno(), None, "")
    pixels = max((step.size[0] * step.size[1] for step in steps if step.size), default=picture.width * picture.height)
    written = (time.perf_counter() - checked) * pixels / (picture.width * picture.height)
    return seconds + checked - began + written, max(memory_mb, least_mb)
