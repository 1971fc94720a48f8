"""Which parties may join, and what is declared to a coalition."""

from __future__ import annotations

from blindmatch_protocol.contract.declaration import Adversary
from blindmatch_protocol.contract.design import AnyDesign
from blindmatch_protocol.contract.fact import Fact
from blindmatch_protocol.contract.party import Party


def told(design: AnyDesign, parties: frozenset[Party], adversary: Adversary) -> tuple[Fact, ...]:
    """Facts of a coalition: those it is named with, or the union of what its parts are named with."""
    leaks = [leak for leak in design.leakage() if leak.adversary is adversary]
    named = [leak for leak in leaks if leak.parties == parties]
    parts = named or [leak for leak in leaks if leak.parties <= parties]
    return tuple({fact.name: fact for leak in parts for fact in leak.facts}.values())


def coalitions(design: AnyDesign) -> tuple[frozenset[Party], ...]:
    """The coalitions of servers that tables show and games play against, the small ones first.

    Each party with a role alone (and the centre, if there are vouchers), each of them with the provider and
    with the centre, all parties with roles together, and those that the design names.
    """
    alone = {frozenset({party}) for party in design.info.parties}
    if design.vouchers:
        alone.add(frozenset({Party.CENTRE}))
    if not alone:
        return ()
    joined = {coalition | {more} for coalition in alone for more in (Party.PROVIDER, Party.CENTRE)}
    named = {leak.parties for leak in design.leakage() if not leak.parties & {Party.DEVICE, Party.CURATOR}}
    found = alone | joined | named | {frozenset[Party]().union(*alone)}
    return tuple(sorted(found, key=lambda parties: (len(parties), sorted(parties))))
