"""The kernel compiled for this processor, and the group's back end on it; needs `llvmlite`.

Nothing is written to a disk: compiling takes about a second, and a file of machine code would be one more
way for code into the process.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import product
from typing import Any, Final, TypeAlias

import llvmlite.binding as llvm  # noqa: TID251 - this is the module
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import GroupError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.group.backend import BackendError, GroupBackend, SecondSums
from blindmatch_protocol.group.jit.drivers import TARGETS, Room, Target, target_for
from blindmatch_protocol.group.jit.element import SQRT_M1, D
from blindmatch_protocol.group.jit.field import P
from blindmatch_protocol.group.jit.sha512 import BLOCK, START
from blindmatch_protocol.group.rows import (
    DIGEST_BYTES,
    ELEMENT_BYTES,
    ORDER,
    SCALAR_BYTES,
    addresses,
    one_row,
    rows_of,
    sample,
    stretch,
    zero_rows,
)
from blindmatch_protocol.group.sodium import FROM_HASH, LIBSODIUM, MULTIPLY_SCALARS, run, total

_HALF: Final = one_row(pow(2, -1, ORDER).to_bytes(SCALAR_BYTES, "little"))
_Words: TypeAlias = npt.NDArray[np.uint64]
_ALIGNED: Final = 64
_LEAST_PADDING: Final = 17
"""One bit, and the length in 16 bytes; FIPS 180-4, section 5.1.2."""


def host_target() -> Target:
    """The fastest kernel that this processor can run; `BackendError` if there is none."""
    found = target_for(name for name, has in llvm.get_host_cpu_features().items() if has)
    if found is None:
        raise BackendError(f"this processor has none of {', '.join(one.name for one in TARGETS)}")
    return found


def code_of(target: Target, assembly: bool = False) -> Any:
    """The kernel's object file, bytes; or as assembly, str."""
    return compiled(target.module().text(), target.cpu, target.features, assembly)


def compiled(text: str, cpu: str, features: Iterable[str], assembly: bool = False) -> Any:
    """IR as an object file, bytes, or as assembly, str, for a processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(text)
    module.verify()
    named = ",".join(f"+{name}" for name in sorted(features))
    host = llvm.Target.from_default_triple()
    machine = host.create_target_machine(cpu=cpu, features=named, opt=2, reloc="pic", codemodel="small")
    module.triple = llvm.get_process_triple()
    module.data_layout = str(machine.target_data)
    passes = llvm.create_pass_builder(machine, llvm.PipelineTuningOptions(speed_level=2))
    passes.getModulePassManager().run(module, passes)
    return machine.emit_assembly(module) if assembly else machine.emit_object(module)


def linked(code: bytes, signatures: Mapping[str, str]) -> dict[str, Any]:
    """Functions of an object file; for each the pointers, p, and integers, i, that it takes."""
    builder = llvm.JITLibraryBuilder().add_object_img(code)
    for name in signatures:
        builder.export_symbol(name)
    # code and constants in one stretch of memory: apart by 2 GiB, LLVM's other linker ends the process
    linker = llvm.create_lljit_compiler(use_jit_link=True)
    library = builder.link(linker, "kernel")
    kinds = {"p": ctypes.c_void_p, "i": ctypes.c_int64}
    found = dict[str, Any]()
    for name, takes in signatures.items():
        found[name] = ctypes.CFUNCTYPE(None, *(kinds[kind] for kind in takes))(library[name])
        found[name].code = linker, library  # is there as long as the function
    return found


class Jit:
    """See `blindmatch_protocol.group.backend.GroupBackend`."""

    name: Final = "jit"
    task: Final = 80

    def __init__(self, target: Target) -> None:
        self.target = target
        self.sound = True
        self.second_sums = SecondSums()
        self._call = linked(code_of(target), _SIGNATURES)
        self._state: Callable[[bytes], _Words] = lru_cache(64)(self._state_behind)

    def multiply(self, scalars: Rows, elements: Rows) -> Rows:
        return self._products("multiply", scalars, elements)

    def hash_multiply(self, scalars: Rows, uniform: Rows) -> Rows:
        return self._products("hash_multiply", scalars, uniform)

    def sum_products(self, scalars: Rows, elements: Rows) -> Rows:
        made = self._rows("sum_products", scalars, elements)
        bad = (~made.good | zero_rows(scalars)).nonzero()[0]
        if len(bad):
            raise GroupError("sum products", int(bad[0]))
        return made.out[:1].copy()

    def _products(self, function: str, scalars: Rows, rows: Rows) -> Rows:
        """What a function makes of every row, checked: under one scalar by sums, else by a row; `GroupError`
        for the first row that is refused, which libsodium refuses, too; `BackendError` if a check fails."""
        made = self._rows(function, scalars, rows)
        bad = (~made.good | zero_rows(made.out)).nonzero()[0]
        if len(bad):
            made.compare(function, scalars, rows, int(bad[0]))
        elif len(scalars) == 1:
            made.compare_sums(scalars)
        elif len(made.out):
            made.compare(function, scalars, rows, int(sample(made.out, 1)[0]))
        return made.out

    def _rows(self, function: str, scalars: Rows, rows: Rows) -> _Made:
        """Call a function on every row; all memory but the results is wiped."""
        width = self.target.width
        count = rows_of((scalars, rows))
        # zeros are the identity, to a kernel that has refused it, or hashed bytes like any other
        padded = np.zeros((count + -count % width, rows.shape[1]), np.uint8)
        padded[:count] = rows  # one row may stand for all
        halves = _halves(scalars, len(padded))
        out = np.empty((max(len(padded), width), ELEMENT_BYTES), np.uint8)
        groups = len(padded) // width
        good = _aligned(8 * len(padded)).view(np.int64)
        sums = np.zeros((2, width, ELEMENT_BYTES), np.uint8)
        room = _aligned(Room.bytes(width, groups if function == "sum_products" else 1))
        read, written = (
            [one.ctypes.data for one in some] for some in ((padded, halves), (out, room, good, sums))
        )
        self._call[function](*read, groups, *written)
        _wipe(room, halves)
        return _Made(out[:count], good[:count] != 0, sums[:, 0])

    def sha512(self, messages: Rows, front: bytes = b"") -> Rows:
        count, length = messages.shape
        blocks = -(-(length + _LEAST_PADDING) // BLOCK)
        padded = np.zeros((count + -count % self.target.width, blocks * BLOCK), np.uint8)
        padded[:count, :length] = messages
        padded[:, length] = 0x80
        padded[:, -8:] = np.frombuffer((8 * (len(front) + length)).to_bytes(8, "big"), np.uint8)
        return self._states(padded, self._state(front))[:count]

    def _state_behind(self, front: bytes) -> _Words:
        """The state behind whole blocks that all messages begin with, uint64 (8,); they are public."""
        start = np.array(START, np.uint64)
        if not front:
            return start
        rows = np.tile(np.frombuffer(front, np.uint8), (self.target.width, 1))
        state: _Words = self._states(rows, start)[0].view(">u8").astype(np.uint64)
        return state

    def _states(self, rows: Rows, start: _Words) -> Rows:
        count, length = rows.shape
        out = np.empty((count, DIGEST_BYTES), np.uint8)
        self._call["sha512"](
            rows.ctypes.data, length, length // BLOCK, count // self.target.width,
            start.ctypes.data, out.ctypes.data,
        )  # fmt: skip
        return out


class _Made(Redacted, Struct, frozen=True):
    """What a function made.

    Attributes:
        out: uint8 (n, 32).
        good: which rows are no refused encodings, bool (n,).
        sums: see `drivers`, uint8 (2, 32).
    """

    out: Rows
    good: npt.NDArray[np.bool_]
    sums: Rows

    def compare(self, function: str, scalars: Rows, rows: Rows, at: int) -> None:
        """Let libsodium compute a row again; raises as `_products`."""
        own = [stretch(operand, at, at + 1) for operand in (scalars, rows)]
        try:
            right = getattr(LIBSODIUM, function)(*own)
        except GroupError as error:
            raise GroupError(error.operation, at) from None
        if not self.good[at] or (right != self.out[at]).any():
            raise BackendError("a row is not what libsodium computes", self.out)

    def compare_sums(self, scalar: Rows) -> None:
        """The scalar times the double of the points' sum is twice the sum of the products."""
        try:
            expected = LIBSODIUM.multiply(scalar, self.sums[:1])
        except GroupError:
            expected = np.zeros((1, ELEMENT_BYTES), np.uint8)
        if (expected != total(np.repeat(self.sums[1:], 2, axis=0))).any():
            raise BackendError("the sum of a batch's products is wrong", self.out)


_SIGNATURES: Final = {
    **dict.fromkeys(("hash_multiply", "multiply", "sum_products"), "ppipppp"),
    "sha512": "piiipp",
}
"""Pointers and integers that a function takes."""


def _halves(scalars: Rows, count: int) -> Rows:
    """Half of each scalar modulo the order, as what is encoded is a point's double; secret, (count, 32).

    One scalar stands for all rows; behind several there are zeros.
    """
    halves = np.empty_like(scalars)
    found = np.zeros((count, ELEMENT_BYTES), np.uint8)
    where = (addresses(one, len(scalars)) for one in (halves, scalars, _HALF))
    deque(map(MULTIPLY_SCALARS, *where), maxlen=0)
    found[: count if len(scalars) == 1 else len(scalars)] = halves
    _wipe(halves)
    return found


def _wipe(*secret: Rows) -> None:
    for memory in secret:
        memory[:] = 0


def _aligned(size: int) -> Rows:
    raw = np.zeros(size + _ALIGNED, np.uint8)
    return raw[-raw.ctypes.data % _ALIGNED :][:size]


_Outcome = tuple[bytes, str, int]


def _root(square: int) -> int:
    """A square root modulo p, or 0 if there is none."""
    root = pow(square, (P + 3) // 8, P)
    return next((one for one in (root, root * SQRT_M1 % P) if one * one % P == square % P), 0)


_SPECIAL: Final = [r * pow(SQRT_M1, -1, P) for r in (-1, 1, -D, D, -pow(D, -1, P), pow(D, -1, P), SQRT_M1)]
"""Squares of t at which a factor of `MAP` is zero or a root changes its case; RFC 9496, section 4.3.4."""
FIELD_EDGES: Final = [
    0, 1, 2, 18, 19, P - 2, P - 1, P, P + 1, 2**255 - 1, 2**255, 2**256 - 1, SQRT_M1, P - SQRT_M1,
    *(_root(square) for square in _SPECIAL),
]  # fmt: skip
"""Numbers of 256 bits around what reductions and square roots treat apart."""
SCALAR_EDGES: Final = [
    1, 2, 3, 15, 16, ORDER - 1, ORDER - 2, (ORDER - 1) // 2, (ORDER + 1) // 2, 2**252 - 1, 2**251,
    int("8" * 62, 16), int("7" * 62, 16), int("f" * 62, 16), 2**128 + 1,
]  # fmt: skip


def number_rows(numbers: Iterable[int]) -> Rows:
    """Numbers below 2^256 as rows, little-endian."""
    return np.frombuffer(b"".join(n.to_bytes(32, "little") for n in numbers), np.uint8).reshape(-1, 32)


def uniform_edges() -> Rows:
    """Uniform bytes of all pairs of neighbours among the field's edges, uint8 (n, 64)."""
    edges = number_rows(FIELD_EDGES)
    return np.concatenate([edges, np.roll(edges, 1, axis=0)], axis=1)


def in_every_lane(rows: Rows) -> Rows:
    """The rows eight times, an odd number of them, so that each comes into every lane of eight or four."""
    odd = rows if len(rows) % 2 else np.concatenate([rows, rows[:1]])
    return np.concatenate([odd] * 8)


def check(backend: GroupBackend) -> None:
    """Make sure that `backend` computes what libsodium does; `BackendError` naming the function and the
    case."""
    edges = uniform_edges()
    proper = ~zero_rows(run(FROM_HASH, "hash to group", edges))
    uniform = in_every_lane(edges[proper])
    all_uniform = in_every_lane(edges)
    own = np.resize(in_every_lane(number_rows(SCALAR_EDGES)), (len(all_uniform), 32))
    for rows, scalars in product((uniform, all_uniform), (own, own[5:6])):
        operands = (scalars[: len(rows)], rows)
        _compare("hash_multiply", backend.hash_multiply, LIBSODIUM.hash_multiply, operands)
    own = own[: len(uniform)]
    good = LIBSODIUM.hash_multiply(own, uniform)
    for function in ("multiply", "sum_products"):
        ours = getattr(backend, function)
        theirs = getattr(LIBSODIUM, function)
        for some in (own, own[:1]):
            _compare(function, ours, theirs, (some, good))
        for bad, lane in product(number_rows(FIELD_EDGES), (0, 3)):
            mixed = good[:8].copy()
            mixed[lane] = bad
            _compare(function, ours, theirs, (own[:8], mixed))
    text = np.resize(np.arange(251, dtype=np.uint8), (11, 256))
    for length, front in ((0, b""), (111, b""), (112, b""), (128, bytes(128)), (256, bytes(range(128)))):
        messages = np.ascontiguousarray(text[:, :length])
        if (backend.sha512(messages, front) != LIBSODIUM.sha512(messages, front)).any():
            raise BackendError(f"sha512 is wrong for {length} bytes")


def _compare(
    name: str, ours: Callable[..., Rows], theirs: Callable[..., Rows], operands: tuple[Rows, ...]
) -> None:
    if _outcome(ours, operands) != _outcome(theirs, operands):
        raise BackendError(f"{name} is not what libsodium computes")


def _outcome(function: Callable[..., Rows], operands: tuple[Rows, ...]) -> _Outcome:
    try:
        return function(*operands).tobytes(), "", -1
    except GroupError as error:
        return b"", "refused", error.row
