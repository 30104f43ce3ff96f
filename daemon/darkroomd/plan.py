"""What is to become of a file, from its path and the config alone: which rule, which mode, where to.

Pure: opens no file and asks no clock, so that `explain` can print a plan without doing it.
"""

import fnmatch
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from darkroomd.config import Config, Folder, Rule, Service
from darkroomd.errors import Unavailable
from darkroomd.job import FORMAT_OF, INSTEAD, READ_ONLY, SPELLINGS, Engine, Format, Job, Mode, Output, Settled, Skip

# Raised only when the same settings and networks give another picture on purpose.
RECIPE_VERSION = 1

# Photos by their names. What a file really is the decoder tells from its bytes, and it refuses some of these with a
# reason: better than silence about a photo. The name only keeps videos and texts from being opened at all.
_READ_ONLY = {ending: form for form, endings in READ_ONLY.items() for ending in endings}
SUFFIXES = frozenset({*FORMAT_OF, *_READ_ONLY, ".bmp"})

NAME_BYTES = 255  # the limit of ext4, XFS, btrfs and NTFS alike


def plan(settled: Settled, folder: Folder, config: Config, digests: Mapping[str, str], cores: int = 0) -> Job | Skip:
    """The job for a file by the first rule that matches it, or why there is none.

    digests: SHA-256 of each network by name; Unavailable when one that is needed is not among them. cores: those of
    this machine, which the workers share; 0 leaves the number of threads to the runtime.
    """
    relative = settled.path.relative_to(settled.root)
    if relative.suffix.lower() not in SUFFIXES:
        return Skip(settled.path, "not a photo")
    mode, rule = mode_for(relative, folder)
    if mode is None:
        return Skip(settled.path, f"skipped by the rule for {rule.name}" if rule else "skipped")
    service = config.service
    return Job(
        root=settled.root,
        source=settled.path,
        fingerprint=settled.fingerprint,
        target=folder.output / relative.parent / target_name(relative.name, mode, config.output),
        mode=mode,
        output=config.output,
        limits=config.limits,
        engine=Engine(
            device=service.device,
            threads=_threads(service, cores),
            memory_limit_mb=service.memory_limit_mb,
        ),
        recipe=recipe(mode, digests, config.output),
        output_root=folder.output,
    )


def _threads(service: Service, cores: int) -> int:
    """Of each worker; 0 for as many as the runtime likes, which is all cores."""
    share = min(service.cores or cores, cores) if cores else service.cores
    return max(1, share // max(1, service.workers)) if share and (service.cores or service.workers > 1) else 0


def mode_for(relative: Path, folder: Folder) -> tuple[Mode | None, Rule | None]:
    """The mode for a path below the watched folder, None to skip it; and the rule that says so, None if none did."""
    for rule in folder.rules:
        subject = relative.as_posix() if "/" in rule.name else relative.name
        if fnmatch.fnmatchcase(subject.lower(), rule.name.lower()):
            return (None if rule.skip else rule.mode or folder.mode), rule
    return folder.mode, None


def target_name(source_name: str, mode: Mode, output: Output) -> str:
    """The result's name by the template. Too long a name is cut and told apart by a hash: always to the same name."""
    stem, ext = os.path.splitext(source_name)  # noqa: PTH122 - Path(".jpg").stem and Path("a.").suffix differ
    form = _format_for(ext.lower(), output)
    if form is not None and ext.lower() not in SPELLINGS[form]:
        ext = SPELLINGS[form][0]
    name = output.name.format(stem=stem, ext=ext, mode=mode.name)
    excess = len(os.fsencode(name)) - NAME_BYTES
    if excess <= 0:
        return name
    mark = "~" + hashlib.sha256(os.fsencode(source_name)).hexdigest()[:8]
    keep = os.fsencode(stem)[: -(excess + len(mark))]
    return output.name.format(stem=keep.decode(errors="ignore") + mark, ext=ext, mode=mode.name)


def _format_for(ending: str, output: Output) -> Format | None:
    """The format of the result as far as the photo's name tells; None for the photo's own."""
    if output.format != "keep":
        return output.format
    if ending not in _READ_ONLY:
        return None
    return INSTEAD[_READ_ONLY[ending]] if output.convert_to == "auto" else output.convert_to


def recipe(mode: Mode, digests: Mapping[str, str], output: Output) -> str:
    """SHA-256 over everything that shapes the result's bytes, and nothing else: not its name, not its times.

    digests: SHA-256 of each network by name; Unavailable when one that the mode may need is not among them.
    """
    if missing := [name for name in mode.networks if name not in digests]:
        raise Unavailable(
            f"mode {mode.name} needs the network {missing[0]}, which is not installed: "
            "reinstall darkroomd to get it back, or choose another mode"
        )
    needed = {name: digests[name] for name in mode.networks}
    plain = mode.plain()
    keys = ["format", "quality", "metadata", "unchanged"]
    keys += ["convert_to"] if output.convert_to != "auto" else []  # which changes no recipe from before it was there
    parts = {
        "version": RECIPE_VERSION,
        "mode": plain,
        "network": digests[plain["network"]] if "network" in plain else needed,
        "output": {key: getattr(output, key) for key in keys},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
