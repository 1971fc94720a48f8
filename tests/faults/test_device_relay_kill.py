"""A device or the relay is killed at each failpoint and started again: what was acknowledged arrives once."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support.mortal import Arm, Order, RelayPlan, check_clear, check_taps, clear

from .conftest import BOB, CAROL, LISTED, Place

KILLED = -signal.SIGKILL
GROUP = ("gil", "hal")

CALLS = (
    *("Register", "Key", "Describe", "FetchSetup", "FetchExpired", "FetchBundle"),
    *("Exchange", "Upload", "Send", "Submit"),
)
SENDING = [
    *(f"device.call.{name}.{when}" for name in CALLS for when in ("before", "after")),
    *(
        f"{what}.rename.{when}"
        for what in ("device.store", "setup", "device.file")
        for when in ("before", "after")
    ),
    *(f"setup.adopt.{when}" for when in ("before", "after")),
]
SENDER_COMMITS = 23
RECEIVING = [
    *(f"device.call.{n}.{w}" for n in ("Receive", "Acknowledge", "Download") for w in ("before", "after")),
    *(f"device.file.rename.{when}" for when in ("before", "after")),
]
RECEIVER_COMMITS = 5
RELAYING = [
    *(f"Relay.{n}.reply" for n in ("Register", "FetchBundle", "Upload", "Send", "Receive", "Acknowledge")),
    *("Relay.Download.reply", "Relay.FetchExpired.reply", "blob.rename.before", "blob.rename.after"),
]
RELAY_COMMITS = 18
"""The first two belong to its start."""


def commits(name: str, count: int) -> list[Any]:
    """Before every odd commit, after every even one."""
    points = [(f"{name}.commit.{'after' if n % 2 == 0 else 'before'}", n) for n in range(1, count + 1)]
    return [pytest.param(*one, marks=pytest.mark.slow) for one in points]


def once(points: Iterable[str], often: str) -> list[Any]:
    """When each is first reached; those whose names do not end with `often` with the slow tests."""
    return [pytest.param(one, 1, marks=() if one.endswith(often) else pytest.mark.slow) for one in points]


def sending(name: str, to: str) -> list[Order]:
    """A text that makes a session and one through it, a picture that is on the list, and one that is not."""
    return [
        ("text", to, f"{name}-text"),
        ("text", to, f"{name}-again"),
        ("picture", to, f"{name}-listed", LISTED),
        ("picture", to, f"{name}-other", 2),
    ]


@pytest.mark.parametrize(("point", "hit"), [*once(SENDING, ".after"), *commits("device", SENDER_COMMITS)])
def test_a_sender_killed_at_a_failpoint_loses_and_doubles_nothing(place: Place, point: str, hit: int) -> None:
    name = f"a{next(place.numbers)}-to-bob"
    place.first(BOB)
    assert place.live(name, *sending(name, BOB), arm=Arm(point, hit)) == KILLED
    assert place.live(name, *sending(name, BOB), ("flush",), ("outcomes",)) == 0
    inbox = place.check(name, BOB)
    assert place.reports_of(name) == inbox.count(f"{name}-listed") <= 1
    kept = json.loads(place.plan(name).outcomes.read_text())
    assert kept.count(["match", True, True]) == inbox.count(f"{name}-listed"), "its user is told of each once"
    assert kept.count(["no match", True, False]) == inbox.count(f"{name}-other")


@pytest.mark.parametrize(
    ("point", "hit"), [*((p, 1) for p in RECEIVING), *commits("device", RECEIVER_COMMITS)]
)
def test_a_receiver_killed_at_a_failpoint_gets_everything_once(place: Place, point: str, hit: int) -> None:
    sender = f"dave-to-{CAROL}"
    number = next(place.numbers)
    place.first(CAROL)
    orders: list[Order] = [("text", CAROL, f"{number}-text{n}") for n in range(3)]
    orders.append(("picture", CAROL, f"{number}-picture", 3))
    assert place.live(sender, *orders) == 0
    assert place.live(CAROL, ("receive",), arm=Arm(point, hit)) == KILLED
    assert place.check(sender, CAROL).count(f": {number}-") == 4


def members_got(place: Place, text: str) -> list[int]:
    """How often each member of the group has the message called `text`."""
    counts = []
    for member in GROUP:
        assert place.live(member, ("receive",), ("inbox",)) == 0
        rows = json.loads(place.plan(member).inbox.read_text())
        counts.append(sum(row[1] == clear(text) for row in rows))
        check_clear(place.plan(member).home)
    return counts


@pytest.mark.parametrize(
    ("point", "hit"),
    [
        pytest.param(f"device.{what}.{when}", hit, marks=() if hit == 2 else pytest.mark.slow)
        for what in ("commit", "call.Send")
        for hit in (1, 2)
        for when in ("before", "after")
    ],
)
def test_a_text_for_a_group_is_lost_and_doubled_for_nobody(place: Place, point: str, hit: int) -> None:
    name = f"g{next(place.numbers)}"
    for member in GROUP:
        place.first(member)
    assert place.live(name, *(("text", member, f"{name}-{member}") for member in GROUP)) == 0
    noted = place.folder / f"{name}.noted"
    assert place.processes.device(replace(place.plan(name), noted=noted)) == 0
    before = noted.read_text().split().count(point)
    assert place.live(name, ("text", GROUP, f"{name}-all"), arm=Arm(point, before + hit)) == KILLED
    assert place.live(name, ("flush",)) == 0
    never_saved = (point, hit) == ("device.commit.before", 1)
    assert members_got(place, f"{name}-all") == [0 if never_saved else 1] * len(GROUP)
    check_taps(place.relay.tap)


@pytest.mark.parametrize(("point", "hit"), [*once(RELAYING, "d.reply"), *commits("relay", RELAY_COMMITS)[2:]])
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
    process.join(240)
    assert process.exitcode == KILLED
    process, _ = place.processes.relay(replace(plan, arm=None))
    for life in (("eve",), (name, ("flush",))):
        assert own.live(*life) == 0
    assert own.check(name, "eve").count(name + "-") == 4
    assert own.reports_of(name) == 1
    process.terminate()


def test_every_point_that_is_reached_is_one_at_which_a_test_kills(place: Place, tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    name = f"a{next(place.numbers)}"
    to = f"b{next(place.numbers)}"
    (tmp_path / "relay").mkdir()
    relay = RelayPlan(tmp_path / "relay", place.relay.credentials, 0, None, tmp_path / "relay.noted")
    process, relay = place.processes.relay(relay)
    own = replace(place, relay=relay)
    for plan in (own.plan(to), own.plan(name, *sending(name, to)), own.plan(to, ("receive",))):
        assert own.processes.device(replace(plan, noted=noted)) == 0
    process.terminate()
    process.join(240)
    killed_at = {*SENDING, *RECEIVING, "device.commit.before", "device.commit.after"}
    assert set(noted.read_text().split()) == killed_at
    at_relay = {*RELAYING, "relay.commit.before", "relay.commit.after"}
    assert set((tmp_path / "relay.noted").read_text().split()) == at_relay
