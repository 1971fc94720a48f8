"""The leaves of a message by its own layout: every value that is no matrix, sequence or nested message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from blindmatch_protocol import codec

MOST_ROWS: Final = 1024
"""Rows and elements that are looked at one by one; the others count by their number."""


def fields_of(message: codec.Message) -> Iterator[tuple[str, Any]]:
    """(path, value) of every leaf: bytes, int, bool or str; a matrix or sequence also gives its count."""
    return _fields(message, False, MOST_ROWS)


def placed_fields(message: codec.Message, most: int | None = None) -> Iterator[tuple[str, Any]]:
    """The same, with the number of each row and element in its path; at most `most` of each, or all."""
    return _fields(message, True, most)


def _fields(message: codec.Message, is_placed: bool, most: int | None) -> Iterator[tuple[str, Any]]:
    for name, encoding in codec.layout(type(message)):
        yield from _leaves(name, encoding, getattr(message, name), is_placed, most)


def _leaves(
    name: str, encoding: Any, value: Any, is_placed: bool, most: int | None
) -> Iterator[tuple[str, Any]]:
    match encoding:
        case codec.Matrix():
            yield f"{name}.count", len(value)
            for at, row in enumerate(value[:most]):
                yield f"{name}[{at if is_placed else ''}]", row.tobytes()
        case codec.Sequence():
            yield f"{name}.count", len(value)
            for at, one in enumerate(value[:most]):
                place = f"{name}[{at if is_placed else ''}]"
                yield from _leaves(place, encoding.element, one, is_placed, most)
        case codec.Nested():
            yield from ((f"{name}.{inner}", leaf) for inner, leaf in _fields(value, is_placed, most))
        case _:
            yield name, value
