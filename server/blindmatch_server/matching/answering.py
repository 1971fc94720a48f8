"""Answers batches of bodies with the design's roles, on threads of its own.

One thread takes batch after batch; the design spreads the work of a batch over the others. Accounts take
turns: see `fair_queue`. A body that makes a design raise does so alone: the rest of its batch is answered
again without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

from blindmatch_protocol.codec import decode_any
from blindmatch_protocol.contract import Answer, AnyDesign, Request, Role, Verdict
from blindmatch_protocol.errors import DesignError, ProtocolError
from blindmatch_protocol.randomness import Randomness

from blindmatch_server.batching import Batcher
from blindmatch_server.crew import cores
from blindmatch_server.matching.enrolments import HeldEnrolment, NotEnrolledError
from blindmatch_server.matching.epochs import OpenEpoch
from blindmatch_server.matching.limits import MatchingLimits


@dataclass(frozen=True, slots=True, repr=False)
class Task:
    """A body to one role, in the epoch that was in force when it came, and what its account enrolled with."""

    epoch: OpenEpoch
    role: Role
    body: bytes
    enrolment: HeldEnrolment | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Answered:
    """The reply's encoding, and what the server learnt, if it learns."""

    reply: bytes
    verdict: Verdict | None


Result: TypeAlias = Answered | Exception


class Answering:
    """Answers tasks in batches; belongs to one event loop."""

    def __init__(self, design: AnyDesign, rng: Randomness, limits: MatchingLimits) -> None:
        self._design = design
        self._rng = rng
        self._turns = ThreadPoolExecutor(1, thread_name_prefix="answer")
        self._threads = ThreadPoolExecutor(cores(), thread_name_prefix="spread")
        self._batcher: Batcher[Task, Answered] = Batcher(
            self._answer, self._turns, limits.most_batch, limits.most_waiting, limits.most_in_turn
        )

    async def answer(self, task: Task, account: str) -> Answered:
        """The answer to `task` of `account`.

        Raises:
            ProtocolError: if its body breaks the protocol.
            QuotaError, DrainingError: see `Batcher.submit`.
        """
        return await self._batcher.submit(task, account)

    async def close(self) -> None:
        """Answer what waits, then stop."""
        await self._batcher.close()
        self._turns.shutdown()
        self._threads.shutdown()

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
        """Results of tasks of one epoch and one role."""
        results = [self._decoded(task) for task in tasks]
        places = [place for place, result in enumerate(results) if isinstance(result, Request)]
        requests = [result for result in results if isinstance(result, Request)]
        answered = self._requests(tasks[0], requests) if requests else []
        merged: list[Result] = [r if isinstance(r, Exception) else DesignError("") for r in results]
        for place, result in zip(places, answered, strict=True):
            merged[place] = result
        return merged

    def _decoded(self, task: Task) -> Request | Exception:
        try:
            step = f"{self._design.info.name}/request to {task.role}"
            body = decode_any(self._design.requests[task.role], task.body, step)
            return Request(body, task.enrolment.message() if task.enrolment else None)
        except (ProtocolError, NotEnrolledError) as error:
            return error

    def _requests(self, task: Task, requests: Sequence[Request]) -> list[Result]:
        try:
            task.epoch.check()
            state = task.epoch.roles[task.role]
            answer = self._design.answer(task.role, state, requests, self._rng, self._threads)
            return self._results(task.role, answer, len(requests))
        except Exception as error:
            if len(requests) == 1:
                return [error]
            return [result for request in requests for result in self._requests(task, [request])]

    def _results(self, role: Role, answer: Answer, count: int) -> list[Result]:
        verdicts = answer.verdicts or [None] * count
        if len(answer.replies) != count or len(verdicts) != count:
            raise RuntimeError("a design has one reply, and one verdict or none, for each body")
        results: list[Result] = []
        for reply, verdict in zip(answer.replies, verdicts, strict=True):
            if isinstance(reply, ProtocolError):
                results.append(reply)
            elif type(reply) not in self._design.replies[role]:
                raise RuntimeError("a design replies with the messages it has declared")
            else:
                results.append(Answered(reply.encode(), verdict))
        return results
