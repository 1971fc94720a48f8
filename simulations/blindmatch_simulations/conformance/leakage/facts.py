"""Which coalitions there are, what is declared to them, and which pairs agree on it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Final

from blindmatch_protocol.contract import Adversary, AnyDesign, Fact, Item, Learner, Party

ACCOUNT_FACT: Final = "account"
"""A design that declares it (or ``my.account``) says that sessions of one account can be linked."""

_NOT_PLAYED: Final = frozenset({Party.DEVICE, Party.CURATOR})
"""The curator sees nothing of users; a device alone sees its own pictures and nobody else's."""


@dataclass(frozen=True, slots=True)
class Opponent:
    """A coalition, what it does, what is declared to it, and whether the outcome is its output."""

    parties: frozenset[Party]
    adversary: Adversary
    facts: tuple[Fact, ...]
    learns_outcome: bool

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.adversary} {' with '.join(sorted(self.parties))}"

    @property
    def has_device(self) -> bool:
        """Does it have a device of its own, beside the one it watches?"""
        return Party.DEVICE in self.parties

    @property
    def links_accounts(self) -> bool:
        """Is it declared that sessions of one account can be linked?"""
        return any(fact.name.rpartition(".")[2] == ACCOUNT_FACT for fact in self.facts)

    def project(self, item: Item, setup: Any) -> tuple[Hashable, ...]:
        """The declared facts of an item."""
        return tuple(fact.project(item, setup) for fact in self.facts)


def opponents(design: AnyDesign, adversary: Adversary) -> list[Opponent]:
    """Every coalition that is played against: each party with a role alone, with the provider, with the
    centre, with a device of its own, all parties with roles together, and those that the design names."""
    players = {frozenset({party}) for party in design.info.parties}
    if design.vouchers:
        players.add(frozenset({Party.CENTRE}))
    found = set(players)
    for more in (Party.PROVIDER, Party.CENTRE):
        found |= {coalition | {more} for coalition in players}
    if players:
        found.add(frozenset[Party]().union(*players))
    found |= {leak.parties for leak in design.leakage() if players and not leak.parties & _NOT_PLAYED}
    found |= {coalition | {Party.DEVICE} for coalition in players}
    ordered = sorted(found, key=lambda parties: (len(parties), sorted(parties)))
    return [_opponent(design, parties, adversary) for parties in ordered]


def _opponent(design: AnyDesign, parties: frozenset[Party], adversary: Adversary) -> Opponent:
    """A device of its own is told of its own pictures, so it adds only what the coalition is named with."""
    info = design.info
    server = Learner.SERVER in info.learns and bool(parties & set(info.roles.values()))
    centre = Party.CENTRE in parties and info.learns != {Learner.NOBODY}
    named = any(leak.parties == parties and leak.adversary is adversary for leak in design.leakage())
    facts = declared(design, parties if named else parties - {Party.DEVICE}, adversary)
    return Opponent(parties, adversary, facts, server or centre)


def declared(design: AnyDesign, parties: frozenset[Party], adversary: Adversary) -> tuple[Fact, ...]:
    """Facts of a coalition: those it is named with, or the union of what its parts are named with."""
    leaks = [leak for leak in design.leakage() if leak.adversary is adversary]
    named = [leak for leak in leaks if leak.parties == parties]
    parts = named or [leak for leak in leaks if leak.parties <= parties]
    return tuple({fact.name: fact for leak in parts for fact in leak.facts}.values())
