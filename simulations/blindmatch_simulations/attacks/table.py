"""All attacks as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from blindmatch_protocol.contract import AnyDesign

from blindmatch_simulations.attacks import (
    audit_evasion,
    downgrade,
    edits,
    enclave_host,
    epoch_log,
    exhaustion,
    extraction,
    false_absence,
    forged_replies,
    framed_sender,
    framing,
    guessing,
    layers,
    metadata,
    modified_device,
    open_report,
    other_purposes,
    perceptual_hash,
    prefix,
    recorded,
    served_sets,
    substituted_keys,
    unendorsed,
)
from blindmatch_simulations.attacks.adversary import Adversary, Weakness
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure
from blindmatch_simulations.deployment.registry import not_installed

Attack: TypeAlias = Adversary[Callable[[Arena], Figure], Weakness]

ATTACKS: Final[Mapping[str, Attack]] = {
    attack.name: attack
    for attack in (
        served_sets.WITHHOLDING,
        served_sets.ROLLBACK,
        epoch_log.UNLOGGED_EPOCH,
        epoch_log.TWO_HISTORIES,
        unendorsed.UNENDORSED,
        unendorsed.SWAPPED_ENTRY,
        false_absence.ATTACK,
        framing.FRAMING,
        framing.UNSENT_MESSAGE,
        framed_sender.ATTACK,
        layers.RELISTING,
        layers.LONE_HIT,
        audit_evasion.ATTACK,
        metadata.RELAY_TIMING,
        substituted_keys.FIRST_CONTACT,
        substituted_keys.SUBSTITUTED_KEY,
        substituted_keys.FORGED_NOTICE,
        substituted_keys.GHOST_RECIPIENT,
        substituted_keys.COMPARED_GHOST,
        exhaustion.STORE_GROWTH,
        exhaustion.CROWDING,
        open_report.ATTACK,
        forged_replies.FORGED_REPLIES,
        enclave_host.ATTESTED_HOST,
        enclave_host.BROKEN_ATTESTATION,
        guessing.GUESSING,
        guessing.MEMBERSHIP,
        guessing.ONE_SHARE,
        guessing.ALL_SHARES,
        *prefix.ATTACKS,
        extraction.EXTRACTION,
        extraction.POOLED,
        extraction.KEY_LIMITS,
        extraction.MALFORMED_VECTOR,
        modified_device.UNMATCHED,
        edits.TRIED_EDITS,
        edits.FIXED_EDITS,
        downgrade.ATTACK,
        modified_device.STOLEN_DEVICE,
        edits.REFUSAL_ORACLE,
        perceptual_hash.REBUILT_PICTURE,
        forged_replies.FORGED_LABEL,
        perceptual_hash.LOOK_ALIKE,
        perceptual_hash.REBUILT_COLLISION,
        other_purposes.DUAL_PURPOSE,
        other_purposes.POISONED_LIST,
        recorded.RECURRING_PICTURE,
        recorded.RECURRING_HASH,
        recorded.RECORDED_REQUESTS,
        recorded.RECORDED_SEALED,
        recorded.RECORDED_MESSAGES,
        metadata.JOINED_LOGS,
        framing.PUSHED_OVER,
        framing.SPLIT_ACCOUNTS,
        forged_replies.FORCED_REPORT,
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
