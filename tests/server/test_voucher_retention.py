"""Vouchers at the centre: held for a time that does not hang on what they hold, and erased as a whole."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from hashlib import sha256
from typing import Any

import grpc
import pytest
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_simulations.cli.centre_vouchers import answer, erase, show_vouchers, told
from msgspec.structs import replace
from support.mortal import Arm
from support.mortal_servers import living, opening_life

from .deployment import ALICE, OPERATOR, Client, Deployment, refused
from .designs_for_tests import LABEL, Dummy, Slip
from .scene import Scene
from .test_centre import OneKey, voucher
from .test_kills import asked, died, named, plan_of
from .test_operations import until

STATUS = grpc.StatusCode
MANY = wire.VouchersRequest()


async def held(operator: Client, account: str = "") -> wire.VouchersHeld:
    await operator.one("Centre/List", wire.ListRequest())  # waits for the opener
    found: wire.VouchersHeld = await operator.one(
        "Centre/ReadVouchers", wire.VouchersRequest(account=account)
    )
    return found


def counts(found: wire.VouchersHeld) -> list[tuple[Any, ...]]:
    return [(one.account, one.held, one.visible, one.opened) for one in found.piles]


async def hand_in(client: Client, slips: Sequence[int]) -> None:
    for opens in slips:
        await client.one("Centre/SubmitVoucher", [voucher(opens)])


async def erased(operator: Client, **scope: Any) -> int:
    request = wire.EraseVouchersRequest(**{"reason": "asked for", **scope})
    done: wire.VoucherErasure = await operator.one("Centre/EraseVouchers", request)
    return done.erased


async def test_what_is_erased_of_an_account_is_in_no_file_and_the_erasure_is_written_down(
    scene: Scene,
) -> None:
    digest = sha256(Slip(1, LABEL.encode()).encode()).digest()

    def is_there() -> bool:
        files = (scene.directory / "state").glob("centre.sqlite*")
        return any(digest in one.read_bytes() for one in files)

    deployment = Deployment()
    async with scene.centre(deployment) as (alice, bob, operator, _):
        await hand_in(alice, (0, 1, 2))
        await hand_in(bob, (3, 4))
        assert counts(await held(operator)) == [("alice", 3, 2, 2), ("bob", 2, 2, 2)]
        assert is_there()
        counted = await operator.one("Centre/ReadStatistics", wire.StatisticsRequest())
        # a backup that reads meanwhile is not waited for, and the next erasure empties the log
        with closing(sqlite3.connect(scene.directory / "state/centre.sqlite")) as backup:
            backup.execute("BEGIN")
            backup.execute("SELECT COUNT(*) FROM vouchers").fetchone()
            assert await erased(operator, account="alice") == 3
            assert is_there() and "another process reads the database" in str(deployment.lines)
        assert await erased(operator, before_ms=1) == 0
        assert not is_there()
        after = await operator.one("Centre/ReadStatistics", wire.StatisticsRequest())
        assert after.vouchers_opened == counted.vouchers_opened == 4
        found = await held(operator)
        assert counts(found) == [("bob", 2, 2, 2)]
        line = found.erasures[0]
        assert (line.actor, line.account, line.erased, line.reason) == (
            OPERATOR.account, "alice", 3, "asked for"
        )  # fmt: skip
        assert not (await held(operator, "bob")).erasures
    with closing(sqlite3.connect(scene.directory / "state/centre.sqlite")) as connection:
        for change in ("DELETE FROM erasures", "UPDATE erasures SET erased = 0"):
            with pytest.raises(sqlite3.DatabaseError, match="append-only"):
                connection.execute(change)


async def test_vouchers_of_a_period_or_of_a_time_are_erased_and_what_is_left_counts_on(scene: Scene) -> None:
    async with scene.centre(design=OneKey()) as (alice, _, operator, _):
        await hand_in(alice, (1, 2))
        (first,) = (await held(operator)).piles
    async with scene.centre(design=OneKey(), epoch=10) as (alice, _, operator, _):
        for opens in (3, 4):
            await alice.one("Centre/SubmitVoucher", [voucher(opens, epoch=10)])
        assert counts(await held(operator)) == [("alice", 2, 2, 2)] * 2
        assert await erased(operator, period=first.period) == 2
        assert await erased(operator, before_ms=first.first_at_ms) == 0
        assert counts(await held(operator)) == [("alice", 2, 2, 2)]
        assert [line.erased for line in (await held(operator)).erasures] == [2, 0]
        (own,) = (await held(operator, "alice")).erasures  # though it was a period that was named
        assert (own.account, own.erased) == ("alice", 2)
        assert await erased(operator, before_ms=(1 << 64) - 1) == 2
        assert counts(await held(operator)) == []


@pytest.mark.parametrize(
    "scope",
    [{}, {"account": "alice", "reason": " "}, {"account": "alice", "reason": "a\nb"}, {"account": "Alice"}],
)
async def test_an_erasure_needs_a_bound_and_a_reason_and_is_an_operators(
    scene: Scene, scope: dict[str, Any]
) -> None:
    async with scene.centre() as (alice, _, operator, _):
        await hand_in(alice, (0,))
        assert (await refused(erased(operator, **scope)))[0] is STATUS.INVALID_ARGUMENT
        for call in (erased(alice, account="alice"), held_by(alice)):
            assert (await refused(call))[0] is STATUS.PERMISSION_DENIED
        assert counts(await held(operator)) == [("alice", 1, 0, 0)]


@pytest.mark.parametrize("name", ["", "Alice", "alice ", "a\nb", "\x1b]0;x\a", "a" * 100])
def test_no_command_asks_the_centre_about_a_name_that_is_no_accounts(name: str) -> None:
    nowhere: Any = None
    for ask in (show_vouchers, answer):
        with pytest.raises(ProtocolError, match="account: must be"):
            ask(nowhere, name)
    with pytest.raises(ProtocolError, match="account: must be"):
        erase(nowhere, "asked for", account=name or "-")


async def held_by(client: Client) -> Any:
    return await client.one("Centre/ReadVouchers", MANY)


async def test_vouchers_that_come_while_others_are_erased_are_opened_all_the_same(scene: Scene) -> None:
    """The opener works on rows that are erased meanwhile: were they counted as tried, the next ones would be
    taken for tried, and their numbers, given to others, would get the labels."""
    design = Dummy()
    async with scene.centre(design=design, list_wait_seconds=0.1) as (alice, bob, operator, _):
        design.pile.pause.clear()
        await hand_in(alice, (1, 2))
        while len(design.pile.tried) < 1 or max(design.pile.tried) < 1:
            await held(operator)
        assert await erased(operator, account="alice") == 2
        await hand_in(bob, (0, 5))
        await hand_in(alice, (3,))
        design.pile.pause.set()
        while counts(found := await held(operator)) != [("alice", 1, 1, 0), ("bob", 2, 1, 0)]:
            assert not any(one.opened for one in found.piles)
        await hand_in(alice, (4,))
        while counts(await held(operator)) != [("alice", 2, 2, 2), ("bob", 2, 1, 0)]:
            pass


async def test_what_takes_the_places_of_erased_vouchers_is_tried_at_once(scene: Scene) -> None:
    """Nothing else wakes the opener: whoever lists reports would wait for it in vain."""
    design = Dummy()
    async with scene.centre(design=design, most_tried=3) as (alice, _, operator, _):
        await hand_in(alice, (1,))
        (first,) = (await held(operator)).piles
        await asyncio.sleep(0.01)  # the next ones are younger
        await hand_in(alice, (2, 3, 4))
        assert counts(await held(operator)) == [("alice", 4, 4, 3)], "the fourth is not tried"
        tried = len(design.pile.tried)
        assert await erased(operator, before_ms=first.first_at_ms + 1) == 1
        await until(lambda: len(design.pile.tried) > tried)
        assert counts(await held(operator)) == [("alice", 3, 3, 3)]


async def test_an_erasure_that_lets_no_other_voucher_in_costs_no_attempt(scene: Scene) -> None:
    """Vouchers grow old every hour: were each erasure followed by an attempt, no number would bound them."""
    design = Dummy()
    async with scene.centre(design=design) as (alice, _, operator, _):
        await hand_in(alice, (1,))
        (first,) = (await held(operator)).piles
        await asyncio.sleep(0.01)
        await hand_in(alice, (2, 3))
        await held(operator)
        tried = len(design.pile.tried)
        assert await erased(operator, before_ms=first.first_at_ms + 1) == 1
        assert counts(await held(operator)) == [("alice", 2, 2, 2)]
    assert len(design.pile.tried) == tried


async def test_vouchers_are_erased_once_they_are_as_old_as_the_centre_says_hidden_and_visible_alike(
    scene: Scene,
) -> None:
    async with scene.centre() as (alice, _, operator, _):
        await hand_in(alice, (0, 1))
        assert (await held(operator)).days == 365
    async with scene.centre(voucher_days=1) as (_, _, operator, _):
        assert counts(await held(operator)) == [("alice", 2, 1, 0)]
    with closing(sqlite3.connect(scene.directory / "state/centre.sqlite")) as connection, connection:
        connection.execute("UPDATE vouchers SET received_at_ms = received_at_ms - 86400000")
    async with scene.centre(voucher_days=1) as (_, _, operator, _):
        found = await held(operator)
        assert counts(found) == []
        (line,) = found.erasures
        assert (line.actor, line.erased, line.reason) == ("retention", 2, "held 1 days")
    async with scene.centre(voucher_days=1) as (_, _, operator, _):
        assert len((await held(operator)).erasures) == 1


async def test_a_subject_is_told_the_same_whether_its_pictures_matched_or_did_not(
    scene: Scene,
) -> None:
    """A number that hung on matches, of vouchers held or erased, would be an oracle for whoever sends
    pictures and asks."""

    def answer(found: wire.VouchersHeld, account: str) -> Any:
        words = told(account, found)
        for one in words["periods"]:
            assert one.pop("erased_from_ms") - one.pop("first_at_ms") == found.days * 86_400_000
        erasures = [one["erased"] for one in words.pop("erasures")]
        return {name: value for name, value in words.items() if name != "account"}, erasures

    async with scene.centre() as (alice, bob, operator, _):
        for slips in ((0, 0, 0), (1, 0, 0), (1, 2, 3)):
            for client, bodies in ((alice, slips), (bob, (0, 0, 0))):
                for number, opens in enumerate(bodies):
                    body = Slip(opens, replace(LABEL, entry_id=number).encode()).encode()
                    await client.one("Centre/SubmitVoucher", [voucher(0, body=body, body_size=len(body))])
            both = [answer(await held(operator, name), name) for name in ("alice", "bob")]
            assert both[0] == both[1] and both[0][0]["periods"][0]["held"] == 3
            assert {await erased(operator, account=name) for name in ("alice", "bob")} == {3}
        assert answer(await held(operator, "alice"), "alice")[1] == [3, 3, 3]


async def test_a_voucher_made_under_an_earlier_epoch_of_the_period_is_taken_and_opens(scene: Scene) -> None:
    """A device may have made it before it heard of the new epoch, or have been offline since."""
    async with scene.centre(design=OneKey(), epoch=7, earlier=(6, 5)) as (alice, _, operator, _):
        for epoch in (5, 7):
            await alice.one("Centre/SubmitVoucher", [voucher(epoch, epoch=epoch)])
        assert counts(await held(operator)) == [("alice", 2, 2, 2)]
        for other in (4, 8):
            call = alice.one("Centre/SubmitVoucher", [voucher(other, epoch=other)])
            assert (await refused(call))[0] is STATUS.FAILED_PRECONDITION


@pytest.mark.slow
@pytest.mark.parametrize(
    "arm",
    # 1 to 3 at the start
    [Arm("centre.commit.before", 4), Arm("centre.commit.after", 4), Arm("Centre.EraseVouchers.reply")],
    ids=named,
)
def test_an_erasure_is_whole_or_not_there_wherever_the_centre_is_killed(scene: Scene, arm: Arm) -> None:
    deployment = Deployment()

    def at_centre(port: int | None, method: str, request: Any, caller: Any = OPERATOR) -> Any:
        return asked(deployment, caller, Party.CENTRE, port, f"Centre/{method}", request)

    with living(opening_life, plan_of(scene, deployment)) as port:
        for opens in (0, 1, 2):
            assert at_centre(port, "SubmitVoucher", [voucher(opens)], ALICE) is not None
        at_centre(port, "List", wire.ListRequest())
    (scene.directory / "points").unlink()
    request = wire.EraseVouchersRequest(account="alice", reason="asked for")
    with living(opening_life, plan_of(scene, deployment, arm)) as port:
        reply = at_centre(port, "EraseVouchers", request)
    assert died(scene.directory, arm)
    with living(opening_life, plan_of(scene, deployment)) as port:
        found = at_centre(port, "ReadVouchers", MANY)
        whole = ([], [3])
        seen = (counts(found), [line.erased for line in found.erasures])
        assert seen == whole if reply is not None else seen in (whole, ([("alice", 3, 2, 2)], []))
        assert arm.point != "centre.commit.after" or seen == whole
    if seen == whole:
        digest = sha256(Slip(1, LABEL.encode()).encode()).digest()
        files = (scene.directory / "state").glob("centre.sqlite*")
        assert not any(digest in one.read_bytes() for one in files)
