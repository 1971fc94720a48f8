"""Where messages differ, by the fields of their own layout.

In: a message for one picture, messages for the same picture under other randomness, and messages for other
pictures. Out: the first field whose value stays the same under other randomness and differs for another
picture, with both values. That is what "a byte tells of the picture" means: a byte that neither changes with
the tape nor is the same for all pictures that agree on what is declared follows from something undeclared.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, Final

import numpy as np
from blindmatch_protocol.codec import Message
from msgspec import Struct

from blindmatch_simulations.testbed.inprocess.leaves import placed_fields

MOST_SHOWN: Final = 8
"""Bytes of a field that are shown in a row."""


class Difference(Struct, frozen=True):
    """A field with one value for a picture and another value for another picture.

    Attributes:
        field: its path, with the place of the bytes in it: ``nonce[0]``, ``rows[3][0:8]``, ``rows.count``.
        mine, theirs: both values: bytes in hexadecimal, numbers and texts as they are.
        other: which of the other messages it is, from 0.
    """

    field: str
    mine: str
    theirs: str
    other: int

    def words(self, mine: str, other: str) -> str:
        """Both values, with the names of both pictures."""
        return f"field `{self.field}`: {self.mine} for {mine}, {self.theirs} for {other}"


def telling_field(
    mine: Message, again: Sequence[Message], theirs: Sequence[Message | None]
) -> Difference | None:
    """Return the first field of `mine` that is the same in each of `again`, and another one in one of
    `theirs`; None if no field is."""
    fresh = [dict(placed_fields(one)) for one in again]
    others = [(at, dict(placed_fields(one))) for at, one in enumerate(theirs) if one is not None]
    for path, value in placed_fields(mine):
        for at, other in others:
            if path not in other:
                continue
            found = _difference(path, value, [one.get(path) for one in fresh], other[path], at)
            if found is not None:
                return found
    return None


def longer_field(mine: Message, theirs: Sequence[Message | None]) -> Difference | None:
    """Return the first field of `mine` that has another length, or another count, in one of `theirs`; None if
    no field has."""
    for path, value in placed_fields(mine):
        for at, other in enumerate(theirs):
            found = dict(placed_fields(other)).get(path) if other is not None else None
            if isinstance(value, bytes | str) and isinstance(found, bytes | str) and len(value) != len(found):
                return Difference(path, f"{len(value)} bytes", f"{len(found)} bytes", at)
            if path.endswith(".count") and found is not None and found != value:
                return Difference(path, shown_value(value), shown_value(found), at)
    return None


def _difference(path: str, value: Any, again: Sequence[Any], other: Any, at: int) -> Difference | None:
    if isinstance(value, bytes) and isinstance(other, bytes):
        if len(value) != len(other):
            stays = all(isinstance(one, bytes) and len(one) == len(value) for one in again)
            return Difference(path, f"{len(value)} bytes", f"{len(other)} bytes", at) if stays else None
        return _different_bytes(path, value, again, other, at)
    if value != other and all(one == value for one in again):
        return Difference(path, shown_value(value), shown_value(other), at)
    return None


def _different_bytes(
    path: str, value: bytes, again: Sequence[Any], other: bytes, at: int
) -> Difference | None:
    mine = np.frombuffer(value, np.uint8)
    told = mine != np.frombuffer(other, np.uint8)
    for one in again:
        if not isinstance(one, bytes) or len(one) != len(value):
            return None
        told &= np.frombuffer(one, np.uint8) == mine
    if not told.any():
        return None
    first = int(told.argmax())
    run = told[first : first + MOST_SHOWN]
    last = first + (len(run) if run.all() else int(run.argmin()))
    place = f"{path}[{first}]" if last == first + 1 else f"{path}[{first}:{last}]"
    return Difference(place, value[first:last].hex(), other[first:last].hex(), at)


def shown_value(value: Any) -> str:
    """Return a value as a person reads it: bytes and rows in hexadecimal, names of a choice, and the parts of
    a collection one after the other; never as Python writes an object."""
    match value:
        case np.ndarray() if value.dtype == np.uint8:
            return value.tobytes().hex()
        case dict():
            return ", ".join(f"{shown_value(key)}: {shown_value(part)}" for key, part in value.items())
        case tuple() | list() | set() | frozenset() | np.ndarray():
            parts = [shown_value(part) for part in value]
            return ", ".join(sorted(parts) if isinstance(value, set | frozenset) else parts) or "none"
        case Message():
            return f"a message {type(value).NAME}"
        case Exception():
            return f"{type(value).__name__}: {value}"
    return _shown_scalar(value)


def _shown_scalar(value: Any) -> str:
    match value:
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case bool():
            return "yes" if value else "no"
        case Enum():  # `str` of a member is its value only for some kinds of enumeration
            return shown_value(value.value)
        case str() | int() | float():
            return str(value)
        case np.generic():
            return shown_value(value.item())
        case None:
            return "nothing"
    return f"a {type(value).__name__}"
