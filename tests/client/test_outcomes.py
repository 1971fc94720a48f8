"""What came of messages is kept until whoever shows it says that it was shown."""

from __future__ import annotations

import pytest
from blindmatch_client.device import Consequence, OutcomeKind
from blindmatch_client.errors import RefusedError
from blindmatch_client.reports import reporting
from blindmatch_client.settings import FailureMode, Unreadable
from blindmatch_client.store import ended
from blindmatch_client.store.ended import BLOCK, WORDS_MOST, Ended, EndState, _encode
from blindmatch_protocol.designs.oprf_psi import DESIGN
from support.fakes import Owned, World, down, hashes_with, picture

from .conftest import MakeWorld

LISTED = picture(1)
OTHER = picture(2)


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    made = make_world(DESIGN, hashes_with(LISTED))
    for name in ("bob", "carol"):
        made.device(name)
    return made


def reopened(world: World, owned: Owned, **config: object) -> Owned:
    """The device, opened again as after its process was killed."""
    return world.device(owned.device.account, fresh=False, **config)


@pytest.mark.parametrize("consequence", Consequence)
def test_an_outcome_is_there_after_every_restart_until_it_was_shown(
    world: World, consequence: Consequence
) -> None:
    alice = world.device("alice", consequence=consequence)
    sent = alice.device.send_picture("bob", LISTED)
    for _ in range(2):
        alice = reopened(world, alice, consequence=consequence)
        assert alice.device.outcomes() == [sent] and sent.notice
    alice.device.mark_shown([sent])
    assert alice.device.outcomes() == []
    assert reopened(world, alice, consequence=consequence).device.outcomes() == []


def test_a_message_that_has_not_ended_cannot_be_forgotten(world: World) -> None:
    alice = world.device("alice")
    world.matcher.fail_always(down())
    sent = alice.device.send_picture("bob", LISTED)
    assert sent.outcome is OutcomeKind.DUE and alice.device.outcomes() == []
    alice.device.mark_shown([sent])
    world.matcher.heal()
    (done,) = alice.device.flush().messages
    assert done.outcome is OutcomeKind.MATCH and alice.device.outcomes() == [done]


def test_flushing_twice_tells_of_an_outcome_twice_if_it_was_not_shown(world: World) -> None:
    alice = world.device("alice", consequence=Consequence.REFUSE)
    world.matcher.fail_always(down())
    alice.device.send_picture("bob", LISTED)
    world.matcher.heal()
    (refused,) = alice.device.flush().messages
    assert alice.device.flush().messages == () and alice.device.outcomes() == [refused]


def test_of_a_group_each_member_has_an_outcome_of_its_own(world: World) -> None:
    alice = world.device("alice")
    sent = alice.device.send_picture_to(["bob", "nobody", "carol"], LISTED)
    kept = reopened(world, alice).device.outcomes()
    assert [(one.recipient, one.delivered) for one in kept] == [
        ("bob", True),
        ("nobody", False),
        ("carol", True),
    ]
    assert [one.report_id for one in kept] == [sent[0].report_id, None, sent[2].report_id]
    assert len(world.centre.reports) == 1
    assert kept[1].notice.startswith("The message to nobody was not delivered: the relay refused (NOT_FOUND)")
    assert "your name alone" in kept[0].notice and kept[0].notice == sent[0].notice


def test_a_text_that_left_at_once_is_not_kept_and_one_that_failed_or_waited_is(world: World) -> None:
    alice = world.device("alice")
    assert alice.device.send_text("bob", "at once").delivered
    with pytest.raises(RefusedError):
        alice.device.send_text("nobody", "never")
    assert [one.recipient for one in alice.device.outcomes()] == ["nobody"]
    world.relay.fail_always(down())
    alice.device.send_text("bob", "later")
    world.relay.heal()
    alice.device.flush()
    kept = [(one.recipient, one.delivered, one.notice) for one in alice.device.outcomes()]
    assert kept[1:] == [("bob", True, "")] and "NOT_FOUND" in kept[0][2]


def test_what_is_sent_without_a_check_says_so_until_it_was_shown(world: World) -> None:
    alice = world.device("alice", mode=FailureMode.SEND_UNMATCHED, unreadable=Unreadable.SEND)
    world.matcher.fail_always(down())
    sent = alice.device.send_picture("bob", LISTED)
    unreadable = alice.device.send_picture("bob", b"no picture")
    assert [one.outcome for one in (sent, unreadable)] == [OutcomeKind.SKIPPED] * 2
    assert "will not be checked" in sent.notice and "no picture this device can read" in unreadable.notice
    assert reopened(world, alice).device.outcomes() == [sent, unreadable]


def test_a_picture_that_failed_before_it_was_matched_is_not_said_to_be_matched_later(world: World) -> None:
    alice = world.device("alice", mode=FailureMode.SEND_AND_MATCH_LATER)
    world.matcher.fail_always(down())
    with pytest.raises(RefusedError):
        alice.device.send_picture("nobody", LISTED)
    (kept,) = alice.device.outcomes()
    assert kept.outcome is OutcomeKind.SKIPPED and not kept.delivered


def test_a_report_whose_standing_was_dropped_was_received(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "MOST_KEPT", 1)
    alice = world.device("alice")
    sent = [alice.device.send_picture("bob", LISTED) for _ in range(3)]
    assert len(alice.device.standing().reports) == 1
    assert alice.device.outcomes() == sent and all(one.reported for one in sent)


def test_what_this_device_asks_for_by_itself_is_no_outcome(world: World) -> None:
    alice = world.device("alice")
    bob = world.devices[0]
    alice.device.send_text("bob", "first")
    bob.receive()
    bob.send_text("alice", "second")
    alice.device.receive()
    bob.reset_session("alice")
    world.relay.fail_always(down(), "Send")
    alice.device.send_text("bob", "waits")
    world.relay.heal()
    alice.device.flush()
    bob.receive()
    alice.device.receive()
    assert [one.text for one in bob.receive() if not one.problem] == ["waits"]
    assert [one.recipient for one in alice.device.outcomes()] == ["bob"], "not what was sent again"
    assert bob.outcomes() == [], "nor what asked for it"


def test_so_many_are_kept_and_those_that_ended_first_are_dropped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ended, "MOST_ENDED", 3)
    alice = world.device("alice")
    sent = [alice.device.send_picture("bob", OTHER) for _ in range(5)]
    assert alice.device.outcomes() == sent[2:]


def test_the_row_of_an_ended_message_has_one_length_whatever_came_of_it() -> None:
    rows = [
        Ended(7, bytes(16), bytes(16), 1, "bob", state, kind, item, report_id, named)
        for state in EndState
        for kind in OutcomeKind
        for item in (None, 2**40)
        for report_id in (b"", bytes(16))
        for named in (True, False)
    ]
    assert {len(_encode(row)) for row in rows} == {BLOCK}
    longest = Ended(7, bytes(16), bytes(16), 1, "b" * 64, EndState.FAILED, "flag", words="é" * WORDS_MOST)
    assert len(_encode(longest)) % BLOCK == 0
