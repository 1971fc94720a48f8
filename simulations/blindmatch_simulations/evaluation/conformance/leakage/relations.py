"""No parity of the bits that are sent tells pictures apart: no leak under other fields, padding, spare bits.

Over fresh randomness, what is sent for a picture fills an affine space over GF(2). Sums of its bits that
never change are readable by whoever receives it. If one of them changes with the picture, while everything
declared stays, it tells the pictures apart. `spans` says how the space is spanned, and when two of them
differ. What is not linear over GF(2) is left to the dictionary of the games.

Sessions of each kind of binding (`bindings`) are spanned by themselves: an ordinary question, and one for a
proof of absence; messages of each type of file. A sum that is constant in one kind alone would be hidden by
what the others span.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from functools import cache, cached_property
from typing import Any, Final

from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import (
    Adversary,
    Party,
    Voucher,
)

from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures, Setting, as_published, settings
from blindmatch_simulations.evaluation.conformance.leakage.bindings import BindingKind, list_binding_kinds
from blindmatch_simulations.evaluation.conformance.leakage.game import Guesses, guesses
from blindmatch_simulations.evaluation.conformance.leakage.lives import Life, carried_over
from blindmatch_simulations.evaluation.conformance.leakage.named import evidence_of
from blindmatch_simulations.evaluation.conformance.leakage.play import (
    Behaviour,
    Event,
    Move,
    Opponent,
    Play,
    Table,
    opponents,
)
from blindmatch_simulations.evaluation.conformance.leakage.sessions import Sessions, sampling
from blindmatch_simulations.evaluation.conformance.leakage.spans import HEAD, TAIL, Span
from blindmatch_simulations.testbed.audit.counterpart import Counterpart, DecoyFinder
from blindmatch_simulations.testbed.inprocess.deployed import (
    Deployed,
    run_session,
    seers,
)
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError, NotComparableError, Passed
from blindmatch_simulations.testbed.pictures.pool import Pooled
from blindmatch_simulations.testbed.pictures.sent import size_class

SPANNED_OF_GROUP: Final = 3_000
"""Samples of a group's first picture and of the others that are spanned; one of these is, unless `WIDE`."""
SPANNED_OF_KIND: Final = 1_000
"""The same of each kind of binding but the most frequent one, as published."""
AGAIN: Final = 2
"""Samples of each picture that is compared."""
CERTAIN: Final = 3
"""Sessions of a picture in each of which a dictionary must tell it."""
WIDE: Final = 1_000
"""Where a space takes more samples than that, no other picture is spanned but in the first setting, in the
most frequent kind of binding; and no further kind is looked at but there."""
FORGED: Final = 6_000
"""Samples for pictures of a setting that are compared with forged ones; one of them is."""
FRONT: Final = ("poor", "large", "faint", "listed", "twin", "near-30", "other")
"""Kinds of pictures that are spanned first."""
MOST_COMPARED: Final = 24
TOLD: Final = "a sum of bits of what is sent tells pictures apart that agree on all that is declared"


def check_relations(fixtures: Fixtures) -> Passed:
    """No sum of sent bits (GF(2), first 160 and last 32 bytes) and of earlier replies' is constant for a
    picture and differs for another that agrees on the facts.

    Ordinary questions and ones for a proof of absence, and messages of each type of file, are looked at
    apart. See the module; for every setting, for accounts that are carried into a third epoch, and for every
    coalition of parties with roles.
    """
    compared = 0
    samples = 0
    for setting, life in _cases(fixtures):
        looked = _Looked(fixtures, setting, life)
        for opponent in sorted(role_players(fixtures), key=lambda one: -len(one.parties)):
            found = groups(fixtures, setting, opponent)
            for group in found:
                looked.through(opponent, group)
            for group in found:
                samples += looked.alike(opponent, group)
                compared += len(group) - 1
            spent = 0
            differ = any(len({one.item.hash for one in group}) > 1 for group in found)
            for group in () if differ else _forged(fixtures, setting, opponent):
                if spent < FORGED:
                    spent += looked.alike(opponent, group)
                    compared += len(group) - 1
            samples += spent
    if not compared:
        raise NotComparableError("no two pictures agree on all that is declared (0 pairs)")
    words = f"no parity of bits and no dictionary tells apart {compared} pairs of pictures"
    words += f", from {samples} samples of one of them"
    return Passed(words, {"pairs": compared, "samples": samples})


def _cases(fixtures: Fixtures) -> Iterator[tuple[Setting, Life | None]]:
    """Where is looked, and at accounts of which life: new ones, and in the end carried ones, if any."""
    yield from ((setting, None) for setting in settings(fixtures))
    life = carried_over(fixtures, False)
    if life is not None:
        yield Setting(life.name, life.deployed, fixtures.pool.pictures), life


def role_players(fixtures: Fixtures) -> list[Opponent]:
    """Those of parties with roles and nobody else: the others see no more of what is sent."""
    players = set(seers(fixtures.design))
    return [one for one in opponents(fixtures.design, Adversary.SEMI_HONEST) if one.parties <= players]


def groups(fixtures: Fixtures, setting: Setting, opponent: Opponent) -> list[list[Pooled]]:
    """Pictures of a setting that agree on what is declared to `opponent` and on its output, two or more."""
    found: dict[Hashable, list[Pooled]] = {}
    for one in chosen(setting):
        output = opponent.learns_outcome and outcome_of(fixtures, setting.deployed, one)
        key = (opponent.project(one.item, setting.deployed.setup), output)
        found.setdefault(key, []).append(one)
    return [group for group in found.values() if len(group) > 1]


def _forged(fixtures: Fixtures, setting: Setting, opponent: Opponent) -> Iterator[list[Pooled]]:
    """Where facts depend on the hash: a picture of each kind of the setting, with forged ones that agree on
    the facts and differ in all else (`audit.decoys`)."""
    if len(opponent.parties) > 1:
        return
    counterpart = Counterpart.of(setting.deployed, fixtures.rng("relations/forged"))
    finder = DecoyFinder(counterpart, [one.item for one in chosen(setting)])
    (party,) = opponent.parties
    for first in one_of_each_kind(chosen(setting), fixtures.seed)[1]:
        made: list[Any] = list(finder.decoys(first.item, party)[0])
        if made:
            yield [first, *(Pooled(f"forged/{at}", "forged", item) for at, item in enumerate(made))]


def _kind(one: Pooled) -> str:
    return one.name.partition("/")[0]


def chosen(setting: Setting) -> list[Pooled]:
    """All pictures of a small pool; of a crowd some of each kind, and those of another size."""
    if len(setting.pictures) <= MOST_COMPARED:
        return list(setting.pictures)
    kinds = sorted({_kind(one) for one in setting.pictures})
    return [one for kind in kinds for one in [each for each in setting.pictures if _kind(each) == kind][:4]]


def outcome_of(fixtures: Fixtures, deployed: Deployed, one: Pooled) -> Hashable:
    ran = run_session(deployed, one.item, fixtures.rng(f"relations/output/{one.name}"))
    opened = isinstance(ran.outcome, Voucher) and fixtures.design.info.relation.matches(
        one.item, deployed.build.entries
    )
    return type(ran.outcome).__name__, tuple(told.label is not None for told in ran.verdicts), opened


class _Looked:
    """One setting under examination; what a coalition was shown not to see is not looked for in its parts."""

    def __init__(self, fixtures: Fixtures, setting: Setting, life: Life | None) -> None:
        self._fixtures = fixtures
        self._setting = setting
        self._life = life
        self._later = setting is not as_published(fixtures)
        self._sessions = Sessions(fixtures, setting, life)
        self._spanned: list[tuple[frozenset[Party], list[str]]] = []

    def _rng(self, purpose: str) -> Randomness:
        return self._fixtures.rng(f"relations/{self._setting.name}/{purpose}")

    @cached_property
    def _known(self) -> Guesses:
        return guesses(self._setting.deployed, chosen(self._setting), self._rng("guesses"))

    @cache  # noqa: B019 - it lives as long as the setting is looked at
    def _view(self, one: Pooled, again: int) -> list[Event]:
        table = Table(self._setting.deployed, self._setting.deployed, self._life)
        return Play(table, Behaviour.HONEST, self._rng(f"view/{one.name}/{again}")).run((Move(one),))

    def through(self, opponent: Opponent, group: list[Pooled]) -> None:
        """No picture of a group explains more of what is seen of it than another one does, time and again."""
        for at, one in enumerate(group):
            others = (*group[at + 1 :], *group)
            other = next((each for each in others if each.item.hash != one.item.hash), None)
            if other is not None and all(self._explains(opponent, one, other, n) for n in range(CERTAIN)):
                raise self._told(opponent, "a dictionary tells pictures apart", other, one)

    def _explains(self, opponent: Opponent, one: Pooled, other: Pooled, again: int) -> bool:
        seen = [event for event in self._view(one, again) if event.party in opponent.parties]
        return self._known.hits(one.name, seen) > self._known.hits(other.name, seen)

    def alike(self, opponent: Opponent, group: list[Pooled]) -> int:
        """The same is constant for all pictures of a group, in each kind of binding; samples taken of those
        that were spanned."""
        names = [one.name for one in group]
        if any(opponent.parties < parties and names == held for parties, held in self._spanned):
            return 0
        frequent, *further = list_binding_kinds(self._fixtures.design)
        mine, count = self._alike_in(opponent, group, frequent, False)
        lengths = mine.lengths
        for kind in further if not self._later or mine.count <= WIDE else ():
            span, spanned = self._alike_in(opponent, group, kind, True)
            lengths = lengths + span.lengths
            count += spanned
        if max(lengths) <= HEAD + TAIL:
            self._spanned.append((opponent.parties, names))
        return count

    def _alike_in(
        self, opponent: Opponent, group: list[Pooled], kind: BindingKind, is_further: bool
    ) -> tuple[Span, int]:
        """Compare the pictures in one kind of binding; return what the first one spans, and the samples taken
        of all that were spanned.

        Args:
            is_further: it is not the most frequent kind, so that fewer pictures are spanned.
        """
        taken = sampling(self._sessions, self._fixtures.design, opponent.parties, kind)

        def span(one: Pooled) -> Span:
            return Span(lambda at: taken(one, at))

        first, *rest = group
        mine = span(first).settle()
        kept = 0
        one_way = (self._later, is_further, mine.count > WIDE).count(True) > 1
        most = SPANNED_OF_KIND if is_further else SPANNED_OF_GROUP
        for number, one in enumerate(one_of_each_kind(rest, self._fixtures.seed)[0]):
            other = span(one)
            if one_way or (number and kept + mine.count > most):
                same = mine.holds_all(other.add(AGAIN))
            else:
                kept += other.settle(mine).count
                same = mine.alike(other)
            if not mine.as_long(other):
                rule = "the length of what is sent tells pictures apart"
                raise self._told(opponent, rule, first, one, kind)
            if not same:
                raise self._told(opponent, TOLD, first, one, kind)
        return mine, mine.count + kept

    def _told(
        self, opponent: Opponent, rule: str, first: Pooled, other: Pooled, kind: BindingKind | None = None
    ) -> BrokenError:
        step = f"{opponent.name}, {self._setting.name}"
        step += f", {kind.name}" if kind and kind.name else ""
        parties = opponent.parties
        deployed = self._setting.deployed
        evidence = evidence_of(self._fixtures, deployed, parties, first, other, kind)
        return BrokenError(step, rule, **evidence)


def one_of_each_kind(found: Sequence[Pooled], seed: int) -> tuple[list[Pooled], list[Pooled]]:
    """All of them, at first one of each kind and size, those of `FRONT` before others; and these alone. Which
    one of a kind depends on the seed."""
    turned = [*found[seed % len(found) :], *found[: seed % len(found)]]
    order = {kind: at for at, kind in enumerate(FRONT)}
    turned.sort(key=lambda one: order.get(_kind(one), len(FRONT)))
    front = list({(_kind(one), size_class(one.item.pixels.shape)): one for one in turned}.values())
    return [*front, *(one for one in turned if one not in front)], front
