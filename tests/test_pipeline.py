"""One photo from its file to the staged copy: what comes out bit for bit, what is left alone, what is never staged."""

import os
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from darkroomd import device, enhance, guard, picture, pipeline, save
from darkroomd.errors import Incomplete, Rejected, Retryable
from darkroomd.job import Job, Limits, Mode, Output, Staged, Treatment
from darkroomd.save import encode
from tests import networks, pictures
from tests.conftest import make_job

SAME = Mode("same", (Treatment("same"),))


@pytest.fixture(autouse=True)
def sessions_of_their_own() -> Iterator[None]:
    device.network.cache_clear()
    yield
    device.network.cache_clear()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def staged(job: Job) -> bytes:
    """The bytes of what run() has staged for the job, which must be what it says they are."""
    answer = pipeline.run(job)
    assert answer.temporary is not None
    content = answer.temporary.read_bytes()
    assert (answer.digest, answer.size) == (sha256(content).hexdigest(), len(content))
    assert answer.content == sha256(job.source.read_bytes()).hexdigest()
    return content


def is_empty(folder: Path) -> bool:
    return list(folder.iterdir()) == []


def tidy(job: Job, answer: Staged) -> None:
    """Nothing was staged, and nothing is left."""
    assert (answer.temporary, answer.digest, answer.size) == (None, None, 0)
    assert is_empty(job.target.parent)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 5), (131, 257)])
def test_with_a_network_that_changes_nothing_a_png_comes_out_bit_for_bit(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, dtype: Any, bands: int, height: int, width: int
) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, same=networks.identity())
    pixels = (
        np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (height, width, bands), endpoint=True).astype(dtype)
    )
    photo = pictures.write_png(tmp_path / "a.png", pixels)
    job = make_job(photo, out / "a.png", SAME)

    answer = pipeline.run(job)

    assert answer.verdict.status == "done"
    assert answer.temporary == job.temporary
    assert answer.temporary is not None
    after = pictures.read(answer.temporary)
    assert after.dtype == dtype
    np.testing.assert_array_equal(after, pixels)
    assert (answer.verdict.width, answer.verdict.height) == (width, height)
    assert all(guard.passed for guard in answer.verdict.guards)


def test_the_real_network_takes_most_of_the_noise_away(tmp_path: Path, out: Path, auto: Mode) -> None:
    clean = pictures.read(pictures.free_picture("astronaut.png"))[:256, :256, :3]
    noisy = pictures.with_noise(clean.astype(np.uint8), 15)
    job = make_job(pictures.write_png(tmp_path / "a.png", noisy), out / "a.png", auto)
    answer = pipeline.run(job)
    assert answer.temporary is not None
    assert answer.verdict.status == "done"
    assert pictures.psnr(pictures.read(answer.temporary), clean) > pictures.psnr(noisy, clean) + 4
    assert list(answer.verdict.seconds) == ["read", "decode", "look", "enhance", "guard", "write"]
    assert answer.verdict.peak_rss_mb > 10


def test_only_a_photo_that_opens_networks_tells_how_long_that_took(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, same=networks.identity())
    job = make_job(pictures.write_png(tmp_path / "a.png", pictures.scene(24, 16)), out / "a.png", SAME)
    first, second = (pipeline.run(job).verdict.open_seconds for _ in range(2))
    assert sum(first) > 0
    assert second == ()


def test_a_good_photo_is_copied_byte_for_byte(tmp_path: Path, out: Path, auto: Mode) -> None:
    clean = pictures.read(pictures.free_picture("coffee.png"))[:256, :256, :3]
    photo = pictures.write_jpeg(tmp_path / "a.jpg", clean, 95)
    job = make_job(photo, out / "a.jpg", auto)
    answer = pipeline.run(job)
    assert (answer.verdict.status, answer.verdict.reason) == ("unchanged", pipeline.NOTHING_TO_IMPROVE)
    assert answer.temporary is not None
    assert answer.temporary.read_bytes() == photo.read_bytes()


def test_a_good_photo_is_left_where_it_is_when_copies_are_not_wanted(tmp_path: Path, out: Path, auto: Mode) -> None:
    photo = pictures.write_png(tmp_path / "a.png", pictures.scene(96, 72))
    job = make_job(photo, out / "a.png", auto, Output(unchanged="skip"))
    answer = pipeline.run(job)
    assert answer.verdict.status == "unchanged"
    tidy(job, answer)


def test_a_good_photo_in_another_format_is_converted(tmp_path: Path, out: Path, auto: Mode) -> None:
    photo = pictures.write_png(tmp_path / "a.png", pictures.scene(96, 72))
    same = make_job(photo, out / "a.png", auto, Output(format="png"))
    assert staged(same) == photo.read_bytes()
    other = make_job(photo, out / "a.jpg", auto, Output(format="jpeg"))
    assert staged(other).startswith(b"\xff\xd8\xff")


@pytest.mark.parametrize("choose", [False, True])
def test_strength_0_is_a_copy_and_the_reason(tmp_path: Path, out: Path, choose: bool) -> None:
    photo = pictures.write_png(tmp_path / "a.png", pictures.with_noise(pictures.scene(96, 72), 12))
    job = make_job(photo, out / "a.png", Mode("any", (Treatment("general"),), strength=0, choose=choose))
    assert staged(job) == photo.read_bytes()
    assert pipeline.run(job).verdict.reason == "strength is 0"


def test_strength_one_half_lies_between_the_photo_and_the_full_effect(tmp_path: Path, out: Path) -> None:
    noisy = pictures.with_noise(pictures.scene(96, 72), 12)
    photo = pictures.write_png(tmp_path / "a.png", noisy)
    distances = []
    for strength in (0.5, 1.0):
        answer = pipeline.run(make_job(photo, out / "a.png", Mode("any", (Treatment("general"),), strength=strength)))
        assert answer.temporary is not None
        distances.append(pictures.psnr(pictures.read(answer.temporary), noisy))
    assert distances[0] > distances[1] + 3


def test_bytes_that_have_a_result_already_are_not_enhanced_again(tmp_path: Path, out: Path, auto: Mode) -> None:
    photo = pictures.write_png(tmp_path / "a.png", pictures.scene(96, 72))
    content = sha256(photo.read_bytes()).hexdigest()
    job = replace(make_job(photo, out / "a.png", auto), known_content=content)
    answer = pipeline.run(job)
    assert (answer.repeated, answer.content) == (True, content)
    tidy(job, answer)


@pytest.mark.parametrize(
    ("factor", "status", "reason"),
    [
        (float("nan"), "failed", "network broken: "),
        (0.0, "refused", "the result did not pass the checks: colour"),
    ],
)
def test_a_network_that_answers_nonsense_is_never_published(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, factor: float, status: str, reason: str
) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, broken=networks.times(factor))
    photo = pictures.write_png(tmp_path / "a.png", pictures.scene(96, 72))
    job = make_job(photo, out / "a.png", Mode("broken", (Treatment("broken"),)))
    answer = pipeline.run(job)
    assert answer.verdict.status == status
    assert answer.verdict.reason is not None
    assert answer.verdict.reason.startswith(reason)
    tidy(job, answer)


def test_the_file_is_made_while_the_checks_run(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks wait until the encoder has begun: one after the other, they would wait in vain."""
    networks.shipped(tmp_path / "models", monkeypatch, same=networks.identity())
    scene, begun = pictures.scene(96, 72), Event()
    encode, checked = save.encode, guard.guards

    def encoded(*given: Any) -> None:
        begun.set()
        encode(*given)

    def waited(*given: Any) -> Any:
        assert begun.wait(20)
        return checked(*given)

    monkeypatch.setattr(pipeline, "encode", encoded)
    monkeypatch.setattr(pipeline, "guards", waited)
    job = make_job(pictures.write_png(tmp_path / "a.png", scene), out / "a.png", SAME)
    staged(job)
    assert job.temporary is not None
    np.testing.assert_array_equal(pictures.read(job.temporary), scene)


def test_where_no_file_can_be_made_in_memory_the_result_is_the_same(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, general: Mode
) -> None:
    photo = pictures.write_jpeg(tmp_path / "a.jpg", pictures.with_noise(pictures.scene(96, 72), 12))
    ahead = staged(make_job(photo, out / "a.jpg", general))

    def forbidden(_name: str) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "memfd_create", forbidden)
    assert staged(make_job(photo, out / "a.jpg", general)) == ahead


def test_a_result_that_goes_too_far_is_written_at_half_strength_and_says_so(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, dull=networks.times(0.96))
    scene = pictures.scene(96, 72)
    job = make_job(pictures.write_png(tmp_path / "a.png", scene), out / "a.png", Mode("dull", (Treatment("dull"),)))
    answer = pipeline.run(job)
    assert answer.verdict.status == "done"
    assert answer.verdict.reason is not None
    assert answer.verdict.reason.startswith("the full result did not pass the checks: colour ")
    assert answer.verdict.reason.endswith("; written with half strength")
    assert all(guard.passed for guard in answer.verdict.guards)
    assert answer.temporary is not None
    darker = scene.astype(int) - pictures.read(answer.temporary)
    assert 0.01 * scene.mean() < darker.mean() < 0.03 * scene.mean()


def test_where_nobody_chose_the_mode_a_result_that_cannot_be_mended_leaves_the_photo_as_it_was(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, broken=networks.times(0.0))
    photo = pictures.write_png(tmp_path / "a.png", pictures.scene(96, 72))
    chosen = Mode("auto", (Treatment("broken"),), choose=True)
    answer = pipeline.run(make_job(photo, out / "a.png", chosen))
    assert (answer.verdict.status, answer.verdict.steps) == ("unchanged", ())
    assert answer.verdict.reason is not None
    assert answer.verdict.reason.startswith("the result did not pass the checks: colour")
    assert answer.verdict.reason.endswith("; left as it was")
    assert answer.temporary is not None
    assert answer.temporary.read_bytes() == photo.read_bytes()


def test_where_a_place_is_spoiled_it_keeps_the_original_and_the_rest_is_enhanced(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, general: Mode
) -> None:
    scene = pictures.with_noise(pictures.read(pictures.free_picture("coffee.png")).astype(np.uint8), 12)
    job = make_job(pictures.write_png(tmp_path / "a.png", scene), out / "a.png", general)

    def with_a_hole(*given: Any) -> Any:
        result = enhance.enhanced(*given)
        result.pixels[100:150, 200:260] = 0
        return result

    monkeypatch.setattr(pipeline, "enhanced", with_a_hole)
    answer = pipeline.run(job)
    assert answer.verdict.status == "done"
    assert answer.verdict.reason is not None
    assert answer.verdict.reason.endswith("; written with the original where it did not")
    assert answer.temporary is not None
    after = pictures.read(answer.temporary)
    np.testing.assert_array_equal(after[100:150, 200:260], scene[100:150, 200:260])
    assert (after[250:] != scene[250:]).mean() > 0.5


def test_a_file_that_changed_since_the_job_was_made_is_for_later(tmp_path: Path, out: Path, auto: Mode) -> None:
    photo = pictures.write_png(tmp_path / "a.png", pictures.scene(96, 72))
    job = make_job(photo, out / "a.png", auto)
    with photo.open("ab") as file:
        file.write(b"more")
    with pytest.raises(Retryable, match="changed while it was being read"):
        pipeline.run(job)
    assert is_empty(out)


def test_a_file_that_changes_while_it_is_read_is_for_later(
    tmp_path: Path, out: Path, auto: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = pictures.write_png(tmp_path / "a.png", pictures.scene(96, 72))
    job = make_job(photo, out / "a.png", auto)

    def decoded(descriptor: int, limits: Limits) -> Any:
        os.utime(photo, ns=(1, 1))  # a moment before its pixels are there
        return picture.decoded(descriptor, limits)

    monkeypatch.setattr(pipeline, "decoded", decoded)
    with pytest.raises(Retryable, match="changed while it was being read"):
        pipeline.run(job)
    assert is_empty(out)


@pytest.mark.parametrize("left", [0.5, 0.0])
def test_a_file_that_ends_too_early_leaves_nothing(tmp_path: Path, out: Path, auto: Mode, left: float) -> None:
    whole = pictures.jpeg_bytes(pictures.with_noise(pictures.scene(96, 72), 12))
    (tmp_path / "a.jpg").write_bytes(whole[: int(len(whole) * left)])
    with pytest.raises(Incomplete):
        pipeline.run(make_job(tmp_path / "a.jpg", out / "a.jpg", auto))
    assert is_empty(out)


def test_limits_are_kept_and_a_photo_that_is_gone_is_for_later(tmp_path: Path, out: Path, auto: Mode) -> None:
    photo = pictures.write_png(tmp_path / "a.png", pictures.scene(96, 72))
    job = make_job(photo, out / "a.png", auto)
    with pytest.raises(Rejected, match=r"allows 0\.001"):
        pipeline.run(replace(job, limits=Limits(max_megapixels=0.001)))
    photo.unlink()
    with pytest.raises(Retryable, match="cannot read the file"):
        pipeline.run(job)
    assert is_empty(out)


def test_what_was_written_is_read_again_and_taken_away_if_it_is_no_picture(
    tmp_path: Path, out: Path, general: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = pictures.write_png(tmp_path / "a.png", pictures.with_noise(pictures.scene(96, 72), 12))
    monkeypatch.setattr(
        pipeline,
        "encode",
        lambda picture, form, output, descriptor, event, version: os.write(descriptor, b"\x89PNG\r\n\x1a\n"),
    )
    with pytest.raises(Retryable, match="what was written does not decode"):
        pipeline.run(make_job(photo, out / "a.png", general))
    assert is_empty(out)


def test_while_our_own_version_cannot_be_read_no_result_says_a_wrong_one(
    tmp_path: Path, out: Path, general: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package's METADATA that may not be read is no error for importlib: the version is None."""
    installed = tmp_path / "site" / "darkroomd-0.dist-info"
    installed.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(installed.parent))
    photo = pictures.write_png(tmp_path / "a.png", pictures.with_noise(pictures.scene(96, 72), 12))
    with pytest.raises(Retryable, match="own package cannot be read"):
        pipeline.run(make_job(photo, out / "a.png", general))
    assert is_empty(out)


def test_no_descriptor_is_left_open(tmp_path: Path, out: Path, auto: Mode) -> None:
    good = pictures.write_png(tmp_path / "a.png", pictures.scene(96, 72))
    (tmp_path / "bad.png").write_text("Dear diary")
    pipeline.run(make_job(good, out / "a.png", auto))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        pipeline.run(make_job(good, out / "a.png", auto))
        with pytest.raises(Rejected):
            pipeline.run(make_job(tmp_path / "bad.png", out / "bad.png", auto))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# Larger


LARGER = Mode("upscale", (Treatment("twice"),), scale=2.0)


@pytest.fixture
def enlarging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks.shipped(tmp_path / "models", monkeypatch, twice=(networks.enlarge(2), {"scale": 2}))


@pytest.mark.usefixtures("enlarging")
@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "tiff", "avif"])
def test_a_picture_is_enlarged_with_its_transparency_and_its_facts(tmp_path: Path, out: Path, form: Any) -> None:
    pixels = np.dstack([pictures.scene(96, 72), np.full((72, 96, 1), 255, np.uint8)])
    pixels[:36, :, 3] = 0
    photo = pictures.write_png(tmp_path / "a.png", pixels)
    answer = pipeline.run(make_job(photo, out / "a", LARGER, Output(format=form)))
    assert (answer.verdict.status, answer.verdict.width, answer.verdict.height) == ("done", 192, 144)
    assert answer.temporary is not None
    after = pictures.read(answer.temporary)
    assert after.shape == (144, 192, 3 if form == "jpeg" else 4)
    if form != "jpeg":
        assert after[:60, :, 3].max() < 8
        assert after[84:, :, 3].min() > 247
    (step,) = answer.verdict.as_json()["steps"]
    assert step["size"] == (192, 144)


@pytest.mark.usefixtures("enlarging")
def test_a_result_beyond_the_limits_is_refused_before_any_work(tmp_path: Path, out: Path) -> None:
    photo = pictures.write_png(tmp_path / "a.png", pictures.scene(96, 72))
    with pytest.raises(Rejected, match=r"would be 192×144 \(0 megapixels\); limits.max_megapixels allows 0.02"):
        pipeline.run(make_job(photo, out / "a.png", LARGER, limits=Limits(max_megapixels=0.02)))
    wide = pictures.write_png(tmp_path / "wide.png", pictures.scene(9000, 1))
    with pytest.raises(Rejected, match=r"would be 18000×2, and WEBP files end at 16383 pixels; output.format: png or"):
        pipeline.run(make_job(wide, out / "a.webp", LARGER, Output(format="webp")))
    assert pipeline.run(make_job(wide, out / "a.png", LARGER)).verdict.width == 18000


@pytest.mark.usefixtures("enlarging")
def test_a_picture_as_large_as_asked_is_a_copy_and_the_reason(tmp_path: Path, out: Path) -> None:
    photo = pictures.write_png(tmp_path / "a.png", pictures.scene(96, 72))
    job = make_job(photo, out / "a.png", replace(LARGER, longest_side=96))
    assert staged(job) == photo.read_bytes()
    assert pipeline.run(job).verdict.reason == "as large as it is to become: 96×72"


def test_damage_is_believed_when_it_is_seen_twice(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = pictures.write_png(tmp_path / "a.png", pictures.scene(32, 24))
    networks.shipped(tmp_path / "models", monkeypatch, same=networks.identity())
    answers = iter([Rejected("the PNG file is damaged")])
    decoded = picture.decoded

    def once(*args: Any) -> Any:
        for error in answers:
            raise error
        return decoded(*args)

    monkeypatch.setattr(pipeline, "decoded", once)
    assert pipeline.run(make_job(source, out / "a.png", SAME)).verdict.status == "done"


def test_a_good_photo_that_is_written_anew_is_looked_at_before_it_counts(
    tmp_path: Path, out: Path, auto: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_short(*words: Any) -> None:
        encode(*words)
        os.ftruncate(words[3], os.fstat(words[3]).st_size // 2)

    photo = pictures.write_png(tmp_path / "a.png", pictures.scene(96, 72))
    job = make_job(photo, out / "a.jpg", auto, Output(format="jpeg"))
    monkeypatch.setattr(pipeline, "encode", cut_short)
    with pytest.raises(Retryable, match="what was written does not decode"):
        pipeline.run(job)
    assert list(out.iterdir()) == []
