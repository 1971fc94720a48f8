"""The games of a design: every coalition, semi-honest and malicious, over all classes of pairs; and its own
simulator against real views: that is given facts, output and randomness, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from blindmatch_protocol.codec import Message
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Adversary, Learner, Outcome, Role
from blindmatch_protocol.contract.design import told
from msgspec import Struct

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.leakage.facts import (
    SCENARIOS,
    Move,
    Opponent,
    Pair,
    opponents,
    playable,
)
from blindmatch_simulations.evaluation.conformance.leakage.game import Finding, Run, judge
from blindmatch_simulations.evaluation.conformance.leakage.game_setup import GameSetup, game_of
from blindmatch_simulations.evaluation.conformance.leakage.play import Behaviour, Event, Play, event_of
from blindmatch_simulations.measure.intervals import advantage, resolution
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, run_session
from blindmatch_simulations.testbed.inprocess.steps import below, flag
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotApplicableError, Passed
from blindmatch_simulations.testbed.pictures.pool import Pooled

FEWER: Final = ((16, 3), (32, 2))
"""In quick mode a class has all runs, of up to 16 classes; two thirds of them, of up to 32; or else half."""

Shared: TypeAlias = dict[Hashable, tuple[list[Run], list[Run]]]
CHEATS = (Behaviour.OTHER_KEY, Behaviour.ALTERED, Behaviour.SILENT)


class Class(Redacted, Struct, frozen=True):
    """A class of pairs that can be played: its name, its pairs, and what the roles do."""

    name: str
    pairs: Sequence[Pair]
    behaviour: Behaviour


def check_semi_honest(fixtures: Fixtures) -> Passed:
    """Honest roles, alone and in coalitions, look at everything they get ([games](#games))."""
    return _check(fixtures, Adversary.SEMI_HONEST, (Behaviour.HONEST,))


def check_malicious(fixtures: Fixtures) -> Passed:
    """Roles cheat in their replies, and see whether a report, a hold or a retry follows."""
    return _check(fixtures, Adversary.MALICIOUS, CHEATS)


def _check(fixtures: Fixtures, adversary: Adversary, behaviours: Sequence[Behaviour]) -> Passed:
    game = game_of(fixtures)
    found = opponents(fixtures.design, adversary)
    if not found:
        raise NotApplicableError("nobody gets anything: nothing is sent for a picture")
    figures: dict[str, Any] = {"parameters": game.values}
    words: list[str] = []
    shared: Shared = {}
    for opponent in found:
        classes = classes_of(game, opponent, behaviours)
        if not classes:
            words.append(f"{opponent.name}: no pair agrees on the declared facts, everything is declared")
            continue
        findings = _play(fixtures, game, opponent, classes, shared)
        pairs = len({pair.names for one in classes for pair in one.pairs})
        words.append(summary(opponent.name, findings, figures, pairs))
    return Passed("; ".join(words), figures)


def classes_of(game: GameSetup, opponent: Opponent, behaviours: Sequence[Behaviour]) -> list[Class]:
    """Every class with at least one pair that agrees on the facts declared to `opponent`."""
    found: list[Class] = []
    for scenario in SCENARIOS:
        if scenario.links and Behaviour.HONEST not in behaviours:
            continue  # a device stops asking a role that cheated, and the role knows the account it cheated
        pairs = playable(scenario, game.pool, game.table.deployed, opponent, game.outputs)
        for behaviour in behaviours if pairs else ():
            name = scenario.name if behaviour is Behaviour.HONEST else f"{scenario.name}, role {behaviour}"
            found.append(Class(name, pairs, behaviour))
    return found


def _play(
    fixtures: Fixtures, game: GameSetup, opponent: Opponent, classes: Sequence[Class], shared: Shared
) -> list[Finding]:
    """Runs are shared by opponents for whom the same pairs agree; each looks at its own part of them."""
    findings = []
    for one in classes:
        key = (one.name, tuple(pair.names for pair in one.pairs), run_counts(fixtures, len(classes)))
        if key not in shared:
            shared[key] = play_class(fixtures, game, one, len(classes))
        mine, theirs = (
            [Run(seen_by(opponent, game, run), run.pair, run.coin) for run in runs] for runs in shared[key]
        )
        finding = judge(one.name, mine, theirs, game.known, len(classes))
        findings.append(finding.not_told(f"{opponent.name}: {one.name}", "told apart by {!r}"))
    return findings


def play_class(fixtures: Fixtures, game: GameSetup, one: Class, classes: int) -> tuple[list[Run], list[Run]]:
    """Training and held-out runs of one class."""

    def run(rng: Randomness) -> Run:
        pair = one.pairs[below(rng, len(one.pairs))]
        coin = flag(rng)
        events = Play(game.table, one.behaviour, rng).run(pair.right if coin else pair.left)
        return Run(events, pair, coin)

    return played(fixtures, f"game/{one.name}", run_counts(fixtures, classes), run)


def played(
    fixtures: Fixtures,
    purpose: str,
    counts: tuple[int, int],
    run: Callable[[Randomness], Run],
    at_once: bool = True,
) -> tuple[list[Run], list[Run]]:
    """As many training and held-out runs, on threads if `at_once`; each has randomness of its own."""
    rngs = (fixtures.rng(f"{purpose}/{number}") for number in range(sum(counts)))
    runs = list((fixtures.executor.map if at_once else map)(run, rngs))
    return runs[: counts[0]], runs[counts[0] :]


def run_counts(fixtures: Fixtures, classes: int, most: float = 3) -> tuple[int, int]:
    """(training, held-out) runs of each class; with the large games, all classes together have 10,000.

    Args:
        fixtures: how many runs there are in quick mode.
        classes: how many classes share them.
        most: in quick mode, thirds of these runs at most.
    """
    training, held = fixtures.runs
    if fixtures.held_out:
        return max(training, fixtures.held_out // 5 // classes), -(-fixtures.held_out // classes)
    parts = min(most, next((parts for limit, parts in FEWER if classes <= limit), 1.5))
    return int(training * parts) // 3, int(held * parts) // 3


def seen_by(opponent: Opponent, game: GameSetup, run: Run) -> list[Event]:
    """What an opponent sees of a run; one with a device has asked about the pair's pictures itself."""
    events = [event for event in run.view if event.party in opponent.parties]
    if opponent.has_device:
        names = dict.fromkeys(move.one.name for move in (*run.pair.left, *run.pair.right))
        own = (event for name in names for event in game.own[name])
        events += [event for event in own if event.party in opponent.parties]
    return events


def summary(opponent: str, findings: Sequence[Finding], figures: dict[str, Any], pairs: int) -> str:
    """What came out for one opponent over so many different pairs; its figures are added to `figures`."""
    runs = sum(finding.measured.runs for finding in findings)
    overall = advantage(sum(finding.right for finding in findings), runs)
    worst = max(findings, key=lambda finding: finding.measured.value)
    figures[opponent] = {
        **overall.figures(),
        "held_out_runs": runs,
        "classes": len(findings),
        "pairs": pairs,
        "worst_class": worst.scenario,
        **{f"worst_{name}": value for name, value in worst.measured.figures().items()},
    }
    return (
        f"{opponent}: no distinguisher in this suite exceeded {overall.high:.3f} ({resolution(runs):.3f} by "
        f"guessing) over all {len(findings)} classes of {pairs} pairs ({overall.words()}), "
        f"{max(finding.measured.high for finding in findings):.3f} in any one"
    )


KINDS = ("listed", "near-30", "far-32", "lone", "other", "poor")


def check_simulator(fixtures: Fixtures) -> Passed:
    """`simulate` gets facts, output and randomness; its views have the messages and lengths of real ones, and
    are not told apart."""
    fixtures.asks()
    game = game_of(fixtures)
    simulated = [role for role in fixtures.design.info.roles if _has_simulator(fixtures, game, role)]
    if not simulated:
        raise NotApplicableError("the design has no simulator")
    figures: dict[str, Any] = {}
    words = [_role(fixtures, game, role, len(simulated) * len(KINDS), figures) for role in simulated]
    return Passed("; ".join(words), figures)


def _has_simulator(fixtures: Fixtures, game: GameSetup, role: Role) -> bool:
    one = fixtures.pool.of("other")[0]
    return simulated_view(game.table.deployed, role, one, None, fixtures.rng("simulator")) is not None


def simulated_view(
    deployed: Deployed, role: Role, one: Pooled, output: Outcome | None, rng: Randomness
) -> tuple[Message, ...] | None:
    """What the simulator makes of the facts declared to the role's party."""
    design = deployed.design
    facts = told(design, frozenset({design.info.roles[role]}), Adversary.SEMI_HONEST)
    projected = {fact.name: fact.project(one.item, deployed.setup) for fact in facts}
    return design.simulate(role, projected, output, rng)


def _role(fixtures: Fixtures, game: GameSetup, role: Role, classes: int, figures: dict[str, Any]) -> str:
    findings: list[Finding] = []
    for kind in KINDS:
        run = partial(_view, game, role, kind)
        made = played(fixtures, f"simulator/{role}/{kind}", run_counts(fixtures, classes), run)
        finding = judge(kind, *made, game.known, classes)
        says = "real and simulated views told apart by {!r}"
        findings.append(finding.not_told(f"simulate, role {role}, {kind}", says))
    runs = sum(finding.measured.runs for finding in findings)
    overall = advantage(sum(finding.right for finding in findings), runs)
    figures[str(role)] = {"advantage": round(overall.value, 4), "high": round(overall.high, 4), "runs": runs}
    return f"role {role}: no distinguisher in this suite exceeded {overall.high:.3f} ({overall.words()})"


def _view(game: GameSetup, role: Role, kind: str, rng: Randomness) -> Run:
    """A view of one picture, real if the coin is True; the adversary guesses that picture and another."""
    chosen, others = game.pool.of(kind), game.pool.of("other", "far-33")
    one = chosen[below(rng, len(chosen))]
    different = [other for other in others if other is not one]
    pair = Pair((Move(different[below(rng, len(different))]),), (Move(one),))
    coin = flag(rng)
    deployed = game.table.deployed
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
