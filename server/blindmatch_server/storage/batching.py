"""What arrives while a worker is busy is done together in its next turn.

Account by account, after FQ-CoDel (RFC 8290, section 4.2): tasks for packets, one task a turn, nothing
dropped.

    an account with nothing waiting asks       -> a new line; new lines come first, in the order they began
    a line had its turn and has more waiting   -> an old line, behind the others
    a line had its turn and is empty           -> it is forgotten; the RFC lets it grow old first

The difference to the RFC is for those that ask one thing at a time: were they old, a batch of theirs could
not be told from one of the others.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from msgspec import Struct

from blindmatch_server.storage.errors import QuotaError, UnavailableError

T = TypeVar("T")
R = TypeVar("R")


class FairQueue(Generic[T]):
    """Tasks of accounts; those of one account keep their order."""

    def __init__(self) -> None:
        self._new: OrderedDict[str, deque[T]] = OrderedDict()
        self._old: OrderedDict[str, deque[T]] = OrderedDict()
        self.waiting = 0

    def append(self, account: str, task: T) -> None:
        """Let `task` wait behind the others of `account`."""
        line = self._old.get(account)
        if line is None:
            line = self._new.setdefault(account, deque())
        line.append(task)
        self.waiting += 1

    def take(self, least: int, most: int) -> list[T]:
        """The first task of every new line, up to `most`; then of old lines in turn until there are `least`,
        but of these one at least, so that they do not starve."""
        taken = [self._pop(self._new) for _ in range(min(most, len(self._new)))]
        older = max(least - len(taken), 1)
        while self._old and older:
            taken.append(self._pop(self._old))
            older -= 1
        return taken

    def _pop(self, lines: OrderedDict[str, deque[T]]) -> T:
        account, line = lines.popitem(last=False)
        task = line.popleft()
        self.waiting -= 1
        if line:
            self._old[account] = line
        return task


class Batcher(Struct, Generic[T, R], dict=True, eq=False):
    """Runs `work` on `executor`, one batch at a time; belongs to one event loop.

    Attributes:
        work: results in the order of the tasks; an exception among them goes to that task alone, one that is
            raised to all of the batch.
        most: tasks in a batch.
        most_waiting: tasks that may wait; more are refused.
        most_in_turn: tasks in a batch that has tasks of accounts with more waiting; see `FairQueue`. By
            default `most`.
    """

    work: Callable[[Sequence[T]], Sequence[R | Exception]]
    executor: Executor
    most: int = 64
    most_waiting: int = 4096
    most_in_turn: int | None = None

    def __post_init__(self) -> None:
        self._waiting: FairQueue[tuple[T, asyncio.Future[R]]] = FairQueue()
        self._runner: asyncio.Task[None] | None = None
        self._closed = False

    async def submit(self, task: T, account: str = "") -> R:
        """The result of `task`, for an account as in `FairQueue`; without accounts, first come is first
        served. If the caller is cancelled before its turn, the task is dropped; `UnavailableError` after
        `close`, `QuotaError` if too many wait, and what `work` raised or returned for it."""
        if self._closed:
            raise UnavailableError("server", "is shutting down")
        if self._waiting.waiting >= self.most_waiting:
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
            taken = self._waiting.take(self.most_in_turn or self.most, self.most)
            if batch := [(task, future) for task, future in taken if not future.done()]:
                return batch
        return []

    async def _turn(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        loop = asyncio.get_running_loop()
        results: Sequence[R | Exception]
        try:
            results = await loop.run_in_executor(self.executor, self.work, [task for task, _ in batch])
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
