"""Who does the group's arithmetic on batches: libsodium, or another back end that a process has chosen
(docs/group.md).

The choice is the process's (`use`), because the results are the same bytes either way.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from functools import cache
from itertools import count
from typing import Final, Protocol

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.group.sodium import LIBSODIUM as LIBSODIUM

SUMS_FOR_A_SECOND: Final = 64
"""Of so many sums of one shape, one is made twice, once the shape's first second sum agreed."""


class SecondSums:
    """Says which sums of a back end are made twice, the second time over the rows shifted by one.

    The two differ if the kernel leaves out rows by their place, unless it is all of them. Groups, chunks and
    padding follow from the number of rows alone (`jit.drivers`), so that a kernel with this fault has it in
    each call of a shape: the first sum of a shape is made twice, and until two agreed every other one. After
    that it is one in `SUMS_FOR_A_SECOND`, for a fault that the process or the machine comes to later.

    Threads need no lock: to look up or add a shape, and to take the next number, is one step of the
    interpreter, so that each number is one thread's.
    """

    def __init__(self) -> None:
        self._later: dict[tuple[int, ...], count[int]] = {}

    def is_due(self, operands: Sequence[Rows]) -> bool:
        """Count a sum of these operands, and return whether it is to be made twice."""
        later = self._later.get(_shape(operands))
        return later is None or next(later) % SUMS_FOR_A_SECOND == 0

    def note_agreement(self, operands: Sequence[Rows]) -> None:
        """Note that two sums of these operands agreed; until then each sum of their shape is due."""
        self._later.setdefault(_shape(operands), count(1))


def _shape(operands: Sequence[Rows]) -> tuple[int, ...]:
    return tuple(map(len, operands))


class GroupBackend(Protocol):
    """Arithmetic of ristretto255 (RFC 9496) on rows; operands are matched, and their rows contiguous.

    Attributes:
        name: as it is chosen by.
        task: rows a thread's task has at least.
        sound: False once something it computed was wrong.
        second_sums: which of its sums are made twice; None of the reference.
    """

    sound: bool

    @property
    def name(self) -> str: ...

    @property
    def task(self) -> int: ...

    @property
    def second_sums(self) -> SecondSums | None: ...

    def multiply(self, scalars: Rows, elements: Rows) -> Rows:
        """Scalars times elements, uint8 (n, 32); `GroupError` for the first row with a non-canonical
        encoding, the identity or a zero scalar."""
        ...

    def hash_multiply(self, scalars: Rows, uniform: Rows) -> Rows:
        """Scalars times what uniform bytes, uint8 (n, 64), map to (RFC 9496, section 4.3.4); `GroupError` for
        the first row whose product is the identity."""
        ...

    def sum_products(self, scalars: Rows, elements: Rows) -> Rows:
        """The sum of all scalars times elements, uint8 (1, 32), of at least one row. Raises as `multiply`."""
        ...

    def sha512(self, messages: Rows, front: bytes = b"") -> Rows:
        """SHA-512 (FIPS 180-4) of `front`, public whole blocks of 128 bytes, and every row, uint8 (n, w):
        uint8 (n, 64)."""
        ...


class BackendError(BlindmatchError):
    """A back end cannot be used, or computed something wrong.

    Attributes:
        rows: what it computed, if that is known to be wrong; not to be used.
    """

    def __init__(self, why: str, rows: Rows | None = None) -> None:
        self.rows = rows
        super().__init__(why)


class BackendWarning(UserWarning):
    """A back end is not used any more."""


LEAST_ROWS: Final = 4
"""Rows of a batch from which on another back end than libsodium is faster."""

_chosen: GroupBackend | Callable[[], GroupBackend] = LIBSODIUM
_here: ContextVar[GroupBackend | None] = ContextVar("group_backend", default=None)


def use(backend: GroupBackend | Callable[[], GroupBackend]) -> None:
    """Let `backend` do this process's batches from now on; a function is asked for it by the first batch."""
    global _chosen
    _chosen = backend


@contextmanager
def using(backend: GroupBackend) -> Iterator[None]:
    """Let `backend` do the batches of a block, and of the tasks it gives to an executor."""
    token = _here.set(backend)
    try:
        yield
    finally:
        _here.reset(token)


def in_use() -> GroupBackend:
    """The back end of batches here and now; libsodium in the place of one that was dropped."""
    chosen = _here.get() or _chosen
    if callable(chosen):
        chosen = chosen()
        use(chosen)
    return chosen if chosen.sound else LIBSODIUM


def backend_for(rows: int) -> GroupBackend:
    return in_use() if rows >= LEAST_ROWS else LIBSODIUM


def drop(backend: GroupBackend, why: str) -> None:
    """Compute nothing with `backend` any more, and say so."""
    backend.sound = False
    warnings.warn(
        f"{backend.name} is not used any more: {why}; libsodium goes on", BackendWarning, stacklevel=2
    )


BUILD_ROWS: Final = 1 << 14
"""Products of a build from which on `auto` takes jit: it saves what compiling takes, about a second."""


class Setting(StrEnum):
    """What a process was told."""

    AUTO = "auto"
    LIBSODIUM = "libsodium"
    JIT = "jit"


PUBLIC_ROWS: Final = 1 << 15
"""Products in sums of public rows after which `auto` takes jit for such sums: by then they have cost what
compiling does."""
_setting = Setting.LIBSODIUM
_public_rows = 0


def choose(setting: Setting) -> None:
    """Let this process compute as `setting` says from now on. Compiling waits for the first batch."""
    global _setting, _public_rows
    _setting = setting
    _public_rows = 0
    use(_jit_or_libsodium if setting is Setting.JIT else LIBSODIUM)


def backend_for_public(rows: int) -> GroupBackend:
    global _public_rows
    if _setting is not Setting.AUTO or rows < LEAST_ROWS or _here.get():
        return backend_for(rows)
    _public_rows += rows
    if _public_rows < PUBLIC_ROWS or missing() is not None:
        return LIBSODIUM
    made = _jit_or_libsodium()
    return made if made.sound else LIBSODIUM


@contextmanager
def building(products: int) -> Iterator[GroupBackend]:
    """The back end of a build of so many products, which does the batches of the block."""
    auto = _setting is Setting.AUTO and products >= BUILD_ROWS and missing() is None
    backend = _jit_or_libsodium() if auto else in_use()
    with using(backend):
        yield backend


def described() -> str:
    """What this process computes with, in words; nothing is compiled for it."""
    absent = None if _setting is Setting.LIBSODIUM else missing()
    match _setting, absent:
        case (Setting.LIBSODIUM, _):
            return "libsodium"
        case (Setting.AUTO, None):
            return f"libsodium; large builds and many public sums jit ({_target_name()})"
        case (Setting.JIT, None):
            return f"jit ({_target_name()})"
        case _:
            return f"libsodium; no jit: {absent}"


@cache
def missing() -> str | None:
    """Why there is no jit here; None if there is, as far as can be told before it is compiled."""
    try:
        _target_name()
    except BackendError as error:
        return str(error)
    return None


@cache
def jit() -> GroupBackend:
    """The compiled back end, tested; `BackendError` if it is not installed, not for this processor, or
    computes something wrong."""
    _target_name()
    from blindmatch_protocol.group.jit.machine import Jit, check, host_target

    made = Jit(host_target())
    check(made)
    return made


def _target_name() -> str:
    try:
        from blindmatch_protocol.group.jit.machine import host_target
    except ImportError:
        raise BackendError("llvmlite is not installed (make fast, docs/group.md)") from None
    return host_target().name


@cache
def _jit_or_libsodium() -> GroupBackend:
    try:
        return jit()
    except BackendError as error:
        warnings.warn(f"no jit: {error}; libsodium computes", BackendWarning, stacklevel=2)
        return LIBSODIUM
