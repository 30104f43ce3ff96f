"""Figures are those of what happened, health is that of the loop, and a photo has no name in either."""

import http.client
import json
import re
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkroomd.config import Folder
from darkroomd.errors import CannotWrite
from darkroomd.job import GuardResult, Mode, Verdict
from darkroomd.metrics import HANGS_SECONDS, Meters, State, cause_of, served
from darkroomd.record import Ledger
from darkroomd.systemd import Systemd
from tests.one_photo import NOW, job_for

ROOT = Path(__file__).parent.parent
SECRET = "secret-beach.jpg"


class UnixConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self.host)


@pytest.fixture
def systemd() -> Systemd:
    return Systemd()


@pytest.fixture
def meters() -> Meters:
    return Meters()


@pytest.fixture
def where(tmp_path: Path, meters: Meters, systemd: Systemd) -> Iterator[str]:
    """A service with one photo that waits, asked at a socket."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / SECRET).write_text("photo")
    with Ledger.open(tmp_path / "state", owner=True, now=NOW) as ledger:
        ledger.take_in([job_for(tmp_path / "in" / SECRET, tmp_path / "out" / SECRET)], NOW)
        state = State(
            tmp_path / "state", lambda: [Folder(tmp_path / "in", tmp_path / "out", Mode("auto", ()))], systemd
        )
        with served(str(tmp_path / "run/metrics.sock"), meters, state, systemd):
            yield str(tmp_path / "run/metrics.sock")


def asked(where: str, path: str) -> tuple[int, str]:
    connection = UnixConnection(where)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def figure(text: str, name: str) -> float:
    (line,) = [line for line in text.splitlines() if line.startswith(name)]
    return float(line.rpartition(" ")[2])


def test_what_happened_is_counted(where: str, meters: Meters) -> None:
    guards = (GuardResult("colour", 9, 2, False), GuardResult("area", 1, 2, True))
    meters.verdict(
        Verdict(
            Path(SECRET),
            "done",
            "auto",
            width=2000,
            height=1500,
            seconds={"decode": 0.2, "enhance": 2.5},
            open_seconds=(0.5, 0.25),
        )
    )
    meters.verdict(Verdict(Path(SECRET), "refused", "auto", reason=f"not a photo: {SECRET}"))
    meters.verdict(
        Verdict(Path(SECRET), "failed", "auto", reason="the result did not pass the checks: …", guards=guards)
    )
    meters.event("photo.worker_died")
    status, text = asked(where, "/metrics")
    assert status == 200
    assert figure(text, 'darkroomd_verdicts_total{mode="auto",status="done"}') == 1
    assert figure(text, 'darkroomd_refusals_total{cause="no photo",status="refused"}') == 1
    assert figure(text, 'darkroomd_refusals_total{cause="checks",status="failed"}') == 1
    assert figure(text, 'darkroomd_guard_trips_total{guard="colour"}') == 1
    assert 'guard="area"' not in text
    assert figure(text, "darkroomd_megapixels_total") == 3
    assert figure(text, 'darkroomd_stage_seconds_sum{stage="enhance"}') == 2.5
    assert figure(text, "darkroomd_open_seconds_sum") == 0.75
    assert figure(text, "darkroomd_open_seconds_count") == 2
    assert figure(text, 'darkroomd_events_total{event="photo.worker_died"}') == 1
    assert SECRET not in text


def test_how_things_stand_is_told(where: str, tmp_path: Path) -> None:
    _status, text = asked(where, "/metrics")
    assert figure(text, f'darkroomd_photos{{folder="{tmp_path}/in",state="pending"}}') == 1
    assert figure(text, 'darkroomd_resident_bytes{process="service"}') > 1e6
    assert figure(text, "darkroomd_worker_processes") == 0
    assert figure(text, f'darkroomd_free_bytes{{folder="{tmp_path}/out"}}') > 0
    assert figure(text, "darkroomd_last_look_seconds") < 60


def test_health_is_that_of_the_loop(where: str, systemd: Systemd) -> None:
    assert asked(where, "/healthz") == (200, "ok\n")
    assert asked(where, "/readyz") == (503, "not ready\n")
    systemd.ready()
    assert asked(where, "/readyz") == (200, "ready\n")
    systemd.alive_at -= HANGS_SECONDS + 1
    status, told = asked(where, "/healthz")
    assert (status, told[:15]) == (503, "no sign of life")
    systemd.alive()
    assert asked(where, "/healthz")[0] == 200
    systemd.stopping()
    assert asked(where, "/readyz")[0] == 503


def test_other_addresses_say_which_there_are(where: str) -> None:
    assert asked(where, "/")[0] == 404
    assert asked(where, "/metrics?x=1")[0] == 200


def test_a_ledger_that_cannot_be_read_is_told_and_harms_nobody(where: str, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state/ledger.sqlite") as ledger:
        ledger.execute("PRAGMA user_version = 999")
    status, told = asked(where, "/metrics")
    assert (status, "written by a newer darkroomd" in told) == (503, True)
    assert asked(where, "/healthz")[0] == 200


def test_a_port_of_this_machine_works_too_and_is_told_when_it_is_taken(
    tmp_path: Path, meters: Meters, systemd: Systemd
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        with pytest.raises(CannotWrite, match=r"service\.metrics: .*in use"):
            served(f"127.0.0.1:{port}", meters, State(tmp_path, tuple, systemd), systemd).__enter__()
    with served(f"127.0.0.1:{port}", Meters(), State(tmp_path, tuple, systemd), systemd):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=90)
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok\n"
        connection.close()


def test_a_socket_left_by_a_killed_service_is_no_hindrance(tmp_path: Path, systemd: Systemd) -> None:
    path = tmp_path / "metrics.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with served(str(path), Meters(), State(tmp_path, tuple, systemd), systemd):
        assert asked(str(path), "/healthz")[0] == 200
        assert oct(path.stat().st_mode & 0o777) == "0o660"
    assert not path.exists()


def test_none_serves_nobody(tmp_path: Path, systemd: Systemd) -> None:
    with served("none", Meters(), State(tmp_path, tuple, systemd), systemd):
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("300 megapixels (20000×15000); limits.max_megapixels allows 250", "limits"),
        ("HEIC files are not supported; convert it", "unsupported"),
        ("the JPEG file is damaged (VipsJpeg: Bogus marker length)", "damaged"),
        ("not a photo: text", "no photo"),
        ("out of cheese", "other"),
    ],
)
def test_a_reason_is_one_of_few_causes(reason: str, cause: str) -> None:
    assert cause_of(reason) == cause


def names(text: str) -> set[str]:
    return {re.sub(r"_(sum|count|bucket)$", "", name) for name in re.findall(r"\b(darkroomd_\w+)", text)}


def test_the_dashboard_and_the_alerts_ask_for_figures_that_there_are(where: str, meters: Meters) -> None:
    meters.verdict(Verdict(Path("a"), "failed", "auto", seconds={"read": 1}, guards=(GuardResult("a", 1, 0, False),)))
    meters.event("photo.done")
    real = names(asked(where, "/metrics")[1])
    real = {name for name in real if not name.endswith("_created")}
    dashboard = json.loads((ROOT / "config/grafana-dashboard.json").read_text())
    asks = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert names(" ".join(asks)) <= real
    page = (ROOT / "docs/operations.md").read_text().split("## Figures")[1].split("\n## ")[0]
    assert names(page) == real


def test_without_a_version_that_can_be_read_there_are_figures_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("darkroomd.metrics.version", lambda _name: None)
    assert Meters().registry.get_sample_value("darkroomd_build_info", {"version": "unknown"}) == 1
