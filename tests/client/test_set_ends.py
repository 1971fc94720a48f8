"""A set-up that must not be used any more, evaluations that are used up, and steps on all cores."""

from __future__ import annotations

import grpc
from blindmatch_client.messages.messages import OutcomeKind
from blindmatch_client.settings import FailureMode
from blindmatch_protocol.contract import Party
from blindmatch_protocol.contract.publishing import Executor
from dummy_designs import Echo
from support.fakes import Fail, picture, publish

from .conftest import MakeWorld
from .test_detection import HASHES, LISTED

LONG_AGO = 1_000_000_000
FAR_AHEAD = 4_000_000_000


class Ending(Echo):
    """ECHO whose sets end, by their epoch; it notes what its steps may be spread over."""

    def __init__(self, ends: dict[int, int]) -> None:
        self.ends = ends
        self.executors: list[Executor] = []

    def expires(self, setup: int) -> int | None:
        return self.ends.get(setup)

    def with_executor(self, setup: int, executor: Executor) -> int:
        self.executors.append(executor)
        return setup


def test_with_a_set_that_has_ended_nobody_is_asked_and_the_picture_waits(make_world: MakeWorld) -> None:
    world = make_world(Ending({1: LONG_AGO}), HASHES)
    world.device("bob")
    alice = world.device("alice", mode=FailureMode.HOLD)
    sent = alice.device.send_picture("bob", LISTED)
    assert not sent.delivered and sent.outcome is OutcomeKind.DUE
    assert "the set of epoch 1 ended at 2001-09-09 01:46:40 UTC" in sent.notice
    assert "waits on this device" in sent.notice
    assert world.matcher.asked == [] and "Send" not in alice.methods(Party.PROVIDER)
    assert alice.device.distrust is None, "nobody cheated"


def test_a_newer_set_takes_the_place_of_one_that_has_ended(make_world: MakeWorld) -> None:
    design = Ending({1: LONG_AGO, 2: FAR_AHEAD})
    world = make_world(design, HASHES)
    world.device("bob")
    alice = world.device("alice", mode=FailureMode.HOLD)
    alice.device.send_picture("bob", LISTED)
    world.matcher.epoch = publish(design, HASHES, 2)
    (later,) = alice.device.flush().messages
    assert later.delivered and later.reported and alice.device.epoch == 2
    assert {envelope.epoch for envelope in world.matcher.asked} == {2}


def test_a_set_that_has_not_ended_is_used_as_any(make_world: MakeWorld) -> None:
    world = make_world(Ending({1: FAR_AHEAD}), HASHES)
    world.device("bob")
    assert world.device("alice").device.send_picture("bob", LISTED).outcome is OutcomeKind.MATCH


def test_evaluations_that_are_used_up_hold_the_picture_and_say_so(make_world: MakeWorld) -> None:
    world = make_world(Echo(), HASHES)
    world.device("bob")
    alice = world.device("alice", mode=FailureMode.HOLD)
    rule = "this account has used 24 of the 24 evaluations allowed in this key's life"
    world.matcher.fail_always(Fail(grpc.StatusCode.RESOURCE_EXHAUSTED, rule), "Exchange")
    sent = alice.device.send_picture("bob", picture(3))
    assert not sent.delivered and sent.outcome is OutcomeKind.DUE
    assert rule in sent.notice and "waits on this device" in sent.notice
    assert alice.device.distrust is None
    world.matcher.heal()
    assert alice.device.flush().messages[0].delivered


def test_a_design_s_steps_get_threads_to_be_spread_over(make_world: MakeWorld) -> None:
    design = Ending({})
    alice = make_world(design, HASHES).device("alice")
    assert [list(executor.map(abs, [-1, 2])) for executor in design.executors] == [[1, 2]]
    alice.device.refresh()
    assert len(design.executors) == 1, "the same set is not opened again"
