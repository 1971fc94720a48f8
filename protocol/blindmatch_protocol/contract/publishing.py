"""What a set is built of, for and with: entries, files, parameters, executor; and what came of it.

`concurrent.futures.ThreadPoolExecutor` fits as executor. A process pool does not: work is a closure over
arrays. Never pass on the executor a task itself runs on: a task that waits for its own pool can wait forever.
An executor that is a `WorkerProcesses` has processes of its own, and a build gives it a function of a module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import copy_context
from itertools import islice
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
from msgspec import Struct, field

from blindmatch_protocol.codec import Buffer, Rows
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.declaration import Info, Role
from blindmatch_protocol.contract.steps import RESERVED, RESERVED_IDS


class SetParameters(Struct, frozen=True):
    """What a set is built for.

    Attributes:
        epoch: number of the epoch, from 1 on.
        values: the design's parameters by name; a missing one takes its default.
    """

    epoch: int
    values: Mapping[str, int]

    def check(self, info: Info) -> None:
        """Raise `DesignError` if a value is of no parameter of `info`, or out of its range."""
        for name in self.values:
            self.value(info, name)

    def value(self, info: Info, name: str) -> int:
        """The value of parameter `name` of `info`; `DesignError` if the design has no such parameter, or the
        value is out of its range."""
        declared = next((p for p in info.parameters if p.name == name), None)
        if declared is None:
            raise DesignError(f"design {info.name} has no parameter {name}")
        value = self.values.get(name, declared.default)
        if not isinstance(value, int) or not declared.least <= value <= declared.most:
            raise DesignError(f"parameter {name}: must be {declared.least} to {declared.most}, not {value}")
        return value


class Published(Struct, frozen=True):
    """Names of the files a `publish` wrote: the set-up's, each role's, and the opener's."""

    setup: tuple[str, ...]
    roles: Mapping[Role, tuple[str, ...]]
    opener: tuple[str, ...] = ()


class Stated(Struct, frozen=True):
    """What the files of a set-up say of themselves; the epoch's manifest must say the same.

    Attributes:
        parameters: those of the design's parameters that stand in the files.
        role_keys: the public key that each role answers under, for designs whose roles have one.
        entries: how many entries the files hold; None: they do not hold them.
    """

    parameters: Mapping[str, int] = field(default_factory=dict)
    role_keys: Mapping[Role, bytes] = field(default_factory=dict)
    entries: int | None = None


Buffers: TypeAlias = Mapping[str, Buffer]
"""Named files of a set-up or of a role's state, as (memory-mapped) buffers."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (done, total) entries, often enough for a progress bar."""


def no_progress(done: int, total: int) -> None:
    """A `Progress` that shows nothing."""


class Writer(Protocol):
    """Where a file's bytes go, in order."""

    def write(self, data: Buffer, /) -> object: ...


class Workspace(Protocol):
    """Makes the files of a build; nothing it made is visible to others before the build is published."""

    def create(self, name: str) -> Writer: ...

    def scratch(self, name: str, size: int) -> memoryview:
        """A zeroed, writable buffer of `size` bytes that does not become part of the result."""
        ...


HASH_BYTES = 32
SALT_BYTES = 16


class EntryBatch(Redacted, Struct, frozen=True):
    """`n` entries of the list.

    Attributes:
        hashes: PDQ hashes, uint8, shape (n, 32).
        ids: entry ids, uint64, shape (n,).
        salts: 16 random bytes an entry, uint8, shape (n, 16); who knows an entry's salt has opened its
            label or holds the list.
    """

    hashes: Rows
    ids: npt.NDArray[np.uint64]
    salts: Rows

    def __post_init__(self) -> None:
        n = len(self.hashes)
        if self.hashes.shape != (n, HASH_BYTES) or self.hashes.dtype != np.uint8:
            raise DesignError("entries: hashes must be a uint8 matrix of 32 columns")
        if self.ids.shape != (n,) or self.ids.dtype != np.uint64:
            raise DesignError("entries: ids must be a uint64 vector, one for each hash")
        if self.salts.shape != (n, SALT_BYTES) or self.salts.dtype != np.uint8:
            raise DesignError("entries: salts must be a uint8 matrix of 16 columns, one row for each hash")

    def __len__(self) -> int:
        return len(self.hashes)

    def part(self, start: int, stop: int) -> EntryBatch:
        return self.take(slice(start, stop))

    def take(self, rows: slice | npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_]) -> EntryBatch:
        return EntryBatch(self.hashes[rows], self.ids[rows], self.salts[rows])


_NOTHING = EntryBatch(
    np.zeros((0, HASH_BYTES), np.uint8), np.zeros(0, np.uint64), np.zeros((0, SALT_BYTES), np.uint8)
)


def reserved_rows(ids: npt.NDArray[np.uint64], salts: Rows) -> npt.NDArray[np.bool_]:
    """Find the entries that bear an id or a salt that no entry may have (`Label.is_reserved`).

    `Label` marks two outcomes that are not entries by reserved values: a filter's match (`UNCONFIRMED_ID` and
    a zero salt) and `NO_LABEL` (id 0 and zeros). A device drops an opened label with such values, so whoever
    gives them to an entry disables it. A salt of zeros is refused with any id, since anybody can guess it.

    Args:
        ids: uint64 (n,).
        salts: uint8 (n, 16).
    """
    reserved_ids = np.isin(ids, np.array(RESERVED_IDS, np.uint64))
    return np.asarray(reserved_ids | ~salts.any(axis=1), np.bool_)


def check_entries(entries: EntryBatch) -> None:
    """Refuse entries of which one bears a reserved id or salt; `DesignError` says how many do."""
    count = int(reserved_rows(entries.ids, entries.salts).sum())
    if count:
        raise DesignError(
            f"entries: {count} of {len(entries)} cannot be listed: {RESERVED}; import them anew"
        )


class EntrySource(Protocol):
    """A list that can be read again from any place, so that a build can be resumed."""

    def __len__(self) -> int: ...

    def batches(self, size: int, start: int = 0) -> Iterator[EntryBatch]:
        """Batches of `size` entries (the last may be smaller) from entry `start` on, in a fixed order."""
        ...


class HeldEntries(Redacted, Struct, frozen=True):
    """An `EntrySource` over one batch held in memory."""

    held: EntryBatch

    def __len__(self) -> int:
        return len(self.held)

    def batches(self, size: int, start: int = 0) -> Iterator[EntryBatch]:
        return (self.held.part(at, at + size) for at in range(start, len(self.held), size))


def whole(entries: EntrySource, size: int, progress: Progress = no_progress) -> EntryBatch:
    """The whole list in memory, 56 bytes an entry, read in batches of `size`; `DesignError` if it does not
    give the number of entries it said."""
    parts = list[EntryBatch]()
    done = 0
    for part in entries.batches(size):
        parts.append(part)
        done += len(part)
        progress(done, len(entries))
    if done != len(entries):
        raise DesignError("the list changed while it was read")
    return joined(parts)


def joined(parts: Iterable[EntryBatch]) -> EntryBatch:
    columns = zip(*((one.hashes, one.ids, one.salts) for one in (_NOTHING, *parts)), strict=True)
    return EntryBatch(*map(np.concatenate, columns))


def batches_of(hashes: Rows, ids: npt.NDArray[np.uint64], salts: Rows) -> HeldEntries:
    """An `EntrySource` of three arrays in memory."""
    return HeldEntries(EntryBatch(hashes, ids, salts))


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
        """`function(secret, batch)` for every batch, in their order; some batches are read ahead. Raises
        whatever `function` raised first, in the order of the batches."""
        ...


def spread(
    work: Callable[[int, int], T], rows: int, executor: Executor | None, least: int = LEAST_ROWS
) -> list[T]:
    """Call `work(start, stop)` for stretches that cover `rows` rows, on threads that see the context
    variables set here; results in the order of the rows. Without an executor, or with too few rows to share,
    it is one call here; with no rows it is none. Raises what `work` raised first, in the rows' order."""
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
    """`work(item)` for each item, in order; with an executor, while earlier results are being used: at most
    twice `together` items are read ahead. Raises as `spread`, and tasks see the same."""
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
    """Begin `work` on another thread, or do it now without an executor; what is returned waits for its end,
    and raises what it raised."""
    task = copy_context()
    done = map(task.run, [work]) if executor is None else executor.map(task.run, [work])

    def wait() -> None:
        for _ in done:
            pass

    return wait
