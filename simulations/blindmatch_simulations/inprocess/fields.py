"""Messages taken apart into fields, and made up from their layout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from blindmatch_protocol.codec import (
    Fixed,
    Flag,
    Matrix,
    Message,
    Nested,
    Sequence,
    Text,
    UInt,
    Variable,
    layout,
)
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.randomness import Randomness

from blindmatch_simulations.inprocess.seeded import below, flag

MOST_ROWS = 1024
"""Rows and elements that are looked at one by one; the others count by their number."""
SMALL = 40
"""Bytes and elements that a made-up field has at most, beyond its least."""


def fields_of(message: Message) -> Iterator[tuple[str, Any]]:
    """(path, value) of every leaf: bytes, int, bool or str; a matrix or sequence also gives its count."""
    for name, encoding in layout(type(message)):
        yield from _leaves(name, encoding, getattr(message, name))


def _leaves(name: str, encoding: Any, value: Any) -> Iterator[tuple[str, Any]]:
    match encoding:
        case Matrix():
            yield f"{name}.count", len(value)
            yield from ((f"{name}[]", row.tobytes()) for row in value[:MOST_ROWS])
        case Sequence():
            yield f"{name}.count", len(value)
            for one in value[:MOST_ROWS]:
                yield from _leaves(f"{name}[]", encoding.element, one)
        case Nested():
            yield from ((f"{name}.{inner}", leaf) for inner, leaf in fields_of(value))
        case _:
            yield name, value


def byte_fields(message: Message) -> list[bytes]:
    """The leaves that are bytes."""
    return [value for _, value in fields_of(message) if isinstance(value, bytes)]


def made_up(kind: type[Message], rng: Randomness, tries: int = 8) -> list[Message]:
    """Random messages of `kind` that its own rules accept; maybe none."""
    found: list[Message] = []
    for _ in range(tries):
        try:
            message = kind(**{name: _value(encoding, rng) for name, encoding in layout(kind)})
            found.append(kind.decode(message.encode()))
        except ProtocolError:
            continue
    return found


def _value(encoding: Any, rng: Randomness) -> Any:
    match encoding:
        case UInt(bits):
            return int.from_bytes(rng.take(bits // 8), "big")
        case Flag():
            return flag(rng)
        case Fixed(length):
            return rng.take(length)
        case Variable():
            return rng.take(_count(encoding, rng))
        case Text(most):
            return rng.take(min(most, SMALL)).hex()[: min(most, SMALL)]
        case Matrix():
            rows = _count(encoding, rng)
            return np.frombuffer(rng.take(rows * encoding.width), np.uint8).reshape(rows, encoding.width)
        case Sequence():
            return tuple(_value(encoding.element, rng) for _ in range(_count(encoding, rng)))
        case Nested(kind):
            return kind(**{name: _value(inner, rng) for name, inner in layout(kind)})
        case _:
            raise ProtocolError("conformance", f"no values are made up for {type(encoding).__name__}")


def _count(encoding: Any, rng: Randomness) -> int:
    spread = min(SMALL, encoding.most - encoding.least)
    return int(encoding.least) + below(rng, spread + 1)
