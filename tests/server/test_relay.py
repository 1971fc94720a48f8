from __future__ import annotations

import asyncio
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from blindmatch_protocol.account_name import NOTICES
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.sealed_message import WIRE_VERSION, RatchetHeader, SealedMessage
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.hosting.authority import Identity, Kind
from blindmatch_server.hosting.limits import Rate
from blindmatch_server.relay import service
from blindmatch_server.relay.service import RelayConfig, open_relay
from blindmatch_server.relay.store import RelayLimits

from .deployment import ALICE, BOB, Client, Deployment, refused, until

STATUS = grpc.StatusCode
WAITS = wire.ReceiveRequest(wait_ms=200_000)
"""Ends when the test does not want more."""


def keys(identity: int = 1, one_time: int = 0) -> wire.RegisterRequest:
    return wire.RegisterRequest(
        identity_key=bytes([identity]) * 32,
        signed_pre_key=b"s" * 32,
        signed_pre_key_signature=b"g" * 64,
        one_time_pre_keys=[i.to_bytes(32, "big") for i in range(one_time)],
    )


def message(recipient: str = "bob", sealed: bytes = b"sealed", number: int = 0) -> wire.SendRequest:
    return wire.SendRequest(recipient=recipient, message_id=number.to_bytes(16, "big"), sealed=sealed)


def pieces(data: bytes, size: int | None = None, step: int = 1000) -> list[wire.Part]:
    made = [wire.Part(data=data[at : at + step]) for at in range(0, len(data), step)] or [wire.Part()]
    made[0].size = len(data) if size is None else size
    return made


@asynccontextmanager
async def relay(
    directory: Path, deployment: Deployment | None = None, **limits: Any
) -> AsyncIterator[tuple[Client, Client]]:
    """A relay with Alice and Bob registered; their clients."""
    deployment = deployment or Deployment()
    config = RelayConfig(directory, RelayLimits(**limits))
    services = partial(open_relay, config)
    async with deployment.serving(Party.PROVIDER, services, ALICE, BOB) as (alice, bob):
        await alice.one("Relay/Register", keys(1))
        await bob.one("Relay/Register", keys(2, one_time=10))
        yield alice, bob


async def test_a_one_time_pre_key_is_handed_out_once_under_fifty_concurrent_calls(tmp_path: Path) -> None:
    async with relay(tmp_path, bundles_of_one=Rate(1.0, 100)) as (alice, bob):
        await bob.one("Relay/Register", keys(2, one_time=40))
        calls = [alice.one("Relay/FetchBundle", wire.BundleRequest(account="bob")) for _ in range(50)]
        bundles = await asyncio.gather(*calls)
        handed = [key for bundle in bundles for key in bundle.one_time_pre_keys]
        assert len(handed) == len(set(handed)) == 40
        assert all(len(bundle.one_time_pre_keys) <= 1 for bundle in bundles)


async def test_a_one_time_pre_key_published_again_is_not_handed_out_again(tmp_path: Path) -> None:
    async with relay(tmp_path, bundles_of_one=Rate(1.0, 100)) as (alice, bob):
        request = wire.BundleRequest(account="bob")
        first = await alice.one("Relay/FetchBundle", request)
        held = await bob.one("Relay/Register", keys(2, one_time=10))
        rest = [await alice.one("Relay/FetchBundle", request) for _ in range(11)]
        assert held.one_time_pre_keys_held == 9
        again = [key for bundle in rest for key in bundle.one_time_pre_keys]
        assert first.one_time_pre_keys[0] not in again
        assert len(again) == 9


async def test_an_account_s_identity_key_cannot_be_changed(tmp_path: Path) -> None:
    async with relay(tmp_path) as (alice, _):
        code, text, _ = await refused(alice.one("Relay/Register", keys(9)))
        assert code is STATUS.ALREADY_EXISTS
        assert "identity_key" in text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("identity_key", b"k" * 31),
        ("identity_key", b"k" * 31 + b"\x80"),
        ("identity_key", bytes(32)),
        ("signed_pre_key", b""),
        ("signed_pre_key_signature", b"g" * 65),
        ("one_time_pre_keys", [b"o" * 33]),
        ("one_time_pre_keys", [i.to_bytes(32, "big") for i in range(1001)]),
    ],
)
async def test_keys_of_a_wrong_form_or_number_are_refused_by_field(
    tmp_path: Path, field: str, value: object
) -> None:
    async with relay(tmp_path) as (alice, _):
        request = keys(1)
        request.ClearField(field)  # type: ignore[arg-type]
        request.MergeFrom(wire.RegisterRequest(**{field: value}))  # type: ignore[arg-type]
        code, text, _ = await refused(alice.one("Relay/Register", request))
        assert code is STATUS.INVALID_ARGUMENT
        assert field in text


async def test_a_message_sent_twice_is_delivered_once_even_after_its_acknowledgement(tmp_path: Path) -> None:
    async with relay(tmp_path) as (alice, bob):
        first = await alice.one("Relay/Send", message(number=7))
        second = await alice.one("Relay/Send", message(number=7))
        assert first == second
        received = await bob.all("Relay/Receive", wire.ReceiveRequest())
        assert [(d.sender, d.sealed, d.sequence) for d in received] == [("alice", b"sealed", 1)]
        acknowledged = wire.AcknowledgeRequest(sequences=[1])
        assert (await bob.one("Relay/Acknowledge", acknowledged)).removed == 1
        await alice.one("Relay/Send", message(number=7))
        assert await bob.all("Relay/Receive", wire.ReceiveRequest()) == []


async def test_only_the_recipient_can_acknowledge(tmp_path: Path) -> None:
    async with relay(tmp_path) as (alice, bob):
        await alice.one("Relay/Send", message())
        request = wire.AcknowledgeRequest(sequences=[1])
        assert (await alice.one("Relay/Acknowledge", request)).removed == 0
        assert len(await bob.all("Relay/Receive", wire.ReceiveRequest())) == 1


async def test_what_was_accepted_survives_a_restart_and_what_was_acknowledged_stays_gone(
    tmp_path: Path,
) -> None:
    deployment = Deployment()
    async with relay(tmp_path, deployment) as (alice, bob):
        for number in range(3):
            await alice.one("Relay/Send", message(number=number, sealed=bytes([number])))
        await bob.one("Relay/Acknowledge", wire.AcknowledgeRequest(sequences=[1]))
    async with relay(tmp_path, deployment) as (alice, bob):
        await alice.one("Relay/Send", message(number=3, sealed=b"new"))
        received = await bob.all("Relay/Receive", wire.ReceiveRequest())
        assert [(d.sequence, d.sealed) for d in received] == [(2, b"\x01"), (3, b"\x02"), (4, b"new")]


async def test_a_waiting_stream_gets_a_message_as_it_comes(tmp_path: Path) -> None:
    async with relay(tmp_path) as (alice, bob):
        stream = bob.many("Relay/Receive", WAITS)
        first = asyncio.ensure_future(stream.read())
        await asyncio.sleep(0.1)
        assert not first.done()
        await alice.one("Relay/Send", message(sealed=b"later"))
        assert (await first).sealed == b"later"
        stream.cancel()


async def test_a_delivery_says_whether_another_follows_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep = asyncio.sleep
    both = asyncio.Event()
    monkeypatch.setattr(service, "_TOGETHER_SECONDS", 1e6)
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: both.wait() if seconds > 1e5 else sleep(seconds))
    async with relay(tmp_path) as (alice, bob):
        for number in range(3):
            await alice.one("Relay/Send", message(number=number))
        stream = bob.many("Relay/Receive", WAITS)
        assert [(await stream.read()).more for _ in range(3)] == [True, True, False]
        for number in range(3, 5):
            await alice.one("Relay/Send", message(number=number))
        both.set()
        assert [(await stream.read()).more for _ in range(2)] == [True, False]
        stream.cancel()


async def test_unknown_recipients_and_accounts_are_named_by_field(tmp_path: Path) -> None:
    async with relay(tmp_path) as (alice, _):
        code, text, _ = await refused(alice.one("Relay/Send", message("nobody")))
        assert (code, "recipient" in text) == (STATUS.NOT_FOUND, True)
        request = wire.BundleRequest(account="nobody")
        code, text, _ = await refused(alice.one("Relay/FetchBundle", request))
        assert (code, "account" in text) == (STATUS.NOT_FOUND, True)
        download = alice.all("Relay/Download", wire.DownloadRequest(blob_id=b"0" * 16))
        code, text, _ = await refused(download)
        assert (code, "blob_id" in text) == (STATUS.NOT_FOUND, True)


async def test_an_attachment_comes_back_as_it_was_sent(tmp_path: Path) -> None:
    async with relay(tmp_path) as (alice, bob):
        sealed = secrets.token_bytes(700_001)
        blob_id = (await alice.one("Relay/Upload", pieces(sealed, step=100_000))).blob_id
        parts = await bob.all("Relay/Download", wire.DownloadRequest(blob_id=blob_id))
        assert b"".join(part.data for part in parts) == sealed
        assert [part.size for part in parts] == [len(sealed), 0, 0]


@pytest.mark.parametrize(
    ("parts", "rule"),
    [
        ([], "no part"),
        (pieces(b"abc", size=4), "truncated"),
        (pieces(b"abc", size=2), "more than"),
        (pieces(b"abc", size=0), "1 to"),
        (pieces(b"abc", size=1 << 40), "1 to"),
        ([wire.Part(size=2, data=b"a"), wire.Part(size=2, data=b"b")], "only the first part"),
        ([wire.Part(size=2, data=b"a"), wire.Part()], "must not be empty"),
    ],
)
async def test_parts_that_break_a_rule_are_refused_and_leave_nothing(
    tmp_path: Path, parts: list[wire.Part], rule: str
) -> None:
    async with relay(tmp_path) as (alice, _):
        code, text, _ = await refused(alice.one("Relay/Upload", parts))
        assert code is STATUS.INVALID_ARGUMENT
        assert rule in text
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []


async def test_quotas_refuse_with_resource_exhausted(tmp_path: Path) -> None:
    limits: dict[str, Any] = {
        "most_queued_messages": 3,
        "most_sealed_bytes": 10,
        "most_stored_bytes": 1500,
    }
    async with relay(tmp_path, **limits) as (alice, bob):
        code, text, _ = await refused(alice.one("Relay/Send", message(sealed=b"s" * 11)))
        assert (code, "sealed" in text) == (STATUS.INVALID_ARGUMENT, True)
        for number in (1, 2):
            await alice.one("Relay/Send", message(number=number))
        code, text, _ = await refused(alice.one("Relay/Send", message(number=3)))
        assert (code, "recipient" in text) == (STATUS.RESOURCE_EXHAUSTED, True)
        await bob.one("Relay/Acknowledge", wire.AcknowledgeRequest(sequences=[1, 1, 99]))
        await alice.one("Relay/Send", message(number=3))
        await alice.one("Relay/Upload", pieces(b"x" * 1000))
        code, _, _ = await refused(alice.one("Relay/Upload", pieces(b"x" * 1000)))
        assert code is STATUS.RESOURCE_EXHAUSTED
        await bob.one("Relay/Upload", pieces(b"x" * 1000))


async def test_pre_keys_cannot_be_drained_faster_than_the_rate(tmp_path: Path) -> None:
    now = time.time()
    deployment = Deployment(clock=lambda: now)
    async with relay(tmp_path, deployment, bundles=Rate(0.5, 3)) as (alice, bob):
        request = wire.BundleRequest(account="bob")
        for _ in range(3):
            await alice.one("Relay/FetchBundle", request)
        code, _, trailing = await refused(alice.one("Relay/FetchBundle", request))
        assert code is STATUS.RESOURCE_EXHAUSTED
        assert int(trailing["retry-after-ms"]) == 2001
        await bob.one("Relay/FetchBundle", request)
        now += 2.0
        await alice.one("Relay/FetchBundle", request)


async def test_streams_of_an_account_are_bounded(tmp_path: Path) -> None:
    async with relay(tmp_path, most_streams=1) as (alice, bob):
        await alice.one("Relay/Send", message())
        waiting = bob.many("Relay/Receive", WAITS)
        assert (await waiting.read()).sequence == 1
        code, _, _ = await refused(bob.all("Relay/Receive", wire.ReceiveRequest()))
        assert code is STATUS.RESOURCE_EXHAUSTED
        waiting.cancel()


async def test_what_was_kept_long_enough_is_deleted(tmp_path: Path) -> None:
    limits: dict[str, Any] = {"retention_seconds": 0.0, "sweep_seconds": 0.1}
    async with relay(tmp_path, **limits) as (alice, bob):
        await alice.one("Relay/Send", message())
        await alice.one("Relay/Upload", pieces(b"abc"))
        while await bob.all("Relay/Receive", wire.ReceiveRequest()):
            continue
        await until(lambda: not any(path.is_file() for path in (tmp_path / "blobs").rglob("*")))


async def test_a_half_written_attachment_is_thrown_away_at_the_next_start(tmp_path: Path) -> None:
    async with relay(tmp_path) as (alice, _):
        await alice.one("Relay/Upload", pieces(b"kept"))
    (tmp_path / "blobs/incoming/half").write_bytes(b"half")
    (tmp_path / "blobs/ab").mkdir(exist_ok=True)
    (tmp_path / "blobs/ab" / ("ab" * 16)).write_bytes(b"renamed, then the crash came")
    async with relay(tmp_path):
        files = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
        assert [path.read_bytes() for path in files] == [b"kept"]


async def test_only_devices_may_call_the_relay(tmp_path: Path) -> None:
    deployment = Deployment()
    config = RelayConfig(tmp_path)
    services = partial(open_relay, config)
    async with (
        deployment.server(Party.PROVIDER, services) as port,
        deployment.client(Identity.of(Party.MATCHER), Party.PROVIDER, port) as matcher,
    ):
        code, _, _ = await refused(matcher.one("Relay/Register", keys()))
        assert code is STATUS.PERMISSION_DENIED


async def test_the_relay_stores_these_columns_and_no_others(tmp_path: Path) -> None:
    async with relay(tmp_path):
        pass
    connection = sqlite3.connect(tmp_path / "relay.sqlite")
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    stored = {t: {c[1] for c in connection.execute(f"PRAGMA table_info({t})")} for t in tables}
    connection.close()
    assert stored == {
        "accounts": {
            "account",
            "identity_key",
            "signed_pre_key",
            "signed_pre_key_signature",
            "franking_key",
            "franking_key_signature",
            "last_sequence",
            "queued_messages",
            "queued_bytes",
            "last_expired",
        },
        "one_time_pre_keys": {"account", "key", "handed_out"},
        "messages": {"recipient", "sequence", "sender", "sealed", "accepted_at_ms", "message_id", "stamp"},
        "sent": {"sender", "message_id", "accepted_at_ms", "stamp", "digest", "place"},
        "expired": {"sender", "number", "message_id", "recipient", "accepted_at_ms", "expired_at_ms"},
        "queued_by": {"recipient", "sender", "messages", "bytes"},
        "blobs": {"blob_id", "owner", "size", "stored_at_ms"},
        "stored_by": {"owner", "bytes"},
    }


async def test_the_centre_s_own_name_is_for_its_key_alone_from_the_first_call_on(tmp_path: Path) -> None:
    deployment = Deployment()
    centre = Identity(Kind.DEVICE, NOTICES)
    for key, folder in ((bytes([7]) * 32, tmp_path / "a"), (None, tmp_path / "b")):
        services = partial(open_relay, RelayConfig(folder, notices_key=key))
        async with deployment.serving(Party.PROVIDER, services, centre) as (caller,):
            code, text, _ = await refused(caller.one("Relay/Register", keys(6)))
            assert (code, "the centre's" in text) == (STATUS.ALREADY_EXISTS, True)
            if key is not None:
                await caller.one("Relay/Register", keys(7))


@pytest.mark.parametrize(
    "other",
    [
        message(sealed=b"other"),
        message(recipient="alice"),
        message(recipient="bobs", sealed=b"ealed"),
    ],
)
async def test_another_message_under_a_used_id_is_refused_and_the_same_is_acknowledged(
    tmp_path: Path, other: wire.SendRequest
) -> None:
    async with relay(tmp_path) as (alice, bob):
        first = await alice.one("Relay/Send", message())
        code, text, _ = await refused(alice.one("Relay/Send", other))
        assert (code, "field message_id: was used for another message" in text) == (
            STATUS.ALREADY_EXISTS,
            True,
        )
        assert await alice.one("Relay/Send", message()) == first
        assert [one.sealed for one in await bob.all("Relay/Receive", wire.ReceiveRequest())] == [b"sealed"]
        assert await alice.all("Relay/Receive", wire.ReceiveRequest()) == []
        # an id is its sender's
        await bob.one("Relay/Send", message(recipient="alice", sealed=b"mine"))


def in_session(number: int, text: bytes = b"one", session: bytes = bytes(16), key: int = 9) -> bytes:
    header = RatchetHeader(key.to_bytes(32, "little"), 0, number)
    return SealedMessage(WIRE_VERSION, session, (), header, bytes(32), text).encode()


async def test_a_second_message_in_the_place_of_another_in_its_session_is_refused(tmp_path: Path) -> None:
    """Two under one message key: its sender was put back from a backup."""
    async with relay(tmp_path) as (alice, bob):
        first = await alice.one("Relay/Send", message(sealed=in_session(0)))
        for body in (in_session(0, b"two"), in_session(0)):
            code, text, _ = await refused(alice.one("Relay/Send", message(sealed=body, number=1)))
            assert code == STATUS.ALREADY_EXISTS and "field sealed: has the place of another" in text
        assert await alice.one("Relay/Send", message(sealed=in_session(0))) == first
        others = [in_session(1), in_session(0, session=b"s" * 16), in_session(0, key=10), b"x", b"x"]
        for number, body in enumerate(others, 2):
            await alice.one("Relay/Send", message(sealed=body, number=number))
        await alice.one("Relay/Send", message(recipient="alice", sealed=in_session(0), number=20))
        await bob.one("Relay/Send", message(sealed=in_session(0), number=21))
        came = await bob.all("Relay/Receive", wire.ReceiveRequest())
        assert [one.sealed for one in came] == [in_session(0), *others, in_session(0)]
