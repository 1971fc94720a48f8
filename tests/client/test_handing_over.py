"""The relay has a message before anybody on the device looks at what came of its picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blindmatch_client.device import OutcomeKind
from blindmatch_client.epochs.trusted import Doubt
from blindmatch_client.settings import FailureMode
from blindmatch_protocol import failpoint
from blindmatch_protocol.codec.errors import PictureError
from blindmatch_protocol.contract import Match, NoMatch, Outcome, Party
from blindmatch_protocol.designs.oprf_psi import Reply
from blindmatch_protocol.designs.oprf_psi.design import OprfPsi
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from dummy_designs import ECHO
from support.fakes import Fail, Owned, World, down, hashes_with, picture

LISTED = picture(1)
OTHER = picture(2)
HASHES = hashes_with(LISTED)
MakeWorld = Callable[..., World]


class Watched(OprfPsi):
    """oprf-psi, which notes what the relay had got whenever an outcome is looked at."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.seen: list[list[str]] = []
        self.broken = False

    def conclude(self, session: Any, setup: Any) -> Outcome:
        self.seen.append([call for call in self.calls if call in ("Upload", "Send")])
        if self.broken:
            raise ValueError("a design that breaks its contract")
        return super().conclude(session, setup)


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    design = Watched()
    made = make_world(design, HASHES)
    design.calls = made.relay.calls
    made.device("bob")
    made.device("carol")
    return made


def design_of(world: World) -> Watched:
    assert isinstance(world.design, Watched)
    return world.design


def outcomes(owned: Owned) -> list[type[Outcome] | None]:
    return [None if trace.outcome is None else type(trace.outcome) for trace in owned.traces]


@pytest.mark.parametrize("mode", FailureMode)
def test_an_outcome_is_looked_at_after_the_relay_has_the_message(world: World, mode: FailureMode) -> None:
    alice = world.device("alice", mode=mode)
    sent = [alice.device.send_picture("bob", data) for data in (LISTED, OTHER)]
    assert design_of(world).seen == [["Upload", "Send"], ["Upload", "Send"] * 2]
    assert [one.outcome for one in sent] == [OutcomeKind.MATCH, OutcomeKind.NO_MATCH]
    assert sent[0].reported and outcomes(alice) == [Match, NoMatch]


def test_in_a_group_everybody_has_it_before(world: World) -> None:
    alice = world.device("alice")
    sent = alice.device.send_picture_to(["bob", "carol"], LISTED)
    assert design_of(world).seen == [["Upload", "Send", "Send"]]
    assert [one.outcome for one in sent] == [OutcomeKind.MATCH] * 2
    assert len(world.matcher.asked) == len(world.centre.reports) == 1


def test_what_waited_for_the_relay_is_handed_over_before_any_of_it_and_asked_once(world: World) -> None:
    alice = world.device("alice")
    world.relay.fail_always(down())
    waiting = [alice.device.send_picture("bob", data) for data in (LISTED, OTHER)]
    assert design_of(world).seen == [] and {one.outcome for one in waiting} == {OutcomeKind.DUE}
    world.relay.heal()
    done = alice.device.flush()
    assert [one.outcome for one in done.messages] == [OutcomeKind.MATCH, OutcomeKind.NO_MATCH]
    assert [seen.count("Send") for seen in design_of(world).seen] == [2, 2]
    assert len(world.matcher.asked) == 2 and len(world.centre.reports) == 1


def test_files_that_are_sent_together_are_all_handed_over_first(world: World, tmp_path: Path) -> None:
    alice = world.device("alice")
    paths = [tmp_path / name for name in ("listed.png", "other.png", "none.txt")]
    for path, data in zip(paths, (LISTED, OTHER, b"no picture"), strict=True):
        path.write_bytes(data)
    with pytest.raises(PictureError, match=r"none\.txt: "):
        alice.device.send_files(["bob"], paths)
    assert alice.device.standing().messages == 0
    sent = alice.device.send_files(["bob", "nobody"], paths[:2])
    assert [one.delivered for one in sent] == [True, False] * 2
    assert [one.outcome for one in sent[::2]] == [OutcomeKind.MATCH, OutcomeKind.NO_MATCH]
    assert [seen.count("Send") for seen in design_of(world).seen] == [2, 2]
    left = [m for m in alice.methods() if m in ("Exchange", "Send", "Submit")]
    assert left == ["Exchange", "Send"] * 2 + ["Submit"]


def test_files_that_are_sent_together_leave_the_offline_phase_done(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    world = make_world(ECHO, HASHES)
    path = tmp_path / "other.png"
    path.write_bytes(OTHER)
    world.device("bob")
    alice = world.device("alice")
    for _ in range(5):
        alice.device.send_files(["bob"], [path])
    assert [trace.tape for trace in alice.traces] == [b""] * 5, "a ticket made before is used each time"


def test_while_the_matcher_is_down_one_of_several_files_is_asked_about(world: World, tmp_path: Path) -> None:
    alice = world.device("alice", mode=FailureMode.SEND_AND_MATCH_LATER)
    paths = [tmp_path / f"{name}.png" for name in range(3)]
    for path, data in zip(paths, (LISTED, OTHER, LISTED), strict=True):
        path.write_bytes(data)
    world.matcher.fail_always(down())
    sent = alice.device.send_files(["bob"], paths)
    assert [(one.delivered, one.outcome) for one in sent] == [(True, OutcomeKind.DUE)] * 3
    assert all("sent all the same" in one.notice for one in sent)
    assert len({one.epoch for one in world.matcher.asked}) == 1 and len(alice.traces) == 1


def test_a_report_leaves_after_every_message_that_waited(world: World) -> None:
    alice = world.device("alice")
    world.relay.fail_always(down())
    for data in (LISTED, OTHER):
        alice.device.send_picture("bob", data)
    world.relay.heal()
    alice.device.flush()
    left = [m for m in alice.methods() if m in ("Send", "Submit")]
    assert left[-3:] == ["Send", "Send", "Submit"]


def test_a_bad_reply_still_holds_the_picture(world: World) -> None:
    def spoilt(reply: pb.Envelope) -> pb.Envelope:
        honest = Reply.decode(reply.body)
        reply.body = Reply(
            honest.epoch, honest.evaluated, honest.proof[:-1] + bytes([honest.proof[-1] ^ 1])
        ).encode()
        return reply

    alice = world.device("alice")
    world.matcher.alter = spoilt
    sent = alice.device.send_picture("bob", LISTED)
    assert not sent.delivered and sent.outcome is OutcomeKind.DUE and alice.device.distrust
    assert "Send" not in world.relay.calls and design_of(world).seen == []


@pytest.mark.parametrize("mode", FailureMode)
def test_a_device_that_dies_before_it_looks_asks_again_and_sends_nothing_twice(
    world: World, mode: FailureMode
) -> None:
    class Died(BaseException):
        pass

    def die(name: str) -> None:
        if name == "device.conclude.before":
            raise Died

    alice = world.device("alice", mode=mode)
    failpoint.arm(die)
    try:
        with pytest.raises(Died):
            alice.device.send_picture("bob", LISTED)
    finally:
        failpoint.disarm()
    assert "Send" in world.relay.calls and design_of(world).seen == []
    again = world.device("alice", fresh=False, mode=mode)
    (later,) = again.device.flush().messages
    assert later.outcome is OutcomeKind.MATCH and later.reported
    assert world.relay.calls.count("Send") == 1 and len(world.matcher.asked) == 2
    assert len(world.centre.reports) == 1 and len(world.devices[0].receive()) == 1
    assert again.device.flush().messages == ()


def test_a_design_that_cannot_conclude_has_delivered_and_stays_due(world: World) -> None:
    alice = world.device("alice")
    design_of(world).broken = True
    sent = alice.device.send_picture("bob", LISTED)
    assert sent.delivered and sent.outcome is OutcomeKind.DUE
    assert "failed in conclude" in sent.notice and "sent all the same" in sent.notice
    assert outcomes(alice) == [None]
    design_of(world).broken = False
    (still,) = alice.device.flush().messages
    assert still.outcome is OutcomeKind.DUE and len(world.matcher.asked) == 1, "failed for all"
    alice.device.forgive(Doubt.ROLES)
    (later,) = alice.device.flush().messages
    assert later.outcome is OutcomeKind.MATCH and outcomes(alice) == [None, Match]


def test_a_message_the_relay_never_takes_leaves_a_whole_trace(world: World) -> None:
    alice = world.device("alice")
    refused, sent = alice.device.send_picture_to(["nobody", "bob"], LISTED)
    assert not refused.delivered and sent.delivered and sent.outcome is OutcomeKind.MATCH
    with pytest.raises(Exception, match="no such account"):
        alice.device.send_picture("nobody", OTHER)
    assert outcomes(alice) == [Match, NoMatch] and alice.device.flush().messages == ()


def test_what_was_asked_and_not_handed_over_is_in_the_traces_of_a_device_that_closes(world: World) -> None:
    alice = world.device("alice")
    world.relay.fail_always(down())
    alice.device.send_picture("bob", LISTED)
    alice.device.close()
    assert outcomes(alice) == [None] and len(alice.traces[0].rounds) == 1


def test_a_server_that_learns_has_told_before_the_message_leaves(make_world: MakeWorld) -> None:
    world = make_world(ECHO, HASHES)
    world.device("bob")
    alice = world.device("alice")
    world.relay.fail_always(Fail(down().code), method="Upload")
    sent = alice.device.send_picture("bob", LISTED)
    assert not sent.delivered and sent.outcome is OutcomeKind.MATCH
    assert not alice.methods(Party.CENTRE).count("Submit")
