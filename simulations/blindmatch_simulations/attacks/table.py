"""All attacks as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from blindmatch_protocol.contract import AnyDesign

from blindmatch_simulations.attacks import (
    audit_evasion,
    crowding,
    extraction,
    first_contact,
    forged_replies,
    framing,
    guessing,
    lone_hit,
    open_report,
    relay_timing,
    relisting,
    rollback,
    store_growth,
    unmatched,
    withholding,
)
from blindmatch_simulations.attacks.adversary import Adversary
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure
from blindmatch_simulations.attacks.weakness import Weakness

Attack: TypeAlias = Adversary[Callable[[Arena], Figure], Weakness]

ATTACKS: Final[Mapping[str, Attack]] = {
    attack.name: attack
    for attack in (
        withholding.ATTACK,
        rollback.ATTACK,
        framing.ATTACK,
        relisting.ATTACK,
        lone_hit.ATTACK,
        audit_evasion.ATTACK,
        relay_timing.ATTACK,
        first_contact.FIRST_CONTACT,
        first_contact.SUBSTITUTED_KEY,
        first_contact.FORGED_NOTICE,
        store_growth.ATTACK,
        crowding.ATTACK,
        open_report.ATTACK,
        forged_replies.ATTACK,
        guessing.ATTACK,
        extraction.ATTACK,
        unmatched.ATTACK,
    )
}
"""By name, in the order in which they are run."""


def pairs(designs: Sequence[AnyDesign]) -> list[tuple[Attack, AnyDesign]]:
    """The attacks that can be played against some designs; those that no design matters to, once."""
    return [
        (attack, design)
        for attack in ATTACKS.values()
        for at, design in enumerate(designs)
        if (design.info.name in attack.against if attack.against else at == 0)
    ]
