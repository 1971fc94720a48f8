"""Large bodies: bounded by the design, cut off if slow, on disk until whole, then in memory few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import grpc
import grpc.aio
import pytest
from blindmatch_protocol.codec import Message, Variable, most_bytes
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.hosting.limits import LeastPace
from blindmatch_server.matching.answering import MatchingLimits
from blindmatch_server.matching.service import MatchingConfig, open_matching
from blindmatch_server.storage.blobs import Bodies
from blindmatch_server.storage.errors import QuotaError
from blindmatch_simulations.testbed.deployment.registry import built_in_designs, load_design
from support.held_source import HeldSource

from .deployment import ALICE, Deployment, channel, refused, until
from .designs_for_tests import ROLE, Ask, Dummy
from .test_matching import SETUP, envelope, stream

STATUS = grpc.StatusCode
LARGE = "/blindmatch.v1.Matching/ExchangeLarge"
MEGABYTE = 1 << 20


class Long(Message, tag=0x79, name="dummy/long"):
    word: Annotated[bytes, Variable(64 * MEGABYTE)]


class Wide(Dummy):
    """The dummy design with a request that may be long, and is not sent whole here."""

    requests = {**Dummy.requests, ROLE: (Ask, Long)}  # noqa: RUF012


@asynccontextmanager
async def calling(
    directory: Path, pace: LeastPace | None = None, **limits: Any
) -> AsyncIterator[tuple[Deployment, Any]]:
    """A matcher of the dummy design, and its method for large bodies as Alice's certificate calls it."""
    deployment = Deployment()
    design = Wide()
    held = HeldSource(design, 5, {"setup": SETUP}, {ROLE: {"key": b"key of 5"}})
    config = MatchingConfig(design, held, directory, None, MatchingLimits(**limits))
    options = {} if pace is None else {"pace": pace}
    async with (
        deployment.server(Party.MATCHER, partial(open_matching, config), **options) as port,
        channel(deployment.credentials(ALICE), Party.MATCHER, port) as opened,
    ):
        yield deployment, opened.stream_stream(LARGE, wire.Envelope.SerializeToString)


async def read(call: Any) -> list[bytes]:
    return [reply async for reply in call]


async def unfinished(
    size: int, came: int, then: float | None = None, piece: int = 256 << 10
) -> AsyncIterator[wire.Envelope]:
    """A body of which so much comes at once, and then a byte every so often, or nothing."""
    yield envelope(body=bytes(1), body_size=size)
    for _ in range(came // piece):
        yield wire.Envelope(body=bytes(piece))
    while then is not None:
        await asyncio.sleep(then)
        yield wire.Envelope(body=bytes(1))
    await asyncio.Event().wait()


def statuses(deployment: Deployment) -> list[str]:
    """As the server ended calls: a client that sends on meanwhile may lose the status."""
    return [call["status"] for call in deployment.events("call")]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("name", ["oprf-psi", "token-psi", "he-hamming", "third-party", "enclave"])
def test_the_longest_request_of_a_design_is_known_from_its_messages(name: str) -> None:
    design = load_design(name)
    for kinds in design.requests.values():
        assert most_bytes(*kinds) < (MEGABYTE if name != "enclave" else 152 * MEGABYTE)
    assert {one.design.info.name for one in built_in_designs()} >= {name}


def test_the_longest_encoding_is_reached_and_not_passed() -> None:
    longest = Ask(bytes(most_bytes(Ask) - len(Ask(b"").encode())))
    assert len(longest.encode()) == most_bytes(Ask)
    with pytest.raises(Exception, match="bytes, not"):
        Ask(longest.word + b"x").encode()


async def test_a_body_longer_than_any_request_is_refused_before_it_comes(tmp_path: Path) -> None:
    async with calling(tmp_path) as (deployment, call):
        longest = most_bytes(Ask, Long)
        code, text, _ = await refused(read(call(unfinished(longest + 1, 0))))
        assert (code, str(longest) in text) == (STATUS.RESOURCE_EXHAUSTED, True)
        assert deployment.events("call")[0]["bytes_in"] < 1000


async def test_unfinished_bodies_take_no_memory_and_leave_nothing_behind(tmp_path: Path) -> None:
    async with calling(tmp_path, most_large=12) as (deployment, call):
        warm = asyncio.create_task(read(call(unfinished(64 * MEGABYTE, 4 * MEGABYTE))))
        await until(lambda: written(tmp_path) >= 4 * MEGABYTE - 8192)
        before = resident_bytes()
        came = 24
        bodies = [
            asyncio.create_task(read(call(unfinished(64 * MEGABYTE, came * MEGABYTE)))) for _ in range(11)
        ]
        await until(lambda: written(tmp_path) >= 11 * came * MEGABYTE)
        assert resident_bytes() - before < 128 * MEGABYTE
        for task in (warm, *bodies):
            task.cancel()
        await asyncio.gather(warm, *bodies, return_exceptions=True)
        await until(lambda: written(tmp_path) == 0)
        assert [*(tmp_path / "incoming").iterdir()] == []
        assert deployment.events("failure") == []


def written(directory: Path) -> int:
    """Bytes of this process's open files that lie, without a name, below `directory`."""
    return sum(
        path.stat().st_size
        for path in Path("/proc/self/fd").iterdir()
        if path.exists() and str(path.readlink()).startswith(f"{directory}/incoming")
    )


@pytest.mark.parametrize("then", [None, 0.05], ids=["nothing", "a byte now and then"])
async def test_a_body_that_came_fast_and_then_stalls_is_cut_off(tmp_path: Path, then: float | None) -> None:
    """What came fast is no credit."""
    async with calling(tmp_path, LeastPace(1.0, 32768.0)) as (deployment, call):
        await refused(read(call(unfinished(60 * MEGABYTE, 4 * MEGABYTE, then))))
        assert statuses(deployment) == ["DEADLINE_EXCEEDED"]


async def test_bodies_on_their_way_have_a_bound_in_all(tmp_path: Path) -> None:
    async with calling(tmp_path, most_coming_bytes=8 * MEGABYTE, most_large=4) as (deployment, call):
        first = asyncio.create_task(read(call(unfinished(60 * MEGABYTE, 6 * MEGABYTE))))
        await until(lambda: written(tmp_path) >= 6 * MEGABYTE - 8192)
        await refused(read(call(unfinished(60 * MEGABYTE, 6 * MEGABYTE))))
        assert statuses(deployment) == ["RESOURCE_EXHAUSTED"]
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await until(lambda: written(tmp_path) == 0)
        assert await read(call(iter(stream(Ask(bytes(7 * MEGABYTE)).encode()))))


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


async def test_whole_bodies_are_in_memory_few_at_a_time_in_the_order_they_came(
    tmp_path: Path,
) -> None:
    bodies = Bodies(tmp_path, most_whole=10)
    held = [asyncio.Event() for _ in range(4)]
    order = list[int]()

    async def arriving(size: int, came: asyncio.Event) -> AsyncIterator[bytes]:
        yield bytes(size)
        came.set()

    async def take(number: int, size: int, came: asyncio.Event) -> None:
        async with bodies.whole(arriving(size, came), "x") as body:
            assert len(body) == size
            order.append(number)
            await held[number].wait()

    tasks = []  # what enters together is read together, and is there in any order
    for number, size in enumerate((6, 6, 3, 99)):
        came = asyncio.Event()
        tasks.append(asyncio.create_task(take(number, size, came)))
        await came.wait()
    await until(lambda: order == [0])
    held[0].set()
    await until(lambda: sorted(order) == [0, 1, 2])
    tasks[1].cancel()
    await asyncio.sleep(0.1)
    assert len(order) == 3
    held[2].set()
    await until(lambda: order[3:] == [3])  # larger than all of the room: alone
    held[3].set()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_body_that_ends_in_an_error_gives_back_what_it_took(tmp_path: Path) -> None:
    bodies = Bodies(tmp_path, most_coming=10)

    async def broken() -> AsyncIterator[bytes]:
        yield bytes(9)
        raise ValueError

    for _ in range(3):
        with pytest.raises(ValueError):
            async with bodies.whole(broken(), "x"):
                pass
    with pytest.raises(QuotaError, match="10 bytes"):
        async with bodies.whole(pieces(bytes(9), bytes(2)), "x"):
            pass
    async with bodies.whole(pieces(bytes(9), b"x"), "x") as body:
        assert body == bytes(9) + b"x"
