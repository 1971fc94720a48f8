"""The functions that are called: batches of rows, W at a time (a group), up to 32 groups under one inversion.

    hash_multiply   uniform bytes -> MAP twice, added -> times half the scalars -> its double encoded
    multiply        encodings -> decoded, with a verdict -> the same
    sum_products    encodings -> decoded -> tables; all groups' digits are added between shared doublings
                    (Straus 1964), lanes at last; its double encoded, in lane 0 of %out

The first two also encode two sums behind %sums, in lane 0: the double of the sum H of all rows' points, and
twice the sum of half the scalars times them. With one scalar k for all rows, k (2H) is the double of that.

`%room` is memory for points, tables and digits, which the caller wipes; its layout is `Room`.

Multiplication by signed windows of four bits: 64 digits from -8 to 7, the most significant first.

A digit's multiple is found by looking at all eight entries of the table, and its sign is applied by a mask:
neither a branch nor an address depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import Struct

from blindmatch_protocol.group.jit import element
from blindmatch_protocol.group.jit.element import CACHED_IDENTITY, added
from blindmatch_protocol.group.jit.field import LIMBS, Field, Fma, Ifma
from blindmatch_protocol.group.jit.ir import WORD, Lanes, Module
from blindmatch_protocol.group.jit.sha512 import define_sha512

BITS: Final = 4
ENTRIES: Final = 1 << BITS - 1
WINDOWS: Final = 64
DIGITS: Final = element.COORDINATES * ENTRIES
TABLE: Final = DIGITS + 1
"""Elements of a table: a point's multiples from 1 to 8, cached, and its scalar's digits."""


def define_windows(module: Module) -> None:
    """`ge_table` of a point and its scalar; `ge_add_digit`, which adds a digit's multiple to a point."""
    with module.function("ge_table", "ptr %table", "ptr %p", "ptr %scalars", "ptr %room") as f:
        _digits(f)
        _multiples(f)
    with module.function("ge_add_digit", "ptr %p", "ptr %table", "i64 %number", inline=True) as f:
        _add_digit(f)


def _digits(f: Field) -> None:
    """The digits of scalars below 2^253, each with 8 added to it: so they are those from 0 to 15 of a sum."""
    words = [f.gathered("%scalars", k, 32) for k in range(4)]
    eights = f.number_of(int("8" * (WINDOWS - 1), 16))
    raised = element.to_words(f, f.carried(f.sum(element.from_words(f, words), eights), False))
    raised[3] = f.or_(raised[3], f.constant(1 << 63))  # the first digit is 0 or 1
    for k, word in enumerate(raised):
        f.store_lanes(f.element("%table", DIGITS), k, word)


def _multiples(f: Field) -> None:
    """%p's; %room is for a point."""
    f.call("ge_cached", "%table", "%p")
    f.call("ge_add", "%room", "%p", "%table")
    f.call("ge_cached", f.element("%table", element.COORDINATES), "%room")

    def following(i: str) -> None:
        f.call("ge_add", "%room", "%room", "%table")
        f.call("ge_cached", f.item("%table", i, element.COORDINATES * f.size), "%room")

    f.loop(ENTRIES, following, start=2)


def _add_digit(f: Field) -> None:
    size, negative = _digit(f)
    found = element.constant_point(f, CACHED_IDENTITY)
    for entry in range(ENTRIES):
        mask = _equal(f, size, entry + 1)
        found = [
            f.choose(mask, a, b) for a, b in zip(element.load_point(f, "%table", entry), found, strict=True)
        ]
    y_plus_x, y_minus_x, twice_z, twice_dt = found
    cached = [
        f.choose(negative, y_minus_x, y_plus_x),
        f.choose(negative, y_plus_x, y_minus_x),
        twice_z,
        f.choose(negative, f.negated(twice_dt), twice_dt),
    ]
    element.store_point(f, "%p", added(f, element.load_point(f, "%p"), cached))


def _digit(f: Field) -> tuple[Lanes, Lanes]:
    """The size of each lane's digit, and all ones where it is negative; %number 0 is the most significant."""
    place = f.number("sub", str(WINDOWS - 1), "%number")
    word = f.item(f.element("%table", DIGITS), f.number("lshr", place, 4), f.vector_bytes)
    bits = f.number("mul", f.number("and", place, 15), BITS)
    raised = f.and_(f.right_by(f.load_lanes(word), bits), 15)
    negative = f.wrapped_difference(f.right(raised, BITS - 1), 1)
    digit = f.wrapped_difference(raised, ENTRIES)
    return f.wrapped_difference(f.xor(digit, negative), negative), negative


def _equal(f: Field, value: Lanes, number: int) -> Lanes:
    """All ones where a lane has this number."""
    width = f.module.width
    vector = f.module.vector
    same = f.op(f"icmp eq {vector} {value.name}, {f.constant(number).name}")
    return Lanes(f.op(f"sext <{width} x i1> {same} to {vector}"), (1 << 64) - 1)


CHUNK: Final = 32
"""Groups under one inversion, or under shared doublings."""


class Room:
    """Where things lie in `%room`, counted in field elements."""

    t: Final = 0
    kept: Final = 2
    base: Final = kept + 2 * element.ROOM
    power: Final = base + 2
    powers: Final = power + 2
    point: Final = powers + 8
    other: Final = point + element.COORDINATES
    cached: Final = other + element.COORDINATES
    sums: Final = cached + element.COORDINATES
    running: Final = sums + 2 * element.COORDINATES
    inverse: Final = running + 1
    states: Final = inverse + 1
    tables: Final = states + element.STATE * CHUNK

    @classmethod
    def bytes(cls, width: int, tables: int) -> int:
        """Of a room with so many tables."""
        return (cls.tables + TABLE * min(tables, CHUNK)) * LIMBS * width * 8


ARGUMENTS: Final = (
    "ptr %in", "ptr %scalars", "i64 %groups", "ptr %out", "ptr %room", "ptr %ok", "ptr %sums"
)  # fmt: skip
"""Of each function; %ok is a verdict a row, all ones or zero."""


def define_drivers(module: Module) -> None:
    """All of the above."""
    with module.function("group_hash", "ptr %in", "ptr %room", "ptr %ok") as f:
        _hash(f)
    with module.function("group_decode", "ptr %in", "ptr %room", "ptr %ok") as f:
        f.call("decode_before", "%in", _at(f, Room.kept), _at(f, Room.base), "%ok")
        f.call("fe_power", _at(f, Room.power), _at(f, Room.base), _at(f, Room.powers))
        f.call("decode_after", _at(f, Room.point), _at(f, Room.kept), _at(f, Room.power), "%ok")
    with module.function("group_multiply", "ptr %room", "ptr %scalars") as f:
        _multiply(f)
    with module.function("add_to", "ptr %total", "ptr %p", "ptr %room") as f:
        f.call("ge_cached", _at(f, Room.cached), "%p")
        f.call("ge_add", "%total", "%total", _at(f, Room.cached))
    with module.function("encode_states", "ptr %room", "i64 %count", "ptr %out") as f:
        _encode_states(f)
    for name, read, row in (("hash_multiply", "group_hash", 64), ("multiply", "group_decode", 32)):
        with module.function(name, *ARGUMENTS, exported=True) as f:
            _products(f, read, row)
    with module.function("sum_products", *ARGUMENTS, exported=True) as f:
        _sum_products(f)


def _at(f: Field, slot: int) -> str:
    return f.element("%room", slot)


# --- one group ---


def _hash(f: Field) -> None:
    """Section 4.3.4: the sum of two points, each of half of the bytes, to `Room.point`."""
    words = [f.gathered("%in", k, 64) for k in range(8)]
    for k in range(2):
        f.store("%room", Room.t + k, element.from_words(f, words[4 * k : 4 * k + 4]))
        kept = _at(f, Room.kept + k * element.ROOM)
        base = _at(f, Room.base + k)
        f.call("map_before", _at(f, Room.t + k), kept, base)
    f.call("fe_power_pair", _at(f, Room.power), _at(f, Room.base), _at(f, Room.powers))
    for k, point in enumerate((Room.point, Room.other)):
        kept = _at(f, Room.kept + k * element.ROOM)
        power = _at(f, Room.power + k)
        f.call("map_after", _at(f, point), _at(f, Room.t + k), kept, power)
    f.call("add_to", _at(f, Room.point), _at(f, Room.other), "%room")
    f.store_lanes("%ok", 0, f.constant(WORD - 1))


def _multiply(f: Field) -> None:
    """`Room.point` times the scalars, to `Room.other`."""
    table = _at(f, Room.tables)
    result = _at(f, Room.other)
    f.call("ge_table", table, _at(f, Room.point), "%scalars", result)
    element.store_point(f, result, element.constant_point(f, element.IDENTITY))

    def window(i: str) -> None:
        f.call("ge_double", result, f"i64 {BITS}")
        f.call("ge_add_digit", result, table, f"i64 {i}")

    f.call("ge_add_digit", result, table, "i64 0")
    f.loop(WINDOWS, window, start=1)


def _encode_states(f: Field) -> None:
    """Encode %count states with one inversion (Montgomery's trick)."""
    states = _at(f, Room.states)
    size = element.STATE * f.size
    f.store("%room", Room.running, f.number_of(1))

    def forward(i: str) -> None:
        state = f.item(states, i, size)
        before = f.load("%room", Room.running)
        f.store(state, element.PREFIX, before)
        f.store("%room", Room.running, f.times(before, f.load(state, element.PRODUCT)))

    def backward(i: str) -> None:
        k = f.number("sub", f.number("sub", "%count", 1), i)
        state = f.item(states, k, size)
        inverse = f.load("%room", Room.running)
        f.store("%room", Room.inverse, f.times(inverse, f.load(state, element.PREFIX)))
        f.store("%room", Room.running, f.times(inverse, f.load(state, element.PRODUCT)))
        f.call("encode", state, _at(f, Room.inverse), f.item("%out", k, 32 * f.module.width))

    f.loop("%count", forward)
    running = _at(f, Room.running)
    f.call("fe_invert", running, running, _at(f, Room.powers))
    f.loop("%count", backward)


# --- batches ---


def _chunks(f: Field, body: Callable[[str, str], None]) -> None:
    """`body(first, count)` for chunks of groups."""

    def chunk(c: str) -> None:
        first = f.number("mul", c, CHUNK)
        left = f.number("sub", "%groups", first)
        some = f.op(f"icmp slt i64 {left}, {CHUNK}")
        body(first, f.op(f"select i1 {some}, i64 {left}, i64 {CHUNK}"))

    f.loop(f.number("sdiv", f.number("add", "%groups", CHUNK - 1), CHUNK), chunk)


def _products(f: Field, read: str, row: int) -> None:
    """Read every group of rows of `row` bytes into `Room.point`, multiply and encode it."""
    width = f.module.width
    sums = [_at(f, Room.sums + element.COORDINATES * k) for k in range(2)]

    def chunk(first: str, count: str) -> None:
        def one(i: str) -> None:
            g = f.number("add", first, i)
            f.call(read, f.item("%in", g, row * width), "%room", f.item("%ok", g, 8 * width))
            f.call("group_multiply", "%room", f.item("%scalars", g, 32 * width))
            f.call("encode_state", f.item(_at(f, Room.states), i, element.STATE * f.size), _at(f, Room.other))
            for total, point in zip(sums, (Room.point, Room.other), strict=True):
                f.call("add_to", total, _at(f, point), "%room")

        f.loop(count, one)
        f.call("encode_states", "%room", f"i64 {count}", f.item("%out", first, 32 * width))

    for total in sums:
        element.store_point(f, total, element.constant_point(f, element.IDENTITY))
    _chunks(f, chunk)
    _encode_sums(f, sums, "%sums")


def _sum_products(f: Field) -> None:
    total = _at(f, Room.sums)
    width = f.module.width

    def chunk(first: str, count: str) -> None:
        def read(i: str) -> None:
            g = f.number("add", first, i)
            f.call("group_decode", f.item("%in", g, 32 * width), "%room", f.item("%ok", g, 8 * width))
            scalars = f.item("%scalars", g, 32 * width)
            f.call("ge_table", _table(f, i), _at(f, Room.point), scalars, _at(f, Room.other))

        def window(w: str) -> None:
            f.call("ge_double", _at(f, Room.other), f"i64 {BITS}")
            f.loop(count, lambda i: f.call("ge_add_digit", _at(f, Room.other), _table(f, i), f"i64 {w}"))

        f.loop(count, read)
        element.store_point(f, _at(f, Room.other), element.constant_point(f, element.IDENTITY))
        f.loop(WINDOWS, window)
        f.call("add_to", total, _at(f, Room.other), "%room")

    element.store_point(f, total, element.constant_point(f, element.IDENTITY))
    _chunks(f, chunk)
    _encode_sums(f, [total], "%out")


def _table(f: Field, i: str) -> str:
    return f.item(_at(f, Room.tables), i, TABLE * f.size)


def _encode_sums(f: Field, sums: Sequence[str], out: str) -> None:
    """The sum over all lanes of each point, encoded."""
    for k, total in enumerate(sums):
        f.call("ge_fold", total, _at(f, Room.cached))
        f.call("encode_state", f.element(_at(f, Room.states), element.STATE * k), total)
    f.call("encode_states", "%room", f"i64 {len(sums)}", out)


class Target(Struct, frozen=True):
    """A kind of processor.

    Attributes:
        cpu: LLVM's name of the least one.
        features: it must have, as LLVM calls them.
        field: how it multiplies.
    """

    name: str
    cpu: str
    features: frozenset[str]
    field: type[Field]
    width: int

    def module(self) -> Module:
        module = Module(self.field, self.width)
        # what is called where multiplications are not written out
        with module.function("fe_mul", "ptr %result", "ptr %a", "ptr %b", inline=True) as f:
            f.store("%result", 0, f.times(f.load("%a"), f.load("%b")))
        with module.function("fe_square", "ptr %result", "ptr %a", inline=True) as f:
            f.store("%result", 0, f.square(f.load("%a")))
        with module.function("fe_canonical", "ptr %result", "ptr %a", inline=True) as f:
            f.store("%result", 0, f.canonical(f.load("%a")))
        element.define_powers(module)
        element.define_points(module)
        define_windows(module)
        element.define_elements(module)
        define_drivers(module)
        define_sha512(module)
        return module


_AVX512: Final = frozenset({"avx512f", "avx512dq", "avx512bw", "avx512vl"})
TARGETS: Final = (
    Target("avx512ifma", "x86-64-v4", _AVX512 | {"avx512ifma"}, Ifma, 8),
    Target("avx512", "x86-64-v4", _AVX512, Fma, 8),
    Target("avx2", "x86-64-v3", frozenset({"avx2", "fma"}), Fma, 4),
)
"""The fastest first."""


def target_for(features: Iterable[str]) -> Target | None:
    """The fastest for a processor with these features; None if there is none."""
    held = frozenset(features)
    return next((target for target in TARGETS if target.features <= held), None)
