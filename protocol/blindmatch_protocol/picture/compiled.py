"""Sums of PDQ's blur, and distances of hashes, by machine code where a process has enough of them.

LLVM IR for AVX2 or later, with the bits of numpy: every sum is made as `pdq.slid` makes it, in its order. It
needs `llvmlite`, of the extra `fast`; compiling and the self-test take 0.2 s, so they wait until they pay.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import cache
from itertools import product
from typing import Any, Final, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from blindmatch_protocol.group.backend import BackendError, BackendWarning
from blindmatch_protocol.group.jit.ir import Function, Module
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.pdq import Floats, Rows

Words: TypeAlias = npt.NDArray[np.uint64]
COMPILING_NS: Final = 250_000_000
PIXEL_NS: Final = 6
"""What machine code saves of a pixel, and of a pair of hashes."""
PAIR_NS: Final = 2
_BAND_BYTES: Final = 3 << 19
_FLOATS: Final = "<8 x float>"
_FOUR: Final = "<4 x float>"
_WORDS: Final = "<8 x i64>"
_saved_ns = 0


def thumbnail(rows: Rows, height: int, width: int) -> Floats | None:
    """`pdq.thumbnail` of a picture that is read in bands of rows; None if a side is below 5."""
    if min(height, width) < pdq.LEAST_SIDE or (height, width) == (pdq.SIDE, pdq.SIDE):
        return rows(slice(height)) if height == width == pdq.SIDE else None
    at_once = max(32, _BAND_BYTES // (4 * width) // 32 * 32)
    if found := once_it_pays(PIXEL_NS * height * width):
        return pdq.blurred(rows, height, width, at_once, (found.turn, found.slide))
    plane = np.empty((height, width), np.float32)
    for top in range(0, height, at_once):
        plane[top : top + at_once] = rows(slice(top, top + at_once))
    return pdq.thumbnail(plane)


def once_it_pays(saved_ns: int) -> Kernels | None:
    """The kernels, once they would have saved what compiling takes, with `saved_ns` of the work at hand."""
    global _saved_ns
    _saved_ns += saved_ns
    return loaded() if _saved_ns >= COMPILING_NS else None


@cache
def loaded() -> Kernels | None:
    """The kernels, tested; None without llvmlite, without AVX2, or if they are not what numpy computes."""
    try:
        from blindmatch_protocol.group.jit.machine import compiled, host_target, linked

        target = host_target()
    except (ImportError, BackendError):
        return None
    takes = {name: one for name, (one, _, _) in _FUNCTIONS.items()}
    try:
        made = Kernels(linked(compiled(code().text(), target.cpu, target.features), takes))
        wrong = differing(made)
    except (RuntimeError, OSError) as error:
        wrong = f"they cannot be compiled ({type(error).__name__})"
    if wrong:
        warnings.warn(f"no kernels for pictures: {wrong}; numpy computes", BackendWarning, stacklevel=2)
        return None
    return made


class Kernels(NamedTuple):
    """Compiled functions, of `code`. All memory that they write is the caller's."""

    call: Mapping[str, Callable[..., None]]

    def turn(self, rows: Floats, into: Floats) -> None:
        """`pdq.turned`."""
        if min(rows.shape) < 4 or rows.strides[1] != 4:
            return pdq.turned(rows, into)
        where = (rows.ctypes.data, rows.strides[0], *rows.shape, into.ctypes.data, into.strides[0])
        return self.call["turn"](*where)

    def slide(self, lines: Floats, window: int, sums: Floats, covered: Floats | None) -> None:
        """`pdq.slid` of lines with room up to whole eights of floats."""
        padded = np.zeros(-(-len(sums) // 8) * 8, np.float32)
        count = len(lines) - window
        padded[: len(sums)] = sums
        covered = np.ones(count, np.float32) if covered is None else covered
        where = (lines.ctypes.data, lines.strides[0], count, window, len(padded) // 8)
        self.call["slide"](*where, padded.ctypes.data, covered.ctypes.data)
        sums[:] = padded[: len(sums)]

    def apart(self, rows: Words, columns: Words, counts: npt.NDArray[np.int64]) -> pdq.Hashes:
        """Distances modulo 256 of hashes, words (n, 4) and (4, 8 k); `counts`, (8, 256), takes them."""
        found = np.empty((len(rows), columns.shape[1]), np.uint8)
        where = (rows.ctypes.data, len(rows), columns.ctypes.data, columns.strides[0], found.shape[1] // 8)
        self.call["apart"](*where, found.ctypes.data, counts.ctypes.data)
        return found


def differing(made: Kernels) -> str:
    """Compare every function with numpy; what differs, or nothing."""
    mixed: Any = np.arange(1, 1 << 17, dtype=np.uint32) * np.uint32(0x9E3779B1)
    mixed = (mixed ^ mixed >> 15) * np.uint32(0x85EBCA77)
    for height, width in ((5, 300), (200, 7), (97, 64), (16, 5), (131, 259), (150, 641)):
        plane = ((mixed >> 8).astype(np.float32) / np.float32(65793))[: height * width].reshape(height, -1)
        small = pdq.blurred(plane.__getitem__, height, width, 32, (made.turn, made.slide))
        if small.tobytes() != pdq.thumbnail(plane).tobytes():
            return f"the blur of {height} x {width} differs"
    words = mixed[:4096].view(np.uint64).reshape(4, -1)
    counts = np.zeros((8, 256), np.int64)
    rows = np.ascontiguousarray(np.concatenate([words[:, :5], ~words[:, 5:6]], axis=1).T)
    found = made.apart(rows, words, counts)
    if (found != np.bitwise_count(rows[:, :, None] ^ words).sum(axis=1, dtype=np.uint8)).any():
        return "distances differ"
    every = [np.bincount(found[:, lane::8].ravel(), minlength=256) for lane in range(8)]
    return "" if (counts == every).all() else "counts of distances differ"


class _Code(Function):
    """Builds functions on memory of floats and bytes."""

    def load(self, kind: str, pointer: str) -> str:
        return self.op(f"load {kind}, ptr {pointer}, align 1")

    def spread(self, kind: str, pointer: str) -> str:
        """One in all of eight lanes."""
        one = self.op(f"insertelement <8 x {kind}> poison, {kind} {self.load(kind, pointer)}, i32 0")
        return self.op(f"shufflevector <8 x {kind}> {one}, <8 x {kind}> poison, <8 x i32> zeroinitializer")

    def store(self, kind: str, value: str, pointer: str) -> None:
        self.emit(f"store {kind} {value}, ptr {pointer}, align 1")


def code() -> Module:
    """`turn` and `slide`, see `pdq`; `apart`, see `Kernels`."""
    module = Module(cast(Any, _Code), 8)
    kinds = {"p": "ptr", "i": "i64"}
    for name, (takes, names, define) in _FUNCTIONS.items():
        arguments = (f"{kinds[kind]} %{one}" for kind, one in zip(takes, names.split(), strict=True))
        with module.function(name, *arguments, exported=True) as f:
            define(cast(_Code, f))
    return module


def _define_turn(f: _Code) -> None:
    """Four rows and columns at a time; the last four once more, rather than what lies behind them."""
    least = f.module.intrinsic("llvm.umin.i64", "i64", "i64", "i64")

    def place(number: str, of: str) -> str:
        return f.op(f"call i64 {least}(i64 {f.number('shl', number, 2)}, i64 {f.number('sub', of, 4)})")

    def mixed(one: str, other: str, *lanes: int) -> str:
        order = ", ".join(f"i32 {lane}" for lane in lanes)
        return f.op(f"shufflevector {_FOUR} {one}, {_FOUR} {other}, <4 x i32> <{order}>")

    def block(x: str, y: str) -> None:
        rows = f.item(f.item("%rows", y, "%stride"), x, 4)
        into = f.item(f.item("%into", x, "%wide"), y, 4)
        a, b, c, d = (f.load(_FOUR, f.item(rows, "%stride", k)) for k in range(4))
        pairs = [(mixed(a, b, *half), mixed(c, d, *half)) for half in ((0, 4, 1, 5), (2, 6, 3, 7))]
        for k, ((left, right), half) in enumerate(product(pairs, ((0, 1, 4, 5), (2, 3, 6, 7)))):
            f.store(_FOUR, mixed(left, right, *half), f.item(into, "%wide", k))

    across, down = (f.number("lshr", f.number("add", of, 3), 2) for of in ("%width", "%count"))
    f.loop(across, lambda b: f.loop(down, lambda c: block(place(b, "%width"), place(c, "%count"))))


def _define_slide(f: _Code) -> None:
    window = f.number("mul", "%window", "%stride")

    def line(i: str) -> None:
        leaving = f.item("%lines", i, "%stride")
        share = f.spread("float", f.item("%covered", i, 4))
        f.loop("%eights", lambda e: eight(f.item("%sums", e, 32), f.item(leaving, e, 32), share))

    def eight(total: str, leaving: str, share: str) -> None:
        entering = f.load(_FLOATS, f.offset(leaving, window))
        more = f.op(f"fadd {_FLOATS} {f.load(_FLOATS, total)}, {entering}")
        less = f.op(f"fsub {_FLOATS} {more}, {f.load(_FLOATS, leaving)}")
        f.store(_FLOATS, less, total)
        f.store(_FLOATS, f.op(f"fdiv {_FLOATS} {less}, {share}"), leaving)

    f.loop("%count", line)


def _define_apart(f: _Code) -> None:
    """Eight columns at a time: bits of the XOR, word by word."""
    bits_of = f.module.intrinsic("llvm.ctpop.v8i64", _WORDS, _WORDS)

    def row(r: str) -> None:
        hashes = [f.spread("i64", f.offset(f.item("%rows", r, 32), 8 * k)) for k in range(4)]
        out = f.item("%out", f.number("mul", r, "%eights"), 8)
        f.loop("%eights", lambda e: eight(e, hashes, out))
        f.loop("%eights", lambda e: add(e, out))

    def eight(e: str, hashes: list[str], out: str) -> None:
        total = "zeroinitializer"
        for k, word in enumerate(hashes):
            column = f.load(_WORDS, f.item(f.item("%words", e, 64), "%stride", k))
            bits = f.op(f"call {_WORDS} {bits_of}({_WORDS} {f.op(f'xor {_WORDS} {word}, {column}')})")
            total = f.op(f"add {_WORDS} {total}, {bits}")
        f.store("<8 x i8>", f.op(f"trunc {_WORDS} {total} to <8 x i8>"), f.item(out, e, 8))

    def add(e: str, out: str) -> None:
        word = f.load("i64", f.item(out, e, 8))
        for k in range(8):
            apart = f.number("and", f.number("lshr", word, 8 * k), 255)
            count = f.item(f.offset("%counts", 2048 * k), apart, 8)
            f.store("i64", f.number("add", f.load("i64", count), 1), count)

    f.loop("%count", row)


_FUNCTIONS: Final = {
    "turn": ("piiipi", "rows stride count width into wide", _define_turn),
    "slide": ("piiiipp", "lines stride count window eights sums covered", _define_slide),
    "apart": ("pipiipp", "rows count words stride eights out counts", _define_apart),
}
