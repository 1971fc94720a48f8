"""Runs attacks, and gives the result as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from msgspec import UNSET, Struct, UnsetType, to_builtins

from blindmatch_simulations.evaluation.attacks.arena import Arena, Attack, Pair
from blindmatch_simulations.evaluation.attacks.figure import Budget, Figure
from blindmatch_simulations.measure.results import Results, Row, Status, Strict, results


class Attacker(Strict, frozen=True):
    """Budget of an attack in words, how its parties behave, what they have besides, which they are.

    In the order of their names, as files have had them.
    """

    budget: str
    conduct: str
    has: str
    parties: tuple[str, ...]


class AttackRow(Row, frozen=True, kw_only=True, tag="attack"):
    """One attack against one design, which is a parameter; what it achieved is its figure `achieved`.

    Attributes:
        claim: the sentence it attacks, in words, and the page it stands on.
        claimed: whether that is claimed to be withstood, or declared not to be.
        succeeded: whether the figure excludes chance.
        budget: what the run spent; unset in files of before it was measured.
    """

    adversary: Attacker
    claim: dict[str, str]
    claimed: bool
    succeeded: bool
    budget: Budget | UnsetType = UNSET


class NotPlayed(Row, frozen=True, kw_only=True, tag="attack not played"):
    """An attack that is not played against a design, which is a parameter; `why` says what it needs."""


class Ran(Struct, frozen=True):
    """An attack, the design it was run against, its figure and what it spent."""

    attack: Attack
    design: str
    figure: Figure
    budget: Budget

    @property
    def broken(self) -> bool:
        """Did one succeed that is claimed to be withstood?"""
        return self.attack.claimed and self.figure.succeeded


def run_attack(attack: Attack, arena: Arena, weakened: bool = False) -> Ran:
    """Run an attack; `weakened`: with its weakness planted, where it must succeed."""
    with attack.weakness(arena.design) if weakened else nullcontext():
        figure, budget = arena.spending.measured(lambda: attack.move(arena))
        return Ran(attack, arena.design.info.name, figure, budget)


def results_of(
    rans: Sequence[Ran], weakened: bool = False, unplayed: Sequence[Pair] = ()
) -> Results[AttackRow | NotPlayed]:
    """The results file; docs/results.md."""
    rows = [*map(_row, rans), *(not_played(one) for one in unplayed)]
    return results(Results[AttackRow | NotPlayed], "blindmatch attack run", {"weakened": weakened}, rows)


def not_played(pair: Pair) -> NotPlayed:
    """The row of an attack that is not played."""
    name, design, why = pair.attack.name, pair.design.info.name, pair.unplayed
    return NotPlayed(id=name, status=Status.NOT_MEASURED, parameters={"design": design}, why=why)


def described(attack: Attack) -> dict[str, Any]:
    """What an attack says of itself."""
    said: dict[str, Any] = {"name": attack.name, **to_builtins(_said(attack))}
    return {**said, "needs": [one.words for one in attack.needs]}


def _said(attack: Attack) -> dict[str, Any]:
    means = attack.means
    adversary = Attacker(attack.budget, str(means.conduct), means.has, tuple(sorted(map(str, means.parties))))
    return {"adversary": adversary, "claim": to_builtins(attack.claim), "claimed": attack.claimed}


def _row(ran: Ran) -> AttackRow:
    return AttackRow(
        id=ran.attack.name,
        parameters={"design": ran.design},
        figures=ran.figure.figures(),
        succeeded=ran.figure.succeeded,
        budget=ran.budget,
        **_said(ran.attack),
    )
