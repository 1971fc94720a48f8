"""Answers batches of bodies with the design's roles, on threads of its own or in worker processes.

One thread takes batch after batch; the design spreads the work of a batch over the others. Accounts take
turns: see `fair_queue`. A body that makes a design raise, or a worker process end, does so alone: the rest of
its batch is answered again without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Role
from msgspec import Struct

from blindmatch_server.hosting.worker_pool import cores
from blindmatch_server.matching.batch import Answered, Body, OpenRole, Reply
from blindmatch_server.matching.epochs import Loader, OpenEpoch
from blindmatch_server.matching.limits import MatchingLimits
from blindmatch_server.matching.role_workers import RoleWorkers
from blindmatch_server.storage.batching import Batcher


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
        """Results of tasks of one epoch and one role."""
        try:
            tasks[0].epoch.check()
            return [*self._answered(tasks[0], [Body(task.body, task.enrolment) for task in tasks])]
        except Exception as error:
            if len(tasks) == 1:
                return [error]
            return [result for task in tasks for result in self._group([task])]

    def _answered(self, task: Task, bodies: Sequence[Body]) -> list[Reply]:
        if task.role in self._design.info.in_processes:
            return self._workers_of(task).answer(bodies)
        opened = OpenRole(self._design, task.role, task.epoch.roles[task.role])
        return opened.answer(bodies, self._rng, self._threads)

    def _workers_of(self, task: Task) -> RoleWorkers:
        """Those of the role in the task's epoch, in place of those of another."""
        held = self._workers.get(task.role)
        if held is None or held.epoch is not task.epoch:
            if held is not None:
                held.end()
            if self._load is None:
                raise RuntimeError("a design that answers in processes needs a loader")
            held = self._workers[task.role] = RoleWorkers(task.epoch, task.role, cores(), self._load)
        return held
