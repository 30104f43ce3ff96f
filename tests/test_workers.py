"""Real processes, with the pretended pipeline."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from darkroomd.errors import Bug, OutOfMemory, Rejected, Retryable
from darkroomd.job import Engine, Job, Limits, Mode, Output, Treatment
from darkroomd.settle import fingerprint
from darkroomd.workers import Inline, WorkerDied, Workers
from tests.command import until

RUN = "tests.pretend:run"


def job(folder: Path, words: str) -> Job:
    source = folder / f"{words.split(maxsplit=1)[0]}.jpg"
    source.write_text(words)
    target = folder / "out" / source.name
    target.parent.mkdir(exist_ok=True)
    found = fingerprint(source)
    assert found is not None
    return Job(
        folder, source, found, target, Mode("auto", (Treatment("general"),)), Output(), Limits(), Engine(), "recipe",
        temporary=target.parent / f".darkroomd-x-{source.name}.part",
    )  # fmt: skip


@pytest.fixture
def workers() -> Iterator[Workers]:
    pool = Workers(2, RUN, idle_seconds=10, limit_seconds=100)
    yield pool
    pool.stop()


def test_a_death_costs_its_own_job_and_no_other(tmp_path: Path, workers: Workers) -> None:
    killed, fine = workers.submit(job(tmp_path, "kill"), 0), workers.submit(job(tmp_path, "photo"), 0)
    assert workers.free() == 0
    wait([killed, fine], 90)
    with pytest.raises(WorkerDied, match="SIGKILL"):
        killed.result()
    assert fine.result().temporary is not None
    assert workers.free() == 2
    workers.tend(1)
    assert workers.alive() == 1
    again = workers.submit(job(tmp_path, "photo"), 2), workers.submit(job(tmp_path, "other"), 2)
    assert [future.result(90).verdict.status for future in again] == ["done", "done"]


class Kept(Executor):
    """Keeps its job for later."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        self.job, self.answer = args[-1], Future[Any]()
        return self.answer


def test_no_two_workers_have_the_same_number_and_the_lowest_free_one_is_taken(tmp_path: Path) -> None:
    made: list[Kept] = []

    def executor() -> Kept:
        made.append(Kept())
        return made[-1]

    pool, one = Workers(3, RUN, executor=executor), job(tmp_path, "photo")
    for _ in range(3):
        pool.submit(one, 0)
    made[1].answer.set_exception(BrokenExecutor())
    pool.tend(1)
    pool.submit(one, 2)
    assert [kept.job.engine.worker for kept in made] == [0, 1, 2, 1]


def test_a_worker_starts_no_more_threads_than_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAYON_NUM_THREADS", "VIPS_CONCURRENCY"):  # an operator's own setting would count
        monkeypatch.delenv(name, raising=False)
    pool = Workers(1, "tests.pretend:tells_its_share")
    try:
        one = replace(job(tmp_path, "photo"), engine=Engine(threads=2))
        assert pool.submit(one, 0).result(90).content == "0 2 2"
    finally:
        pool.stop()


def test_after_so_many_photos_or_so_much_memory_a_worker_makes_room_for_a_new_one(
    tmp_path: Path, workers: Workers
) -> None:
    workers.most_photos = 2
    pids = set()
    for now in range(4):
        workers.submit(job(tmp_path, "photo"), now).result(90)
        pids |= {process.pid for slot in workers._slots for process in slot._processes()}
        workers.tend(now)
    assert len(pids) == 2
    workers.most_photos, workers.most_mb = 500, 1
    workers.submit(job(tmp_path, "photo"), 5).result(90)
    workers.tend(5)
    assert workers.alive() == 0


def test_an_idle_worker_goes_and_comes_back(tmp_path: Path, workers: Workers) -> None:
    workers.submit(job(tmp_path, "photo"), 0).result(90)
    workers.tend(1)
    assert workers.next_due() == 11
    workers.tend(11)
    assert workers.alive() == 1
    workers.tend(11.5)
    assert workers.alive() == 0
    assert workers.next_due() is None
    assert workers.submit(job(tmp_path, "photo"), 12).result(90).verdict.status == "done"


def test_fewer_workers_when_fewer_are_wanted(tmp_path: Path, workers: Workers) -> None:
    wait([workers.submit(job(tmp_path, "photo"), 0), workers.submit(job(tmp_path, "other"), 0)], 90)
    workers.count = 1
    workers.tend(1)
    workers.tend(1)
    assert workers.alive() == 1
    assert workers.free() == 1


def test_a_worker_that_died_while_idle_is_not_the_next_jobs_fault(tmp_path: Path, workers: Workers) -> None:
    workers.submit(job(tmp_path, "photo"), 0).result(90)
    (slot,) = workers._slots
    (process,) = slot._processes()
    os.kill(process.pid, signal.SIGKILL)
    process.join(90)
    assert workers.submit(job(tmp_path, "photo"), 1).result(90).verdict.status == "done"


def test_a_job_that_takes_too_long_is_killed(tmp_path: Path, workers: Workers) -> None:
    stuck = workers.submit(job(tmp_path, "slow"), 0)
    workers.tend(100)
    assert not stuck.done()
    workers.tend(101)
    with pytest.raises(WorkerDied, match="took longer than 100 s"):
        stuck.result(90)


def test_stop_ends_what_runs_and_leaves_no_process(tmp_path: Path, workers: Workers) -> None:
    stuck = workers.submit(job(tmp_path, "slow"), 0)
    (process,) = workers._slots[0]._processes()
    workers.stop(0.1)
    with pytest.raises(WorkerDied, match="stopped"):
        stuck.result(0)
    assert not process.is_alive()


def test_workers_leave_signals_to_the_service(tmp_path: Path, workers: Workers) -> None:
    first = workers.submit(job(tmp_path, "photo"), 0)
    (process,) = workers._slots[0]._processes()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # it is still starting
        os.kill(process.pid, number)
    assert first.result(90).verdict.status == "done"
    os.kill(process.pid, signal.SIGTERM)
    assert workers.submit(job(tmp_path, "other"), 1).result(90).verdict.status == "done"


def test_no_worker_outlives_the_service(tmp_path: Path) -> None:
    job(tmp_path, "slow")
    program = (
        "import sys\nfrom pathlib import Path\nfrom tests.test_workers import job, RUN\n"
        "from darkroomd.workers import Workers\n"
        "if __name__ == '__main__':\n"
        "    workers = Workers(1, RUN)\n"
        f"    workers.submit(job(Path({str(tmp_path)!r}), 'slow'), 0)\n"
        "    print(workers._slots[0]._processes()[0].pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    script = tmp_path / "service.py"
    script.write_text(program)
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, script], stdin=-1, stdout=-1, env=environ, text=True) as service:
        assert service.stdout is not None
        pid = int(service.stdout.readline())
        until((tmp_path / "slow.begun").exists, "it works: one that still starts would end for want of its parent")
        service.kill()
    until(lambda: is_over(pid), "the worker ends, too")


def is_over(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "State:\tZ" in status.read_text()


def test_what_a_job_raises_comes_back_by_its_meaning(tmp_path: Path) -> None:
    workers = Workers(1, RUN, executor=Inline)
    errors = [workers.submit(job(tmp_path, word), 0).exception() for word in ("bad", "memory", "bug")]
    assert [type(error) for error in errors] == [Rejected, OutOfMemory, ValueError]
    workers.stop()


def test_an_exception_of_a_library_comes_back_as_text(tmp_path: Path) -> None:
    error = Workers(1, "tests.pretend:imports_numpy", executor=Inline).submit(job(tmp_path, "x"), 0).exception()
    assert isinstance(error, Bug)
    assert "numpy's own" in str(error)
    assert "tests/pretend.py" in str(error)


def test_a_library_that_cannot_be_loaded_is_never_the_photos_fault(tmp_path: Path) -> None:
    """No descriptor was free, or the disk failed, when it was to be loaded."""
    error = Workers(1, "tests.pretend:needs_what_cannot_be_loaded", executor=Inline).submit(job(tmp_path, "x"), 0)
    assert isinstance(error.exception(), Retryable)
    assert "a part of darkroomd cannot be loaded" in str(error.exception())


def test_the_service_loads_none_of_what_the_workers_need() -> None:
    heavy = "{'numpy', 'onnxruntime', 'pyvips', 'darkroomd._core', 'darkroomd.pipeline'}"
    program = f"import sys, darkroomd.service; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)"
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", program], check=True, env=environ)
