"""A curator gives an entry an id or a salt that stands for something else, and has it endorsed.

A device drops a label with such a value whatever was endorsed, so the entry would count as listed, to
organisations, audits and devices alike, and match nobody. The organisations sign with the package's own code.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import numpy as np
from blindmatch_client.device import OutcomeKind
from blindmatch_proofs.endorsement import Action, hash_entries
from blindmatch_proofs.endorsement.batch import UNSIGNED, build_batch
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import EntryBatch, Party
from blindmatch_protocol.contract.publishing import joined
from blindmatch_protocol.contract.steps import NO_ENTRY_ID, UNCONFIRMED_ID
from blindmatch_server.curator.endorsement import batches
from blindmatch_server.curator.endorsement.batches import Batches, Held, OrganisationKey
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Left, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted
from blindmatch_simulations.evaluation.attacks.loopback import drawn
from blindmatch_simulations.evaluation.attacks.unendorsed import (
    BOB,
    HONEST,
    OPENED,
    VICTIM,
    Curator,
    endorsed_curator,
)

_NO_SALT: Final = np.zeros((1, 16), np.uint8)


def _reserved(entry: EntryBatch) -> dict[str, EntryBatch]:
    """The entry with each kind of reserved value."""
    filters = np.array([UNCONFIRMED_ID], np.uint64)
    none = np.array([NO_ENTRY_ID], np.uint64)
    return {
        "id and salt of a filter's match": replace(entry, ids=filters, salts=_NO_SALT),
        "id of a filter's match": replace(entry, ids=filters),
        "id of no entry": replace(entry, ids=none),
        "salt of zeros": replace(entry, salts=_NO_SALT),
    }


def _signed(curator: Curator, entry: EntryBatch) -> Held:
    """The batch of an entry, with the signatures of each honest organisation that signs the proposal."""
    batch = build_batch(Action.LIST, (curator.epoch, 99), hash_entries(entry))
    proposal = Batches(curator.epoch, 0, (Held(batch, entry, frozenset(HONEST)),))
    signatures = []
    for one in curator.terms.policy.organisations:
        signature = UNSIGNED
        if one.name in HONEST:
            key = OrganisationKey.of(bytes(curator.keys[one.key]))
            (signature,) = key.endorse(one.name, curator.terms, proposal, entry.hashes).signatures
        signatures.append(signature)
    return Held(replace(batch, signatures=tuple(signatures)), entry, frozenset())


def _is_disabled(curator: Curator, entry: EntryBatch, name: str) -> bool:
    """Does a device take an epoch in which the entry is endorsed, and find no match with its picture?"""
    held = _signed(curator, entry)
    curator.publish(joined([curator.honest, entry]), curator.batch(curator.honest, HONEST), held)
    with curator.serving(), suppress(BlindmatchError):
        device = curator.device(name).device
        if device.epoch:
            return device.send_picture(BOB, drawn(VICTIM)).outcome is OutcomeKind.NO_MATCH
    return False


@attack(
    "disabled-entry",
    Means(frozenset({Party.CURATOR}), has="the curator's key; it chooses the ids and salts of entries"),
    Claim("a curator alone cannot disable an endorsed entry"),
    budget="four devices",
    weakness=replacing((batches, "reserved_rows", lambda ids, salts: np.zeros(len(ids), np.bool_)), OPENED),
    needs=(needs.A_LIST, needs.TOLD, needs.SERVED, needs.SMALL, needs.ANY_ONE),
    exposes="that an endorsed entry is found",
    left=Left.REFUSED,
)
def disabled_entry(arena: Arena) -> Figure:
    """Count the reserved values with which an endorsed entry matches nobody."""
    cases = dict[str, tuple[int, int]]()
    with endorsed_curator(arena) as curator:
        forms = _reserved(curator.victim)
        for at, (name, entry) in enumerate(arena.each(forms.items()), 1):
            cases[name] = (int(_is_disabled(curator, entry, f"alice-{at}")), 1)
    return counted("endorsed entries that match nobody", cases)
