"""The messages of he-hamming; docs/wire.md. `packing` says what a row is."""

from __future__ import annotations

from typing import Annotated, Final

from blindmatch_protocol.codec import Fixed, Matrix, Message, Rows, UInt, Variable
from blindmatch_protocol.designs.he_hamming.packing import (
    DATA,
    KEY,
    LEAST_DEGREE,
    MOST_DEGREE,
    SEED_BYTES,
    unpacked,
    width,
)
from blindmatch_protocol.designs.he_hamming.ring import PARTS

REPLY_POLYNOMIALS: Final = 16
_QUERY: Final = Matrix(width(1, DATA), MOST_DEGREE, LEAST_DEGREE)
_REPLY: Final = Matrix(width(REPLY_POLYNOMIALS, 1), MOST_DEGREE, LEAST_DEGREE)
_KEYS: Final = Matrix(width(PARTS + 2, KEY), MOST_DEGREE, LEAST_DEGREE)


class Secret(Message, tag=0x50, name="he-hamming/secret"):
    """An account's state: its secret key; never sent."""

    coefficients: Annotated[bytes, Variable(MOST_DEGREE // 4)]
    """Two bits each, the first in the lowest: 0, 1 or 2 for -1; empty before the account enrolled."""


class Keys(Message, tag=0x51, name="he-hamming/keys"):
    """Device to matcher, once for an account and epoch: rotation, relinearisation and public keys."""

    seeds: Annotated[bytes, Fixed(PARTS * SEED_BYTES)]
    """64 bytes for each of 21 parts, of which SEAL draws its second polynomial."""
    rows: Annotated[Rows, _KEYS]
    """One for each coefficient: 23 polynomials at eight primes. Devices and matchers take 16,384 alone."""

    def check(self) -> None:
        """Every number is below its prime."""
        unpacked(self.rows, KEY, self.NAME, "rows")


class Query(Message, tag=0x52, name="he-hamming/query"):
    """Device to matcher: the encrypted hash."""

    epoch: Annotated[int, UInt(64)]
    """Of the set-up in use."""
    seed: Annotated[bytes, Fixed(SEED_BYTES)]
    """Of the ciphertext's second polynomial."""
    rows: Annotated[Rows, _QUERY]
    """The first polynomial at seven primes."""

    def check(self) -> None:
        """Every number is below its prime."""
        unpacked(self.rows, DATA, self.NAME, "rows")


class Reply(Message, tag=0x53, name="he-hamming/reply"):
    """Matcher to device: eight ciphertexts, whatever the list and the picture are."""

    epoch: Annotated[int, UInt(64)]
    """Of the matcher's file."""
    rows: Annotated[Rows, _REPLY]
    """16 polynomials at one prime."""

    def check(self) -> None:
        """Every number is below its prime."""
        unpacked(self.rows, 1, self.NAME, "rows")
