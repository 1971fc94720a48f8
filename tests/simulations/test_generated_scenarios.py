"""Whatever is sent, stopped, killed, published, doubted and forgiven: all arrives once, and every match alone
is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from blindmatch_client.epochs.trusted import Doubt
from blindmatch_simulations.testbed.pictures.crops import crops
from blindmatch_simulations.testbed.scenario.operations import (
    AddDevice,
    Flush,
    Kill,
    Operation,
    Publish,
    Receive,
    SendPicture,
    SendText,
    Start,
    Stop,
)
from blindmatch_simulations.testbed.scenario.run import Event, play
from blindmatch_simulations.testbed.scenario.world import World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from support.forked_servers import forked_servers

PICTURES: Final = tuple(crop.data for crop in crops(4, 1))
LISTED: Final = PICTURES[:2]
NAMES: Final = ("ann", "bob", "cat")
SERVERS: Final = ("relay", "matcher", "centre")
BEFORE: Final[tuple[Operation, ...]] = (Publish(LISTED, random=12), Start(), *map(AddDevice, NAMES))
ROUNDS: Final = 3
"""So often everybody flushes and receives at the end, while all servers run."""


class Suspect(Struct, frozen=True):
    """A device finds that its roles, or its log, cheat: it asks nothing until its user says so."""

    account: str
    of: Doubt


class Forgive(Struct, frozen=True):
    """The user says so."""

    account: str


Step = Operation | Suspect | Forgive
names = st.sampled_from(NAMES)
pairs = st.permutations(NAMES).map(lambda some: some[:2])
to_a_group = st.builds(
    lambda three, one: [SendPicture(three[0], other, one) for other in three[1:]],
    st.permutations(NAMES),
    st.sampled_from(PICTURES),
)
in_threads = st.lists(
    st.one_of(
        to_a_group,
        st.builds(Suspect, names, st.sampled_from(Doubt)),
        st.builds(Forgive, names),
        pairs.map(lambda two: SendText(*two, "")),
        st.builds(lambda two, one: SendPicture(*two, one), pairs, st.sampled_from(PICTURES)),
        st.builds(lambda two, one: SendPicture(*two, one), pairs, st.sampled_from(LISTED)),
        st.builds(Flush, names),
        st.builds(lambda name: Receive(name, 1, 0.0), names),
        st.just(Stop()),
        st.just(Start()),
        st.builds(lambda seed: Publish(LISTED, random=12, seed=seed), st.integers(2, 9)),
    ),
    min_size=4,
    max_size=14,
)
in_processes = st.lists(
    st.one_of(
        pairs.map(lambda two: SendText(*two, "")),
        st.builds(lambda two, one: SendPicture(*two, one), pairs, st.sampled_from(PICTURES)),
        st.builds(Flush, names),
        st.builds(Kill, st.sampled_from(SERVERS)),
        st.just(Start()),
    ),
    min_size=6,
    max_size=10,
)
few = settings(derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
@settings(few, max_examples=14)
@given(in_threads)
def test_servers_that_stop_and_epochs_that_change_lose_nothing(steps: list[Step | list[Step]]) -> None:
    check([one for step in steps for one in (step if isinstance(step, list) else [step])], threads=True)


@pytest.mark.slow
@settings(few, max_examples=4)
@given(in_processes)
def test_servers_that_are_killed_lose_nothing(steps: list[Operation]) -> None:
    with forked_servers():
        check(steps, threads=False)


@pytest.mark.slow
def test_what_a_suspicious_device_holds_back_arrives_once_it_is_forgiven() -> None:
    picture = SendPicture("ann", "bob", LISTED[0])
    held = [Suspect("ann", Doubt.ROLES), Suspect("bob", Doubt.LOG), picture, SendText("ann", "bob", "")]
    events = check([*held, Flush("ann"), Receive("bob", 1), Forgive("ann"), Flush("ann")], threads=True)
    flushed = [event.result.messages for event in events if isinstance(event.operation, Flush)]
    assert [one.delivered for (one,) in flushed[:2]] == [False, True]
    first = next(event for event in events if isinstance(event.operation, Receive))
    assert [one.text for one in first.result or ()] == ["text 3"]


def check(steps: Sequence[Step], threads: bool) -> list[Event]:
    """Play `steps`, start all servers, let everything settle, and hold what came of it to what was sent."""
    numbered = [_named(step, number) for number, step in enumerate(steps)]
    settling = [one for name in NAMES for one in (Flush(name), Receive(name, 99, 0.4))]
    with TemporaryDirectory() as folder, World.create(Path(folder) / "home", "oprf-psi") as world:
        before = list(play(world, BEFORE, threads=threads))
        assert [event.error for event in before] == [""] * len(BEFORE)
        all_steps = [*numbered, Start(), *map(Forgive, NAMES), *settling * ROUNDS]
        events = list(play(world, operated(world, all_steps), threads=threads))
        assert [event.error for event in events[-len(settling) :]] == [""] * len(settling)
        assert _arrived(events) == _sent(numbered)
        expected = sum(isinstance(step, SendPicture) and step.picture in LISTED for step in steps)
        reports = world.checked(expected).reports
        assert [row.checks for row in reports] == ["passed"] * expected
        for name in NAMES:
            assert world.of(name).watched.device.standing().messages == 0
    return events


def operated(world: World, steps: Iterable[Step]) -> Iterator[Operation]:
    """The operations among them; the others are done when their turn comes."""
    for step in steps:
        match step:
            case Suspect(account, of):
                world.of(account).watched.device._matcher.record.add_doubt(of, "of a test")
            case Forgive(account):
                device = world.of(account).watched.device
                device.forgive(Doubt.ROLES)
                device.forgive(Doubt.LOG)
            case _:
                yield step


def _named(step: Step, number: int) -> Step:
    """A message says which it is."""
    match step:
        case SendText(sender, recipient, _):
            return SendText(sender, recipient, f"text {number}")
        case SendPicture(sender, recipient, picture, _):
            return SendPicture(sender, recipient, picture, f"picture {number}")
        case _:
            return step


def _sent(steps: Sequence[Step]) -> Counter[tuple[str, str, str, tuple[bytes, ...]]]:
    found = Counter[tuple[str, str, str, tuple[bytes, ...]]]()
    for step in steps:
        match step:
            case SendText(sender, recipient, text):
                found[sender, recipient, text, ()] += 1
            case SendPicture(sender, recipient, picture, text):
                found[sender, recipient, text, (picture,)] += 1
    return found


def _arrived(events: list[Event]) -> Counter[tuple[str, str, str, tuple[bytes, ...]]]:
    return Counter(
        (one.sender, event.operation.account, one.text, tuple(one.pictures))
        for event in events
        if isinstance(event.operation, Receive) and event.result
        for one in event.result
    )
