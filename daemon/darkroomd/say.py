"""What a person reads: a verdict in a line, findings and plans in sentences."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from darkroomd.job import Step, Verdict
from darkroomd.log import printable


def verdict_line(verdict: Verdict) -> str:
    """One finished photo: what was found, what was done, how long it took."""
    name = printable(verdict.source.name)
    seconds = sum(verdict.seconds.values())
    if verdict.status == "done":
        where = "" if verdict.output is None else f" -> {printable(str(near(verdict.output)))}"
        did = steps_words(verdict.steps) if verdict.steps or not verdict.reason else ""
        words = (found_words(verdict), did, printable(verdict.reason or ""), f"{seconds:.1f} s")
        return f"{name}{where}  {'; '.join(word for word in words if word)}"
    reason = f": {printable(verdict.reason)}" if verdict.reason else ""
    return f"{name}  {verdict.status}{reason}"


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """What --verbose adds to the line, of what there is: measured, done, checked, and the time of each stage."""
    rows = (
        ("found", (f"{name.replace('_', ' ')} {value}" for name, value in verdict.found.items() if value is not None)),
        ("did", (f"{s.model} at {s.strength:g} over {s.region}: {s.reason}" for s in verdict.steps)),
        ("limit", verdict.limits),
        ("checked", (f"{g.name} {g.value:.2g} of {g.limit:g}{'' if g.passed else ' (no)'}" for g in verdict.guards)),
        ("took", (f"{stage} {seconds:.2f} s" for stage, seconds in verdict.seconds.items())),
        ("memory", (f"{verdict.peak_rss_mb} MB at most",) if verdict.peak_rss_mb else ()),
    )
    for name, words in rows:
        if line := ", ".join(words):
            yield f"  {name:<9} {printable(line)}"


def found_words(verdict: Verdict) -> str:
    """`12.2 megapixels, noise 14.2, blur 0.8 px, JPEG 55`: only what was measured."""
    found = verdict.found
    words = [f"{found['megapixels']:g} megapixels"] if found.get("megapixels") is not None else []
    if found.get("noise_sigma") is not None:
        words.append(f"noise {found['noise_sigma']:g}")
    if found.get("blur_sigma"):
        words.append(f"blur {found['blur_sigma']:g} px")
    if found.get("jpeg_quality") is not None:
        words.append(f"JPEG {found['jpeg_quality']}")
    return ", ".join(words)


def steps_words(steps: tuple[Step, ...]) -> str:
    """`general at 0.7 against noise (sigma 14.2)` for each step."""
    return ", ".join(f"{step.model} at {step.strength:g} for {step.reason}" for step in steps) or "left as it is"


def near(path: Path) -> Path:
    """The path as seen from the working folder, where that is shorter."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def explanation_lines(facts: dict[str, Any]) -> Iterator[str]:
    """`explain` for people: one screen for a photo. `facts` is Explanation.as_json()."""
    yield printable(facts["source"])
    yield f"  rule      {printable(facts['rule'])}, mode {facts['mode']}"
    if facts["refused"]:
        yield f"  refused   {printable(facts['refused'])}"
        return
    yield f"  picture   {facts['width']}×{facts['height']}"
    yield "  found     " + ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in facts["found"].items() if value is not None
    )
    for step in facts["steps"]:
        yield f"  would do  {step['model']} at strength {step['strength']:g}: {step['reason']}"
    if not facts["steps"]:
        yield "  would do  nothing: the photo is good as it is"
    for limit in facts["limits"]:
        yield f"  limit     {limit}"
    if facts["suggestion"]:
        yield f"  advice    mode {facts['suggestion']} is made for such pictures ({facts['found']['content']})"
    if facts["target"]:
        yield f"  result    {printable(facts['target'])}"
    yield f"  forecast  {facts['seconds']:.1f} s, {facts['memory_mb']} MB"


def status_lines(facts: dict[str, Any]) -> Iterator[str]:
    """`status` for people. `facts` is what status_of gives."""
    counts = facts["counts"]
    yield ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "nothing seen yet"
    if facts["photos_per_hour"]:
        yield f"{facts['photos_per_hour']} photo{'s' * (facts['photos_per_hour'] != 1)} in the last hour" + (
            f"; the queue needs about {facts['eta_minutes']:g} minutes" if facts["eta_minutes"] is not None else ""
        )
    for folder in facts["folders"]:
        yield f"  {printable(folder['watch'])} -> {printable(folder['output'])}" + (
            "" if folder["there"] else ": not there"
        )
    for name in ("running", "problems"):
        for entry in facts[name]:
            reason = f": {printable(entry['reason'])}" if entry["reason"] else ""
            yield f"  {entry['state']:<12}{printable(entry['source'])}{reason}"
    for entry in facts["limits"]:
        yield f"  {'limits':<12}{printable(entry['source'])}: {printable('; '.join(entry['limits']))}"
    for note in facts["notes"]:
        yield f"note: {printable(note)}"


def setting_lines(settings: Iterable[tuple[int, str, str | None]], origin: bool) -> Iterator[str]:
    """Settings as lines of a config, from (depth, text, where the value was written)."""
    lines = [("  " * depth + text, where) for depth, text, where in settings]
    width = max((len(text) for text, where in lines if where), default=0)
    for text, where in lines:
        yield f"{text:<{width}}  # {printable(where)}" if origin and where else text
