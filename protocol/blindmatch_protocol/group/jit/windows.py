"""Multiplication by signed windows of four bits: 64 digits from -8 to 7, the most significant first.

A digit's multiple is found by looking at all eight entries of the table, and its sign is applied by a mask:
neither a branch nor an address depends on it.
"""

from __future__ import annotations

from typing import Final

from blindmatch_protocol.group.jit.element import from_words, to_words
from blindmatch_protocol.group.jit.field import Field
from blindmatch_protocol.group.jit.ir import Lanes, Module
from blindmatch_protocol.group.jit.point import (
    CACHED_IDENTITY,
    COORDINATES,
    added,
    constant_point,
    load_point,
    store_point,
)

BITS: Final = 4
ENTRIES: Final = 1 << BITS - 1
WINDOWS: Final = 64
DIGITS: Final = COORDINATES * ENTRIES
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
    raised = to_words(f, f.carried(f.sum(from_words(f, words), eights), False))
    raised[3] = f.or_(raised[3], f.constant(1 << 63))  # the first digit is 0 or 1
    for k, word in enumerate(raised):
        f.store_lanes(f.element("%table", DIGITS), k, word)


def _multiples(f: Field) -> None:
    """%p's; %room is for a point."""
    f.call("ge_cached", "%table", "%p")
    f.call("ge_add", "%room", "%p", "%table")
    f.call("ge_cached", f.element("%table", COORDINATES), "%room")

    def following(i: str) -> None:
        f.call("ge_add", "%room", "%room", "%table")
        f.call("ge_cached", f.item("%table", i, COORDINATES * f.size), "%room")

    f.loop(ENTRIES, following, start=2)


def _add_digit(f: Field) -> None:
    size, negative = _digit(f)
    found = constant_point(f, CACHED_IDENTITY)
    for entry in range(ENTRIES):
        mask = _equal(f, size, entry + 1)
        found = [f.choose(mask, a, b) for a, b in zip(load_point(f, "%table", entry), found, strict=True)]
    y_plus_x, y_minus_x, twice_z, twice_dt = found
    cached = [
        f.choose(negative, y_minus_x, y_plus_x),
        f.choose(negative, y_plus_x, y_minus_x),
        twice_z,
        f.choose(negative, f.negated(twice_dt), twice_dt),
    ]
    store_point(f, "%p", added(f, load_point(f, "%p"), cached))


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
    width, vector = f.module.width, f.module.vector
    same = f.op(f"icmp eq {vector} {value.name}, {f.constant(number).name}")
    return Lanes(f.op(f"sext <{width} x i1> {same} to {vector}"), (1 << 64) - 1)
