"""Matchers that cheat, die, are slow or change their epoch, over real processes."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from blindmatch_client.device import Device, OutcomeKind
from blindmatch_client.egress import Egress, Recorder, Retry
from blindmatch_client.epochs.trusted import Doubt
from blindmatch_client.settings import FailureMode
from blindmatch_client.trace import EgressRecord, Purpose
from blindmatch_protocol.contract import Party
from blindmatch_simulations.testbed.deployment.devices import Watched, connect
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.pictures.crops import crops
from support.command import in_process
from support.forked_servers import forked_servers
from support.world import World, left_for, listed_world

DESIGN = "oprf-psi"
CHEATING = f"{Path(__file__).with_name('leaky_designs.py')}:OTHER_KEY"
HOLD, LATER, UNMATCHED = FailureMode


LISTED, SECOND, OTHER = (crop.data for crop in crops(3, 1))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Its list has two pictures, and not the other; no server runs."""
    with listed_world(tmp_path / "home", DESIGN, [LISTED, SECOND]) as made:
        yield made


@pytest.fixture(scope="module")
def cheated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world whose matcher runs, with another key than the one in the set-up."""
    home = tmp_path_factory.mktemp("cheated") / "home"
    with listed_world(home, DESIGN, [LISTED, SECOND]) as made, served(made, CHEATING):
        yield made


@contextmanager
def served(world: World, design: str = DESIGN) -> Iterator[World]:
    """The world with its servers, which run `design`."""
    with forked_servers():
        world.start(reference=design)
    try:
        yield world
    finally:
        world.stop()


def asked(watched: Watched) -> list[EgressRecord]:
    """What the matcher got of pictures."""
    return left_for(watched, Purpose.MATCHING)


def reported(watched: Watched) -> list[EgressRecord]:
    """What the centre got of pictures."""
    return left_for(watched, Purpose.REPORT)


@pytest.mark.parametrize(
    ("mode", "delivered", "outcome"),
    [
        (HOLD, False, OutcomeKind.DUE),
        (LATER, True, OutcomeKind.DUE),
        (UNMATCHED, True, OutcomeKind.SKIPPED),
    ],
    ids=str,
)
def test_a_matcher_with_another_key_gets_one_request_and_nothing_else(
    cheated: World, mode: FailureMode, delivered: bool, outcome: OutcomeKind
) -> None:
    sender = f"from-{mode}"
    recipient = f"to-{mode}"
    alice = cheated.device(sender, mode=mode)
    bob = cheated.device(recipient)
    sent = [alice.device.send_picture(recipient, data) for data in (LISTED, SECOND, OTHER)]
    assert [(one.delivered, one.outcome) for one in sent] == [(delivered, outcome)] * 3
    assert all(one.report_id is None and one.notice for one in sent)
    assert len(asked(alice)) == 1
    assert "proof" in str(alice.device.distrust)
    assert alice.device.send_text(recipient, "still there").delivered
    alice.device.flush()
    alice.device.close()
    with cheated.reopened(sender) as again:
        again.device.send_picture(recipient, OTHER)
        assert (asked(again), reported(again)) == ([], [])
    assert (len(asked(alice)), reported(alice), cheated.reports()) == (1, [], 0)
    assert sum(len(message.pictures) for message in bob.device.receive(200)) == 4 * delivered
    bob.device.close()


def test_what_waited_for_an_honest_matcher_is_matched_once_the_user_trusts_it(world: World) -> None:
    with served(world, CHEATING):
        alice = world.device("alice")
        bob = world.device("bob")
        alice.device.send_picture("bob", LISTED)
        alice.device.close()
        bob.device.close()
    with served(world), world.reopened("alice") as again, world.reopened("bob") as bob:
        assert again.device.flush().waiting == 1
        assert asked(again) == []
        again.device.forgive(Doubt.ROLES)
        (sent,) = again.device.flush().messages
        assert (sent.delivered, sent.outcome, sent.reported) == (True, OutcomeKind.MATCH, True)
        assert [message.pictures for message in bob.device.receive(200)] == [(LISTED,)]
        assert world.reports() == 1


def test_pictures_wait_while_the_matcher_is_dead_and_leave_when_it_is_back(world: World) -> None:
    with served(world):
        alice = world.device("alice")
        bob = world.device("bob")
        assert alice.device.send_picture("bob", LISTED).reported
        world.kill(Party.MATCHER)
        held = [alice.device.send_picture("bob", data) for data in (SECOND, OTHER)]
        assert [(one.delivered, one.outcome) for one in held] == [(False, OutcomeKind.DUE)] * 2
        assert "cannot be reached" in held[0].notice
        assert alice.device.send_text("bob", "wait for it").delivered
        assert world.reports() == 1
        alice.device.close()
        with forked_servers():
            world.start()
        flushed = in_process(world.deployment.home, "device", "flush", "alice", "--json", "-")
        counts = {key: flushed.json[key] for key in ("messages", "waiting", "problems")}
        assert (flushed.code, counts) == (0, {"messages": 2, "waiting": 0, "problems": []})
        assert [one["outcome"] for one in flushed.json["outcomes"]] == ["match", "match", "no match"]
        assert world.reports() == 2
        got = [message.pictures for message in bob.device.receive(200)]
        assert got == [(LISTED,), (), (SECOND,), (OTHER,)]
        bob.device.close()


def test_a_device_goes_on_with_the_new_epoch_by_itself(world: World) -> None:
    with served(world):
        alice = world.device("alice")
        assert alice.device.epoch == 1
        assert world.list([LISTED, SECOND]).manifest.epoch == 2
        world.servers[Party.MATCHER].process.send_signal(signal.SIGHUP)
        bob = world.device("bob")
        deadline = time.monotonic() + 240
        while bob.device.refresh() == 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        sent = [alice.device.send_picture("bob", data) for data in (LISTED, OTHER)]
        assert [one.outcome for one in sent] == [OutcomeKind.MATCH, OutcomeKind.NO_MATCH]
        assert (alice.device.epoch, alice.device.distrust) == (2, None)
        assert sent[0].reported
        assert len(asked(alice)) == 3
        alice.device.close()
        bob.device.close()


def hurried(world: World, name: str) -> Device:
    """The device called `name`, which gives a matcher half a second, once."""
    once = partial(Egress, retry=Retry(attempts=1))
    design = load_design(DESIGN)
    options = {"create": False, "way_out": once, "round_deadline_s": 0.5}
    return connect(world.deployment, name, Recorder(), design=design, **options)


def test_a_matcher_that_never_answers_holds_the_picture_and_nothing_else(world: World) -> None:
    with served(world), socket.create_server(("127.0.0.1", 0)) as mute:
        for name in ("alice", "bob"):
            world.device(name).device.close()
        port_file = world.deployment.port_file(Party.MATCHER)
        port = port_file.read_text()
        port_file.write_text(f"{mute.getsockname()[1]}\n")
        slow = hurried(world, "alice")
        held = slow.send_picture("bob", LISTED)
        assert (held.delivered, held.outcome, held.report_id) == (False, OutcomeKind.DUE, None)
        assert "the matcher" in held.notice
        assert slow.send_text("bob", "meanwhile").delivered
        slow.close()
        port_file.write_text(port)
        with world.reopened("alice") as again:
            (sent,) = again.device.flush().messages
            assert (sent.outcome, sent.reported) == (OutcomeKind.MATCH, True)
