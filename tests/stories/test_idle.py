"""A service with nothing to do costs next to nothing."""

from pathlib import Path

from tests.command import until, workers
from tests.stories.conftest import Home, noisy


def resident_mb(pid: int) -> float:
    lines = (Path("/proc") / str(pid) / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def test_with_empty_folders_there_is_no_worker_and_little_memory(home: Home) -> None:
    service = home.start()
    assert workers(service.pid) == []
    assert resident_mb(service.pid) < 120


def test_with_no_more_photos_the_worker_ends_and_its_memory_is_given_back(home: Home) -> None:
    home.config.write_text(
        "folders: [{watch: inbox, output: enhanced, mode: general}]\n"
        "service: {settle_seconds: 0.1, idle_minutes: 0.01}\n"
    )
    service = home.start()
    home.photo("cat.png", noisy())
    home.until_done("cat.png")
    until(lambda: not workers(service.pid), "the worker ends")
    assert resident_mb(service.pid) < 120
