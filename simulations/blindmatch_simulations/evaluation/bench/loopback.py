"""`blindmatch bench query`, over loopback gRPC: what the network's software adds, and a matcher's throughput.

The matcher is a process of its own, with mutual TLS, as in a deployment; devices are threads here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

import grpc
from blindmatch_client.egress import Call, Egress, Recorder
from blindmatch_client.egress.calls import DESCRIBE, EXCHANGE
from blindmatch_client.egress.egress import Channels
from blindmatch_client.matching.detector import MatchingExchange
from blindmatch_client.trace import Purpose
from blindmatch_protocol.codec import decode_any
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Party, Request
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_protocol.designs.voprf import MATCHER
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.hosting.workers import cores
from msgspec import Struct

from blindmatch_simulations.evaluation.bench.queries import SEVERAL, Check, publish_random
from blindmatch_simulations.measure.meter import BenchError, Meter
from blindmatch_simulations.measure.processes import cpu_seconds
from blindmatch_simulations.measure.yardstick import Cost, percentile, timed
from blindmatch_simulations.testbed.deployment.devices import credentials_of, egress_of
from blindmatch_simulations.testbed.scenario.world import World

MOST_CALLS: Final = 450
"""Calls of one device: a matcher allows 500 at once."""
WARM_UP: Final = 20
AT_ONCE: Final = 64
"""Requests that are answered together where the crypto alone is measured."""


class Served(Redacted, Struct, frozen=True):
    """A running matcher with its set.

    Attributes:
        check: checks against its set.
    """

    world: World
    check: Check

    @property
    def pid(self) -> int:
        return self.world.servers[Party.MATCHER].process.pid

    def channels(self, name: str) -> Channels:
        deployment = self.world.deployment
        return Channels(deployment.endpoints(), credentials_of(deployment, name))

    def egress(self, name: str) -> Egress:
        return egress_of(self.world.deployment, name, Recorder(most_records=100))


@contextmanager
def serving(folder: Path, entries: int, evaluations: int) -> Iterator[Served]:
    """A matcher with a set of random hashes, in the new `folder`, until the block ends."""
    with World.create(folder, DESIGN.info.name) as world:
        world.published.parent.mkdir(parents=True)
        signer = world.deployment.signer(datetime.now(UTC))
        publication = publish_random(entries, world.published, evaluations, signer)
        world.start([Party.MATCHER])
        yield Served(world, Check.of(publication))


def bench_latency(meter: Meter, served: Served, calls: int) -> None:
    """Measure `calls` checks by one device, each after an empty call and a check without a network."""
    egress = served.egress("latency")
    progress = meter.phase("private checks over loopback")
    try:
        describe = Call(Party.MATCHER, DESCRIBE, Purpose.SETUP)
        exchange = MatchingExchange(egress, DESIGN, served.check.epoch, 1)
        tasks = (
            lambda: egress.unary(describe, pb.DescribeRequest()),
            served.check.both_sides,
            lambda: served.check.session(system_randomness()).run(served.check.item, exchange),
        )
        for _ in range(WARM_UP):
            _ = [task() for task in tasks]
        with meter.around() as runs:
            costs = []
            for done in range(min(calls, MOST_CALLS)):
                costs.append([timed(task) for task in tasks])
                progress(done + 1, calls)
    finally:
        egress.close()
    entries = served.check.publication.manifest.entries
    empty, crypto, check = ([row[at].wall_s * 1e6 for row in costs] for at in range(3))
    for name, values in (("empty", empty), ("check", check)):
        figures = {"p50_us": median(values), "p95_us": percentile(values, 0.95)}
        meter.record(f"query/loopback/{name}", figures, runs, entries=entries, calls=len(values))
    times = median(check) / (median(empty) + median(crypto))
    meter.record("query/loopback/overhead", {"times": times}, runs, entries=entries, calls=len(check))


def bench_throughput(meter: Meter, served: Served, requests: int, devices: int) -> None:
    """Measure the crypto of requests alone, then a matcher that `devices` devices ask without a pause."""
    crypto = _crypto(meter, served.check)
    each = max(1, min(requests // devices, MOST_CALLS))
    with ExitStack() as stack:
        channels = [served.channels(f"load-{number}") for number in range(devices)]
        for opened in channels:
            stack.callback(opened.close)
        _ask_all(channels, served.check, WARM_UP)
        with meter.around(cores()) as runs:
            before = cpu_seconds(served.pid)
            cost = _ask_all(channels, served.check, each)
            after = cpu_seconds(served.pid)
    total = each * devices
    raw = total / cost.wall_s * crypto
    left = max(0.0, 1 - cost.cpu_s / (cost.wall_s * cores()))
    share = raw / left if left else raw  # of the CPU time that the devices left to the matcher
    figures = {"per_second": total / cost.wall_s, "raw_share": raw, "share": share}
    figures["device_cpu_us"] = cost.cpu_s / total * 1e6
    if before is not None and after is not None:
        figures["server_cpu_us"] = (after - before) / total * 1e6
    meter.record(
        "query/throughput/matcher",
        figures,
        runs,
        evaluations=SEVERAL,
        devices=devices,
        requests=total,
        threads=cores(),
    )


def _crypto(meter: Meter, check: Check) -> float:
    rng = system_randomness()
    kinds = DESIGN.requests[MATCHER]
    requests = [Request(decode_any(kinds, check.request(), "bench/request")) for _ in range(AT_ONCE)]
    with ThreadPoolExecutor(cores()) as pool:
        row = meter.time(
            "query/throughput/crypto",
            lambda: DESIGN.answer(MATCHER, check.opened.states[MATCHER], requests, rng, pool),
            count=AT_ONCE,
            threads=cores(),
            evaluations=SEVERAL,
        )
    return (row.figures["wall_us"].value or 0.0) / 1e6


def _ask_all(channels: Sequence[Channels], check: Check, each: int) -> Cost:
    """Let every device send `each` requests, one after the other; what it costs, here and on the clock."""
    request = check.envelope()

    def device(opened: Channels) -> None:
        channel = opened.to(Party.MATCHER)
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXCHANGE.path)
        for _ in range(each):
            # a busy machine may take several attempts to connect
            call(request, timeout=30, wait_for_ready=True)

    def everyone() -> None:
        for waiting in [pool.submit(device, opened) for opened in channels]:
            waiting.result()

    with ThreadPoolExecutor(len(channels)) as pool:
        try:
            return timed(everyone)
        except grpc.RpcError as error:
            raise BenchError(f"the matcher did not answer: {error.code().name}") from None
