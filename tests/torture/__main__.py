"""`make torture`: every campaign, thousands of trials, into benchmarks/RESULTS.md. With --short: a minute of each.

Exit code 0: nothing went wrong that must not, and what is left out on purpose was missed. 1: it did. 77: not possible
here, with the reason.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import Any

# a process that forks has no threads: ONNX Runtime has one to report to its maker, until it is told not to
os.environ |= {"OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}

import click
import numpy.ma
import onnxruntime
import pyvips

import darkroomd.pipeline
from tests.torture.campaign import Campaign, Tally
from tests.torture.disk import NotHere, leave, room_of_ones_own
from tests.torture.harm import can_trace
from tests.torture.house import PIPELINES, STORIES
from tests.torture.processes import Processes

LOADED = (numpy.ma, onnxruntime, pyvips, darkroomd.pipeline)  # once, here, and not in each of the thousands of children
SKIPPED = 77
LANE = "DARKROOMD_TORTURE_LANE"  # set in a lane: it tells everything, and writes no report
PIECE = 144  # trials of a run that can be taken up again: twice each story with each pipeline and each layout of disks

KINDS = ("ext4", "xfs")
LAYOUTS = ("one disk", "two disks, both are cut", "two disks, the results' is cut")
Tried = Sequence[tuple[str, str]]
TRIED = list(product(STORIES, PIPELINES))
SOME = [("first time", "true"), ("made again", "random")]


@dataclass(frozen=True)
class Part:
    """One line of the report. missed: a sync was left out, so something must go wrong."""

    name: str
    tally: Tally
    missed: bool = False

    @property
    def good(self) -> bool:
        return self.tally.trials > 0 and bool(self.tally.wrong) == self.missed


def kills(campaign: Campaign, trials: int, tried: Tried) -> Iterator[Part]:
    """A third of them in system calls, where SQLite's own are."""
    each = -(-trials // len(tried))
    in_calls = each // 3 if can_trace() else 0
    before, inside = Tally(), Tally()
    for story, pipeline in tried:
        before += campaign.kills_before_calls(story, pipeline, each - in_calls)
        if in_calls:
            inside += campaign.kills_in_system_calls(story, pipeline, in_calls)
    yield Part("killed before a call of its own", before)
    if in_calls:
        yield Part("killed inside a system call", inside)


def cuts(campaign: Campaign, trials: int, tried: Tried) -> Iterator[Part]:
    rounds = list(product(KINDS, LAYOUTS))
    each = -(-trials // len(rounds) // len(tried))
    for kind, layout in rounds:
        tally = Tally()
        for story, pipeline in tried:
            tally += campaign.cuts(kind, layout, story, pipeline, each)
        yield Part(f"power cut, {kind}, {layout}", tally)
    for kind in KINDS:
        for without, layout in (("files", LAYOUTS[0]), ("folders", LAYOUTS[2])):
            tally = campaign.cuts(kind, layout, "first time", "true", max(5, trials // 20), without)
            yield Part(f"power cut, {kind}, {layout}, {without} not synced", tally, missed=True)


def errors(campaign: Campaign, trials: int, tried: Tried) -> Iterator[Part]:
    if not can_trace():
        raise NotHere("making system calls fail needs strace")
    disks = max(2, trials // 40)
    each = -(-(trials - 2 * disks) // len(tried))
    tally = Tally()
    for story, pipeline in tried:
        tally += campaign.errors(story, pipeline, each)
    yield Part("a system call fails, once or from then on", tally)
    yield Part("a full disk for results and ledger (tmpfs of 2 MB)", campaign.full_disks(disks))
    yield Part("a disk that becomes read-only", campaign.read_only_disks(disks))


def daemon(campaign: Campaign, trials: int, tried: Tried) -> Iterator[Part]:
    for victim in ("service", "worker"):
        tally = Processes(campaign, victim).kills(trials // 2)
        yield Part(f"the {victim} of the whole program killed at random", tally)


# what is done, how often, and how often in the short run
CAMPAIGNS = {
    "kills": (kills, 2100, 12),
    "daemon": (daemon, 100, 2),
    "cuts": (cuts, 1020, 12),
    "errors": (errors, 2200, 12),
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(CAMPAIGNS)))
@click.option("--short", is_flag=True, help="A few trials of each, and nothing is written.")
@click.option("--seed", default=1, show_default=True)
@click.option("--trials", type=int, help="How many of each, instead of thousands.")
@click.option("--lanes", default=1, show_default=True, help="So many at the same time, each with a part of the trials.")
@click.option(
    "--notes", type=click.Path(path_type=Path), help="In pieces, noted here: the same again goes on from there."
)
def main(names: tuple[str, ...], short: bool, seed: int, trials: int | None, lanes: int, notes: Path | None) -> None:
    if lanes > 1 or notes is not None:
        done = [side_by_side(name, seed, trials or CAMPAIGNS[name][1], lanes, notes) for name in names or CAMPAIGNS]
        sys.exit(0 if all(done) else 1)
    good = True
    try:
        room = room_of_ones_own()
    except NotHere as reason:
        click.echo(f"skipped: {reason}")
        sys.exit(SKIPPED)
    try:
        campaign = Campaign(room, seed)
        if len(os.listdir("/proc/self/task")) != 1:  # noqa: PTH208
            raise RuntimeError("a process that forks must have no threads")
        for name in names or CAMPAIGNS:
            act, long_trials, short_trials = CAMPAIGNS[name]
            began = time.monotonic()
            parts = []
            for part in act(campaign, *((short_trials, SOME) if short else (trials or long_trials, TRIED))):
                parts.append(part)
                good &= part.good
                tell(part)
            if not (short or os.environ.get(LANE)):
                report(name, parts, time.monotonic() - began, seed)
    except NotHere as reason:
        click.echo(f"skipped: {reason}")
        sys.exit(SKIPPED)
    finally:
        leave(room)
    sys.exit(0 if good else 1)


def tell(part: Part) -> None:
    facts = {"part": part.name, "trials": part.tally.trials, "wrong": len(part.tally.wrong)}
    facts |= {"good": part.good, "missed": part.missed, "moments": part.tally.moments}
    click.echo(json.dumps(facts | ({"faults": part.tally.wrong} if os.environ.get(LANE) else {})))
    for fault in part.tally.wrong[: 0 if part.missed else 40]:
        click.echo(f"    {fault}", err=True)


def side_by_side(name: str, seed: int, trials: int, lanes: int, notes: Path | None) -> bool:
    """Each lane is a process with its own file systems and dice, for one piece after another; what they found is added
    up. notes: a file of pieces, in which those done earlier stand.
    """
    pieces = lanes if notes is None else max(lanes, -(-trials // PIECE))
    noted = [json.loads(line) for line in notes.read_text().splitlines()] if notes and notes.exists() else []
    done = {one["piece"]: one for one in noted if one["name"] == name and one["seed"] == seed}
    with ThreadPoolExecutor(lanes) as beside:
        left = [piece for piece in range(pieces) if piece not in done]
        for one in beside.map(lambda piece: _piece(name, seed, piece, -(-trials // pieces)), left):
            done[one["piece"]] = one
            if notes is not None:
                with notes.open("a") as file:
                    file.write(json.dumps(one) + "\n")
    sums: dict[str, Part] = {}
    for facts in chain.from_iterable(done[piece]["parts"] for piece in range(pieces)):
        tally = Tally(facts["trials"], Counter(facts["moments"]), facts["faults"])
        before = sums.get(facts["part"], Part(facts["part"], Tally()))
        sums[facts["part"]] = Part(facts["part"], before.tally + tally, facts["missed"])
    for part in sums.values():
        tell(part)
    report(name, list(sums.values()), sum(one["seconds"] for one in done.values()) / lanes, seed)
    return all(part.good for part in sums.values())


def _piece(name: str, seed: int, piece: int, trials: int) -> dict[str, Any]:
    began = time.monotonic()
    words = [sys.executable, "-m", "tests.torture", name, "--trials", str(trials), "--seed", str(1000 * seed + piece)]
    said = subprocess.run(words, env=os.environ | {LANE: "1"}, stdout=subprocess.PIPE, text=True, check=False)
    if said.returncode not in (0, 1):
        raise click.ClickException(f"{shlex.join(words)}: {said.returncode}: {said.stdout}")
    parts = [json.loads(line) for line in said.stdout.splitlines()]
    seconds = round(time.monotonic() - began)
    return {"name": name, "seed": seed, "piece": piece, "seconds": seconds, "parts": parts}


def report(name: str, parts: list[Part], seconds: float, seed: int) -> None:
    from benchmarks.results import machine, rewrite, table

    rows = [
        [
            part.name,
            str(part.tally.trials),
            str(len(part.tally.wrong)),
            "must be caught" if part.missed else "must be 0",
        ]
        for part in parts
    ]
    moments = sum((part.tally.moments for part in parts if not part.missed), start=Tally().moments)
    struck = ", ".join(f"{count} × {moment}" for moment, count in moments.most_common())
    trials = sum(part.tally.trials for part in parts if not part.missed)
    wrong = sum(len(part.tally.wrong) for part in parts if not part.missed)
    text = (
        f"{machine()}. `make torture`, seed {seed}: {trials} trials, {wrong} violations, {seconds / 60:.0f} minutes. "
        "After each: every original as it was, nothing half-made under a public name; after the next start: each photo "
        f"done exactly once, no temporary left.\n\nIt struck: {struck}.\n\n"
    )
    rewrite(f"Torture: {name}", text + table(["what", "trials", "violations", "must be"], rows))


if __name__ == "__main__":
    main()
