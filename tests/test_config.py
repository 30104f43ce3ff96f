"""What a config means, what is refused, and where the messages point."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darkroomd import config, shape
from darkroomd.config import Config, Service, builtin_modes, defaults, load
from darkroomd.errors import ConfigError
from darkroomd.job import Limits, Mode, Output, Treatment

SHIPPED = Path(__file__).parent.parent / "config"
DOCS = Path(__file__).parent.parent / "docs/configuration.md"
ONE_FOLDER = "folders: [{watch: in, output: out}]\n"
AUTO, GENERAL = builtin_modes()["auto"], builtin_modes()["general"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path.resolve()


def write(home: Path, text: str, name: str = "config.yaml") -> Path:
    path = home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text), encoding="utf-8")
    return path


def loaded(home: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    return load(write(home, text), {"HOME": str(home), **(environ or {})})


def faults(home: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Every fault, without the name of the config file."""
    with pytest.raises(ConfigError) as caught:
        loaded(home, text, environ)
    return [fault.removeprefix(f"{home}/config.yaml:") for fault in caught.value.faults]


# What a config means


def test_a_folder_needs_only_where_to_watch_and_where_to_write(home: Path) -> None:
    got = loaded(home, "folders:\n  - watch: ~/in\n    output: ~/out\n")
    assert got.folders == (config.Folder(home / "in", home / "out", AUTO, ()),)
    assert (got.output, got.service, got.limits) == (Output(), Service(), Limits())
    assert got.file == home / "config.yaml"


def test_every_key_arrives_where_it_belongs(home: Path) -> None:
    got = loaded(
        home,
        ONE_FOLDER
        + """\
output: {format: jpeg, quality: 80, name: "{stem}-{mode}{ext}", existing: conflict, metadata: strip, mtime: now,
         unchanged: skip, duplicates: link, permissions: "0640", owner: keep, reasons: beside}
service: {device: cpu, workers: 3, settle_seconds: 0.5, rescan_minutes: 10, memory_limit_mb: 2048, idle_minutes: 1,
          redo: on-change, order: newest, cores: 2, nice: 19, quiet_hours: "22:00-07:00", pause_on_battery: true,
          pause_when_busy_percent: 60, recycle_photos: 9, recycle_mb: 512}
limits: {max_megapixels: 1000, max_file_mb: 2.5, max_decoding_mb: 512}
""",
    )
    written = Output(
        "jpeg", 80, "{stem}-{mode}{ext}", "conflict", "strip", "now", "skip", "auto", "link", "0640", "keep"
    )
    assert got.output == replace(written, reasons="beside")
    assert got.service == Service(
        "cpu",
        3,
        0.5,
        10.0,
        2048,
        1.0,
        "on-change",
        order="newest",
        cores=2,
        nice=19,
        quiet_hours="22:00-07:00",
        pause_on_battery=True,
        pause_when_busy_percent=60.0,
        recycle_photos=9,
        recycle_mb=512,
    )
    assert got.limits == Limits(1000.0, 2.5, 512.0)


def test_auto_is_one_worker_without_a_memory_limit(home: Path) -> None:
    got = loaded(home, ONE_FOLDER + "service: {workers: auto, memory_limit_mb: auto}\n")
    assert (got.service.workers, got.service.memory_limit_mb) == (0, 0)


def test_the_strength_nearest_to_the_photo_counts(home: Path) -> None:
    folder = loaded(
        home,
        """
        folders:
          - watch: in
            output: out
            mode: gentle
            strength: 0.7
            rules:
              - {name: "*_raw*", skip: true}
              - {name: "a*", mode: general}
              - {name: "b*", mode: gentle}
              - {name: "c*", strength: 0.1}
              - {name: "d*", mode: general, strength: 0}
        modes:
          gentle: {based_on: auto, strength: 0.4}
        """,
    ).folders[0]
    gentle = replace(builtin_modes()["auto"], name="gentle", strength=0.4)
    assert folder.mode == replace(gentle, strength=0.7)
    assert [(rule.name, rule.skip, rule.mode) for rule in folder.rules] == [
        ("*_raw*", True, None),
        ("a*", False, GENERAL),
        ("b*", False, gentle),
        ("c*", False, replace(gentle, strength=0.1)),
        ("d*", False, replace(GENERAL, strength=0.0)),
    ]


def test_a_mode_may_be_based_on_another_of_the_users(home: Path) -> None:
    modes = loaded(
        home,
        ONE_FOLDER + "modes: {c: {based_on: b}, b: {based_on: a, strength: 0.5}, a: {based_on: auto, strength: 0.2}}\n",
    ).modes
    assert modes["c"] == replace(builtin_modes()["auto"], name="c", strength=0.5)
    assert modes["auto"] == AUTO


def test_a_built_in_mode_can_be_adjusted_by_its_own_name(home: Path) -> None:
    got = loaded(home, ONE_FOLDER + "modes: {auto: {based_on: auto, strength: 0.5}, soft: {based_on: auto}}\n")
    assert got.folders[0].mode == replace(AUTO, strength=0.5)
    assert got.modes["soft"] == replace(AUTO, name="soft", strength=0.5)


def without_specialists(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if only the network `general` shipped."""
    folder = home / "shipped"
    folder.mkdir()
    cards = yaml.safe_load((SHIPPED.parent / "models/cards.yaml").read_text())
    (folder / "cards.yaml").write_text(yaml.safe_dump({"general": cards["general"]}))
    (folder / "modes.yaml").write_text(
        (SHIPPED.parent / "models/modes.yaml").read_text() + "portrait: {network: faces}\n"
    )
    monkeypatch.setattr("darkroomd.places.shipped_folder", lambda: folder)


def test_a_mode_is_offered_when_its_networks_ship(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_specialists(home, monkeypatch)
    assert builtin_modes().keys() == {"auto", "general"}
    (fault,) = faults(home, "folders: [{watch: i, output: o, mode: portrat}]\n")
    assert fault.endswith(
        "folders[0].mode: no network for portrait ships with this version; the modes are auto, general"
    )
    own = loaded(home, ONE_FOLDER + "modes: {portrait: {based_on: general}}\n").modes["portrait"]
    assert own.networks == ("general",)  # until it ships, the name is free


MODES = """\
auto: {network: general, choose: true}
general: {network: general}
faces:
  background: general
  steps:
    - {network: general, region: background, strength: 0.5}
    - {network: general, region: faces}
"""


@pytest.fixture
def with_faces(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mode with two steps and an option, whatever ships."""
    without_specialists(home, monkeypatch)
    (home / "shipped/modes.yaml").write_text(MODES)


@pytest.mark.usefixtures("with_faces")
def test_a_mode_of_several_steps_is_a_few_lines(home: Path) -> None:
    assert builtin_modes()["faces"] == Mode(
        "faces", (Treatment("general", "background", 0.5), Treatment("general", "faces")), background="general"
    )


@pytest.mark.usefixtures("with_faces")
def test_an_option_can_be_set_wherever_a_mode_is_named_and_the_nearest_counts(home: Path) -> None:
    got = loaded(
        home,
        """\
        folders:
          - {watch: i, output: o, mode: own, background: leave, rules: [
              {name: "a*", background: general}, {name: "b*", mode: faces, strength: 0.5}]}
        modes:
          own: {based_on: faces, strength: 0.7}
        """,
    ).folders[0]
    own = replace(builtin_modes()["faces"], name="own", strength=0.7)
    assert got.mode == replace(own, background="leave")
    assert got.rules[0].mode == own
    assert got.rules[1].mode == replace(builtin_modes()["faces"], strength=0.5)
    assert [t.region for t in got.mode.treatments] == ["faces"]


@pytest.mark.usefixtures("with_faces")
def test_an_option_that_the_mode_does_not_have_is_a_fault(home: Path) -> None:
    found = faults(
        home,
        """\
        folders:
          - {watch: i, output: o, background: leave}
          - {watch: i2, output: o, mode: own, background: leave, rules: [{name: "a*", mode: mine, background: leave}]}
        modes:
          own: {based_on: faces}
          mine: {based_on: general}
          round: {based_on: around, background: leave}
          around: {based_on: round}
        """,
    )
    assert [fault.partition(": ")[2] for fault in found if "is no option" in fault] == [
        "folders[0].background: is no option of mode auto; modes with it: faces",
        "folders[1].rules[0].background: is no option of mode mine; modes with it: faces",
    ]


def test_the_size_that_is_said_nearest_to_the_photo_counts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_specialists(home, monkeypatch)
    (home / "shipped/modes.yaml").write_text("auto: {network: general}\nupscale: {scale: 2, network: general}\n")
    got = loaded(
        home,
        """\
        folders:
          - {watch: i, output: o, mode: large, rules: [
              {name: "a*", scale: 4}, {name: "b*", megapixels: 12.5}, {name: "c*", mode: upscale}]}
        modes: {large: {based_on: upscale, longest_side: 4000}}
        """,
    ).folders[0]
    large = Mode("large", (Treatment("general"),), scale=2, longest_side=4000)
    rules = [rule.mode for rule in got.rules]
    assert got.mode == large
    assert rules[0] == replace(large, scale=4, longest_side=None)
    assert rules[1] == replace(large, longest_side=None, megapixels=12.5)
    assert rules[2] == Mode("upscale", (Treatment("general"),), scale=2)


def test_two_sizes_in_one_place_and_a_size_for_a_mode_that_keeps_it_are_faults(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_specialists(home, monkeypatch)
    (home / "shipped/modes.yaml").write_text("auto: {network: general}\nupscale: {scale: 2, network: general}\n")
    assert faults(
        home,
        """\
        folders:
          - {watch: i, output: o, mode: upscale, scale: 3, megapixels: 9}
          - {watch: i2, output: o, longest_side: 3000}
        """,
    ) == [
        "2:52: folders[0].megapixels: says how large the result is, and so does scale: keep one",
        "3:28: folders[1].longest_side: is no option of mode auto; modes with it: upscale",
    ]


@pytest.mark.usefixtures("with_faces")
def test_a_wrong_value_of_an_option_says_which_there_are(home: Path) -> None:
    (fault,) = faults(home, "folders: [{watch: i, output: o, mode: faces, background: x}]\n")
    assert fault == "1:58: folders[0].background: wants general or leave, not the text 'x'"


def test_an_option_that_no_mode_has_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_specialists(home, monkeypatch)
    (fault,) = faults(home, "folders: [{watch: i, output: o, background: leave}]\n")
    assert fault.endswith("is no option of mode auto; no mode of this version has it")


def test_a_mode_may_be_called_by_a_word_that_yaml_takes_for_true(home: Path) -> None:
    got = loaded(home, 'folders: [{watch: in, output: out, mode: "on"}]\nmodes: {on: {based_on: general}}\n')
    assert got.folders[0].mode.name == "on"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("~/in", "{home}/in"),
        ("~", "{home}"),
        ("$PHOTOS/in", "/srv/photos/in"),
        ("${PHOTOS}x", "/srv/photosx"),
        ("/cost$$", "/cost$"),
        ("in/deep", "{home}/in/deep"),
        ("./in", "{home}/in"),
        ("deep/../in", "{home}/in"),
        ("~root/in", str(Path("~root/in").expanduser())),
        ("/in#1", "/in#1"),
    ],
)
def test_a_folder_may_be_written_short(home: Path, written: str, meant: str) -> None:
    """Relative ones start at the config file, so that it can travel with its folders."""
    text = f'folders: [{{watch: "{written}", output: /elsewhere/out}}]\n'
    assert loaded(home, text, {"PHOTOS": "/srv/photos"}).folders[0].watch == Path(meant.format(home=home))


def test_relative_folders_start_at_the_link_not_at_the_file_behind_it(home: Path) -> None:
    write(home, ONE_FOLDER, "elsewhere/real.yaml")
    (home / "config.yaml").symlink_to("elsewhere/real.yaml")
    assert load(home / "config.yaml", {}).folders[0].watch == home / "in"


def test_paths_are_absolute_however_the_config_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home, ONE_FOLDER)
    monkeypatch.chdir(home)
    got = load(Path("config.yaml"), {})
    assert (got.file, got.folders[0].output) == (home / "config.yaml", home / "out")


def test_a_folder_that_does_not_exist_yet_is_no_fault(home: Path) -> None:
    assert loaded(home, "folders: [{watch: /mnt/not/yet, output: /mnt/later}]\n").folders


# Layers


def test_drop_ins_and_then_the_environment_override_the_file(home: Path) -> None:
    write(home, "output: {quality: 60}\nservice: {settle_seconds: 3}\n", "conf.d/10-first.yaml")
    write(home, "output: {quality: 70}\n", "conf.d/20-second.yaml")
    write(home, "# all of it commented out\n", "conf.d/30-empty.yaml")
    write(home, "---\n# all of it, below a marker\n", "conf.d/31-empty.yaml")
    write(home, "no: such: thing", "conf.d/40.yaml.bak")
    write(home, "no: such: thing", "conf.d/.hidden.yaml")
    got = loaded(
        home,
        ONE_FOLDER + "output: {quality: 50, format: png}\nlimits: {max_file_mb: 7}\n",
        {"DARKROOMD_SERVICE__SETTLE_SECONDS": " 4 ", "DARKROOMD_LIMITS__MAX_FILE_MB": "9", "DARKROOMD_CONFIG": "x"},
    )
    assert got.output == Output(format="png", quality=70)
    assert got.service.settle_seconds == 4
    assert got.limits.max_file_mb == 9


def test_a_drop_in_replaces_lists_and_merges_mappings(home: Path) -> None:
    write(home, "folders: [{watch: b, output: out}]\nmodes: {two: {based_on: auto}}\n", "conf.d/a.yaml")
    got = loaded(home, "folders: [{watch: a, output: out}]\nmodes: {one: {based_on: auto}}\n")
    assert [folder.watch.name for folder in got.folders] == ["b"]
    assert {"one", "two"} < got.modes.keys()


def test_the_environment_holds_without_a_file(home: Path) -> None:
    got = defaults({"DARKROOMD_LIMITS__MAX_MEGAPIXELS": "1000", "DARKROOMD_OUTPUT__NAME": "{stem}_x{ext}", "HOME": "/"})
    assert got == Config(
        None, (), builtin_modes(), Output(name="{stem}_x{ext}"), Service(), Limits(max_megapixels=1000.0)
    )


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("DARKROOMD_LIMITS__MAX_MEGAPIXELS", "many", "wants a number above 0, up to 100000, not the text 'many'"),
        ("DARKROOMD_LIMITS__MAX_MEGAPIXELS", "", "not nothing"),
        ("DARKROOMD_LIMITS__MAX_MEGAPIXEL", "1", "is not a key; did you mean `max_megapixels`?"),
        ("DARKROOMD_OUTPUT__QUALITY", "010", "not 010, which programs read in different ways"),
        ("DARKROOMD_OUTPUT__NAME", "5", "wants text, not 5"),
        ("DARKROOMD_FOLDERS__WATCH", "/in", "only output, service, limits can be set here, not 'folders'"),
        ("DARKROOMD_LIMITS_MAX_FILE_MB", "1", "two are wanted: DARKROOMD_LIMITS__MAX_FILE_MB"),
    ],
)
def test_a_fault_in_the_environment_names_its_variable(variable: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        defaults({variable: value})
    (fault,) = caught.value.faults
    assert fault.startswith(f"environment {variable}: ")
    assert fault.endswith(message) or message in fault


def test_a_fault_in_a_drop_in_names_its_file_and_line(home: Path) -> None:
    write(home, "\noutput: {quality: 0}\n", "conf.d/a.yaml")
    write(home, "", "conf.d/b.yml")
    assert faults(home, ONE_FOLDER) == [
        f"{home}/conf.d/a.yaml:2:19: output.quality: wants a whole number from 1 to 100, not 0",
        f"{home}/conf.d/b.yml:1:1: file: is not read: rename it to end in .yaml",
    ]


def test_a_conf_d_that_is_no_folder_is_a_fault(home: Path) -> None:
    write(home, "", "conf.d")
    assert faults(home, ONE_FOLDER) == [f"{home}/conf.d:1:1: file: cannot be read: Not a directory"]


# What is refused. Each row: the text behind a good folder, where, which key, and a telling part of the message.

REFUSED_SETTINGS = [
    ("outptu: {}", "2:1: outptu", "did you mean `output`?"),
    ("colour: {}", "2:1: colour", "the keys here are folders, modes, output, service, limits"),
    ("output: {QUALITY: 5}", "2:10: output.QUALITY", "did you mean `quality`?"),
    ("service: {rescan-minutes: 5}", "2:11: service.rescan-minutes", "did you mean `rescan_minutes`?"),
    ("limits: {quality: 5}", "2:10: limits.quality", "only in output"),
    ("service: {strength: 1}", "2:11: service.strength", "only in folders and folders.rules"),
    ("modes: {a: {based_on: auto, streng: 1}}", "2:29: modes.a.streng", "did you mean `strength`?"),
    ('"a\\nb": 1', "2:1: a\\nb", "is not a key"),
    ("output: {quality: 5, quality: 6}", "2:22: output.quality", "is written twice (first in line 2): keep one"),
    ("modes: {a: {based_on: auto}}\nmodes: {}", "3:1: modes", "is written twice (first in line 2)"),
    ("? [a]\n: 1", "2:3: yaml", "a key is one word"),
    ("output: {? {a: b} : 1}", "2:12: output", "a key is one word"),
    ("output: [1]", "2:9: output", "wants a mapping, of `key: value` lines, not a list"),
    ("output:", "2:8: output", "wants a mapping, of `key: value` lines, not nothing"),
    ("modes: 3", "2:8: modes", "wants a mapping, of `key: value` lines, not 3"),
    ("modes: {a: }", "2:12: modes.a", "wants a mapping, of `key: value` lines, not nothing"),
    # numbers
    ("output: {quality: 0}", "2:19: output.quality", "wants a whole number from 1 to 100, not 0"),
    ("output: {quality: 101}", "2:19: output.quality", "not 101"),
    ("output: {quality: -1}", "2:19: output.quality", "not -1"),
    ("output: {quality: 92.5}", "2:19: output.quality", "not 92.5"),
    ('output: {quality: "92"}', "2:19: output.quality", "not the text '92'"),
    ("output: {quality: yes}", "2:19: output.quality", "not yes, which YAML reads as true"),
    ("output: {quality: true}", "2:19: output.quality", "not true"),
    ("output: {quality: 010}", "2:19: output.quality", "not 010, which programs read in different ways"),
    ("output: {quality: 0x10}", "2:19: output.quality", "not 0x10, which programs read in different ways"),
    ("output: {quality: 1_0}", "2:19: output.quality", "not 1_0, which programs read in different ways"),
    ("output: {quality: 1:30}", "2:19: output.quality", "not 1:30, which programs read in different ways"),
    ("limits: {max_file_mb: 1:30.5}", "2:23: limits.max_file_mb", "not 1:30.5, which programs read in different ways"),
    ("limits: {max_file_mb: 1e3}", "2:23: limits.max_file_mb", "not 1e3, which YAML reads as text (write plain"),
    ("limits: {max_file_mb: .inf}", "2:23: limits.max_file_mb", "not .inf, which is no number to count with"),
    ("limits: {max_file_mb: -.INF}", "2:23: limits.max_file_mb", "not -.INF, which is no number to count with"),
    ("limits: {max_file_mb: .nan}", "2:23: limits.max_file_mb", "not .nan, which is no number to count with"),
    ("limits: {max_file_mb: 1.0e+999}", "2:23: limits.max_file_mb", "not 1.0e+999"),
    ("limits: {max_file_mb: 9999999999999999999}", "2:23: limits.max_file_mb", "wants a number above 0, up to 1000000"),
    ("limits: {max_file_mb: 0}", "2:23: limits.max_file_mb", "wants a number above 0"),
    ("limits: {max_megapixels: null}", "2:26: limits.max_megapixels", "not null, which YAML reads as nothing"),
    ("limits: {max_megapixels: }", "2:26: limits.max_megapixels", "not nothing"),
    ("limits: {max_megapixels: 2024-01-31}", "2:26: limits.max_megapixels", "which YAML reads as a date"),
    ("limits: {max_megapixels: [5]}", "2:26: limits.max_megapixels", "not a list"),
    ("service: {settle_seconds: 0}", "2:27: service.settle_seconds", "wants a number above 0, up to 3600, not 0"),
    ("service: {rescan_minutes: 1441}", "2:27: service.rescan_minutes", "up to 1440"),
    ("service: {idle_minutes: -5}", "2:25: service.idle_minutes", "wants a number above 0, up to 1440, not -5"),
    ("service: {workers: 0}", "2:20: service.workers", "wants auto or a whole number from 1 to 256, not 0"),
    ("service: {workers: all}", "2:20: service.workers", "not the text 'all'"),
    ("service: {memory_limit_mb: 16}", "2:28: service.memory_limit_mb", "wants auto or a whole number from 256 up"),
    ("modes: {a: {based_on: auto, strength: 1.1}}", "2:39: modes.a.strength", "wants a number from 0 (no change) to 1"),
    # words
    ("output: {format: NO}", "2:18: output.format", "tiff or avif, not NO, which YAML reads as false"),
    ("output: {format: gif}", "2:18: output.format", "wants keep, jpeg, png, webp, tiff or avif, not the text 'gif'"),
    ("output: {existing: overwrite}", "2:20: output.existing", "wants number or conflict"),
    (
        "output: {metadata: on}",
        "2:20: output.metadata",
        "wants keep, strip-location or strip, not on, which YAML reads as true",
    ),
    ("output: {mtime: 2024-01-31}", "2:17: output.mtime", "wants keep or now, not 2024-01-31, which YAML reads as a"),
    ("output: {unchanged: off}", "2:21: output.unchanged", "wants copy or skip, not off, which YAML reads as false"),
    ("output: {duplicates: true}", "2:22: output.duplicates", "wants copy, link or enhance, not true"),
    ("output: {permissions: 0640}", "2:23: output.permissions", 'wants umask, keep or digits in quotes such as "0640"'),
    ('output: {permissions: "0240"}', "2:23: output.permissions", "not the text '0240'"),
    ('output: {permissions: "4755"}', "2:23: output.permissions", "not the text '4755'"),
    ("output: {owner: me}", "2:17: output.owner", "wants service or keep"),
    (
        "output: {reasons: no}",
        "2:19: output.reasons",
        "wants failed, beside or none, not no, which YAML reads as false",
    ),
    ("service: {device: gpu}", "2:19: service.device", "wants auto, cpu, cuda (cuda:1 is the second card), tensorrt"),
    ("service: {device: openvino:1}", "2:19: service.device", "tensorrt or openvino, not the text 'openvino:1'"),
    ("service: {order: latest}", "2:18: service.order", "wants oldest, newest or smallest"),
    ("service: {cores: 0}", "2:18: service.cores", "wants auto or a whole number from 1 to 1024"),
    ("service: {nice: 20}", "2:17: service.nice", "wants a whole number from 0 to 19"),
    ('service: {quiet_hours: "22-7"}', "2:24: service.quiet_hours", "wants none or times such as 22:00-07:00"),
    ("service: {pause_on_battery: 1}", "2:29: service.pause_on_battery", "wants true or false"),
    ("service: {pause_when_busy_percent: 0}", "2:36: service.pause_when_busy_percent", "wants none or a number above"),
    ("service: {recycle_photos: 0}", "2:27: service.recycle_photos", "wants a whole number from 1 up"),
    ("service: {recycle_mb: 1}", "2:23: service.recycle_mb", "wants a whole number from 256 up"),
    ("service: {redo: true}", "2:17: service.redo", "wants ask or on-change, not true"),
    # the name of a copy
    ("output: {name: 5}", "2:16: output.name", "wants text, not 5 (in quotes it is text)"),
    ('output: {name: ""}', "2:16: output.name", "must hold {stem}"),
    ('output: {name: "photo{ext}"}', "2:16: output.name", "must hold {stem}"),
    ('output: {name: "../{stem}"}', "2:16: output.name", "it takes no / and no .."),
    ('output: {name: "/{stem}"}', "2:16: output.name", "it takes no / and no .."),
    ('output: {name: "{stem}..{ext}"}', "2:16: output.name", "it takes no / and no .."),
    ('output: {name: "{stem}\\0"}', "2:16: output.name", "a character that file names should not have"),
    ('output: {name: "{stem}{camera}"}', "2:16: output.name", "{camera} is not a field: take {stem}, {ext} and {mode}"),
    ('output: {name: "{stem.__class__}"}', "2:16: output.name", "{stem.__class__} is not a field"),
    ('output: {name: "{stem:9}"}', "2:16: output.name", "{stem} is not a field: take {stem}, {ext} and {mode} as they"),
    ('output: {name: "{stem!r}"}', "2:16: output.name", "as they are"),
    ('output: {name: "{stem}{"}', "2:16: output.name", "is not a template"),
    # modes
    ("modes: {a: {strength: 0.5}}", "2:12: modes.a.based_on", "is missing: say which mode this one starts from"),
    ("modes: {auto: {strength: 0.5}}", "2:15: modes.auto.based_on", "starts from: `based_on: auto`"),
    ("modes: {a: {based_on: genral}}", "2:23: modes.a.based_on", "no mode 'genral'; did you mean general?"),
    ("modes: {a: {based_on: 5}}", "2:23: modes.a.based_on", "wants text, not 5 (in quotes it is text)"),
    ("modes: {a: {based_on: a}}", "2:23: modes.a.based_on", "goes round in a circle: a -> a"),
    ('modes: {a: {based_on: "b\\nb"}}', "2:23: modes.a.based_on", "no mode 'b"),
    ('modes: {"a/b": {based_on: auto}}', "2:9: modes.a/b", "up to 40 letters, digits, - and _"),
    # YAML that a config does not need
    ("output: &o {quality: 5}", "2:9: yaml", "anchors (&o) are not taken"),
    ("output: {name: !!str 5}", "2:16: yaml", "tags (tag:yaml.org,2002:str) are not taken"),
    (
        "output: !!python/object/apply:os.system [id]",
        "2:9: yaml",
        "tags (tag:yaml.org,2002:python/object/apply:os.system)",
    ),
    ("--- \noutput: {}", "2:1: yaml", "a second document begins here"),
    ("output: " + "[" * 25 + "]" * 25, "2:28: yaml", "is nested more than 20 levels deep"),
    ("output: " + "[" * 5000, "2:28: yaml", "is nested more than 20 levels deep"),
    ("output: {quality: 5", "3:1: yaml", "while parsing a flow mapping, did not find expected ',' or '}'"),
    ("output: a: b", "2:10: yaml", "mapping values are not allowed in this context"),
    ("output:\n\tquality: 5", "3:1: yaml", "a tab cannot indent YAML: use spaces"),
    ("output: {name: '\x07'}", "2:17: yaml", "the character '\\x07' has no place here"),
    ("output: {name: '{stem}\ufeff'}", "2:16: output.name", "holds a character that file names should not have"),
    ("<<: {output: {}}", "2:1: <<", "is not a key"),
]


@pytest.mark.parametrize(("text", "where", "message"), REFUSED_SETTINGS, ids=[row[0][:40] for row in REFUSED_SETTINGS])
def test_a_wrong_setting_is_named_with_its_place_and_what_to_do(
    home: Path, text: str, where: str, message: str
) -> None:
    (fault,) = faults(home, ONE_FOLDER + text + "\n")
    assert fault.startswith(f"{where}: ")
    assert message in fault
    assert fault.isprintable()


REFUSED_FOLDERS = [
    ("{output: o}", "1:11: folders[0].watch", "is missing: say which folder to watch"),
    ("{watch: i}", "1:11: folders[0].output", "is missing: say where the enhanced copies go"),
    ("inbox", "1:11: folders[0]", "wants a mapping, of `key: value` lines, not the text 'inbox'"),
    ("{watch: i, output: o, wacth: x}", "1:33: folders[0].wacth", "did you mean `watch`?"),
    ("{watch: 5, output: o}", "1:19: folders[0].watch", "wants text, not 5 (in quotes it is text)"),
    ("{watch: , output: o}", "1:19: folders[0].watch", "wants text, not nothing"),
    ('{watch: "", output: o}', "1:19: folders[0].watch", "is not the name of a folder"),
    ('{watch: "a\\0b", output: o}', "1:19: folders[0].watch", "is not the name of a folder"),
    ("{watch: $NOPE/in, output: o}", "1:19: folders[0].watch", "$NOPE is not set in the environment ($$ means a plain"),
    ('{watch: "in$", output: o}', "1:19: folders[0].watch", "has a $ without a name behind it"),
    ("{watch: ~nobody-here/in, output: o}", "1:19: folders[0].watch", "~nobody-here has no home folder"),
    ("{watch: config.yaml, output: o}", "1:19: folders[0].watch", "/config.yaml is a file: name a folder"),
    ("{watch: i, output: config.yaml}", "1:30: folders[0].output", "/config.yaml is a file: name a folder"),
    ("{watch: i, output: o, mode: autp}", "1:39: folders[0].mode", "no mode 'autp'; did you mean auto?"),
    ("{watch: i, output: o, mode: zzz}", "1:39: folders[0].mode", "no mode 'zzz'; the modes are auto, general"),
    ("{watch: i, output: o, mode: no}", "1:39: folders[0].mode", "wants text, not no, which YAML reads as false (in"),
    ("{watch: i, output: o, strength: 2}", "1:43: folders[0].strength", "not 2"),
    ("{watch: i, output: o, strength: null}", "1:43: folders[0].strength", "not null, which YAML reads as nothing"),
    (
        "{watch: i, output: o, rules: {}}",
        "1:40: folders[0].rules",
        "wants a list, of lines that begin with `- `, not a m",
    ),
    ("{watch: i, output: o, rules: [x]}", "1:41: folders[0].rules[0]", "wants a mapping"),
    (
        "{watch: i, output: o, rules: [{skip: true}]}",
        "1:41: folders[0].rules[0].name",
        "say which photos the rule is for",
    ),
    ("{watch: i, output: o, rules: [{name: x}]}", "1:41: folders[0].rules[0]", "does nothing: give it `skip: true`"),
    ("{watch: i, output: o, rules: [{name: x, skip: no}]}", "1:41: folders[0].rules[0]", "does nothing"),
    (
        "{watch: i, output: o, rules: [{name: x, skip: true, mode: auto}]}",
        "1:41: folders[0].rules[0]",
        "skips the photo and gives it a mode: keep one",
    ),
    (
        "{watch: i, output: o, rules: [{name: x, skip: 1, mode: auto}]}",
        "1:57: folders[0].rules[0].skip",
        "true or false, not 1",
    ),
    ("{watch: i, output: o, rules: [{name: '', skip: true}]}", "1:48: folders[0].rules[0].name", "matches no file"),
    ("{watch: i, output: o, rules: [{name: /x, skip: true}]}", "1:48: folders[0].rules[0].name", "cannot begin with /"),
    ("{watch: i, output: o, rules: [{name: a/../x, skip: true}]}", "1:48: folders[0].rules[0].name", "or hold .."),
    (
        "{watch: i, output: o, rules: [{name: x, mode: generl}]}",
        "1:57: folders[0].rules[0].mode",
        "did you mean general?",
    ),
    ("{watch: i, output: o, rules: [{name: x, strength: -1}]}", "1:61: folders[0].rules[0].strength", "not -1"),
]


@pytest.mark.parametrize(("folder", "where", "message"), REFUSED_FOLDERS, ids=[row[0][:60] for row in REFUSED_FOLDERS])
def test_a_wrong_folder_is_named_with_its_place_and_what_to_do(
    home: Path, folder: str, where: str, message: str
) -> None:
    (fault,) = faults(home, f"folders: [{folder}]\n")
    assert fault.startswith(f"{where}: ")
    assert message in fault


REFUSED_FILES = [
    ("", "1:1: file", "is empty: begin with `folders:`"),
    ("# only a comment\n", "1:1: file", "is empty"),
    ("---\n", "1:1: file", "is empty"),
    ("{}\n", "1:1: file", "is empty"),
    ("- watch: in\n", "1:1: yaml", "wants sections such as `folders:` here, not a list"),
    ("inbox\n", "1:1: yaml", "wants sections such as `folders:` here, not the text 'inbox'"),
    ("output: {}\n", "1:1: folders", "is missing: list at least one folder with `watch:` and `output:`"),
    ("folders: []\n", "1:10: folders", "is missing: list at least one folder"),
    ("folders:\n", "1:9: folders", "wants a list, of lines that begin with `- `, not nothing"),
    ("folders: inbox\n", "1:10: folders", "wants a list, of lines that begin with `- `, not the text 'inbox'"),
]


@pytest.mark.parametrize(("text", "where", "message"), REFUSED_FILES)
def test_a_file_without_folders_says_how_to_begin(home: Path, text: str, where: str, message: str) -> None:
    (fault,) = faults(home, text)
    assert fault.startswith(f"{where}: ")
    assert message in fault


def test_an_alias_bomb_is_refused_before_anything_walks_it(home: Path) -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    bomb += "".join(f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    got = faults(home, bomb)
    assert len([fault for fault in got if "are not taken" in fault]) == len(got) == 9 + 8 * 9
    assert got[1].startswith("2:4: yaml: anchors (&b)")


def test_all_faults_come_at_once_in_the_order_of_the_file(home: Path) -> None:
    write(home, "limits: {max_file_mb: 0}\n", "conf.d/a.yaml")
    got = faults(
        home,
        """\
        folders:
          - {watch: in, output: in, mode: new-photo, strength: 2}
          - {output: out, rules: [{name: NO, skp: true}]}
        modes: {a: {based_on: b}, b: {based_on: a}}
        output: {quality: 0, format: gif, format: png}
        colour: {}
        """,
        {"DARKROOMD_SERVICE__WORKERS": "none"},
    )
    assert [fault.split(": ")[0] + " " + fault.split(": ")[1] for fault in got[:-2]] == [
        "2:25 folders[0].output",
        "2:35 folders[0].mode",
        "2:56 folders[0].strength",
        "3:5 folders[1].watch",
        "3:34 folders[1].rules[0].name",
        "3:38 folders[1].rules[0].skp",
        "4:23 modes.a.based_on",
        "4:41 modes.b.based_on",
        "5:19 output.quality",
        "5:30 output.format",
        "5:35 output.format",
        "6:1 colour",
    ]
    assert got[-2].startswith(f"{home}/conf.d/a.yaml:1:23: limits.max_file_mb: ")
    assert got[-1].startswith("environment DARKROOMD_SERVICE__WORKERS: ")


def test_a_broken_drop_in_is_reported_beside_a_broken_file(home: Path) -> None:
    write(home, "[", "conf.d/a.yaml")
    first, second = faults(home, "{")
    assert first.startswith("1:2: yaml: ")
    assert second.startswith(f"{home}/conf.d/a.yaml:1:2: yaml: ")


# Files that are not to be trusted or cannot be read


def test_a_file_that_everyone_can_change_is_refused(home: Path) -> None:
    write(home, ONE_FOLDER).chmod(0o602)
    with pytest.raises(ConfigError, match=r"config\.yaml:1:1: file: can be changed by every user .*: chmod o-w it"):
        load(home / "config.yaml", {})
    (home / "config.yaml").chmod(0o664)
    assert load(home / "config.yaml", {}).folders


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(home: Path) -> None:
    os.chown(write(home, ONE_FOLDER), 12345, 0)
    with pytest.raises(ConfigError, match="file: belongs to user 12345"):
        load(home / "config.yaml", {})


def test_a_missing_file_says_so(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.yaml:1:1: file: does not exist"):
        load(home / "no.yaml", {})


def test_a_folder_in_place_of_the_file_says_so(home: Path) -> None:
    with pytest.raises(ConfigError, match="1:1: file: is a folder"):
        load(home, {})


def test_a_fifo_is_refused_without_waiting_for_a_writer(home: Path) -> None:
    os.mkfifo(home / "config.yaml")
    with pytest.raises(ConfigError, match="1:1: file: is not a regular file"):
        load(home / "config.yaml", {})


def test_a_link_to_nothing_that_can_be_opened_says_so(home: Path) -> None:
    (home / "config.yaml").symlink_to("config.yaml")
    with pytest.raises(ConfigError, match="1:1: file: cannot be read: Too many levels"):
        load(home / "config.yaml", {})


def test_a_huge_file_is_refused_unread(home: Path) -> None:
    with pytest.raises(ConfigError, match="1:1: file: is larger than 1 MB"):
        load(write(home, ONE_FOLDER + "#" * 1_000_000), {})


def test_a_file_in_another_encoding_is_refused_at_the_odd_byte(home: Path) -> None:
    (home / "config.yaml").write_bytes(b"folders:\n  - watch: \xc3\xa4\xe4\n")
    with pytest.raises(ConfigError, match="2:13: yaml: is not UTF-8 text"):
        load(home / "config.yaml", {})


def test_a_byte_order_mark_does_no_harm(home: Path) -> None:
    assert faults(home, "\ufefffoldrs: []\n")[-1].startswith("1:1: foldrs: ")
    (home / "config.yaml").write_bytes(b"\xef\xbb\xbf" + ONE_FOLDER.encode())
    assert load(home / "config.yaml", {}).folders


# Folders that would feed each other


def overlaps(home: Path, *folders: tuple[str, str]) -> list[str]:
    text = "folders:\n" + "".join(f"  - {{watch: {watch}, output: {output}}}\n" for watch, output in folders)
    try:
        loaded(home, text)
    except ConfigError as error:
        return [fault.split(":", 3)[3].strip() for fault in error.faults]
    return []


@pytest.mark.parametrize(
    ("folders", "fault"),
    [
        ([("in", "in")], "folders[0].output: is the same as the watched folder"),
        ([("in", "in/out")], "folders[0].output: lies inside the watched folder"),
        ([("out/in", "out")], "folders[0].output: holds the watched folder"),
        ([("out/.in", "out")], "folders[0].output: holds the watched folder"),
        ([("in", "deep/../in/out")], "folders[0].output: lies inside the watched folder"),
        ([("a", "out"), ("b", "a/sub")], "folders[1].output: lies inside the watched folder"),
        ([("a", "b/sub"), ("b", "out")], "folders[0].output: lies inside the watched folder"),
        ([("a", "out"), ("a", "out2")], "folders[1].watch: is the same as the watched folder"),
        ([("a", "out"), ("a/b", "out")], "folders[1].watch: lies inside the watched folder"),
        ([("a/b", "out"), ("a", "out")], "folders[1].watch: holds the watched folder"),
        ([("link", "real/out")], "folders[0].output: lies inside the watched folder"),
        ([("real", "link")], "folders[0].output: is the same as the watched folder"),
        ([("real", "link/sub/not-yet")], "folders[0].output: lies inside the watched folder"),
    ],
)
def test_a_folder_that_would_feed_another_is_refused_through_links_too(
    home: Path, folders: list[tuple[str, str]], fault: str
) -> None:
    (home / "real/sub").mkdir(parents=True)
    (home / "link").symlink_to("real")
    (got,) = overlaps(home, *folders)
    assert got.startswith(fault)


@pytest.mark.parametrize(
    "folders",
    [
        [("in", "out"), ("other", "out")],
        [("in", "out"), ("other", "out/sub")],
        [("in", "in/.enhanced")],
        [("in", "in/.hidden/deep")],
        [("a", "a-out")],
        [("a", "out"), ("a/.b", "out")],
    ],
)
def test_folders_that_cannot_feed_each_other_are_fine(home: Path, folders: list[tuple[str, str]]) -> None:
    assert overlaps(home, *folders) == []


def test_a_link_to_a_folder_that_is_yet_to_come_is_followed(home: Path) -> None:
    (home / "link").symlink_to("later/out")
    (fault,) = overlaps(home, ("later", "link"))
    assert fault.startswith("folders[0].output: lies inside the watched folder")


def test_a_hidden_folder_in_the_path_of_the_watched_one_hides_nothing(home: Path) -> None:
    assert overlaps(home, (".photos/in", ".photos/in/out")) != []


def test_a_bind_mount_of_the_watched_folder_is_seen_through(home: Path) -> None:
    for name in ("in", "elsewhere"):
        (home / name).mkdir()
    path = write(home, "folders: [{watch: in, output: elsewhere/out}]\n")
    mount = ["unshare", "--mount", "sh", "-c", 'mount --bind "$1/in" "$1/elsewhere" || exit 77; shift; exec "$@"', "sh"]
    check = "import sys; from pathlib import Path; from darkroomd.config import load; load(Path(sys.argv[1]))"
    try:
        done = subprocess.run(
            [*mount, str(home), sys.executable, "-c", check, str(path)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if "unshare" in done.stderr or done.returncode == 77:
        pytest.skip("no right to mount here")
    assert "ConfigError" in done.stderr
    assert "folders[0].output: lies inside the watched folder" in done.stderr


# What ships


def test_the_example_holds_every_key_with_its_default(home: Path) -> None:
    got = load(SHIPPED / "example.yaml", {"HOME": str(home)})
    assert got == replace(
        defaults({}),
        file=SHIPPED / "example.yaml",
        folders=(config.Folder(home / "Pictures/Inbox", home / "Pictures/Enhanced", AUTO),),
    )
    text = (SHIPPED / "example.yaml").read_text()
    keys = {field for noun in (Output, Service, Limits, config.Folder) for field in noun.__dataclass_fields__}
    assert {key for key in keys if f"{key}: " not in text} == set()


def test_the_schema_that_ships_is_that_of_this_version() -> None:
    assert json.loads((SHIPPED / "schema.json").read_text()) == shape.schema(), (
        "darkroomd config schema > config/schema.json"
    )
    first = (SHIPPED / "example.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=schema.json"


def test_the_minimal_config_loads_and_is_short(home: Path) -> None:
    assert load(SHIPPED / "minimal.yaml", {"HOME": str(home)}).folders
    assert len((SHIPPED / "minimal.yaml").read_text().splitlines()) <= 12


def test_every_block_in_the_docs_loads(home: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    for block in blocks:
        assert loaded(home, block if "folders:" in block else ONE_FOLDER + block).folders
    assert len(blocks) >= 7


AUTO_OR_NONE = {"workers": 0, "memory_limit_mb": 0, "cores": 0, "pause_when_busy_percent": 0}


def test_the_docs_name_every_key_with_its_default() -> None:
    rows = {line.split("`")[1]: line.split(" | ")[2] for line in DOCS.read_text().splitlines() if line[:3] == "| `"}
    for noun in (Output(), Service(), Limits()):
        for field in fields(noun):
            written = yaml.safe_load(rows[field.name].strip("`"))
            assert getattr(noun, field.name) in (written, AUTO_OR_NONE.get(field.name))
    assert {field.name for field in fields(config.Folder)} | {"skip", "based_on", *shape.OPTIONS} <= rows.keys()


def test_the_built_in_modes_are_there() -> None:
    modes = builtin_modes()
    assert modes["auto"].choose
    assert modes["general"] == Mode("general", (Treatment("general"),))
    table = DOCS.with_name("modes.md").read_text().split("--- |\n")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) >= modes.keys()


def test_broken_built_in_modes_name_their_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home, "[", "modes.yaml")
    monkeypatch.setattr("darkroomd.places.shipped_folder", lambda: home)
    with pytest.raises(ConfigError, match=r"/modes\.yaml:1:2: yaml: "):
        builtin_modes()


def test_reading_a_config_loads_no_image_library() -> None:
    code = "import sys, darkroomd.config; print([m for m in ('numpy', 'onnxruntime', 'pyvips') if m in sys.modules])"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.check_output([sys.executable, "-c", code], env=environ, text=True) == "[]\n"


def test_a_pyyaml_that_was_built_without_libyaml_reads_the_same(home: Path) -> None:
    path = write(home, "folders: [{watch: in, output: out}]\noutput: {quality: 200}\nservice: [1, 2\n")
    code = (
        "import sys, yaml\nfrom pathlib import Path\n{}\nfrom darkroomd import config, models\n"
        "print(len(config.builtin_modes()), len(models.cards()))\n"
        "try: config.load(Path(sys.argv[1]))\nexcept config.ConfigError as error: print(error)\n"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = [
        subprocess.check_output([sys.executable, "-c", code.format(less), str(path)], env=environ, text=True)
        for less in ("", "del yaml.CSafeLoader")
    ]
    assert ":4:1: yaml: " in told[0]
    assert told[0].splitlines()[0] == told[1].splitlines()[0]
    assert told[0].partition(": yaml: ")[0] == told[1].partition(": yaml: ")[0]


# Anything at all

# More by hand now and then: FUZZ=20000 pytest tests/test_config.py -k any_
FUZZ = int(os.environ.get("FUZZ", "150"))
WORDS = ["folders", "modes", "output", "service", "limits", "watch", "mode", "rules", "name", "skip", "strength"]
SIGNS = [
    *":-,[]{}&*!|>'\"%@`?#~$\\\t\n\x00\x85\u2028\ufeff\ud7ffé",
    "\n  ",
    "\n  - ",
    ": ",
    "- ",
    ", ",
    "<<",
    "..",
    "/",
]
ODD = ["0", "1", "010", ".inf", "NO", "null", "{stem}", "auto", "general", "in", "out", "based_on", "\\ud800"]
PIECES = st.sampled_from([*WORDS, *SIGNS, *ODD])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=FUZZ, deadline=None)
@given(text=st.one_of(st.lists(PIECES, max_size=40).map("".join), st.text(st.characters(codec="utf-8"), max_size=60)))
def test_any_text_loads_or_is_refused_with_places(home: Path, text: str) -> None:
    refused_or_loaded(home, text)


VALUES = st.recursive(
    st.sampled_from(["auto", "in", "out", "a", "NO", "010", "0.5", "5", "", "~", "'{stem}'", "$X", "'\\'", ".nan"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(WORDS), inner, max_size=4).map(
            lambda fields: "{" + ", ".join(f"{name}: {value}" for name, value in fields.items()) + "}"
        ),
    ),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=FUZZ, deadline=None)
@given(
    sections=st.dictionaries(st.sampled_from(WORDS[:5]), VALUES, min_size=1),
    environ=st.dictionaries(st.sampled_from(["DARKROOMD_OUTPUT__QUALITY", "DARKROOMD_X__Y"]), VALUES),
)
def test_any_tree_loads_or_is_refused_with_places(
    home: Path, sections: dict[str, str], environ: dict[str, str]
) -> None:
    refused_or_loaded(home, "".join(f"{name}: {value}\n" for name, value in sections.items()), environ)


def refused_or_loaded(home: Path, text: str, environ: Mapping[str, str] | None = None) -> None:
    path = home / "config.yaml"
    path.write_bytes(text.encode())
    try:
        assert load(path, environ or {}).folders
    except ConfigError as error:
        refused = error
    else:
        return
    assert refused.faults
    for fault in refused.faults:
        assert fault.isprintable()
        assert fault.startswith((f"{path}:", "environment "))
