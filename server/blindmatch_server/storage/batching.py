"""What arrives while a worker is busy is done together in its next turn.

    submit(a) -> work([a])                   the worker is idle: no waiting
    submit(b), submit(c) while it works
              -> work([b, c])                one turn for both

Used for a matcher's answers (one batch over the group library) and for commits (one fsync for many).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from blindmatch_server.hosting.fair_queue import FairQueue
from blindmatch_server.storage.errors import DrainingError, QuotaError

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Runs `work` on `executor`, one batch at a time; belongs to one event loop."""

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[R | Exception]],
        executor: Executor,
        most: int = 64,
        most_waiting: int = 4096,
        most_in_turn: int | None = None,
    ) -> None:
        """
        Args:
            work: results in the order of the tasks; an exception among them goes to that task alone, one
                that is raised to all of the batch.
            executor: where it runs.
            most: tasks in a batch.
            most_waiting: tasks that may wait; more are refused.
            most_in_turn: tasks in a batch that has tasks of accounts with more waiting; see `FairQueue`. By
                default `most`.
        """
        self._work = work
        self._executor = executor
        self._most = most
        self._most_waiting = most_waiting
        self._most_in_turn = most if most_in_turn is None else most_in_turn
        self._waiting: FairQueue[tuple[T, asyncio.Future[R]]] = FairQueue()
        self._runner: asyncio.Task[None] | None = None
        self._closed = False

    async def submit(self, task: T, account: str = "") -> R:
        """The result of `task`. If the caller is cancelled before its turn, the task is dropped.

        Args:
            account: for whom; see `FairQueue`. Without accounts, first come is first served.

        Raises:
            DrainingError: after `close`.
            QuotaError: if too many wait.
            Exception: what `work` raised or returned for it.
        """
        if self._closed:
            raise DrainingError("server", "is shutting down")
        if self._waiting.waiting >= self._most_waiting:
            raise QuotaError("server", "is too busy: try again later")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append(account, (task, future))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return await future

    async def close(self) -> None:
        """Finish what waits, and refuse what comes."""
        self._closed = True
        if self._runner is not None:
            await self._runner

    async def _run(self) -> None:
        try:
            while batch := self._next():
                await self._turn(batch)
        finally:
            self._runner = None

    def _next(self) -> list[tuple[T, asyncio.Future[R]]]:
        """The next batch, without tasks whose callers are gone; empty if nothing waits."""
        while self._waiting.waiting:
            taken = self._waiting.take(self._most_in_turn, self._most)
            if batch := [(task, future) for task, future in taken if not future.done()]:
                return batch
        return []

    async def _turn(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        loop = asyncio.get_running_loop()
        results: Sequence[R | Exception]
        try:
            results = await loop.run_in_executor(self._executor, self._work, [task for task, _ in batch])
            if len(results) != len(batch):
                raise RuntimeError("a batch has one result for each task")
        except Exception as error:
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
