"""What a picture costs device and matcher, each on one thread, how long its messages are, and how long a
whole private near-match takes over loopback gRPC: a device here, the matcher in a process of its own.

What is asked is a picture that is not listed, the usual case.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeAlias

from blindmatch_client.egress import Call, Egress, Recorder
from blindmatch_client.egress.calls import DESCRIBE
from blindmatch_client.matching.detector import MatchingExchange
from blindmatch_client.trace import Purpose
from blindmatch_protocol import contract
from blindmatch_protocol.codec.randomness import seeded, system_randomness
from blindmatch_protocol.contract import UNBOUND, Exchange, Item, NoMatch, Party, Send, Session, concluded
from blindmatch_protocol.crypto.oprf import Evaluation, Mode, SecretKey, blind, blind_evaluate, finalize
from blindmatch_protocol.designs.token_psi import DESIGN, Setup, Tokening
from blindmatch_protocol.designs.token_psi.build import oprf_inputs
from blindmatch_protocol.designs.token_psi.design import find_label
from blindmatch_protocol.designs.token_psi.shares import candidate_count
from blindmatch_protocol.designs.token_psi.tokens import probe_tokens
from blindmatch_protocol.designs.voprf import MATCHER, KeyHolder
from blindmatch_protocol.designs.voprf.round import BlindedRequest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.curator import random_list
from blindmatch_server.epochs.published import Publication, open_publication
from blindmatch_server.hosting.workers import cores
from msgspec import Struct

from blindmatch_simulations.measure.meter import BenchError, Meter
from blindmatch_simulations.measure.yardstick import Cost, Run, percentile
from blindmatch_simulations.testbed.deployment.building import built_alone
from blindmatch_simulations.testbed.deployment.curating import lend
from blindmatch_simulations.testbed.deployment.devices import egress_of
from blindmatch_simulations.testbed.inprocess.deployed import OpenDesign
from blindmatch_simulations.testbed.scenario.world import World


class Store(Struct, frozen=True):
    """A published set and what its building cost.

    Attributes:
        publication: the set and the matcher's key.
        folder: with `current` in it, as a matcher is given it.
        run: the build, between readings of the yardstick.
        peak_mib: the most memory that was resident; None where the system does not tell.
    """

    publication: Publication
    folder: Path
    run: Run
    peak_mib: float | None

    @property
    def entries(self) -> int:
        return self.publication.manifest.entries


def built_store(meter: Meter, folder: Path, entries: int, tokening: Tokening) -> Store:
    """A store of random hashes, built in the new `folder`."""
    folder.mkdir()
    listed = folder / "entries.list"
    published = folder / "published"
    random_list(entries, listed, system_randomness())
    meter.phase(f"building a set of {entries:,} entries")(0, 1)
    with meter.around(cores()) as runs:
        found = built_alone(DESIGN.info.name, listed, published, tokening.values())
    (run,) = runs
    cost = Cost(found["wall_s"], found["cpu_s"])
    return Store(open_publication(published), published, Run(cost, run.before, run.after), found["peak_mib"])


def record_costs(meter: Meter, parties: OpenDesign, picture: Item, entries: int) -> float:
    """Rows of both sides' costs and of the messages' sizes; seconds of CPU for one candidate secret."""
    evaluations = parties.setup.tokening.tokens
    for row, task in _tasks(parties, picture).items():
        meter.time(f"near/cost/{row}", task, entries=entries, evaluations=evaluations)
    request = _started(parties, picture).bodies[MATCHER]
    reply, _ = parties.answer(MATCHER, request, seeded("matcher"))
    for row, message in (("request", request), ("reply", reply)):
        meter.record(f"near/bytes/{row}", {"bytes": len(message.encode())}, evaluations=evaluations)
    t = parties.setup.tokening
    pairs = next(row for row in reversed(meter.rows) if row.id == "near/cost/pairs")
    return (pairs.figures["cpu_us"].value or 0.0) * 1e-6 / candidate_count(t.bands, t.probes, t.needed)


def _started(parties: OpenDesign, picture: Item) -> Send[Any]:
    rng = seeded("device")
    step = DESIGN.start(DESIGN.enrol(rng), parties.setup, picture, UNBOUND, rng).step
    assert isinstance(step, Send)
    return step


def _tasks(parties: OpenDesign, picture: Item) -> dict[str, Callable[[], object]]:
    """What is timed, by row. Without proofs the design does not exist: its parts are put together in mode
    OPRF, which has none."""
    setup = parties.setup
    t = parties.setup.tokening
    own_hash = picture.hash
    started = _started(parties, picture)
    ask = partial(parties.answer, MATCHER, started.bodies[MATCHER], seeded("matcher"))
    replies = {MATCHER: ask()[0]}
    key = SecretKey(Mode.OPRF, parties.states[MATCHER].key.reveal())

    def blinded() -> Any:
        probed = probe_tokens(own_hash, picture.coefficients, t.k, t.bands, t.probes)
        return blind(oprf_inputs(probed.T), Mode.OPRF, seeded("plain"))

    plain, sent = blinded()
    evaluated = blind_evaluate(key, sent, seeded("none"))
    outputs = finalize(plain, evaluated)

    def device() -> object:
        state, _ = blinded()
        return find_label(setup, finalize(state, Evaluation(evaluated.elements)), own_hash)

    def device_proof() -> object:
        _started(parties, picture)
        return concluded(DESIGN, DESIGN.receive(started.session, setup, replies, seeded("none")), setup)

    return {
        "device": device,
        "device-proof": device_proof,
        "matcher": lambda: blind_evaluate(key, sent, seeded("none")),
        "matcher-proof": ask,
        "pairs": lambda: find_label(setup, outputs, own_hash),
    }


WARM_UP: Final = 5
MOST_CALLS: Final = 240
"""Of one device: a matcher allows 500 calls at once, and two are made for each."""


Times: TypeAlias = defaultdict[str, list[float]]
"""Wall times by row, in seconds, one for each match."""


@contextmanager
def asking(store: Store, folder: Path) -> Iterator[Egress]:
    """A matcher with `store` in a process of its own, and a device's way to it; `folder` is new."""
    with World.create(folder, DESIGN.info.name) as world:
        lend(store.folder, world.published, world.deployment.signer(datetime.now(UTC)))
        world.start([Party.MATCHER])
        with closing(egress_of(world.deployment, "near", Recorder(most_records=50))) as egress:
            yield egress


def record_latency(meter: Meter, store: Store, egress: Egress, picture: Item, calls: int) -> None:
    """Rows of `calls` matches, each beside an empty call and the matcher's answer without a network."""
    epoch = store.publication.manifest.epoch
    files = store.publication.role(MATCHER)
    exchange = MatchingExchange(egress, DESIGN, epoch, 1)
    progress = meter.phase("near matches over loopback")
    with ThreadPoolExecutor(cores()) as pool:
        setup = DESIGN.with_executor(DESIGN.open_setup(store.publication.setup(), epoch), pool)
        matcher = DESIGN.open_role(MATCHER, files)
        for _ in range(WARM_UP):
            _turn(egress, exchange, setup, matcher, picture, pool, Times(list))
        times = Times(list)
        wanted = min(calls, MOST_CALLS)
        with meter.around(cores()) as runs:
            for done in range(wanted):
                _turn(egress, exchange, setup, matcher, picture, pool, times)
                progress(done + 1, wanted)
    named = {"entries": store.entries, "evaluations": setup.tokening.tokens, "threads": cores()}
    for row, seconds in times.items():
        taken = [1e6 * one for one in seconds]
        figures = {"p50_us": median(taken), "p95_us": percentile(taken, 0.95)}
        meter.record(f"near/loopback/{row}", figures, runs, calls=len(taken), **named)


def _turn(
    egress: Egress,
    exchange: Exchange,
    setup: Setup,
    matcher: KeyHolder,
    picture: Item,
    pool: ThreadPoolExecutor,
    times: Times,
) -> None:
    """An empty call, a match, and its request answered without a network, so that all see one machine."""
    start = time.perf_counter()
    egress.unary(Call(Party.MATCHER, DESCRIBE, Purpose.SETUP), pb.DescribeRequest())
    times["empty"].append(time.perf_counter() - start)
    request = _match(exchange, setup, picture, times)
    start = time.perf_counter()
    DESIGN.answer(MATCHER, matcher, [contract.Request(request)], system_randomness(), pool)
    times["answer"].append(time.perf_counter() - start)


def _match(exchange: Exchange, setup: Setup, picture: Item, times: Times) -> BlindedRequest:
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
        times[row].append(seconds)
    request = bodies[MATCHER]
    assert isinstance(request, BlindedRequest)
    return request
