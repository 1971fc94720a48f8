"""Randomness is a parameter of the core; this module holds its sources.

`RecordingRandomness` keeps the tape of what it gave out, so that whoever audits a device can derive
every byte that left it a second time from `Tape`.
"""

from __future__ import annotations

import secrets  # noqa: TID251 - the one system source of randomness
from typing import Protocol

from blindmatch_protocol.errors import BlindmatchError


class Randomness(Protocol):
    """A source of random bytes."""

    def take(self, count: int) -> bytes:
        """Return `count` fresh random bytes."""
        ...


class TapeExhaustedError(BlindmatchError):
    """More randomness was asked for than was recorded."""


class SystemRandomness:
    """The operating system's generator."""

    __slots__ = ()

    def take(self, count: int) -> bytes:
        """Return `count` fresh random bytes."""
        return secrets.token_bytes(count)


class RecordingRandomness:
    """Passes bytes on from `source` and keeps them; `tape()` is secret as long as the session is."""

    __slots__ = ("_source", "_taken")

    def __init__(self, source: Randomness) -> None:
        self._source = source
        self._taken = bytearray()

    def take(self, count: int) -> bytes:
        """Return `count` bytes of the source and remember them."""
        fresh = self._source.take(count)
        self._taken += fresh
        return fresh

    def tape(self) -> bytes:
        """All bytes given out so far, in order."""
        return bytes(self._taken)


class Tape:
    """Gives recorded bytes out again, in order."""

    __slots__ = ("_at", "_recorded")

    def __init__(self, recorded: bytes) -> None:
        self._recorded = recorded
        self._at = 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes.

        Raises:
            TapeExhaustedError: if fewer than `count` are left.
        """
        if count > self.remaining:
            raise TapeExhaustedError(f"{count} random bytes asked for, {self.remaining} recorded ones left")
        self._at += count
        return self._recorded[self._at - count : self._at]

    @property
    def remaining(self) -> int:
        """Bytes not yet given out."""
        return len(self._recorded) - self._at
