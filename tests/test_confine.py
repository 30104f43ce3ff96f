"""A worker's walls: every photo goes through, and nothing that a photo has no need of does."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from darkroomd import config, confine
from darkroomd.confine import Walls, walls
from darkroomd.errors import Retryable
from darkroomd.job import Job, Mode, Output
from darkroomd.places import engines_folder
from darkroomd.workers import Workers
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
    return pictures.write_jpeg(tmp_path / "in/a.jpg", pictures.with_noise(pictures.scene(64, 48), 12))


def job_of(photo: Path, mode: Mode, name: str = "a.jpg", output: Output | None = None) -> Job:
    return make_job(photo, photo.parent.parent / "out" / name, mode, output)


def within(job: Job) -> Walls:
    """The walls of a real job, without the scratch folder that these tests themselves lie in."""
    return replace(walls(job), write=frozenset({job.target.parent, *confine.ALSO_WRITABLE}))


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
    )
    assert photo.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user is refused some of it without any walls")
@pytest.mark.parametrize("what", [what for what in TRIES if "plants a program" not in what and "memory" not in what])
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


def test_a_worker_goes_on_to_photos_of_the_same_folders_only(tmp_path: Path) -> None:
    workers = Workers(1, "tests.trespass:run", walls=within)
    asked = []
    try:
        for folder in ("one", "one", "two"):
            (tmp_path / folder / "in").mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / "out").mkdir(exist_ok=True)
            photo = tmp_path / folder / "in/a.jpg"
            photo.touch()
            workers.submit(job_of(photo, Mode("lists a home", ())), 0.0).result(60)
            asked.append([slot.inside for slot in workers._slots])
        assert asked[0] == asked[1] != asked[2]
        assert workers.alive() == 1
    finally:
        workers.stop()


def test_a_disk_that_is_mounted_later_is_another_folder(photo: Path) -> None:
    job = job_of(photo, Mode("", ()))
    before = walls(job)
    job.target.parent.rename(photo.parent / "the disk was mounted over this")
    assert walls(job) != before
    job.target.parent.mkdir()
    assert walls(job) != before


def test_engines_for_a_card_are_kept_where_the_worker_may_write(photo: Path, at_home: Path) -> None:
    job = job_of(photo, Mode("", ()))
    on_card = replace(job, engine=replace(job.engine, device="tensorrt:0"))
    assert walls(on_card).write - walls(job).write == {engines_folder()}
    assert engines_folder().is_dir()


@needs_landlock
def test_a_folder_that_is_made_anew_is_let_in_at_the_next_attempt(photo: Path) -> None:
    """Its number may be that of the old one, which is all that can be seen from outside."""
    workers = Workers(1, "darkroomd.pipeline:run", walls=within)
    job = job_of(photo, config.builtin_modes()["general"])
    try:
        workers.submit(job, 0.0).result(60)
        shutil.rmtree(job.target.parent)
        job.target.parent.mkdir()
        for _attempt in range(2):
            with contextlib.suppress(Retryable):
                staged = workers.submit(job, 0.0).result(60)
        assert staged.verdict.status == "done"
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
    special = {confine._CLONE3[column]}
    assert {number for number in range(600) if answer(machine, number, argument=1) != ALLOW} == listed | special
    assert {answer(machine, number) for number in listed} == {EPERM}
    assert answer(machine, confine._CLONE3[column]) == ENOSYS


@MACHINES
def test_threads_may_be_made_and_namespaces_may_not(machine: str, column: int) -> None:
    thread, user_namespace = 0x3D0F00, 0x10000000
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
