"""Writes LLVM IR: straight-line code on vectors of 64-bit lanes, and loops of public length.

A lane belongs to one row. Every vector carries the most that a lane of it may be, so that a sum which might
wrap cannot be written: an interval proof over all code, made whenever the code is. Branches and addresses
are made of arguments and loop counters (`i64`); what rows hold is in vectors, and no instruction here takes
it out of them but to store it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from blindmatch_protocol.group.jit.field import Field

WORD: Final = 1 << 64
"""One more than a lane can hold."""


class Lanes(NamedTuple):
    """A vector: its name in the IR, or a constant; and the most that a lane may be."""

    name: str
    most: int


class Module:
    """Functions that are compiled together: built by `field`, on vectors of `width` lanes, W."""

    def __init__(self, field: type[Field], width: int) -> None:
        self._field = field
        self.width = width
        self.vector = f"<{width} x i64>"
        self._declared: dict[str, str] = {}
        self._functions: list[str] = []

    @contextmanager
    def function(
        self, name: str, *arguments: str, inline: bool = False, exported: bool = False
    ) -> Iterator[Field]:
        """A function without a result; arguments are `ptr %name` or `i64 %name`."""
        function = self._field(self, name, inline)
        yield function
        linkage = "" if exported else "internal "
        rules = 'noinline nounwind "no-builtins"'  # nothing of the C library is called
        self._functions.append(
            f"define {linkage}void @{name}({', '.join(arguments)}) {rules} {{\nentry:\n"
            + "\n".join(f"  {line}" for line in function.body())
            + "\n  ret void\n}\n"
        )

    def intrinsic(self, name: str, result: str, *arguments: str) -> str:
        """Declare one of LLVM's own functions; its name."""
        self._declared[name] = f"declare {result} @{name}({', '.join(arguments)})"
        return f"@{name}"

    def text(self) -> str:
        return "\n".join([*self._declared.values(), *self._functions])


class Function:
    """Builds one function, line by line.

    Attributes:
        inline: whether multiplications are written out in it, as in loops, or called, which keeps the code
            that runs once short.
    """

    def __init__(self, module: Module, name: str, inline: bool) -> None:
        self.module = module
        self.name = name
        self.inline = inline
        self._slots: set[str] = set()
        self._lines: list[str] = []
        self._count = 0
        self._block = "entry"

    def body(self) -> Iterable[str]:
        """Room on the stack, then the code."""
        yield from (
            f"{slot} = alloca {self._room}, align {self.vector_bytes}" for slot in sorted(self._slots)
        )
        yield from self._lines

    @property
    def vector_bytes(self) -> int:
        return 8 * self.module.width

    @property
    def _room(self) -> str:
        return f"[8 x {self.module.vector}]"

    def slot(self, name: str) -> str:
        """Room for up to eight vectors on the stack."""
        self._slots.add(name)
        return name

    def emit(self, line: str) -> None:
        self._lines.append(line)

    def op(self, instruction: str) -> str:
        self._count += 1
        self.emit(f"%v{self._count} = {instruction}")
        return f"%v{self._count}"

    # --- control, and addresses ---

    def loop(self, count: int | str, body: Callable[[str], None], start: int = 0) -> None:
        """`body(i)` for i from `start` to `count` less 1, a public number; none at all if there are none."""
        self._count += 1
        k = self._count
        before = self._block
        self.emit(f"br label %head{k}")
        self._label(f"head{k}")
        at = len(self._lines)
        self.emit("")
        more = self.op(f"icmp slt i64 %i{k}, {count}")
        self.emit(f"br i1 {more}, label %body{k}, label %exit{k}")
        self._label(f"body{k}")
        body(f"%i{k}")
        following = self.op(f"add i64 %i{k}, 1")
        self._lines[at] = f"%i{k} = phi i64 [ {start}, %{before} ], [ {following}, %{self._block} ]"
        self.emit(f"br label %head{k}")
        self._label(f"exit{k}")

    def _label(self, name: str) -> None:
        self._lines.append(f"{name}:")
        self._block = name

    def call(self, function: str, *arguments: str) -> None:
        """Call another function of the module with pointers, or numbers as `i64 n`."""
        typed = (one if one.startswith("i64 ") else f"ptr {one}" for one in arguments)
        self.emit(f"call void @{function}({', '.join(typed)})")

    def number(self, operation: str, left: str, right: int | str) -> str:
        return self.op(f"{operation} i64 {left}, {right}")

    def offset(self, pointer: str, count: int | str) -> str:
        """So many bytes behind a pointer."""
        return self.op(f"getelementptr i8, ptr {pointer}, i64 {count}") if count else pointer

    def item(self, pointer: str, index: str, size: int | str) -> str:
        """Item `index` of an array of items of `size` bytes."""
        return self.offset(pointer, self.number("mul", index, size))

    # --- lanes ---

    def constant(self, value: int) -> Lanes:
        """The same number in every lane."""
        signed = value - WORD if value >= WORD >> 1 else value
        return Lanes(f"<{', '.join([f'i64 {signed}'] * self.module.width)}>", value)

    def _binary(self, operation: str, left: Lanes, right: Lanes | int, most: int) -> Lanes:
        other = self.constant(right) if isinstance(right, int) else right
        return Lanes(self.op(f"{operation} {self.module.vector} {left.name}, {other.name}"), most)

    def add(self, left: Lanes, right: Lanes) -> Lanes:
        """The sum, which cannot wrap; `OverflowError` if it could."""
        return self._binary("add", left, right, self.fits(left.most + right.most))

    def fits(self, most: int) -> int:
        """`most`, if a lane can hold it; else `OverflowError`."""
        if most >= WORD:
            raise OverflowError(f"{self.name}: a lane may wrap")
        return most

    def wrapped_sum(self, left: Lanes, right: Lanes | int) -> Lanes:
        return self._binary("add", left, right, WORD - 1)

    def wrapped_difference(self, left: Lanes, right: Lanes | int) -> Lanes:
        return self._binary("sub", left, right, WORD - 1)

    def and_(self, left: Lanes, right: Lanes | int) -> Lanes:
        return self._binary(
            "and", left, right, min(left.most, right if isinstance(right, int) else right.most)
        )

    def or_(self, left: Lanes, right: Lanes) -> Lanes:
        return self._binary("or", left, right, (1 << max(left.most, right.most).bit_length()) - 1)

    def xor(self, left: Lanes, right: Lanes | int) -> Lanes:
        most = max(left.most, right if isinstance(right, int) else right.most)
        return self._binary("xor", left, right, (1 << most.bit_length()) - 1)

    def right(self, value: Lanes, bits: int) -> Lanes:
        return self._binary("lshr", value, bits, value.most >> bits)

    def right_by(self, value: Lanes, bits: str) -> Lanes:
        """Shifted right by a public number."""
        vector = self.module.vector
        width = self.module.width
        one = self.op(f"insertelement {vector} poison, i64 {bits}, i32 0")
        same = self.op(f"shufflevector {vector} {one}, {vector} poison, <{width} x i32> zeroinitializer")
        return Lanes(self.op(f"lshr {vector} {value.name}, {same}"), value.most)

    def left(self, value: Lanes, bits: int) -> Lanes:
        """Shifted left; bits that leave at the top are gone."""
        return self._binary("shl", value, bits, min(WORD - 1, value.most << bits))

    def pick(self, mask: Lanes, yes: Lanes, no: Lanes) -> Lanes:
        """`yes` in lanes where `mask` is all ones, `no` where it is zero."""
        found = self.xor(no, self.and_(mask, self.xor(yes, no)))
        return Lanes(found.name, max(yes.most, no.most))

    def load_lanes(self, pointer: str, index: int = 0, most: int = WORD - 1) -> Lanes:
        where = self.offset(pointer, index * self.vector_bytes)
        return Lanes(self.op(f"load {self.module.vector}, ptr {where}, align {self.vector_bytes}"), most)

    def store_lanes(self, pointer: str, index: int, value: Lanes) -> None:
        where = self.offset(pointer, index * self.vector_bytes)
        self.emit(f"store {self.module.vector} {value.name}, ptr {where}, align {self.vector_bytes}")

    def gathered(self, pointer: str, index: int, stride: int | str) -> Lanes:
        """Word `index` of each lane's row; rows lie `stride` bytes apart."""
        vector = "poison"
        row = self.offset(pointer, 8 * index)
        for lane in range(self.module.width):
            word = self.op(f"load i64, ptr {row}, align 1")
            vector = self.op(f"insertelement {self.module.vector} {vector}, i64 {word}, i32 {lane}")
            row = self.offset(row, stride)
        return Lanes(vector, WORD - 1)

    def scattered(self, pointer: str, index: int, stride: int, value: Lanes) -> None:
        """Put each lane into word `index` of its row."""
        for lane in range(self.module.width):
            word = self.op(f"extractelement {self.module.vector} {value.name}, i32 {lane}")
            self.emit(f"store i64 {word}, ptr {self.offset(pointer, 8 * index + stride * lane)}, align 1")

    def rotated(self, value: Lanes, lanes: int) -> Lanes:
        """Every lane's value moved to the lane `lanes` before it."""
        width = self.module.width
        vector = self.module.vector
        order = ", ".join(f"i32 {(lane + lanes) % width}" for lane in range(width))
        shuffled = f"shufflevector {vector} {value.name}, {vector} poison, <{width} x i32> <{order}>"
        return Lanes(self.op(shuffled), value.most)
