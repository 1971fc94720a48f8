"""Matchers that cheat, die, are slow or change their epoch, over real processes."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from blindmatch_client.device import Device, DeviceConfig, OutcomeKind
from blindmatch_client.egress import Egress, Recorder, Retry
from blindmatch_client.failure import FailureMode
from blindmatch_client.trace import EgressRecord, Purpose
from blindmatch_protocol.contract import Party
from blindmatch_protocol.randomness import system_randomness
from blindmatch_server.authority import Identity, Kind
from blindmatch_simulations.deployment.devices import Watched, create_device, now_ms, open_device
from blindmatch_simulations.deployment.folder import Deployment
from blindmatch_simulations.deployment.hosting import parties_of
from blindmatch_simulations.deployment.operators import centre_list
from blindmatch_simulations.deployment.processes import ServerProcess, running_servers
from blindmatch_simulations.deployment.registry import load_design
from blindmatch_simulations.pictures.crops import crops
from support.command import in_process

DESIGN = "oprf-psi"
CHEATING = f"{Path(__file__).with_name('leaky_designs.py')}:OTHER_KEY"
HOLD, LATER, UNMATCHED = FailureMode


@dataclass(frozen=True)
class Scene:
    """A deployment whose list has two pictures, `listed`, and not `other`."""

    deployment: Deployment
    listed: tuple[bytes, bytes]
    other: bytes

    @contextmanager
    def servers(self, design: str = DESIGN) -> Iterator[dict[Party, ServerProcess]]:
        """All servers, the matcher with `design`."""
        parties = parties_of(load_design(design))
        with running_servers(self.deployment, parties, ("--design", design)) as running:
            yield {server.party: server for server in running}

    def device(self, name: str, mode: FailureMode = HOLD) -> Watched:
        """A new, registered device."""
        made = create_device(self.deployment, name, DESIGN, mode)
        made.device.register()
        return made

    @contextmanager
    def reopened(self, name: str) -> Iterator[Watched]:
        """A device that is there."""
        opened = open_device(self.deployment, name)
        try:
            yield opened
        finally:
            opened.device.close()

    def reports(self) -> int:
        """How many reports reached the centre."""
        return len(centre_list(self.deployment).reports)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return made(tmp_path)


@pytest.fixture(scope="module")
def cheated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A deployment whose matcher runs, with another key than the one in the set-up."""
    scene = made(tmp_path_factory.mktemp("cheated"))
    with scene.servers(CHEATING):
        yield scene


def made(place: Path) -> Scene:
    home, (one, two, other) = place / "home", crops(3, 1)
    folder = place / "listed"
    folder.mkdir()
    for crop in (one, two):
        (folder / f"{crop.name}.png").write_bytes(crop.data)
    for arguments in (
        ["certs", "init"],
        ["list", "random", 20, "known"],
        ["list", "pictures", folder, "known"],
        ["list", "build", "known"],
        ["centre", "learn", "known", "--pictures", folder],
    ):
        assert in_process(home, *arguments).code == 0
    return Scene(Deployment.open(home), (one.data, two.data), other.data)


def asked(watched: Watched) -> list[EgressRecord]:
    """What the matcher got of pictures."""
    return [record for record in watched.recorder.records() if record.purpose is Purpose.MATCHING]


def reported(watched: Watched) -> list[EgressRecord]:
    """What the centre got of pictures."""
    return [record for record in watched.recorder.records() if record.purpose is Purpose.REPORT]


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
    cheated: Scene, mode: FailureMode, delivered: bool, outcome: OutcomeKind
) -> None:
    sender, recipient = f"from-{mode}", f"to-{mode}"
    alice, bob = cheated.device(sender, mode), cheated.device(recipient)
    sent = [alice.device.send_picture(recipient, data) for data in (*cheated.listed, cheated.other)]
    assert [(one.delivered, one.outcome) for one in sent] == [(delivered, outcome)] * 3
    assert all(one.report_id is None and one.notice for one in sent)
    assert len(asked(alice)) == 1
    assert "proof" in str(alice.device.distrust)
    assert alice.device.send_text(recipient, "still there").delivered
    alice.device.flush()
    alice.device.close()
    with cheated.reopened(sender) as again:
        again.device.send_picture(recipient, cheated.other)
        assert (asked(again), reported(again)) == ([], [])
    assert (len(asked(alice)), reported(alice), cheated.reports()) == (1, [], 0)
    assert sum(len(message.pictures) for message in bob.device.receive(200)) == 4 * delivered
    bob.device.close()


def test_what_waited_for_an_honest_matcher_is_matched_once_the_user_trusts_it(scene: Scene) -> None:
    with scene.servers(CHEATING):
        alice, bob = scene.device("alice"), scene.device("bob")
        alice.device.send_picture("bob", scene.listed[0])
        alice.device.close()
        bob.device.close()
    with scene.servers(), scene.reopened("alice") as again, scene.reopened("bob") as bob:
        assert again.device.flush().waiting == 1
        assert asked(again) == []
        again.device.trust_again()
        (sent,) = again.device.flush().messages
        assert (sent.delivered, sent.outcome, sent.reported) == (True, OutcomeKind.MATCH, True)
        assert [message.pictures for message in bob.device.receive(200)] == [(scene.listed[0],)]
        assert scene.reports() == 1


def test_pictures_wait_while_the_matcher_is_dead_and_leave_when_it_is_back(scene: Scene) -> None:
    with scene.servers() as servers:
        alice, bob = scene.device("alice"), scene.device("bob")
        assert alice.device.send_picture("bob", scene.listed[0]).reported
        servers[Party.MATCHER].process.kill()
        servers[Party.MATCHER].process.wait()
        held = [alice.device.send_picture("bob", data) for data in (scene.listed[1], scene.other)]
        assert [(one.delivered, one.outcome) for one in held] == [(False, OutcomeKind.DUE)] * 2
        assert "cannot be reached" in held[0].notice
        assert alice.device.send_text("bob", "wait for it").delivered
        assert scene.reports() == 1
        alice.device.close()
        with running_servers(scene.deployment, [Party.MATCHER], ("--design", DESIGN)):
            flushed = in_process(scene.deployment.home, "device", "flush", "alice", "--json", "-")
        assert (flushed.code, flushed.json) == (0, {"messages": 2, "waiting": 0, "problems": []})
        assert scene.reports() == 2
        got = [message.pictures for message in bob.device.receive(200)]
        assert got == [(scene.listed[0],), (), (scene.listed[1],), (scene.other,)]
        bob.device.close()


def test_a_device_goes_on_with_the_new_epoch_by_itself(scene: Scene) -> None:
    with scene.servers() as servers:
        alice = scene.device("alice")
        assert alice.device.epoch == 1
        built = in_process(scene.deployment.home, "list", "build", "known", "--json", "-")
        assert built.json["epoch"] == 2
        servers[Party.MATCHER].process.send_signal(signal.SIGHUP)
        bob = scene.device("bob")
        deadline = time.monotonic() + 30
        while bob.device.refresh() == 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        sent = [alice.device.send_picture("bob", data) for data in (scene.listed[0], scene.other)]
        assert [one.outcome for one in sent] == [OutcomeKind.MATCH, OutcomeKind.NO_MATCH]
        assert (alice.device.epoch, alice.device.distrust) == (2, None)
        assert sent[0].reported
        assert len(asked(alice)) == 3
        alice.device.close()
        bob.device.close()


def hurried(scene: Scene, name: str) -> Device:
    """The device called `name`, which gives a matcher half a second, once."""
    deployment = scene.deployment
    credentials = deployment.caller_credentials(Identity(Kind.DEVICE, name), deployment.device(name))
    egress = Egress(deployment.endpoints(), credentials, Recorder(), now_ms, retry=Retry(attempts=1))
    curator = deployment.curator_public_key()
    config = DeviceConfig(name, load_design(DESIGN), curator, round_deadline_s=0.5)
    return Device.open(deployment.device(name) / "state", config, egress, system_randomness(), now_ms)


def test_a_matcher_that_never_answers_holds_the_picture_and_nothing_else(scene: Scene) -> None:
    with scene.servers(), socket.create_server(("127.0.0.1", 0)) as mute:
        for name in ("alice", "bob"):
            scene.device(name).device.close()
        port_file = scene.deployment.port_file(Party.MATCHER)
        port = port_file.read_text()
        port_file.write_text(f"{mute.getsockname()[1]}\n")
        slow = hurried(scene, "alice")
        held = slow.send_picture("bob", scene.listed[0])
        assert (held.delivered, held.outcome, held.report_id) == (False, OutcomeKind.DUE, None)
        assert "the matcher" in held.notice
        assert slow.send_text("bob", "meanwhile").delivered
        slow.close()
        port_file.write_text(port)
        with scene.reopened("alice") as again:
            (sent,) = again.device.flush().messages
            assert (sent.outcome, sent.reported) == (OutcomeKind.MATCH, True)
