"""All cores for a long build: threads, and helper processes for rows of a list.

    Crew                                          helper, one for each core (blindmatch_server.helper)
        rows of a batch?   -- function, secret, entries -->   computes them
                           <-- rows, CPU time -------------   and waits for the next batch
        closes the pipe                                       ends

Threads of one process hash one at a time, under the interpreter's lock; of what a batch takes that is a
tenth. Helpers share nothing. A batch goes over a pipe as the bytes of its arrays, a ten-thousandth of
what it takes to compute it. The secret goes the same way: it is in no argument, environment or file.

A helper that ends, or cannot compute, is done without: its batch is computed here, and a warning says so.
If this process is killed, its helpers find their pipes closed and end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Final, TypeVar

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import EntryBatch
from blindmatch_protocol.executor import RowFunction

from blindmatch_server import helper

T = TypeVar("T")

_AHEAD: Final = 2
"""Batches a helper, read before the first of them is done: no helper waits for its next one."""
_END_SECONDS: Final = 10.0
"""What a helper has to end after its pipe was closed, beyond the batch it computes; then it is killed."""


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class HelperWarning(UserWarning):
    """A helper process is done without."""


class Crew:
    """An executor (`blindmatch_protocol.executor.Helpers`) of `workers` threads and as many processes.

    Processes are started when rows are asked for, and end with the last of them.

    Args:
        workers: by default one for each core that this process may use.

    Attributes:
        pids: of the helpers there are now.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers or cores()
        self._threads = ThreadPoolExecutor(self._workers, thread_name_prefix="crew")
        self.pids: tuple[int, ...] = ()

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=kind is not None)

    def map(self, fn: Callable[..., T], /, *iterables: Iterable[Any]) -> Iterator[T]:
        """See `blindmatch_protocol.executor.Executor.map`; on threads."""
        return self._threads.map(fn, *iterables)

    def rows(self, function: RowFunction, secret: bytes, batches: Iterable[EntryBatch]) -> Iterator[Rows]:
        """See `blindmatch_protocol.executor.Helpers.rows`."""
        if self._workers == 1:
            yield from (function(secret, batch) for batch in batches)
            return
        with self._helpers() as helpers:
            yield from self._in_order(lambda batch: helpers.rows(function, secret, batch), batches)

    def _in_order(self, work: Callable[[EntryBatch], Rows], batches: Iterable[EntryBatch]) -> Iterator[Rows]:
        pending: deque[Future[Rows]] = deque()
        try:
            for batch in batches:
                pending.append(self._threads.submit(work, batch))
                if len(pending) >= _AHEAD * self._workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

    @contextmanager
    def _helpers(self) -> Iterator[_Helpers]:
        helpers = _Helpers()
        try:
            helpers.start(self._workers)
            self.pids = helpers.pids
            yield helpers
        finally:
            helpers.close()
            self.pids = ()


class _Helpers:
    """Processes, each with one batch at a time."""

    def __init__(self) -> None:
        self._processes: list[_Helper] = []
        self._idle: SimpleQueue[_Helper | None] = SimpleQueue()
        self._closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        """Of those that were started."""
        return tuple(one.pid for one in self._processes)

    def start(self, count: int) -> None:
        """Start processes; one that cannot be started is done without."""
        for _ in range(count):
            try:
                self._processes.append(_Helper())
                self._idle.put(self._processes[-1])
            except OSError as error:
                _warn(error)
                self._idle.put(None)

    def rows(self, function: RowFunction, secret: bytes, batch: EntryBatch) -> Rows:
        """Rows of a batch, by the next helper that is idle, or here in the place of one that failed."""
        taken = self._idle.get()
        try:
            if taken is not None:
                return taken.rows(function, secret, batch)
        except _HelperError as error:
            if self._closed:
                raise
            taken = None
            _warn(error)
        finally:
            self._idle.put(taken)
        return function(secret, batch)

    def close(self) -> None:
        """End all of them; a batch that one still computes is lost."""
        self._closed = True
        for one in self._processes:
            one.close()
        for one in self._processes:
            one.wait()


def _warn(error: Exception) -> None:
    said = f"a helper process failed and is done without: {error}"
    warnings.warn(said, HelperWarning, stacklevel=2)


class _HelperError(Exception):
    """A helper gave no rows; says why."""


class _Helper:
    """One process, and its pipes."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-m", helper.__name__]
        # in a group of its own: Ctrl-C is for the program alone, which closes the pipe
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
        )
        self.pid = self._process.pid

    def rows(self, function: RowFunction, secret: bytes, batch: EntryBatch) -> Rows:
        """Have rows computed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        name = f"{function.__module__}:{function.__qualname__}"
        try:
            helper.ask(self._process.stdin, name, secret, batch)
            return helper.answer(self._process.stdout, len(batch))
        except (OSError, EOFError, ValueError) as error:
            self.close()
            raise _HelperError(f"{type(error).__name__}: {error}") from None

    def close(self) -> None:
        """Tell it to end."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def wait(self) -> None:
        """Wait for its end."""
        assert self._process.stdout is not None
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
