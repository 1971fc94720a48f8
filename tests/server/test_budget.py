"""What a key may be asked for: by an account, by all together, until when; and a matcher that is killed."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AbstractAsyncContextManager, closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import grpc
import grpc.aio
import pytest
from blindmatch_protocol.contract import Party
from blindmatch_protocol.designs.token_psi import DESIGN
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.hosting.authority import Identity
from blindmatch_server.matching.epochs import EpochSource
from blindmatch_server.matching.service import MatchingConfig, open_matching
from support.limited_matcher import ALLOWED, COST, LIMITS, limited_life, request, source
from support.mortal import Arm
from support.mortal_servers import Plan, living

from .deployment import ALICE, BOB, NOW, Client, Deployment, refused, run

STATUS = grpc.StatusCode
EXCHANGE = "Matching/Exchange"
KILLS = [
    # commits: 1 looks whether the account may ask, 2 counts; 3 and 4 are the next request's
    *[Arm(f"ledger.commit.{side}", hit) for side in ("before", "after") for hit in (1, 2, 4)],
    *[Arm("Matching.Exchange.reply", hit) for hit in (1, 3)],
]


def matcher(
    directory: Path, held: EpochSource, deployment: Deployment | None = None, parts: int = 1
) -> AbstractAsyncContextManager[tuple[Client, ...]]:
    deployment = deployment or Deployment()
    services = partial(open_matching, MatchingConfig(DESIGN, held, directory, parts=parts))
    return deployment.serving(Party.MATCHER, services, ALICE, BOB)


async def used_up(client: Client, envelope: wire.Envelope) -> str:
    code, text, _ = await refused(client.one(EXCHANGE, envelope))
    assert code is STATUS.RESOURCE_EXHAUSTED
    return text


async def test_an_account_gets_its_evaluations_and_not_one_more_and_others_get_theirs(tmp_path: Path) -> None:
    held = source()
    async with matcher(tmp_path, held) as (alice, bob):
        for _ in range(ALLOWED):
            await alice.one(EXCHANGE, request(held))
        text = await used_up(alice, request(held))
        assert "this account has used 24 of the 24 evaluations allowed in this key's life" in text
        await bob.one(EXCHANGE, request(held))


async def test_accounts_that_pool_get_no_more_together_than_all_may_have(tmp_path: Path) -> None:
    held = source()
    deployment = Deployment()
    async with matcher(tmp_path, held, deployment) as (alice, bob):
        for client in (alice, alice, alice, bob, bob):
            await client.one(EXCHANGE, request(held))
        assert "all accounts have used 40 of the 40" in await used_up(bob, request(held))
    told = [(event["percent"], event["allowed"]) for event in deployment.events("evaluations-spent")]
    assert told == [(percent, 40) for percent in (20, 40, 60, 80, 100)], "so that nobody is surprised"


async def test_requests_that_come_at_once_do_not_slip_through_together(tmp_path: Path) -> None:
    held = source()
    async with matcher(tmp_path, held) as (alice, _):
        calls = [alice.one(EXCHANGE, request(held, f"device {n}")) for n in range(4 * ALLOWED)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(not isinstance(one, grpc.aio.AioRpcError) for one in found) == ALLOWED


async def test_a_body_that_is_refused_counts_too(tmp_path: Path) -> None:
    held = source()
    bad = request(held)
    bad.body = bad.body[:-1] + b"\xff"
    async with matcher(tmp_path, held) as (alice, _):
        for _ in range(ALLOWED):
            assert (await refused(alice.one(EXCHANGE, bad)))[0] is STATUS.INVALID_ARGUMENT
        await used_up(alice, request(held))


async def test_counts_belong_to_the_key_through_restarts_and_epochs(tmp_path: Path) -> None:
    first = source()
    same_key = source(epoch=2)
    new_key = source(epoch=3, seed="another")
    async with matcher(tmp_path, first) as (alice, _):
        for _ in range(ALLOWED):
            await alice.one(EXCHANGE, request(first))
    async with matcher(tmp_path, same_key) as (alice, _):
        await used_up(alice, request(same_key))
    async with matcher(tmp_path, new_key) as (alice, _):
        await alice.one(EXCHANGE, request(new_key))


async def test_matchers_that_share_a_key_grant_its_budget_once(tmp_path: Path) -> None:
    held = source(account_evaluations=6 * COST - 1, all_evaluations=8 * COST - 1)
    accounts = 0
    everyone = 0
    for name in ("first", "second"):
        deployment = Deployment()
        async with matcher(tmp_path / name, held, deployment, parts=2) as (alice, bob):
            for client in (alice, alice, bob):
                await client.one(EXCHANGE, request(held))
            assert f"used 16 of the {3 * COST - 1} evaluations" in await used_up(alice, request(held))
            assert f"all accounts have used 24 of the {4 * COST - 1}" in await used_up(bob, request(held))
        (told,) = deployment.events("budget-share")
        assert told["share"] == "1/2"
        accounts += spent(tmp_path / name)["alice"]
        everyone += spent(tmp_path / name)[""]
    assert accounts <= 6 * COST - 1 and everyone <= 8 * COST - 1


async def test_a_share_that_holds_no_request_is_named(tmp_path: Path) -> None:
    held = source()
    async with matcher(tmp_path, held, parts=ALLOWED + 1) as (alice, _):
        text = await used_up(alice, request(held))
        assert "this server's share of the key's evaluations, 1/4, is less than one request" in text


async def test_without_limits_nothing_is_counted(tmp_path: Path) -> None:
    held = source(account_evaluations=0, all_evaluations=0)
    async with matcher(tmp_path, held) as (alice, _):
        for _ in range(2 * ALLOWED):
            await alice.one(EXCHANGE, request(held))
    assert spent(tmp_path) == {}


async def test_a_key_is_refused_from_its_last_second_on_with_the_date(tmp_path: Path) -> None:
    end = int(NOW.timestamp()) + 3600
    held = source(key_expires=end)
    deployment = Deployment()

    def at(seconds: float) -> Deployment:
        return Deployment(deployment.authority, clock=lambda: seconds)

    async with matcher(tmp_path, held, at(end - 0.1)) as (alice, _):
        await alice.one(EXCHANGE, request(held))
    async with matcher(tmp_path, held, at(end)) as (alice, _):
        code, text, _ = await refused(alice.one(EXCHANGE, request(held)))
        assert code is STATUS.FAILED_PRECONDITION
        date = datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%d %H:%M:%S")
        assert f"the key expired at {date} UTC: a new set is due" in text
    assert spent(tmp_path)["alice"] == COST, "what is refused for its time is not counted"


# --- kills


def spent(directory: Path) -> dict[str, int]:
    """Counted evaluations by account; "" is all together."""
    with closing(sqlite3.connect(directory / "ledger.sqlite")) as database:
        return dict(database.execute("SELECT account, evaluations FROM spent").fetchall())


@pytest.mark.slow
@pytest.mark.parametrize("arm", KILLS, ids=lambda arm: f"{arm.point}-{arm.hit}")
def test_a_matcher_that_is_killed_never_gives_evaluations_for_free(tmp_path: Path, arm: Arm) -> None:
    deployment = Deployment()
    held = source()
    credentials = deployment.credentials(Identity.of(Party.MATCHER))

    def answered(arm: Arm | None) -> int:
        """Requests that one life of the matcher answers."""

        async def ask(port: int) -> int:
            async with deployment.client(ALICE, Party.MATCHER, port) as alice:
                calls = 0
                try:
                    for _ in range(ALLOWED + 2):
                        await alice.one(EXCHANGE, request(held))
                        calls += 1
                except grpc.aio.AioRpcError as error:
                    expected = {STATUS.UNAVAILABLE, STATUS.CANCELLED} if arm else {STATUS.RESOURCE_EXHAUSTED}
                    assert error.code() in expected, error.details()
                return calls

        with living(limited_life, Plan(tmp_path, credentials, arm)) as port:
            assert port is not None
            return run(ask(port))

    first = answered(arm)
    counted = spent(tmp_path / "matcher").get("alice", 0)
    assert first == (arm.hit - 1) // (1 if "reply" in arm.point else 2)
    assert counted in (first * COST, (first + 1) * COST)
    again = answered(None)
    assert again == ALLOWED - counted // COST <= ALLOWED - first, "what was counted stays counted"
    assert spent(tmp_path / "matcher") == {"alice": LIMITS["account_evaluations"], "": ALLOWED * COST}
