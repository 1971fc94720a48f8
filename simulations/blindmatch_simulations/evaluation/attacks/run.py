"""Runs attacks, and gives the result as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import cache
from itertools import product
from math import isfinite
from typing import Any, Final

from blindmatch_protocol.contract import AnyDesign
from msgspec import UNSET, Struct, UnsetType, ValidationError, convert, to_builtins
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks.adversary import Actor, Proof
from blindmatch_simulations.evaluation.attacks.arena import DECLARED, Arena, Attack, Pair, failure_of
from blindmatch_simulations.evaluation.attacks.figure import Budget, Figure
from blindmatch_simulations.evaluation.attacks.needs import SAME, lacking, played_against
from blindmatch_simulations.measure.results import Results, Row, Status, Strict, results
from blindmatch_simulations.testbed.deployment.registry import built_in_designs
from blindmatch_simulations.testbed.inprocess.crashes import crash_of
from blindmatch_simulations.testbed.inprocess.plugin_contract import WrongTypeError, noted_crashes

PLAIN: Final = "0b"
"""The option that every other one is compared with: end-to-end encryption without detection."""
NOTHING_PLAYED: Final = "nothing more in attacks that were played"
"""Said of an actor whose attacks on a design all failed, or exposed no more than option 0b does."""
NOT_PLAYED: Final = "not played"
"""Said of an actor of whom no attack on a design was played."""


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
    """An attack without a figure against a design, which is a parameter.

    `why` says what the attack needs and the design lacks, or that the run was interrupted; of the status
    `failed` how attack or design failed.
    """


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


class Failed(Struct, frozen=True):
    """An attack that came to no figure against a design, since one of them failed; and how."""

    attack: Attack
    design: str
    why: str


def play_all(
    every: Iterable[Pair], play: Callable[[Pair], Ran], unplayed: list[Pair]
) -> Iterator[tuple[Pair, Ran | Failed]]:
    """Play pairs one by one, and give each with what it came to.

    Whatever `play` raises is that pair's failure, and the next one is played.
    Where an attack needs `ANY_ONE` design and failed against the first, the next design takes its place.

    Args:
        unplayed: gets the pairs that are not played.
    """
    without: set[str] = set()
    instead: dict[str, AnyDesign] = {}
    for pair in every:
        name = pair.attack.name
        is_spare = pair.unplayed.startswith(SAME)
        if is_spare and name in instead:
            pair = replace(pair, unplayed=played_against(instead[name]))
        if pair.unplayed and not (is_spare and name in without):
            unplayed.append(pair)
            continue
        made = _played_or_failed(pair, play)
        yield pair, made
        if isinstance(made, Failed):
            without.add(name)
        elif is_spare:
            without.discard(name)
            instead[name] = pair.design


def _played_or_failed(pair: Pair, play: Callable[[Pair], Ran]) -> Ran | Failed:
    name = pair.design.info.name
    if pair.failure:
        return Failed(pair.attack, name, pair.failure)
    try:
        with noted_crashes() as crashes:
            made = play(pair)
        if crashes and made.broken:  # what a design that crashes does not do says nothing of the claim
            return Failed(pair.attack, name, crash_of(crashes[0], pair.design).words)
        return made
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plug-in may raise anything
        return Failed(pair.attack, name, failure_of(error))


def run_attack(attack: Attack, arena: Arena, weakened: bool = False) -> Ran:
    """Run an attack; `weakened`: with its weakness planted, where it must succeed."""
    with attack.weakness(arena.design) if weakened else nullcontext():
        figure, budget = arena.spending.measured(lambda: attack.move(arena))
        _check_figure(figure, attack)
        return Ran(attack, arena.design.info.name, figure, budget)


def _check_figure(figure: object, attack: Attack) -> None:
    """Make sure that an attack, which a plug-in may bring, returned a figure that can be shown and written.

    Raises:
        WrongTypeError: Names what is wrong with it.
    """
    if type(figure) is not Figure:
        words = f"the attack returned {type(figure).__name__}, where a Figure must be"
        raise WrongTypeError(words, attack.name)
    try:
        plain = convert(to_builtins(figure), Figure)
    except (ValidationError, TypeError, ValueError) as error:
        raise WrongTypeError(f"the attack's Figure is wrong: {error}", attack.name) from None
    numbers = [plain.value, *(plain.interval or ()), *plain.parts.values()]
    if not all(map(isfinite, numbers)):
        raise WrongTypeError("the attack's Figure has a number that is not finite", attack.name)
    if not all(words.isprintable() for words in (plain.measure, *plain.parts, *plain.tries)):
        raise WrongTypeError("the attack's Figure has words that are no line of text", attack.name)


def results_of(
    rans: Sequence[Ran],
    weakened: bool = False,
    unplayed: Sequence[Pair] = (),
    failed: Sequence[Failed] = (),
) -> Results[AttackRow | NotPlayed]:
    """The results file; docs/reference/results.md."""
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
    rows = [*played, *map(_failed, failed), *map(not_played, unplayed)]
    return results(Results[AttackRow | NotPlayed], "blindmatch attack run", {"weakened": weakened}, rows)


def not_played(pair: Pair) -> NotPlayed:
    name = pair.attack.name
    design = pair.design.info.name
    if pair.failure:
        return _failed(Failed(pair.attack, design, pair.failure))
    return NotPlayed(id=name, status=Status.NOT_MEASURED, parameters={"design": design}, why=pair.unplayed)


def _failed(one: Failed) -> NotPlayed:
    return NotPlayed(
        id=one.attack.name,
        status=Status.FAILED,
        parameters={"design": one.design},
        why=f"failed: {one.why}",
    )


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
    beyond = bool(lacking(attack.needs, _plain()))
    left = attack.left
    return Trace(tuple(attack.means.actors), attack.exposes, left.notices, left.proof, beyond)


@cache
def _plain() -> AnyDesign:
    return next(one.design for one in built_in_designs() if one.design.info.option == PLAIN)


def by_actor(rows: Iterable[AttackRow | NotPlayed]) -> dict[tuple[str, ...], list[str]]:
    """Of each actor: what is newly exposed, who notices, the file that shows it; and in which designs.

    New is what succeeded and a messenger without detection does not allow. An attack that was played against
    another design, since it goes by nothing that they differ in, counts for both. What one that failed would
    have exposed is not known.
    """
    found = list(rows)
    lines = dict[tuple[str, ...], list[str]]()
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
        said += [(f"not known: {name} failed", "", "") for name in _failures(found, actor, design)]
        for words in dict.fromkeys(said) or ((NOTHING_PLAYED if own else NOT_PLAYED, "", ""),):
            lines.setdefault((actor, *words), []).append(design)
    return lines


def _failures(rows: Iterable[AttackRow | NotPlayed], actor: Actor, design: str) -> list[str]:
    """Attacks that this actor could do or order, and that failed against a design."""
    failed = {row.id for row in rows if row.status is Status.FAILED and row.parameters["design"] == design}
    return [one.name for one in DECLARED if one.name in failed and actor in one.means.actors]
