"""What is seen of a device: what it recorded of itself, as the audit takes it, and what an operation cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from blindmatch_client.trace import EgressRecord, Purpose, SessionTrace
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import Item, Party
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.centre.keys import CentreKeys
from msgspec.structs import replace

from blindmatch_simulations.measure.yardstick import Stopwatch
from blindmatch_simulations.testbed.audit import Counterpart, Evidence
from blindmatch_simulations.testbed.deployment.devices import Watched
from blindmatch_simulations.testbed.inprocess.opened import open_published
from blindmatch_simulations.testbed.scenario.world import World

Counted = Mapping[Party, Sequence[pb.Counter]]


def evidence(
    world: World, account: str, pool: Sequence[Item] | None = (), counted: Counted | None = None
) -> Evidence:
    """What an audit of one device goes by.

    Args:
        pool: pictures to take decoys from, beside its own; None: sessions are compared with no picture.
        counted: what the servers counted; None: that is not looked at.

    Raises:
        PublicationError: if nothing is published.
        StateError: if the centre's keys are not here.
    """
    driven, manifest = world.of(account), world.publication().manifest
    setup = frozenset((manifest.epoch, name) for name in manifest.setup)
    keys = CentreKeys.read(world.deployment.centre_keys)
    watched, traced = driven.watched, driven.watched.traced
    items = {number: Picture.from_bytes(data) for number, data in driven.files.items()}
    return Evidence(
        account=account,
        told=replace(driven.told, setup=setup),
        records=watched.recorder.records(),
        traces=list(traced.sessions),
        items=items,
        pool=[] if pool is None else [*items.values(), *pool],
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


def arrived(counted: Counted, account: str) -> dict[tuple[Party, str], int]:
    """Request bytes that servers counted for an account, by party and method."""
    return {
        (party, counter.method): counter.bytes_in
        for party, rows in counted.items()
        for counter in rows
        if counter.account == account
    }


def sums(records: Sequence[EgressRecord]) -> dict[tuple[Party, Purpose], tuple[int, int]]:
    """Bytes up and down by party and purpose."""
    found: dict[tuple[Party, Purpose], tuple[int, int]] = {}
    for record in records:
        up, down = found.get((record.party, record.purpose), (0, 0))
        found[record.party, record.purpose] = (up + record.request_bytes, down + record.reply_bytes)
    return found


class Cost(Stopwatch):
    """What a device did while a block ran, and how long it took.

    Attributes:
        records: requests that left it.
    """

    records: Sequence[EgressRecord] = ()
    traces: Sequence[SessionTrace] = ()

    def up(self, *purposes: Purpose) -> int:
        """Request bytes that left for one of these purposes."""
        return sum(one.request_bytes for one in self.records if one.purpose in purposes)

    def down(self, *purposes: Purpose) -> int:
        """Reply bytes of requests for one of these purposes."""
        return sum(one.reply_bytes for one in self.records if one.purpose in purposes)


@contextmanager
def watching(device: Watched) -> Iterator[Cost]:
    """The cost of what `device` does until the block ends; it is filled in then."""
    cost, calls, traces = Cost(), len(device.recorder.records()), len(device.traces)
    with cost:
        yield cost
    cost.records = device.recorder.records()[calls:]
    cost.traces = device.traces[traces:]
