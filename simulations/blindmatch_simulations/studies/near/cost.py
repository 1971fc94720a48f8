"""What a picture costs device and matcher, each on one thread, and how long its messages are.

What is timed is a picture that matches nothing, the usual case: a match opens one label more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from blindmatch_protocol import contract
from blindmatch_protocol.contract import UNBOUND, Item, Send, concluded
from blindmatch_protocol.designs.token_psi import DESIGN, MatcherState, Reply, Request, Setup
from blindmatch_protocol.designs.token_psi.build import oprf_inputs
from blindmatch_protocol.designs.token_psi.design import MATCHER
from blindmatch_protocol.designs.token_psi.matching import find_label
from blindmatch_protocol.designs.token_psi.shares import candidate_count
from blindmatch_protocol.designs.token_psi.tokens import probe_tokens
from blindmatch_protocol.oprf import Evaluation, Mode, SecretKey, blind, blind_evaluate, finalize
from blindmatch_protocol.randomness import seeded

from blindmatch_simulations.measure.meter import Meter


@dataclass(frozen=True, slots=True, repr=False)
class Parties:
    """A device and a matcher of one set.

    Attributes:
        setup: as the device opened it.
        matcher: the matcher's state.
        picture: what the device sends.
    """

    setup: Setup
    matcher: MatcherState
    picture: Item

    def started(self) -> tuple[Any, Request]:
        """The device's session and its request."""
        rng = seeded("device")
        step = DESIGN.start(DESIGN.enrol(rng), self.setup, self.picture, UNBOUND, rng).step
        assert isinstance(step, Send)
        body = step.bodies[MATCHER]
        assert isinstance(body, Request)
        return step.session, body

    def ask(self, request: Request) -> Reply:
        """The matcher's reply; raises the `ProtocolError` it answers with."""
        asked = contract.Request(request)
        reply, _ = contract.answered(DESIGN, MATCHER, self.matcher, asked, seeded("matcher"))
        assert isinstance(reply, Reply)
        return reply

    def tokens(self) -> list[bytes]:
        """The OPRF inputs of the picture."""
        t = self.setup.tokening
        probed = probe_tokens(self.picture.hash, self.picture.coefficients, t.k, t.bands, t.probes)
        return oprf_inputs(probed.T)


def record_costs(meter: Meter, parties: Parties, entries: int) -> float:
    """Rows of both sides' costs and of the messages' sizes; seconds of CPU for one candidate secret.

    Args:
        meter: takes the rows.
        parties: device and matcher.
        entries: of the set.
    """
    evaluations = parties.setup.tokening.tokens
    for row, task in _tasks(parties).items():
        meter.time(f"near/cost/{row}", task, entries=entries, evaluations=evaluations)
    _, request = parties.started()
    sizes = {"request": request.encode(), "reply": parties.ask(request).encode()}
    for row, body in sizes.items():
        meter.record(f"near/bytes/{row}", {"bytes": len(body)}, evaluations=evaluations)
    t = parties.setup.tokening
    pairs = next(row for row in reversed(meter.rows) if row.id == "near/cost/pairs")
    return pairs.figures["cpu_us"] * 1e-6 / candidate_count(t.bands, t.probes, t.needed)


def _tasks(parties: Parties) -> dict[str, Callable[[], object]]:
    """What is timed, by row. Without proofs the design does not exist: its parts are put together in mode
    OPRF, which has none."""
    setup, own_hash = parties.setup, parties.picture.hash
    session, request = parties.started()
    reply = parties.ask(request)
    key = SecretKey(Mode.OPRF, parties.matcher.key.reveal())
    plain, sent = blind(parties.tokens(), Mode.OPRF, seeded("plain"))
    evaluated = blind_evaluate(key, sent, seeded("none"))
    outputs = finalize(plain, evaluated)

    def device() -> object:
        state, _ = blind(parties.tokens(), Mode.OPRF, seeded("plain"))
        return find_label(setup, finalize(state, Evaluation(evaluated.elements)), own_hash)

    def device_proof() -> object:
        parties.started()
        return concluded(DESIGN, DESIGN.receive(session, setup, {MATCHER: reply}, seeded("none")), setup)

    return {
        "device": device,
        "device-proof": device_proof,
        "matcher": lambda: blind_evaluate(key, sent, seeded("none")),
        "matcher-proof": lambda: parties.ask(request),
        "pairs": lambda: find_label(setup, outputs, own_hash),
    }
