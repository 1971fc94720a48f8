"""The messenger's account, in memory and in the store: the same in both, whatever fails in between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from blindmatch_client.errors import StoreError
from blindmatch_client.messenger import Account
from blindmatch_client.store import Store

ACCOUNT_NAME: Final = "account"


class AccountKeeper:
    """Keeps one account.

    An account that had moved on in memory alone would refuse a message that was never saved as a repeat;
    one that had not moved on in the store would seal two messages under one key.
    """

    def __init__(self, store: Store, account: Account) -> None:
        self._store = store
        self._account = account

    @classmethod
    def load(cls, store: Store) -> AccountKeeper:
        """The account that was saved.

        Raises:
            StoreError: if there is none.
            MessengerError: if it cannot be read.
        """
        return cls(store, _saved(store))

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
                self._store.put(ACCOUNT_NAME, self._account.dump())
        except BaseException:
            self._account = _saved(self._store)
            raise


def _saved(store: Store) -> Account:
    dump = store.get(ACCOUNT_NAME)
    if dump is None:
        raise StoreError("the device's store holds no account")
    return Account.load(dump)
