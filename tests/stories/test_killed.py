"""Killed at any moment, by anyone: after the next start there is exactly one correct copy of every photo."""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests import pictures
from tests.command import snapshot, until, workers
from tests.stories.conftest import Home, noisy

NAMES = ("a.png", "b/c.png")
TIMEOUT_STOP_SECONDS = 30  # of the unit; one or two on an idle machine


def temporaries(home: Home) -> list[Path]:
    return [path for name, path in home.results().items() if "/.darkroomd-" in f"/{name}"]


def is_written(path: Path) -> bool:
    """Whether a staged PNG has all its bytes."""
    return path.exists() and path.read_bytes().endswith(b"IEND\xaeB`\x82")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The pixels of the copies when nobody is killed."""
    home = Home(tmp_path_factory.mktemp("undisturbed"))
    fill(home)
    assert home.once().returncode == 0
    return pixels(home)


def fill(home: Home) -> None:
    for seed, name in enumerate(NAMES):
        home.photo(name, noisy(seed))


def pixels(home: Home) -> dict[str, bytes]:
    return {name: np.asarray(pictures.read(path)).tobytes() for name, path in sorted(home.results().items())}


def a_photo_is_running(home: Home, pid: int) -> None:
    until(lambda: "running" in home.states().values(), "a photo is running")


def a_worker_is_there(home: Home, pid: int) -> None:
    until(lambda: workers(pid), "a worker is there")


def a_worker_decodes(home: Home, pid: int) -> None:
    """libvips is loaded only when the photo has been handed over."""
    until(lambda: any("libvips" in maps(worker) for worker in workers(pid)), "a worker has its photo")


def maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def a_copy_is_begun(home: Home, pid: int) -> None:
    """All are frozen as soon as the temporary file is there, mostly in the middle of its bytes."""
    until(lambda: temporaries(home), "a temporary is there")
    for one in (*workers(pid), pid):
        os.kill(one, signal.SIGSTOP)


def a_copy_is_complete_but_has_no_name(home: Home, pid: int) -> None:
    until(lambda: temporaries(home), "a temporary is there")
    os.kill(pid, signal.SIGSTOP)  # so that it cannot publish in the meantime
    until(lambda: any(map(is_written, temporaries(home))), "a temporary is whole")


def a_copy_has_its_name(home: Home, pid: int) -> None:
    until(lambda: home.results().keys() & set(NAMES), "a copy is public")


MOMENTS = (
    a_photo_is_running,
    a_worker_is_there,
    a_worker_decodes,
    a_copy_is_begun,
    a_copy_is_complete_but_has_no_name,
    a_copy_has_its_name,
)


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
def test_after_kill_9_and_a_restart_there_is_one_correct_copy_of_each_photo(
    home: Home, undisturbed: dict[str, bytes], moment: Callable[[Home, int], None]
) -> None:
    service = home.start()
    fill(home)
    moment(home, service.pid)
    at_work = workers(service.pid)
    service.kill()
    service.wait(90)
    until(lambda: not any(map(is_alive, at_work)), "the workers die with the service")

    home.start()
    home.until_done(*NAMES)
    assert home.stop() == 0

    assert pixels(home) == undisturbed
    assert home.states() == dict.fromkeys(NAMES, "done")
    after = snapshot(home.enhanced)
    assert home.once().returncode == 0
    assert snapshot(home.enhanced) == after  # and nothing is done again


def is_alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_killed_worker_costs_only_time(home: Home, undisturbed: dict[str, bytes]) -> None:
    service = home.start()
    fill(home)
    until(partial(workers, service.pid), "a worker is there")
    os.kill(workers(service.pid)[0], signal.SIGKILL)

    until(lambda: "retry" in home.states().values(), "its photo waits for another try")
    problems = home.status()["problems"]
    assert [(entry["state"], entry["reason"]) for entry in problems] == [("retry", "the worker died (SIGKILL)")]
    assert home.typed("retry", "--all").stdout.startswith("1 photo will be done again")  # the service sees it by itself

    home.until_done(*NAMES)
    assert service.poll() is None
    assert pixels(home) == undisturbed


def test_a_stop_puts_the_photo_back_and_takes_no_longer_than_systemd_waits(
    home: Home, undisturbed: dict[str, bytes]
) -> None:
    service = home.start()
    fill(home)
    until(partial(workers, service.pid), "a worker is there")
    for worker in workers(service.pid):
        os.kill(worker, signal.SIGSTOP)  # a photo that takes for ever

    service.terminate()
    assert service.wait(TIMEOUT_STOP_SECONDS) == 0
    assert set(home.states().values()) == {"pending"}
    assert home.results() == {}
    assert home.is_logged("photo.put_back")

    assert home.once().returncode == 0
    assert pixels(home) == undisturbed


def test_ctrl_c_in_the_terminal_reaches_everyone_and_harms_nothing(home: Home, undisturbed: dict[str, bytes]) -> None:
    service = home.start()
    fill(home)
    a_worker_is_there(home, service.pid)
    for pid in (*workers(service.pid), service.pid):
        os.kill(pid, signal.SIGINT)
    assert service.wait(90) == 0
    assert "Traceback" not in home.log_file().read_text()
    assert home.once().returncode == 0
    assert pixels(home) == undisturbed
