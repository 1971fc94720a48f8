"""All attacks as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from blindmatch_protocol.contract import AnyDesign

from blindmatch_simulations.attacks import extraction, forged_replies, guessing, lone_hit, relisting
from blindmatch_simulations.attacks.adversary import Adversary
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure
from blindmatch_simulations.attacks.weakness import Weakness

Attack: TypeAlias = Adversary[Callable[[Arena], Figure], Weakness]

ATTACKS: Final[Mapping[str, Attack]] = {
    attack.name: attack
    for attack in (
        relisting.ATTACK,
        lone_hit.ATTACK,
        forged_replies.ATTACK,
        guessing.ATTACK,
        extraction.ATTACK,
    )
}
"""By name, in the order in which they are run."""


def against(design: AnyDesign) -> list[Attack]:
    """The attacks that can be played against a design."""
    return [one for one in ATTACKS.values() if not one.against or design.info.name in one.against]
