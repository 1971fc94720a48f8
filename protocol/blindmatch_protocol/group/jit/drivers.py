"""The functions that are called: batches of rows, W at a time (a group), up to 32 groups under one inversion.

    hash_multiply   uniform bytes -> MAP twice, added -> times half the scalars -> its double encoded
    multiply        encodings -> decoded, with a verdict -> the same
    sum_products    encodings -> decoded -> tables; all groups' digits are added between shared doublings
                    (Straus 1964), lanes at last; its double encoded, in lane 0 of %out

The first two also encode two sums behind %sums, in lane 0: the double of the sum H of all rows' points, and
twice the sum of half the scalars times them. With one scalar k for all rows, k (2H) is the double of that.

`%room` is memory for points, tables and digits, which the caller wipes; its layout is `Room`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from blindmatch_protocol.group.jit.element import PREFIX, PRODUCT, ROOM, STATE, from_words
from blindmatch_protocol.group.jit.field import LIMBS, Field
from blindmatch_protocol.group.jit.ir import WORD, Module
from blindmatch_protocol.group.jit.point import COORDINATES, IDENTITY, constant_point, store_point
from blindmatch_protocol.group.jit.windows import BITS, TABLE, WINDOWS

CHUNK: Final = 32
"""Groups under one inversion, or under shared doublings."""


class Room:
    """Where things lie in `%room`, counted in field elements."""

    t: Final = 0
    kept: Final = 2
    base: Final = kept + 2 * ROOM
    power: Final = base + 2
    powers: Final = power + 2
    point: Final = powers + 8
    other: Final = point + COORDINATES
    cached: Final = other + COORDINATES
    sums: Final = cached + COORDINATES
    running: Final = sums + 2 * COORDINATES
    inverse: Final = running + 1
    states: Final = inverse + 1
    tables: Final = states + STATE * CHUNK

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
        _decode(f)
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
        f.store("%room", Room.t + k, from_words(f, words[4 * k : 4 * k + 4]))
        kept, base = _at(f, Room.kept + k * ROOM), _at(f, Room.base + k)
        f.call("map_before", _at(f, Room.t + k), kept, base)
    f.call("fe_power_pair", _at(f, Room.power), _at(f, Room.base), _at(f, Room.powers))
    for k, point in enumerate((Room.point, Room.other)):
        kept, power = _at(f, Room.kept + k * ROOM), _at(f, Room.power + k)
        f.call("map_after", _at(f, point), _at(f, Room.t + k), kept, power)
    f.call("add_to", _at(f, Room.point), _at(f, Room.other), "%room")
    f.store_lanes("%ok", 0, f.constant(WORD - 1))


def _decode(f: Field) -> None:
    f.call("decode_before", "%in", _at(f, Room.kept), _at(f, Room.base), "%ok")
    f.call("fe_power", _at(f, Room.power), _at(f, Room.base), _at(f, Room.powers))
    f.call("decode_after", _at(f, Room.point), _at(f, Room.kept), _at(f, Room.power), "%ok")


def _multiply(f: Field) -> None:
    """`Room.point` times the scalars, to `Room.other`."""
    table, result = _at(f, Room.tables), _at(f, Room.other)
    f.call("ge_table", table, _at(f, Room.point), "%scalars", result)
    store_point(f, result, constant_point(f, IDENTITY))

    def window(i: str) -> None:
        f.call("ge_double", result, f"i64 {BITS}")
        f.call("ge_add_digit", result, table, f"i64 {i}")

    f.call("ge_add_digit", result, table, "i64 0")
    f.loop(WINDOWS, window, start=1)


def _encode_states(f: Field) -> None:
    """Encode %count states with one inversion (Montgomery's trick)."""
    states, size = _at(f, Room.states), STATE * f.size
    f.store("%room", Room.running, f.number_of(1))

    def forward(i: str) -> None:
        state = f.item(states, i, size)
        before = f.load("%room", Room.running)
        f.store(state, PREFIX, before)
        f.store("%room", Room.running, f.times(before, f.load(state, PRODUCT)))

    def backward(i: str) -> None:
        k = f.number("sub", f.number("sub", "%count", 1), i)
        state, inverse = f.item(states, k, size), f.load("%room", Room.running)
        f.store("%room", Room.inverse, f.times(inverse, f.load(state, PREFIX)))
        f.store("%room", Room.running, f.times(inverse, f.load(state, PRODUCT)))
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
    width, sums = f.module.width, [_at(f, Room.sums + COORDINATES * k) for k in range(2)]

    def chunk(first: str, count: str) -> None:
        def one(i: str) -> None:
            g = f.number("add", first, i)
            f.call(read, f.item("%in", g, row * width), "%room", f.item("%ok", g, 8 * width))
            f.call("group_multiply", "%room", f.item("%scalars", g, 32 * width))
            f.call("encode_state", f.item(_at(f, Room.states), i, STATE * f.size), _at(f, Room.other))
            for total, point in zip(sums, (Room.point, Room.other), strict=True):
                f.call("add_to", total, _at(f, point), "%room")

        f.loop(count, one)
        f.call("encode_states", "%room", f"i64 {count}", f.item("%out", first, 32 * width))

    for total in sums:
        store_point(f, total, constant_point(f, IDENTITY))
    _chunks(f, chunk)
    _encode_sums(f, sums, "%sums")


def _sum_products(f: Field) -> None:
    total, width = _at(f, Room.sums), f.module.width

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
        store_point(f, _at(f, Room.other), constant_point(f, IDENTITY))
        f.loop(WINDOWS, window)
        f.call("add_to", total, _at(f, Room.other), "%room")

    store_point(f, total, constant_point(f, IDENTITY))
    _chunks(f, chunk)
    _encode_sums(f, [total], "%out")


def _table(f: Field, i: str) -> str:
    return f.item(_at(f, Room.tables), i, TABLE * f.size)


def _encode_sums(f: Field, sums: Sequence[str], out: str) -> None:
    """The sum over all lanes of each point, encoded."""
    for k, total in enumerate(sums):
        f.call("ge_fold", total, _at(f, Room.cached))
        f.call("encode_state", f.element(_at(f, Room.states), STATE * k), total)
    f.call("encode_states", "%room", f"i64 {len(sums)}", out)
