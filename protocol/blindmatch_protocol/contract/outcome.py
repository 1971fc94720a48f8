"""How a session goes on or ends: two closed unions.

Step    = Send | Ready | Done  after each `start` and `receive`
Outcome = NoMatch | Match | Flag | Voucher | Undisclosed   inside Done, or what a Ready session concludes to
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any, Final, Generic, TypeAlias, TypeVar

from msgspec import Struct

from blindmatch_protocol.codec import Fixed, Message, UInt, Variable
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract.declaration import Role

X = TypeVar("X")


OPEN_END: Final = 2**64 - 1
"""Last epoch of a label that holds until its entry is removed."""
UNCONFIRMED_ID: Final = 2**64 - 1
"""Entry id of a match that a filter says: there is no label behind it, and its salt is zero."""
SIGNATURE_BYTES: Final = 64
MOST_SIGNATURES: Final = 8


class Label(Message, tag=0x01, name="label"):
    """What is known of an entry by whoever opened it."""

    entry_hash: Annotated[bytes, Fixed(32)]
    """The entry's PDQ hash."""
    entry_id: Annotated[int, UInt(64)]
    """Its number in the list."""
    salt: Annotated[bytes, Fixed(16)]
    """Random bytes that nobody else knows but those who hold the list."""
    first_epoch: Annotated[int, UInt(64)] = 0
    """The first epoch of whose files the label may be; 0 where there is no sealed label."""
    last_epoch: Annotated[int, UInt(64)] = OPEN_END
    """The last one, not before the first; 2^64 - 1 for no end."""
    signatures: Annotated[bytes, Variable(SIGNATURE_BYTES * MOST_SIGNATURES)] = b""
    """0 to 8 signatures of 64 bytes; one that is not used is zeros."""

    def check(self) -> None:
        """The range is one, and the signatures are whole."""
        if self.first_epoch > self.last_epoch:
            raise ProtocolError(self.NAME, "must not be before the first", "last_epoch")
        if len(self.signatures) % SIGNATURE_BYTES:
            raise ProtocolError(self.NAME, f"must be {SIGNATURE_BYTES} bytes each", "signatures")

    @property
    def unconfirmed(self) -> bool:
        """Does a filter alone say that the entry is there? Such a match never leads to a report."""
        return self.entry_id == UNCONFIRMED_ID and not any(self.salt)


NO_LABEL: Final = Label(bytes(32), 0, bytes(16))
"""Where there must be a label and there is none."""
_SCORE: Final = struct.Struct(">d")


class NoMatch(Struct, frozen=True):
    """The device learnt that the item is not on the list."""


class Match(Struct, frozen=True):
    """The device learnt that the item is on the list, and holds the entry's label as evidence."""

    label: Label


class Flag(Struct, frozen=True):
    """The device learnt that the item is of the relation's `Category`; there is no entry, and so no label."""

    score: float

    def encode(self) -> bytes:
        """The score: 8 bytes, IEEE 754, big-endian."""
        return _SCORE.pack(self.score)

    @classmethod
    def decode(cls, raw: bytes, step: str) -> Flag:
        """Read a score back.

        Raises:
            ProtocolError: if it is none, or not a finite number.
        """
        if len(raw) != _SCORE.size or not isfinite(_SCORE.unpack(raw)[0]):
            raise ProtocolError(step, "must be a finite number of 8 bytes", "score")
        return cls(*_SCORE.unpack(raw))


class Voucher(Struct, frozen=True):
    """The device learnt nothing; `body` goes to the centre, which may open it later."""

    body: Message


class Undisclosed(Struct, frozen=True):
    """The device learnt nothing and owes nothing (a server learnt, or nobody)."""


Outcome: TypeAlias = NoMatch | Match | Flag | Voucher | Undisclosed


class Send(Struct, Generic[X], frozen=True):
    """Another round: these bodies to these roles, then `receive` with `session`."""

    session: X
    bodies: Mapping[Role, Message]


class Ready(Struct, frozen=True):
    """Nothing is left to send and every reply was verified; `Design.conclude` gives the outcome of `session`.

    The device hands the message over before it concludes, so that the time the outcome takes shows to nobody.
    """

    session: Any


class Done(Struct, frozen=True):
    """The session is over."""

    outcome: Outcome


Step: TypeAlias = Send[X] | Ready | Done
