"""Safety numbers: 60 digits that two people compare to know that nobody sits between them.

    half(name, key) = 30 digits of 5,200 times SHA-512, beginning with tag, name and key
    number          = both halves, the smaller first: the same on both sides

The construction is Signal's numeric fingerprint of version 2 (libsignal, `NumericFingerprintGenerator`;
"Safety number updates", signal.org, 2016), with a domain tag in place of its version and the account's name
as the stable identifier. A half has 99.7 bits, and each guess at one costs 5,200 hashes.
"""

from __future__ import annotations

from hashlib import sha512
from typing import Final

TAG: Final = b"blindmatch/messenger/safety-number/v1"
ITERATIONS: Final = 5200
GROUPS: Final = 6
"""Of five digits, in a half."""
DIGITS: Final = 60


def safety_number(mine: bytes, my_key: bytes, theirs: bytes, their_key: bytes) -> str:
    """The number of two accounts, 60 digits; the same whichever is `mine`.

    Args:
        mine, theirs: the accounts' names, framed (`framed` of account.py).
        my_key, their_key: their identity keys, Curve25519, 32 bytes.
    """
    return "".join(sorted((_half(mine, my_key), _half(theirs, their_key))))


def grouped(number: str) -> str:
    """A number for people: groups of five digits."""
    return " ".join(number[at : at + 5] for at in range(0, len(number), 5))


def digits(said: str) -> str | None:
    """The number that somebody typed, with blanks and hyphens anywhere; None if it is none."""
    number = said.translate({ord(one): None for one in " \t\n-"})
    return number if len(number) == DIGITS and number.isascii() and number.isdigit() else None


def _half(name: bytes, key: bytes) -> str:
    value = TAG + name + key
    for _ in range(ITERATIONS):
        value = sha512(value + key).digest()
    parts = (int.from_bytes(value[5 * at : 5 * at + 5], "big") % 100_000 for at in range(GROUPS))
    return "".join(f"{part:05d}" for part in parts)
