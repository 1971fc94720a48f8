"""Worker processes for what holds the interpreter's lock: a spawned pool that outlives its workers' deaths.

A worker that dies takes the pool with it: tasks under way fail with `WorkerError`, and the next one gets a
new pool. An error's text stays in the worker, since it might quote a secret. `WorkerPool` takes all cores for
a long build: threads, and workers for rows of a list (docs/decisions/0006-helpers-for-long-builds.md).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib import import_module
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Final, TypeVar

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import EntryBatch
from blindmatch_protocol.contract.publishing import RowFunction

from blindmatch_server.storage.errors import RefusedError

T = TypeVar("T")

_END_SECONDS: Final = 2.0
"""What workers have to end before they are killed."""
SPAWN: Final = multiprocessing.get_context("spawn")
# up to Python 3.13 the executor has no way of its own to end its processes
if "_processes" not in ProcessPoolExecutor.__init__.__code__.co_names:
    raise ImportError("ProcessPoolExecutor: holds its processes otherwise than up to Python 3.13")


class WorkerError(RefusedError):
    """A worker process ended before its task was done; asking again may help."""

    status = "UNAVAILABLE"


class TaskError(Exception):
    """A task failed in a worker; says with which class of error."""


class Workers:
    """`count` processes, started when they are needed; may be used from several threads. In each of them
    `prepare`, a function of a module, as all tasks are, is called once, with `arguments`."""

    def __init__(self, count: int, prepare: Callable[..., object] | None = None, *arguments: Any) -> None:
        self._count = count
        self._prepare = (prepare, arguments)
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._ended = False

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(process.pid or 0 for process in self._processes())

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """`function(*arguments)` in a worker; `result` takes its outcome. Raises `WorkerError` if no process
        can be started."""
        for _ in range(2):
            pool = self._opened()
            try:
                with uninterrupted():
                    return pool.submit(run_task, function, *arguments)
            # ValueError: of its pipes, which the pool closes if a worker dies while another one is started
            except (BrokenProcessPool, OSError, RuntimeError, ValueError) as error:
                self._drop(pool, isinstance(error, BrokenProcessPool))
                failed = type(error).__name__
        raise WorkerError("worker", f"cannot be started ({failed}): try again later")

    def result(self, future: Future[T]) -> T:
        """What a task came to. Raises `WorkerError` if its worker ended before, and `TaskError` if it
        failed."""
        try:
            return future.result()
        except BrokenProcessPool:
            raise WorkerError("worker", "ended before it was done: try again") from None

    def end(self) -> None:
        """End all processes; what they work on for longer than a moment is lost."""
        self._ended = True
        processes = self._processes()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        until = time.monotonic() + _END_SECONDS
        for process in processes:
            process.join(max(0.0, until - time.monotonic()))
            process.kill()
            process.join()

    def _opened(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._ended:
                raise WorkerError("worker", "is shutting down")
            if self._pool is None:
                self._pool = ProcessPoolExecutor(self._count, SPAWN, begin_worker, self._prepare)
                self._pool._processes = _Processes()
            return self._pool

    def _drop(self, pool: ProcessPoolExecutor, broken: bool) -> None:
        with self._lock:
            if self._pool is pool:
                self._pool = None
        left = _of(pool) if broken else []
        pool.shutdown(wait=False, cancel_futures=True)
        for process in left:
            process.kill()

    def _processes(self) -> list[Any]:
        return [] if self._pool is None else _of(self._pool)


class _Processes(dict[int, Any]):
    """A pool's processes: the pool's thread looks through them when one has died, while others may start."""

    def values(self) -> Any:
        return list(super().values())


def _of(pool: ProcessPoolExecutor) -> list[Any]:
    held: dict[int, Any] | None = getattr(pool, "_processes", None)
    return list((held or {}).values())


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Keeps Ctrl-C from a process that is started here, even before it has a process group of its own."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_worker(prepare: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
    """In a new worker: out of the terminal's group, gone when the program is, and silent but for errors."""
    os.dup2(2, 1)
    with suppress(OSError):
        os.setpgid(0, 0)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    if prepare is not None:
        prepare(*arguments)


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def run_task(function: Callable[..., T], *arguments: Any) -> T:
    try:
        return function(*arguments)
    except TaskError:
        raise
    except Exception as error:
        name = f"{function.__module__}:{function.__qualname__}"
        raise TaskError(f"{name}: {type(error).__name__}") from None


_AHEAD: Final = 2
"""Batches a worker, read before the first of them is done: no worker waits for its next one."""


def cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class WorkerWarning(UserWarning):
    """A batch is computed without a worker process."""


class WorkerPool(AbstractContextManager["WorkerPool"]):
    """`WorkerProcesses` of the protocol's `executor`: `workers` threads and as many processes, by default one
    for each core that this process may use. Processes are started when rows are asked for, and end with the
    last of them."""

    def __init__(self, workers: int | None = None) -> None:
        self._count = workers or cores()
        self._threads = ThreadPoolExecutor(self._count, thread_name_prefix="workers")
        self._workers: Workers | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=kind is not None)

    @property
    def pids(self) -> tuple[int, ...]:
        return () if self._workers is None else self._workers.pids

    def map(self, fn: Callable[..., T], /, *iterables: Iterable[Any]) -> Iterator[T]:
        """See `blindmatch_protocol.contract.publishing.Executor.map`; on threads."""
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
