"""The executor is a parameter of the core; this is what it must offer, and how a batch goes over it.

`concurrent.futures.ThreadPoolExecutor` fits. A process pool does not: work is a closure over arrays, and
libsodium frees the lock anyway. Never pass on the executor a task itself runs on: a task that waits for
its own pool can wait forever.

A long build may ask for more: threads hash under the interpreter's lock, one at a time, which processes do
not. An executor that is a `WorkerProcesses` has processes of its own, and a build gives it a function of a
module instead of a closure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from blindmatch_protocol.codec import Rows
    from blindmatch_protocol.contract.publishing import EntryBatch

S = TypeVar("S")
T = TypeVar("T")

RowFunction: TypeAlias = "Callable[[bytes, EntryBatch], Rows]"
"""From a secret and a batch of entries to one row an entry, uint8 (n, width). It is found by its name in
its module, so it is no closure and no method."""

LEAST_ROWS = 16
"""Rows a task has at least: about a millisecond of multiplications, twenty times what a task costs."""

MOST_TASKS = 64
"""Tasks a batch is cut into at most, so that up to that many threads are kept busy."""


class Executor(Protocol):
    """The part of `concurrent.futures.Executor` that the core uses (threads: libsodium frees the lock)."""

    def map(self, fn: Callable[..., T], /, *iterables: Iterable[Any]) -> Iterator[T]:
        """Results of `fn` in the order of the arguments."""
        ...


AHEAD = 8
"""Items of a long run that are handed to an executor together; as many are being computed before them."""


@runtime_checkable
class WorkerProcesses(Executor, Protocol):
    """An executor that has processes of its own besides."""

    def rows(self, function: RowFunction, secret: bytes, batches: Iterable[EntryBatch]) -> Iterator[Rows]:
        """`function(secret, batch)` for every batch, in their order; some batches are read ahead.

        Raises:
            Exception: whatever `function` raised first, in the order of the batches.
        """
        ...


def spread(
    work: Callable[[int, int], T], rows: int, executor: Executor | None, least: int = LEAST_ROWS
) -> list[T]:
    """Call `work(start, stop)` for stretches that cover `rows` rows; results in the order of the rows.

    Without an executor, or with too few rows to share, it is one call here; with no rows it is none. Tasks
    see the context variables that are set here.

    Raises:
        Exception: whatever `work` raised first, in the order of the rows.
    """
    if rows == 0:
        return []
    size = max(least, -(-rows // MOST_TASKS))
    if executor is None or rows <= size:
        return [work(0, rows)]
    tasks = [(copy_context(), start, min(start + size, rows)) for start in range(0, rows, size)]
    return list(executor.map(lambda task: task[0].run(work, *task[1:]), tasks))


def ahead(
    work: Callable[[S], T], items: Iterable[S], executor: Executor | None, together: int = AHEAD
) -> Iterator[T]:
    """`work(item)` for each item, in order; with an executor, while earlier results are being used.

    At most 2 * `together` items are read ahead. Tasks see the context variables that are set here.

    Raises:
        Exception: whatever `work` raised first, in the order of the items.
    """
    if executor is None:
        yield from map(work, items)
        return
    before: Iterator[T] = iter(())
    source = iter(items)
    while some := [(copy_context(), item) for item in islice(source, together)]:
        following = executor.map(lambda task: task[0].run(work, task[1]), some)
        yield from before
        before = following
    yield from before


def begun(work: Callable[[], None], executor: Executor | None) -> Callable[[], None]:
    """Begin `work` on another thread; what is returned waits for its end, and raises what it raised.

    Without an executor it is done then.
    """
    task = copy_context()
    done = map(task.run, [work]) if executor is None else executor.map(task.run, [work])

    def wait() -> None:
        for _ in done:
            pass

    return wait
