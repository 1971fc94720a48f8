"""Plays operations in a world, one after the other, bounded in count and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any, ClassVar, assert_never

from blindmatch_client.settings import CoverSchedule
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Party, Progress, SetParameters, no_progress
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.centre.store import State
from msgspec import Struct

from blindmatch_simulations.testbed.deployment.devices import Options, Watched, now_ms
from blindmatch_simulations.testbed.deployment.operators import ask_centre, centre_list
from blindmatch_simulations.testbed.pictures.pool import random_hashes
from blindmatch_simulations.testbed.scenario.listing import publish_list
from blindmatch_simulations.testbed.scenario.operations import (
    AddDevice,
    AwaitReports,
    Check,
    Decide,
    Flush,
    Kill,
    Operation,
    Publish,
    Receive,
    ScenarioError,
    SendPicture,
    SendText,
    Start,
    Stop,
    Tick,
    account_of,
    checked,
)
from blindmatch_simulations.testbed.scenario.seen import Cost, watching
from blindmatch_simulations.testbed.scenario.world import World


class Bounds(Struct, frozen=True):
    """What a run may take.

    Attributes:
        operations: at most so many are played.
        seconds: none is begun later than so long after the first.
    """

    operations: int = 10_000
    seconds: float = 3600.0


class Event(Redacted, Struct, frozen=True):
    """An operation that was played.

    Attributes:
        number: from 0 on.
        at_ms: Unix time in milliseconds when it began.
        operation: what was done.
        result: what came of it: what `World` gives back for it; None where that is nothing.
        error: in words, if it failed; empty otherwise.
        cost: what the device did, where one was told to do something.
    """

    SHOWN: ClassVar = ("number", "at_ms", "operation", "error")

    number: int
    at_ms: int
    operation: Operation
    result: Any = None
    error: str = ""
    cost: Cost | None = None

    @property
    def outcome(self) -> str:
        """What the device learnt of a picture that it sent; else empty."""
        return str(getattr(self.result, "outcome", ""))

    @property
    def delivered(self) -> bool | None:
        """Whether the message was handed over; None for what is no message."""
        return getattr(self.result, "delivered", None)


class Player(Redacted, Struct):
    """Does operations in a world, and tells of each.

    Attributes:
        world: where.
        threads: start servers in a thread of this process, not as processes.
        tell: hears of each operation once it is done, or has failed.
        played: how many there were.
    """

    world: World
    threads: bool = False
    tell: Callable[[Event], object] = lambda event: None
    played: int = 0

    def do(self, operation: Operation, progress: Progress = no_progress) -> Any:
        """Do one operation; what `World` gives back for it.

        Raises:
            BlindmatchError: what the part of the world raises; `tell` has heard of it before.
            ScenarioError: if it is no operation; nothing is played then.
        """
        operation = checked(operation)
        number, at_ms, self.played = self.played, now_ms(), self.played + 1
        account = account_of(operation)
        driven = self.world.driven.get(account) if account else None
        with watching(driven.watched) if driven else nullcontext(None) as cost:
            try:
                result, error = _do(self.world, operation, self.threads, progress), None
            except BlindmatchError as failed:
                result, error = None, failed
        words = "" if error is None else f"{type(error).__name__}: {error}"
        self.tell(Event(number, at_ms, operation, result, words, cost))
        if error is not None:
            raise error
        return result


def play(
    world: World,
    operations: Iterable[Operation],
    bounds: Bounds | None = None,
    threads: bool = False,
) -> Iterator[Event]:
    """Play `operations`, each as its event is asked for; one that fails is an event too.

    Args:
        bounds: how much of it, and for how long.
        threads: start servers in a thread of this process, not as processes.

    Raises:
        ScenarioError: if a bound is reached with operations left, or at what is no operation.
    """
    bounds = bounds or Bounds()
    until = time.monotonic() + bounds.seconds
    events: list[Event] = []
    player = Player(world, threads, events.append)
    for operation in operations:
        if player.played >= bounds.operations or time.monotonic() > until:
            raise ScenarioError(f"stopped before operation {player.played}: a bound of the run is reached")
        try:
            player.do(operation)
        except BlindmatchError:
            if not events:
                raise
        yield events.pop()


def _do(world: World, operation: Operation, threads: bool, progress: Progress) -> Any:
    match operation:
        case SendText(sender, recipient, text):
            return world.send_text(sender, recipient, text)
        case SendPicture(sender, recipient, picture, text):
            return world.send_picture(sender, recipient, picture, text)
        case Receive(account, messages, seconds):
            return world.receive(account, messages, seconds, progress)
        case Tick(account):
            return world.tick(account)
        case Flush(account):
            return world.flush(account)
        case AwaitReports(account, seconds):
            return world.await_reports(account, seconds, progress)
        case Check(reports, seconds):
            return world.checked(reports, seconds, progress)
        case AddDevice():
            return _add_device(world, operation)
        case _:
            return _do_elsewhere(world, operation, threads)


def _add_device(world: World, operation: AddDevice) -> Watched:
    sizes = {} if operation.slot_bytes is None else {"size": operation.slot_bytes}
    cover = None if operation.slot_s is None else CoverSchedule(operation.slot_s, **sizes)
    options = Options(cover=cover, consequence=operation.consequence)
    return world.device(operation.account, mode=operation.mode, options=options)


def _do_elsewhere(world: World, operation: Publish | Start | Stop | Kill | Decide, threads: bool) -> Any:
    """What is done at curator, servers and centre."""
    match operation:
        case Publish():
            return _publish(world, operation, threads)
        case Start(servers):
            return world.start([Party.of_server(name) for name in servers] or None, threads)
        case Stop():
            return world.stop()
        case Kill(server):
            return world.kill(Party.of_server(server))
        case Decide():
            return _decide(world, operation)
        case _:
            assert_never(operation)


def _publish(world: World, operation: Publish, threads: bool) -> Any:
    running = world.running
    SetParameters(1, operation.values).check(world.design.info)
    rng = seeded(f"scenario/{operation.seed}/{len(list(world.deployment.lists.glob('*')))}")
    hashes = random_hashes(operation.random, operation.seed)
    made = publish_list(
        world.deployment, world.design, hashes, operation.listed, rng, values=operation.values
    )
    if running:
        world.stop()
        world.start(running, threads)
    return made


def _decide(world: World, operation: Decide) -> list[pb.ReportRow]:
    named = bytes.fromhex(operation.report)
    rows = centre_list(world.deployment).reports
    moved = []
    for report in [named] if named else [row.report_id for row in rows if row.state == State.CHECKED]:
        request = pb.MoveRequest(report_id=report, state=operation.state, reason=operation.reason)
        request.authority = operation.authority
        moved.append(ask_centre(world.deployment, "Move", request, pb.ReportRow))
    return moved
