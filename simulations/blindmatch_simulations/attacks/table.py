"""All attacks as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

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
    framing,
    guessing,
    layers,
    metadata,
    modified_device,
    other_purposes,
    perceptual_hash,
    prefix,
    recorded,
    reports,
    served_sets,
    substituted_keys,
    unendorsed,
)
from blindmatch_simulations.attacks.arena import Attack
from blindmatch_simulations.deployment.registry import not_installed

ATTACKS: Final[Mapping[str, Attack]] = {
    attack.name: attack
    for attack in (
        served_sets.withholding,
        served_sets.rollback,
        epoch_log.unlogged_epoch,
        epoch_log.two_histories,
        unendorsed.unendorsed,
        unendorsed.swapped_entry,
        false_absence.false_absence,
        framing.framing,
        framing.unsent_message,
        reports.framed_sender,
        layers.relisting,
        layers.lone_hit,
        audit_evasion.audit_evasion,
        metadata.relay_timing,
        substituted_keys.first_contact,
        substituted_keys.substituted_key,
        substituted_keys.forged_notice,
        substituted_keys.ghost_recipient,
        substituted_keys.compared_ghost,
        exhaustion.store_growth,
        exhaustion.crowding,
        reports.read_report,
        forged_replies.forged_replies,
        enclave_host.attested_host,
        enclave_host.unmeasured_code,
        enclave_host.broken_attestation,
        guessing.guessing,
        guessing.MEMBERSHIP,
        guessing.one_share,
        guessing.ALL_SHARES,
        prefix.prefix,
        prefix.same_prefix,
        prefix.held_back,
        prefix.other_bucket,
        extraction.extraction,
        extraction.pooled_extraction,
        extraction.key_limits,
        extraction.malformed_vector,
        extraction.own_relinearisation,
        modified_device.unmatched,
        edits.tried_edits,
        edits.fixed_edits,
        downgrade.downgrade,
        modified_device.stolen_device,
        edits.refusal_oracle,
        perceptual_hash.rebuilt_picture,
        forged_replies.forged_label,
        perceptual_hash.look_alikes,
        perceptual_hash.rebuilt_collisions,
        other_purposes.dual_purpose,
        other_purposes.poisoned_list,
        recorded.recurring_picture,
        recorded.RECURRING_HASH,
        recorded.recorded_requests,
        recorded.RECORDED_SEALED,
        recorded.recorded_messages,
        recorded.earlier_pictures,
        metadata.joined_logs,
        framing.pushed_over,
        framing.split_accounts,
        forged_replies.forced_report,
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
