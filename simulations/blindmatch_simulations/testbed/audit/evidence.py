"""What an audit goes by: what a device recorded of itself, and what it was asked to do; and what it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blindmatch_client.settings import Consequence
from blindmatch_client.trace import EgressRecord, EnrolmentTrace, MessageTrace, SessionTrace
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Item, Party
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec import Struct, field


class Told(Struct, frozen=True):
    """What a device was told to do, by whoever drove it: nothing it sends goes beyond.

    Attributes:
        contacts: accounts it was told to write to.
        messages: messages it was told to send, one a recipient.
        registered: how often it was told to register.
        polls: how often it was told to look for messages.
        complaints: complaints it was told to hand in.
        received: messages that were for it, each with one attachment at most.
        setup: set-up files that are there to be fetched, each with its epoch.
        slot_s: seconds between the slots of its cover schedule, or None.
        consequence: what follows on it from a match or a flag.
    """

    contacts: frozenset[str] = frozenset()
    messages: int = 0
    registered: int = 0
    polls: int = 0
    complaints: int = 0
    received: int = 0
    setup: frozenset[tuple[int, str]] = frozenset()
    slot_s: int | None = None
    consequence: Consequence = Consequence.REPORT


class Evidence(Redacted, Struct, frozen=True):
    """What a device recorded of itself, and what is needed to hold it against.

    Attributes:
        account: the device's.
        told: what it was told to do.
        records: all its egress.
        traces: all its matching sessions.
        enrolments: all enrolments that it made.
        messages: its messages as they were sealed, with their keys.
        drawn: all randomness it drew, one part for each time it asked.
        items: its pictures by number.
        files: each picture's file by number.
        pool: pictures to take decoys from.
        arrived: request bytes that servers counted for it, by party and method; None: not measured.
        centre: the centre's secret key, which opens reports; None: they are not opened.
        stamp_key: of relay and centre; empty: not known.
    """

    account: str
    told: Told
    records: Sequence[EgressRecord]
    traces: Sequence[SessionTrace]
    items: Mapping[int, Item]
    pool: Sequence[Item]
    messages: Sequence[MessageTrace] = ()
    enrolments: Sequence[EnrolmentTrace] = ()
    drawn: Sequence[bytes] = ()
    files: Mapping[int, bytes] = field(default_factory=dict)
    arrived: Mapping[tuple[Party, str], int] | None = None
    centre: X25519PrivateKey | None = None
    stamp_key: bytes = b""

    @property
    def sealed(self) -> dict[bytes, MessageTrace]:
        """Messages by id, as they were last noted."""
        return {message.message_id: message for message in self.messages}

    @property
    def attachment_keys(self) -> dict[int, bytes]:
        """The key that each picture's attachment is sealed under."""
        return {m.item: m.attachment.key for m in self.messages if m.attachment and m.item is not None}


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
