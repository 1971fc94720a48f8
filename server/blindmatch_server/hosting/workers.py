"""Worker processes for what holds the interpreter's lock: a spawned pool that outlives its workers' deaths.

    Workers -- function, arguments (pickled, over a pipe) --> worker: prepared once, then task after task
            <-- result, or the error's class ---------------

A worker that dies takes the pool with it: tasks under way fail with `WorkerError`, and the next one gets a
new pool. An error's text stays in the worker, since it might quote a secret. Ctrl-C in a terminal is for the
program alone; workers end with it, also if it is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from typing import Any, Final, TypeVar

import grpc

from blindmatch_server.storage.errors import RefusedError

T = TypeVar("T")

_END_SECONDS: Final = 2.0
"""What workers have to end before they are killed."""
_SPAWN: Final = multiprocessing.get_context("spawn")


class WorkerError(RefusedError):
    """A worker process ended before its task was done; asking again may help."""

    status = grpc.StatusCode.UNAVAILABLE


class TaskError(Exception):
    """A task failed in a worker; says with which class of error."""


class Workers:
    """`count` processes, started when they are needed; may be used from several threads.

    Args:
        prepare: called once in each of them, with `arguments`; a function of a module, as all tasks are.
    """

    def __init__(self, count: int, prepare: Callable[..., object] | None = None, *arguments: Any) -> None:
        self._count = count
        self._prepare = (prepare, arguments)
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._ended = False

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the processes there are now."""
        return tuple(process.pid or 0 for process in self._processes())

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """`function(*arguments)` in a worker; `result` takes its outcome.

        Raises:
            WorkerError: if no process can be started.
        """
        for _ in range(2):
            pool = self._opened()
            try:
                with _uninterrupted():
                    return pool.submit(_run, function, *arguments)
            except (BrokenProcessPool, OSError, RuntimeError) as error:
                self._drop(pool)
                failed = type(error).__name__
        raise WorkerError("worker", f"cannot be started ({failed}): try again later")

    def result(self, future: Future[T]) -> T:
        """What a task came to.

        Raises:
            WorkerError: if its worker ended before.
            TaskError: if it failed.
        """
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
                self._pool = ProcessPoolExecutor(self._count, _SPAWN, _begin, self._prepare)
            return self._pool

    def _drop(self, pool: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is pool:
                self._pool = None
        pool.shutdown(wait=False, cancel_futures=True)

    def _processes(self) -> list[Any]:
        # up to Python 3.13 the executor has no way of its own to end its processes
        held = None if self._pool is None else getattr(self._pool, "_processes", None)
        return list((held or {}).values())


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C does not reach a process that is started here, also before it has left the terminal's group."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(prepare: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
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


def _run(function: Callable[..., T], *arguments: Any) -> T:
    try:
        return function(*arguments)
    except TaskError:
        raise
    except Exception as error:
        name = f"{function.__module__}:{function.__qualname__}"
        raise TaskError(f"{name}: {type(error).__name__}") from None
