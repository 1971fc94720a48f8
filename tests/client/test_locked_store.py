"""A store that lies there locked: whoever takes its folder learns nothing of what came of its pictures."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from blindmatch_client.errors import StoreError
from blindmatch_client.messenger.account import Account
from blindmatch_client.reports.reporting import MOST_KEPT
from blindmatch_client.settings import Consequence
from blindmatch_client.store.outbox import Attached, MatchState, _encode_attached
from blindmatch_client.store.vault import Vault
from blindmatch_protocol.account_name import NOTICE_BYTES
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import Flag, Label, Match, NoMatch
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_protocol.messages.content import MEDIA_TYPE_MOST, AttachmentRef, compose
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from dummy_designs import ECHO
from support.fakes import down, hashes_with, picture

from .conftest import MakeWorld
from .test_cover import Scheduled
from .test_safety_numbers import bundle_of

LISTED = picture(1)
OTHER = picture(2)
Shape = dict[str, list[tuple[Any, ...]]]
NOW_MS = 10**12
"""Larger numbers are times, which tell when a message was queued and nothing else."""


def shape(folder: Path) -> Shape:
    """What can be seen without a key: every table's rows, of bytes their length; names of files; sizes."""
    path = folder / "device.sqlite"
    with closing(sqlite3.connect(path)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        rows = {name: db.execute(f"SELECT rowid, * FROM {name}").fetchall() for name in tables}  # noqa: S608
        seen: Shape = {name: [tuple(map(_seen, row)) for row in held] for name, held in rows.items()}
        pages = [db.execute(f"PRAGMA {one}").fetchone() for one in ("page_count", "freelist_count")]
    log = path.with_name(path.name + "-wal")
    files = sorted((one.stat().st_size,) for one in (folder / "attachments").iterdir())
    return {**seen, "pages": pages, "log": [(log.stat().st_size if log.exists() else 0,)], "files": files}


def _seen(value: Any) -> Any:
    return (
        len(value)
        if isinstance(value, bytes)
        else "a time"
        if isinstance(value, int) and value > NOW_MS
        else value
    )


def differing(one: Shape, other: Shape) -> list[tuple[str, Any, Any]]:
    return [(name, one[name], other[name]) for name in one if one[name] != other[name]]


@pytest.mark.parametrize("consequence", [Consequence.REPORT, Consequence.WARN, Consequence.REFUSE])
def test_stores_with_and_without_a_match_look_the_same(
    make_world: MakeWorld, consequence: Consequence
) -> None:
    def sending(*pictures: bytes) -> tuple[Shape, Shape]:
        """Before and after the user was shown what came of them."""
        world = make_world(DESIGN, hashes_with(LISTED))
        world.device("bob")
        alice = world.device("alice", consequence=consequence)
        sent = [alice.device.send_picture("bob", one) for one in pictures]
        assert [one.outcome == "match" for one in sent] == [one == LISTED for one in pictures]
        alice.device.close()
        before = shape(world.folder / "alice")
        alice = world.device("alice", fresh=False, consequence=consequence)
        alice.device.mark_shown(alice.device.outcomes())
        alice.device.close()
        return before, shape(world.folder / "alice")

    plain = sending(OTHER, OTHER, OTHER, OTHER)
    for pictures in ((OTHER, LISTED, OTHER, OTHER), (OTHER, LISTED, LISTED, LISTED)):
        for one, other in zip(plain, sending(*pictures), strict=True):
            assert differing(one, other) == []
    before, after = plain
    assert len(before["outgoing"]) == 4 and before["attached"] == before["voucher"] == []
    assert after["attached"] == after["outgoing"] == after["voucher"] == []


def test_nor_does_one_that_reported_on_a_schedule_and_whose_user_complained(make_world: MakeWorld) -> None:
    def keeping(data: bytes, complaint: str) -> Shape:
        scheduled = Scheduled(make_world(ECHO, hashes_with(LISTED)))
        sent = scheduled.alice.device.send_picture("bob", data)
        scheduled.slots(20)
        if sent.report_id is not None:
            assert scheduled.alice.device.standing().reports[0].received_at_ms > 0
            scheduled.alice.device.complaints.complain(sent.report_id, complaint)
        scheduled.alice.device.close()
        return shape(scheduled.world.folder / "alice")

    plain = keeping(OTHER, "")
    assert differing(plain, keeping(LISTED, "it is my own drawing")) == []


def test_while_a_message_waits_its_row_has_one_length_whatever_came_of_its_picture(
    make_world: MakeWorld,
) -> None:
    """To a group of which the relay takes one message: the outcome is known, and one still waits."""

    def waiting(data: bytes) -> Shape:
        world = make_world(DESIGN, hashes_with(LISTED))
        for name in ("bob", "carol"):
            world.device(name)
        alice = world.device("alice")
        alice.device.send_text_to(["bob", "carol"], "first")
        world.relay.fail_next(None, *[down()] * 20, method="Send")
        alice.device.send_picture_to(["bob", "carol"], data)
        alice.device.close()
        return shape(world.folder / "alice")

    plain = waiting(OTHER)
    matched = waiting(LISTED)
    assert len(plain["attached"]) == 1 and len(plain["outgoing"]) == 2, "one waits, one has ended"
    assert differing(plain, matched) == []


def test_a_notice_of_the_centre_s_leaves_no_trace_but_a_message_that_came(make_world: MakeWorld) -> None:
    """Whoever gets notices was reported; the centre's is the first peer of every device."""

    def peers(notices: int) -> list[int]:
        world = make_world(DESIGN, hashes_with(LISTED))
        alice = world.device("alice")
        centre = Account.create("centre-notices", 1, 4, bytes(range(32)))
        bundle = bundle_of(world.relay.keys["alice"])
        for number in range(notices):
            text = compose("n" * NOTICE_BYTES, (), 5, system_randomness())
            sealed = centre.encrypt("alice", text, bundle)
            named = {"sender": "centre-notices", "message_id": bytes([number] * 16)}
            came = pb.Delivery(sequence=number + 1, accepted_at_ms=1, sealed=sealed, **named)
            world.relay.queues["alice"].append(came)
        assert [one.problem for one in alice.device.receive()] == [""] * notices
        return [size for (size,) in alice.device._base.store.all("SELECT length(state) FROM peer")]

    assert peers(0) == peers(1) == peers(5)


def test_the_time_of_the_folder_of_attachments_is_when_the_device_came_to_rest(make_world: MakeWorld) -> None:
    world = make_world(DESIGN, hashes_with(LISTED))
    alice = world.device("alice").device
    folder = world.folder / "alice" / "attachments"
    for rest in (alice.receive, alice.flush, alice.close):
        os.utime(folder, (1, 1))
        rest()
        assert folder.stat().st_mtime > 1


OUTCOMES = (
    None,
    NoMatch(),
    Flag(0.5),
    Match(Label(bytes(32), 2**64 - 1, bytes(16))),
    Match(Label(b"h" * 32, 2**64 - 1, b"s" * 16, 1, 2**64 - 1, bytes(8 * 64))),
)


def test_a_sealed_outcome_has_one_length_with_the_most_that_can_be_known_of_it() -> None:
    vault = Vault(bytes(32))
    ref = AttachmentRef(bytes(32), bytes(32), bytes(32), 1, "m" * MEDIA_TYPE_MOST)
    made = [
        Attached(7, matching, file, one, outcome=outcome, epoch=2**64 - 1, matched_at_ms=2**64 - 1, owed=owed)
        for outcome in OUTCOMES
        for matching in MatchState
        for file in (None, "f" * 32)
        for one in (None, ref)
        for owed in (b"", bytes(16))
    ]
    assert len({len(vault.seal(_encode_attached(row), "attached.body", 7) or b"") for row in made}) == 1


@pytest.mark.parametrize("size", [0, 1, 254, 255, 256, 8191])
@pytest.mark.parametrize("last", [b"", b"\x80", b"\0", b"\x80\0\0"])
def test_a_padded_value_opens_as_it_was(size: int, last: bytes) -> None:
    vault = Vault(bytes(32))
    value = b"v" * size + last
    sealed = vault.seal(value, "meta.value", "x")
    assert sealed is not None and (len(sealed) - 40) % 256 == 0
    assert vault.unseal(sealed, "meta.value", "x") == value


def test_the_standing_of_reports_has_one_length_however_many_were_handed_in(make_world: MakeWorld) -> None:
    world = make_world(DESIGN, hashes_with(LISTED))
    world.device("bob")
    alice = world.device("alice").device
    lengths = set[tuple[int, ...]]()
    for _ in range(MOST_KEPT + 3):
        alice.send_picture("bob", LISTED)
        query = "SELECT length(value) FROM meta WHERE name IN ('reports', 'complaints') ORDER BY name"
        lengths.add(tuple(size for (size,) in alice._base.store.all(query)))
    reports = alice.standing().reports
    assert len(lengths) == 1 and len(reports) == MOST_KEPT and all(one.received_at_ms for one in reports)


def test_a_report_that_waits_is_a_file_and_one_that_was_altered_is_not_handed_in(
    make_world: MakeWorld,
) -> None:
    world = make_world(DESIGN, hashes_with(LISTED))
    world.device("bob")
    alice = world.device("alice")
    world.centre.fail_always(down(), "Submit")
    alice.device.send_picture("bob", LISTED)
    (file,) = (world.folder / "alice" / "attachments").iterdir()
    sealed = file.read_bytes()
    alice.device.close()
    alice = world.device("alice", fresh=False)
    world.centre.heal()
    world.centre.sealed.clear()
    file.write_bytes(sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(StoreError, match="altered"):
        alice.device.flush()
    assert world.centre.sealed == []
    file.write_bytes(sealed)
    assert alice.device.flush().waiting == 0 and not file.exists()
    assert [body for _, body in world.centre.sealed] == [sealed]
