"""What an account's dump consists of. All of it is secret; sealing and storing it is another's job.

The keys of X3DH and the ratchets are in the libraries' own JSON, which they migrate between their versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from blindmatch_protocol.codec import Fixed, Flag, Message, Nested, Sequence, Text, UInt, Variable, message
from blindmatch_protocol.content import NAME_MOST
from blindmatch_protocol.sealed_message import SESSION_ID_LENGTH, InitialHeader, Version

DUMP_VERSION: Final = 2

SESSIONS_MOST: Final = 8
"""Sessions kept with one peer; the one that was unused longest goes first."""

ACCEPTED_MOST: Final = 64
"""First messages without a one-time pre-key that are taken from one peer while a signed pre-key serves."""

SEEN_MOST: Final = 64
"""Ratchet keys of a peer that are remembered, so that a late repeat is named as such."""


@message
class SessionState(Message):
    """One session."""

    TAG: ClassVar[int] = 0x6D
    NAME: ClassVar[str] = "account/session"
    id: Annotated[bytes, Fixed(SESSION_ID_LENGTH)]
    agreement: Annotated[bytes, Variable(1024)]
    initial: Annotated[tuple[InitialHeader, ...], Sequence(Nested(InitialHeader), 1)]
    seen: Annotated[tuple[bytes, ...], Sequence(Fixed(32), SEEN_MOST)]
    ratchet: Annotated[bytes, Variable(1 << 22)]


@message
class AcceptedState(Message):
    """A session that was started without a one-time pre-key, so that it is not started twice."""

    TAG: ClassVar[int] = 0x6C
    NAME: ClassVar[str] = "account/accepted"
    signed_pre_key: Annotated[bytes, Fixed(32)]
    session: Annotated[bytes, Fixed(SESSION_ID_LENGTH)]


@message
class PeerState(Message):
    """What is known of a peer: its keys, the sessions with it, and those that must not be started again."""

    TAG: ClassVar[int] = 0x6E
    NAME: ClassVar[str] = "account/peer"
    name: Annotated[str, Text(NAME_MOST)]
    identity: Annotated[bytes, Fixed(32)]
    verified: Annotated[bool, Flag()]
    offered: Annotated[tuple[bytes, ...], Sequence(Fixed(32), 1)]
    told: Annotated[tuple[bytes, ...], Sequence(Fixed(32), 2)]
    sessions: Annotated[tuple[SessionState, ...], Sequence(Nested(SessionState), SESSIONS_MOST)]
    accepted: Annotated[tuple[AcceptedState, ...], Sequence(Nested(AcceptedState), 2 * ACCEPTED_MOST)]


@message
class AccountState(Message):
    """A whole account."""

    TAG: ClassVar[int] = 0x6F
    NAME: ClassVar[str] = "account/dump"
    version: Annotated[int, Version(DUMP_VERSION)]
    name: Annotated[str, Text(NAME_MOST)]
    rotated_at: Annotated[int, UInt(64)]
    keys: Annotated[bytes, Variable(1 << 22)]
    peers: Annotated[tuple[PeerState, ...], Sequence(Nested(PeerState), 1 << 20)]


@dataclass(frozen=True, slots=True, repr=False)
class Changes:
    """What of an account changed since it was stored, in the encodings it is loaded from.

    Attributes:
        core: the `AccountState` without its peers; None if nothing of that changed.
        peers: the `PeerState` of each peer that did, by name.
    """

    core: bytes | None
    peers: Mapping[str, bytes]
