"""All cores for a long build: threads, and worker processes for rows of a list.

    pool -- name of a function, secret, entries --> worker, one for each core (`workers`)
         <-- rows -------------------------------

Threads of one process hash one at a time, under the interpreter's lock; of what a batch takes that is a
tenth. Workers share nothing. A batch goes over a pipe, a ten-thousandth of what it takes to compute it. The
secret goes the same way: it is in no argument, environment or file.

What a worker that ends, or cannot compute, has left is computed here, and a warning says so.
"""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from types import TracebackType
from typing import Any, Final, TypeVar

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import EntryBatch
from blindmatch_protocol.contract.executor import RowFunction

from blindmatch_server.hosting.workers import TaskError, WorkerError, Workers

T = TypeVar("T")

_AHEAD: Final = 2
"""Batches a worker, read before the first of them is done: no worker waits for its next one."""


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class WorkerWarning(UserWarning):
    """A batch is computed without a worker process."""


class WorkerPool:
    """`WorkerProcesses` of the protocol's `executor`: `workers` threads and as many processes.

    Processes are started when rows are asked for, and end with the last of them.

    Args:
        workers: by default one for each core that this process may use.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._count = workers or cores()
        self._threads = ThreadPoolExecutor(self._count, thread_name_prefix="workers")
        self._workers: Workers | None = None

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=kind is not None)

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the processes there are now."""
        return () if self._workers is None else self._workers.pids

    def map(self, fn: Callable[..., T], /, *iterables: Iterable[Any]) -> Iterator[T]:
        """See `blindmatch_protocol.contract.executor.Executor.map`; on threads."""
        return self._threads.map(fn, *iterables)

    def rows(self, function: RowFunction, secret: bytes, batches: Iterable[EntryBatch]) -> Iterator[Rows]:
        if self._count == 1:
            yield from (function(secret, batch) for batch in batches)
            return
        self._workers = workers = Workers(self._count)
        asked: deque[tuple[Future[Rows] | None, EntryBatch]] = deque()
        try:
            for batch in batches:
                asked.append((_asked(workers, function, secret, batch), batch))
                if len(asked) >= _AHEAD * self._count:
                    yield _rows(workers, function, secret, *asked.popleft())
            while asked:
                yield _rows(workers, function, secret, *asked.popleft())
        finally:
            workers.end()
            self._workers = None


def _asked(workers: Workers, function: RowFunction, secret: bytes, batch: EntryBatch) -> Future[Rows] | None:
    """The rows to come; None if no worker can be started."""
    try:
        return workers.submit(_computed, f"{function.__module__}:{function.__qualname__}", secret, batch)
    except WorkerError as error:
        _warn(error)
        return None


def _rows(
    workers: Workers, function: RowFunction, secret: bytes, future: Future[Rows] | None, batch: EntryBatch
) -> Rows:
    """Rows of a batch, from a worker, or computed here in the place of one that failed."""
    try:
        if future is not None:
            return workers.result(future)
    except (WorkerError, TaskError) as error:
        _warn(error)
    return function(secret, batch)


def _computed(name: str, secret: bytes, batch: EntryBatch) -> Rows:
    """In a worker; a function that is not found there fails like one that cannot compute."""
    module, _, function = name.partition(":")
    try:
        rows: Rows = getattr(import_module(module), function)(secret, batch)
    except Exception as error:
        raise TaskError(f"{name}: {type(error).__name__}") from None
    return rows


def _warn(error: Exception) -> None:
    warnings.warn(f"a worker process is done without: {error}", WorkerWarning, stacklevel=2)
