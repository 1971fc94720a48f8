"""A device or the relay is killed at each failpoint and started again: what was acknowledged arrives once."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from blindmatch_protocol.contract import Party
from blindmatch_server.authority import Identity, Kind
from dummy_designs import ECHO
from support.fakes import (
    AUTHORITY,
    NOW,
    FakeCentre,
    FakeMatcher,
    credentials_of,
    hashes_with,
    picture,
    publish,
    rpc,
    serve,
)
from support.mortal import (
    Arm,
    DevicePlan,
    Order,
    Processes,
    RelayPlan,
    check_clear,
    check_delivered,
    check_taps,
)

KILLED = -signal.SIGKILL
BOB, CAROL = "bob", "carol"
LISTED = 1
"""Seed of the picture that is on the list."""

CALLS = ("Register", "Key", "Describe", "FetchSetup", "FetchBundle", "Exchange", "Upload", "Send", "Submit")
SENDING = [
    *(f"device.call.{name}.{when}" for name in CALLS for when in ("before", "after")),
    *(
        f"{what}.rename.{when}"
        for what in ("device.store", "setup", "device.file")
        for when in ("before", "after")
    ),
]
SENDER_COMMITS = 17
RECEIVING = [
    *(f"device.call.{n}.{w}" for n in ("Receive", "Acknowledge", "Download") for w in ("before", "after")),
    *(f"device.file.rename.{when}" for when in ("before", "after")),
]
RECEIVER_COMMITS = 5
RELAYING = [
    *(f"Relay.{n}.reply" for n in ("Register", "FetchBundle", "Upload", "Send", "Receive", "Acknowledge")),
    *("Relay.Download.reply", "blob.rename.before", "blob.rename.after"),
]
RELAY_COMMITS = 13
"""The first two belong to its start."""


def commits(name: str, count: int) -> list[tuple[str, int]]:
    """Before every odd commit, after every even one."""
    return [(f"{name}.commit.{'after' if n % 2 == 0 else 'before'}", n) for n in range(1, count + 1)]


@dataclass
class Place:
    """A relay, two fakes, and devices that come and go."""

    folder: Path
    processes: Processes
    centre: FakeCentre
    relay: RelayPlan
    ports: dict[Party, int]
    numbers: Iterator[int]

    def plan(self, name: str, *orders: Order, arm: Arm | None = None) -> DevicePlan:
        ports = {**self.ports, Party.PROVIDER: self.relay.port}
        return DevicePlan(self.folder, name, credentials_of(name), ports, orders, arm)

    def live(self, name: str, *orders: Order, arm: Arm | None = None) -> int:
        return self.processes.device(self.plan(name, *orders, arm=arm))

    def check(self, sender: str, receiver: str) -> str:
        """What must hold at the end of every test; the receiver's inbox."""
        assert self.live(receiver, ("receive",), ("inbox",)) == 0
        inbox = self.plan(receiver).inbox
        check_delivered(sorted(self.folder.glob(f"*-to-{receiver}.journal")), [inbox])
        check_taps(self.relay.tap)
        for folder in (self.relay.folder, self.plan(sender).home, self.plan(receiver).home):
            check_clear(folder)
        return inbox.read_text()

    def first(self, name: str) -> None:
        """Make the device called `name` unless it is there."""
        if not self.plan(name).home.exists():
            assert self.live(name) == 0

    def reports_of(self, name: str) -> int:
        """Reports of one device; each id came with one sealed body."""
        bodies: dict[bytes, set[bytes]] = {}
        for report_id, sealed in self.centre.sealed:
            bodies.setdefault(report_id, set()).add(sealed)
        assert all(len(seen) == 1 for seen in bodies.values())
        return sum(report.reporter == name for report in self.centre.reports)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    matcher = FakeMatcher(ECHO, publish(ECHO, hashes_with(picture(LISTED, 64)), 1))
    centre, processes = FakeCentre(), Processes()
    one, matcher_port = serve(Kind.MATCHER, lambda s: rpc.add_MatchingServicer_to_server(matcher, s))
    two, centre_port = serve(Kind.CENTRE, lambda s: rpc.add_CentreServicer_to_server(centre, s))
    (folder / "relay").mkdir()
    held = AUTHORITY.issue(Identity(Kind.RELAY), NOW, timedelta(days=1))
    _, plan = processes.relay(RelayPlan(folder / "relay", held, 0))
    ports = {Party.MATCHER: matcher_port, Party.CENTRE: centre_port}
    yield Place(folder, processes, centre, plan, ports, itertools.count())
    processes.close()
    one.stop(None)
    two.stop(None)


def sending(name: str, to: str) -> list[Order]:
    """A text, a picture that is on the list, and one that is not."""
    return [
        ("text", to, f"{name}-text"),
        ("picture", to, f"{name}-listed", LISTED),
        ("picture", to, f"{name}-other", 2),
    ]


@pytest.mark.parametrize(("point", "hit"), [*((p, 1) for p in SENDING), *commits("device", SENDER_COMMITS)])
def test_a_sender_killed_at_a_failpoint_loses_and_doubles_nothing(place: Place, point: str, hit: int) -> None:
    name = f"a{next(place.numbers)}-to-bob"
    place.first(BOB)
    assert place.live(name, *sending(name, BOB), arm=Arm(point, hit)) == KILLED
    assert place.live(name, *sending(name, BOB), ("flush",)) == 0
    inbox = place.check(name, BOB)
    assert place.reports_of(name) == inbox.count(f"{name}-listed") <= 1


@pytest.mark.parametrize(
    ("point", "hit"), [*((p, 1) for p in RECEIVING), *commits("device", RECEIVER_COMMITS)]
)
def test_a_receiver_killed_at_a_failpoint_gets_everything_once(place: Place, point: str, hit: int) -> None:
    sender, number = f"dave-to-{CAROL}", next(place.numbers)
    place.first(CAROL)
    orders = [("text", CAROL, f"{number}-text"), ("picture", CAROL, f"{number}-picture", 3)]
    assert place.live(sender, *orders) == 0
    assert place.live(CAROL, ("receive",), arm=Arm(point, hit)) == KILLED
    assert place.check(sender, CAROL).count(f": {number}-") == 2


@pytest.mark.parametrize(
    ("point", "hit"), [*((p, 1) for p in RELAYING), *commits("relay", RELAY_COMMITS)[2:]]
)
def test_the_relay_killed_at_a_failpoint_loses_and_doubles_nothing(
    place: Place, tmp_path: Path, point: str, hit: int
) -> None:
    name = f"a{next(place.numbers)}-to-eve"
    (tmp_path / "relay").mkdir()
    plan = RelayPlan(tmp_path / "relay", place.relay.credentials, 0, Arm(point, hit))
    process, plan = place.processes.relay(plan)
    own = replace(place, relay=plan, folder=tmp_path)
    for life in (("eve",), (name, *sending(name, "eve")), ("eve", ("receive",))):
        assert own.live(*life) == 0
    process.join(30)
    assert process.exitcode == KILLED
    process, _ = place.processes.relay(replace(plan, arm=None))
    for life in (("eve",), (name, ("flush",))):
        assert own.live(*life) == 0
    assert own.check(name, "eve").count(name + "-") == 3
    assert own.reports_of(name) == 1
    process.terminate()


def test_every_point_that_is_reached_is_one_at_which_a_test_kills(place: Place, tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    name, to = f"a{next(place.numbers)}", f"b{next(place.numbers)}"
    (tmp_path / "relay").mkdir()
    relay = RelayPlan(tmp_path / "relay", place.relay.credentials, 0, None, tmp_path / "relay.noted")
    process, relay = place.processes.relay(relay)
    own = replace(place, relay=relay)
    for plan in (own.plan(to), own.plan(name, *sending(name, to)), own.plan(to, ("receive",))):
        assert own.processes.device(replace(plan, noted=noted)) == 0
    process.terminate()
    process.join(20)
    killed_at = {*SENDING, *RECEIVING, "device.commit.before", "device.commit.after"}
    assert set(noted.read_text().split()) == killed_at
    at_relay = {*RELAYING, "relay.commit.before", "relay.commit.after"}
    assert set((tmp_path / "relay.noted").read_text().split()) == at_relay
