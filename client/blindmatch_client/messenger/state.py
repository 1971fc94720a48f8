"""Define the secret dump of an account, and keep it in the store.

The X3DH keys are in their library's own JSON. Each peer has a row of its own, since a message changes the
state of one peer only. X3DH allows a first message without a one-time pre-key (sections 3.1 and 3.2); its
replay (section 4.2) is refused only because the dump remembers accepted sessions.
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
    """The public keys that an account publishes at the relay, or that the relay hands out for a recipient.

    Do not trust the latter before `check`.

    Attributes:
        identity: 32 bytes, as all keys here.
        signature: XEdDSA signature of the signed pre-key, 64 bytes.
        franking_key: the one that `identity` signs, or none; `own_keys.verify_key` checks it.
    """

    identity: bytes
    signed_pre_key: bytes
    signature: bytes
    one_time: tuple[bytes, ...]
    franking_key: tuple[FrankingKey, ...] = ()

    def check(self) -> x3dh.Bundle:
        """Check the form of all keys, and return the bundle for the library, which checks the signature.

        Raises:
            BundleRefusedError: A length is wrong, a key is not canonical, or there are several one-time
                pre-keys, of which the library would pick one.
        """
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
"""Sessions kept with one peer, at most; the one unused longest is dropped first."""

ACCEPTED_MOST: Final = 64
"""First messages without a one-time pre-key that one peer can send under one signed pre-key, at most."""

KEPT_MOST: Final = 2000
"""Keys of lost messages that are kept, at most; the oldest are dropped first."""

SEEN_MOST: Final = 64
"""Ratchet keys of a peer that are remembered, so that the error for a late repeat says that it is one."""


class Chain(Message, tag=0xE3, name="account/chain"):
    """A chain of a ratchet: its key, and how many steps it has taken."""

    length: Annotated[int, UInt(32)]
    key: Annotated[bytes, Fixed(32)]


class SkippedKey(Message, tag=0xE4, name="account/skipped-key"):
    """The key of a message that was skipped and may still come."""

    ratchet_key: Annotated[bytes, Fixed(32)]
    number: Annotated[int, UInt(32)]
    key: Annotated[bytes, Fixed(32)]


class RatchetState(Message, tag=0xE5, name="account/ratchet"):
    """A Double Ratchet (section 3.2, "State variables"); an optional part is a sequence of at most one."""

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
    """A session that was started without a one-time pre-key; remembered so that it is not started twice."""

    signed_pre_key: Annotated[bytes, Fixed(32)]
    session: Annotated[bytes, Fixed(SESSION_ID_LENGTH)]


class PeerState(Message, tag=0x6E, name="account/peer"):
    """A peer: its keys, the sessions with it, and the sessions that must not be started again."""

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
    """The changes of an account since it was stored, in the encodings that it is loaded from.

    Attributes:
        core: the `AccountState` without its peers; None if it did not change.
        peers: the `PeerState` of each peer that changed, by name.
    """

    core: bytes | None
    peers: Mapping[str, bytes]


def frame_name(name: str) -> bytes:
    """Encode a name behind its length, for the associated data of X3DH (X3DH, section 3.3).

    Raises:
        MalformedError: The name is too long.
    """
    try:
        return Text(NAME_MOST).write(name, "messenger/account", "name")
    except ProtocolError as error:
        raise MalformedError(error) from None


ACCOUNT_NAME: Final = "account"


class AccountKeeper:
    """Keeps one account, the same in memory and in the store.

    An account that is ahead in memory would refuse a message as a repeat that was never saved. One that is
    behind in the store would, after a restart, seal two messages under one key.
    """

    def __init__(
        self, store: Store, account: Account | None = None, franking: Franking | None = None
    ) -> None:
        """Keep the account that the store holds, or a new one.

        Args:
            account: The new account, which the store holds already; None loads it when it is needed.
            franking: How it franks messages.

        Raises:
            StoreError: The store holds no account.
            MessengerError: The account cannot be read.
        """
        self._store = store
        self._account = account
        self._franking = franking or Franking()
        if account is not None:
            account.frank(self._franking)
        self._rows: dict[str, int] = {}
        self._trusted: dict[str, bytes] = {}
        self.name = self._peek() if account is None else account.name

    @property
    def account(self) -> Account:
        """The account, read when it is first needed. Change it only inside `saving`."""
        if self._account is None:
            from blindmatch_client.messenger.account import Account  # it takes long to load

            core, rows = _read(self._store)
            self._account = Account.load(core, [state for _, state in rows])
            self._rows = {PeerState.decode(state).name: number for number, state in rows}
            self._account.frank(self._franking)
        return self._account

    def was_trusted(self, peer: str, identity: bytes) -> bool:
        """Tell if this was the trusted key of `peer` when the store was opened; the account is not loaded."""
        return self._trusted.get(peer) == identity

    @contextmanager
    def saving(self, synced: bool = True) -> Iterator[Account]:
        """Yield the account in a transaction of the store, and save its changes at the end.

        All changes inside become durable together; if anything raises, account and store are as before.

        Args:
            synced: As for `Store.transaction`.
        """
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

    def _peek(self) -> str:
        """Note which keys the account trusts, and return its name; no secret stays in memory."""
        core, rows = _read(self._store)
        try:
            peers = [PeerState.decode(state) for _, state in rows]
            self._trusted = {peer.name: peer.identity for peer in peers if peer.verified}
            return AccountState.decode(core).name
        except ProtocolError:
            raise StateError from None


def _read(store: Store) -> tuple[bytes, Collection[tuple[Any, ...]]]:
    """Read the encoded account without its peers, and the peers' rows: number and encoded state."""
    dump = store.get(ACCOUNT_NAME)
    if dump is None:
        raise StoreError("the device's store holds no account")
    return dump, store.all("SELECT number, opened(state, 'peer.state', number) FROM peer ORDER BY number")
