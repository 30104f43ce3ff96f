"""It gives way: to the night, to the battery, to whoever else wants the processor."""

import os
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest

from darkroomd.polite import Others, granted_cores, is_quiet, on_battery, reasons, step_back


@pytest.mark.parametrize(
    ("hours", "time", "quiet"),
    [
        ("22:00-07:00", "21:59", False),
        ("22:00-07:00", "22:00", True),
        ("22:00-07:00", "03:30", True),
        ("22:00-07:00", "07:00", False),
        ("09:00-17:30", "08:59", False),
        ("09:00-17:30", "17:29", True),
        ("09:00-17:30", "17:30", False),
        ("none", "03:30", False),
    ],
)
def test_quiet_hours_begin_and_end_to_the_minute_also_over_midnight(hours: str, time: str, quiet: bool) -> None:
    hour, minute = map(int, time.split(":"))
    assert is_quiet(hours, hour * 60 + minute) is quiet


def supply(power: Path, name: str, **facts: str) -> None:
    (power / name).mkdir(parents=True)
    for fact, value in facts.items():
        (power / name / fact).write_text(value + "\n")


def test_a_laptop_without_its_mains_is_on_battery_and_a_mouse_is_no_laptop(tmp_path: Path) -> None:
    assert not on_battery(tmp_path / "none")
    supply(tmp_path / "mouse", "hid", type="Battery", scope="Device", status="Discharging")
    assert not on_battery(tmp_path / "mouse")
    supply(tmp_path / "laptop", "BAT0", type="Battery", status="Discharging")
    supply(tmp_path / "laptop", "AC", type="Mains", online="0")
    assert on_battery(tmp_path / "laptop")
    (tmp_path / "laptop/AC/online").write_text("1\n")
    assert not on_battery(tmp_path / "laptop")


def test_what_others_use_is_counted_and_our_own_nice_work_is_not(tmp_path: Path) -> None:
    stat = tmp_path / "stat"

    def used(user: int, nice: int, idle: int) -> None:
        stat.write_text(f"cpu  {user} {nice} 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3\n")

    others = Others(stat)
    used(0, 0, 0)
    assert others.percent(0) == 0
    used(0, 1000, 0)
    assert others.percent(10) == 0
    used(750, 1000, 250)
    assert others.percent(20) == pytest.approx(37.5)
    used(750, 2000, 250)
    assert others.percent(50) == pytest.approx(0), "what was before the last seconds is forgotten"
    stat.unlink()
    assert others.percent(60) == 0


def test_every_reason_to_pause_is_given() -> None:
    assert reasons("none", 0, False, 99, 0) == []
    assert reasons("none", 0, False, 40, 50) == []
    assert reasons("00:00-01:00", 5, True, 60.4, 50) == [
        "paused: quiet hours (00:00-01:00)",
        "paused: the machine runs on its battery",
        "paused: other programs use 60 % of the processor",
    ]


def _stepped_back(nice: int) -> tuple[int, str]:
    step_back(nice)
    # ioprio_get has no file in /proc; a second step to a lower value shows that nothing is taken back
    step_back(1)
    return os.getpriority(os.PRIO_PROCESS, 0), Path("/proc/self/stat").read_text().split()[18]


def test_a_worker_is_as_nice_as_asked_and_never_less_than_it_was() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(_stepped_back, (12,)) == (max(12, before), str(max(12, before)))


@pytest.mark.parametrize(
    ("limits", "granted"),
    [
        ({}, 0),
        ({"": "max 100000", "box/inner": "max 100000"}, 0),
        ({"box/inner": "150000 100000"}, 1),
        ({"box/inner": "20000 100000"}, 1),  # a fifth of a core is one thread
        ({"box": "200000 100000", "box/inner": "max 100000"}, 2),
        ({"box": "600000 200000", "box/inner": "200000 100000"}, 2),
        ({"box/inner": "400000 100000"}, 0),  # as much as there is
        ({"box/inner": "no number"}, 0),
    ],
)
def test_no_more_cores_are_used_than_the_control_groups_grant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, str], granted: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2, 3})
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    (tmp_path / "groups/box/inner").mkdir(parents=True)
    for group, text in limits.items():
        (tmp_path / "groups" / group / "cpu.max").write_text(text + "\n")
    (tmp_path / "own").write_text("0::/box/inner\n")
    assert granted_cores(tmp_path / "groups", tmp_path / "own") == granted
    assert granted_cores(tmp_path / "groups", tmp_path / "not there") == 0


def test_no_more_cores_are_used_than_the_process_may_run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {2, 3})
    assert granted_cores(tmp_path, tmp_path / "not there") == 2
    (tmp_path / "own").write_text("0::/\n")
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert granted_cores(tmp_path, tmp_path / "own") == 1


HOARDER = """
import sys
from pathlib import Path
from darkroomd.polite import give_memory_back

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

if sys.argv[1] == "gives back":
    assert give_memory_back()
before = resident_mb()
bytearray(30 << 20)  # freed at once, and the C library keeps blocks of up to its size from now on
many = [bytearray(1 << 20) for _ in range(60)]
last = bytearray(100_000)  # lies behind them, so that the heap cannot shrink
del many
print(resident_mb() - before)
"""


def test_memory_of_large_things_goes_back_to_the_machine_when_they_are_freed() -> None:
    """Most of 60 MB stay with a program that does not ask for it."""
    kept = {
        how: float(subprocess.run([sys.executable, "-c", HOARDER, how], capture_output=True, check=True).stdout)
        for how in ("keeps", "gives back")
    }
    assert kept["gives back"] < 5
    assert kept["keeps"] > 50
