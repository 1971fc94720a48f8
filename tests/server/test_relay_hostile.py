"""Hostile clients of the relay: refused with a status, and others go on as if they were not there."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.hosting import calls
from blindmatch_server.hosting.authority import Identity, Kind
from blindmatch_server.hosting.calls import REFUSALS
from blindmatch_server.hosting.limits import Rate, TokenBuckets, TurnQueue
from blindmatch_server.relay import store
from blindmatch_server.relay.service import Relay, RelayConfig, Steadiness, open_relay
from blindmatch_server.relay.store import RelayLimits
from blindmatch_server.storage.errors import RateError

from .deployment import SECONDS, Client, Deployment, refused, until
from .test_relay import keys, message, pieces

STATUS = grpc.StatusCode
NAMES = ("alice", "bob", "carol", "mallory", "mallet")


@asynccontextmanager
async def relay(
    directory: Path, deployment: Deployment | None = None, **limits: Any
) -> AsyncIterator[tuple[dict[str, Client], int]]:
    """A relay with everybody registered; their clients, and the port."""
    deployment = deployment or Deployment()
    config = RelayConfig(directory, RelayLimits(**limits))
    services = partial(open_relay, config)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(deployment.server(Party.PROVIDER, services))
        clients = {}
        for number, name in enumerate(NAMES):
            client = deployment.client(Identity(Kind.DEVICE, name), Party.PROVIDER, port)
            clients[name] = await stack.enter_async_context(client)
            await clients[name].one("Relay/Register", keys(number + 9, one_time=20))
        yield clients, port


async def flood(client: Client, count: int, start: int = 0) -> int:
    """How many of `count` messages to Bob are taken."""
    taken = 0
    for number in range(start, start + count):
        with contextlib.suppress(grpc.aio.AioRpcError):
            await client.one("Relay/Send", message(number=number))
            taken += 1
    return taken


async def waiting(client: Client) -> list[Any]:
    return await client.all("Relay/Receive", wire.ReceiveRequest())


async def test_a_flood_of_one_sender_or_two_leaves_room_for_the_others(tmp_path: Path) -> None:
    async with relay(tmp_path, most_queued_messages=60) as (clients, _):
        assert await flood(clients["mallory"], 60) == 30
        assert await flood(clients["mallet"], 60, 100) == 15
        assert await flood(clients["alice"], 7, 200) == 7
        code, text, _ = await refused(clients["mallory"].one("Relay/Send", message(number=300)))
        assert code is STATUS.RESOURCE_EXHAUSTED and "this sender" in text
        received = await waiting(clients["bob"])
        numbers = [d.sequence for d in received if d.sender == "mallory"]
        await clients["bob"].one("Relay/Acknowledge", wire.AcknowledgeRequest(sequences=numbers))
        await clients["mallory"].one("Relay/Send", message(number=300))


async def test_large_messages_of_one_sender_leave_bytes_for_the_others(tmp_path: Path) -> None:
    async with relay(tmp_path, most_queued_bytes=10_000) as (clients, _):
        big = [message(sealed=b"m" * 1000, number=n) for n in range(10)]
        results = await asyncio.gather(
            *(clients["mallory"].one("Relay/Send", one) for one in big), return_exceptions=True
        )
        assert sum(not isinstance(one, Exception) for one in results) == 5
        await clients["alice"].one("Relay/Send", message(sealed=b"a" * 1000, number=99))


def counts(directory: Path) -> tuple[Any, ...]:
    """What the counters say waits, by recipient and by sender, and what really does."""
    connection = sqlite3.connect(directory / "relay.sqlite")
    queries = (
        "SELECT account, queued_messages, queued_bytes FROM accounts WHERE queued_messages ORDER BY account",
        "SELECT recipient, COUNT(*), SUM(LENGTH(sealed)) FROM messages GROUP BY recipient ORDER BY recipient",
        "SELECT recipient, sender, messages, bytes FROM queued_by ORDER BY recipient, sender",
        "SELECT recipient, sender, COUNT(*), SUM(LENGTH(sealed)) FROM messages GROUP BY recipient, sender",
    )
    found = tuple(connection.execute(query).fetchall() for query in queries)
    connection.close()
    return found


async def test_the_counts_of_what_waits_are_right_after_sends_refusals_and_acknowledgements(
    tmp_path: Path,
) -> None:
    async with relay(tmp_path, most_queued_messages=9) as (clients, _):
        for name, number in (("alice", 0), ("carol", 10), ("mallory", 20), ("alice", 0)):
            await flood(clients[name], 5, number)
        some = wire.AcknowledgeRequest(sequences=[1, 3, 3, 77])
        await clients["bob"].one("Relay/Acknowledge", some)
        await flood(clients["mallet"], 3, 40)
    by_recipient, real, by_sender, real_by_sender = counts(tmp_path)
    assert by_recipient == real and by_sender == real_by_sender != []


async def test_what_expires_is_taken_out_of_the_counts(tmp_path: Path) -> None:
    async with relay(tmp_path, retention_seconds=0.0, sweep_seconds=0.05) as (clients, _):
        await flood(clients["alice"], 3)
        await until(lambda: counts(tmp_path) == ([], [], [], []))


async def test_one_caller_cannot_use_up_another_account_s_pre_keys(tmp_path: Path) -> None:
    now = time.time()
    deployment = Deployment(clock=lambda: now)
    async with relay(tmp_path, deployment, bundles_of_one=Rate(1 / 60, 4)) as (clients, _):
        request = wire.BundleRequest(account="bob")
        for _ in range(4):
            await clients["mallory"].one("Relay/FetchBundle", request)
        code, _, trailing = await refused(clients["mallory"].one("Relay/FetchBundle", request))
        assert code is STATUS.RESOURCE_EXHAUSTED and int(trailing["retry-after-ms"]) > 50_000
        await clients["mallory"].one("Relay/FetchBundle", wire.BundleRequest(account="carol"))
        bundle = await clients["alice"].one("Relay/FetchBundle", request)
        assert len(bundle.one_time_pre_keys) == 1


async def test_a_session_can_be_started_when_the_pre_keys_are_used_up(tmp_path: Path) -> None:
    async with relay(tmp_path, bundles_of_one=Rate(1.0, 100)) as (clients, _):
        request = wire.BundleRequest(account="bob")
        bundles = [await clients["mallory"].one("Relay/FetchBundle", request) for _ in range(21)]
        assert [len(one.one_time_pre_keys) for one in bundles] == [1] * 20 + [0]
        assert (await clients["alice"].one("Relay/FetchBundle", request)).signed_pre_key


@pytest.mark.parametrize("raw", [b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f", b"\x08"])
async def test_garbage_in_place_of_a_message_is_refused_by_its_name(tmp_path: Path, raw: bytes) -> None:
    async with relay(tmp_path) as (clients, _):
        code, text, _ = await refused(clients["mallory"].one("Relay/Send", raw))
        assert code is STATUS.INVALID_ARGUMENT and "SendRequest" in text
        await clients["alice"].one("Relay/Send", message())


async def test_garbage_in_place_of_tls_and_connections_that_say_nothing_stop_nobody(tmp_path: Path) -> None:
    async with relay(tmp_path) as (clients, port):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
        for _, writer in silent[:25]:
            writer.write(b"GET / HTTP/1.1\r\n\r\n" * 100)
        await clients["alice"].one("Relay/Send", message())
        assert len(await waiting(clients["bob"])) == 1
        for _, writer in silent:
            writer.close()


async def test_what_is_too_large_is_refused_before_it_is_kept(tmp_path: Path) -> None:
    async with relay(tmp_path) as (clients, _):
        mallory = clients["mallory"]
        code, _, _ = await refused(mallory.one("Relay/Send", message(sealed=b"m" * (3 << 20))))
        assert code is STATUS.RESOURCE_EXHAUSTED
        code, _, _ = await refused(mallory.one("Relay/Send", message(sealed=b"m" * (800 << 10))))
        assert code is STATUS.INVALID_ARGUMENT
        code, _, _ = await refused(mallory.one("Relay/Upload", pieces(b"m", size=121 << 20)))
        assert code is STATUS.INVALID_ARGUMENT
        many = wire.AcknowledgeRequest(sequences=range(10_001))
        code, _, _ = await refused(mallory.one("Relay/Acknowledge", many))
        assert code is STATUS.INVALID_ARGUMENT
        await clients["alice"].one("Relay/Send", message())


async def test_nobody_can_acknowledge_or_fetch_for_another(tmp_path: Path) -> None:
    async with relay(tmp_path) as (clients, _):
        await flood(clients["alice"], 3)
        foreign = wire.AcknowledgeRequest(sequences=range(100))
        assert (await clients["mallory"].one("Relay/Acknowledge", foreign)).removed == 0
        assert await waiting(clients["mallory"]) == []
        assert [d.sender for d in await waiting(clients["bob"])] == ["alice"] * 3


async def test_a_device_of_another_authority_is_not_let_in(tmp_path: Path) -> None:
    deployment = Deployment()
    other = Deployment()
    async with relay(tmp_path, deployment) as (clients, port):
        forged = other.client(Identity(Kind.DEVICE, "bob"), Party.PROVIDER, port)
        async with forged as client:
            code, _, _ = await refused(client.one("Relay/Send", message(), 5))
            assert code in (STATUS.UNAVAILABLE, STATUS.DEADLINE_EXCEEDED)
        assert await waiting(clients["bob"]) == []


async def test_a_stream_that_broke_off_goes_on_with_what_was_not_acknowledged(tmp_path: Path) -> None:
    async with relay(tmp_path) as (clients, _):
        await flood(clients["alice"], 80)
        stream = clients["bob"].many("Relay/Receive", wire.ReceiveRequest(wait_ms=200_000))
        first = [await stream.read() for _ in range(50)]
        stream.cancel()
        saved = wire.AcknowledgeRequest(sequences=[d.sequence for d in first[:40]])
        await clients["bob"].one("Relay/Acknowledge", saved)
        await flood(clients["carol"], 5, 100)
        rest = await waiting(clients["bob"])
        assert [d.sequence for d in rest] == list(range(41, 86))


async def test_a_reader_that_does_not_read_holds_up_nobody_and_loses_nothing(tmp_path: Path) -> None:
    async with relay(tmp_path) as (clients, _):
        for number in range(60):
            sent = message(sealed=bytes([number]) * (200 << 10), number=number)
            await clients["alice"].one("Relay/Send", sent)
        stream = clients["bob"].many("Relay/Receive", wire.ReceiveRequest(wait_ms=200_000))
        first = await stream.read()
        for number in range(20):
            await clients["carol"].one("Relay/Send", message("mallet", number=number))
            assert len(await waiting(clients["mallet"])) == number + 1
        rest = [await stream.read() for _ in range(59)]
        stream.cancel()
        assert [d.sealed[0] for d in (first, *rest)] == list(range(60))


async def test_memory_for_one_stream_is_bounded(tmp_path: Path) -> None:
    async with relay(tmp_path) as (clients, _):
        for number in range(8):
            await clients["alice"].one("Relay/Send", message(sealed=b"m" * 1000, number=number))
    connection = sqlite3.connect(tmp_path / "relay.sqlite")
    try:
        assert len(store.queued(connection, "bob", 0, 32, 3500)) == 3
        assert len(store.queued(connection, "bob", 0, 32, 10)) == 1
        assert len(store.queued(connection, "bob", 0, 5, 1 << 20)) == 5
    finally:
        connection.close()


async def test_a_flood_that_is_refused_does_not_starve_others(tmp_path: Path) -> None:
    """How long others wait is measured by `make flood`: here nobody else is refused."""

    async def attack(client: Client, stop: asyncio.Event, refused: asyncio.Event) -> None:
        while not stop.is_set():
            with pytest.raises(grpc.aio.AioRpcError):
                await client.one("Relay/Send", message(number=7, sealed=b""))
            refused.set()

    async with relay(tmp_path, calls=Rate(100.0, 100)) as (clients, _):
        stop = asyncio.Event()
        refused = asyncio.Event()
        attackers = [asyncio.ensure_future(attack(clients["mallory"], stop, refused)) for _ in range(32)]
        for number in range(25):
            await refused.wait()
            refused.clear()
            await clients["alice"].one("Relay/Send", message("carol", number=number))
        stop.set()
        await asyncio.gather(*attackers)


def test_buckets_that_are_full_again_are_forgotten() -> None:
    now = [0.0]
    buckets = TokenBuckets(Rate(1.0, 5), lambda: now[0], {"slow": Rate(0.001, 1)})
    buckets.take("slow", "step")
    names: Sequence[str] = [f"caller{n}" for n in range(30_000)]
    for name in names:
        now[0] += 0.01
        buckets.take(name, "step")
    assert len(buckets._buckets) < 15_000
    with pytest.raises(RateError):
        buckets.take("slow", "step")


async def test_a_clock_that_jumps_forward_deletes_nothing_for_a_day(tmp_path: Path) -> None:
    now = time.time()
    deployment = Deployment(clock=lambda: now)
    async with relay(tmp_path, deployment, sweep_seconds=0.05, retention_seconds=3600.0) as (clients, _):
        await flood(clients["alice"], 3)
        now += 7200.0
        await until(lambda: bool(deployment.events("clock_jumped")))
        await asyncio.sleep(0.2)  # in which it would be swept
        assert len(await waiting(clients["bob"])) == 3


def test_the_clock_is_trusted_again_after_a_day() -> None:
    times = [1000.0, 0.0]
    steadiness = Steadiness(lambda: times[0], lambda: times[1])
    assert not steadiness.look() and not steadiness.holds
    times[:] = 1010.0, 10.0
    assert not steadiness.look()
    times[:] = 90_000.0, 20.0
    assert steadiness.look() and steadiness.holds
    times[:] = 90_000.0 + 86_400, 20.0 + 86_401
    assert not steadiness.look() and not steadiness.holds


async def test_calls_of_one_account_take_turns_and_those_of_another_do_not_wait_for_them() -> None:
    turns = TurnQueue(2)
    at_work = 0
    most = 0
    release = asyncio.Event()

    async def call() -> None:
        nonlocal at_work, most
        async with turns.take("mallory"):
            at_work += 1
            most = max(most, at_work)
            await release.wait()
            at_work -= 1

    tasks = [asyncio.ensure_future(call()) for _ in range(9)]
    await asyncio.sleep(0)
    tasks[5].cancel()
    async with asyncio.timeout(SECONDS), turns.take("alice"):
        assert at_work == 2 and len(turns._lines) == 2
    release.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most == 2 and len(turns._lines) == 0


def test_a_relay_gives_accounts_turns_in_all_calls_with_one_reply() -> None:
    methods = Relay(Any, Any, RelayConfig(Path()), time.time).methods()  # type: ignore[arg-type]
    short = [methods[name].turns for name in ("Register", "FetchBundle", "Send", "Acknowledge")]
    assert short[0] is not None and all(turns is short[0] for turns in short)


async def test_refusals_are_answered_late_once_an_account_had_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = 0.0123
    slept = list[float]()
    sleep = asyncio.sleep

    async def noting(seconds: float) -> None:
        slept.extend([seconds] if seconds == late else [])
        await sleep(seconds)

    monkeypatch.setattr(calls, "_REFUSED_SECONDS", late)
    monkeypatch.setattr(asyncio, "sleep", noting)
    deployment = Deployment(clock=lambda: 1e9 + 7e8)
    async with relay(tmp_path, deployment) as (clients, _):
        for _ in range(REFUSALS.burst):
            await refused(clients["mallory"].one("Relay/Send", b"\xff" * 100))
        assert not slept
        await refused(clients["alice"].one("Relay/Send", b"\xff" * 100))
        assert not slept
        await refused(clients["mallory"].one("Relay/Send", b"\xff" * 100))
        assert slept == [late]


async def test_a_caller_that_hangs_up_while_it_is_answered_is_no_failure(tmp_path: Path) -> None:
    deployment = Deployment()
    async with relay(tmp_path, deployment) as (clients, _):
        for number in range(12):
            await clients["alice"].one("Relay/Send", message(sealed=bytes(600 << 10), number=number))
        for _ in range(5):
            stream = clients["bob"].many("Relay/Receive", wire.ReceiveRequest())
            await stream.read()
            stream.cancel()

        def methods() -> list[str]:
            return [one["method"].rpartition("/")[2] for one in deployment.events("call")]

        await until(lambda: methods().count("Receive") == 5)
        assert deployment.events("failure") == []
