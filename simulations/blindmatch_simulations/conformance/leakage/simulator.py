"""The design's simulator against real views: it is given facts, output and randomness, and nothing else."""

from __future__ import annotations

from typing import Any

from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract import Adversary, Learner, Outcome, Role
from blindmatch_protocol.contract.coalitions import told
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.randomness import Randomness

from blindmatch_simulations.conformance.fixtures import Fixtures
from blindmatch_simulations.conformance.leakage.facts import Move, Pair
from blindmatch_simulations.conformance.leakage.game import Finding, Run, judge
from blindmatch_simulations.conformance.leakage.game_setup import GameSetup, stage_of
from blindmatch_simulations.conformance.leakage.games import run_counts, split
from blindmatch_simulations.conformance.leakage.play import Event, event_of
from blindmatch_simulations.inprocess.deployed import Deployed, run_session
from blindmatch_simulations.inprocess.seeded import below, flag
from blindmatch_simulations.inprocess.verdict import BrokenError, NotApplicableError, Passed
from blindmatch_simulations.measure.intervals import advantage
from blindmatch_simulations.pictures.pool import Pooled

KINDS = ("listed", "near-30", "far-32", "lone", "other", "poor")


def check_simulator(fixtures: Fixtures) -> Passed:
    """Real and simulated views have the same messages and lengths, and are not told apart."""
    fixtures.asks()
    stage = stage_of(fixtures)
    simulated = [role for role in fixtures.design.info.roles if _has_simulator(fixtures, stage, role)]
    if not simulated:
        raise NotApplicableError("the design has no simulator")
    figures: dict[str, Any] = {}
    words = [_role(fixtures, stage, role, len(simulated) * len(KINDS), figures) for role in simulated]
    return Passed("; ".join(words), figures)


def _has_simulator(fixtures: Fixtures, stage: GameSetup, role: Role) -> bool:
    one = fixtures.pool.of("other")[0]
    return simulated_view(stage.table.deployed, role, one, None, fixtures.rng("simulator")) is not None


def simulated_view(
    deployed: Deployed, role: Role, one: Pooled, output: Outcome | None, rng: Randomness
) -> tuple[Message, ...] | None:
    """What the simulator makes of the facts declared to the role's party."""
    design = deployed.design
    facts = told(design, frozenset({design.info.roles[role]}), Adversary.SEMI_HONEST)
    projected = {fact.name: fact.project(one.item, deployed.setup) for fact in facts}
    return design.simulate(role, projected, output, rng)


def _role(fixtures: Fixtures, stage: GameSetup, role: Role, classes: int, figures: dict[str, Any]) -> str:
    findings: list[Finding] = []
    for kind in KINDS:
        training, held = run_counts(fixtures, classes)
        made = split(fixtures, lambda at, kind=kind: _run(fixtures, stage, role, kind, at), training, held)  # type: ignore[misc]
        finding = judge(kind, *made, stage.known, classes)
        says = "real and simulated views told apart by {!r}"
        findings.append(finding.not_told(f"simulate, role {role}, {kind}", says))
    runs = sum(finding.measured.runs for finding in findings)
    overall = advantage(sum(finding.right for finding in findings), runs)
    figures[str(role)] = {"advantage": round(overall.value, 4), "high": round(overall.high, 4), "runs": runs}
    return f"role {role}: no distinguisher in this suite exceeded {overall.high:.3f} ({overall.words()})"


def _run(fixtures: Fixtures, stage: GameSetup, role: Role, kind: str, number: int) -> Run:
    """A view of one picture, real if the coin is True; the adversary guesses that picture and another."""
    rng = fixtures.rng(f"simulator/{role}/{kind}/{number}")
    chosen, others = stage.pool.of(kind), stage.pool.of("other", "far-33")
    one = chosen[below(rng, len(chosen))]
    different = [other for other in others if other is not one]
    pair = Pair((Move(different[below(rng, len(different))]),), (Move(one),))
    coin = flag(rng)
    deployed = stage.table.deployed
    bodies = _real(deployed, role, one, rng) if coin else _simulated(deployed, role, one, rng)
    return Run(_answered(deployed, role, bodies, rng), pair, coin)


def _real(deployed: Deployed, role: Role, one: Pooled, rng: Randomness) -> list[Message]:
    ran = run_session(deployed, one.item, rng)
    return [asked.body for asked in ran.asked if asked.role == role]


def _simulated(deployed: Deployed, role: Role, one: Pooled, rng: Randomness) -> list[Message]:
    learns = Learner.SERVER in deployed.design.info.learns
    output = run_session(deployed, one.item, rng).outcome if learns else None
    made = simulated_view(deployed, role, one, output, rng)
    if made is None:
        raise BrokenError(f"simulate, role {role}", "has a simulator for some pictures only", item=one.name)
    return list(made)


def _answered(deployed: Deployed, role: Role, bodies: list[Message], rng: Randomness) -> list[Event]:
    """The view with the role's own replies, which its keys and state make of the bodies."""
    party, events = deployed.design.info.roles[role], list[Event]()
    for body in bodies:
        events.append(event_of(party, "request", 0, body))
        try:
            events.append(event_of(party, "reply", 0, deployed.answer(role, body, rng)[0]))
        except ProtocolError:
            events.append(Event(party, "refused", 0))
    return events
