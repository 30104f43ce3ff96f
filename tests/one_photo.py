"""One photo on its way through ledger and publish, with a stand-in for the picture work: to be killed anywhere.

The stand-in's results differ each time, as those of a GPU may, and end with a digest of themselves: a half-written
one is known by looking at it.
"""

import hashlib
import os
import sys
from dataclasses import replace
from pathlib import Path

from darkroomd import write
from darkroomd.errors import Changed, Conflict, Retryable
from darkroomd.hands import OWN, Hands
from darkroomd.job import Engine, Fingerprint, Job, Limits, Mode, Output, Settled, Staged, Treatment, Verdict
from darkroomd.record import Ledger

NOW = 1_000_000.0


def fingerprint_of(path: Path) -> Fingerprint:
    facts = path.lstat()
    return Fingerprint(facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def job_for(source: Path, target: Path, output_root: Path | None = None, **changes: object) -> Job:
    """A job as plan would make it, for a file that may be made up (then its fingerprint is, too)."""
    job = Job(
        root=source.parent,
        source=source,
        fingerprint=fingerprint_of(source) if source.exists() else Fingerprint(1, 2, 3, 4, 5),
        target=target,
        mode=Mode("auto", (Treatment("general"),)),
        output=Output(),
        limits=Limits(),
        engine=Engine(device="cpu"),
        recipe="r1",
        output_root=output_root,
    )
    return replace(job, **changes)  # type: ignore[arg-type]


def picture() -> bytes:
    body = os.urandom(5000)
    return body + hashlib.sha256(body).digest()


def is_complete(path: Path) -> bool:
    data = path.read_bytes()
    return hashlib.sha256(data[:-32]).digest() == data[-32:]


def save(descriptor: int) -> None:
    data = picture()
    os.write(descriptor, data[:2000])
    os.write(descriptor, data[2000:])


def staged_by_worker(job: Job, hands: Hands = OWN) -> Staged:
    with os.fdopen(hands.original(job), "rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    verdict = Verdict(job.source, "done", job.mode.name)
    if content == job.known_content:
        return Staged(job, content, verdict, repeated=True)
    digest, size = write.stage(job, save, place=hands.place)
    return Staged(job, content, verdict, job.temporary, digest, size)


def reconcile(folder: Path) -> None:
    """What the service does: heal, look into the folder, do what is to be done."""
    source = folder / "in" / "photo.jpg"
    target = folder / "out" / "2024" / "photo.jpg"
    with Ledger.open(folder / "state", owner=True, now=NOW) as ledger:
        ledger.heal(NOW, write.publish)
        settled = Settled(source.parent, source, fingerprint_of(source))
        if ledger.unknown([settled], lambda _: "r1"):
            ledger.take_in([job_for(source, target, folder / "out")], NOW)
        for claimed in ledger.claim(NOW + 7200, limit=1):
            staged = staged_by_worker(claimed.job)
            if ledger.staged(claimed.id, staged, NOW) != "staged":
                write.discard(staged.temporary)
                continue
            assert staged.digest is not None
            try:
                written = write.publish(claimed.job, staged.digest, staged.size, ledger.previous(claimed.id))
            except (Changed, Conflict) as error:
                ledger.set_aside(claimed.id, "superseded", str(error), NOW)
            except Retryable as error:
                ledger.postponed(claimed.id, str(error), NOW + 15, NOW)
            else:
                ledger.finished(claimed.id, written, NOW)


if __name__ == "__main__":
    reconcile(Path(sys.argv[1]))
