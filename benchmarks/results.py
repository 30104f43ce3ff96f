"""RESULTS.md: each script rewrites its own section and leaves the others alone."""

import os
import platform
import resource
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import onnxruntime

RESULTS = Path(__file__).parent / "RESULTS.md"
HEAD = "# Results\n\nWritten by the scripts in this folder on the committed networks; nothing here is typed by hand.\n"


def rewrite(section: str, text: str) -> None:
    """Put `text` under the heading `section`, in place of what stood there."""
    old = RESULTS.read_text() if RESULTS.exists() else HEAD
    parts = old.split("\n## ")
    sections = {part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in parts[1:]}
    sections[section] = f"\n{text.strip()}\n"
    RESULTS.write_text(
        parts[0].rstrip() + "\n" + "".join(f"\n## {name}\n{sections[name]}" for name in sorted(sections))
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are figures."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


def machine() -> str:
    """Where and when: processor, cores, versions of what does the arithmetic."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "?",
    )
    return (
        f"{date.today()}, {model}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}, ONNX Runtime {onnxruntime.__version__}, numpy {np.__version__}"
    )


class Others:
    """What other programs took of the processors since this was made; those of ours that have ended do not count."""

    BUSY_PERCENT = 3.0

    def __init__(self) -> None:
        self._began = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """(core-seconds of all, of us, that there were)"""
        ticks = [int(number) for number in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        user, nice, system, idle, waiting, irq, soft, stolen = (one / os.sysconf("SC_CLK_TCK") for one in ticks)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy = user + nice + system + irq + soft + stolen
        return busy, time.process_time() + ended.ru_utime + ended.ru_stime, busy + idle + waiting

    def percent(self) -> float:
        """Of all cores."""
        busy, ours, every = (now - before for now, before in zip(self._now(), self._began, strict=True))
        return 100 * max(0.0, busy - ours) / max(every, 1e-9)

    def told(self) -> str:
        """Whether the figures are those of an idle machine."""
        percent = self.percent()
        if percent < self.BUSY_PERCENT:
            return f"The machine was otherwise idle (others took {percent:.1f} % of it)."
        return (
            f"**Other work was on the machine** and took {percent:.0f} % of it: seconds are those of a crowd, and "
            "ratios are what to read."
        )
