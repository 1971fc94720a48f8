"""A relay as a process of its own, a fake matcher and centre, and devices that come and go."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from blindmatch_protocol.contract import Party
from blindmatch_server.hosting.authority import Identity
from dummy_designs import ECHO
from msgspec import Struct
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

LISTED = 1
"""Seed of the picture that is on the list."""

BOB = "bob"
CAROL = "carol"


class Place(Struct):
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
    centre = FakeCentre()
    processes = Processes()
    one, matcher_port = serve(Party.MATCHER, lambda s: rpc.add_MatchingServicer_to_server(matcher, s))
    two, centre_port = serve(Party.CENTRE, lambda s: rpc.add_CentreServicer_to_server(centre, s))
    (folder / "relay").mkdir()
    held = AUTHORITY.issue(Identity.of(Party.PROVIDER), NOW, timedelta(days=1))
    _, plan = processes.relay(RelayPlan(folder / "relay", held, 0))
    ports = {Party.MATCHER: matcher_port, Party.CENTRE: centre_port}
    yield Place(folder, processes, centre, plan, ports, itertools.count())
    processes.close()
    one.stop(None)
    two.stop(None)
