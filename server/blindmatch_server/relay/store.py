"""What the relay stores, and every transaction on it.

Each function runs inside one transaction of `database.Database`. Nothing is stored that delivery, quotas or
the promises below do not need; a test lists every column.

* An account's identity key never changes.
* A one-time pre-key is handed out once, even if its owner publishes it again: its row stays, marked.
* A sender's message id is accepted once within the retention time, and again for the same message alone.
* A message that is deleted before its recipient has acknowledged it is told to its sender, for as long again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from sqlite3 import Connection
from typing import ClassVar, Final

from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from msgspec import Struct

from blindmatch_server.hosting.limits import Rate
from blindmatch_server.storage.errors import ConflictError, NotFoundError, QuotaError

_KEYS: Final = "identity_key, signed_pre_key, signed_pre_key_signature, franking_key, franking_key_signature"


def register(connection: Connection, account: str, keys: wire.RegisterRequest) -> int:
    """Publish an account's keys, in place of those published before; the number of one-time pre-keys that can
    be handed out; `ConflictError` if the account has another identity key."""
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
        (account, keys.identity_key, keys.signed_pre_key, keys.signed_pre_key_signature, *franking),
    )
    connection.execute("DELETE FROM one_time_pre_keys WHERE account = ? AND handed_out = 0", (account,))
    connection.executemany(
        "INSERT OR IGNORE INTO one_time_pre_keys (account, key) VALUES (?, ?)",
        [(account, key) for key in keys.one_time_pre_keys],
    )
    (held,) = connection.execute(
        "SELECT COUNT(*) FROM one_time_pre_keys WHERE account = ? AND handed_out = 0", (account,)
    ).fetchone()
    return int(held)


def read_keys(connection: Connection, account: str) -> dict[str, bytes]:
    """An account's keys, but for one-time pre-keys; `NotFoundError` if it has not registered."""
    row = connection.execute(
        f"SELECT {_KEYS} FROM accounts WHERE account = ?",  # noqa: S608 - constants
        (account,),
    ).fetchone()
    if row is None:
        raise NotFoundError("relay/fetch-bundle", "no such account", "account")
    return dict(zip(_KEYS.split(", "), row, strict=True))


def take_bundle(connection: Connection, account: str) -> wire.Bundle:
    """An account's keys with at most one one-time pre-key, which is never handed out again; `NotFoundError`
    if the account has not registered."""
    keys = read_keys(connection, account)
    taken = connection.execute(
        "UPDATE one_time_pre_keys SET handed_out = 1 WHERE account = ?1 AND key = "
        "(SELECT key FROM one_time_pre_keys WHERE account = ?1 AND handed_out = 0 LIMIT 1) RETURNING key",
        (account,),
    ).fetchall()
    return wire.Bundle(**keys, one_time_pre_keys=[key for (key,) in taken])


DAY_SECONDS = 24 * 60 * 60


class RelayLimits(Struct, frozen=True):
    """Bounds of the relay.

    Attributes:
        most_sealed_bytes: a message.
        most_queued_messages, most_queued_bytes: what waits for one recipient.
        most_blob_bytes: an attachment.
        most_stored_bytes: attachments of one owner together.
        most_one_time_pre_keys: of one account, in one call and not handed out yet.
        most_expired: messages of one sender that expired and that it does not know of; of more, the newest.
        retention_seconds: after which messages, attachments and the ids of sent messages are deleted.
        sweep_seconds: time between two such deletions.
        most_wait_ms: how long `Receive` may wait for the next message.
        most_streams: calls of `Receive`, `Upload` and `Connect` that an account has at a time, each.
        calls: an account's calls of one method.
        most_at_work: an account's calls with one reply that are worked on at a time; others wait their turn.
        bundles: an account's calls of `FetchBundle`, which use up others' one-time pre-keys.
        bundles_of_one: the same, of one other account's pre-keys.
    """

    most_sealed_bytes: int = 768 << 10
    most_queued_messages: int = 20_000
    most_queued_bytes: int = 256 << 20
    most_blob_bytes: int = 120 << 20
    most_stored_bytes: int = 4 << 30
    most_one_time_pre_keys: int = 1000
    most_expired: int = 10_000
    retention_seconds: float = 30.0 * DAY_SECONDS
    sweep_seconds: float = 600.0
    most_wait_ms: int = 300_000
    most_streams: int = 4
    most_at_work: int = 4
    calls: Rate = Rate(125.0, 250)
    bundles: Rate = Rate(1.0, 100)
    bundles_of_one: Rate = Rate(1 / 60, 10)


VERSION: Final = 8
_EXPIRED: Final = """
CREATE TABLE expired (
    sender TEXT NOT NULL REFERENCES accounts (account),
    number INTEGER NOT NULL,
    message_id BLOB NOT NULL,
    recipient TEXT NOT NULL,
    accepted_at_ms INTEGER NOT NULL,
    expired_at_ms INTEGER NOT NULL,
    PRIMARY KEY (sender, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX expired_by_age ON expired (expired_at_ms)
"""
UPGRADES: Final = {7: f"ALTER TABLE accounts ADD COLUMN last_expired INTEGER NOT NULL DEFAULT 0; {_EXPIRED}"}
SCHEMA: Final = (
    """
CREATE TABLE accounts (
    account TEXT PRIMARY KEY,
    identity_key BLOB NOT NULL,
    signed_pre_key BLOB NOT NULL,
    signed_pre_key_signature BLOB NOT NULL,
    franking_key BLOB NOT NULL,
    franking_key_signature BLOB NOT NULL,
    last_sequence INTEGER NOT NULL DEFAULT 0,
    queued_messages INTEGER NOT NULL DEFAULT 0,
    queued_bytes INTEGER NOT NULL DEFAULT 0,
    last_expired INTEGER NOT NULL DEFAULT 0
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
    message_id BLOB NOT NULL,
    stamp BLOB NOT NULL,
    UNIQUE (recipient, sequence)
) STRICT;
CREATE INDEX messages_by_age ON messages (accepted_at_ms);
CREATE TABLE sent (
    sender TEXT NOT NULL,
    message_id BLOB NOT NULL,
    accepted_at_ms INTEGER NOT NULL,
    stamp BLOB NOT NULL,
    digest BLOB NOT NULL,
    place BLOB,
    PRIMARY KEY (sender, message_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX sent_by_place ON sent (sender, place) WHERE place IS NOT NULL;
CREATE INDEX sent_by_age ON sent (accepted_at_ms);
CREATE TABLE blobs (
    blob_id BLOB PRIMARY KEY,
    owner TEXT NOT NULL,
    size INTEGER NOT NULL,
    stored_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_by_age ON blobs (stored_at_ms);
CREATE TABLE queued_by (
    recipient TEXT NOT NULL REFERENCES accounts (account),
    sender TEXT NOT NULL,
    messages INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (recipient, sender)
) STRICT, WITHOUT ROWID;
CREATE TABLE stored_by (
    owner TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""
    + _EXPIRED
)


class Handed(Redacted, Struct, frozen=True):
    """A message as its sender handed it over, with the relay's stamp on its commitment and its place in its
    session; in the clear these are empty, and None."""

    SHOWN: ClassVar = ("sender", "recipient", "message_id", "accepted_at_ms", "stamp")

    sender: str
    recipient: str
    message_id: bytes
    sealed: bytes
    accepted_at_ms: int
    stamp: bytes = b""
    place: bytes | None = None
    commitment: bytes = b""


class Queued(Redacted, Struct, frozen=True):
    SHOWN: ClassVar = ("sequence", "sender", "accepted_at_ms", "message_id", "stamp")

    sequence: int
    sender: str
    sealed: bytes
    accepted_at_ms: int
    message_id: bytes
    stamp: bytes


def enqueue(connection: Connection, handed: Handed, limits: RelayLimits) -> tuple[int, bytes, Queued | None]:
    """Queue a message for its recipient, once for each (sender, message id): when it was accepted (the first
    time), its stamp of then, and the message as it waits if it is new. `ConflictError` if the id was used for
    another message, or another recipient, or the place for another id: two messages under one message key;
    `NotFoundError` if the recipient has not registered; `QuotaError` if too much waits for the recipient
    already, or too much of it is of this sender."""
    sender = handed.sender
    recipient = handed.recipient
    name = handed.message_id
    sealed = handed.sealed
    now_ms = handed.accepted_at_ms
    stamp = handed.stamp
    digest = sha256(sha256(recipient.encode()).digest() + sealed).digest()
    noted = "INSERT INTO sent VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
    if not connection.execute(noted, (sender, name, now_ms, stamp, digest, handed.place)).rowcount:
        query = "SELECT accepted_at_ms, stamp, digest FROM sent WHERE sender = ? AND message_id = ?"
        row = connection.execute(query, (sender, name)).fetchone()
        if row is None:
            raise ConflictError("relay/send", "has the place of another message in its session", "sealed")
        if row[2] != digest:
            raise ConflictError("relay/send", "was used for another message", "message_id")
        return row[0], row[1], None
    sequence = _next_sequence(connection, recipient, len(sealed), limits)
    _check_share(connection, sender, recipient, len(sealed), limits)
    queued = Queued(sequence, sender, sealed, now_ms, name, stamp)
    row = (recipient, sequence, sender, sealed, now_ms, name, stamp)
    connection.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    return now_ms, stamp, queued


def queued(connection: Connection, recipient: str, after: int, most: int, most_bytes: int) -> list[Queued]:
    """Up to `most` messages for `recipient` with a sequence above `after`, oldest first, and no more than
    `most_bytes` of them together unless the first one alone is larger."""
    rows = connection.execute(
        "SELECT sequence, sender, sealed, accepted_at_ms, message_id, stamp FROM messages "
        "WHERE recipient = ? AND sequence > ? ORDER BY sequence LIMIT ?",
        (recipient, after, most),
    )
    found: list[Queued] = []
    for message in (Queued(*row) for row in rows):
        most_bytes -= len(message.sealed)
        if found and most_bytes < 0:
            break
        found.append(message)
    return found


def acknowledge(connection: Connection, recipient: str, sequences: Sequence[int]) -> int:
    """Delete messages of `recipient`, and no one else's; returns how many there were."""
    among = "recipient = ? AND sequence IN (SELECT value FROM json_each(?))"
    gone = _deleted(connection, among, (recipient, json.dumps(list(sequences))))
    _release(connection, gone)
    return len(gone)


def check_blob_quota(connection: Connection, owner: str, size: int, limits: RelayLimits) -> None:
    """Raise `QuotaError` if `owner` may not store another `size` bytes."""
    row = connection.execute("SELECT bytes FROM stored_by WHERE owner = ?", (owner,)).fetchone()
    if (row[0] if row else 0) + size > limits.most_stored_bytes:
        rule = f"an account's attachments have at most {limits.most_stored_bytes} bytes"
        raise QuotaError("relay/upload", rule)


def add_blob(
    connection: Connection, blob_id: bytes, owner: str, size: int, now_ms: int, limits: RelayLimits
) -> None:
    """Record an attachment whose file is on disk. Raises `QuotaError` as `check_blob_quota` does."""
    check_blob_quota(connection, owner, size, limits)
    connection.execute("INSERT INTO blobs VALUES (?, ?, ?, ?)", (blob_id, owner, size, now_ms))
    connection.execute(
        "INSERT INTO stored_by VALUES (?, ?) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes",
        (owner, size),
    )


def blob_size(connection: Connection, blob_id: bytes) -> int:
    row = connection.execute("SELECT size FROM blobs WHERE blob_id = ?", (blob_id,)).fetchone()
    if row is None:
        raise NotFoundError("relay/download", "no such attachment, or it was kept long enough", "blob_id")
    return int(row[0])


def blob_ids(connection: Connection) -> set[bytes]:
    return {blob_id for (blob_id,) in connection.execute("SELECT blob_id FROM blobs")}


def expire(connection: Connection, now_ms: int, limits: RelayLimits) -> list[bytes]:
    """Delete what was kept for `limits.retention_seconds` at `now_ms`, and note messages of that for their
    senders; returns the ids of attachments whose files can go."""
    before_ms = now_ms - int(limits.retention_seconds * 1000)
    connection.execute("DELETE FROM expired WHERE expired_at_ms < ?", (before_ms,))
    messages = connection.execute(
        "DELETE FROM messages WHERE accepted_at_ms < ? "
        "RETURNING recipient, sender, LENGTH(sealed), message_id, accepted_at_ms",
        (before_ms,),
    ).fetchall()
    _release(connection, [(recipient, sender, size) for recipient, sender, size, _, _ in messages])
    for recipient, sender, _, message_id, at_ms in sorted(messages, key=lambda row: int(row[4])):
        _note_expired(connection, sender, (message_id, recipient, at_ms, now_ms))
    for sender in {sender for _, sender, *_ in messages}:
        query = (
            "DELETE FROM expired WHERE sender = ?1 AND number <= "
            "(SELECT last_expired - ?2 FROM accounts WHERE account = ?1)"
        )
        connection.execute(query, (sender, limits.most_expired))
    connection.execute("DELETE FROM sent WHERE accepted_at_ms < ?", (before_ms,))
    gone = connection.execute(
        "DELETE FROM blobs WHERE stored_at_ms < ? RETURNING blob_id, owner, size", (before_ms,)
    ).fetchall()
    sums: dict[str, int] = {}
    for _, owner, size in gone:
        sums[owner] = sums.get(owner, 0) + size
    for owner, total in sums.items():
        connection.execute("UPDATE stored_by SET bytes = bytes - ? WHERE owner = ?", (total, owner))
        connection.execute("DELETE FROM stored_by WHERE owner = ? AND bytes <= 0", (owner,))
    return [blob_id for blob_id, _, _ in gone]


_MOST_TOLD: Final = 1000


def take_expired(connection: Connection, sender: str, after: int) -> tuple[list[wire.Expired], int]:
    """Forget what `sender` has of its expired messages, up to the number `after`; the next of them, and the
    highest number so far. An `after` that was never reached is of another database, and forgets nothing."""
    row = connection.execute("SELECT last_expired FROM accounts WHERE account = ?", (sender,)).fetchone()
    last = row[0] if row else 0
    if after <= last:
        connection.execute("DELETE FROM expired WHERE sender = ? AND number <= ?", (sender, after))
    rows = connection.execute(
        "SELECT number, message_id, recipient, accepted_at_ms FROM expired WHERE sender = ? "
        "ORDER BY number LIMIT ?",
        (sender, _MOST_TOLD),
    )
    return [
        wire.Expired(number=number, message_id=name, recipient=to, accepted_at_ms=at_ms)
        for number, name, to, at_ms in rows
    ], last


def _note_expired(connection: Connection, sender: str, noted: tuple[bytes, str, int, int]) -> None:
    """Note a message for its sender; one that has no account, and so no keys to be written to with, is told
    nothing."""
    row = connection.execute(
        "UPDATE accounts SET last_expired = last_expired + 1 WHERE account = ? RETURNING last_expired",
        (sender,),
    ).fetchone()
    if row is not None:
        connection.execute("INSERT INTO expired VALUES (?, ?, ?, ?, ?, ?)", (sender, row[0], *noted))


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


def _check_share(connection: Connection, sender: str, recipient: str, size: int, limits: RelayLimits) -> None:
    """Count the message for its sender, who may take up as much of the queue as is still free.

    So one flooding sender gets half of it, two a third each, and there is room for others whatever they do:
    the dynamic threshold of Choudhury and Hahne 1998, "Dynamic Queue Length Thresholds for Shared-Memory
    Packet Switches", with alpha = 1.
    """
    own_messages, own_bytes, messages, queued_bytes = connection.execute(
        "INSERT INTO queued_by VALUES (?1, ?2, 1, ?3) ON CONFLICT DO UPDATE SET messages = messages + 1, "
        "bytes = bytes + ?3 RETURNING messages, bytes, "
        "(SELECT queued_messages FROM accounts WHERE account = ?1), "
        "(SELECT queued_bytes FROM accounts WHERE account = ?1)",
        (recipient, sender, size),
    ).fetchone()
    room = limits.most_queued_messages - messages, limits.most_queued_bytes - queued_bytes
    if own_messages > room[0] + 1 or own_bytes > room[1] + size:
        raise QuotaError("relay/send", "too much of this sender's waits for the account", "recipient")


def _deleted(connection: Connection, where: str, values: tuple[object, ...]) -> list[tuple[str, str, int]]:
    query = f"DELETE FROM messages WHERE {where} RETURNING recipient, sender, LENGTH(sealed)"  # noqa: S608 - constants
    return connection.execute(query, values).fetchall()


def _release(connection: Connection, gone: Sequence[tuple[str, str, int]]) -> None:
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for recipient, sender, size in gone:
        messages, total = sums.get((recipient, sender), (0, 0))
        sums[recipient, sender] = messages + 1, total + size
    for (recipient, sender), (messages, total) in sums.items():
        connection.execute(
            "UPDATE accounts SET queued_messages = queued_messages - ?, queued_bytes = queued_bytes - ? "
            "WHERE account = ?",
            (messages, total, recipient),
        )
        connection.execute(
            "UPDATE queued_by SET messages = messages - ?, bytes = bytes - ? "
            "WHERE recipient = ? AND sender = ?",
            (messages, total, recipient, sender),
        )
        connection.execute(
            "DELETE FROM queued_by WHERE recipient = ? AND sender = ? AND messages <= 0", (recipient, sender)
        )
