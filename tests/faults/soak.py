"""Many devices, many messages, seeded kills of devices and relay: nothing acknowledged is lost or doubled.

    make soak                                         20 devices, 10,000 messages, 200 kills
    make soak ARGS="--messages 500 --kills 20"        a short one
    make soak ARGS="--seed 1234"                      the choices of an earlier run once more

The seed decides who sends what to whom, who is killed, and after how many failpoints. How the processes
interleave is the machine's doing. Exit 0 only if every invariant holds.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from blindmatch_protocol.contract import Party
from blindmatch_server.hosting.authority import Identity
from dummy_designs import ECHO
from msgspec.structs import replace
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
    ANY,
    Arm,
    DevicePlan,
    Order,
    Processes,
    RelayPlan,
    check_clear,
    check_delivered,
    check_taps,
    device_life,
)

KILLED = -signal.SIGKILL
PICTURES_IN = 50
"""One message in so many bears a picture; every other one of them is on the list."""
LISTED = 1
RECEIVE_EVERY = 5
PER_MESSAGE = 16
"""Failpoints that a device passes for a message it sends and one it receives, about."""
PER_MESSAGE_RELAY = 5
FINAL_ROUNDS = 6


@dataclass
class Member:
    """A device, its orders, and the kills that are still to come."""

    plan: DevicePlan
    arms: list[Arm]
    process: ForkServerProcess | None = None
    kills: int = 0
    done: bool = False


@dataclass
class Soak:
    """One run."""

    folder: Path
    options: argparse.Namespace
    processes: Processes = field(default_factory=Processes)
    relay_kills: int = 0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.options.seed)
        self.began = time.monotonic()

    def run(self, ports: dict[Party, int]) -> None:
        members = self.members(ports, self.orders())
        arms = self.relay_arms()
        (self.folder / "relay").mkdir()
        held = AUTHORITY.issue(Identity.of(Party.PROVIDER), NOW, timedelta(days=1))
        relay, plan = self.processes.relay(RelayPlan(self.folder / "relay", held, 0, _next(arms)))
        for member in members:
            # nobody writes to an account that is not there
            ports_now = {**ports, Party.PROVIDER: plan.port}
            self.processes.device(replace(member.plan, ports=ports_now, orders=()))
        shown = 0.0
        while not all(member.done for member in members):
            if not relay.is_alive():
                self.relay_kills += relay.exitcode == KILLED
                relay, plan = self.processes.relay(replace(plan, arm=_next(arms)))
            for member in members:
                self.turn(member, plan.port)
            if time.monotonic() - shown > 15:
                shown = time.monotonic()
                self.say(members)
            time.sleep(0.02)
        for _ in range(self.options.kills // 10 - self.relay_kills):
            relay.kill()
            relay.join(30)
            self.relay_kills += 1
            relay, plan = self.processes.relay(replace(plan, arm=None))
        self.settle(members, plan)
        self.say(members)

    def turn(self, member: Member, port: int) -> None:
        """Start a device's next life if the one before has ended."""
        process = member.process
        if member.done or (process is not None and process.is_alive()):
            return
        if process is not None:
            process.join()
            if process.exitcode == KILLED:
                member.kills += 1
            elif process.exitcode != 0:
                raise SystemExit(f"{member.plan.name} ended with exit code {process.exitcode}")
            elif member.plan.arm is None:
                member.done = True
                return
            else:
                # all is sent, and this kill has not come: it comes while it flushes and receives
                member.arms.insert(0, Arm(ANY, self.rng.randint(1, 16)))
        ports = {**member.plan.ports, Party.PROVIDER: port}
        member.plan = replace(member.plan, ports=ports, arm=_next(member.arms))
        member.process = self.processes.start(device_life, member.plan)

    def settle(self, members: Sequence[Member], plan: RelayPlan) -> None:
        """Let everything come to its end, unarmed; then look at what there is."""
        for number in range(FINAL_ROUNDS):
            last: list[Order] = [("inbox",)] if number == FINAL_ROUNDS - 1 else []
            for member in members:
                ports = {**member.plan.ports, Party.PROVIDER: plan.port}
                orders = [("flush",), ("receive",), *last]
                if number == 0:
                    orders = [*member.plan.orders, *orders]
                life = replace(member.plan, ports=ports, arm=None, orders=orders)
                assert self.processes.device(life) == 0

    def orders(self) -> dict[str, list[Order]]:
        """Who sends what to whom."""
        names = [f"d{number:02d}" for number in range(self.options.devices)]
        orders: dict[str, list[Order]] = {name: [] for name in names}
        for number in range(self.options.messages):
            sender, to = self.rng.sample(names, 2)
            name = f"{number}-from-{sender}"
            if number % PICTURES_IN:
                orders[sender].append(("text", to, name))
            else:
                listed = number % (2 * PICTURES_IN) == 0
                orders[sender].append(("picture", to, name, LISTED if listed else 2))
            if len(orders[sender]) % (RECEIVE_EVERY + 1) == RECEIVE_EVERY:
                orders[sender].append(("receive",))
        return orders

    def members(self, ports: dict[Party, int], orders: dict[str, list[Order]]) -> list[Member]:
        for_devices = self.options.kills - self.options.kills // 10
        victims = Counter(self.rng.choice(list(orders)) for _ in range(for_devices))
        members = []
        for name, own in orders.items():
            life = len(own) * PER_MESSAGE // (victims[name] + 1)
            arms = [Arm(ANY, self.rng.randint(1, max(2, 2 * life))) for _ in range(victims[name])]
            plan = DevicePlan(self.folder, name, credentials_of(name), ports, own)
            members.append(Member(plan, arms))
        return members

    def relay_arms(self) -> list[Arm]:
        kills = self.options.kills // 10
        life = self.options.messages * PER_MESSAGE_RELAY // (kills + 1)
        return [Arm(ANY, self.rng.randint(1, max(2, 2 * life))) for _ in range(kills)]

    def say(self, members: Sequence[Member]) -> None:
        say(json.dumps(self.state(members)))

    def state(self, members: Sequence[Member]) -> dict[str, Any]:
        journals = (m.plan.journal.read_text() for m in members if m.plan.journal.exists())
        return {
            "seconds": round(time.monotonic() - self.began),
            "sent": sum(text.count("done ") for text in journals),
            "device_kills": sum(member.kills for member in members),
            "relay_kills": self.relay_kills,
            "at_work": sum(not member.done for member in members),
        }


def check(folder: Path, centre: FakeCentre) -> dict[str, int]:
    """Every invariant; figures for the record."""
    inboxes = sorted(folder.glob("*.inbox"))
    taken, arrived = check_delivered(sorted(folder.glob("*.journal")), inboxes)
    seen = check_taps(folder / "relay.tap")
    check_clear(folder / "relay")
    for home in folder.glob("d??"):
        check_clear(home)
    bodies: dict[bytes, set[bytes]] = {}
    for report_id, sealed in centre.sealed:
        bodies.setdefault(report_id, set()).add(sealed)
    assert all(len(one) == 1 for one in bodies.values()), "one report id, two reports"
    listed = sum(
        pictures == 1 and int(text.split(": ")[1].split("-")[0]) % (2 * PICTURES_IN) == 0
        for inbox in inboxes
        for _, text, pictures, _ in json.loads(inbox.read_text())
    )
    assert len(centre.reports) == listed, f"{listed} listed pictures, {len(centre.reports)} reports"
    return {"taken": taken, "arrived": arrived, "sealed": seen, "reports": listed}


@contextmanager
def fakes() -> Iterator[tuple[FakeCentre, dict[Party, int]]]:
    """A matcher and a centre in this process."""
    matcher = FakeMatcher(ECHO, publish(ECHO, hashes_with(picture(LISTED, 64)), 1))
    centre = FakeCentre()
    one, matcher_port = serve(Party.MATCHER, lambda s: rpc.add_MatchingServicer_to_server(matcher, s))
    two, centre_port = serve(Party.CENTRE, lambda s: rpc.add_CentreServicer_to_server(centre, s))
    yield centre, {Party.MATCHER: matcher_port, Party.CENTRE: centre_port}
    one.stop(None)
    two.stop(None)


def say(line: str) -> None:
    """Tell whoever watches."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _next(arms: list[Arm]) -> Arm | None:
    return arms.pop(0) if arms else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a soak; 0 if all held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--devices", type=int, default=20)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    options = parser.parse_args(arguments)
    say(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as name, fakes() as (centre, ports):
        soak = Soak(Path(name), options)
        try:
            soak.run(ports)
            figures = check(soak.folder, centre)
        finally:
            soak.processes.close()
    say(json.dumps({"seed": options.seed, **figures, "right": True}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
