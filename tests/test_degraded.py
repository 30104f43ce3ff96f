"""Nothing gets worse in silence: each of the twelve ways can be read from `darkroomd status`.

The test's name for each is the one in docs/operations.md; `told` is what `status --json` gives to a reader beside the
service, as notes or as the reason of a photo.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from darkroomd import watch
from darkroomd.errors import ConfigError
from darkroomd.job import Output
from darkroomd.ledger_file import NAME
from darkroomd.record import Ledger
from darkroomd.status import status_of
from darkroomd.workers import Inline, Workers
from tests.test_service import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    one = House(tmp_path)
    yield one
    one.service._watcher.stop()
    one.close()


def told(house: House) -> str:
    """As `darkroomd status` reads it, from beside the service."""
    with Ledger.open(house.state, owner=False) as reader:
        facts = status_of(reader, house.config.folders, house.wall())
    reasons = [f"{one['state']}: {one['reason']}" for one in facts["problems"]]
    missing = [f"not there: {folder['watch']}" for folder in facts["folders"] if not folder["there"]]
    return "\n".join([*facts["notes"], *reasons, *missing])


def test_when_all_is_well_there_is_nothing_to_tell(house: House) -> None:
    house.drop("a.jpg")
    house.look()
    assert told(house) == ""


def test_1_events_that_the_kernel_dropped(house: House) -> None:
    house.service._watcher._overflow._count = 1
    house.look()
    assert "events may have been lost, last at 20" in told(house)


def test_2_too_many_folders_for_the_kernels_watch_table(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.service._watcher.start()
    for number in range(5):
        house.drop(f"{number}/a.jpg")
    house.look()
    monkeypatch.setattr(watch, "_watches", lambda: 1)
    house.look()
    assert "folders are only seen by the rescan: set fs.inotify.max_user_watches to at least" in told(house)


def test_3_a_folder_without_events_is_looked_through_instead(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "far_file_system", lambda _path: "nfs4")
    house.service._watcher.start()
    house.look()
    assert f"{house.inbox}: polling (nfs4)" in told(house)


def test_4_a_watched_folder_is_not_there_until_it_is_back(house: House) -> None:
    house.inbox.rmdir()
    house.look()
    assert f"{house.inbox}: the folder is not there" in told(house)
    assert f"not there: {house.inbox}" in told(house)
    house.inbox.mkdir()
    house.look()
    assert "not there" not in told(house)


def test_4_its_disk_was_unmounted_around_the_systems_service(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "follows_the_machine", lambda _root: True)
    house.service = house.a_service()
    monkeypatch.setattr(watch, "follows_the_machine", lambda _root: False)
    house.look()
    assert f"{house.inbox}: {watch.UNMOUNTED}" in told(house)


def test_5_results_cannot_be_written(house: House) -> None:
    house.outbox.rmdir()
    house.drop("a.jpg")
    house.look()
    assert f"retry: {house.outbox} is not there" in told(house)


def test_6_and_7_a_device_or_a_network_is_not_there_also_after_the_service_has_ended(house: House) -> None:
    house.drop("a.jpg", "network")
    house.look()
    with house.service._serving():  # and so it ends
        assert house.service.summary.exit_code == 69
    assert "the service has stopped: general.onnx is not the file on its card" in told(house)
    (house.inbox / "a.jpg").write_text("photo")
    house.service = house.a_service()
    house.look()
    assert told(house) == ""


def test_8_a_format_cannot_be_read_here(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pi_heif", None)  # as where it is not installed
    house.workers = Workers(1, "darkroomd.pipeline:run", executor=Inline)
    house.service = house.a_service()
    (house.inbox / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    house.look()
    assert "refused: HEIC photos need one more package: pip install" in told(house)


def test_9_the_config_was_refused_at_a_reload(house: House) -> None:
    def refuse() -> Any:
        raise ConfigError(["config.yaml:1:1: no"])

    house.service = house.a_service(reload=refuse)
    house.service._use_new_config()
    house.look()
    assert "the config on the disk has faults (see `darkroomd check`): the earlier one is in use" in told(house)


def test_10_the_ledger_was_damaged_and_a_new_one_was_begun(house: House) -> None:
    house.drop("a.jpg")
    house.look()
    house.ledger.close()
    for ending in ("", "-wal", "-shm"):
        path = house.state / f"{NAME}{ending}"
        if path.exists():
            path.write_bytes(os.urandom(9000))
    house.ledger = Ledger.open(house.state, True, house.wall())
    house.service = house.a_service()
    house.look()
    assert "the ledger was damaged; it was kept as" in told(house)


def test_11_a_photo_killed_its_workers(house: House) -> None:
    house.workers = Workers(1, "tests.pretend:run")
    house.service = house.a_service()
    house.drop("a.jpg", "kill")
    house.after(0)
    house.after(3)
    for _ in range(3):
        house.until(lambda: not house.service._running)
        house.after(70)
    assert "quarantined: the worker died (SIGKILL)" in told(house)


def test_12_the_name_of_a_result_is_taken(house: House) -> None:
    house.config = replace(house.config, output=Output(existing="conflict"))
    house.service = house.a_service()
    (house.outbox / "a.jpg").write_text("mine")
    house.drop("a.jpg")
    house.look()
    assert f"conflict: {house.outbox}/a.jpg is taken by a file that darkroomd did not write" in told(house)


def test_no_photo_is_begun(house: House) -> None:
    house.config = house.a_config(quiet_hours="00:00-23:59")
    house.service = house.a_service()
    house.look()
    assert "paused: quiet hours (00:00-23:59)" in told(house)
