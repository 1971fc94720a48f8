"""Messages that nobody fetched in time: the relay tells their senders."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.relay import store
from blindmatch_server.relay.store import Handed, RelayLimits
from blindmatch_server.storage.database import open_connection

from .deployment import refused
from .test_relay import STATUS, keys, message, pieces, relay

DAY_MS = 24 * 60 * 60 * 1000
MONTH_MS = 30 * DAY_MS
NOW_MS = 1_700_000_000_000
LIMITS = RelayLimits()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The relay's, in which Alice, Bob and Carol are registered."""
    with opened(tmp_path / "relay.sqlite") as made:
        for number, name in enumerate(("alice", "bob", "carol"), 1):
            store.register(made, name, keys(number))
        yield made


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_connection(path, store.SCHEMA, store.VERSION, store.UPGRADES)
    try:
        yield connection
    finally:
        connection.close()


def send(database: sqlite3.Connection, number: int, to: str = "bob", at_ms: int = NOW_MS) -> bytes:
    """Have Alice send a message; its id."""
    name = number.to_bytes(16, "big")
    store.enqueue(database, Handed("alice", to, name, b"sealed", at_ms), LIMITS)
    return name


def told(database: sqlite3.Connection, after: int = 0, sender: str = "alice") -> list[tuple[int, bytes, str]]:
    expired, _ = store.take_expired(database, sender, after)
    return [(one.number, one.message_id, one.recipient) for one in expired]


def test_a_message_that_expires_is_told_to_its_sender_alone_until_it_is_acknowledged(
    database: sqlite3.Connection,
) -> None:
    first = send(database, 1)
    second = send(database, 2, "carol", NOW_MS + 1)
    store.expire(database, NOW_MS + MONTH_MS, LIMITS)
    assert told(database) == [], "it is not old enough"
    store.expire(database, NOW_MS + MONTH_MS + 2, LIMITS)
    for _ in range(2):
        assert told(database) == [(1, first, "bob"), (2, second, "carol")]
    assert told(database, sender="bob") == told(database, sender="carol") == []
    assert told(database, after=1) == [(2, second, "carol")] == told(database)
    assert told(database, after=2) == told(database) == []


def test_a_message_that_was_acknowledged_does_not_expire(database: sqlite3.Connection) -> None:
    send(database, 1)
    assert store.acknowledge(database, "bob", [1]) == 1
    store.expire(database, NOW_MS + 2 * MONTH_MS, LIMITS)
    assert told(database) == []


def test_what_a_sender_does_not_ask_for_is_kept_as_long_as_messages_are(database: sqlite3.Connection) -> None:
    """Also if the relay was off for months, and comes to delete the message long after its time."""
    name = send(database, 1)
    late = NOW_MS + 5 * MONTH_MS
    store.expire(database, late, LIMITS)
    store.expire(database, late + MONTH_MS, LIMITS)
    assert told(database) == [(1, name, "bob")]
    store.expire(database, late + MONTH_MS + 1, LIMITS)
    assert told(database) == []


def test_numbers_go_on_after_all_were_acknowledged(database: sqlite3.Connection) -> None:
    for number in (1, 2):
        send(database, number, at_ms=NOW_MS + number)
        store.expire(database, NOW_MS + MONTH_MS + number + 1, LIMITS)
        assert [one for one, *_ in told(database, after=number - 1)] == [number]
    assert store.take_expired(database, "alice", 2) == ([], 2)


def test_a_number_that_was_never_given_out_acknowledges_nothing(database: sqlite3.Connection) -> None:
    """The sender has it from before the relay lost its database."""
    name = send(database, 1)
    store.expire(database, NOW_MS + 2 * MONTH_MS, LIMITS)
    expired, last = store.take_expired(database, "alice", 7)
    assert ([one.message_id for one in expired], last) == ([name], 1)


def test_so_many_are_kept_for_a_sender_the_newest(database: sqlite3.Connection) -> None:
    for number in range(1, 6):
        send(database, number, at_ms=NOW_MS + number)
    store.expire(database, NOW_MS + 2 * MONTH_MS, RelayLimits(most_expired=2))
    assert [number for number, *_ in told(database)] == [4, 5]
    (rows,) = database.execute("SELECT count(*) FROM expired").fetchone()
    assert rows == 2


def test_of_many_the_first_thousand_are_told_at_a_time(database: sqlite3.Connection) -> None:
    for number in range(1, 1003):
        send(database, number, ("bob", "carol")[number % 2], NOW_MS + number)
    store.expire(database, NOW_MS + 2 * MONTH_MS, LIMITS)
    assert [number for number, *_ in told(database)] == list(range(1, 1001))
    assert [number for number, *_ in told(database, after=1000)] == [1001, 1002]


def test_with_a_message_that_expires_its_attachment_and_its_share_of_quotas_go(
    database: sqlite3.Connection,
) -> None:
    store.add_blob(database, bytes(16), "alice", 100, NOW_MS, LIMITS)
    send(database, 1)
    assert store.expire(database, NOW_MS + MONTH_MS + 1, LIMITS) == [bytes(16)]
    for table in ("messages", "sent", "queued_by", "blobs", "stored_by"):
        assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table  # noqa: S608
    held = database.execute("SELECT queued_messages, queued_bytes FROM accounts WHERE account = 'bob'")
    assert held.fetchone() == (0, 0)


def test_a_sender_without_an_account_is_told_nothing(database: sqlite3.Connection) -> None:
    store.enqueue(database, Handed("mallory", "bob", bytes(16), b"sealed", NOW_MS), LIMITS)
    store.expire(database, NOW_MS + 2 * MONTH_MS, LIMITS)
    assert told(database, sender="mallory") == []


async def test_a_device_is_told_over_the_wire_also_after_a_restart(tmp_path: Path) -> None:
    request = wire.ExpiredRequest()
    async with relay(tmp_path) as (alice, _):
        await alice.one("Relay/Upload", pieces(b"abc"))
        await alice.one("Relay/Send", message())
        assert await alice.one("Relay/FetchExpired", request) == wire.ExpiredReply()
    with opened(tmp_path / "relay.sqlite") as database:
        database.execute("UPDATE messages SET accepted_at_ms = accepted_at_ms - ?", (2 * MONTH_MS,))
        (at_ms,) = database.execute("SELECT accepted_at_ms FROM messages").fetchone()
    one = wire.Expired(number=1, message_id=bytes(16), recipient="bob", accepted_at_ms=at_ms)
    async with relay(tmp_path) as (alice, bob):
        assert await bob.all("Relay/Receive", wire.ReceiveRequest()) == []
        for _ in range(2):
            expected = wire.ExpiredReply(expired=[one], last=1)
            assert await alice.one("Relay/FetchExpired", request) == expected
        assert await bob.one("Relay/FetchExpired", request) == wire.ExpiredReply()
    async with relay(tmp_path) as (alice, _):
        reply = await alice.one("Relay/FetchExpired", wire.ExpiredRequest(after=1))
        assert reply == wire.ExpiredReply(last=1)
        code, _, _ = await refused(alice.one("Relay/FetchExpired", wire.ExpiredRequest(after=1 << 63)))
        assert code is STATUS.INVALID_ARGUMENT


async def test_a_database_of_the_version_before_is_taken_over_with_what_it_holds(tmp_path: Path) -> None:
    async with relay(tmp_path) as (alice, _):
        await alice.one("Relay/Send", message())
    with opened(tmp_path / "relay.sqlite") as database:
        database.executescript(
            "DROP TABLE expired; ALTER TABLE accounts DROP COLUMN last_expired; PRAGMA user_version = 7"
        )
    async with relay(tmp_path) as (alice, bob):
        assert len(await bob.all("Relay/Receive", wire.ReceiveRequest())) == 1
        assert await alice.one("Relay/FetchExpired", wire.ExpiredRequest()) == wire.ExpiredReply()
    with opened(tmp_path / "relay.sqlite") as database:
        upgraded = sorted(sql for (sql,) in database.execute("SELECT sql FROM sqlite_schema") if sql)
    with opened(tmp_path / "new.sqlite") as database:
        new = sorted(sql for (sql,) in database.execute("SELECT sql FROM sqlite_schema") if sql)
    assert len(upgraded) == len(new)
