"""Whose hands open a photo's files. Behind its walls a worker opens none: it asks the service, which hands over what is
open already. So the photo in work is all that a worker can read, and its own new file all that it can write.

Nothing that a worker says is unpickled: a pickle is a program, and the worker may have been taken over by a photo.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

from darkroomd.errors import raised, told
from darkroomd.job import Job, Twin
from darkroomd.original import opened
from darkroomd.write import placed, stage_link, taken

MOST_BYTES = 16 << 20  # of an answer; a verdict on a page full of text has some ten thousand


@dataclass(frozen=True, slots=True)
class Hands:
    """original: a descriptor of the photo, for reading. place: one of a new file for its result. taken: the names that
    the result may have had before, each with a descriptor for reading. twin: of the result of one of job.twins. link:
    whether that result has the temporary name of this one, too. As original.py and write.py promise.
    """

    original: Callable[[Job], int]
    place: Callable[..., int]
    taken: Callable[[Job], Iterator[Any]]
    twin: Callable[[Job, Twin], int]
    link: Callable[[Job, Twin], bool]


OWN = Hands(
    lambda job: opened(job.source, job.root),
    placed,
    taken,
    lambda job, twin: opened(twin.output, job.output_root),
    lambda job, twin: stage_link(job, twin.output, twin.digest, twin.size),
)


def asking(line: Connection) -> Hands:
    """In a worker: the hands of the service at the other end."""

    def given(what: str, which: int = 0) -> dict[str, Any]:
        line.send_bytes(json.dumps({"ask": [what, which]}).encode())
        answer: dict[str, Any] = json.loads(line.recv_bytes())
        if "raised" in answer:
            raise raised(answer)
        if answer["open"]:
            answer["descriptor"] = recv_handle(line)
        return answer

    def those_taken(job: Job) -> Iterator[Any]:
        while (answer := given("taken"))["open"]:
            yield job.target.with_name(answer["name"]), answer["descriptor"]

    return Hands(
        lambda _job: int(given("original")["descriptor"]),
        lambda *_: int(given("place")["descriptor"]),
        those_taken,
        lambda job, twin: int(given("twin", job.twins.index(twin))["descriptor"]),
        lambda job, twin: bool(given("link", job.twins.index(twin))["done"]),
    )


def answering(line: Connection, job: Job, hands: Hands = OWN) -> Callable[[str, int], None]:
    """In the service: what answers the questions about this job, and about no other file."""
    names = hands.taken(job)

    def answer(what: str, which: int) -> None:
        descriptor: int | None = None
        told_too: dict[str, Any] = {}
        try:
            match what:
                case "original":
                    descriptor = hands.original(job)
                case "place":
                    descriptor = hands.place(job)
                case "taken":
                    path, descriptor = next(names, (job.target, None))
                    told_too = {"name": path.name}
                case "twin":
                    descriptor = hands.twin(job, job.twins[which])
                case "link":
                    told_too = {"done": hands.link(job, job.twins[which])}
                case _:
                    raise ValueError(f"nothing of that name is handed over: {what!r:.60}")
        except Exception as error:
            line.send_bytes(json.dumps(told(error)).encode())
            return
        try:
            line.send_bytes(json.dumps({"open": descriptor is not None} | told_too).encode())
            if descriptor is not None:
                send_handle(line, descriptor, os.getpid())  # the process id is for Windows
        finally:
            if descriptor is not None:
                os.close(descriptor)

    return answer
