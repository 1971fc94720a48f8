"""Messages taken apart into fields, made up from their layout, and what a tape decides of them.

A library that draws from its own source (`Info.native_randomness`) gives other bytes each time. What can be
held against a second run then are numbers, texts, lengths and shapes; bytes are held against fresh runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from blindmatch_protocol import codec
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import AnyDesign

from blindmatch_simulations.testbed.inprocess.seeded import below, flag

MOST_ROWS = 1024
"""Rows and elements that are looked at one by one; the others count by their number."""
SMALL = 40
"""Bytes and elements that a made-up field has at most, beyond its least."""


def fields_of(message: codec.Message) -> Iterator[tuple[str, Any]]:
    """(path, value) of every leaf: bytes, int, bool or str; a matrix or sequence also gives its count."""
    for name, encoding in codec.layout(type(message)):
        yield from _leaves(name, encoding, getattr(message, name))


def _leaves(name: str, encoding: Any, value: Any) -> Iterator[tuple[str, Any]]:
    match encoding:
        case codec.Matrix():
            yield f"{name}.count", len(value)
            yield from ((f"{name}[]", row.tobytes()) for row in value[:MOST_ROWS])
        case codec.Sequence():
            yield f"{name}.count", len(value)
            for one in value[:MOST_ROWS]:
                yield from _leaves(f"{name}[]", encoding.element, one)
        case codec.Nested():
            yield from ((f"{name}.{inner}", leaf) for inner, leaf in fields_of(value))
        case _:
            yield name, value


def byte_fields(message: codec.Message) -> list[bytes]:
    """The leaves that are bytes."""
    return [value for _, value in fields_of(message) if isinstance(value, bytes)]


def made_up(kind: type[codec.Message], rng: Randomness, tries: int = 8) -> list[codec.Message]:
    """Random messages of `kind` that its own rules accept; maybe none."""
    found: list[codec.Message] = []
    for _ in range(tries):
        try:
            message = kind(**{name: _value(encoding, rng) for name, encoding in codec.layout(kind)})
            found.append(kind.decode(message.encode()))
        except ProtocolError:
            continue
    return found


def _value(encoding: Any, rng: Randomness) -> Any:
    match encoding:
        case codec.UInt(bits):
            return int.from_bytes(rng.take(bits // 8), "big")
        case codec.Bool():
            return flag(rng)
        case codec.Fixed(length):
            return rng.take(length)
        case codec.Variable():
            return rng.take(_count(encoding, rng))
        case codec.Text(most):
            return rng.take(min(most, SMALL)).hex()[: min(most, SMALL)]
        case codec.Matrix():
            rows = _count(encoding, rng)
            return np.frombuffer(rng.take(rows * encoding.width), np.uint8).reshape(rows, encoding.width)
        case codec.Sequence():
            return tuple(_value(encoding.element, rng) for _ in range(_count(encoding, rng)))
        case codec.Nested(kind):
            return kind(**{name: _value(inner, rng) for name, inner in codec.layout(kind)})
        case _:
            raise ProtocolError("conformance", f"no values are made up for {type(encoding).__name__}")


def _count(encoding: Any, rng: Randomness) -> int:
    spread = min(SMALL, encoding.most - encoding.least)
    return int(encoding.least) + below(rng, spread + 1)


def decided(design: AnyDesign, value: Any) -> Any:
    """`value`, or its form if the design declares native randomness. To be compared with another of them."""
    return _form(value) if design.info.native_randomness else value


def _form(value: Any) -> Any:
    match value:
        case bytes() | bytearray() | memoryview():
            return len(value)
        case np.ndarray():
            return value.shape
        case codec.Message():
            return type(value), [(path, _form(part)) for path, part in fields_of(value)]
        case Mapping():
            return {key: _form(part) for key, part in value.items()}
        case list() | tuple():
            return [_form(part) for part in value]
    return value


def limits(design: AnyDesign) -> str:
    """What a verdict says of a design with native randomness; empty for others."""
    native = design.info.native_randomness
    return f"; native randomness ({native}): forms, lengths and outcomes, not bytes" if native else ""
