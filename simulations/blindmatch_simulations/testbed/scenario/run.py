"""Plays operations in a world, bounded in count and time, and tells what is seen of its devices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from typing import Any, ClassVar, assert_never

import numpy as np
from blindmatch_client.settings import CoverSchedule
from blindmatch_client.trace import EgressRecord, Purpose, SessionTrace
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Rows, decode_any
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.randomness import Randomness, seeded, system_randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.design import told
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import rows
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.centre.keys import CentreKeys
from blindmatch_server.centre.store import State
from blindmatch_server.curator import list_hashes, open_list
from blindmatch_server.epochs.published import Publication
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.measure.yardstick import Stopwatch
from blindmatch_simulations.testbed.audit import Counterpart, Evidence
from blindmatch_simulations.testbed.deployment.curating import add_references, list_path, publish
from blindmatch_simulations.testbed.deployment.devices import Options, Watched, now_ms
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.operators import ask_centre, centre_list
from blindmatch_simulations.testbed.inprocess.deployed import OpenDesign, open_published, values_of
from blindmatch_simulations.testbed.inprocess.leaves import fields_of
from blindmatch_simulations.testbed.inprocess.steps import silent, stands_in
from blindmatch_simulations.testbed.pictures.pool import random_hashes
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
from blindmatch_simulations.testbed.scenario.world import Driven, World

Counted = Mapping[bm.Party, Sequence[pb.Counter]]


def evidence(
    world: World, account: str, pool: Sequence[bm.Item] = (), counted: Counted | None = None
) -> Evidence:
    """What an audit of one device goes by, with pictures of `pool` to take decoys from, beside its own; what
    servers `counted` is not looked at if None."""
    driven = world.of(account)
    manifest = world.publication().manifest
    setup = frozenset((manifest.epoch, file.name) for file in manifest.files)
    keys = CentreKeys.read(world.deployment.centre_keys)
    watched = driven.watched
    traced = driven.watched.traced
    items = {number: Picture.from_bytes(data) for number, data in driven.files.items()}
    return Evidence(
        account=account,
        told=replace(driven.told, setup=setup),
        records=watched.recorder.records(),
        traces=list(traced.sessions),
        items=items,
        pool=[*items.values(), *pool],
        messages=list(traced.messages),
        enrolments=list(traced.enrolments),
        drawn=watched.drawn.taken(),
        files=dict(driven.files),
        arrived=None if counted is None else arrived(counted, account),
        centre=keys.sealing,
        stamp_key=keys.stamp,
    )


def counterpart(world: World, entries: Rows) -> Counterpart:
    """The roles of the current epoch in this process; `entries`, uint8 (n, 32), say which pictures match."""
    opened = open_published(world.design, world.publication())
    return Counterpart(world.design, opened.setup, opened.states, entries, system_randomness())


class Shown(Struct, frozen=True, forbid_unknown_fields=True):
    """A declared fact of a picture, by its number, that stands in what a party got of it; `value` as people
    read it, empty for the picture itself."""

    item: int
    role: str
    party: str
    fact: str
    severity: bm.Severity
    value: str


def shown(world: World, seen: Evidence) -> tuple[Shown, ...]:
    """What stands in the bodies of a device's sessions, as each role and each carrier of it reads them."""
    opened = open_published(world.design, world.publication())
    return tuple(
        one
        for trace in seen.traces
        for asked in trace.rounds
        for role, body in asked.bodies.items()
        for one in _stands(opened, seen.items[trace.item], trace.item, role, body)
    )


def _stands(opened: OpenDesign, item: bm.Item, number: int, role: bm.Role, body: bytes) -> Iterator[Shown]:
    design = opened.design
    host = opened.design.info.roles[role]
    for party in dict.fromkeys((design.info.asked(role), host)):
        message = decode_any(design.requests[role], body, "recording")
        if party == host:
            message = design.unsealed(role, opened.states[role], message)
        fields = [value for _, value in fields_of(message)]
        for fact in told(design, frozenset({party}), bm.Adversary.SEMI_HONEST):
            value = fact.project(item, opened.setup)
            words = value.hex() if isinstance(value, bytes) else str(value)
            stands = value is not True and value != () and not silent(value) and stands_in(value, fields)
            if bm.Shows.PICTURE in fact.shows:
                stands = item.pixels.tobytes() in fields
                words = ""
            if stands:
                yield Shown(number, role, party, fact.name, fact.severity, words)


def arrived(counted: Counted, account: str) -> dict[tuple[bm.Party, str], int]:
    """Request bytes that servers counted for an account, by party and method."""
    return {
        (party, counter.method): counter.bytes_in
        for party, rows in counted.items()
        for counter in rows
        if counter.account == account
    }


def sums(records: Sequence[EgressRecord]) -> dict[tuple[bm.Party, Purpose], tuple[int, int]]:
    found: dict[tuple[bm.Party, Purpose], tuple[int, int]] = {}
    for record in records:
        up, down = found.get((record.party, record.purpose), (0, 0))
        found[record.party, record.purpose] = (up + record.request_bytes, down + record.reply_bytes)
    return found


class Cost(Stopwatch):
    """What a device did while a block ran, and how long it took."""

    records: Sequence[EgressRecord] = ()
    traces: Sequence[SessionTrace] = ()

    def up(self, *purposes: Purpose) -> int:
        return sum(one.request_bytes for one in self.records if one.purpose in purposes)

    def down(self, *purposes: Purpose) -> int:
        return sum(one.reply_bytes for one in self.records if one.purpose in purposes)


@contextmanager
def watching(device: Watched) -> Iterator[Cost]:
    """The cost of what `device` does until the block ends; it is filled in then."""
    cost = Cost()
    calls = len(device.recorder.records())
    traces = len(device.traces)
    with cost:
        yield cost
    cost.records = device.recorder.records()[calls:]
    cost.traces = device.traces[traces:]


def publish_list(
    deployment: Deployment,
    design: bm.AnyDesign,
    hashes: Rows,
    listed: Sequence[bytes],
    rng: Randomness,
    epoch: int | None = None,
    values: Mapping[str, int] | None = None,
    at: datetime | None = None,
) -> Publication:
    """Publish an epoch of `hashes`, uint8 (n, 32), and of those of the `listed` picture files, of which the
    centre gets its second hash; the list is kept as ``list-0``, ``list-1`` and so on. Of `values` those that
    the design lacks are left out; `at`: when it is built, if not now."""
    deployment.lists.mkdir(parents=True, exist_ok=True, mode=0o700)
    pictures = [Picture.from_bytes(data) for data in listed]
    path = list_path(deployment, f"list-{len(list(deployment.lists.glob('*.list')))}")
    list_hashes(np.concatenate([hashes, rows([one.hash for one in pictures])]), path, rng)
    with open_list(path) as entries:
        made = publish(deployment, design, entries, rng, epoch, values_of(design, values or {}), at=at)
        add_references(deployment, entries, pictures)
    return made


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
        result: what came of it: what `World` gives back for it; None where that is nothing.
        cost: what the device did, where one was told to do something.
        noticed: what this device holds against somebody since then, in words.
    """

    SHOWN: ClassVar = ("number", "at_ms", "operation", "error")

    number: int
    at_ms: int
    operation: Operation
    result: Any = None
    error: str = ""
    cost: Cost | None = None
    noticed: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        """What the device learnt of a picture that it sent; else empty."""
        return str(getattr(self.result, "outcome", ""))

    @property
    def delivered(self) -> bool | None:
        """Whether the message was handed over; None for what is no message."""
        return getattr(self.result, "delivered", None)

    @property
    def item(self) -> int | None:
        return getattr(self.result, "item", None)

    @property
    def received(self) -> tuple[tuple[str, int], ...]:
        """Of messages that came, the sender and the number of pictures."""
        if not isinstance(self.operation, Receive):
            return ()
        return tuple((one.sender, len(one.pictures)) for one in self.result or ())

    @property
    def reports(self) -> tuple[tuple[str, str], ...] | None:
        """State and checks of the centre's reports; None where nobody asked."""
        if not isinstance(self.result, pb.CentreList):
            return None
        return tuple((row.state, row.checks) for row in self.result.reports)


class Player(Redacted, Struct):
    """Does operations in a world, and tells of each.

    Attributes:
        tell: hears of each operation once it is done, or has failed.
    """

    world: World
    threads: bool = False
    tell: Callable[[Event], object] = lambda event: None
    played: int = 0

    def do(self, operation: Operation, progress: bm.Progress = bm.no_progress) -> Any:
        """Do one operation; what `World` gives back for it; raises what the part of the world raises,
        once `tell` has heard of it."""
        operation = checked(operation)
        number = self.played
        at_ms = now_ms()
        self.played = self.played + 1
        account = account_of(operation)
        driven = self.world.driven.get(account) if account else None
        before = _held_against(driven)
        with watching(driven.watched) if driven else nullcontext(None) as cost:
            try:
                result = _do(self.world, operation, self.threads, progress)
                error = None
            except BlindmatchError as failed:
                result = None
                error = failed
        words = "" if error is None else f"{type(error).__name__}: {error}"
        noticed = tuple(one for one in _held_against(driven) if one not in before)
        self.tell(Event(number, at_ms, operation, result, words, cost, noticed))
        if error is not None:
            raise error
        return result


def _held_against(driven: Driven | None) -> tuple[str, ...]:
    """What a device holds against others: evidence, and why it asks nobody any more."""
    if driven is None:
        return ()
    standing = driven.watched.device.standing()
    evidence = [f"{one.kind}: {one.words}" for one in standing.evidence]
    doubts = filter(None, (standing.distrust, standing.log_distrust))
    return (*evidence, *(one for one in doubts if one not in "".join(evidence)))


def play(
    world: World,
    operations: Iterable[Operation],
    bounds: Bounds | None = None,
    threads: bool = False,
) -> Iterator[Event]:
    """Play `operations`, each as its event is asked for; one that fails is an event too; `ScenarioError` if a
    bound is reached with operations left, or at what is no operation."""
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


def _do(world: World, operation: Operation, threads: bool, progress: bm.Progress) -> Any:
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
            sizes = {} if operation.slot_bytes is None else {"size": operation.slot_bytes}
            cover = None if operation.slot_s is None else CoverSchedule(operation.slot_s, **sizes)
            options = Options(cover=cover, consequence=operation.consequence)
            return world.device(operation.account, mode=operation.mode, options=options)
        case _:
            return _do_elsewhere(world, operation, threads)


def _do_elsewhere(world: World, operation: Publish | Start | Stop | Kill | Decide, threads: bool) -> Any:
    """What is done at curator, servers and centre."""
    match operation:
        case Publish():
            return _publish(world, operation, threads)
        case Start(servers):
            return world.start([bm.Party.of_server(name) for name in servers] or None, threads)
        case Stop():
            return world.stop()
        case Kill(server):
            return world.kill(bm.Party.of_server(server))
        case Decide():
            return _decide(world, operation)
        case _:
            assert_never(operation)


def _publish(world: World, operation: Publish, threads: bool) -> Any:
    running = world.running
    bm.SetParameters(1, operation.values).check(world.design.info)
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
