"""What follows from a match is the device's configuration, not the design's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from blindmatch_client.device import OutcomeKind
from blindmatch_client.settings import (
    COMPLAINT_FACTS,
    MATCH_TIME,
    NOTICE_TIME,
    OUTCOME,
    REPORT,
    Consequence,
    FailureMode,
    list_device_facts,
)
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_protocol.designs.device_list import DESIGN as DEVICE_LIST
from blindmatch_protocol.designs.none import DESIGN as NONE
from blindmatch_protocol.designs.oprf_psi import DESIGN as OPRF_PSI
from blindmatch_protocol.designs.threshold_near import DESIGN as THRESHOLD_NEAR
from blindmatch_protocol.designs.threshold_psi import DESIGN as THRESHOLD_PSI
from dummy_designs import BRIGHT, ECHO, VOUCHERS, Failing
from support.fakes import World, down, hashes_with, picture

from .test_category import plain

LISTED = picture(1)
OTHER = picture(2)
MakeWorld = Callable[..., World]


@pytest.mark.parametrize("design", [ECHO, OPRF_PSI], ids=lambda one: one.info.name)
def test_a_device_that_warns_delivers_and_nothing_else_leaves(make_world: MakeWorld, design: object) -> None:
    world = make_world(design, hashes_with(LISTED))
    bob = world.device("bob")
    alice = world.device("alice", consequence=Consequence.WARN)
    sent = alice.device.send_picture("bob", LISTED)
    assert sent.outcome is OutcomeKind.MATCH and sent.delivered and sent.report_id is None
    assert "warn you" in sent.notice and "not reported" in sent.notice
    alice.device.flush()
    assert alice.methods(Party.CENTRE) == ["Key"] and world.centre.reports == []
    assert bob.device.receive()[0].pictures == (LISTED,)


@pytest.mark.parametrize("design", [ECHO, OPRF_PSI], ids=lambda one: one.info.name)
def test_a_device_that_refuses_sends_what_does_not_match_alone(make_world: MakeWorld, design: object) -> None:
    world = make_world(design, hashes_with(LISTED))
    bob = world.device("bob")
    carol = world.device("carol")
    alice = world.device("alice", consequence=Consequence.REFUSE)
    before = len(alice.methods(Party.PROVIDER))
    for sent in alice.device.send_picture_to(["bob", "carol"], LISTED):
        assert sent.outcome is OutcomeKind.MATCH and not sent.delivered and sent.report_id is None
        assert "was not sent" in sent.notice and "not reported" in sent.notice
    assert len(alice.methods(Party.PROVIDER)) == before, "nothing of it reached the relay"
    assert alice.device.flush().messages == () and alice.methods(Party.CENTRE) == ["Key"]
    assert not list((world.folder / "alice" / "attachments").iterdir())
    assert alice.device.send_picture("bob", OTHER).delivered
    assert [one.pictures for one in bob.device.receive()] == [(OTHER,)] and carol.device.receive() == []


def test_a_refused_picture_stays_refused_after_a_restart(make_world: MakeWorld) -> None:
    world = make_world(ECHO, hashes_with(LISTED))
    world.device("bob")
    alice = world.device("alice", consequence=Consequence.REFUSE)
    world.matcher.fault = lambda method: (_ for _ in ()).throw(down())
    assert alice.device.send_picture("bob", LISTED).outcome is OutcomeKind.DUE
    alice.device.close()
    world.matcher.fault = lambda method: None
    again = world.device("alice", fresh=False, consequence=Consequence.REFUSE)
    (sent,) = again.device.flush().messages
    assert sent.outcome is OutcomeKind.MATCH and not sent.delivered and world.relay.calls.count("Send") == 0


def test_a_picture_whose_outcome_cannot_be_worked_out_is_not_sent_by_a_device_that_refuses(
    make_world: MakeWorld,
) -> None:
    world = make_world(Failing("none"), hashes_with(LISTED))
    world.device("bob")
    alice = world.device("alice", consequence=Consequence.REFUSE)
    world.design.step = "receive"  # type: ignore[attr-defined]
    assert not alice.device.send_picture("bob", LISTED).delivered
    assert world.relay.calls.count("Send") == 0


def test_a_flag_can_be_refused(make_world: MakeWorld) -> None:
    world = make_world(BRIGHT, hashes_with())
    world.device("bob")
    alice = world.device("alice", consequence=Consequence.REFUSE)
    dark, bright = (alice.device.send_picture("bob", plain(level)) for level in (20, 240))
    assert (dark.delivered, bright.delivered, bright.outcome) == (True, False, OutcomeKind.FLAG)


@pytest.mark.parametrize(
    ("design", "consequence", "mode"),
    [
        (VOUCHERS, Consequence.WARN, FailureMode.HOLD),
        (VOUCHERS, Consequence.REFUSE, FailureMode.HOLD),
        (ECHO, Consequence.REFUSE, FailureMode.SEND_AND_MATCH_LATER),
        (ECHO, Consequence.REFUSE, FailureMode.SEND_UNMATCHED),
    ],
)
def test_a_consequence_that_cannot_follow_is_refused(
    make_world: MakeWorld, design: object, consequence: Consequence, mode: FailureMode
) -> None:
    with pytest.raises(DesignError, match="consequence"):
        make_world(design, hashes_with()).device("alice", consequence=consequence, mode=mode)


def test_what_a_consequence_discloses_is_declared() -> None:
    report, warn, refuse = (list_device_facts(consequence=one) for one in Consequence)
    assert OUTCOME in refuse[Party.PROVIDER]
    assert OUTCOME not in (*report[Party.PROVIDER], *warn[Party.PROVIDER])
    assert REPORT in report[Party.CENTRE]
    assert REPORT not in (*warn[Party.CENTRE], *refuse[Party.CENTRE])
    silent = list_device_facts(info=DEVICE_LIST.info, consequence=Consequence.REFUSE)
    assert OUTCOME not in silent[Party.PROVIDER], "nobody sees that a picture was looked at"


def test_where_nothing_is_matched_nobody_learns_of_reports() -> None:
    told = [fact for facts in list_device_facts(info=NONE.info).values() for fact in facts]
    assert not {REPORT, MATCH_TIME, NOTICE_TIME, OUTCOME} & set(told)
    assert {REPORT, MATCH_TIME, NOTICE_TIME} < {
        fact for facts in list_device_facts(info=OPRF_PSI.info).values() for fact in facts
    }


@pytest.mark.parametrize("design", [THRESHOLD_PSI, THRESHOLD_NEAR], ids=lambda one: one.info.name)
def test_where_vouchers_leave_for_every_picture_no_time_tells_of_a_match(design: AnyDesign) -> None:
    """A device of these designs makes no report: none leaves at a match, no notice follows, no complaint."""
    by_party = list_device_facts(info=design.info)
    told = {fact for facts in by_party.values() for fact in facts}
    about_reports = {MATCH_TIME, NOTICE_TIME, *(fact for facts in COMPLAINT_FACTS.values() for fact in facts)}
    assert not about_reports & told
    assert REPORT in by_party[Party.CENTRE], "what it opens shows it the picture"
