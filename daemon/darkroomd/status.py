"""What waits, runs, went well or did not: the ledger's answer as plain values, for people and for scripts."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from darkroomd.config import Folder
from darkroomd.record import PROBLEMS, WAITING, Ledger

PROBLEMS_SHOWN = 50
LIMITS_SHOWN, LOOKED_THROUGH = 10, 200
RATE_SECONDS = 3600.0


def status_of(ledger: Ledger, folders: Sequence[Folder], now: float) -> dict[str, Any]:
    """Counts by state, what runs, what has a problem and why, what could not be brought back in the last photos, photos
    in the last hour, minutes that the queue needs, and whether the watched folders are there."""
    counts = ledger.counts()
    per_hour = ledger.finished_since(now - RATE_SECONDS)
    queued = sum(counts.get(state, 0) for state in (*WAITING, "running", "staged"))
    return {
        "counts": counts,
        "queued": queued,
        "photos_per_hour": per_hour,
        "eta_minutes": round(60 * queued / per_hour, 1) if per_hour and queued else None,
        "folders": [
            {"watch": str(one.watch), "output": str(one.output), "there": one.watch.is_dir()} for one in folders
        ],
        "running": [asdict(entry) for entry in ledger.rows(("running", "staged"), PROBLEMS_SHOWN)],
        "problems": [asdict(entry) for entry in ledger.rows((*PROBLEMS, "retry", "waiting"), PROBLEMS_SHOWN)],
        "limits": [
            {"source": source, "limits": limits} for source, limits in ledger.limited(LOOKED_THROUGH, LIMITS_SHOWN)
        ],
        "notes": [text for _at, text in (*ledger.live(), *ledger.notes())],
    }
