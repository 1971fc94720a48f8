"""Other pictures to run a session with: they agree on what is declared to a party, and differ elsewhere."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from blindmatch_protocol.contract import Adversary, AnyDesign, Fact, Item, Learner, Party

from blindmatch_simulations.audit.counterpart import Counterpart
from blindmatch_simulations.audit.forge import Declared, Forge, Forged

DECOYS: Final = 4

SOURCES: Final = 8
"""Pictures that are tried as sources of a forged one."""


@dataclass(frozen=True, slots=True, repr=False)
class Decoys:
    """What a session is compared with: pictures that agree, and why that is not all that is to be compared;
    the reason is empty if it is."""

    items: tuple[Item, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much one session's bytes to one party were compared.

    Attributes:
        item: number of the picture.
        party: who got them.
        decoys: with how many other pictures.
        reason: why nothing could be compared, or not all of it; empty if all could.
    """

    item: int
    party: Party
    decoys: int
    reason: str

    @property
    def comparable(self) -> bool:
        """Was there a picture that agrees on the facts and differs in whatever they leave open?"""
        return self.decoys > 0 and not self.reason


def declared_facts(design: AnyDesign, party: Party) -> list[Fact]:
    """Facts declared to `party` alone as a semi-honest adversary."""
    return [
        fact
        for leak in design.leakage()
        if leak.parties == {party} and leak.adversary is Adversary.SEMI_HONEST
        for fact in leak.facts
    ]


def outcome_of(counterpart: Counterpart, item: Item) -> bool:
    """Does `item` match the list, by the plaintext oracle?"""
    return bool(counterpart.design.info.relation.holds(item, counterpart.entries).any())


class DecoyFinder:
    """Finds decoys for one device's sessions.

    Args:
        counterpart: the roles, and the plaintext list.
        pool: pictures to take decoys from.
    """

    def __init__(self, counterpart: Counterpart, pool: Sequence[Item]) -> None:
        self.counterpart = counterpart
        self._pool = pool
        self._told: dict[tuple[Party, int], tuple[Hashable, ...]] = {}

    def decoys(self, item: Item, party: Party) -> Decoys:
        """Items that agree with `item` on all that is declared to `party`: of the pool, and forged where too
        few of it do, or none that has another hash.

        Half of them match as `item` does and half do not, unless the servers may learn which do.
        """
        declared = Declared(declared_facts(self.counterpart.design, party), self.counterpart.setup)
        mine = self._telling(declared, party, item)
        others = [one for one in self._pool if one is not item]
        chosen = self._balanced(item, (o for o in others if self._telling(declared, party, o) == mine))
        forge = None
        if len(chosen) < DECOYS or all(one.hash == item.hash for one in chosen):
            forge = Forge.of(declared, item)
            forged = self._balanced(item, forge.items(self._sources(others)))
            chosen = (*forged, *chosen[: DECOYS - len(forged)])
        return Decoys(chosen, _left_out(declared, item, chosen, forge))

    def _telling(self, declared: Declared, party: Party, item: Item) -> tuple[Hashable, ...]:
        """The declared facts of a picture, worked out once: some read all of it."""
        if (party, id(item)) not in self._told:
            self._told[party, id(item)] = declared.of(item)
        return self._told[party, id(item)]

    def _balanced(self, item: Item, found: Iterator[Item]) -> tuple[Item, ...]:
        tells = Learner.SERVER in self.counterpart.design.info.learns
        outcome, half = outcome_of(self.counterpart, item), DECOYS if tells else DECOYS // 2
        same: list[Item] = []
        other: list[Item] = []
        for one in found:
            (same if outcome_of(self.counterpart, one) == outcome else other).append(one)
            if len(same) >= half and (tells or len(other) >= half):
                break
        return (*same[:half], *([] if tells else other[:half]))

    def _sources(self, others: Sequence[Item]) -> Iterator[Item]:
        """Pictures of the pool, each as it is and with the hash of an entry."""
        entries = self.counterpart.entries
        for at, one in enumerate(others[:SOURCES]):
            yield one
            if len(entries):
                yield Forged.of(one).with_hash(entries[at % len(entries)].tobytes())


def _left_out(declared: Declared, item: Item, chosen: Sequence[Item], forge: Forge | None) -> str:
    """Why not all that the facts leave open was compared; empty if it was."""
    if forge is not None and not forge.pixels:
        return "the facts declare the whole picture"
    if not chosen:
        return "no picture was found that agrees on the facts"
    if all(one.hash == item.hash for one in chosen) and item.hash not in declared.shows(item):
        return "no other hash was found that agrees on the facts"
    return ""
