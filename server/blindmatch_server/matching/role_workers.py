"""Roles that answer in worker processes, since their libraries hold the interpreter's lock.

    answering thread -- bodies, files of enrolments --> worker: loads the design and opens the role, once
                     <-- encodings of replies, errors, verdicts ---------------

The bodies of a batch are dealt out over the workers, which draw the system's randomness.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import AnyDesign, Role

from blindmatch_server.hosting.workers import Workers
from blindmatch_server.matching.batch import Body, OpenRole, Reply
from blindmatch_server.matching.epochs import Loader, OpenEpoch

_OPENED: Final[list[OpenRole]] = []
"""In a worker: its role."""


class RoleWorkers:
    """The workers of one role in one epoch.

    Args:
        load: gives the design in a worker.
    """

    def __init__(self, epoch: OpenEpoch, role: Role, count: int, load: Loader) -> None:
        self.epoch = epoch
        self._count = count
        self._workers = Workers(count, _open, role, load, epoch.openers[role])

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the processes there are now."""
        return self._workers.pids

    def answer(self, bodies: Sequence[Body]) -> list[Reply]:
        """Replies in the order of the bodies.

        Raises:
            WorkerError: if a worker ended before it was done, or none can be started.
            TaskError: if the design fails.
        """
        size = -(-len(bodies) // self._count)
        parts = [bodies[at : at + size] for at in range(0, len(bodies), size)]
        futures = [self._workers.submit(_answer, part) for part in parts]
        return [reply for future in futures for reply in self._workers.result(future)]

    def end(self) -> None:
        """End them; what they still work on is lost."""
        self._workers.end()


def _open(role: Role, load: Loader, opener: Any) -> None:
    design: AnyDesign = load()
    _OPENED.append(OpenRole(design, role, opener(design)))


def _answer(bodies: Sequence[Body]) -> list[Reply]:
    return _OPENED[0].answer(bodies, system_randomness(), None)
