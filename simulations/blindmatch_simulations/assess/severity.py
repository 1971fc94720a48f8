"""The order in which declared facts are named: most severe first, by ``data/severity.json``; no score."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Final

from blindmatch_protocol.contract import Learner

from blindmatch_simulations.assess.observed import Declared, Described, FactSeen

UNDECLARED: Final = "undeclared severity"
LIST: Final = "list"
DEVICE: Final = ("device",)
OUTCOME: Final = FactSeen("outcome", "which pictures match")
"""What a server learns that is no fact of a design but its output."""


@cache
def kinds() -> dict[str, tuple[str, ...]]:
    """Names of facts by kind, the most severe kind first."""
    text = files("blindmatch_simulations").joinpath("data/severity.json").read_text("utf-8")
    return {row["kind"]: tuple(row["facts"]) for row in json.loads(text)["kinds"]}


def kind_of(name: str) -> str:
    """The kind of a fact; `UNDECLARED` for a plug-in's own."""
    return next((kind for kind, names in kinds().items() if name in names), UNDECLARED)


def by_severity(facts: Iterable[FactSeen], device: bool = False) -> list[FactSeen]:
    """Each fact once, the most severe first; those of undeclared severity last if a `device` alone learns."""
    order = [*kinds(), UNDECLARED] if device else [UNDECLARED, *kinds()]
    once = {fact.name: fact for fact in facts}.values()
    return sorted(once, key=lambda fact: order.index(kind_of(fact.name)))


def told_to_servers(design: Described, adversary: str = "semi-honest") -> list[FactSeen]:
    """Facts that the design declares to anyone but the device, and the outcome if a server learns it."""
    told = [OUTCOME] if {str(Learner.SERVER), str(Learner.CENTRE)} & set(design.learns) else []
    return by_severity([*told, *_facts(design, False, adversary)])


def told_to_devices(design: Described) -> list[FactSeen]:
    """Facts that the design declares to a device by itself, semi-honest or malicious."""
    return by_severity(
        [fact for adversary in ("semi-honest", "malicious") for fact in _facts(design, True, adversary)],
        device=True,
    )


def _facts(design: Described, device: bool, adversary: str) -> list[FactSeen]:
    return [fact for one in _leaks(design, device) if one.adversary == adversary for fact in one.facts]


def _leaks(design: Described, device: bool) -> list[Declared]:
    return [one for one in design.declared if one.source == "design" and (one.parties == DEVICE) is device]
