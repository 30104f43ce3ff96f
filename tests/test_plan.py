"""From a path and the config to a job: no file is opened, so none of these exist."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroomd.config import Config, Folder, Rule, Service
from darkroomd.errors import Unavailable
from darkroomd.job import Fingerprint, Job, Limits, Mode, Output, Settled, Skip, Treatment
from darkroomd.plan import plan, recipe, target_name

ROOT, OUT = Path("/in"), Path("/out")
AUTO, OLD = Mode("auto", (Treatment("general"),), choose=True), Mode("old-photo", (Treatment("old"),))
DIGESTS = {"general": "g" * 64, "old": "o" * 64}
FOLDER = Folder(ROOT, OUT, AUTO)


def config(output: Output = Output(), service: Service = Service(), folder: Folder = FOLDER) -> Config:  # noqa: B008
    modes = {"auto": AUTO, "old-photo": OLD}
    return Config(None, folders=(folder,), modes=modes, output=output, service=service, limits=Limits())


def planned(name: str, folder: Folder = FOLDER, output: Output = Output()) -> Job | Skip:  # noqa: B008
    settled = Settled(ROOT, ROOT / name, Fingerprint(1, 2, 3, 4, 5))
    return plan(settled, folder, config(output), DIGESTS)


def job(name: str, folder: Folder = FOLDER, output: Output = Output()) -> Job:  # noqa: B008
    answer = planned(name, folder, output)
    assert isinstance(answer, Job)
    return answer


def test_sub_folders_are_mirrored() -> None:
    assert job("2024/May/IMG_1.JPG").target == Path("/out/2024/May/IMG_1.JPG")
    assert job("a.jpg").output_root == OUT


@pytest.mark.parametrize("name", ["a.txt", "a.mp4", "a", "jpg", "a.jpg.txt", "a.gpx"])
def test_other_files_are_not_photos(name: str) -> None:
    assert planned(name) == Skip(ROOT / name, "not a photo")


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "jpe", "jfif", "png", "Png", "tif", "tiff", "webp", "avif", "gif"])
def test_every_format_that_can_be_decoded_is_a_photo(suffix: str) -> None:
    assert job(f"a.{suffix}").mode == AUTO


def test_the_first_matching_rule_wins() -> None:
    rules = (Rule("*_raw*", True, None), Rule("scan_*", False, OLD), Rule("scan_1*", False, AUTO))
    folder = replace(FOLDER, rules=rules)
    assert job("scan_1.jpg", folder).mode == OLD
    assert job("SCAN_2.JPG", folder).mode == OLD
    assert job("x.jpg", folder).mode == AUTO
    assert planned("scan_raw.jpg", folder) == Skip(ROOT / "scan_raw.jpg", "skipped by the rule for *_raw*")


def test_a_rule_with_a_slash_is_about_the_path_and_one_without_about_the_name() -> None:
    folder = replace(FOLDER, rules=(Rule("Old/*", False, OLD), Rule("scan*", True, None)))
    assert job("old/deep/a.jpg", folder).mode == OLD
    assert job("scans/a.jpg", folder).mode == AUTO


@pytest.mark.parametrize(
    ("name", "output", "target"),
    [
        ("a.JPG", Output(), "a.JPG"),
        ("a.JPEG", Output(format="jpeg"), "a.JPEG"),
        ("a.tif", Output(format="jpeg"), "a.jpg"),
        ("a.jpg", Output(format="png"), "a.png"),
        ("a.b.jpg", Output(name="{stem}-{mode}{ext}"), "a.b-auto.jpg"),
        ("{mode}%s.jpg", Output(name="{stem} ({mode}){ext}"), "{mode}%s (auto).jpg"),
        ("...jpg", Output(), "...jpg"),
        ("a\nb\x1b.jpg", Output(), "a\nb\x1b.jpg"),
    ],
)
def test_the_name_follows_the_template(name: str, output: Output, target: str) -> None:
    assert target_name(name, AUTO, output) == target


@given(st.binary(min_size=1, max_size=251).filter(lambda b: b"/" not in b and b"\0" not in b and b.strip(b".")))
def test_no_name_is_longer_than_a_file_name_may_be(raw: bytes) -> None:
    name = os.fsdecode(raw) + ".jpg"
    made = target_name(name, AUTO, Output(name="{stem}-enhanced{ext}"))
    assert len(os.fsencode(made)) <= 255
    assert made.endswith("-enhanced.jpg")
    assert made == target_name(name, AUTO, Output(name="{stem}-enhanced{ext}"))


def test_two_long_names_stay_two() -> None:
    output = Output(name="{stem}-enhanced{ext}")
    assert target_name("ä" * 124 + "1.jpg", AUTO, output) != target_name("ä" * 124 + "2.jpg", AUTO, output)


def test_a_network_that_is_not_there_is_for_the_operator() -> None:
    with pytest.raises(Unavailable, match="old-photo needs the network old, which is not installed: reinstall"):
        plan(
            Settled(ROOT, ROOT / "a.jpg", Fingerprint(1, 2, 3, 4, 5)),
            replace(FOLDER, mode=OLD),
            config(),
            {"general": ""},
        )


def test_workers_share_the_cores() -> None:
    settled = Settled(ROOT, ROOT / "a.jpg", Fingerprint(1, 2, 3, 4, 5))

    def threads(workers: int, cores: int, most: int = 0) -> int:
        answer = plan(settled, FOLDER, config(service=Service(workers=workers, cores=most)), DIGESTS, cores)
        assert isinstance(answer, Job)
        return answer.engine.threads

    assert [threads(1, 8), threads(2, 8), threads(16, 8), threads(2, 0)] == [0, 4, 1, 0]
    assert [threads(1, 8, 3), threads(2, 8, 4), threads(1, 2, 16), threads(0, 8, 2)] == [3, 2, 2, 2]


def test_the_recipe_changes_with_what_shapes_the_bytes_and_with_nothing_else() -> None:
    same = recipe(AUTO, DIGESTS, Output())
    assert same == recipe(AUTO, DIGESTS, Output(name="{stem}-x{ext}", mtime="now", existing="conflict"))
    assert same == recipe(AUTO, DIGESTS | {"old": "another"}, Output())
    two = Mode("auto", (Treatment("general", "background"), Treatment("old", "faces")), background="general")
    others = [
        recipe(replace(AUTO, strength=0.5), DIGESTS, Output()),
        recipe(AUTO, DIGESTS | {"general": "another"}, Output()),
        recipe(AUTO, DIGESTS, Output(quality=80)),
        recipe(AUTO, DIGESTS, Output(format="png")),
        recipe(AUTO, DIGESTS, Output(metadata="strip")),
        recipe(AUTO, DIGESTS, Output(unchanged="skip")),
        recipe(two, DIGESTS, Output()),
        recipe(replace(two, steps=two.steps[::-1]), DIGESTS, Output()),
        recipe(replace(two, background="leave"), DIGESTS, Output()),
        recipe(two, DIGESTS | {"old": "another"}, Output()),
    ]
    assert len({same, *others}) == len(others) + 1


def test_the_recipe_of_a_release_is_the_recipe_of_the_next() -> None:
    assert recipe(Mode("auto", (Treatment("general"),), choose=True), {"general": "0" * 64}, Output()) == (
        "731458f2afa79f326806391e2533faffabc158148b361a9b2cff15fcf46f852b"
    )
