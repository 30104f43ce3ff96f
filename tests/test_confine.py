"""A worker's walls: every photo goes through, and nothing that a photo has no need of does."""

import errno
import os
import re
import resource
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from multiprocessing import Pipe
from pathlib import Path
from typing import Literal

import pytest

from darkroomd import config, confine, original, worker
from darkroomd.confine import Walls, walls
from darkroomd.errors import Retryable, Unavailable
from darkroomd.hands import OWN, answering
from darkroomd.job import Job, Mode, Output, Treatment, Twin
from darkroomd.places import engines_folder
from darkroomd.workers import WorkerDied, Workers
from tests import pictures
from tests.conftest import make_job
from tests.trespass import attempts

needs_landlock = pytest.mark.skipif(confine.landlock_version() == 0, reason="this kernel has no Landlock")
TRIES = sorted(attempts(make_job(Path("/a/in/b"), Path("/a/out/b"), Mode("", ()))))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    for name in ("in", "out", "private"):
        (tmp_path / name).mkdir()
    (tmp_path / "private/secret").write_text("a secret")
    for other in ("in/other.jpg", "out/result.jpg"):
        (tmp_path / other).write_bytes(b"another photo")
    return pictures.write_jpeg(tmp_path / "in/a.jpg", pictures.with_noise(pictures.scene(64, 48), 12))


def job_of(photo: Path, mode: Mode, name: str = "a.jpg", output: Output | None = None) -> Job:
    return make_job(photo, photo.parent.parent / "out" / name, mode, output)


def within(job: Job) -> Walls:
    """The walls of a real job, without the scratch folder that these tests themselves lie in."""
    return replace(walls(job), write=frozenset({*confine.ALSO_WRITABLE, Path("/var/tmp")}))


@pytest.fixture(scope="module")
def open_worker() -> Iterator[Workers]:
    yield from one_worker(None)


@pytest.fixture(scope="module")
def shut_workers() -> Iterator[Workers]:
    yield from one_worker(within)


def one_worker(inside: Callable[[Job], Walls] | None) -> Iterator[Workers]:
    workers = Workers(1, "tests.trespass:run", walls=inside)
    yield workers
    workers.stop()


@needs_landlock
@pytest.mark.parametrize("what", TRIES)
def test_a_worker_behind_walls_cannot(what: str, photo: Path, shut_workers: Workers) -> None:
    staged = shut_workers.submit(job_of(photo, Mode(what, ())), 0.0).result(60)
    assert staged.verdict.status == "refused"
    assert staged.verdict.reason in (
        os.strerror(errno.EPERM),
        os.strerror(errno.EACCES),
        os.strerror(errno.EXDEV),
        "no namespace",
        os.strerror(errno.EMFILE),
    )
    assert photo.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user is refused some of it without any walls")
@pytest.mark.parametrize(
    "what", [w for w in TRIES if not any(word in w for word in ("plants a program", "memory", "renames", "removes"))]
)
def test_without_walls_it_could(what: str, photo: Path, open_worker: Workers) -> None:
    staged = open_worker.submit(job_of(photo, Mode(what, ())), 0.0).result(60)
    assert staged.verdict.status == "done", staged.verdict.reason


@needs_landlock
def test_every_format_goes_through(photo: Path) -> None:
    workers = Workers(1, "darkroomd.pipeline:run", walls=within)
    general = config.builtin_modes()["general"]
    try:
        for form, ending in (("jpeg", "jpg"), ("png", "png"), ("webp", "webp"), ("tiff", "tif"), ("avif", "avif")):
            job = job_of(photo, general, f"a.{ending}", Output(format=form))  # type: ignore[arg-type]
            staged = workers.submit(job, 0.0).result(120)
            assert (staged.verdict.status, staged.verdict.reason) == ("done", None)
            assert staged.temporary is not None
            again = make_job(photo, photo.parent.parent / "out/again.jpg", general)
            result = staged.temporary.rename(photo.parent / f"b.{ending}")
            again = make_job(result, again.target, general)
            assert workers.submit(again, 0.0).result(120).verdict.status in ("done", "unchanged")
    finally:
        workers.stop()


@needs_landlock
@pytest.mark.parametrize("how", ["copy", "link"])
def test_the_result_of_the_same_photo_is_taken_behind_walls_too(how: Literal["copy", "link"], photo: Path) -> None:
    there = photo.parent.parent / "out/result.jpg"
    twin = Twin(
        photo, "done", sha256(photo.read_bytes()).hexdigest(), there, sha256(there.read_bytes()).hexdigest(), 13
    )
    workers = Workers(1, "darkroomd.pipeline:run", walls=within)
    job = replace(job_of(photo, config.builtin_modes()["general"], output=Output(duplicates=how)), twins=(twin,))
    try:
        staged = workers.submit(job, 0.0).result(60)
        assert staged.temporary is not None
        assert staged.temporary.read_bytes() == b"another photo"
        assert staged.temporary.samefile(there) == (how == "link")
    finally:
        workers.stop()


def test_a_worker_goes_on_to_the_photos_of_any_folder(tmp_path: Path) -> None:
    workers = Workers(1, "tests.trespass:run", walls=within)
    processes = set()
    try:
        for folder in ("one", "one", "two"):
            (tmp_path / folder / "in").mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / "out").mkdir(exist_ok=True)
            photo = tmp_path / folder / "in/a.jpg"
            photo.touch()
            workers.submit(job_of(photo, Mode("lists a home", ())), 0.0).result(60)
            processes |= {process.pid for slot in workers._slots for process in slot._processes()}
        assert len(processes) == 1
    finally:
        workers.stop()


def test_more_than_any_picture_needs_is_not_to_be_had(photo: Path) -> None:
    workers = Workers(1, "tests.trespass:asks_for_too_much", walls=within)
    job = job_of(photo, Mode("", ()))
    try:
        small = replace(job, limits=replace(job.limits, max_megapixels=1, max_file_mb=1))
        told = workers.submit(small, 0.0).result(60).content
        assert told == f"{os.strerror(errno.ENOMEM)}, {os.strerror(errno.EFBIG)}"
    finally:
        workers.stop()


@pytest.mark.parametrize("lie", ["another's result", "no status", "no number", "nothing"])
def test_a_worker_that_says_what_makes_no_sense_is_not_believed_and_ends(lie: str, photo: Path) -> None:
    workers = Workers(1, "tests.trespass:lies", walls=within)
    try:
        with pytest.raises(WorkerDied, match="made no sense"):
            workers.submit(job_of(photo, Mode(lie, ())), 0.0).result(60)
        (process,) = workers._slots[0]._processes()
        process.join(90)
        assert process.exitcode == -9
    finally:
        workers.stop()


def test_what_was_opened_for_a_worker_that_is_gone_is_closed(photo: Path) -> None:
    line, theirs = Pipe()
    hand_over = answering(line, job_of(photo, Mode("", ())))
    theirs.close()
    before = len([*Path("/proc/self/fd").iterdir()])
    with pytest.raises(BrokenPipeError):
        hand_over("original", 0)
    assert len([*Path("/proc/self/fd").iterdir()]) == before
    line.close()


def test_nothing_that_a_worker_says_is_unpickled() -> None:
    """A pickle is a program. Jobs go to workers pickled; recv() and a pool's queues would take such a thing back."""
    for name in ("worker", "workers", "hands"):
        source = (Path(confine.__file__).parent / f"{name}.py").read_text()
        found = re.findall(r"\.recv\(\)|pickle\.loads?|ProcessPool|Queue|Manager", source)
        assert found == ([".recv()"] if name == "worker" else []), name  # the worker's own end, for jobs


def test_engines_for_a_card_are_kept_where_the_worker_may_write(photo: Path, at_home: Path) -> None:
    job = job_of(photo, Mode("", ()))
    on_card = replace(job, engine=replace(job.engine, device="tensorrt:0"))
    assert walls(on_card).write - walls(job).write == {engines_folder()}
    assert engines_folder().is_dir()


@needs_landlock
def test_a_folder_that_is_made_anew_is_no_hindrance(photo: Path) -> None:
    workers = Workers(1, "darkroomd.pipeline:run", walls=within)
    job = job_of(photo, config.builtin_modes()["general"])
    try:
        workers.submit(job, 0.0).result(60)
        shutil.rmtree(job.target.parent)
        job.target.parent.mkdir()
        assert workers.submit(job, 0.0).result(60).verdict.status == "done"
    finally:
        workers.stop()


def test_tensorrt_may_keep_what_it_built_and_nothing_else_of_the_state(photo: Path, at_home: Path) -> None:
    job = job_of(photo, Mode("", ()))
    state = at_home / "state/darkroomd"
    assert not any(path.is_relative_to(state) for path in walls(job).write | walls(job).read)
    inside = walls(replace(job, engine=replace(job.engine, device="tensorrt:1")))
    assert {path for path in inside.write if path.is_relative_to(state)} == {state / "tensorrt"}
    assert (state / "tensorrt").is_dir()


# The filter, tried on a machine for such programs that is written out here


def answer(machine: str, number: int, argument: int = 0, architecture: int | None = None) -> int:
    memory = {0: number, 4: confine._AUDIT_ARCH[machine] if architecture is None else architecture, 16: argument}
    program, at, seen = confine._filter(machine), 0, 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        match code:
            case 0x20:
                seen = memory[value]
            case 0x06:
                return value
            case _:
                holds = {0x15: seen == value, 0x35: seen >= value, 0x45: bool(seen & value)}[code]
                at += if_true if holds else if_false


MACHINES = pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS


@MACHINES
def test_what_is_on_the_list_is_refused_and_the_rest_is_let_be(machine: str, column: int) -> None:
    listed = {numbers[column] for numbers in confine._DENIED.values()} - {-1}
    special = {confine._CLONE3[column], confine._CLONE[column]}
    assert {number for number in range(600) if answer(machine, number, argument=1) != ALLOW} == listed | special
    assert {answer(machine, number) for number in listed} == {EPERM}
    assert answer(machine, confine._CLONE3[column]) == ENOSYS


@MACHINES
def test_threads_may_be_made_and_processes_and_namespaces_may_not(machine: str, column: int) -> None:
    thread, process, user_namespace = 0x3D0F00, 0x1200011, 0x10000000
    assert answer(machine, confine._CLONE[column], process) == EPERM
    assert answer(machine, confine._CLONE[column], thread) == ALLOW
    assert answer(machine, confine._CLONE[column], thread | user_namespace) == EPERM
    unix, inet = 1, 2
    assert answer(machine, confine._SOCKET[column], unix) == ALLOW
    assert answer(machine, confine._SOCKET[column], inet) == EPERM


@MACHINES
def test_calls_by_another_door_are_refused(machine: str, column: int) -> None:
    assert answer(machine, 0, architecture=0x40000003) == 0x80000000  # a 32-bit call: the process ends
    if machine == "x86_64":
        assert answer(machine, 0x40000000) == EPERM


def test_numbers_are_those_of_this_machine() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("the kernel's headers are not installed")
    known = dict(line.split()[1:3] for line in header.read_text().splitlines() if line.startswith("#define __NR_"))
    listed = confine._DENIED | {"clone": confine._CLONE, "clone3": confine._CLONE3, "socket": confine._SOCKET}
    assert {name: numbers[0] for name, numbers in listed.items()} == {
        name: int(known[f"__NR_{name}"]) for name in listed
    }


@needs_landlock
def test_no_descriptor_left_for_what_a_worker_asks_is_passing_and_costs_the_worker_not_the_photo(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def the_last_one(path: Path, root: Path) -> int:
        """Enough to open it, but not to send it."""
        descriptor = original.opened(path, root)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
        return descriptor

    workers = Workers(1, "tests.trespass:run", walls=within)
    job = job_of(photo, Mode("writes through what it was handed to read", ()))
    try:
        workers.submit(job, 0.0).result(60)
        (slot,) = workers._slots
        with monkeypatch.context() as few:
            few.setattr("darkroomd.hands.opened", the_last_one)
            try:
                error = workers.submit(job, 1.0).exception(60)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert isinstance(error, Retryable)
        assert str(error) == "nothing can be handed to a worker: Too many open files"
        assert workers.submit(job, 2.0).result(60).verdict.status == "refused"
        assert workers._slots != [slot]
    finally:
        workers.stop()


@needs_landlock
def test_a_share_that_hangs_keeps_neither_a_workers_place_nor_the_service(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, is_back = threading.Event(), threading.Event()

    def from_the_share(_job: Job) -> int:
        asked.set()
        is_back.wait(90)
        raise Retryable("stale")

    on_the_share = replace(OWN, original=from_the_share)
    monkeypatch.setattr(worker, "answering", lambda line, job: answering(line, job, on_the_share))
    workers = Workers(1, "tests.trespass:run", walls=within, limit_seconds=100)
    try:
        answer = workers.submit(job_of(photo, Mode("writes through what it was handed to read", ())), 0.0)
        assert asked.wait(90)
        assert workers.free() == 0
        workers.tend(101.0)
        assert isinstance(error := answer.exception(0), Retryable)
        assert "does not answer" in str(error)
        assert workers.free() == 1
        workers.tend(102.0)
        assert workers.alive() == 0
        asked.clear()
        answer = workers.submit(job_of(photo, Mode("writes through what it was handed to read", ())), 103.0)
        assert asked.wait(90)
        workers.stop()  # which is no word against the share
        with pytest.raises(WorkerDied, match="stopped"):
            answer.result(0)
    finally:
        is_back.set()
        workers.stop()


def test_a_thread_that_cannot_be_started_is_told_as_what_it_is_and_the_worker_can_be_asked_again(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    workers = Workers(1, "tests.trespass:run")
    job = job_of(photo, Mode("lists a home", ()))
    try:
        workers.submit(job, 0.0).result(60)
        (slot,) = workers._slots
        with monkeypatch.context() as short:
            short.setattr(threading.Thread, "start", full)
            with pytest.raises(BlockingIOError, match="can't start new thread"):
                workers.submit(job, 1.0)
        workers.submit(job, 2.0).result(60)
        assert workers._slots == [slot]
    finally:
        workers.stop()


@needs_landlock
def test_a_second_worker_finds_what_a_job_needs_or_misses_it_behind_walls_too(photo: Path) -> None:
    workers = Workers(1, "darkroomd.pipeline:run", ready="darkroomd.pipeline:ready", walls=within)
    there, missing = config.builtin_modes()["auto"], Mode("", (Treatment("nobody's"),))
    try:
        found = workers.second_opinion(job_of(photo, there), 0.0)
        assert found is not None
        assert found.result(90).temporary is None
        missed = workers.second_opinion(job_of(photo, missing), 1.0)
        assert missed is not None
        assert isinstance(error := missed.exception(90), Unavailable)
        assert "nobody's" in str(error)
        assert list((photo.parent.parent / "out").glob(".*")) == []
    finally:
        workers.stop()
