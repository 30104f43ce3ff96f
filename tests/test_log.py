"""What the service says can be read by a person and by a program, whatever a file is called."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from darkroomd.log import printable, set_up, wants_colour


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def said(stream: io.StringIO, environ: dict[str, str]) -> str:
    set_up("info", stream, environ)
    structlog.get_logger().debug("photo.seen")
    try:
        raise ValueError("what was that")
    except ValueError as error:
        structlog.get_logger().error("photo.failed", source=Path("a\nb\x1b[31m\udcff.jpg"), exc_info=error)
    return stream.getvalue()


def test_a_journal_gets_one_json_object_a_line() -> None:
    (line,) = said(io.StringIO(), {}).splitlines()
    told = json.loads(line)
    assert told["event"] == "photo.failed"
    assert told["level"] == "error"
    assert told["source"] == r"a\nb\x1b[31m\udcff.jpg"
    assert "what was that" in told["exception"]


def test_a_terminal_gets_colours_unless_it_says_no() -> None:
    assert "\x1b[" in said(Terminal(), {"TERM": "xterm"})
    for environ in ({"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}):
        text = said(Terminal(), environ)
        assert "\x1b" not in text
        assert r"a\nb\x1b[31m\udcff.jpg" in text
        assert "ValueError: what was that" in text
        assert "photo.seen" not in text


def test_everything_goes_to_stderr_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    set_up()
    structlog.get_logger().info("service.started")
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["event"] == "service.started"


def test_ordinary_names_stay_as_they_are() -> None:
    assert printable("Ferien am Meer, größtes Bild.jpg") == "Ferien am Meer, größtes Bild.jpg"


def test_a_log_whose_disk_is_full_or_that_nobody_reads_stops_nothing() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None:
            raise BrokenPipeError(32, "Broken pipe")

    set_up("info", Full(), {})
    structlog.get_logger().info("photo.done")


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("{out}/trip, to Rome/Anna, asleep.jpg is taken by a file of others", "… is taken by a file of others"),
        ("{out}/trip, to Rome/Anna, asleep_auto-2.jpg cannot be read: no", "… cannot be read: no"),
        ("no permission to write in {out}/trip, to Rome", "no permission to write in …"),
        ("{out} is read-only", "… is read-only"),
        ("the same photo as {inbox}/trip, to Rome/Otto, too.jpg, whose result was copied", "the same photo as …"),
        ("the same photo as {inbox}/trip is long: Otto.jpg, whose result was copied", "the same photo as …"),
    ],
)
def test_in_private_a_photo_has_no_name_not_even_in_a_sentence(reason: str, told: str) -> None:
    stream = io.StringIO()
    inbox, out = Path("/home/anna/in"), Path("/home/anna/in/.out")
    set_up("info", stream, {}, private=[inbox, out])
    structlog.get_logger().warning(
        "photo.postponed",
        source=inbox / "trip, to Rome/Anna, asleep.jpg",
        target=out / "trip, to Rome/Anna, asleep.jpg",
        output=out / "trip, to Rome/Anna, asleep.jpg",
        job=7,
        reason=reason.format(inbox=inbox, out=out),
    )
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert line.keys() == {"event", "level", "timestamp", "job", "reason"}
    assert (line["job"], line["reason"]) == (7, told)


def test_in_private_what_is_said_of_folders_can_still_be_understood() -> None:
    stream = io.StringIO()
    set_up("info", stream, {}, private=[Path("/home/anna/in")])
    structlog.get_logger().warning("watch.degraded", note="/home/anna/in/trip cannot be listed: no permission")
    assert json.loads(stream.getvalue())["note"] == "…: no permission"


def test_an_observer_hears_what_the_level_leaves_out() -> None:
    stream, heard = io.StringIO(), list[str]()
    set_up("error", stream, {}, observe=heard.append)
    log = structlog.get_logger()
    log.debug("photo.seen")
    log.info("photo.done")
    log.error("photo.failed")
    assert heard == ["photo.done", "photo.failed"]
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["photo.failed"]


@pytest.mark.parametrize(
    ("environ", "terminal", "colour"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
    ],
)
def test_colours_are_as_the_environment_wants_them(environ: dict[str, str], terminal: bool, colour: bool) -> None:
    assert wants_colour(Terminal() if terminal else io.StringIO(), environ) is colour
