"""What the relay stores, and every transaction on it.

Each function runs inside one transaction of `database.Database`. Nothing is stored that delivery, quotas or
the promises below do not need; a test lists every column.

* An account's identity key never changes.
* A one-time pre-key is handed out once, even if its owner publishes it again: its row stays, marked.
* A sender's message id is accepted once within the retention time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from sqlite3 import Connection
from typing import Final

from blindmatch_server.errors import ConflictError, NotFoundError, QuotaError
from blindmatch_server.relay.limits import RelayLimits

VERSION: Final = 1
SCHEMA: Final = """
CREATE TABLE accounts (
    account TEXT PRIMARY KEY,
    identity_key BLOB NOT NULL,
    signed_pre_key BLOB NOT NULL,
    signed_pre_key_signature BLOB NOT NULL,
    last_sequence INTEGER NOT NULL DEFAULT 0,
    queued_messages INTEGER NOT NULL DEFAULT 0,
    queued_bytes INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE TABLE one_time_pre_keys (
    account TEXT NOT NULL REFERENCES accounts (account),
    key BLOB NOT NULL,
    handed_out INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX available_pre_keys ON one_time_pre_keys (account) WHERE handed_out = 0;
CREATE TABLE messages (
    recipient TEXT NOT NULL REFERENCES accounts (account),
    sequence INTEGER NOT NULL,
    sender TEXT NOT NULL,
    sealed BLOB NOT NULL,
    accepted_at_ms INTEGER NOT NULL,
    UNIQUE (recipient, sequence)
) STRICT;
CREATE INDEX messages_by_age ON messages (accepted_at_ms);
CREATE TABLE sent (
    sender TEXT NOT NULL,
    message_id BLOB NOT NULL,
    accepted_at_ms INTEGER NOT NULL,
    PRIMARY KEY (sender, message_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX sent_by_age ON sent (accepted_at_ms);
CREATE TABLE blobs (
    blob_id BLOB PRIMARY KEY,
    owner TEXT NOT NULL,
    size INTEGER NOT NULL,
    stored_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_by_owner ON blobs (owner, size);
CREATE INDEX blobs_by_age ON blobs (stored_at_ms)
"""


@dataclass(frozen=True, slots=True, repr=False)
class PreKeys:
    """An account's public keys as its device publishes them."""

    identity_key: bytes
    signed_pre_key: bytes
    signature: bytes
    one_time: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Queued:
    """A message that waits for its recipient."""

    sequence: int
    sender: str
    sealed: bytes = field(repr=False)
    accepted_at_ms: int


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
    connection.execute(
        "INSERT INTO accounts (account, identity_key, signed_pre_key, signed_pre_key_signature) "
        "VALUES (?, ?, ?, ?) ON CONFLICT (account) DO UPDATE SET "
        "signed_pre_key = excluded.signed_pre_key, "
        "signed_pre_key_signature = excluded.signed_pre_key_signature",
        (account, keys.identity_key, keys.signed_pre_key, keys.signature),
    )
    connection.execute("DELETE FROM one_time_pre_keys WHERE account = ? AND handed_out = 0", (account,))
    connection.executemany(
        "INSERT OR IGNORE INTO one_time_pre_keys (account, key) VALUES (?, ?)",
        [(account, key) for key in keys.one_time],
    )
    return _available(connection, account)


def take_bundle(connection: Connection, account: str) -> PreKeys:
    """An account's keys with at most one one-time pre-key, which is never handed out again.

    Raises:
        NotFoundError: if the account has not registered.
    """
    row = connection.execute(
        "SELECT identity_key, signed_pre_key, signed_pre_key_signature FROM accounts WHERE account = ?",
        (account,),
    ).fetchone()
    if row is None:
        raise NotFoundError("relay/fetch-bundle", "no such account", "account")
    taken = connection.execute(
        "UPDATE one_time_pre_keys SET handed_out = 1 WHERE account = ?1 AND key = "
        "(SELECT key FROM one_time_pre_keys WHERE account = ?1 AND handed_out = 0 LIMIT 1) RETURNING key",
        (account,),
    ).fetchall()
    identity_key, signed_pre_key, signature = row
    return PreKeys(identity_key, signed_pre_key, signature, tuple(key for (key,) in taken))


def enqueue(
    connection: Connection,
    sender: str,
    recipient: str,
    message_id: bytes,
    sealed: bytes,
    now_ms: int,
    limits: RelayLimits,
) -> tuple[int, bool]:
    """Queue a message for its recipient, once for each (sender, message id).

    Returns:
        When it was accepted (the first time), and whether it is new.

    Raises:
        NotFoundError: if the recipient has not registered.
        QuotaError: if too much waits for the recipient already.
    """
    before = connection.execute(
        "SELECT accepted_at_ms FROM sent WHERE sender = ? AND message_id = ?", (sender, message_id)
    ).fetchone()
    if before is not None:
        return int(before[0]), False
    sequence = _next_sequence(connection, recipient, len(sealed), limits)
    connection.execute("INSERT INTO sent VALUES (?, ?, ?)", (sender, message_id, now_ms))
    connection.execute(
        "INSERT INTO messages VALUES (?, ?, ?, ?, ?)", (recipient, sequence, sender, sealed, now_ms)
    )
    return now_ms, True


def queued(connection: Connection, recipient: str, after: int, most: int) -> list[Queued]:
    """Up to `most` messages for `recipient` with a sequence above `after`, oldest first."""
    rows = connection.execute(
        "SELECT sequence, sender, sealed, accepted_at_ms FROM messages "
        "WHERE recipient = ? AND sequence > ? ORDER BY sequence LIMIT ?",
        (recipient, after, most),
    )
    return [Queued(*row) for row in rows]


def acknowledge(connection: Connection, recipient: str, sequences: Sequence[int]) -> int:
    """Delete messages of `recipient`, and no one else's; returns how many there were."""
    sizes: list[int] = []
    for sequence in set(sequences):
        sizes += _deleted_sizes(connection, "recipient = ? AND sequence = ?", (recipient, sequence)).get(
            recipient, []
        )
    _release(connection, recipient, sizes)
    return len(sizes)


def check_blob_quota(connection: Connection, owner: str, size: int, limits: RelayLimits) -> None:
    """Raise `QuotaError` if `owner` may not store another `size` bytes."""
    row = connection.execute("SELECT COALESCE(SUM(size), 0) FROM blobs WHERE owner = ?", (owner,)).fetchone()
    if row[0] + size > limits.most_stored_bytes:
        rule = f"an account's attachments have at most {limits.most_stored_bytes} bytes"
        raise QuotaError("relay/upload", rule)


def add_blob(
    connection: Connection, blob_id: bytes, owner: str, size: int, now_ms: int, limits: RelayLimits
) -> None:
    """Record an attachment whose file is on disk. Raises `QuotaError` as `check_blob_quota` does."""
    check_blob_quota(connection, owner, size, limits)
    connection.execute("INSERT INTO blobs VALUES (?, ?, ?, ?)", (blob_id, owner, size, now_ms))


def blob_size(connection: Connection, blob_id: bytes) -> int:
    """Size of an attachment.

    Raises:
        NotFoundError: if there is none with this id.
    """
    row = connection.execute("SELECT size FROM blobs WHERE blob_id = ?", (blob_id,)).fetchone()
    if row is None:
        raise NotFoundError("relay/download", "no such attachment, or it was kept long enough", "blob_id")
    return int(row[0])


def blob_ids(connection: Connection) -> set[bytes]:
    """Ids of all attachments."""
    return {blob_id for (blob_id,) in connection.execute("SELECT blob_id FROM blobs")}


def expire(connection: Connection, before_ms: int) -> list[bytes]:
    """Delete what was accepted before `before_ms`; returns the ids of attachments whose files can go."""
    for recipient, sizes in _deleted_sizes(connection, "accepted_at_ms < ?", (before_ms,)).items():
        _release(connection, recipient, sizes)
    connection.execute("DELETE FROM sent WHERE accepted_at_ms < ?", (before_ms,))
    gone = connection.execute("DELETE FROM blobs WHERE stored_at_ms < ? RETURNING blob_id", (before_ms,))
    return [blob_id for (blob_id,) in gone.fetchall()]


def _available(connection: Connection, account: str) -> int:
    row = connection.execute(
        "SELECT COUNT(*) FROM one_time_pre_keys WHERE account = ? AND handed_out = 0", (account,)
    ).fetchone()
    return int(row[0])


def _next_sequence(connection: Connection, recipient: str, size: int, limits: RelayLimits) -> int:
    row = connection.execute(
        "UPDATE accounts SET last_sequence = last_sequence + 1, queued_messages = queued_messages + 1, "
        "queued_bytes = queued_bytes + ? WHERE account = ? "
        "RETURNING last_sequence, queued_messages, queued_bytes",
        (size, recipient),
    ).fetchone()
    if row is None:
        raise NotFoundError("relay/send", "no such account", "recipient")
    sequence, messages, queued_bytes = row
    if messages > limits.most_queued_messages or queued_bytes > limits.most_queued_bytes:
        raise QuotaError("relay/send", "too much waits for this account already", "recipient")
    return int(sequence)


def _deleted_sizes(connection: Connection, where: str, values: tuple[object, ...]) -> dict[str, list[int]]:
    """Delete messages; the sizes of those deleted, by recipient."""
    sizes: dict[str, list[int]] = {}
    query = f"DELETE FROM messages WHERE {where} RETURNING recipient, LENGTH(sealed)"  # noqa: S608 - constants
    for recipient, size in connection.execute(query, values).fetchall():
        sizes.setdefault(recipient, []).append(size)
    return sizes


def _release(connection: Connection, recipient: str, sizes: Sequence[int]) -> None:
    connection.execute(
        "UPDATE accounts SET queued_messages = queued_messages - ?, queued_bytes = queued_bytes - ? "
        "WHERE account = ?",
        (len(sizes), sum(sizes), recipient),
    )
