"""A whole private near-match over loopback gRPC: a device here, the matcher in a process of its own.

    prepare | call: request --> TLS --> matcher: count, evaluate, prove --> TLS --> reply | finish

Both sides may use every core; mutual TLS, the matcher's ledger and the device's egress are those of a
deployment. What is asked is a picture that is not listed, the usual case.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from blindmatch_client.egress import Call, Egress, Recorder
from blindmatch_client.egress.methods import DESCRIBE
from blindmatch_client.trace import Purpose
from blindmatch_client.transport import MatchingExchange
from blindmatch_protocol import contract
from blindmatch_protocol.contract import Exchange, Item, NoMatch, Party, Session
from blindmatch_protocol.designs.token_psi import DESIGN, MatcherState, Request, Setup
from blindmatch_protocol.designs.token_psi.design import MATCHER
from blindmatch_protocol.randomness import system_randomness
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.authority import Identity, Kind
from blindmatch_server.crew import cores

from blindmatch_simulations.deployment.curating import lend
from blindmatch_simulations.deployment.devices import now_ms
from blindmatch_simulations.deployment.folder import Deployment
from blindmatch_simulations.deployment.processes import running_servers
from blindmatch_simulations.measure.meter import BenchError, Meter
from blindmatch_simulations.measure.runs import percentile
from blindmatch_simulations.studies.near.building import Store

WARM_UP: Final = 5
MOST_CALLS: Final = 240
"""Of one device: a matcher allows 500 calls at once, and two are made for each."""


@dataclass(slots=True, repr=False)
class Times:
    """Wall times by row, in microseconds, one for each match."""

    taken: dict[str, list[float]] = field(default_factory=dict)

    def add(self, row: str, seconds: float) -> None:
        """One more of a row."""
        self.taken.setdefault(row, []).append(1e6 * seconds)


@contextmanager
def asking(store: Store, folder: Path) -> Iterator[Egress]:
    """A matcher with `store` in a process of its own, and a device's way to it; `folder` is new."""
    deployment = Deployment.create(folder, datetime.now(UTC))
    lend(store.folder, deployment.published(DESIGN.info.name), deployment.signer(datetime.now(UTC)))
    identity = Identity(Kind.DEVICE, "near")
    deployment.enrol(identity, deployment.device("near"), datetime.now(UTC))
    with running_servers(deployment, (Party.MATCHER,), ("--design", DESIGN.info.name)):
        credentials = deployment.caller_credentials(identity, deployment.device("near"))
        egress = Egress(deployment.endpoints(), credentials, Recorder(most_records=50), now_ms)
        try:
            yield egress
        finally:
            egress.close()


def record_latency(meter: Meter, store: Store, egress: Egress, picture: Item, calls: int) -> None:
    """Rows of `calls` matches, each beside an empty call and the matcher's answer without a network."""
    epoch, files = store.publication.manifest.epoch, store.publication.role(MATCHER)
    exchange = MatchingExchange(egress, DESIGN, epoch, 1)
    progress = meter.stage("near matches over loopback")
    with ThreadPoolExecutor(cores()) as pool:
        setup = DESIGN.with_executor(DESIGN.open_setup(store.publication.setup(), epoch), pool)
        matcher = DESIGN.open_role(MATCHER, files)
        for _ in range(WARM_UP):
            _turn(egress, exchange, setup, matcher, picture, pool, Times())
        times, wanted = Times(), min(calls, MOST_CALLS)
        with meter.around(cores()) as around:
            for done in range(wanted):
                _turn(egress, exchange, setup, matcher, picture, pool, times)
                progress(done + 1, wanted)
    named = {"entries": store.entries, "evaluations": setup.tokening.tokens, "threads": cores()}
    for row, taken in times.taken.items():
        figures = {"p50_us": median(taken), "p95_us": percentile(taken, 0.95)}
        meter.record(f"near/loopback/{row}", figures, around.runs, calls=len(taken), **named)


def _turn(
    egress: Egress,
    exchange: Exchange,
    setup: Setup,
    matcher: MatcherState,
    picture: Item,
    pool: ThreadPoolExecutor,
    times: Times,
) -> None:
    """An empty call, a match, and its request answered without a network, so that all see one machine."""
    start = time.perf_counter()
    egress.unary(Call(Party.MATCHER, DESCRIBE, Purpose.SETUP), pb.DescribeRequest())
    times.add("empty", time.perf_counter() - start)
    request = _match(exchange, setup, picture, times)
    start = time.perf_counter()
    DESIGN.answer(MATCHER, matcher, [contract.Request(request)], system_randomness(), pool)
    times.add("answer", time.perf_counter() - start)


def _match(exchange: Exchange, setup: Setup, picture: Item, times: Times) -> Request:
    """One private match; its request."""
    rng = system_randomness()
    session = Session(DESIGN, setup, DESIGN.enrol(rng), rng)
    start = time.perf_counter()
    bodies = session.start(picture)
    assert isinstance(bodies, Mapping)
    prepared = time.perf_counter()
    replies = exchange(bodies)
    called = time.perf_counter()
    session.receive(replies)
    outcome = session.conclude()
    end = time.perf_counter()
    if not isinstance(outcome, NoMatch):
        raise BenchError("a picture that is not listed matched")
    parts = {"match": end - start, "prepare": prepared - start, "call": called - prepared}
    for row, seconds in (parts | {"finish": end - called}).items():
        times.add(row, seconds)
    request = bodies[MATCHER]
    assert isinstance(request, Request)
    return request
