"""RESULTS.md: each script rewrites its own section and leaves the others alone."""

import os
import platform
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
