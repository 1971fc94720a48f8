"""Runs attacks, and gives the result as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final

from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure
from blindmatch_simulations.attacks.table import Attack

RESULT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Ran:
    """An attack, the design it was run against, and its figure."""

    attack: Attack
    design: str
    figure: Figure

    @property
    def broken(self) -> bool:
        """Did one succeed that is claimed to be withstood?"""
        return self.attack.claimed and self.figure.succeeded


def run_attack(attack: Attack, arena: Arena, weakened: bool = False) -> Ran:
    """Run an attack; `weakened`: with its weakness planted, where it must succeed."""
    with attack.weakness() if weakened else nullcontext():
        return Ran(attack, arena.design.info.name, attack.move(arena))


def as_json(results: Iterable[Ran], weakened: bool = False) -> dict[str, Any]:
    """The result; docs/measures.md says what each key is."""
    return {"result_version": RESULT_VERSION, "weakened": weakened, "attacks": [_row(ran) for ran in results]}


def described(attack: Attack) -> dict[str, Any]:
    """What an attack says of itself."""
    means = attack.means
    adversary = {
        "parties": sorted(means.parties),
        "conduct": str(means.conduct),
        "has": means.has,
        "budget": attack.budget,
    }
    return {
        "name": attack.name,
        "adversary": adversary,
        "claim": {"words": attack.claim.words, "page": attack.claim.page},
        "claimed": attack.claimed,
    }


def _row(ran: Ran) -> dict[str, Any]:
    figure = ran.figure
    found = {"succeeded": figure.succeeded, "figure": figure.as_json(), "trials": figure.trials}
    return {"design": ran.design, **described(ran.attack), **found}
