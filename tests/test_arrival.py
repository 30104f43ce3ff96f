"""How photos come, at the level of the service: everything of the catalogue that asks for more than one file.

The clock is the test's. Without a word about it no event comes, so what is found is found by looking.
"""

import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from darkroomd.job import Settled, Verdict
from darkroomd.record import Ledger
from darkroomd.settle import Settling
from darkroomd.watch import Watcher
from tests.one_photo import job_for
from tests.test_service import DAY, House

ROOT = os.geteuid() == 0
QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    one = House(tmp_path)
    yield one
    one.service._watcher.stop()
    one.close()


@pytest.fixture
def share(house: House) -> Iterator[Path]:
    """The watched folder is a disk of its own."""
    _mount(house.inbox)
    house.service = house.a_service()
    yield house.inbox
    subprocess.run(["umount", "-l", house.inbox], check=False, capture_output=True)


def _mount(folder: Path) -> None:
    if not ROOT:
        pytest.skip("only root can mount")
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")


def test_a_hundred_thousand_files_at_once_are_each_a_job_and_none_is_forgotten_or_doubled() -> None:
    count = 100_000
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        root, settling = Path(folder, "in"), Settling()
        for number in range(0, count, 1000):
            below = root / str(number)
            below.mkdir(parents=True)
            for n in range(number, number + 1000):
                descriptor = os.open(f"{below}/{n}.jpg", os.O_WRONLY | os.O_CREAT)
                os.write(descriptor, b"x")
                os.close(descriptor)
        watcher = Watcher([root], bool)
        with Ledger.open(Path(folder, "state"), owner=True) as ledger:

            def look(now: float) -> int:
                for sighting in watcher.scan([root]):
                    settling.note(sighting, now, event=False)
                taken = 0
                while found := [one for one in settling.settled(now + 3, 2, 2000) if isinstance(one, Settled)]:
                    new = ledger.unknown(found, lambda _: "r1")
                    ledger.take_in(
                        [job_for(one.path, root / one.path.name, root, fingerprint=one.fingerprint) for one in new], now
                    )
                    taken += len(new)
                return taken

            assert look(0) == count
            assert ledger.counts() == {"pending": count}
            assert look(100) == 0
            settling.forget()  # as after a restart
            assert look(200) == 0


def test_the_kernels_queue_runs_over_and_every_photo_is_found(house: House) -> None:
    if not ROOT:
        pytest.skip("only root can make the kernel's queue short")
    house.config = house.a_config(rescan_minutes=60.0)
    house.service = house.a_service()
    before = QUEUE.read_text()
    try:
        QUEUE.write_text("16")
    except OSError:
        pytest.skip("the kernel's queue cannot be made shorter here")
    try:
        house.service._watcher.start()  # it keeps the length that its queue has now
    finally:
        QUEUE.write_text(before)
    house.service.tick(0)
    dropped = 0
    deadline = time.monotonic() + 90
    while not house.service._watcher._overflow._count:
        assert time.monotonic() < deadline
        for _ in range(100):
            house.drop(f"{dropped}.jpg")
            dropped += 1
    house.after(6)  # the next look through the folders is an hour away: the loss itself makes us look
    while len(house.verdicts) < dropped:
        assert house.now < 600, f"{len(house.verdicts)} of {dropped}"
        house.after(3)
    assert house.ledger.counts() == {"done": dropped}
    assert any("events may have been lost" in text for _since, text in house.ledger.live())


def test_two_hundred_nested_folders_filled_in_the_same_instant_are_each_found_by_event(house: House) -> None:
    house.service._watcher.start()
    house.service.tick(0)
    for number in range(200):
        house.drop(f"{number}/x/y/a.jpg")
    deadline = time.monotonic() + 90
    while len(house.results()) < 200:
        assert time.monotonic() < deadline, len(house.results())
        house.now += 2.1
        house.service._scan_due = house.service._poll_due = house.now + 60  # nothing is looked through
        house.service.tick(house.now)
    assert house.ledger.counts() == {"done": 200}


def test_a_tree_moved_in_and_then_written_into_is_mirrored_whole(house: House, tmp_path: Path) -> None:
    deep = tmp_path / "outside/1/2/3/4/5/6/7/8"
    deep.mkdir(parents=True)
    for number in range(50):
        (deep / f"{number}.jpg").write_text("photo")
    (tmp_path / "outside").rename(house.inbox / "moved")
    house.drop("moved/1/2/3/4/5/6/7/8/late.jpg")
    house.look()
    assert len(house.results()) == 51
    assert "moved/1/2/3/4/5/6/7/8/late.jpg" in house.results()


@pytest.mark.parametrize(
    "arriving",
    [
        ".a.jpg.Xy12zA", ".syncthing.a.jpg.tmp", "~syncthing~a.jpg.tmp", "a.jpg.part", "a.jpg.crdownload",
        "a.jpg.download", "a.jpg.filepart", "a.jpg.partial", ".in.a.jpg.", ".pending-1-a.jpg", "a.jpg.!sync",
        ".nfs000000000001", "a.jpg~", "._a.jpg", "@eaDir/a.jpg", ".stversions/a.jpg", ".Trash-1000/files/a.jpg",
    ],
)  # fmt: skip
def test_what_arrives_under_a_passing_name_is_done_once_under_its_own(house: House, arriving: str) -> None:
    """rsync, Syncthing, browsers, SFTP programs, phones, Qnap and Synology."""
    passing = house.drop(arriving)
    for _ in range(3):
        house.look()
    assert house.ledger.counts() == {}
    passing.rename(house.inbox / "a.jpg")
    house.look()
    assert house.results() == {"a.jpg": "better photo"}
    assert house.ledger.counts() == {"done": 1}


def test_a_name_that_changes_its_case_only_is_a_name_of_its_own_and_nothing_is_lost(house: House) -> None:
    photo = house.drop("IMG_1.JPG")
    house.look()
    photo.rename(house.inbox / "img_1.jpg")
    house.look()
    house.look()
    assert house.results() == {"IMG_1.JPG": "better photo", "img_1.jpg": "better photo"}
    assert house.ledger.counts() == {"done": 2}


def test_a_rename_makes_no_photo_late_or_lost(house: House) -> None:
    first = house.drop("a.jpg")
    house.after(61)
    first.rename(house.inbox / "b.jpg")  # while it settles
    house.look()
    (house.inbox / "b.jpg").rename(house.inbox / "c.jpg")  # when it is done
    house.look()
    assert house.results() == {"b.jpg": "better photo", "c.jpg": "better photo"}


def test_a_hard_link_of_an_old_file_is_a_photo(house: House, tmp_path: Path) -> None:
    old = tmp_path / "old.jpg"
    old.write_text("photo")
    os.utime(old, (1, 1))
    (house.inbox / "a.jpg").hardlink_to(old)
    house.look()
    assert house.results() == {"a.jpg": "better photo"}


def test_a_watched_folder_that_is_deleted_and_made_again_is_served_again(house: House) -> None:
    house.service._watcher.start()
    house.drop("a.jpg")
    house.look_until(lambda: "a.jpg" in house.results())
    (house.inbox / "a.jpg").unlink()
    house.inbox.rmdir()
    house.look()
    assert any("the folder is not there" in text for _since, text in house.ledger.live())
    house.inbox.mkdir()
    house.drop("b.jpg")
    house.look_until(lambda: "b.jpg" in house.results())
    assert house.results() == {"a.jpg": "better photo", "b.jpg": "better photo"}
    assert not any("the folder is not there" in text for _since, text in house.ledger.live())


def test_a_share_that_is_unmounted_and_comes_back_loses_nothing(house: House, share: Path, tmp_path: Path) -> None:
    """What was done stays done, what was queued is done when it is back, and no result is taken away."""
    house.service._watcher.start()
    house.drop("a.jpg")
    house.look_until(lambda: house.ledger.counts() == {"done": 1})
    house.workers.count = 0
    house.drop("b.jpg")
    house.look_until(lambda: house.ledger.counts() == {"done": 1, "pending": 1})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run(["mount", "--bind", share, elsewhere], check=True)  # so that its files outlive the unmounting
    try:
        subprocess.run(["umount", share], check=True)
        house.workers.count = 1
        for _ in range(3):
            house.look()
        assert house.results() == {"a.jpg": "better photo"}
        assert not house.ledger.rows(("failed", "refused", "quarantined"), 9)
        subprocess.run(["mount", "--bind", elsewhere, share], check=True)
        house.look_until(lambda: "b.jpg" in house.results())
        assert house.results() == {"a.jpg": "better photo", "b.jpg": "better photo"}
        states = Counter(one.state for one in house.ledger.rows(("done", "pending", "retry", "failed"), 9))
        assert states == {"done": 2}
    finally:
        subprocess.run(["umount", "-l", elsewhere], check=False)


def test_a_watched_folder_behind_a_link_is_watched(house: House, tmp_path: Path) -> None:
    """By its own name a link would give no event at all."""
    (tmp_path / "link").symlink_to(house.inbox)
    house.config = replace(house.config, folders=(replace(house.config.folders[0], watch=tmp_path / "link"),))
    house.service = house.a_service()
    house.service._watcher.start()
    house.look()
    house.drop("a.jpg")
    house.until(lambda: house.results() == {"a.jpg": "better photo"})  # seconds pass, and no rescan is due


def test_a_disk_mounted_over_the_watched_folder_is_another_folder(house: House) -> None:
    house.service._watcher.start()
    house.drop("below.jpg")
    house.look_until(lambda: set(house.results()) == {"below.jpg"})
    _mount(house.inbox)
    try:
        house.drop("above.jpg")
        house.look_until(lambda: len(house.results()) == 2)
        assert set(house.results()) == {"below.jpg", "above.jpg"}
    finally:
        subprocess.run(["umount", "-l", house.inbox], check=True)
    house.look()
    assert set(house.results()) == {"below.jpg", "above.jpg"}
    assert house.ledger.counts() == {"done": 2}


@pytest.mark.parametrize("jump", [-10 * 365 * DAY, 10 * 365 * DAY])
def test_a_clock_that_jumps_ten_years_leaves_nothing_stuck_and_no_loop_that_spins(house: House, jump: float) -> None:
    house.drop("later.jpg", "later")
    house.drop("a.jpg")
    house.look()
    assert house.ledger.counts() == {"done": 1, "retry": 1}
    house.started += jump
    (house.inbox / "later.jpg").write_text("photo, now")
    house.drop("b.jpg")
    os.utime(house.inbox / "b.jpg", (4e9, 4e9))  # from the future
    house.look()
    assert set(house.results()) == {"a.jpg", "b.jpg", "later.jpg"}
    for _ in range(20):
        assert house.service.tick(house.now) > 0.01
        house.now += 1


def test_a_photo_being_written_while_its_clock_jumps_is_still_waited_for(house: House) -> None:
    photo = house.drop("a.jpg")
    for _ in range(10):
        house.started += 3600 * 24 * 400
        house.after(1)
        photo.write_text(photo.read_text() + " more")
        house.service._scan_due = -1
    assert house.results() == {}
    house.look()
    assert house.results() == {"a.jpg": "better photo" + " more" * 10}


def test_folders_take_turns_and_a_full_one_holds_up_no_other(house: House, tmp_path: Path) -> None:
    """Twenty photos before it in another one, ten seconds each: after half a minute it is the small folder's turn."""
    small = tmp_path / "small"
    small.mkdir()
    folder = house.config.folders[0]
    house.config = replace(house.config, folders=(folder, replace(folder, watch=small, output=tmp_path / "out-small")))
    done: list[str] = []

    def on_verdict(verdict: Verdict) -> None:
        done.append(verdict.source.name)
        house.started += 10

    house.service = house.a_service(on_verdict=on_verdict)
    for number in range(20):
        house.drop(f"{number:02}.jpg")
    (small / "one.jpg").write_text("photo")
    house.look()
    assert len(done) == 21
    assert "one.jpg" in done[:5]


@pytest.mark.parametrize(("order", "first"), [("oldest", "a.jpg"), ("newest", "c.jpg"), ("smallest", "b.jpg")])
def test_the_queue_is_ordered_as_wanted(house: House, order: str, first: str) -> None:
    house.config = house.a_config(order=order)
    house.service = house.a_service()
    house.workers.count = 0
    for name, words in (("a.jpg", "photo 333"), ("b.jpg", "photo 1"), ("c.jpg", "photo 22")):
        house.drop(name, words)
        house.look()
    house.workers.count = 1
    house.after(1)
    assert house.verdicts[0].source.name == first
    assert len(house.verdicts) == 3
