"""The messenger's account, in memory and in the store: the same in both, whatever fails in between.

What a message changes is the state of one peer. Each has a row of its own, so that no more is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.messages.sender_proof import Franking

from blindmatch_client import messenger
from blindmatch_client.errors import StoreError
from blindmatch_client.messenger.errors import StateError
from blindmatch_client.messenger.state import AccountState, Changes, PeerState

if TYPE_CHECKING:
    from blindmatch_client.messenger import Account
    from blindmatch_client.store.store import Store

ACCOUNT_NAME: Final = "account"


class AccountKeeper:
    """Keeps one account.

    An account that had moved on in memory alone would refuse a message that was never saved as a repeat;
    one that had not moved on in the store would seal two messages under one key.
    """

    def __init__(
        self, store: Store, account: Account | None = None, franking: Franking | None = None
    ) -> None:
        """The account that was saved, or `account`, which was just made; it franks as `franking` says.

        Raises:
            StoreError: if there is none.
            MessengerError: if it cannot be read.
        """
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
            self._account, self._rows = _saved(self._store)
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
                self._save(self.account.take_changes())
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

    def _save(self, changes: Changes) -> None:
        if changes.core is not None:
            self._store.put(ACCOUNT_NAME, changes.core)
        for name, state in changes.peers.items():
            # rows are never deleted, so the next number is free
            number = self._rows.setdefault(name, len(self._rows) + 1)
            self._store.run(
                "INSERT INTO peer VALUES (?, ?) ON CONFLICT DO UPDATE SET state = excluded.state",
                *(number, self._store.sealed(state, "peer.state", number)),
            )


def _saved(store: Store) -> tuple[Account, dict[str, int]]:
    """The account, and the numbers of its peers' rows."""
    core, rows = _read(store)
    account = messenger.Account.load(core, [state for _, state in rows])
    return account, {PeerState.decode(state).name: number for number, state in rows}


def _read(store: Store) -> tuple[bytes, Collection[tuple[Any, ...]]]:
    """The encoded account without its peers, and theirs behind their rows' numbers."""
    dump = store.get(ACCOUNT_NAME)
    if dump is None:
        raise StoreError("the device's store holds no account")
    return dump, store.all("SELECT number, opened(state, 'peer.state', number) FROM peer ORDER BY number")
