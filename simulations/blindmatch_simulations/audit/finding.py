"""A byte count that nothing declared explains."""

from __future__ import annotations

from blindmatch_client.trace import EgressRecord
from blindmatch_protocol.contract import Party
from msgspec import Struct


class Finding(Struct, frozen=True):
    """Undeclared egress.

    Attributes:
        party: who got the bytes, or should have and did not.
        item: number of the picture, or None.
        rule: what was broken, in words.
        size: bytes that are not explained; a request that was skipped counts with its length.
    """

    party: Party
    item: int | None
    rule: str
    size: int


def found(record: EgressRecord, rule: str, size: int) -> Finding:
    """A finding in a request that left; it counts at least one byte."""
    return Finding(record.party, record.item, rule, max(1, size))
