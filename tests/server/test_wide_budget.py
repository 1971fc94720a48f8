"""wide-psi limits accounts alone: every way to be answered takes from it, and nothing gives it back."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import pytest
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import Party
from blindmatch_protocol.crypto.dleq import Mode
from blindmatch_protocol.crypto.oprf import blind
from blindmatch_protocol.designs.voprf.round import BlindedRequest, CertifyRequest
from blindmatch_protocol.designs.wide_psi import DESIGN, Request
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.hosting.authority import Identity
from blindmatch_server.matching.service import MatchingConfig, open_matching
from support.held_source import HeldSource
from support.voprf_world import LISTED, MATCHER, published, setup_files, updated

from .deployment import ALICE, BOB, Client, Deployment, refused
from .test_budget import spent

COST = 6
ALLOWED = 4
"""Requests of an account; `account_evaluations` is one token short of another one."""
STATUS = grpc.StatusCode
EXCHANGE = "Matching/Exchange"


def source(files: dict[str, bytes], epoch: int) -> HeldSource:
    return HeldSource(DESIGN, epoch, setup_files(files), {MATCHER: {"matcher.bin": files["matcher.bin"]}})


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return published("wide-psi", account_evaluations=(ALLOWED + 1) * COST - 1)


def envelope(epoch: int = 1, kind: type[BlindedRequest] = Request, rows: int = COST) -> wire.Envelope:
    """A body of guesses, one of them asked for `rows` times."""
    _, blinded = blind([b"guess"] * rows, Mode.VOPRF, seeded("guesses"))
    head = wire.Envelope(design=DESIGN.info.name, version=DESIGN.info.version, epoch=epoch, role=MATCHER)
    head.body = kind(epoch, blinded).encode()
    return head


def serving(
    directory: Path, held: HeldSource, deployment: Deployment, *accounts: Identity
) -> AbstractAsyncContextManager[tuple[Client, ...]]:
    services = partial(open_matching, MatchingConfig(DESIGN, held, directory))
    return deployment.serving(Party.MATCHER, services, *accounts)


async def is_used_up(client: Client, epoch: int = 1) -> bool:
    code, _, _ = await refused(client.one(EXCHANGE, envelope(epoch)))
    return code is STATUS.RESOURCE_EXHAUSTED


def in_parts(head: wire.Envelope) -> list[wire.Envelope]:
    """`head` with one half of its body, and the other half."""
    body = head.body
    head.body_size = len(body)
    head.body = body[:100]
    return [head, wire.Envelope(body=body[100:])]


async def test_large_shown_and_repeated_requests_take_as_much_as_any_other(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    async with serving(tmp_path, source(files, 1), Deployment(), ALICE) as (alice,):
        await alice.one(EXCHANGE, envelope())
        await alice.one(EXCHANGE, envelope())
        await alice.one(EXCHANGE, envelope(kind=CertifyRequest))
        await alice.all("Matching/ExchangeLarge", in_parts(envelope()))
        assert await is_used_up(alice)
    assert spent(tmp_path) == {"alice": ALLOWED * COST, "": ALLOWED * COST}


async def test_requests_that_are_empty_too_short_or_too_long_are_answered_nothing_and_are_counted(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    async with serving(tmp_path, source(files, 1), Deployment(), ALICE) as (alice,):
        for rows in (1, COST - 1, COST + 1, 1024):
            code, text, _ = await refused(alice.one(EXCHANGE, envelope(rows=rows)))
            assert code is STATUS.INVALID_ARGUMENT and f"must have {COST} rows" in text
        assert await is_used_up(alice)


async def test_devices_of_an_account_share_its_limit_and_another_account_has_its_own(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    """No limit is on all together: that is what the design says it lacks."""
    async with serving(tmp_path, source(files, 1), Deployment(), ALICE, ALICE, BOB) as (one, other, bob):
        asked = [client.one(EXCHANGE, envelope()) for client in (one, other) for _ in range(2 * ALLOWED)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(not isinstance(reply, grpc.aio.AioRpcError) for reply in found) == ALLOWED
        assert await is_used_up(one) and await is_used_up(other)
        for _ in range(ALLOWED):
            await bob.one(EXCHANGE, envelope())
        assert await is_used_up(bob)


async def test_a_limit_that_is_used_up_stays_so_through_restarts_and_deltas(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    deployment = Deployment()
    later = updated("wide-psi", files, LISTED[8:9], 100)
    async with serving(tmp_path, source(files, 1), deployment, ALICE) as (alice,):
        for _ in range(ALLOWED):
            await alice.one(EXCHANGE, envelope())
    async with serving(tmp_path, source(later, 2), deployment, ALICE) as (alice,):
        assert await is_used_up(alice, 2)
    new_key = published("wide-psi", epoch=3, seed="next", account_evaluations=(ALLOWED + 1) * COST - 1)
    async with serving(tmp_path, source(new_key, 3), deployment, ALICE) as (alice,):
        for _ in range(ALLOWED):
            await alice.one(EXCHANGE, envelope(3))
        assert await is_used_up(alice, 3)


async def test_a_device_that_gives_up_gets_no_answer_that_is_not_counted(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    async with serving(tmp_path, source(files, 1), Deployment(), ALICE) as (alice,):
        answered = 0
        for seconds in np.linspace(0.0005, 0.02, 12):
            try:
                await alice.one(EXCHANGE, envelope(), float(seconds))
                answered += 1
            except grpc.aio.AioRpcError as error:
                assert error.code() in (STATUS.DEADLINE_EXCEEDED, STATUS.CANCELLED, STATUS.RESOURCE_EXHAUSTED)
        while not await _ends(alice):
            answered += 1
    assert answered <= ALLOWED
    assert spent(tmp_path)["alice"] == ALLOWED * COST


async def _ends(client: Client) -> bool:
    try:
        await client.one(EXCHANGE, envelope())
    except grpc.aio.AioRpcError as error:
        assert error.code() is STATUS.RESOURCE_EXHAUSTED
        return True
    return False


async def test_every_filter_that_is_published_gives_an_account_its_whole_limit_again(tmp_path: Path) -> None:
    deployment = Deployment()
    for epoch in (1, 2, 3):
        most = (ALLOWED + 1) * COST - 1
        files = published("wide-psi", epoch=epoch, seed=f"epoch {epoch}", filter=1, account_evaluations=most)
        async with serving(tmp_path, source(files, epoch), deployment, ALICE) as (alice,):
            for _ in range(ALLOWED):
                await alice.one(EXCHANGE, envelope(epoch))
            assert await is_used_up(alice, epoch)
