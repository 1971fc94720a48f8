"""A design's declaration as data, with what the messenger declares beside it."""

from __future__ import annotations

from blindmatch_client.facts import device_facts
from blindmatch_protocol.contract import AnyDesign, Info, Leak

from blindmatch_simulations.assess.observed import Declared, Described, FactSeen


def described(design: AnyDesign) -> Described:
    """What `design` says of itself."""
    info = design.info
    return Described(
        name=info.name,
        version=info.version,
        option=info.option,
        differs=info.differs,
        summary=info.summary,
        distance=info.relation.distance,
        learns=tuple(sorted(map(str, info.learns))),
        roles={str(role): str(party) for role, party in info.roles.items()},
        sends_content=info.sends_content,
        parameters={parameter.name: parameter.default for parameter in info.parameters},
        declared=(*map(_of_leak, design.leakage()), *_of_messenger(info)),
    )


def _of_leak(leak: Leak) -> Declared:
    facts = tuple(FactSeen(fact.name, fact.says) for fact in leak.facts)
    return Declared(tuple(sorted(map(str, leak.parties))), str(leak.adversary), "design", facts)


def _of_messenger(info: Info) -> list[Declared]:
    return [
        Declared((str(party),), "semi-honest", "messenger", tuple(FactSeen(f.name, f.says) for f in facts))
        for party, facts in device_facts(info=info).items()
    ]
