"""Randomness is a parameter of the core; this module holds its sources.

All sources stand behind one type, `Randomness`, with one method: whoever is handed one cannot tell by its
class, its attributes or its text whether it is the system's generator, a replayed tape or a seed. So a design
cannot behave in one way on a device and in another under an audit.
"""

from __future__ import annotations

import secrets  # noqa: TID251 - the one system source of randomness
from collections.abc import Callable
from hashlib import shake_256
from typing import Final, final

from blindmatch_protocol.codec.errors import BlindmatchError


class TapeExhaustedError(BlindmatchError):
    """More randomness was asked for than was recorded."""


@final
class Randomness:
    """A source of random bytes; where they come from is in a closure, not in an attribute."""

    __slots__ = ("_take",)
    _take: Callable[[int], bytes]

    def __init__(self, draw: Callable[[int], bytes]) -> None:
        """`draw` gives so many bytes."""
        object.__setattr__(self, "_take", lambda count: draw(count))

    def __init_subclass__(cls) -> None:
        raise TypeError("randomness has one type")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("randomness cannot be changed")

    def __repr__(self) -> str:
        return "Randomness()"

    def take(self, count: int) -> bytes:
        """Return `count` fresh random bytes; `TapeExhaustedError` if the source is a tape, and fewer are
        left."""
        return self._take(count)


def system_randomness() -> Randomness:
    return Randomness(secrets.token_bytes)


class Recording:
    """Passes bytes of `source` on through `rng` and keeps them.

    Attributes:
        rng: what a design is handed; the tape cannot be read from it.
    """

    __slots__ = ("_taken", "rng")

    def __init__(self, source: Randomness) -> None:
        taken = list[bytes]()

        def draw(count: int) -> bytes:
            fresh = source.take(count)
            taken.append(fresh)
            return fresh

        self._taken = taken
        self.rng: Final = Randomness(draw)

    def tape(self) -> bytes:
        """All bytes given out so far, in order; secret as long as the session is."""
        return b"".join(self._taken)

    def taken(self) -> tuple[bytes, ...]:
        """The same, one part for each time something was asked for."""
        return tuple(self._taken)


def replayed(tape: bytes) -> Randomness:
    """Gives recorded bytes out again, in order; `TapeExhaustedError` when they are used up."""
    at = 0

    def draw(count: int) -> bytes:
        nonlocal at
        if count > len(tape) - at:
            raise TapeExhaustedError(f"{count} random bytes asked for, {len(tape) - at} recorded ones left")
        at += count
        return tape[at - count : at]

    return Randomness(draw)


def seeded(seed: str) -> Randomness:
    """Bytes that `seed` and the sequence of sizes asked for determine: for checks and measurements, never
    for a real key."""
    calls = 0

    def draw(count: int) -> bytes:
        nonlocal calls
        calls += 1
        return shake_256(seed.encode() + b"/" + calls.to_bytes(8, "big")).digest(count)

    return Randomness(draw)
