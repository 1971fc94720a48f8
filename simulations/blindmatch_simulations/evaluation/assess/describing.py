"""A design's declaration as data, with what the messenger declares beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from blindmatch_client.settings.facts import device_facts
from blindmatch_client.settings.failure import FailureMode, failure_facts
from blindmatch_protocol.contract import Adversary, AnyDesign, Fact, Info, Party
from blindmatch_protocol.contract.coalitions import coalitions, told

from blindmatch_simulations.evaluation.assess.observed import Declared, Described, FactSeen, Known


def described(design: AnyDesign, given: Mapping[str, int]) -> Described:
    """What `design` says of itself, with the parameters that it is measured with."""
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
        content=str(info.sends_content),
        parameters={one.name: given.get(one.name, one.default) for one in info.parameters},
        declared=(*_of_design(design), *_of_messenger(info)),
        relation=type(info.relation).__name__.lower(),
        end_to_end=info.end_to_end,
        list_known=tuple(_known(design)),
    )


def _of_design(design: AnyDesign) -> Iterator[Declared]:
    """What each party and each coalition is told by the declaration; nothing for whom it is told nothing."""
    for parties in (frozenset({Party.DEVICE}), *coalitions(design)):
        for adversary in Adversary:
            if facts := told(design, parties, adversary):
                yield _row(parties, str(adversary), "design", facts)


def _known(design: AnyDesign) -> Iterator[Known]:
    """What stored files show, of each party and of each coalition."""
    for parties in (frozenset({Party.DEVICE}), frozenset({Party.PROVIDER}), *coalitions(design)):
        yield Known(tuple(sorted(map(str, parties))), str(design.list_knowledge(parties)))


def _row(parties: Iterable[Party], adversary: str, source: str, facts: Iterable[Fact]) -> Declared:
    found = tuple(map(FactSeen.of, facts))
    return Declared(tuple(sorted(map(str, parties))), adversary, source, found)


def _of_messenger(info: Info) -> list[Declared]:
    """What the messenger tells, and in the default failure mode a failure."""
    always, failing = device_facts(info=info), failure_facts(FailureMode.HOLD, info)
    return [
        _row({party}, Adversary.SEMI_HONEST, "messenger", (*facts, *failing.get(party, ())))
        for party, facts in always.items()
    ]
