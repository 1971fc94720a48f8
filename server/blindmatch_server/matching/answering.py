"""Answers batches of bodies with the design's roles, on threads of its own or in worker processes.

Accounts take turns: see `FairQueue`. A body that makes a design raise, or a worker process end, does so
alone: the rest of its batch is answered again without it. Workers draw the system's randomness.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeAlias

from blindmatch_protocol.codec import decode_any
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, system_randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Answer, AnyDesign, Request, Role, Verdict
from blindmatch_protocol.contract.publishing import Executor
from msgspec import Struct, field

from blindmatch_server.hosting.limits import Rate
from blindmatch_server.hosting.workers import Workers, cores
from blindmatch_server.matching.enrolments import NotEnrolledError, decoded
from blindmatch_server.matching.epochs import Loader, OpenEpoch
from blindmatch_server.storage.batching import Batcher


class Body(Redacted, Struct, frozen=True):
    """What a device sent, and the file that its account's enrolment lies in, if the role takes any."""

    data: bytes
    enrolment: Path | None = None


class Answered(Redacted, Struct, frozen=True):
    """The reply's encoding, and what the server learnt, if it learns."""

    reply: bytes
    verdict: Verdict | None


Reply: TypeAlias = Answered | ProtocolError | NotEnrolledError


class OpenRole(Redacted, Struct, frozen=True):
    design: AnyDesign
    role: Role
    state: Any

    def answer(self, bodies: Sequence[Body], rng: Randomness, executor: Executor | None) -> list[Reply]:
        """Replies in the order of the bodies. Raises whatever the design raises."""
        found = [self._request(body) for body in bodies]
        requests = [one for one in found if isinstance(one, Request)]
        if not requests:
            return [one for one in found if not isinstance(one, Request)]
        answer = self.design.answer(self.role, self.state, requests, rng, executor)
        replies = iter(self._replies(answer, len(requests)))
        return [next(replies) if isinstance(one, Request) else one for one in found]

    def _request(self, body: Body) -> Request | ProtocolError | NotEnrolledError:
        step = f"{self.design.info.name}/request to {self.role}"
        try:
            message = decode_any(self.design.requests[self.role], body.data, step)
            held = None if body.enrolment is None else decoded(self.design, self.role, body.enrolment)
            return Request(message, held)
        except (ProtocolError, NotEnrolledError) as error:
            return error

    def _replies(self, answer: Answer, count: int) -> list[Reply]:
        verdicts = answer.verdicts or [None] * count
        if len(answer.replies) != count or len(verdicts) != count:
            raise RuntimeError("a design has one reply, and one verdict or none, for each request")
        replies: list[Reply] = []
        for reply, verdict in zip(answer.replies, verdicts, strict=True):
            if isinstance(reply, ProtocolError):
                replies.append(reply)
            elif type(reply) not in self.design.replies[self.role]:
                raise RuntimeError("a design replies with the messages it has declared")
            else:
                replies.append(Answered(reply.encode(), verdict))
        return replies


_OPENED: Final[list[OpenRole]] = []
"""In a worker: its role."""


class RoleWorkers:
    """The workers of one role in one epoch; `load` gives the design in a worker."""

    def __init__(self, epoch: OpenEpoch, role: Role, count: int, load: Loader) -> None:
        self.epoch = epoch
        self._count = count
        self._workers = Workers(count, _open, role, load, epoch.openers[role])

    @property
    def pids(self) -> tuple[int, ...]:
        return self._workers.pids

    def answer(self, bodies: Sequence[Body]) -> list[Reply]:
        """Replies in the order of the bodies. Raises what `Workers` raise."""
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


class MatchingLimits(Struct, frozen=True):
    """Bounds of the matching service.

    Attributes:
        carried: bodies that another server may forward.
        most_carried, most_carried_large: of those, how many are worked on at a time; in parts.
        exchanges: bodies a device may send.
        fetches: set-up files and descriptions a device may fetch.
        enrolments: enrolments that a device may ask about or send.
        most_body_bytes: a body that comes in parts, of roles whose longest request is not shorter.
        most_coming_bytes: all bodies in parts that are on their way.
        most_enrolment_bytes: what a role holds of an account.
        most_at_work: an account's bodies that are worked on at a time; others wait their turn.
        most_large: calls with bodies in parts that a device has at a time.
        most_batch: bodies that are answered together.
        most_in_turn: the same while accounts have more bodies waiting: one a core, so that who comes next
            does not wait for many of theirs.
        most_waiting: bodies that wait for their batch; more are refused.
        poll_seconds: how often a new epoch is looked for.
    """

    carried: Rate = Rate(5000.0, 50_000)
    most_carried: int = 512
    most_carried_large: int = 16
    exchanges: Rate = Rate(50.0, 500)
    fetches: Rate = Rate(10.0, 500)
    enrolments: Rate = Rate(1.0, 50)
    most_body_bytes: int = 152 << 20
    most_coming_bytes: int = 4 << 30
    most_enrolment_bytes: int = 64 << 20
    most_at_work: int = 8
    most_large: int = 2
    most_batch: int = 64
    most_in_turn: int = field(default_factory=cores)
    most_waiting: int = 4096
    poll_seconds: float = 5.0


class Task(Redacted, Struct, frozen=True):
    """A body to one role, in the epoch that was in force when it came, and the file of what its account
    enrolled with."""

    epoch: OpenEpoch
    role: Role
    body: bytes
    enrolment: Path | None = None


Result: TypeAlias = Answered | Exception


class Answering:
    """Answers tasks in batches; belongs to one event loop."""

    def __init__(
        self, design: AnyDesign, rng: Randomness, limits: MatchingLimits, load: Loader | None = None
    ) -> None:
        """`load` gives the design in worker processes, for roles that answer there."""
        self._design = design
        self._load = load
        self._workers: dict[Role, RoleWorkers] = {}
        self._rng = rng
        self._turns = ThreadPoolExecutor(1, thread_name_prefix="answer")
        self._threads = ThreadPoolExecutor(cores(), thread_name_prefix="spread")
        self._batcher: Batcher[Task, Answered] = Batcher(
            self._answer, self._turns, limits.most_batch, limits.most_waiting, limits.most_in_turn
        )

    async def answer(self, task: Task, account: str) -> Answered:
        """The answer to `task` of `account`. Raises `ProtocolError` if its body breaks the protocol, and what
        `Batcher.submit` raises."""
        return await self._batcher.submit(task, account)

    async def close(self) -> None:
        await self._batcher.close()
        self._turns.shutdown()
        self._threads.shutdown()
        for workers in self._workers.values():
            await asyncio.to_thread(workers.end)

    def _answer(self, tasks: Sequence[Task]) -> list[Result]:
        results: list[Result | None] = [None] * len(tasks)
        groups: dict[tuple[int, Role], list[int]] = {}
        for index, task in enumerate(tasks):
            groups.setdefault((id(task.epoch), task.role), []).append(index)
        for indices in groups.values():
            answered = self._group([tasks[index] for index in indices])
            for index, result in zip(indices, answered, strict=True):
                results[index] = result
        return [result for result in results if result is not None]

    def _group(self, tasks: Sequence[Task]) -> list[Result]:
        try:
            tasks[0].epoch.check()
            return [*self._answered(tasks[0], [Body(task.body, task.enrolment) for task in tasks])]
        except Exception as error:
            if len(tasks) == 1:
                return [error]
            return [result for task in tasks for result in self._group([task])]

    def _answered(self, task: Task, bodies: Sequence[Body]) -> list[Reply]:
        if task.role in self._design.info.in_processes:
            held = self._workers.get(task.role)
            if held is None or held.epoch is not task.epoch:
                if held is not None:
                    held.end()
                if self._load is None:
                    raise RuntimeError("a design that answers in processes needs a loader")
                held = self._workers[task.role] = RoleWorkers(task.epoch, task.role, cores(), self._load)
            return held.answer(bodies)
        opened = OpenRole(self._design, task.role, task.epoch.roles[task.role])
        return opened.answer(bodies, self._rng, self._threads)
