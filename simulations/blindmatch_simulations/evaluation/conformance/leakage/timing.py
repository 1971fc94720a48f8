"""How much of a picture the time of each step tells: measured, and a reason to fail if it is gross, or if a
design claims otherwise (`constant_time`).

A step's time is the CPU time of its thread (`time.thread_time_ns`), summed over the rounds of a session.
Values fall into eighths of what the training runs took, or into halves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import numpy as np
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import UNBOUND, Adversary, AnyDesign, Party, Send
from msgspec import Struct

from blindmatch_simulations.evaluation.conformance.fixtures import Clocks, Fixtures
from blindmatch_simulations.evaluation.conformance.leakage.game import Distinguisher, Finding, Run, judge
from blindmatch_simulations.evaluation.conformance.leakage.games import game_of, played, run_counts
from blindmatch_simulations.evaluation.conformance.leakage.list_secrecy import NO_GUESSES
from blindmatch_simulations.evaluation.conformance.leakage.play import (
    SCENARIOS,
    Event,
    Moves,
    Pair,
    opponents,
    playable,
)
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, enrolled
from blindmatch_simulations.testbed.inprocess.steps import below, flag
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotApplicableError, Passed

T = TypeVar("T")

STEPS: Final = ("start", "receive", "answer")
BINS: Final = {"eighths": 8, "halves": 2}
TIMED: Final = (
    "a lone band hit or none",
    "a match or none",
    "distance 30 or 32",
    "a label that does not open, or a miss",
    "quality 0 or not",
)
"""Classes of pairs whose first pictures are timed."""
GROSS: Final = 50_000_000
"""Nanoseconds; half of these is what a loaded machine does to a median now and then."""
CPU = 0
WALL = 1
CLOCKS: Final = {"CPU time": CPU, "wall time": WALL}


class Timed(Struct, frozen=True):
    """What one step told of one class of pairs, and whether that it tells nothing is claimed."""

    step: str
    finding: Finding
    claimed: bool


def check_timing(fixtures: Fixtures) -> Passed:
    """Fails if medians of a step lie 50 ms apart, in CPU or wall time; else measures only, unless the design
    claims `constant_time`."""
    game = game_of(fixtures)
    claims = claimed(fixtures.design)
    pairs = _pairs(fixtures)
    tests = len(pairs) * len(STEPS)
    found = list[Timed]()
    for name, some in pairs.items():
        runs = _runs(fixtures, game.table.deployed, name, some, tests)
        _not_gross(name, [*runs[0], *runs[1]])
        for step in STEPS:
            finding = judged_by_time(name, step, runs, tests)
            if step in claims:
                says = "constant time is claimed; CPU time in {} tells"
                finding.not_told(f"time of {step}: {name}", says)
            found.append(Timed(step, finding, step in claims))
    return Passed(_words(found, claims), {"claimed": sorted(claims), "steps": list(map(_figure, found))})


def _not_gross(name: str, runs: Sequence[Run]) -> None:
    """Fail if a step takes so much longer for one side of a class that a network would not hide it."""
    for step in STEPS:
        for words, clock in CLOCKS.items():
            took = [(run.coin, _took(run.view, step, clock)) for run in runs]
            sides = [[time for side, time in took if side is coin] for coin in (False, True)]
            apart = abs(float(np.median(sides[0])) - float(np.median(sides[1]))) if all(sides) else 0.0
            if apart >= GROSS:
                rule = f"{apart / 1e6:.0f} ms of {words} lie between the two sides, which any network shows"
                raise BrokenError(f"time of {step}: {name}", rule)


def claimed(design: AnyDesign) -> frozenset[str]:
    """The steps that a design claims take the same time for all pictures that agree on the facts;
    `BrokenError` if it names a step that there is not."""
    steps = frozenset(getattr(design, "constant_time", ()))
    if not steps <= set(STEPS):
        raise BrokenError("constant_time", f"names steps other than {', '.join(STEPS)}")
    return steps


def _pairs(fixtures: Fixtures) -> dict[str, list[Pair]]:
    """The classes that are timed: pairs that agree on what is declared to the first party with a role."""
    found = opponents(fixtures.design, Adversary.SEMI_HONEST)
    if not found:
        raise NotApplicableError("nobody gets anything: nothing is sent for a picture")
    game = game_of(fixtures)
    some = {
        one.name: playable(one, game.pool, game.table.deployed, found[0], game.outputs)
        for one in SCENARIOS
        if one.name in TIMED
    }
    if not any(some.values()):
        raise NotApplicableError("no pair agrees on the declared facts, everything is declared")
    return {name: pairs for name, pairs in some.items() if pairs}


def _runs(
    fixtures: Fixtures, deployed: Deployed, name: str, pairs: Sequence[Pair], tests: int
) -> tuple[list[Run], list[Run]]:

    def run(rng: Randomness) -> Run:
        pair = pairs[below(rng, len(pairs))]
        coin = flag(rng)
        moves = pair.right if coin else pair.left
        return Run(timed_session(deployed, moves, rng, fixtures.clocks), pair, coin)

    return played(fixtures, f"timing/{name}", run_counts(fixtures, tests), run, at_once=False)


def timed_session(deployed: Deployed, moves: Moves, rng: Randomness, clock: Clocks) -> list[Event]:
    """The first picture's session, as one event for each step with its CPU and wall time in nanoseconds."""
    item = moves[0].one.item
    design = deployed.design
    spent = {step: [0, 0] for step in STEPS}
    item.hash, item.coefficients, item.pixels  # noqa: B018 - computed when first asked for, which is not timed
    state = enrolled(deployed, rng)
    step = _clocked(
        clock, spent, "start", partial(design.start, state, deployed.setup, item, UNBOUND, rng)
    ).step
    try:
        while isinstance(step, Send):
            replies = _clocked(clock, spent, "answer", partial(_answers, deployed, step, rng))
            go_on = partial(design.receive, step.session, deployed.setup, replies, rng)
            step = _clocked(clock, spent, "receive", go_on)
    except ProtocolError:
        pass  # a design that refuses is timed up to there
    return [Event(Party.MATCHER, kind, 0, b"", (), tuple(took)) for kind, took in spent.items()]


def _answers(deployed: Deployed, asked: Send[Any], rng: Randomness) -> Mapping[Any, Any]:
    return {role: deployed.answer(role, body, rng)[0] for role, body in asked.bodies.items()}


def _clocked(clocks: Clocks, spent: dict[str, list[int]], step: str, run: Callable[[], T]) -> T:
    began = [clock() for clock in clocks]
    try:
        return run()
    finally:
        for at, clock in enumerate(clocks):
            spent[step][at] += clock() - began[at]


def judged_by_time(name: str, step: str, runs: tuple[list[Run], list[Run]], tests: int) -> Finding:
    """What the first number of the event of kind `step` tells, by which part of all of them it lies in."""
    training, held = runs
    took = [_took(run.view, step) for run in training[: len(training) // 2]]
    tried = [_binned(words, step, took, bins) for words, bins in BINS.items()]
    return judge(name, training, held, NO_GUESSES, tests, tried)


def _took(view: Sequence[Event], step: str, clock: int = CPU) -> int:
    return next(int(event.shape[clock]) for event in view if event.kind == step)


def _binned(words: str, step: str, took: Sequence[int], bins: int) -> Distinguisher:
    """In which part of the training runs' times a step's time lies."""
    edges = np.quantile(np.array(took, np.float64), np.linspace(0, 1, bins + 1)[1:-1])
    return Distinguisher(words, lambda view, pair, known: int(np.searchsorted(edges, _took(view, step))))


def _words(found: Sequence[Timed], claims: frozenset[str]) -> str:
    told = [one for one in found if one.finding.measured.told_apart]
    rest = [one.finding.measured.high for one in found if one not in told]
    said = "time of {} tells {!r}: advantage {}"
    words = [said.format(one.step, one.finding.scenario, one.finding.measured.words()) for one in told]
    if rest:
        which = "another" if told else "any"
        words.append(f"no distinguisher in this suite exceeded {max(rest):.3f} by the time of {which} step")
    claim = f"claimed for {', '.join(sorted(claims))}" if claims else "not claimed, so this is a figure alone"
    return "; ".join([*words, f"constant time is {claim}"])


def _figure(one: Timed) -> dict[str, Any]:
    measured = one.finding.measured
    of = {"step": one.step, "class": one.finding.scenario}
    return {**of, **measured.figures(), "held_out_runs": measured.runs, "claimed": one.claimed}
