"""Accounts' public keys at the relay; transactions as in `store`.

* An account's identity key never changes.
* A one-time pre-key is handed out once, even if its owner publishes it again: its row stays, marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection
from typing import Final

from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Struct

from blindmatch_server.storage.errors import ConflictError, NotFoundError

_KEYS: Final = "identity_key, signed_pre_key, signed_pre_key_signature, franking_key, franking_key_signature"


class PreKeys(Redacted, Struct, frozen=True):
    """An account's public keys as its device publishes them."""

    identity_key: bytes
    signed_pre_key: bytes
    signature: bytes
    one_time: Sequence[bytes] = ()
    franking_key: bytes = b""
    franking_key_signature: bytes = b""


def register(connection: Connection, account: str, keys: PreKeys) -> int:
    """Publish an account's keys, in place of those published before.

    Returns:
        The number of one-time pre-keys that can be handed out.

    Raises:
        ConflictError: if the account has another identity key.
    """
    row = connection.execute("SELECT identity_key FROM accounts WHERE account = ?", (account,)).fetchone()
    if row is not None and row[0] != keys.identity_key:
        raise ConflictError(
            "relay/register", "the account has another one, which cannot be changed", "identity_key"
        )
    franking = keys.franking_key, keys.franking_key_signature
    connection.execute(
        f"INSERT INTO accounts (account, {_KEYS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (account) "  # noqa: S608
        "DO UPDATE SET signed_pre_key = excluded.signed_pre_key, "
        "signed_pre_key_signature = excluded.signed_pre_key_signature, "
        "franking_key = excluded.franking_key, franking_key_signature = excluded.franking_key_signature",
        (account, keys.identity_key, keys.signed_pre_key, keys.signature, *franking),
    )
    connection.execute("DELETE FROM one_time_pre_keys WHERE account = ? AND handed_out = 0", (account,))
    connection.executemany(
        "INSERT OR IGNORE INTO one_time_pre_keys (account, key) VALUES (?, ?)",
        [(account, key) for key in keys.one_time],
    )
    return _available(connection, account)


def check_account(connection: Connection, account: str) -> None:
    """Raise `NotFoundError` if the account has not registered."""
    if connection.execute("SELECT 1 FROM accounts WHERE account = ?", (account,)).fetchone() is None:
        raise NotFoundError("relay/fetch-bundle", "no such account", "account")


def take_bundle(connection: Connection, account: str) -> PreKeys:
    """An account's keys with at most one one-time pre-key, which is never handed out again.

    Raises:
        NotFoundError: if the account has not registered.
    """
    row = connection.execute(
        f"SELECT {_KEYS} FROM accounts WHERE account = ?",  # noqa: S608 - constants
        (account,),
    ).fetchone()
    if row is None:
        raise NotFoundError("relay/fetch-bundle", "no such account", "account")
    taken = connection.execute(
        "UPDATE one_time_pre_keys SET handed_out = 1 WHERE account = ?1 AND key = "
        "(SELECT key FROM one_time_pre_keys WHERE account = ?1 AND handed_out = 0 LIMIT 1) RETURNING key",
        (account,),
    ).fetchall()
    identity, signed_pre_key, signature, *franking = row
    return PreKeys(identity, signed_pre_key, signature, tuple(key for (key,) in taken), *franking)


def _available(connection: Connection, account: str) -> int:
    row = connection.execute(
        "SELECT COUNT(*) FROM one_time_pre_keys WHERE account = ? AND handed_out = 0", (account,)
    ).fetchone()
    return int(row[0])
