"""The executor is a parameter of the core; this is what it must offer, and how a batch goes over it.

`concurrent.futures.ThreadPoolExecutor` fits. A process pool does not: work is a closure over arrays, and
libsodium frees the lock anyway. Never pass on the executor a task itself runs on: a task that waits for
its own pool can wait forever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

LEAST_ROWS = 16
"""Rows a task has at least: about a millisecond of multiplications, twenty times what a task costs."""

MOST_TASKS = 64
"""Tasks a batch is cut into at most, so that up to that many threads are kept busy."""


class Executor(Protocol):
    """The part of `concurrent.futures.Executor` that the core uses (threads: libsodium frees the lock)."""

    def map(self, fn: Callable[..., T], /, *iterables: Iterable[Any]) -> Iterator[T]:
        """Results of `fn` in the order of the arguments."""
        ...


def spread(
    work: Callable[[int, int], T], rows: int, executor: Executor | None, least: int = LEAST_ROWS
) -> list[T]:
    """Call `work(start, stop)` for stretches that cover `rows` rows; results in the order of the rows.

    Without an executor, or with too few rows to share, it is one call here; with no rows it is none.

    Raises:
        Exception: whatever `work` raised first, in the order of the rows.
    """
    if rows == 0:
        return []
    size = max(least, -(-rows // MOST_TASKS))
    if executor is None or rows <= size:
        return [work(0, rows)]
    starts = range(0, rows, size)
    return list(executor.map(lambda start: work(start, min(start + size, rows)), starts))
