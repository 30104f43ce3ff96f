"""What is seen of a folder: by listing it, and by real events, which are waited for with a deadline."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from watchdog.observers.inotify_c import InotifyConstants, InotifyEvent, Mask, WatchDescriptor

from darkroomd import watch
from darkroomd.job import Sighting
from darkroomd.watch import Watcher, ignored, sightings


def names(found: Iterator[Sighting] | list[Sighting]) -> list[str]:
    return [sighting.path.relative_to(sighting.root).as_posix() for sighting in found]


class Watched:
    """A watcher with its events gathered."""

    def __init__(self, *roots: Path) -> None:
        self.woken = threading.Event()
        self.watcher = Watcher(roots, self.woken.set)
        self.seen: list[str] = []

    def until(self, *wanted: str, seconds: float = 90.0) -> None:
        """Returns when all have been seen by event; fails at the deadline."""
        deadline = time.monotonic() + seconds
        while not set(wanted) <= set(self.seen):
            left = deadline - time.monotonic()
            assert left > 0, f"saw only {self.seen}"
            self.woken.wait(left)
            self.woken.clear()
            self.seen += names(self.watcher.drain())


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    one = Watched(tmp_path)
    one.watcher.start()
    yield one
    one.watcher.stop()


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        (".x.jpg.AbC123", ".*"),
        (".syncthing.x.jpg.tmp", ".syncthing.*"),
        ("~syncthing~x.jpg.tmp", "~syncthing~*"),
        ("x.jpg.part", "*.part"),
        ("x.jpg.crdownload", "*.crdownload"),
        ("x.jpg.download", "*.download"),
        ("x.jpg.filepart", "*.filepart"),
        ("x.jpg.partial", "*.partial"),
        ("x.jpg.!sync", "*.!sync"),
        (".in.x.jpg.", ".in.*"),
        (".pending-1-x.jpg", ".pending-*"),
        ("._x.jpg", "._*"),
        (".DS_Store", ".ds_store"),
        ("Thumbs.db", "thumbs.db"),
        ("desktop.ini", "desktop.ini"),
        ("@eaDir", "@eadir"),
        (".stversions", ".stversions"),
        (".stfolder", ".stfolder"),
        (".Trash-1000", ".trash-*"),
        (".nfs0000", ".nfs*"),
        (".fuse_hidden0", ".fuse_hidden*"),
        ("x.jpg~", "*~"),
        (".darkroomd-1a2b-7-1.part", ".darkroomd-*"),
        ("x.XMP", "*.xmp"),
        ("x.jpg", None),
        ("party.jpg", None),
        ("-x\n.jpg", None),
    ],
)
def test_a_name_is_ignored_by_a_pattern_that_can_be_told(name: str, pattern: str | None) -> None:
    assert ignored(name) == pattern


def test_the_scan_finds_every_file_and_enters_no_ignored_folder_and_no_link(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg", "sub/deep/c.jpg", "@eaDir/t.jpg", ".hidden/h.jpg", "sub/x.part", "sub.jpg/d.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "sub")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert names(sightings(tmp_path)) == ["a.jpg", "b.jpg", "link", "loop", "sub/deep/c.jpg", "sub.jpg/d.jpg"]


def test_the_scan_of_a_folder_that_is_not_there_finds_nothing(tmp_path: Path) -> None:
    assert list(sightings(tmp_path / "nowhere")) == []


def test_a_root_inside_a_hidden_folder_is_a_root_like_any_other(tmp_path: Path) -> None:
    root = tmp_path / ".photos"
    root.mkdir()
    (root / "a.jpg").touch()
    assert names(sightings(root)) == ["a.jpg"]


def test_names_that_are_no_text_are_seen(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.jpg")).touch()
    assert names(sightings(tmp_path)) == ["\udcff\udcfe.jpg"]


def test_events_are_seen_for_what_is_written_renamed_in_and_linked(watched: Watched, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (tmp_path / "written.jpg").write_bytes(b"x")
    (outside / "old.jpg").write_bytes(b"x")
    (outside / "old.jpg").rename(tmp_path / "renamed.jpg")
    (outside / "other.jpg").write_bytes(b"x")
    (tmp_path / "linked.jpg").hardlink_to(outside / "other.jpg")
    watched.until("written.jpg", "renamed.jpg", "linked.jpg")


def test_a_name_that_loses_its_temporary_ending_is_seen(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "a.jpg.part").write_bytes(b"x")
    (tmp_path / "a.jpg.part").rename(tmp_path / "a.jpg")
    watched.until("a.jpg")
    assert set(watched.seen) == {"a.jpg"}


def test_a_tree_moved_in_is_seen_whole(watched: Watched, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    deep = outside / "a/b/c"
    deep.mkdir(parents=True)
    for number in range(10):
        (deep / f"{number}.jpg").touch()
    (outside / "a").rename(tmp_path / "a")
    watched.until(*(f"a/b/c/{number}.jpg" for number in range(10)))
    (tmp_path / "a/b/c/late.jpg").touch()
    watched.until("a/b/c/late.jpg")


def test_a_file_in_a_folder_made_this_instant_is_seen(watched: Watched, tmp_path: Path) -> None:
    for number in range(50):
        folder = tmp_path / f"{number}/x/y"
        folder.mkdir(parents=True)
        (folder / "a.jpg").touch()
    watched.until(*(f"{number}/x/y/a.jpg" for number in range(50)))


def test_reading_a_photo_is_no_event(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    watched.until("a.jpg")
    (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "b.jpg").touch()
    watched.until("b.jpg")
    assert watched.seen[-1] == "b.jpg"
    assert watched.seen.count("b.jpg") >= 1


def test_ignored_folders_stay_silent(watched: Watched, tmp_path: Path) -> None:
    (tmp_path / "@eaDir").mkdir()
    (tmp_path / "@eaDir/a.jpg").touch()
    (tmp_path / "z.jpg").touch()
    watched.until("z.jpg")
    assert watched.seen == ["z.jpg"] * len(watched.seen)


def test_a_healthy_watcher_has_nothing_to_say(watched: Watched) -> None:
    list(watched.watcher.scan(watched.watcher.roots))
    assert watched.watcher.health() == watch.Health()


def test_a_root_that_is_deleted_and_comes_back_is_watched_again(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    one = Watched(root)
    one.watcher.start()
    try:
        root.rmdir()
        gone = one.watcher.health()
        assert gone.offline == {root}
        assert gone.notes == (f"{root}: the folder is not there",)
        assert one.watcher.is_offline(root)
        assert not one.watcher.health().rescan
        root.mkdir()
        assert one.watcher.health() == watch.Health(rescan=True)
        assert not one.watcher.is_offline(root)
        (root / "a.jpg").touch()
        one.until("a.jpg")
    finally:
        one.watcher.stop()


def test_a_root_that_was_renamed_is_no_longer_the_root(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    one = Watched(root)
    one.watcher.start()
    try:
        root.rename(tmp_path / "old")
        root.mkdir()
        assert one.watcher.is_offline(root)
        assert one.watcher.health().rescan
        (tmp_path / "old/of-the-old.jpg").touch()
        (root / "new.jpg").touch()
        one.until("new.jpg")
        assert "of-the-old.jpg" not in one.seen
    finally:
        one.watcher.stop()


def test_a_missing_root_does_not_keep_the_others_from_being_watched(tmp_path: Path) -> None:
    there, missing = tmp_path / "there", tmp_path / "missing"
    there.mkdir()
    one = Watched(missing, there)
    one.watcher.start()
    try:
        assert one.watcher.health().offline == {missing}
        (there / "a.jpg").touch()
        one.until("a.jpg")
    finally:
        one.watcher.stop()


def test_a_dead_thread_is_noticed_and_replaced(watched: Watched, tmp_path: Path) -> None:
    observer = watched.watcher._observer
    assert observer is not None
    for emitter in list(observer.emitters):
        emitter.stop()
        emitter.join()
    assert watched.watcher.health().rescan
    (tmp_path / "a.jpg").touch()
    watched.until("a.jpg")


def test_a_fault_in_the_handler_does_not_blind_us(tmp_path: Path) -> None:
    calls: list[str] = []

    def wake() -> None:
        calls.append("woken")
        raise RuntimeError("from the handler")

    watcher = Watcher([tmp_path], wake)
    watcher.start()
    try:
        for number in range(2):
            (tmp_path / f"{number}.jpg").touch()
            deadline = time.monotonic() + 90
            while f"{number}.jpg" not in names(watcher.drain()):
                assert time.monotonic() < deadline
        assert watcher.health() == watch.Health()
        assert calls
    finally:
        watcher.stop()


def test_events_that_the_kernel_dropped_lead_to_a_rescan(watched: Watched) -> None:
    reader = watched.watcher._observer._inotify_fd  # type: ignore[union-attr]
    reader.handle_event(InotifyEvent(WatchDescriptor(-1), Mask(InotifyConstants.IN_Q_OVERFLOW), 0, b""))
    assert watched.woken.is_set()
    assert watched.watcher.health().rescan
    assert not watched.watcher.health().rescan


def test_a_full_watch_table_is_told_with_the_limit_to_raise(
    watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        (tmp_path / str(number)).mkdir()
    list(watched.watcher.scan([tmp_path]))
    monkeypatch.setattr(watch, "_watches", lambda: 1)
    monkeypatch.setattr(watch, "_limit", lambda _name: 20)
    (note,) = watched.watcher.health().notes
    assert note == "3 folders are only seen by the rescan: set fs.inotify.max_user_watches to at least 23"


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EMFILE, "fs.inotify.max_user_instances (128) is used up"), (errno.ENOSYS, "events cannot be had")],
)
def test_without_events_the_folder_is_polled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse() -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(watch, "InotifyObserver", refuse)
    monkeypatch.setattr(watch, "_limit", lambda _name: 128)
    watcher = Watcher([tmp_path], bool)
    watcher.start()
    health = watcher.health()
    assert health.polled == {tmp_path}
    assert words in health.notes[0]
    watcher.stop()


def test_a_root_that_finds_no_room_in_the_watch_table_is_polled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "inotify watch limit reached")

    monkeypatch.setattr("darkroomd.watch.InotifyObserver.schedule", refuse)
    watcher = Watcher([tmp_path], bool)
    watcher.start()
    assert watcher.health().polled == {tmp_path}
    assert "max_user_watches" in watcher.health().notes[0]
    watcher.stop()


def test_a_share_is_polled_without_being_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "far_file_system", lambda _path: "nfs4")
    watcher = Watcher([tmp_path], bool)
    watcher.start()
    assert watcher.health().notes == (f"{tmp_path}: polling (nfs4)",)
    watcher.stop()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/in", None),
        ("/mnt/nas/photos", "nfs4"),
        ("/mnt/nas/local/in", None),
        ("/mnt/my disk/in", "fuse.sshfs"),
        ("/mnt/nasty", None),
        ("/mnt/twice", "cifs"),
    ],
)
def test_the_kind_of_file_system_is_that_of_the_innermost_mount(path: str, kind: str | None) -> None:
    table = (
        "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
        "28 27 0:30 / /mnt/nas rw shared:5 - nfs4 nas:/photos rw\n"
        "29 28 254:1 / /mnt/nas/local rw - xfs /dev/vdb rw\n"
        "30 27 0:31 / /mnt/my\\040disk rw - fuse.sshfs me@there: rw\n"
        "31 27 254:2 / /mnt/twice rw - ext4 /dev/vdc rw\n"
        "32 31 0:32 / /mnt/twice rw - cifs //there/share rw\n"
    )
    assert watch.far_file_system(Path(path), table) == kind


IN_A_SERVICE = (
    "1208 1158 0:193 / /srv/photos ro,nosuid,relatime shared:480 master:442 - tmpfs nas rw\n"
    "1204 1208 0:193 /enhanced /srv/photos/enhanced rw,nosuid,relatime shared:481 master:442 - tmpfs nas rw\n"
)
MOUNTED_ANEW = (
    "1208 1216 0:193 / /srv/photos ro,nosuid,relatime shared:480 - tmpfs nas rw\n"
    "1204 1208 0:193 /enhanced /srv/photos/enhanced rw,nosuid,relatime shared:481 - tmpfs nas rw\n"
    "1216 1158 0:200 / /srv/photos rw,relatime shared:476 master:442 - tmpfs nas rw\n"
)


def test_a_disk_that_was_unmounted_around_the_service_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables are those of a service that systemd closed off, before and after."""
    inbox = Path("/srv/photos/inbox")
    assert watch.follows_the_machine(inbox, IN_A_SERVICE)
    assert not watch.follows_the_machine(inbox, MOUNTED_ANEW)
    assert not watch.follows_the_machine(inbox, "\n".join(MOUNTED_ANEW.splitlines()[:2]))
    reads = iter([True, True, False])
    monkeypatch.setattr(watch, "follows_the_machine", lambda _root: next(reads))
    watcher = Watcher([tmp_path], bool)
    assert watcher.health().notes == ()
    assert watcher.health().notes == (f"{tmp_path}: {watch.UNMOUNTED}",)


def test_a_folder_that_cannot_be_listed_is_told_until_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.jpg").touch()
    real: Callable[..., object] = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(path)

    watcher = Watcher([tmp_path], bool)
    with monkeypatch.context() as patch:
        patch.setattr("os.scandir", scandir)
        assert names(watcher.scan([tmp_path])) == ["a.jpg"]
    assert watcher.health().notes == (f"{tmp_path / 'closed'}: cannot be listed: Permission denied",)
    list(watcher.scan([tmp_path]))
    assert watcher.health().notes == ()
