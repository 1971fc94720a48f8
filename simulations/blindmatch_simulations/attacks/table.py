"""All attacks as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from blindmatch_protocol.contract import AnyDesign

from blindmatch_simulations.attacks import (
    audit_evasion,
    collisions,
    crowding,
    downgrade,
    enclave_host,
    epoch_log,
    extraction,
    false_absence,
    first_contact,
    forged_label,
    forged_replies,
    framed_sender,
    framing,
    ghost_recipient,
    guessing,
    joined_logs,
    key_theft,
    lone_hit,
    malformed_vector,
    open_report,
    other_purposes,
    over_days,
    pooled,
    prefix,
    rebuilt,
    refusal,
    relay_timing,
    relisting,
    rollback,
    shares,
    stolen_device,
    store_growth,
    threshold,
    tried_edits,
    unendorsed,
    unmatched,
    unsent,
    withholding,
)
from blindmatch_simulations.attacks.adversary import Adversary, Weakness
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure
from blindmatch_simulations.deployment.registry import not_installed

Attack: TypeAlias = Adversary[Callable[[Arena], Figure], Weakness]

ATTACKS: Final[Mapping[str, Attack]] = {
    attack.name: attack
    for attack in (
        withholding.ATTACK,
        rollback.ATTACK,
        epoch_log.UNLOGGED_EPOCH,
        epoch_log.TWO_HISTORIES,
        unendorsed.UNENDORSED,
        unendorsed.SWAPPED_ENTRY,
        false_absence.ATTACK,
        framing.ATTACK,
        unsent.ATTACK,
        framed_sender.ATTACK,
        relisting.ATTACK,
        lone_hit.ATTACK,
        audit_evasion.ATTACK,
        relay_timing.ATTACK,
        first_contact.FIRST_CONTACT,
        first_contact.SUBSTITUTED_KEY,
        first_contact.FORGED_NOTICE,
        ghost_recipient.GHOST_RECIPIENT,
        ghost_recipient.COMPARED_GHOST,
        store_growth.ATTACK,
        crowding.ATTACK,
        open_report.ATTACK,
        forged_replies.ATTACK,
        enclave_host.ATTESTED_HOST,
        enclave_host.BROKEN_ATTESTATION,
        guessing.ATTACK,
        guessing.MEMBERSHIP,
        shares.ONE_SHARE,
        shares.ALL_SHARES,
        *prefix.ATTACKS,
        extraction.ATTACK,
        pooled.POOLED,
        pooled.KEY_LIMITS,
        malformed_vector.ATTACK,
        unmatched.ATTACK,
        tried_edits.ATTACK,
        tried_edits.FIXED_EDITS,
        downgrade.ATTACK,
        stolen_device.ATTACK,
        refusal.ATTACK,
        rebuilt.ATTACK,
        forged_label.ATTACK,
        collisions.LOOK_ALIKE,
        collisions.REBUILT_COLLISION,
        other_purposes.DUAL_PURPOSE,
        other_purposes.POISONED_LIST,
        over_days.RECURRING_PICTURE,
        over_days.RECURRING_HASH,
        key_theft.RECORDED_REQUESTS,
        key_theft.RECORDED_SEALED,
        key_theft.RECORDED_MESSAGES,
        joined_logs.ATTACK,
        threshold.PUSHED_OVER,
        threshold.SPLIT_ACCOUNTS,
        forged_label.FORCED_REPORT,
    )
}
"""By name, in the order in which they are run."""


def attacked() -> tuple[str, ...]:
    """Names of the installed designs that attacks are played against, in the order of the attacks."""
    names = dict.fromkeys(name for one in ATTACKS.values() for name in sorted(one.against))
    missing = not_installed()
    return tuple(name for name in names if name not in missing)


def pairs(designs: Sequence[AnyDesign]) -> list[tuple[Attack, AnyDesign]]:
    """The attacks that can be played against some designs; those that no design matters to, once."""
    return [
        (attack, design)
        for attack in ATTACKS.values()
        for at, design in enumerate(designs)
        if (design.info.name in attack.against if attack.against else at == 0)
    ]
