"""Filler for some pictures, a leak for the others; digests of pictures that are large, or in a large set."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from blindmatch_protocol.codec.randomness import Randomness

from planted import Planted, xor
from planted.mutations.hooks import About, PaddedPsi, variant

PIECE = 8
MASK = 16


def one_sided(when: Callable[[About], bool], says: Callable[[About], bytes]) -> type[PaddedPsi]:
    """What `says` gives for pictures of which `when` is true, and filler of the same length for others."""

    def padding(self: Any, about: About, rng: Randomness) -> bytes:
        filler = rng.take(PIECE)
        return says(about)[:PIECE] if when(about) else filler

    return variant(PaddedPsi, padding=padding)


def digest(about: About) -> bytes:
    return sha256(b"of all devices" + about.item.hash).digest()


def under_request(about: About) -> bytes:
    return xor(about.sent[-MASK:], about.item.hash[::-1])


def salted(when: Callable[[About], bool]) -> type[PaddedPsi]:
    """A digest of the hash under a fresh salt beside it, or filler."""

    def padding(self: Any, about: About, rng: Randomness) -> bytes:
        filler = rng.take(MASK)
        return hmac.digest(about.salt, about.item.hash, "sha256")[:MASK] if when(about) else filler

    return variant(PaddedPsi, padding=padding, salt=lambda _, rng: rng.take(MASK))


def one_row(about: About) -> bytes:
    """Repeats four bytes of a digest, so that single bits say nothing."""
    return xor(digest(about)[:4] * 2, about.sent[-MASK:-PIECE])


CHEATS = (
    Planted("half", one_sided(lambda a: a.item.hash[5] & 1 == 0, under_request), "relations"),
    Planted("a quarter", one_sided(lambda a: a.item.hash[11] & 3 == 0, one_row), "relations"),
    Planted("poor", one_sided(lambda a: a.item.quality < 50, under_request), "relations"),
    Planted(
        "in large sets",
        one_sided(lambda a: a.setup.entries > 1_000 and a.item.hash[9] & 1 == 1, digest),
        "relations",
        "a large set",
    ),
    Planted("large", one_sided(lambda a: a.item.pixels.size > 1_000_000, under_request), "relations"),
    Planted("salted in large sets", salted(lambda a: a.setup.entries > 1_000), "relations", "a large set"),
    Planted("salted after an update", salted(lambda a: bool(a.setup.deltas)), "relations", "after an update"),
    Planted("salted, middling", salted(lambda a: 50 <= a.item.quality < 100), "relations", "a large set"),
)
