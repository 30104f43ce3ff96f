"""May a photo be begun now? By the clock, the battery and what other programs do, as the config says.

Workers run at a nice value above 0, so the kernel counts their time in a column of its own, and what other programs
use is known without asking for each of them.
"""

import ctypes
import os
import platform
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

POWER = Path("/sys/class/power_supply")
STAT = Path("/proc/stat")
CGROUPS = Path("/sys/fs/cgroup")
QUIET_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
BUSY_SECONDS = 20.0  # over which other programs are looked at: a browser that opens a page is no reason to pause

_MMAP_THRESHOLD = -3  # mallopt's name for it (malloc.h)
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IDLE_CLASS = 3 << 13


def is_quiet(quiet_hours: str, minute_of_day: int) -> bool:
    """Whether the time lies in `22:00-07:00`; its end is no more quiet. `none` never is."""
    found = QUIET_HOURS.fullmatch(quiet_hours)
    if found is None:
        return False
    begin, end = (int(found[n]) * 60 + int(found[n + 1]) for n in (1, 3))
    return begin <= minute_of_day < end if begin <= end else minute_of_day >= begin or minute_of_day < end


def on_battery(power: Path = POWER) -> bool:
    """Whether the machine lives from its battery: one discharges, and no mains is plugged in."""
    supplies = [(_word(one / "type"), one) for one in sorted(power.glob("*"))]
    if any(kind in ("Mains", "USB") and _word(one / "online") == "1" for kind, one in supplies):
        return False
    # a mouse has a battery too
    return any(
        kind == "Battery" and _word(one / "scope") != "Device" and _word(one / "status") == "Discharging"
        for kind, one in supplies
    )


class Others:
    """How much of the processors other programs use; ours, and whatever else is nice, does not count."""

    def __init__(self, stat: Path = STAT) -> None:
        self._stat = stat
        self._looks: list[tuple[float, int, int]] = []

    def percent(self, now: float) -> float:
        """Over the last BUSY_SECONDS or a little more; 0 at the first look, and where the kernel does not tell."""
        try:
            user, _nice, *rest = (int(number) for number in self._stat.read_text().split("\n", 1)[0].split()[1:])
        except (OSError, ValueError):
            return 0.0
        system, idle, waiting, irq, soft = rest[:5]
        self._looks.append((now, user + system + irq + soft, user + _nice + system + idle + waiting + irq + soft))
        while len(self._looks) > 2 and self._looks[1][0] <= now - BUSY_SECONDS:
            self._looks.pop(0)
        (_, busy_before, all_before), (_, busy, every) = self._looks[0], self._looks[-1]
        return 100 * (busy - busy_before) / (every - all_before) if every > all_before else 0.0


def reasons(
    quiet_hours: str, minute_of_day: int, battery: bool, others_percent: float, most_percent: float
) -> Sequence[str]:
    """Why no photo is begun now, in a user's words; none when all is well. most_percent: 0 for no limit."""
    found = []
    if is_quiet(quiet_hours, minute_of_day):
        found.append(f"paused: quiet hours ({quiet_hours})")
    if battery:
        found.append("paused: the machine runs on its battery")
    if most_percent and others_percent > most_percent:
        found.append(f"paused: other programs use {others_percent:.0f} % of the processor")
    return found


def step_back(nice: int) -> None:
    """This process gives way to others: nice, and its disk waits for theirs. Already nicer than that: as it is."""
    os.setpriority(os.PRIO_PROCESS, 0, max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    number = _IOPRIO_SET.get(platform.machine())
    if nice and number is not None:
        ctypes.CDLL(None, use_errno=True).syscall(number, 1, 0, _IDLE_CLASS)


def give_memory_back() -> bool:
    """What is freed goes back to the machine, as long as this process lives; False where the C library is not glibc.

    glibc raises, up to 32 MiB, the size from which on a block is mapped and unmapped on its own, and what is freed
    below it lies about in the heap: over 5,000 photos the service grew by 2 MB that nobody used. Between such blocks
    the rows that libvips holds lay scattered, 100 MB more at 400 megapixels.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 256 << 10))
    except AttributeError:
        return False


def granted_cores(groups: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """How many whole processor cores this process may use, where that is less than the machine has; else 0.

    By the cores that it may run on (taskset, AllowedCPUs=, --cpuset-cpus) and what its control groups grant it
    (CPUQuota=, --cpus), 1 for less. ONNX Runtime sees neither: with its thread for each core of the machine, a tile
    took 1.7 times as much of the processor on one of two cores as with one thread.
    """
    may_run_on = len(os.sched_getaffinity(0))
    granted = min(float(may_run_on), _granted(groups, own))
    return 0 if granted >= (os.cpu_count() or may_run_on) else max(1, int(granted))


def _granted(groups: Path, own: Path) -> float:
    """Cores of time, by the control group and those around it; without end where none sets a limit."""
    try:
        (path,) = (line[3:] for line in own.read_text().splitlines() if line.startswith("0::"))
    except (OSError, ValueError):  # not Linux's second version of control groups, which is all that is read here
        return float("inf")
    group, granted = groups / path.strip("/"), float("inf")
    for folder in (group, *(parent for parent in group.parents if parent.is_relative_to(groups))):
        with suppress(OSError, ValueError):
            quota, period = (folder / "cpu.max").read_text().split()
            granted = min(granted, float("inf") if quota == "max" else int(quota) / int(period))
    return granted


def _word(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
