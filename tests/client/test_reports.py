"""Reports: of confirmed matches alone, once each, and never lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from blindmatch_client.device import DeviceConfig, OutcomeKind
from blindmatch_client.errors import MisbehavedError, ReportRefusedError
from blindmatch_client.messenger.account import Account
from blindmatch_client.messenger.state import AccountKeeper
from blindmatch_client.reports.reporting import ConfirmedMatch, Reporting
from blindmatch_client.settings import Base, FailureMode
from blindmatch_client.store.outbox import Outgoing, SendState
from blindmatch_client.store.store import Store
from blindmatch_client.store.store_file import Files
from blindmatch_proofs.franking import verify_opening, verify_stamp
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import Label, Match, NoMatch, Outcome, Party, Undisclosed, Voucher
from blindmatch_protocol.designs.oprf_psi import OprfPsi
from blindmatch_protocol.messages.parts import AttachmentError
from blindmatch_protocol.messages.sealed_message import SealedMessage
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from dummy_designs import ECHO, SHARES, VOUCHERS, Sealed
from msgspec.structs import replace
from support.fakes import STAMP_KEY, World, down, hashes_with, picture, poor_picture
from support.signed import CURATOR

LISTED = picture(1)
OTHER = picture(2)
HASHES = hashes_with(LISTED)
MINE = Picture.from_bytes(LISTED).hash
MakeWorld = Callable[..., World]


def label(entry_hash: bytes) -> Label:
    return Label(entry_hash, 1, bytes(16))


def flipped(bits: int) -> bytes:
    return (int.from_bytes(MINE, "big") ^ ((1 << bits) - 1)).to_bytes(32, "big")


OUTCOMES: list[Outcome] = [NoMatch(), Undisclosed(), Voucher(Sealed(MINE, 100)), Match(label(flipped(32)))]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_what_is_no_confirmed_match_cannot_become_a_report(outcome: Outcome) -> None:
    with pytest.raises(ReportRefusedError, match="report refused"):
        ConfirmedMatch(ECHO, 1, Picture.from_bytes(LISTED), 0, outcome)


def test_the_distance_that_confirms_is_the_designs_own() -> None:
    near = Match(label(flipped(31)))
    assert ConfirmedMatch(ECHO, 1, Picture.from_bytes(LISTED), 0, near).label == near.label
    with pytest.raises(ReportRefusedError):
        ConfirmedMatch(SHARES, 1, Picture.from_bytes(LISTED), 0, near)


def test_a_picture_of_poor_quality_is_never_reported() -> None:
    poor = Picture.from_bytes(poor_picture())
    with pytest.raises(ReportRefusedError):
        ConfirmedMatch(ECHO, 1, poor, 0, Match(label(poor.hash)))


class Filtered(OprfPsi):
    """oprf-psi with sets of kind filter."""

    info = replace(
        OprfPsi.info,
        parameters=tuple(
            replace(one, default=1) if one.name == "filter" else one for one in OprfPsi.info.parameters
        ),
    )


def test_a_match_that_a_filter_alone_says_never_leads_to_a_report_and_says_so(make_world: MakeWorld) -> None:
    """Without the rule the device would report it, under an entry that no list has."""
    world = make_world(Filtered(), HASHES)
    world.device("bob")
    alice = world.device("alice")
    sent = alice.device.send_picture("bob", LISTED)
    assert sent.delivered and sent.outcome is OutcomeKind.UNCONFIRMED and sent.report_id is None
    assert "matches by a filter alone" in sent.notice and "not reported" in sent.notice
    assert alice.device.flush().waiting == 0 and "Submit" not in alice.methods()
    unconfirmed = Match(Label(MINE, 2**64 - 1, bytes(16)))
    with pytest.raises(ReportRefusedError, match="a filter alone"):
        ConfirmedMatch(Filtered(), 1, Picture.from_bytes(LISTED), 0, unconfirmed)


@dataclass
class Bench:
    """Reporting without messages."""

    reporting: Reporting
    store: Store


@pytest.fixture
def bench(make_world: MakeWorld, tmp_path: Path) -> Iterator[Bench]:
    world = make_world(ECHO, HASHES)
    folder = tmp_path / "bench"
    folder.mkdir()
    store = Store(folder, create=True)
    alice = world.device("alice")
    egress = world.egress("alice", alice.recorder, [])
    config = DeviceConfig("alice", ECHO, CURATOR.public)
    base = Base(folder, config, store, egress, system_randomness(), lambda: 1, lambda trace: None)
    yield Bench(Reporting(base, AccountKeeper(store, Account.create("alice", 0)), Files(folder)), store)
    egress.close()
    store.close()


def test_without_the_centres_key_a_report_is_refused_and_not_asked_for_then(bench: Bench) -> None:
    confirmed = ConfirmedMatch(ECHO, 1, Picture.from_bytes(LISTED), 0, Match(label(MINE)))
    with pytest.raises(ReportRefusedError, match="configured without the centre's key"):
        bench.reporting.queue(confirmed, Outgoing(0, bytes(16), 1, SendState.SENT, "bob"), LISTED, 1)
    assert bench.reporting.count_waiting() == 0


def test_no_report_is_made_of_a_picture_that_was_altered_on_the_disk(make_world: MakeWorld) -> None:
    """Nobody gets it then, so a report would say what did not happen."""
    world = make_world(ECHO, HASHES)
    bob = world.device("bob")
    alice = world.device("alice")

    def altered(method: str) -> None:
        if method.startswith("Exchange"):
            for path in (one for one in (world.folder / "alice").rglob("*") if len(one.name) == 32):
                raw = bytearray(path.read_bytes())
                raw[40] ^= 1
                path.write_bytes(raw)

    world.matcher.fault = altered
    with pytest.raises(AttachmentError):
        alice.device.send_picture("bob", LISTED)
    (got,) = bob.device.receive()
    assert "is not the one that the message names" in got.problem
    assert world.centre.reports == []


def test_what_is_matched_and_reported_is_what_the_caller_gave_then(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    bob = world.device("bob")
    alice = world.device("alice")
    given = bytearray(LISTED)

    def changed(method: str) -> None:
        given[-20:] = bytes(20)

    world.matcher.fault = changed
    assert alice.device.send_picture("bob", given).reported
    (got,) = bob.device.receive()
    assert got.pictures == (LISTED,)
    assert [report.picture for report in world.centre.reports] == [LISTED]


def test_every_device_compares_the_centres_key_when_it_registers(make_world: MakeWorld) -> None:
    alice = make_world(ECHO, HASHES).device("alice")
    assert alice.methods() == ["Describe", "FetchSetup", "Register", "Key"]


def test_another_key_of_the_centre_is_refused_and_nothing_is_sealed_to_it(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice")
    mine = world.centre.key
    world.centre.key = X25519PrivateKey.generate()
    with pytest.raises(MisbehavedError, match="must be the one this device was configured with"):
        alice.device.register()
    assert alice.device.send_picture("bob", LISTED).reported
    world.centre.key = mine
    assert len(world.centre.reports) == 1


def test_a_report_holds_what_the_centre_needs_to_check_it(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    bob = world.device("bob")
    alice = world.device("alice")
    sent = alice.device.send_picture("bob", LISTED, "look")
    (report,) = world.centre.reports
    (opening,) = report.opening
    assert verify_opening(report.evidence) == Passed()
    (handed_over,) = [r for r in alice.recorder.records() if r.method.endswith("/Send")]
    message = SealedMessage.decode(pb.SendRequest.FromString(handed_over.requests[0]).sealed)
    assert message.commitment == opening.commitment and b"look" not in report.encode()
    assert (report.reporter, report.sender, report.recipient) == ("alice", "alice", "bob")
    assert (report.report_id, report.picture, report.media_type) == (sent.report_id, LISTED, "image/png")
    assert report.label.entry_hash == MINE and report.design == "dummy-echo"
    assert bob.device.receive()[0].pictures == (LISTED,)


def test_the_user_is_told_of_a_report_in_plain_words(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    sent = world.device("alice").device.send_picture("bob", LISTED)
    assert sent.report_id is not None
    assert "reported it to the centre" in sent.notice and sent.report_id.hex() in sent.notice
    assert "complain" in sent.notice and MINE.hex() not in sent.notice


def test_a_report_leaves_only_after_the_message_and_only_for_a_match(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice")
    alice.device.send_picture("bob", OTHER)
    alice.device.send_picture("bob", LISTED)
    methods = alice.methods()
    assert methods.count("Submit") == 1 and methods[-1] == "Submit" and methods[-2] == "Send"
    assert [r.item for r in alice.recorder.records() if r.party == Party.CENTRE] == [None, 1]


def test_a_report_that_could_not_leave_survives_a_restart_with_its_id(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice")
    world.centre.fail_always(down())
    sent = alice.device.send_picture("bob", LISTED)
    assert sent.delivered and not sent.reported and "as soon as the centre can be reached" in sent.notice
    alice.device.close()
    again = world.device("alice", fresh=False)
    assert again.device.flush().waiting == 1
    world.centre.heal()
    assert again.device.flush().waiting == 0
    assert {name for name, _ in world.centre.sealed} == {sent.report_id} and len(world.centre.reports) == 1
    assert again.device.flush().problems == () and again.methods().count("Submit") == 3 + 1


def test_a_report_whose_receipt_was_lost_is_handed_in_again_with_the_same_bytes(
    make_world: MakeWorld,
) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice")
    world.centre.fail_next(down(), method="Submit")  # the fake keeps the report and fails then
    assert alice.device.send_picture("bob", LISTED).reported
    first, second = world.centre.sealed
    assert first == second and len(world.centre.reports) == 1


def test_a_receipt_for_another_report_is_not_taken(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice")
    world.centre.receipt_id = bytes(range(16))
    assert not alice.device.send_picture("bob", LISTED).reported
    assert "a receipt names what was handed in" in alice.device.flush().problems[0]


def test_vouchers_that_could_not_leave_wait_too(make_world: MakeWorld) -> None:
    world = make_world(VOUCHERS, HASHES)
    world.device("bob")
    alice = world.device("alice")
    world.centre.fail_always(down())
    assert alice.device.send_picture("bob", LISTED).delivered
    world.centre.heal()
    assert alice.device.flush().waiting == 0 and len(world.centre.vouchers) == 1


@pytest.mark.parametrize("people", [1, 5, 30])
def test_a_picture_to_a_group_is_asked_about_once_and_its_report_names_nobody_who_got_it(
    make_world: MakeWorld, people: int
) -> None:
    """One report named whoever was reached first, as if the others had not got it."""
    world = make_world(ECHO, HASHES)
    group = [f"friend_{number}" for number in range(people)]
    for name in group:
        world.device(name)
    sent = world.device("alice").device.send_picture_to(group, LISTED)
    assert all(one.delivered and one.outcome is OutcomeKind.MATCH for one in sent)
    assert len(world.matcher.asked) == 3, "the design's rounds, once"
    assert world.relay.calls.count("Upload") == 1
    (report,) = world.centre.reports
    assert (report.sender, report.recipient) == ("alice", group[0] if people == 1 else "")
    for name in group:
        assert (name.encode() in report.encode()) is (people == 1)
        assert ("your name alone and the time" in sent[0].notice) is (people > 1)
    (opening,) = report.opening
    (stamp,) = report.stamp
    assert verify_opening(report.evidence) == Passed()
    assert verify_stamp(stamp, opening.commitment, "alice", report.recipient, STAMP_KEY) == Passed()
    other = "" if people == 1 else group[0]
    assert verify_stamp(stamp, opening.commitment, "alice", other, STAMP_KEY) != Passed()
    assert verify_opening(replace(report, recipient=other).evidence) != Passed()


def test_a_group_of_which_one_alone_can_be_reached_is_nobodys_group(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    refused, sent = world.device("alice").device.send_picture_to(["nobody", "bob"], LISTED)
    assert not refused.delivered and sent.outcome is OutcomeKind.MATCH
    (report,) = world.centre.reports
    assert report.recipient == "", "it was asked about for both"


def test_a_group_is_not_named_after_a_restart_either(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    for name in ("bob", "carol"):
        world.device(name)
    alice = world.device("alice")
    world.relay.fail_always(down())
    alice.device.send_picture_to(["bob", "carol"], LISTED)
    alice.device.close()
    world.relay.heal()
    world.device("alice", fresh=False).device.flush()
    (report,) = world.centre.reports
    assert report.recipient == "" and len(report.stamp) == 1


def test_of_a_group_whose_others_are_done_with_the_last_is_not_named(make_world: MakeWorld) -> None:
    """How many wait says nothing about how many were sent it: who is left would be named alone."""
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice", mode=FailureMode.SEND_AND_MATCH_LATER)
    world.matcher.fail_always(down())
    alice.device.send_picture_to(["nobody", "bob"], LISTED)
    alice.device.close()
    world.matcher.heal()
    world.device("alice", fresh=False).device.flush()
    (report,) = world.centre.reports
    assert report.recipient == "" and len(report.stamp) == 1
