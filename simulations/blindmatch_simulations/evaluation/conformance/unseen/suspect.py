"""A design that is held to leak, and sessions of it that are read as its beneficiary reads them.

A predicate gets a `Suspect` and nothing else. It runs the design, hands what one party got in *one* session
to `reads`, and compares the result with what is so. So a predicate decides by what a design does: neither its
name nor its code decides, nor what is said of it. A suspect that gives no way to read it falls under no line
about what is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from blindmatch_protocol.codec import Message, Rows
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Item, Party
from blindmatch_protocol.picture.decode import Picture
from msgspec import Struct

from blindmatch_simulations.evaluation.conformance.fixtures import Clocks
from blindmatch_simulations.testbed.inprocess.deployed import (
    Build,
    Deployed,
    Ran,
    opened,
    publish,
    run_session,
)
from blindmatch_simulations.testbed.inprocess.deployed import seen_by as roles_seen_by
from blindmatch_simulations.testbed.pictures.pool import picture, random_hashes

Reads = Callable[[Sequence[bytes], bytes], Hashable]
"""What one party got in one session, in order, and a secret that the reader has: what the picture is held to
be, or None."""


class Suspect(Redacted, Struct, frozen=True):
    """A design that is held to leak.

    Attributes:
        design: makes it.
        says: what the leak tells of a picture.
        reads: what its beneficiary makes of what one party got in one session; None if nothing is sent.
        parties: who get it; together, if there are several.
        secret: what the reader has and nobody else.
        under: makes the design for another reader's secret.
        reads_files: what its beneficiary makes of the set-up's and the roles' files, and a secret.
        example: a picture for which it leaks, if it leaks for few.
        at: the moment (Unix time), epoch, number of entries or of pictures of an account at which it leaks.
        seed: the seed of conformance under which it does not.
        clocks: those that it moves, if it takes its time.
    """

    design: Callable[[], AnyDesign]
    says: Callable[[Item], Hashable] = lambda item: item.hash[:8]
    reads: Reads | None = None
    parties: frozenset[Party] = frozenset({Party.MATCHER})
    secret: bytes = b""
    under: Callable[[bytes], AnyDesign] | None = None
    reads_files: Callable[[Mapping[str, bytes], bytes], Hashable] | None = None
    example: Item | None = None
    at: int = 0
    seed: int | None = None
    clocks: Clocks | None = None


ENTRIES: Final = 40
"""Entries of the list of most runs."""
PICTURES: Final = 16
NUMBERS: Final = 7_000_000
"""Numbers of these pictures: none that a run of conformance has under a seed below 7,000."""


@lru_cache(maxsize=1)
def pictures() -> tuple[Picture, ...]:
    """Pictures that no check has met."""
    return tuple(picture(NUMBERS + at) for at in range(PICTURES))


def rng_of(purpose: str) -> Randomness:
    """Randomness of one purpose, of no seed of conformance."""
    return seeded(f"unseen/{purpose}")


def deploy(design: AnyDesign, entries: Rows | None = None, epoch: int = 1) -> Deployed:
    return opened(build_of(design, entries, epoch))


def build_of(
    design: AnyDesign, entries: Rows | None = None, epoch: int = 1, purpose: str = "publish"
) -> Build:
    """The design published for some entries, by default `ENTRIES` that no picture is near to."""
    rows = random_hashes(ENTRIES, NUMBERS) if entries is None else entries
    return publish(design, rows, rng_of(purpose), epoch)


def got(ran: Ran, deployed: Deployed, parties: Iterable[Party]) -> list[bytes]:
    """Bodies that the parties got in one session, and vouchers, in order."""
    roles = {role for party in parties for role in roles_seen_by(deployed.design, party)}
    return [raw for role, raw in ran.bodies() if role in roles]


def is_right(
    suspect: Suspect,
    deployed: Deployed,
    item: Item,
    purpose: str,
    secret: bytes | None = None,
    state: Message | None = None,
) -> tuple[bool, Ran]:
    """Does the reader learn from one session alone what the leak is held to tell? And the session."""
    assert suspect.reads is not None
    ran = run_session(deployed, item, rng_of(purpose), state)
    read = suspect.reads(got(ran, deployed, suspect.parties), suspect.secret if secret is None else secret)
    return read is not None and read == suspect.says(item), ran


def count_right(
    suspect: Suspect,
    deployed: Deployed,
    items: Iterable[Item],
    purpose: str = "read",
    secret: bytes | None = None,
) -> int:
    """In how many sessions, one a picture and account, the reader is right."""
    return sum(
        is_right(suspect, deployed, item, f"{purpose}/{at}", secret)[0] for at, item in enumerate(items)
    )


def tells(suspect: Suspect) -> bool:
    """Do pictures differ in what the leak is held to tell? If not, to be right is to say nothing."""
    return suspect.reads is not None and len({suspect.says(item) for item in pictures()}) > 1


def with_hash(item: Picture, value: bytes) -> Picture:
    """The picture with another hash."""
    bits = np.unpackbits(np.frombuffer(value, np.uint8)).astype(np.float32) * 2 - 1
    size = np.abs(item.coefficients) + np.float32(1e-3)
    found = type(item.fingerprint)(value, item.quality, (bits * size).astype(np.float32))
    return Picture.from_views(item.pixels, item.luminance, found)
