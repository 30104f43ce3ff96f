"""One photo from end to end: the calls in order. Runs in a worker process; logs nothing, publishes nothing."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from darkroomd.device import check_there, opened_seconds
from darkroomd.enhance import at_size_of, device_of, enhanced, missing, opening, steps_for
from darkroomd.errors import BadResult, Rejected, Retryable
from darkroomd.guard import Checked, guards, weakened
from darkroomd.hands import OWN, Hands
from darkroomd.job import Engine, Findings, Format, GuardResult, Job, Mode, Picture, Staged, Step, Twin, Verdict
from darkroomd.light import evened
from darkroomd.look import findings, new_faces
from darkroomd.original import fingerprint_of
from darkroomd.picture import check_file, decoded, packet_of
from darkroomd.save import check_size, encode, losses, result_format
from darkroomd.scratch import at_most, giant
from darkroomd.transparent import filled, put_back
from darkroomd.write import earlier, stage
from darkroomd.xmp import made_by_us

# where the checks did not pass: how much of the change is left, whether everywhere, and what it is called
WEAKER = (
    (0.5, False, "half strength where it did not"),
    (0.0, False, "the original where it did not"),
    (0.5, True, "half strength"),
    (0.25, True, "a quarter of the strength"),
)
WEAKER_THROUGHOUT = WEAKER[2], WEAKER[1], WEAKER[3]
NOTHING_TO_IMPROVE = "nothing to improve: little noise, no visible compression, sharp"
TOO_SOFT_SIGMA, TOO_SOFT = 2.2, "too soft to be improved without harm"
FOUND_AGAIN = "found again: made earlier from the same photo with the same settings"
OUR_OWN = "darkroomd made this picture itself, and enhances it again only by `darkroomd enhance --again`"


def run(job: Job, hands: Hands = OWN) -> Staged:
    """Open, look, enhance, guard, stage: what became of the photo, and the complete file that waits to be published.

    hands: what opens its files; nothing here opens a photo or a result by its name.
    Only a result that passed every guard is staged. Rejected when the file can never become a picture, Retryable
    when time may help, Unavailable when a network is missing; nothing is left behind in any of these cases.
    """
    timer = Timer()
    descriptor = hands.original(job)
    try:
        with timer("read"), os.fdopen(os.dup(descriptor), "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        _still_the_same(job, descriptor)
        if there := _known(job, content, hands) or _like_its_twin(job, content, timer, hands):
            return there
        with opening(job.mode, job.engine), timer("decode"):
            picture = _decoded_twice(descriptor, job)
        _still_the_same(job, descriptor)
        if not job.again and (ours := made_by_us(picture.tags.xmp)):
            return Staged(job, content, Verdict(job.source, "unchanged", job.mode.name, reason=f"{OUR_OWN} ({ours})"))
        with timer("look"):
            shown, found = seen(filled(picture), job.mode, job.engine)
        steps = steps_for(found, job.mode, (picture.width, picture.height))
        check_size(steps, _format(job, picture), job.limits)
        verdict = _verdict(job, picture, found, steps)
        if not steps:
            return _left_alone(job, content, verdict, found, picture, descriptor, timer, hands)
        try:
            with timer("enhance"):
                result = enhanced(shown, steps, job.engine, found)
            verdict = replace(verdict, device=device_of(steps, job.engine))
        except BadResult as error:
            return Staged(job, content, timer.on(replace(verdict, status="failed", reason=str(error))))
        event = _event(job, steps, content)
        with _made_ahead(_encoder(job, put_back(picture, result), event), result) as made:
            with timer("guard"):
                checked, checks, reason = _checked(shown, result, found, job)
            verdict = replace(verdict, guards=checks, width=result.width, height=result.height, reason=reason)
            if not all(check.passed for check in checks):
                alone = job, content, verdict, found, picture, descriptor, timer, hands
                refused = Staged(job, content, timer.on(replace(verdict, status="refused")))
                return _left_alone(*alone) if job.mode.choose else refused  # who chose a mode asked for a change
            save = made if checked is result else _encoder(job, put_back(picture, checked), event)
            return _staged(job, content, verdict, timer, save, hands)
    finally:
        os.close(descriptor)


def seen(picture: Picture, mode: Mode, engine: Engine) -> tuple[Picture, Findings]:
    """What the networks will see, and what look finds in it.

    Where the mode evens the light of a page, both are of the page in even light: that is what is restored and checked.
    """
    found = findings(picture, mode.regions, engine)
    if mode.light == "even" and mode.strength > 0 and found.text:
        pixels = evened(picture.pixels, found.text)
        if pixels is not picture.pixels:
            picture = picture.with_pixels(pixels)
            found = findings(picture, mode.regions, engine)
    return picture, found


def ready(job: Job, hands: Hands = OWN) -> Staged:  # noqa: ARG001 - called as `run` is
    """Whether what the job's mode may need is there, without a look at its photo; Unavailable when it is not."""
    check_there(job.mode.networks, job.engine)
    return Staged(job, "", Verdict(job.source, "unchanged", job.mode.name))


def _decoded_twice(descriptor: int, job: Job) -> Picture:
    """A refusal is for good, and a read that failed in this moment can look like damage: believed the second time."""
    with at_most(job.limits.max_decoding_mb, "limits.max_decoding_mb"):
        try:
            return decoded(descriptor, job.limits)
        except Rejected:
            return decoded(descriptor, job.limits)


def _checked(
    picture: Picture, result: Picture, found: Findings, job: Job
) -> tuple[Picture, tuple[GuardResult, ...], str | None]:
    """The strongest form of the result that passes the checks, what they say of it, and what was wrong at first.

    Where nothing passes, the checks are those that failed at first.
    """
    faces = tuple(face.box for face in found.faces or ())
    text = tuple((box.left, box.top, box.width, box.height) for box in found.text or ())
    full = at_size_of(picture, result)
    appeared = () if found.faces is None else tuple(face.box for face in new_faces(found.faces, full, job.engine))

    def checks(after: Picture) -> Checked:
        sigmas, tone_kept = (found.noise_sigma, found.blur_sigma or 0.0), job.mode.tone != "restore"
        return guards(picture, after, *sigmas, faces, text, tone_kept, found.visible_quality, appeared)

    at_first = checks(full)
    if at_first.passed:
        return result, at_first.results, None
    why = ", ".join(f"{c.name} {c.value:.2g} (limit {c.limit:g})" for c in at_first.results if not c.passed)
    for strength, everywhere, less in WEAKER_THROUGHOUT if at_first.throughout else WEAKER:
        if not (everywhere or at_first.local):
            continue
        weaker = weakened(picture, result, at_first, strength, everywhere)
        checked = at_first if weaker is None else checks(weaker)
        if weaker is not None and checked.passed:
            return weaker, checked.results, f"the full result did not pass the checks: {why}; written with {less}"
    return result, at_first.results, f"the result did not pass the checks: {why}"


def _left_alone(
    job: Job,
    content: str,
    verdict: Verdict,
    found: Findings,
    picture: Picture,
    descriptor: int,
    timer: "Timer",
    hands: Hands,
) -> Staged:
    """A good photo, or one of which no better could be made: its bytes are copied, or nothing is written, by config.

    Only another format, or tags that must go, make it be written anew.
    """
    reason = NOTHING_TO_IMPROVE
    if verdict.reason is not None:
        reason = f"{verdict.reason}; left as it was"
    elif job.mode.strength == 0:
        reason = "strength is 0"
    elif nothing := missing(found, job.mode):
        reason = ", ".join(nothing)
    elif job.mode.choose and (found.blur_sigma or 0.0) >= TOO_SOFT_SIGMA:
        reason = TOO_SOFT
    elif job.mode.scale is not None:
        reason = f"as large as it is to become: {picture.width}×{picture.height}"
    verdict = replace(verdict, status="unchanged", reason=reason, steps=(), width=picture.width, height=picture.height)
    if job.output.unchanged == "skip":
        return Staged(job, content, timer.on(verdict))
    if picture.format == _format(job, picture) and job.output.metadata == "keep":
        return _staged(job, content, verdict, timer, lambda out: _copied(descriptor, out), hands)
    return _staged(job, content, verdict, timer, _encoder(job, picture, None), hands)


def _staged(
    job: Job, content: str, verdict: Verdict, timer: "Timer", save: Callable[[int], None], hands: Hands
) -> Staged:
    with timer("write"):
        digest, size = stage(job, save, place=hands.place)
    return Staged(job, content, timer.on(verdict), job.temporary, digest, size)


def _encoder(job: Job, picture: Picture, event: str | None) -> Callable[[int], None]:
    form = _format(job, picture)
    try:
        ours = version("darkroomd")
    except PackageNotFoundError as error:  # also when its folder cannot be read in this moment
        raise Retryable("darkroomd's own package cannot be read") from error
    if not ours:  # a METADATA that may not be read is None and no error: the result would say "darkroomd None"
        raise Retryable("darkroomd's own package cannot be read")

    def save(out: int) -> None:
        encode(picture, form, job.output, out, event, ours)
        check_file(out, picture.width, picture.height)

    return save


def _known(job: Job, content: str, hands: Hands) -> Staged | None:
    """The result that is there already, by the ledger or, where that was lost, by the note in the result.

    A good photo's copy has no note: publishing knows it by its bytes, once it is clear that the photo is good.
    """
    if content == job.known_content:
        return Staged(job, content, Verdict(job.source, "unchanged", job.mode.name), repeated=True)
    if not job.search:
        return None
    origin = _origin(job, content)
    found = earlier(job, lambda there: (made_by_us(packet_of(there)) or "").endswith(origin), hands.taken)
    if found is None:
        return None
    verdict = Verdict(job.source, "done", job.mode.name, output=found[0], reason=FOUND_AGAIN)
    return Staged(job, content, verdict, size=found[1])


def _like_its_twin(job: Job, content: str, timer: "Timer", hands: Hands) -> Staged | None:
    """The result that the same bytes have under another name; None where there is none as it was written.

    A link has one owner and one set of permissions: where they are the photo's own, each result is a file of its own.
    """
    link = job.output.duplicates == "link" and "keep" not in (job.output.owner, job.output.permissions)
    for twin in job.twins:
        if twin.content != content:
            continue
        with timer("write"):
            linked = link and hands.link(job, twin)
            if not (linked or _copied_from(job, twin, hands)):
                continue
        how = "linked" if linked else "copied"
        reason = f"the same photo as {twin.source}, whose result was {how}".encode("utf-8", "backslashreplace").decode()
        verdict = timer.on(Verdict(job.source, twin.status, job.mode.name, reason=reason))
        return Staged(job, content, verdict, job.temporary, twin.digest, twin.size)
    return None


def _copied_from(job: Job, twin: Twin, hands: Hands) -> bool:
    try:
        descriptor = hands.twin(job, twin)
    except (Rejected, Retryable):
        return False
    try:
        with os.fdopen(os.dup(descriptor), "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != twin.digest:  # edited since
                return False
        if stage(job, lambda out: _copied(descriptor, out), place=hands.place)[0] != twin.digest:
            raise Retryable("the result of the same photo changed while it was copied")
        return True
    finally:
        os.close(descriptor)


def _origin(job: Job, content: str) -> str:
    """From what and how: 128 bits of each SHA-256 tell any two apart, and the note stays short enough to be read."""
    return f"; source {content[:32]}; recipe {job.recipe[:32]}"


def _event(job: Job, steps: tuple[Step, ...], content: str) -> str:
    """What was done, for the history that the result carries with it."""
    done = "; ".join(f"network {step.model} {step.digest[:12]} strength {step.strength:g}" for step in steps)
    light = " in even light" if job.mode.light == "even" else ""
    return f"mode {job.mode.name}{light}; {done}{_origin(job, content)}"


@contextmanager
def _made_ahead(save: Callable[[int], None], result: Picture) -> Iterator[Callable[[int], None]]:
    """`save`, whose file is made in memory on another thread meanwhile: beside the checks, which nearly all pass.

    Either keeps about one core busy, for 2 % of a photo's time. A giant is made when it is asked for.
    """
    try:
        memory = None if giant(result.pixels.nbytes) else os.memfd_create("result")
    except OSError:  # forbidden by vm.memfd_noexec, or no descriptor is free
        memory = None
    if memory is None:
        yield save
        return
    with os.fdopen(memory, "rb") as file, ThreadPoolExecutor(1) as beside:
        made = beside.submit(save, file.fileno())

        def saved(out: int) -> None:
            made.result()
            _copied(file.fileno(), out)

        yield saved


def _format(job: Job, picture: Picture) -> Format:
    return result_format(picture, job.source, job.target, job.output)


def _copied(source: int, target: int) -> None:
    with os.fdopen(os.dup(source), "rb") as bytes_in, os.fdopen(os.dup(target), "wb") as bytes_out:
        bytes_in.seek(0)
        shutil.copyfileobj(bytes_in, bytes_out, 1 << 20)


def _still_the_same(job: Job, descriptor: int) -> None:
    if fingerprint_of(descriptor) != job.fingerprint:
        raise Retryable("the file changed while it was being read")


def _verdict(job: Job, picture: Picture, found: Findings, steps: tuple[Step, ...]) -> Verdict:
    return Verdict(
        source=job.source,
        status="done",
        mode=job.mode.name,
        found=found.facts(),
        steps=steps,
        limits=found.limits + picture.notes + missing(found, job.mode) + losses(picture, _format(job, picture)),
        width=picture.width,
        height=picture.height,
    )


class Timer:
    """Seconds per stage, for the verdict: `with timer("decode"): ...`, then `timer.on(verdict)`."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._seconds[stage] = time.perf_counter() - began

    def on(self, verdict: Verdict) -> Verdict:
        """The verdict with its times and this process's peak memory so far."""
        opened = tuple(opened_seconds())
        return replace(verdict, seconds=dict(self._seconds), open_seconds=opened, peak_rss_mb=held_mb(most=True))


def held_mb(most: bool = False) -> int:
    """What this process holds, or the most that it has held.

    From /proc, because getrusage also counts what the parent held when it started this process.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM" if most else "VmRSS")) // 1024
