"""The messenger's account, in memory and in the store: the same in both, whatever fails in between.

What a message changes is the state of one peer. Each has a row of its own, so that no more is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from blindmatch_client.errors import StoreError
from blindmatch_client.messenger import Account
from blindmatch_client.messenger.state import Changes, PeerState
from blindmatch_client.store import Store

ACCOUNT_NAME: Final = "account"


class AccountKeeper:
    """Keeps one account.

    An account that had moved on in memory alone would refuse a message that was never saved as a repeat;
    one that had not moved on in the store would seal two messages under one key.
    """

    def __init__(self, store: Store, account: Account, rows: dict[str, int] | None = None) -> None:
        """`rows`: numbers of the peers' rows in the store, by name."""
        self._store = store
        self._account = account
        self._rows = rows or {}

    @classmethod
    def load(cls, store: Store) -> AccountKeeper:
        """The account that was saved.

        Raises:
            StoreError: if there is none.
            MessengerError: if it cannot be read.
        """
        return cls(store, *_saved(store))

    @property
    def account(self) -> Account:
        """The account; to be changed inside `saving` alone."""
        return self._account

    @contextmanager
    def saving(self) -> Iterator[Account]:
        """Changes of the account and of the store inside become durable together when it ends; if it
        raises, both are as they were."""
        try:
            with self._store.transaction():
                yield self._account
                self._save(self._account.take_changes())
        except BaseException:
            self._account, self._rows = _saved(self._store)
            raise

    def _save(self, changes: Changes) -> None:
        if changes.core is not None:
            self._store.put(ACCOUNT_NAME, changes.core)
        for name, state in changes.peers.items():
            # rows are never deleted, so the next number is free
            number = self._rows.setdefault(name, len(self._rows) + 1)
            self._store.run(
                "INSERT INTO peer VALUES (?1, sealed(?2, 'peer.state', ?1))"
                " ON CONFLICT DO UPDATE SET state = excluded.state",
                number,
                state,
            )


def _saved(store: Store) -> tuple[Account, dict[str, int]]:
    dump = store.get(ACCOUNT_NAME)
    if dump is None:
        raise StoreError("the device's store holds no account")
    rows = store.all("SELECT number, opened(state, 'peer.state', number) FROM peer ORDER BY number")
    account = Account.load(dump, [state for _, state in rows])
    return account, {PeerState.decode(state).name: number for number, state in rows}
