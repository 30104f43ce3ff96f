"""Whatever happens on the way to a public name: a result is complete or not there, and nobody's file is replaced."""

import errno
import hashlib
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from darkroomd import write
from darkroomd.errors import CannotWrite, Changed, Conflict
from darkroomd.job import Job, Output, Written
from tests.one_photo import is_complete, job_for, picture, reconcile, save

ROOT = os.geteuid() == 0
REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def original(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "photo.jpg"
    path.parent.mkdir()
    path.write_bytes(b"the original")
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    path = tmp_path / "out"
    path.mkdir()
    return path


def job_in(out: Path, original: Path, name: str = "photo.jpg", **changes: Any) -> Job:
    target = out / name
    return job_for(original, target, out, temporary=target.parent / ".darkroomd-abc-1-1.part", **changes)


def published(job: Job, previous: Written | None = None, saver: Callable[[int], None] = save) -> Written:
    digest, size = write.stage(job, saver)
    return write.publish(job, digest, size, previous)


def saying(data: bytes) -> Callable[[int], None]:
    return lambda descriptor: write_all(descriptor, data)


def write_all(descriptor: int, data: bytes) -> None:
    assert os.write(descriptor, data) == len(data)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


# Staging


def test_what_is_staged_is_for_nobody_else_and_what_is_published_obeys_the_umask(out: Path, original: Path) -> None:
    job = job_in(out, original)
    before = os.umask(0o027)
    try:
        digest, size = write.stage(job, save)
        assert job.temporary is not None
        assert stat.S_IMODE(job.temporary.stat().st_mode) == 0o600
        written = write.publish(job, digest, size, None)
    finally:
        os.umask(before)
    assert stat.S_IMODE(written.path.stat().st_mode) == 0o640
    assert written == Written(out / "photo.jpg", hashlib.sha256(written.path.read_bytes()).hexdigest(), size)
    assert names(out) == ["photo.jpg"]


def test_where_the_umask_is_not_told_results_are_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_: "Name:\tpython\n")
    assert write._umask() == 0o077


@pytest.mark.parametrize("mtime", ["keep", "now"])
def test_the_time_of_the_original_is_kept_if_wanted(out: Path, original: Path, mtime: Any) -> None:
    os.utime(original, ns=(1, 946684800_123456789))
    written = published(job_in(out, original, output=Output(mtime=mtime)))
    assert (written.path.stat().st_mtime_ns == 946684800_123456789) == (mtime == "keep")


@pytest.mark.parametrize(("permissions", "mode"), [("umask", 0o640), ("keep", 0o604), ("0664", 0o664), ("0400", 0o400)])
def test_who_may_open_a_result_is_as_wanted_and_never_more(
    out: Path, original: Path, permissions: str, mode: int
) -> None:
    original.chmod(0o6604)  # set-uid and set-gid are nobody's business
    job = job_in(out, original, output=Output(permissions=permissions))
    before = os.umask(0o027)
    try:
        written = published(job)
    finally:
        os.umask(before)
    assert stat.S_IMODE(written.path.stat().st_mode) == mode


def test_a_photo_that_is_gone_keeps_nothing_and_its_result_is_as_the_services_own_files(
    out: Path, original: Path
) -> None:
    job = job_in(out, original, output=Output(permissions="keep", owner="keep"))
    digest, size = write.stage(job, save)
    original.unlink()
    written = write.publish(job, digest, size, None)
    assert stat.S_IMODE(written.path.stat().st_mode) == 0o666 & ~write._umask()
    assert written.path.stat().st_uid == os.geteuid()


@pytest.mark.skipif(not ROOT, reason="only root may give files away")
def test_a_result_belongs_to_whom_the_photo_belongs_if_wanted(out: Path, original: Path) -> None:
    os.chown(original, 1234, 5678)
    kept = published(job_in(out, original, output=Output(owner="keep"))).path.stat()
    assert (kept.st_uid, kept.st_gid) == (1234, 5678)
    ours = published(job_in(out, original, "b.jpg")).path.stat()
    assert (ours.st_uid, ours.st_gid) == (os.geteuid(), out.stat().st_gid)


def test_where_files_cannot_be_given_away_the_group_is_tried_and_the_result_is_there_all_the_same(
    out: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuses(_descriptor: int, owner: int, group: int) -> None:
        asked.append((owner, group))
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuses)
    facts = original.stat()
    published(job_in(out, original, output=Output(owner="keep")))
    assert asked == [(facts.st_uid, facts.st_gid), (-1, facts.st_gid)]
    assert names(out) == ["photo.jpg"]


def test_a_result_can_have_a_second_name_where_its_bytes_are_as_they_were(out: Path, original: Path) -> None:
    first = published(job_in(out, original))
    job = job_in(out, original, "b.jpg")
    assert job.temporary is not None
    assert write.stage_link(job, first.path, first.digest, first.size)
    second = write.publish(job, first.digest, first.size, None)
    assert second.path.samefile(first.path)
    assert names(out) == ["b.jpg", "photo.jpg"]
    other = job_in(out, original, "c.jpg")
    for wrong in (b"edited", picture()):  # another size, another content
        first.path.write_bytes(wrong)
        assert not write.stage_link(other, first.path, first.digest, first.size)
    first.path.unlink()
    assert not write.stage_link(other, first.path, first.digest, first.size)
    assert names(out) == ["b.jpg"]


def test_without_links_there_is_no_second_name_and_a_disk_that_fails_is_told(
    out: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = published(job_in(out, original))
    for code in (errno.EPERM, errno.EXDEV, errno.EIO):

        def link(*_: Any, code: int = code, **__: Any) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "link", link)
        job = job_in(out, original, "b.jpg")
        if code == errno.EIO:
            with pytest.raises(CannotWrite, match="reports an error"):
                write.stage_link(job, first.path, first.digest, first.size)
        else:
            assert not write.stage_link(job, first.path, first.digest, first.size)
        assert names(out) == ["photo.jpg"]


def test_missing_folders_are_made_and_each_parent_is_synced(
    out: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda at: synced.append(str(Path(f"/proc/self/fd/{at}").readlink())))
    job = job_in(out, original, "2024/05/photo.jpg")
    write.stage(job, save)
    assert synced == [str(out), str(out / "2024"), str(job.temporary)]


def test_without_an_output_root_all_folders_are_made(tmp_path: Path, original: Path) -> None:
    target = tmp_path / "by" / "hand" / "photo.jpg"
    assert published(job_for(original, target, temporary=target.parent / ".darkroomd-x-1-1.part")).path == target


def test_an_output_root_that_is_not_there_is_not_made(tmp_path: Path, original: Path) -> None:
    with pytest.raises(CannotWrite, match="is not there"):
        write.stage(job_in(tmp_path / "unmounted", original), save)
    assert not (tmp_path / "unmounted").exists()


def test_no_link_below_the_output_root_is_followed(tmp_path: Path, out: Path, original: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (out / "2024").symlink_to(secret)
    with pytest.raises(CannotWrite, match="link"):
        write.stage(job_in(out, original, "2024/photo.jpg"), save)
    with pytest.raises(CannotWrite, match="link"):
        write.publish(job_in(out, original, "2024/photo.jpg"), "0", 1, None)
    assert names(secret) == []


def test_a_target_outside_the_output_root_is_a_bug(tmp_path: Path, out: Path, original: Path) -> None:
    for target in (tmp_path / "photo.jpg", out / "a" / ".." / ".." / "photo.jpg"):
        with pytest.raises(ValueError, match=r"leads out|not in the subpath"):
            write.stage(job_for(original, target, out, temporary=target.parent / "x"), save)


def test_a_job_that_was_not_claimed_is_a_bug(out: Path, original: Path) -> None:
    job = job_for(original, out / "photo.jpg", out)
    with pytest.raises(ValueError, match="claimed"):
        write.stage(job, save)
    with pytest.raises(ValueError, match="nothing was staged"):
        write.publish(job, "0", 1, None)


def test_a_leftover_of_the_same_name_gives_way_and_a_planted_link_is_not_followed(out: Path, original: Path) -> None:
    job = job_in(out, original)
    assert job.temporary is not None
    job.temporary.symlink_to(original)
    published(job)
    assert original.read_bytes() == b"the original"
    assert names(out) == ["photo.jpg"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "no space is left in {}"),
        (errno.EDQUOT, "the quota for {} is used up"),
        (errno.EROFS, "{} is read-only"),
        (errno.EIO, "the disk of {} reports an error"),
        (errno.ESTALE, "the share of {} has gone away"),
        (errno.ENXIO, "{} cannot be written: No such device"),
    ],
)
def test_a_disk_that_says_no_is_told_in_words_and_nothing_is_left(
    out: Path, original: Path, code: int, words: str
) -> None:
    def refuse(descriptor: int) -> None:
        os.write(descriptor, b"half")
        raise OSError(code, os.strerror(code))

    with pytest.raises(CannotWrite, match=re.escape(words.format(out))):
        write.stage(job_in(out, original), refuse)
    assert names(out) == []


def test_an_encoder_that_fails_says_so_itself_and_leaves_nothing(out: Path, original: Path) -> None:
    def fail(descriptor: int) -> None:
        raise RuntimeError("no such colour")

    with pytest.raises(RuntimeError, match="colour"):
        write.stage(job_in(out, original), fail)
    assert names(out) == []


def test_a_file_whose_sync_failed_is_thrown_away_and_never_synced_again(
    out: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CannotWrite, match="reports an error"):
        write.stage(job_in(out, original), save)
    assert len(calls) == 1
    assert names(out) == []


def test_too_little_room_is_seen_before_anything_is_written(out: Path, original: Path) -> None:
    with pytest.raises(CannotWrite, match="no space"):
        write.stage(job_in(out, original), save, spare_bytes=1 << 60)
    assert names(out) == []


def test_a_file_system_that_does_not_tell_its_room_is_tried(
    out: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fstatvfs", lambda at: os.statvfs_result((4096, 4096, 0, 0, 0, 0, 0, 0, 0, 255)))
    assert published(job_in(out, original)).path == out / "photo.jpg"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if not ROOT:
        pytest.skip("only root can mount")
    path = tmp_path / "small"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


@pytest.mark.parametrize("encoder_says", [OSError, RuntimeError])
def test_a_full_disk_is_never_the_photos_fault_and_leaves_nothing(
    small_disk: Path, original: Path, encoder_says: type[Exception]
) -> None:
    def fill(descriptor: int) -> None:
        try:
            while os.write(descriptor, bytes(100_000)):
                pass
        except OSError as error:
            raise encoder_says(*error.args) from error

    with pytest.raises(CannotWrite, match=f"no space is left in {small_disk}"):
        write.stage(job_in(small_disk, original), fill, spare_bytes=400_000)
    assert names(small_disk) == []
    assert write.stage(job_in(small_disk, original), saying(b"tiny"), spare_bytes=0)[1] == 4


def test_a_read_only_folder_is_told(small_disk: Path, original: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(CannotWrite, match=f"{small_disk} is read-only"):
        write.stage(job_in(small_disk, original), save, spare_bytes=0)
    with pytest.raises(CannotWrite, match=r"not there|read-only"):
        write.stage(job_in(small_disk, original, "2024/photo.jpg"), save, spare_bytes=0)


# Publishing


def test_a_foreign_file_is_never_replaced_and_the_next_number_is_taken(out: Path, original: Path) -> None:
    (out / "photo.jpg").write_text("somebody's")
    (out / "photo-2.jpg").mkdir()
    (out / "photo-3.jpg").symlink_to("/dev/null")
    os.mkfifo(out / "photo-4.jpg")
    assert published(job_in(out, original)).path == out / "photo-5.jpg"
    assert (out / "photo.jpg").read_text() == "somebody's"
    assert is_complete(out / "photo-5.jpg")


def test_where_numbers_are_not_wanted_a_taken_name_is_a_conflict_and_nothing_is_left(out: Path, original: Path) -> None:
    (out / "photo.jpg").write_text("somebody's")
    with pytest.raises(Conflict, match=r"photo\.jpg is taken"):
        published(job_in(out, original, output=Output(existing="conflict")))
    assert names(out) == ["photo.jpg"]


def test_a_link_at_the_name_counts_as_foreign_even_to_the_same_bytes(out: Path, original: Path) -> None:
    (out / "elsewhere").write_bytes(b"same")
    (out / "photo.jpg").symlink_to("elsewhere")
    assert published(job_in(out, original), saver=saying(b"same")).path == out / "photo-2.jpg"
    assert (out / "photo.jpg").is_symlink()


def test_publishing_the_same_bytes_again_changes_nothing(out: Path, original: Path) -> None:
    first = published(job_in(out, original), saver=saying(b"same"))
    inode = first.path.stat().st_ino
    assert published(job_in(out, original), saver=saying(b"same")) == first
    assert first.path.stat().st_ino == inode
    assert names(out) == ["photo.jpg"]


def test_what_is_public_already_is_found_without_its_temporary(out: Path, original: Path) -> None:
    (out / "photo.jpg").write_text("somebody's")
    job = job_in(out, original)
    written = published(job)
    assert write.publish(job, written.digest, written.size, None) == written
    assert written.path == out / "photo-2.jpg"


def test_killed_between_link_and_unlink_the_temporary_goes_and_the_name_stays(out: Path, original: Path) -> None:
    job = job_in(out, original)
    digest, size = write.stage(job, save)
    assert job.temporary is not None
    os.link(job.temporary, out / "photo.jpg")
    assert write.publish(job, digest, size, None).path == out / "photo.jpg"
    assert names(out) == ["photo.jpg"]


@pytest.mark.parametrize("name", ["photo.jpg", "photo-2.jpg"])
def test_our_own_earlier_result_is_replaced_in_place(out: Path, original: Path, name: str) -> None:
    if name != "photo.jpg":
        (out / "photo.jpg").write_text("somebody's")
    first = published(job_in(out, original))
    assert first.path == out / name
    second = published(job_in(out, original), previous=first)
    assert second.path == first.path
    assert second.digest != first.digest
    assert len(names(out)) == (1 if name == "photo.jpg" else 2)


def test_an_earlier_result_that_somebody_edited_is_kept(out: Path, original: Path) -> None:
    first = published(job_in(out, original))
    first.path.write_bytes(first.path.read_bytes()[:-1] + b"!")
    assert published(job_in(out, original), previous=first).path == out / "photo-2.jpg"
    assert first.path.read_bytes().endswith(b"!")


@pytest.mark.parametrize("name", ["photo.png", "photo-large.jpg", "holiday-2.jpg", "photo-02.jpg"])
def test_an_earlier_result_under_a_name_of_another_form_is_let_be(out: Path, original: Path, name: str) -> None:
    earlier = published(job_in(out, original, name))
    assert published(job_in(out, original), previous=earlier).path == out / "photo.jpg"
    assert hashlib.sha256(earlier.path.read_bytes()).hexdigest() == earlier.digest


def test_our_earlier_result_that_may_not_be_read_for_a_moment_is_no_strangers(
    out: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = published(job_in(out, original))
    job = job_in(out, original)
    digest, size = write.stage(job, save)
    real = os.open

    def refuse(name: Any, flags: int, *more: Any, **named: Any) -> int:
        if name == "photo.jpg":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(name, flags, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(CannotWrite, match="no permission"):
            write.publish(job, digest, size, first)
    assert names(out) == ["photo.jpg"]


def test_an_earlier_result_that_was_deleted_does_not_matter(out: Path, original: Path) -> None:
    earlier = published(job_in(out, original))
    earlier.path.unlink()
    assert published(job_in(out, original), previous=earlier).path == out / "photo.jpg"


def test_a_result_of_an_original_that_changed_meanwhile_is_dropped(out: Path, original: Path) -> None:
    job = job_in(out, original)
    digest, size = write.stage(job, save)
    original.write_bytes(b"another picture")
    with pytest.raises(Changed, match=r"photo\.jpg changed"):
        write.publish(job, digest, size, None)
    assert names(out) == []


def test_a_result_of_an_original_that_is_gone_is_published(out: Path, original: Path) -> None:
    job = job_in(out, original)
    digest, size = write.stage(job, save)
    original.unlink()
    assert is_complete(write.publish(job, digest, size, None).path)


@pytest.mark.parametrize("harm", ["shorter", "other bytes", "gone"])
def test_only_what_was_staged_becomes_public(out: Path, original: Path, harm: str) -> None:
    job = job_in(out, original)
    digest, size = write.stage(job, save)
    assert job.temporary is not None
    if harm == "gone":
        job.temporary.unlink()
    else:
        job.temporary.write_bytes(b"short" if harm == "shorter" else bytes(size))
    with pytest.raises(CannotWrite, match="was lost"):
        write.publish(job, digest, size, None)
    assert names(out) == []


@pytest.mark.parametrize("code", sorted(write.NO_LINKS))
def test_without_hard_links_a_result_is_renamed_and_still_replaces_nobody(
    out: Path, original: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    (out / "photo.jpg").write_text("somebody's")

    def no_links(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", no_links)
    assert published(job_in(out, original)).path == out / "photo-2.jpg"
    assert names(out) == ["photo-2.jpg", "photo.jpg"]


@pytest.mark.parametrize(("call", "code"), [("link", errno.EIO), ("fsync", errno.EIO), ("fchmod", errno.EIO)])
def test_publishing_that_fails_can_be_done_again_from_the_start(
    out: Path, original: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    job = job_in(out, original)
    digest, size = write.stage(job, saying(b"same"))

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(CannotWrite, match="reports an error"):
            write.publish(job, digest, size, None)
    assert published(job, saver=saying(b"same")).path == out / "photo.jpg"
    assert names(out) == ["photo.jpg"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_an_encoder_that_tells_of_the_disk_in_an_error_of_its_own_is_understood(
    out: Path, original: Path, code: int
) -> None:
    def save(descriptor: int) -> None:
        raise RuntimeError(f"unable to call pngsave_target\n  target: write error\nsystem error: {os.strerror(code)}\n")

    with pytest.raises(CannotWrite, match=r"no space is left|quota|reports an error"):
        write.stage(job_in(out, original), save)
    assert names(out) == []


def test_an_encoder_that_only_says_that_it_could_not_write_is_understood_too(out: Path, original: Path) -> None:
    def save(descriptor: int) -> None:
        raise RuntimeError("unable to call pngsave_target\n  target_custom: write error\n")

    with pytest.raises(CannotWrite, match="reports an error"):
        write.stage(job_in(out, original), save)
    assert names(out) == []


def test_a_result_that_has_its_name_when_the_folder_cannot_be_synced_is_told_with_it(
    out: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (out / "photo.jpg").write_bytes(b"somebody else's")
    job = job_in(out, original)
    digest, size = write.stage(job, save)

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(CannotWrite) as caught:
            write.publish(job, digest, size, None)
    assert caught.value.public == str(out / "photo-2.jpg")
    again = published(job, Written(out / "photo-2.jpg", digest, size))
    assert names(out) == ["photo-2.jpg", "photo.jpg"], "the second result replaces the first, and no third is made"
    assert again.path == out / "photo-2.jpg"


def test_a_disk_that_fails_is_not_taken_for_a_name_that_is_taken(
    out: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = published(job_in(out, original))
    job = job_in(out, original)
    digest, size = write.stage(job, save)
    opened = os.open

    def fail(path: Any, *args: Any, **more: Any) -> int:
        if path == "photo.jpg":
            raise OSError(errno.EIO, "Input/output error")
        return opened(path, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        with pytest.raises(CannotWrite, match="reports an error"):
            write.publish(job, digest, size, first)
    assert published(job, first).path == first.path
    assert names(out) == ["photo.jpg"]


def test_shares_without_modes_or_folder_sync_will_do(
    out: Path, original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    def no_modes(*_: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fsync", files_only)
    monkeypatch.setattr(os, "fchmod", no_modes)
    assert published(job_in(out, original, "2024/photo.jpg")).path == out / "2024" / "photo.jpg"


@pytest.mark.parametrize(
    "name",
    [
        "x" * 251 + ".jpg",
        "ä" * 125 + ".jpeg",
        "\udcff\udcfe.jpg",
        "a\nb\t\x1b[1m.jpg",
        "-rf",
        "...jpg",
        "%s{}.jpg",
        "x." + "y" * 253,
    ],
)
def test_any_name_can_be_numbered_within_255_bytes(out: Path, original: Path, name: str) -> None:
    written = [published(job_in(out, original, name)).path.name for _ in range(11)]
    assert written[0] == name
    assert len({os.fsencode(name) for name in os.listdir(out)}) == 11  # noqa: PTH208
    assert all(len(os.fsencode(one)) <= 255 for one in written)
    if "." in name[1:] and len(name) - name.rindex(".") < 32:
        assert all(one.endswith(name[name.rindex(".") :]) for one in written)
    if "\udcff" not in name:
        assert all(one.encode() for one in written)


def test_a_name_that_is_too_long_is_cut_between_characters() -> None:
    assert write._numbered("ä" * 200 + ".jpg", 1) == "ä" * 125 + ".jpg"
    assert write._numbered("x" + "ä" * 200 + ".jpg", 12) == "x" + "ä" * 123 + "-12.jpg"


def test_discarding_is_done_at_any_time(out: Path) -> None:
    (out / "x").touch()
    for temporary in (out / "x", out / "x", None):
        write.discard(temporary)
    assert names(out) == []


# Killed anywhere


def before(folder: Path, story: str) -> None:
    (folder / "in").mkdir(parents=True)
    (folder / "out").mkdir()
    (folder / "in" / "photo.jpg").write_bytes(picture())
    if story == "made again":
        reconcile(folder)
        (folder / "in" / "photo.jpg").write_bytes(picture())
    if story == "name taken":
        (folder / "out" / "2024").mkdir()
        (folder / "out" / "2024" / "photo.jpg").write_bytes(picture())


def facts_of(path: Path) -> tuple[object, ...]:
    facts = path.stat()
    return path.read_bytes(), facts.st_ino, facts.st_mode, facts.st_mtime_ns, facts.st_ctime_ns


def check_after_kill(folder: Path, story: str, original: tuple[object, ...]) -> None:
    """Nothing half-written at once; one complete result and nothing else after the next start."""
    out = folder / "out"
    assert all(is_complete(out / name) for name in names(out) if ".darkroomd-" not in name)
    reconcile(folder)
    assert names(out) == (["2024/photo-2.jpg", "2024/photo.jpg"] if story == "name taken" else ["2024/photo.jpg"])
    assert all(is_complete(out / name) for name in names(out))
    assert facts_of(folder / "in" / "photo.jpg") == original
    with sqlite3.connect(folder / "state" / "ledger.sqlite") as db:
        states = db.execute("SELECT state, output_digest FROM job WHERE state != 'superseded'").fetchall()
        notes = db.execute("SELECT text FROM note").fetchall()
    db.close()
    result = out / "2024" / ("photo-2.jpg" if story == "name taken" else "photo.jpg")
    assert states == [("done", hashlib.sha256(result.read_bytes()).hexdigest())]
    assert notes == []


def run_and_die(folder: Path, story: str, at: int) -> int:
    """Reconcile in a forked process that kills itself before its at-th call to the system or to SQLite;
    how many calls it made when it was not killed, else 0."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        if story == "no links":
            os.link = lambda *_, **__: (_ for _ in ()).throw(PermissionError(errno.EPERM, "no links"))
        passed = 0

        def watch(_frame: FrameType, event: str, argument: Any) -> None:
            nonlocal passed
            if event == "c_call" and (
                getattr(argument, "__module__", None) in ("posix", "fcntl")
                or type(getattr(argument, "__self__", None)).__module__ == "sqlite3"
            ):
                if argument.__name__ in (
                    "fsencode",
                    "fspath",
                    "fsdecode",
                    "fetchone",
                    "fetchall",
                    "lstat",
                    "fstat",
                    "lseek",
                ):
                    return
                passed += 1
                if passed == at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(watch)
        try:
            reconcile(folder)
        finally:
            sys.setprofile(None)
            os.write(writer, b"%d" % passed)
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return int(told or 0)


@pytest.fixture
def quick_disk(tmp_path: Path) -> Iterator[Path]:
    """In memory where possible: a killed process loses nothing that it wrote, so these need no real disk."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("story", ["first time", "made again", "name taken", "no links"])
def test_killed_at_any_call_the_next_start_has_one_complete_result(quick_disk: Path, story: str) -> None:
    before(quick_disk / "whole", story)
    borders = run_and_die(quick_disk / "whole", story, at=-1)
    assert borders > 50
    for at in range(1, borders + 1):
        folder = quick_disk / str(at)
        before(folder, story)
        original = facts_of(folder / "in" / "photo.jpg")
        assert run_and_die(folder, story, at) == 0, "it was to be killed"
        check_after_kill(folder, story, original)
        shutil.rmtree(folder)


WRITES = "mkdir,mkdirat,pwrite64,write,link,linkat,unlink,unlinkat,rename,renameat,renameat2,fchmod,utimensat,fchown"
SYNCS = "fsync,fdatasync,ftruncate,fallocate"


def traced(folder: Path, log: Path, *options: str) -> int:
    environ = os.environ | {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'daemon'}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["strace", "-f", "-o", str(log), *options, sys.executable, "-S", "-m", "tests.one_photo"]
    return subprocess.run([*command, str(folder)], env=environ, stderr=subprocess.DEVNULL, check=False).returncode


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_killed_inside_a_commit_the_next_start_has_one_complete_result(quick_disk: Path) -> None:
    """At the system calls of SQLite, which the test above cannot see."""
    log = quick_disk / "log"
    before(quick_disk / "whole", "first time")
    if traced(quick_disk / "whole", log, "-e", f"trace=pwrite64,{SYNCS}") != 0:
        pytest.skip("tracing is not allowed here")
    calls = Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE))
    assert calls["fdatasync"] >= 5, "one for each commit"
    for call, often in calls.items():
        for at in range(1, often + 1):
            folder = quick_disk / f"{call}-{at}"
            before(folder, "first time")
            original = facts_of(folder / "in" / "photo.jpg")
            traced(folder, log, "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={at}")
            assert "killed by SIGKILL" in log.read_text(), f"{call} number {at} was to kill it"
            check_after_kill(folder, "first time", original)
            shutil.rmtree(folder)


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_disk_that_fails_or_fills_up_leaves_nothing_half_written(quick_disk: Path) -> None:
    log = quick_disk / "log"
    before(quick_disk / "whole", "first time")
    if traced(quick_disk / "whole", log, "-e", f"trace={WRITES},{SYNCS}") != 0:
        pytest.skip("tracing is not allowed here")
    for call in dict.fromkeys(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE)):
        error = "EIO" if call in SYNCS.split(",") else "ENOSPC"
        folder = quick_disk / call
        before(folder, "first time")
        original = facts_of(folder / "in" / "photo.jpg")
        traced(folder, log, "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when=2+")
        check_after_kill(folder, "first time", original)
        shutil.rmtree(folder)
