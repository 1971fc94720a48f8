from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from blindmatch_protocol.contract import Flag, Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.centre.assessment import Check
from blindmatch_server.centre.keys import PUBLIC_KEY, CentreKeys
from blindmatch_server.centre.service import CentreConfig, open_centre
from blindmatch_server.centre.vouchers import Vouchers
from blindmatch_server.hosting import exit_codes
from blindmatch_server.hosting.authority import Identity
from blindmatch_server.hosting.serving import serve
from blindmatch_server.matching.ledger import CentreAddress, MatcherStore
from blindmatch_server.matching.service import MatchingConfig, open_matching
from blindmatch_server.storage.errors import StateError
from blindmatch_server.storage.files import read_key
from msgspec.structs import replace
from support.held_source import HeldSource
from support.mortal_servers import Plan, centre_life, living

from .deployment import ALICE, SECONDS, Deployment, port_of, process, refused, run
from .designs_for_tests import LABEL, ROLE, Ask, Dummy, Pile, Slip
from .scene import ENTRY, Scene
from .test_verify import FLAGGED, recognising

STATUS = grpc.StatusCode
CENTRE = Identity.of(Party.CENTRE)


def submission(report_id: bytes, sealed: bytes, size: int | None = None) -> list[wire.SubmitPart]:
    cuts = [sealed[at : at + 200_000] for at in range(0, len(sealed), 200_000)]
    parts = [wire.SubmitPart(part=wire.Part(data=cut)) for cut in cuts]
    parts[0].report_id = report_id
    parts[0].part.size = len(sealed) if size is None else size
    return parts


def voucher(opens: int, **changes: Any) -> wire.Envelope:
    body = Slip(opens, LABEL.encode()).encode()
    values = {"design": "dummy", "version": 3, "epoch": 5, "body": body, "body_size": len(body)}
    return wire.Envelope(**{**values, **changes})


async def test_reports_are_received_once_checked_and_shown_to_operators_alone(scene: Scene) -> None:
    async with scene.centre() as (alice, bob, operator, _):
        assert (await alice.one("Centre/Key", wire.CentreKeyRequest())).public_key == scene.keys.public_key
        report = scene.report()
        sealed = scene.seal(report)
        first = await alice.one("Centre/Submit", submission(report.report_id, sealed))
        again = await alice.one("Centre/Submit", submission(report.report_id, sealed))
        assert first == again
        for client, bytes_ in ((alice, scene.seal(report)), (bob, sealed)):
            code, text, _ = await refused(client.one("Centre/Submit", submission(report.report_id, bytes_)))
            assert (code, "report_id" in text) == (STATUS.ALREADY_EXISTS, True)
        await bob.one("Centre/Submit", submission(b"junk" * 4, b"junk"))
        rows = (await operator.one("Centre/List", wire.ListRequest())).reports
        assert [(row.reporter, row.state, row.checks, row.entry_id) for row in rows] == [
            ("alice", "checked", "passed", ENTRY.entry_id),
            ("bob", "checked", "failed", 0),
        ]
        detail = await operator.one("Centre/Show", wire.ShowRequest(report_id=report.report_id))
        assert (detail.sender, detail.recipient, detail.width) == ("alice", "bob", 256)
        unfranked = {Check.SENDER: "sender: not available: messages are stamped here, and no more"}
        assert list(detail.checks) == [unfranked.get(check, f"{check}: passed") for check in Check]
        for method, request in (("List", wire.ListRequest()), ("Show", wire.ShowRequest())):
            assert (await refused(alice.one(f"Centre/{method}", request)))[0] is STATUS.PERMISSION_DENIED
        missing = operator.one("Centre/Show", wire.ShowRequest(report_id=b"?"))
        assert (await refused(missing))[0] is STATUS.NOT_FOUND
    assert len(list((scene.directory / "state/reports").glob("??/*"))) == 2


@pytest.mark.parametrize(
    ("parts", "rule"),
    [
        ([], "no part"),
        (submission(b"short", b"x"), "report_id"),
        (submission(b"i" * 16, b"x", size=1 << 40), "1 to"),
        (submission(b"i" * 16, b"x", size=2), "truncated"),
        (submission(b"i" * 16, b"xy", size=1), "more than"),
        (submission(b"i" * 16, b"x", size=2) + submission(b"i" * 16, b"y"), "only the first part"),
    ],
)
async def test_parts_of_a_report_that_break_a_rule_leave_nothing(
    scene: Scene, parts: list[wire.SubmitPart], rule: str
) -> None:
    async with scene.centre() as (alice, _, operator, _):
        code, text, _ = await refused(alice.one("Centre/Submit", parts))
        assert (code, rule in text) == (STATUS.INVALID_ARGUMENT, True)
        assert not (await operator.one("Centre/List", wire.ListRequest())).reports
    assert not list((scene.directory / "state/reports").glob("*/*"))


async def test_a_submitter_s_reports_are_bounded_by_the_day(scene: Scene) -> None:
    async with scene.centre(most_reports_a_day=1) as (alice, bob, _, _):
        await alice.one("Centre/Submit", submission(b"1" * 16, b"x"))
        code, _, _ = await refused(alice.one("Centre/Submit", submission(b"2" * 16, b"x")))
        assert code is STATUS.RESOURCE_EXHAUSTED
        await alice.one("Centre/Submit", submission(b"1" * 16, b"x"))
        await bob.one("Centre/Submit", submission(b"2" * 16, b"x"))


async def test_a_message_is_flagged_once_under_whatever_score_and_report(scene: Scene) -> None:
    flags = [scene.report(n, **FLAGGED | {"score": Flag(n / 4).encode()}) for n in (1, 2)]
    again = replace(flags[0], report_id=b"r" * 16, score=Flag(0.9).encode())
    labelled = replace(scene.report(1), report_id=b"l" * 16)
    design = recognising().design
    assert isinstance(design, Dummy)
    async with scene.centre(design=design) as (alice, bob, operator, _):
        for report in (*flags, again, labelled):
            await alice.one("Centre/Submit", submission(report.report_id, scene.seal(report)))
        carried = replace(again, report_id=b"b" * 16)
        await bob.one("Centre/Submit", submission(carried.report_id, scene.seal(carried)))
        rows = (await operator.one("Centre/List", wire.ListRequest())).reports
        found = [(row.checks, row.checks_reason.partition(":")[0], row.HasField("score")) for row in rows]
        assert found[:2] == [("passed", "", True)] * 2
        assert found[2:] == [
            ("failed", "once", True),
            ("failed", "label", False),
            ("failed", "reporter", True),
        ]


async def test_vouchers_open_when_the_design_says_so_and_count_once(scene: Scene) -> None:
    async with scene.centre() as (alice, bob, operator, _):
        bob_s = await bob.one("Centre/SubmitVoucher", [voucher(0)])
        receipts = [await alice.one("Centre/SubmitVoucher", [voucher(opens)]) for opens in (0, 1, 1)]
        assert receipts[1] == receipts[2] != receipts[0]
        assert bob_s.report_id == receipts[0].report_id
        listed = (await operator.one("Centre/List", wire.ListRequest())).vouchers
        assert [(v.account, v.held, v.opened) for v in listed] == [("alice", 2, 0), ("bob", 1, 0)]
        await alice.one("Centre/SubmitVoucher", [voucher(2)])
        listed = (await operator.one("Centre/List", wire.ListRequest())).vouchers
        assert [(v.account, v.held, v.opened) for v in listed] == [("alice", 3, 2), ("bob", 1, 0)]
    with closing(sqlite3.connect(scene.directory / "state/centre.sqlite")) as connection:
        kept = connection.execute("SELECT row IS NULL, COUNT(*) FROM vouchers GROUP BY 1 ORDER BY 1")
        assert kept.fetchall() == [(0, 2), (1, 2)]
        columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(vouchers)")]
        assert "body" not in columns


async def test_vouchers_of_one_account_side_by_side_are_each_taken_once_and_all_opened(scene: Scene) -> None:
    design = Dummy()
    async with scene.centre(design=design, most_vouchers=12, most_uploads=40) as (
        alice,
        bob,
        operator,
        _,
    ):
        clients = [(client, opens) for client in (alice, bob) for opens in range(12)] * 3
        receipts = await asyncio.gather(
            *(client.one("Centre/SubmitVoucher", [voucher(opens)]) for client, opens in clients)
        )
        by_client = {(client, opens): set[bytes]() for client, opens in clients}
        for (client, opens), receipt in zip(clients, receipts, strict=True):
            by_client[client, opens].add(receipt.SerializeToString())
        assert {len(found) for found in by_client.values()} == {1}, "the same receipt for the same one"
        listed = (await operator.one("Centre/List", wire.ListRequest())).vouchers
        assert [(v.account, v.held, v.opened) for v in listed] == [("alice", 12, 11), ("bob", 12, 11)]
        over = [refused(alice.one("Centre/SubmitVoucher", [voucher(n)])) for n in (12, 13, 14)]
        assert {code for code, _, _ in await asyncio.gather(*over)} == {STATUS.RESOURCE_EXHAUSTED}
        assert await alice.one("Centre/SubmitVoucher", [voucher(0)]) == receipts[0]
    assert sorted(design.pile.taken) == sorted([*range(12), *range(12)])


async def test_the_work_for_a_voucher_does_not_grow_with_the_number_before_it(scene: Scene) -> None:
    """Each is taken once; of 300, those 3 that are visible are handed to `open`, and no hidden one is."""
    design = Dummy()
    async with scene.centre(design=design) as (alice, _, operator, _):
        for n in range(300):
            opens = 1 + n // 100 if n % 100 == 50 else 0
            body = Slip(opens, replace(LABEL, entry_id=n).encode()).encode()
            await alice.one("Centre/SubmitVoucher", [voucher(0, body=body, body_size=len(body))])
            if opens:
                await operator.one("Centre/List", wire.ListRequest())
        (listed,) = (await operator.one("Centre/List", wire.ListRequest())).vouchers
        assert (listed.held, listed.opened) == (300, 3)
    assert len(design.pile.taken) == 300
    assert design.pile.tried == [1, 2, 3]


async def test_the_opener_is_tried_on_so_many_visible_vouchers_of_an_account_and_no_refusal_tells(
    scene: Scene,
) -> None:
    design = Dummy()
    async with scene.centre(design=design, most_tried=3) as (alice, bob, operator, _):
        for opens in range(1, 7):
            await alice.one("Centre/SubmitVoucher", [voucher(opens)])
            await operator.one("Centre/List", wire.ListRequest())
        for opens in (1, 2):
            await bob.one("Centre/SubmitVoucher", [voucher(opens)])
        listed = (await operator.one("Centre/List", wire.ListRequest())).vouchers
        assert [(v.account, v.held, v.opened) for v in listed] == [("alice", 6, 3), ("bob", 2, 2)]
    assert max(design.pile.tried) == 3 and len(design.pile.tried) <= 5


async def test_a_voucher_sent_again_and_again_keeps_no_other_from_being_tried(scene: Scene) -> None:
    design = Dummy()
    async with scene.centre(design=design, most_tried=3) as (alice, _, operator, _):
        opened = []
        for opens in (100, 101, 102, 103, 104, 105, 1, 2, 3):
            await alice.one("Centre/SubmitVoucher", [voucher(opens)])
            (listed,) = (await operator.one("Centre/List", wire.ListRequest())).vouchers
            opened.append(listed.opened)
        assert opened == [0, 2, 3, 3, 3, 3, 4, 5, 5]
    assert design.pile.tried == [1, 2, 3, 3, 3]


class OneKey(Dummy):
    """Epochs below 10 share a key, and so a period."""

    def period(self, setup: bytes) -> bytes:
        return bytes([self.epoch_of(setup) // 10])


async def test_vouchers_of_epochs_that_share_a_key_add_up_and_others_do_not(scene: Scene) -> None:
    opened = []
    for epoch in (5, 6, 10):
        async with scene.centre(design=OneKey(), epoch=epoch) as (alice, _, operator, _):
            await alice.one("Centre/SubmitVoucher", [voucher(epoch, epoch=epoch)])
            (listed,) = (await operator.one("Centre/List", wire.ListRequest())).vouchers
            opened.append((listed.held, listed.opened))
    assert opened == [(1, 0), (2, 2), (3, 2)]


async def test_the_opener_is_tried_only_after_the_receipt_is_made_however_many_came_before(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it still shares the processor with the centre's other work, `shared-processor` shows."""
    order = list[str]()
    take = Vouchers.take
    tried = Pile.open

    async def taken(held: Vouchers, *given: Any) -> wire.Receipt:
        receipt = await take(held, *given)
        order.append("receipt")
        return receipt

    def opened(pile: Pile, *given: Any) -> Any:
        order.append("opener")
        return tried(pile, *given)

    monkeypatch.setattr(Vouchers, "take", taken)
    monkeypatch.setattr(Pile, "open", opened)
    async with scene.centre() as (alice, _, operator, _):
        for opens in (1, 2, 3, 0):
            await alice.one("Centre/SubmitVoucher", [voucher(opens)])
            await operator.one("Centre/List", wire.ListRequest())  # waits until it was tried
    assert order == ["receipt", "opener"] * 3 + ["receipt"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"design": "other"}, STATUS.UNIMPLEMENTED),
        ({"version": 2}, STATUS.UNIMPLEMENTED),
        ({"epoch": 4}, STATUS.FAILED_PRECONDITION),
        ({"body": Ask(b"x").encode(), "body_size": 6}, STATUS.INVALID_ARGUMENT),
        ({"body_size": 0}, STATUS.INVALID_ARGUMENT),
    ],
)
async def test_what_is_no_voucher_is_refused(scene: Scene, changes: dict[str, Any], code: STATUS) -> None:
    async with scene.centre() as (alice, _, operator, _):
        assert (await refused(alice.one("Centre/SubmitVoucher", [voucher(1, **changes)])))[0] is code
        assert (await refused(alice.one("Centre/SubmitVoucher", [voucher(255)])))[0] is (
            STATUS.INVALID_ARGUMENT
        )
        assert not (await operator.one("Centre/List", wire.ListRequest())).vouchers


def test_an_acknowledged_report_outlives_a_kill(scene: Scene) -> None:
    deployment = Deployment()
    report = scene.report()

    async def submit(port: int) -> None:
        async with deployment.client(ALICE, Party.CENTRE, port) as alice:
            await alice.one("Centre/Submit", submission(report.report_id, scene.seal(report)))

    with living(centre_life, Plan(scene.directory, deployment.credentials(CENTRE))) as at:
        assert at is not None
        run(submit(at))

    async def look() -> None:
        async with scene.centre(deployment) as (_, _, operator, _):
            (row,) = (await operator.one("Centre/List", wire.ListRequest())).reports
            assert (row.report_id, row.state, row.checks) == (report.report_id, "checked", "passed")

    run(look())


def test_a_centre_drains_on_sigterm_with_exit_code_0(scene: Scene) -> None:
    Deployment().credentials(CENTRE).write(scene.directory, "centre")
    with process("centre_process.py", scene.directory) as centre:
        port_of(scene.directory)
        centre.send_signal(signal.SIGTERM)
        _, log = centre.communicate(timeout=SECONDS)
        assert centre.returncode == exit_codes.OK
        assert b'"drained"' in log
        assert b"Traceback" not in log


async def test_a_server_that_has_the_picture_files_its_own_report_once_the_centre_can_be_reached(
    scene: Scene,
) -> None:
    deployment = Deployment()
    identity = Identity.of(Party.MATCHER)
    async with scene.centre(deployment) as (_, _, operator, port):
        address = CentreAddress(
            f"127.0.0.1:{port}", scene.keys.public_key, identity, deployment.credentials(identity), 0.05
        )
        dummy = Dummy()
        source = HeldSource(dummy, 5, {"setup": b"x"}, {ROLE: {"key": b"key of 5"}})
        config = MatchingConfig(dummy, source, scene.directory / "matcher", address)
        services = partial(open_matching, config)
        body = Ask(b"hit").encode()
        ask = wire.Envelope(
            design="dummy", version=3, epoch=5, role="matcher", body=body, request_id=b"r" * 16
        )
        async with (
            deployment.server(Party.MATCHER, services) as matcher_port,
            deployment.client(ALICE, Party.MATCHER, matcher_port) as alice,
        ):
            await alice.one("Matching/Exchange", ask)
            await alice.one("Matching/Exchange", replaced(ask, Ask(b"miss")))
            rows: list[Any] = []
            # a report that comes between the wait for checks and the reading is listed as received
            while not rows or rows[0].state == "received":
                rows = list((await operator.one("Centre/List", wire.ListRequest())).reports)
                await asyncio.sleep(0.05)
        (row,) = rows
        assert (row.reporter, row.design, row.entry_id) == ("matcher", "dummy", 7)
        detail = await operator.one("Centre/Show", wire.ShowRequest(report_id=row.report_id))
        assert (detail.sender, detail.recipient, detail.media_type) == ("alice", "", "image/png")
        assert (detail.height, detail.width) == (40, 60)
    ledger = MatcherStore(scene.directory / "matcher/ledger.sqlite")
    assert await ledger.next_filing() is None
    await ledger.close()


def replaced(envelope: wire.Envelope, ask: Ask) -> wire.Envelope:
    copy = wire.Envelope()
    copy.CopyFrom(envelope)
    copy.body = ask.encode()
    return copy


async def test_the_journal_can_only_grow(scene: Scene) -> None:
    async with scene.centre() as (alice, _, operator, _):
        await alice.one("Centre/Submit", submission(b"1" * 16, b"x"))
        await operator.one("Centre/List", wire.ListRequest())
    with closing(sqlite3.connect(scene.directory / "state/centre.sqlite")) as connection:
        states = [state for (state,) in connection.execute("SELECT state FROM journal ORDER BY number")]
        assert states == ["received", "checked"]
        for statement in ("DELETE FROM journal", "UPDATE journal SET state = 'confirmed'"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


def test_keys_are_made_once_and_read_strictly(tmp_path: Path) -> None:
    keys = CentreKeys.create(tmp_path)
    assert read_key(tmp_path / PUBLIC_KEY) == keys.public_key == CentreKeys.read(tmp_path).public_key
    assert keys.public_key.hex() not in repr(keys)
    for name in ("centre.key", "second-hash.key"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    with pytest.raises(StateError, match="already"):
        CentreKeys.create(tmp_path)
    for bad in (b"", b"zz\n", b"00" * 32, b"00" * 31 + b"\n"):
        (tmp_path / "centre.key").write_bytes(bad)
        with pytest.raises(StateError, match=r"centre\.key"):
            CentreKeys.read(tmp_path)


@pytest.mark.parametrize("damage", ["keys", "references", "database"])
def test_bad_files_stop_the_centre_with_an_exit_code_of_its_own(scene: Scene, damage: str) -> None:
    def spoil(path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"spoilt" * 1000)

    targets: dict[str, Callable[[], None]] = {
        "keys": lambda: spoil(scene.directory / "keys/centre.key"),
        "references": lambda: spoil(scene.references),
        "database": lambda: spoil(scene.directory / "state/centre.sqlite"),
    }
    targets[damage]()
    deployment = Deployment()
    config = CentreConfig(
        scene.directory / "state",
        scene.directory / "keys",
        references=scene.references,
    )
    listen = deployment.listen(Party.CENTRE)
    assert serve("centre", listen, partial(open_centre, config)) == exit_codes.BAD_STATE
    assert deployment.events("stopped")
