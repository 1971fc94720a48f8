"""What an adversary works out beforehand for each picture that it thinks may be sent.

It runs the device's own code on the picture, with randomness of its own, and lets the roles (whose keys it
has) answer; and it takes the usual digests of the hash. A field of a view that is among these gives the
picture away, since honest randomness makes such a meeting impossible.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b, sha256, sha512
from typing import Final

from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Struct

from blindmatch_simulations.evaluation.conformance.leakage.play import Event
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, run_session
from blindmatch_simulations.testbed.inprocess.steps import byte_fields
from blindmatch_simulations.testbed.pictures.pool import Pooled

RERUNS: Final = 2
PREFIX: Final = 8
"""Bytes that entries and their digests are looked for by."""
LEAST: Final = 4
"""Shorter fields meet by chance."""
MOST_SALTS: Final = 8
SALT_LENGTHS: Final = range(8, 65)
HALF: Final = 16
_MASKS: Final = ("request", "voucher", "enrolment")


class Guesses(Redacted, Struct, frozen=True):
    """For each picture's name: byte fields to look for, and its hash."""

    fields: dict[str, frozenset[bytes]]
    hashes: dict[str, bytes]

    def hits(self, name: str, events: Sequence[Event]) -> int:
        """How many fields of `events` belong to the picture."""
        leaves = [leaf for event in events for leaf in event.leaves if len(leaf) >= LEAST]
        mine, own = self.fields[name], self.hashes[name]
        found = sum(leaf in mine for leaf in leaves)
        found += sum(event.data.count(own[:LEAST]) for event in events)
        asked = [leaf for event in events if event.kind in _MASKS for leaf in event.leaves]
        keys = [leaf for event in events if event.kind == "enrolment" for leaf in event.leaves]
        return found + _salted(own, leaves) + _masked(own, asked) + _padded(own, keys, asked)


def guesses(deployed: Deployed, pictures: Sequence[Pooled], rng: Randomness) -> Guesses:
    """Work out everything for every picture."""
    fields = {
        one.name: frozenset([*_fronts(one.item.hash), *_reruns(deployed, one, rng)]) for one in pictures
    }
    return Guesses(fields, {one.name: one.item.hash for one in pictures})


def _reruns(deployed: Deployed, one: Pooled, rng: Randomness) -> Iterable[bytes]:
    for _ in range(RERUNS):
        try:
            ran = run_session(deployed, one.item, rng)
        except BlindmatchError:
            continue
        for asked in ran.asked:
            for message in (asked.body, asked.reply):
                yield from (leaf for leaf in byte_fields(message) if len(leaf) >= LEAST)


def digests(own: bytes) -> tuple[bytes, ...]:
    """A byte string and its digests."""
    return own, sha256(own).digest(), sha512(own).digest(), blake2b(own).digest()


def prefixes(own: bytes) -> Iterator[bytes]:
    """The first bytes of a byte string and of its digests."""
    return (made[:PREFIX] for made in digests(own))


def _fronts(own: bytes) -> Iterable[bytes]:
    for whole in digests(own):
        yield from (whole[:length] for length in (4, 8, 16, 20, 32, 64) if length <= len(whole))


def _salted(own: bytes, leaves: Sequence[bytes]) -> int:
    """Digests of the hash with another field as salt or key."""
    salts = [leaf for leaf in leaves if len(leaf) in SALT_LENGTHS][:MOST_SALTS]
    present = {leaf[:16] for leaf in leaves if len(leaf) >= 16}
    if len(present) < 2:
        return 0
    return sum(made[:16] in present for salt in salts for made in with_salt(own, salt))


def with_salt(own: bytes, salt: bytes) -> tuple[bytes, ...]:
    """Digests of a hash under a salt or key."""
    return (
        sha256(salt + own).digest(),
        sha256(own + salt).digest(),
        hmac.digest(salt, own, "sha256"),
        blake2b(own, key=salt[:64]).digest(),
    )


def _padded(own: bytes, keys: Sequence[bytes], leaves: Sequence[bytes]) -> int:
    """The hash, or its front half, under a digest of what the account enrolled with and another field."""
    salts = [leaf for leaf in leaves if len(leaf) in SALT_LENGTHS][:MOST_SALTS]
    keys = [key for key in keys if len(key) in SALT_LENGTHS][:MOST_SALTS]
    pads = {pad for key in keys for salt in salts for pad in with_salt(salt, key)}
    wanted = {_xored(own[:HALF], pad) for pad in pads}
    return sum(leaf[:HALF] in wanted for leaf in leaves)


def _xored(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=False))


def _masked(own: bytes, leaves: Sequence[bytes]) -> int:
    """The hash, or its front half, in shares among fields."""
    return sum(
        in_shares(own[:width], [leaf[:width] for leaf in leaves if len(leaf) >= width]) for width in (16, 32)
    )


def in_shares(value: bytes, fields: Iterable[bytes]) -> int:
    """How many sets of two or more of the first different `fields`, all of the value's length, have the value
    as exclusive or or as sum."""
    words = list(dict.fromkeys(int.from_bytes(one, "big") for one in fields))[:MOST_SALTS]
    target, modulus = int.from_bytes(value, "big"), 1 << 8 * len(value)
    sets = [(0, 0, 0)]
    for word in words:
        sets += [(mixed ^ word, (added + word) % modulus, count + 1) for mixed, added, count in sets]
    return sum(count > 1 and target in (mixed, added) for mixed, added, count in sets)
