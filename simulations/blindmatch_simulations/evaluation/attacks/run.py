"""Runs attacks, and gives the result as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from functools import cache
from itertools import product
from typing import Any, Final

from blindmatch_protocol.contract import AnyDesign
from msgspec import UNSET, Struct, UnsetType, to_builtins

from blindmatch_simulations.evaluation.attacks.adversary import Actor, Proof
from blindmatch_simulations.evaluation.attacks.arena import Arena, Attack, Pair
from blindmatch_simulations.evaluation.attacks.figure import Budget, Figure
from blindmatch_simulations.evaluation.attacks.needs import SAME, lacking
from blindmatch_simulations.measure.results import Results, Row, Status, Strict, results
from blindmatch_simulations.testbed.deployment.registry import built_in_designs

PLAIN: Final = "0b"
"""The option that every other one is compared with: end-to-end encryption without detection."""


class Attacker(Strict, frozen=True):
    """Budget of an attack in words, how its parties behave, what they have besides, which they are.

    In the order of their names, as files have had them.
    """

    budget: str
    conduct: str
    has: str
    parties: tuple[str, ...]


class Trace(Strict, frozen=True):
    """Who could do it or order it, what it exposes to the parties it holds, who finds out, and what shows it.

    Attributes:
        beyond_e2ee: whether it needs something that end-to-end encryption without detection has not.
    """

    actors: tuple[Actor, ...]
    exposes: str
    notices: str
    proof: Proof | None
    beyond_e2ee: bool


class AttackRow(Row, frozen=True, kw_only=True, tag="attack"):
    """One attack against one design, which is a parameter; what it achieved is its figure `achieved`.

    Attributes:
        claim: the sentence it attacks, in words, and the page it stands on.
        claimed: whether that is claimed to be withstood, or declared not to be.
        succeeded: whether the figure excludes chance.
        budget: what the run spent; unset in files of before it was measured.
        trace: who acts, what is exposed and what is left; unset in files of before it was declared.
    """

    adversary: Attacker
    claim: dict[str, str]
    claimed: bool
    succeeded: bool
    budget: Budget | UnsetType = UNSET
    trace: Trace | UnsetType = UNSET


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
    played = [
        AttackRow(
            id=ran.attack.name,
            parameters={"design": ran.design},
            figures=ran.figure.figures(),
            succeeded=ran.figure.succeeded,
            budget=ran.budget,
            **_said(ran.attack),
        )
        for ran in rans
    ]
    rows = [*played, *map(not_played, unplayed)]
    return results(Results[AttackRow | NotPlayed], "blindmatch attack run", {"weakened": weakened}, rows)


def not_played(pair: Pair) -> NotPlayed:
    name, design, why = pair.attack.name, pair.design.info.name, pair.unplayed
    return NotPlayed(id=name, status=Status.NOT_MEASURED, parameters={"design": design}, why=why)


def described(attack: Attack) -> dict[str, Any]:
    said: dict[str, Any] = {"name": attack.name, **to_builtins(_said(attack))}
    return {**said, "needs": [one.words for one in attack.needs]}


def _said(attack: Attack) -> dict[str, Any]:
    means = attack.means
    adversary = Attacker(attack.budget, str(means.conduct), means.has, tuple(sorted(map(str, means.parties))))
    claimed = {"claim": to_builtins(attack.claim), "claimed": attack.claimed}
    return {"adversary": adversary, **claimed, "trace": trace_of(attack)}


def trace_of(attack: Attack) -> Trace:
    """What is declared of who acts in an attack, and of what is left of it."""
    beyond, left = bool(lacking(attack.needs, _plain())), attack.left
    return Trace(tuple(attack.means.actors), attack.exposes, left.notices, left.proof, beyond)


@cache
def _plain() -> AnyDesign:
    return next(one.design for one in built_in_designs() if one.design.info.option == PLAIN)


def by_actor(rows: Iterable[AttackRow | NotPlayed]) -> dict[tuple[str, ...], list[str]]:
    """Of each actor: what is newly exposed, who notices, the file that shows it; and in which designs.

    New is what succeeded and a messenger without detection does not allow. An attack that was played against
    another design, since it goes by nothing that they differ in, counts for both.
    """
    found, lines = list(rows), dict[tuple[str, ...], list[str]]()
    once = {row.id: row for row in found if isinstance(row, AttackRow)}
    held: dict[str, list[Trace]] = {str(row.parameters["design"]): [] for row in found}
    new: set[tuple[str, Trace]] = set()
    for row in found:
        same = once.get(row.id) if isinstance(row, NotPlayed) and row.why.startswith(SAME) else row
        if isinstance(same, AttackRow) and same.trace:  # one of before it was declared says nothing
            held[design := str(row.parameters["design"])].append(same.trace)
            new |= {(design, same.trace)} if same.succeeded and same.trace.beyond_e2ee else set()
    for actor, (design, traces) in product(Actor, held.items()):
        own = [one for one in traces if actor in one.actors]
        exposed = [one for one in own if (design, one) in new]
        said = [(one.exposes, one.notices, one.proof.file if one.proof else "no file") for one in exposed]
        for words in dict.fromkeys(said) or (("nothing more" if own else "not played", "", ""),):
            lines.setdefault((actor, *words), []).append(design)
    return lines
