"""A pipeline that does what the photo's bytes tell it to do, for tests of what happens around it."""

import json
import os
import signal
import time
from hashlib import sha256

from darkroomd import write
from darkroomd.errors import Incomplete, OutOfMemory, Rejected, Retryable, Unavailable
from darkroomd.job import Job, Staged, Verdict


def run(job: Job) -> Staged:
    """The copy is the original with "better " before it. ValueError stands for a bug."""
    data = job.source.read_bytes()
    content = sha256(data).hexdigest()
    verdict = Verdict(job.source, "done", job.mode.name, seconds={"enhance": 0.5})
    if content == job.known_content:
        return Staged(job, content, verdict, repeated=True)
    word = data.split(maxsplit=1)[0].decode() if data else "cut"
    if word == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "slow":
        job.source.with_suffix(".begun").touch()
        time.sleep(3600)
    if word == "fine":
        return Staged(job, content, Verdict(job.source, "unchanged", job.mode.name, reason="needs nothing"))
    if word in ("rewritten", "spoiled", "darkened"):  # while it is worked on
        job.source.write_bytes(b"photo, second edition")
    if word in ("black", "darkened"):
        return Staged(job, content, Verdict(job.source, "failed", job.mode.name, reason="did not pass the checks"))
    raised = {
        "spoiled": Rejected("half of the old bytes, half of the new"),
        "bad": Rejected("not a picture"),
        "cut": Incomplete("ends too early"),
        "later": Retryable("the share is busy"),
        "denied": PermissionError(13, "Permission denied"),
        "vanished": FileNotFoundError(2, "No such file or directory"),
        "memory": MemoryError(),
        "huge": OutOfMemory("no tile is small enough"),
        "network": Unavailable("general.onnx is not the file on its card"),
        "bug": ValueError("what was that"),
        "library": json.JSONDecodeError("not what was expected", "", 0),
    }.get(word)
    if word == "vanished":
        job.source.unlink()
    if raised is not None:
        raise raised
    digest, size = write.stage(job, lambda descriptor: _write(descriptor, b"better " + data))
    return Staged(job, content, verdict, job.temporary, digest, size)


def all_is_there(job: Job) -> Staged:
    """As a worker that has met no photo finds it."""
    return Staged(job, "", Verdict(job.source, "unchanged", job.mode.name))


def something_is_missing(_job: Job) -> Staged:
    raise Unavailable("general.onnx is not the file on its card")


def _write(descriptor: int, data: bytes) -> None:
    os.write(descriptor, data)


def imports_numpy(job: Job) -> Staged:
    """Raises an exception that only numpy has."""
    import numpy as np

    raise np.exceptions.AxisError("numpy's own")


def needs_what_cannot_be_loaded(_job: Job) -> Staged:
    """As when the loader finds no descriptor free."""
    raise ImportError("libjxl.so: cannot open shared object file: Too many open files")


def tells_its_share(job: Job) -> Staged:
    """Which worker it is, and how many threads it may have."""
    shares = [os.environ.get(name, "-") for name in ("RAYON_NUM_THREADS", "VIPS_CONCURRENCY")]
    return Staged(job, f"{job.engine.worker} {' '.join(shares)}", Verdict(job.source, "unchanged", job.mode.name))
