"""What an account's dump consists of. All of it is secret; sealing and storing it is another's job.

The keys of X3DH are in its library's own JSON, which it migrates between its versions; they seldom change. A
ratchet, which each message moves on, is a record like the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from blindmatch_protocol.codec import Bool, Fixed, Message, Nested, Sequence, Text, UInt, Variable
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.messages.content import NAME_MOST
from blindmatch_protocol.messages.sealed_message import SESSION_ID_LENGTH, InitialHeader, Version
from msgspec import Struct

from blindmatch_client.messenger.pre_keys import ONE_TIME_MOST

DUMP_VERSION: Final = 5

SESSIONS_MOST: Final = 8
"""Sessions kept with one peer; the one that was unused longest goes first."""

ACCEPTED_MOST: Final = 64
"""First messages without a one-time pre-key that are taken from one peer while a signed pre-key serves."""

KEPT_MOST: Final = 2000
"""Keys of lost messages that are kept; the oldest go first."""

SEEN_MOST: Final = 64
"""Ratchet keys of a peer that are remembered, so that a late repeat is named as such."""


class Chain(Message, tag=0xE3, name="account/chain"):
    """A chain of a ratchet: its key, and how often it moved on."""

    length: Annotated[int, UInt(32)]
    key: Annotated[bytes, Fixed(32)]


class SkippedKey(Message, tag=0xE4, name="account/skipped-key"):
    """The key of a message that has not come."""

    ratchet_key: Annotated[bytes, Fixed(32)]
    number: Annotated[int, UInt(32)]
    key: Annotated[bytes, Fixed(32)]


class RatchetState(Message, tag=0xE5, name="account/ratchet"):
    """A Double Ratchet (section 3.2, "State variables"); what may be absent is a sequence of one."""

    own_private: Annotated[bytes, Fixed(32)]
    other_public: Annotated[bytes, Fixed(32)]
    root: Annotated[Chain, Nested(Chain)]
    receiving: Annotated[tuple[Chain, ...], Sequence(Nested(Chain), 1)]
    sending: Annotated[tuple[Chain, ...], Sequence(Nested(Chain), 1)]
    previous: Annotated[tuple[int, ...], Sequence(UInt(32), 1)]
    skipped: Annotated[tuple[SkippedKey, ...], Sequence(Nested(SkippedKey), KEPT_MOST)]


class SessionState(Message, tag=0x6D, name="account/session"):
    """One session."""

    id: Annotated[bytes, Fixed(SESSION_ID_LENGTH)]
    agreement: Annotated[bytes, Variable(1024)]
    initial: Annotated[tuple[InitialHeader, ...], Sequence(Nested(InitialHeader), 1)]
    seen: Annotated[tuple[bytes, ...], Sequence(Fixed(32), SEEN_MOST)]
    ratchet: Annotated[RatchetState, Nested(RatchetState)]


class AcceptedState(Message, tag=0x6C, name="account/accepted"):
    """A session that was started without a one-time pre-key, so that it is not started twice."""

    signed_pre_key: Annotated[bytes, Fixed(32)]
    session: Annotated[bytes, Fixed(SESSION_ID_LENGTH)]


class PeerState(Message, tag=0x6E, name="account/peer"):
    """What is known of a peer: its keys, the sessions with it, and those that must not be started again."""

    name: Annotated[str, Text(NAME_MOST)]
    identity: Annotated[bytes, Fixed(32)]
    verified: Annotated[bool, Bool()]
    offered: Annotated[tuple[bytes, ...], Sequence(Fixed(32), 1)]
    told: Annotated[tuple[bytes, ...], Sequence(Fixed(32), 2)]
    sessions: Annotated[tuple[SessionState, ...], Sequence(Nested(SessionState), SESSIONS_MOST)]
    accepted: Annotated[tuple[AcceptedState, ...], Sequence(Nested(AcceptedState), 2 * ACCEPTED_MOST)]
    franking_key: Annotated[tuple[bytes, ...], Sequence(Fixed(32), 1)]


class WithdrawnState(Message, tag=0xE6, name="account/withdrawn"):
    """A one-time pre-key that is not published any more."""

    key: Annotated[bytes, Fixed(32)]
    since: Annotated[int, UInt(64)]


class AccountState(Message, tag=0x6F, name="account/dump"):
    """A whole account."""

    version: Annotated[int, Version(DUMP_VERSION)]
    name: Annotated[str, Text(NAME_MOST)]
    rotated_at: Annotated[int, UInt(64)]
    keys: Annotated[bytes, Variable(1 << 22)]
    withdrawn: Annotated[tuple[WithdrawnState, ...], Sequence(Nested(WithdrawnState), ONE_TIME_MOST)]
    peers: Annotated[tuple[PeerState, ...], Sequence(Nested(PeerState), 1 << 20)]


class Changes(Redacted, Struct, frozen=True):
    """What of an account changed since it was stored, in the encodings it is loaded from.

    Attributes:
        core: the `AccountState` without its peers; None if nothing of that changed.
        peers: the `PeerState` of each peer that did, by name.
    """

    core: bytes | None
    peers: Mapping[str, bytes]
