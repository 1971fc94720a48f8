"""What an account's dump consists of, which is secret, and what keeps it in the store.

The keys of X3DH are in its library's own JSON; what a message changes is the state of one peer; each has a
row of its own. X3DH allows a first message without a one-time pre-key (sections 3.1 and 3.2): only
`Account`'s memory refuses its replay (section 4.2).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

from blindmatch_protocol.codec import Bool, Fixed, Message, Nested, Sequence, Text, UInt, Variable
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.messages.content import NAME_MOST
from blindmatch_protocol.messages.sealed_message import (
    SESSION_ID_LENGTH,
    Curve25519Key,
    Franking,
    FrankingKey,
    InitialHeader,
    Version,
)
from msgspec import Struct

from blindmatch_client.errors import BundleRefusedError, MalformedError, StateError, StoreError

if TYPE_CHECKING:
    import x3dh

    from blindmatch_client.messenger.account import Account
    from blindmatch_client.store.store import Store


SIGNATURE_LENGTH = 64

ONE_TIME_PRE_KEYS: Final = 100
"""One-time pre-keys of a new account."""

ONE_TIME_MOST: Final = 1000
"""One-time pre-keys an account holds at most, with those that are not published any more."""

WITHDRAWN_KEPT_MS: Final = 31 * 24 * 60 * 60 * 1000
"""How long those are kept: a day longer than the relay keeps the messages that may use them."""


class PreKeys(Struct, frozen=True):
    """What an account hands to the relay, public keys of 32 bytes and an XEdDSA signature of 64, and what the
    relay hands out for a recipient; not to be trusted before `checked`. `franking_key`: none, or the one that
    is signed by `identity`, as `Frankings` checks."""

    identity: bytes
    signed_pre_key: bytes
    signature: bytes
    one_time: tuple[bytes, ...]
    franking_key: tuple[FrankingKey, ...] = ()

    def checked(self) -> x3dh.Bundle:
        """The bundle for the library, which checks the signature and, given several one-time pre-keys, would
        pick one; `BundleRefusedError` for lengths, keys that are not canonical, or several one-time
        pre-keys."""
        import x3dh

        try:
            for key in (self.identity, self.signed_pre_key, *self.one_time):
                Curve25519Key().write(key, "messenger/bundle", "key")
        except ProtocolError as error:
            raise BundleRefusedError from error
        if len(self.one_time) > 1 or len(self.signature) != SIGNATURE_LENGTH:
            raise BundleRefusedError
        return x3dh.Bundle(self.identity, self.signed_pre_key, self.signature, frozenset(self.one_time))


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


def framed(name: str) -> bytes:
    """A name behind its length, for the associated data of X3DH (X3DH, section 3.3); `MalformedError` if the
    name is too long."""
    try:
        return Text(NAME_MOST).write(name, "messenger/account", "name")
    except ProtocolError as error:
        raise MalformedError(error) from None


ACCOUNT_NAME: Final = "account"


class AccountKeeper:
    """Keeps one account, the same in memory and in the store: one that had moved on in memory alone would
    refuse a message that was never saved as a repeat; one that had not moved on in the store would seal two
    messages under one key."""

    def __init__(
        self, store: Store, account: Account | None = None, franking: Franking | None = None
    ) -> None:
        """The account that was saved, or `account`, which was just made; it franks as `franking` says;
        `StoreError` if there is none, `MessengerError` if it cannot be read."""
        self._store = store
        self._account = account
        self._franking = franking or Franking()
        if account is not None:
            account.frank(self._franking)
        self._rows: dict[str, int] = {}
        self._trusted: dict[str, bytes] = {}
        self.name = self._looked_at() if account is None else account.name

    @property
    def account(self) -> Account:
        """The account; to be changed inside `saving` alone. It is read when it is first asked for."""
        if self._account is None:
            from blindmatch_client.messenger.account import Account  # it takes long to load

            core, rows = _read(self._store)
            self._account = Account.load(core, [state for _, state in rows])
            self._rows = {PeerState.decode(state).name: number for number, state in rows}
            self._account.frank(self._franking)
        return self._account

    def was_trusted(self, peer: str, identity: bytes) -> bool:
        """Was this the key of `peer`, compared or configured, when the store was opened? The account need not
        be made for it."""
        return self._trusted.get(peer) == identity

    @contextmanager
    def saving(self, synced: bool = True) -> Iterator[Account]:
        """Changes of the account and of the store inside become durable together when it ends; if it
        raises, both are as they were. `synced`: as for `Store.transaction`."""
        try:
            with self._store.transaction(synced):
                yield self.account
                changes = self.account.take_changes()
                if changes.core is not None:
                    self._store.put(ACCOUNT_NAME, changes.core)
                for name, state in changes.peers.items():
                    # rows are never deleted, so the next number is free
                    number = self._rows.setdefault(name, len(self._rows) + 1)
                    self._store.run(
                        "INSERT INTO peer VALUES (?, ?) ON CONFLICT DO UPDATE SET state = excluded.state",
                        *(number, self._store.sealed(state, "peer.state", number)),
                    )
        except BaseException:
            self._account = None
            raise

    def _looked_at(self) -> str:
        """The account's name, and whom it trusts; nothing that is secret is kept."""
        core, rows = _read(self._store)
        try:
            peers = [PeerState.decode(state) for _, state in rows]
            self._trusted = {peer.name: peer.identity for peer in peers if peer.verified}
            return AccountState.decode(core).name
        except ProtocolError:
            raise StateError from None


def _read(store: Store) -> tuple[bytes, Collection[tuple[Any, ...]]]:
    """The encoded account without its peers, and theirs behind their rows' numbers."""
    dump = store.get(ACCOUNT_NAME)
    if dump is None:
        raise StoreError("the device's store holds no account")
    return dump, store.all("SELECT number, opened(state, 'peer.state', number) FROM peer ORDER BY number")
