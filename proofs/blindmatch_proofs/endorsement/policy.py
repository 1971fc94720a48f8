"""Who may endorse entries, and how many must: the same on every device, at the centre and in the log."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from itertools import pairwise
from typing import Annotated, Final

from blindmatch_protocol.codec import Fixed, Message, Nested, Sequence, Text, UInt
from blindmatch_protocol.codec.errors import ProtocolError

DIGEST_TAG: Final = b"blindmatch/endorsement/policy/v1"
KEY_BYTES: Final = 32
"""Ed25519 (RFC 8032, section 5.1)."""
NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
MOST_KEYS: Final = 16


class Organisation(Message, tag=0x22, name="endorsement/organisation"):
    """A key of an organisation; one that changes its key has two for a while."""

    name: Annotated[str, Text(32)]
    """1 to 32 lower-case letters, digits and inner dashes."""
    key: Annotated[bytes, Fixed(KEY_BYTES)]
    """Ed25519 public key, of this organisation alone."""

    def check(self) -> None:
        """A name has 1 to 32 lower-case letters, digits and inner dashes, so that one has one spelling."""
        if not NAME.fullmatch(self.name):
            raise ProtocolError(self.NAME, "is 1 to 32 lower-case letters, digits and inner dashes", "name")


class EndorsementPolicy(Message, tag=0x23, name="endorsement/policy"):
    """Who may endorse entries. Organisations are counted by name, whatever keys they sign with."""

    needed: Annotated[int, UInt(8)]
    """Names that an entry needs, 1 to all; it is removed by all - needed + 1."""
    organisations: Annotated[tuple[Organisation, ...], Sequence(Nested(Organisation), MOST_KEYS)]
    """In ascending order of name and key, each key once."""

    def check(self) -> None:
        """There are as many organisations as are needed, each key is of one alone."""
        order = [(one.name, one.key) for one in self.organisations]
        if any(a >= b for a, b in pairwise(order)):
            raise ProtocolError(self.NAME, "must ascend by name and key, each once", "organisations")
        if len({key for _, key in order}) < len(order):
            raise ProtocolError(self.NAME, "a key is of one organisation", "organisations")
        if not 1 <= self.needed <= len(self.names):
            raise ProtocolError(self.NAME, "must be 1 to the number of organisations", "needed")

    @property
    def names(self) -> tuple[str, ...]:
        """The organisations, each once."""
        return tuple(dict.fromkeys(one.name for one in self.organisations))

    @property
    def needed_to_remove(self) -> int:
        """How many must agree to remove an entry: so many that too few are left to vouch for it."""
        return len(self.names) - self.needed + 1

    @property
    def digest(self) -> bytes:
        """What stands for the policy: SHA-256 of a tag and its encoding, 32 bytes."""
        return sha256(DIGEST_TAG + self.encode()).digest()


def policy_of(needed: int, keys: Iterable[tuple[str, bytes]]) -> EndorsementPolicy:
    """The policy of organisations by name and key, in whatever order.

    Raises:
        ProtocolError: if a name, a key or the number breaks its rule.
    """
    organisations = tuple(Organisation(*one) for one in sorted(keys))
    return EndorsementPolicy.decode(EndorsementPolicy(needed, organisations).encode())
