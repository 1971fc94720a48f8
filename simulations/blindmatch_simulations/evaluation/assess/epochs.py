"""What the next epoch costs, and what an epoch can show to outsiders.

Proofs are made of this run's epoch and verified: two of three organisations endorse its entries, and it goes
into a log of its own with two witnesses, all in this process.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import chain
from typing import Final

import numpy as np
from blindmatch_proofs.absence import can_prove, verify_absence
from blindmatch_proofs.checkpoint import COSIGNATURE, ED25519, Checkpoint, Note, NoteSigner
from blindmatch_proofs.endorsement import Action, EndorsementPolicy, Organisation, Terms, hash_entries
from blindmatch_proofs.endorsement.batch import UNSIGNED, Batch, build_batch
from blindmatch_proofs.endorsement.verify import build_proof, verify_proof
from blindmatch_proofs.epoch import NOT_ENDORSED, Endorsement, EpochPolicy, verify_logged
from blindmatch_proofs.merkle import leaf_hash
from blindmatch_proofs.tlog import Accepted, TlogProof, build_policy
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec.errors import BlindmatchError, DesignError
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.contract import AnyDesign, EntrySource, Label, Tie, batches_of
from blindmatch_protocol.contract.publishing import SALT_BYTES, HeldEntries
from blindmatch_protocol.messages.epoch_manifest import SignedManifest
from blindmatch_protocol.picture.decode import Picture
from blindmatch_server.curator import HashList, random_hashes
from blindmatch_server.epochs.published import Publication, open_publication
from msgspec.structs import replace
from nacl.signing import SigningKey

from blindmatch_simulations.evaluation.assess.observed import Built, Proven, Updated
from blindmatch_simulations.evaluation.assess.plan import Plan
from blindmatch_simulations.measure.processes import used_cpu_seconds
from blindmatch_simulations.testbed.deployment.curating import publish, publish_change, throwaway_signer
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.inprocess.deployed import OpenDesign, transcript, values_of


def updated(deployment: Deployment, design: AnyDesign, entries: HashList, plan: Plan) -> Updated:
    """Publish a second epoch with the plan's additions and removals; whole, if a set cannot be changed."""
    rng = seeded(f"assess/{plan.seed}/update")
    adds, removes = _change(entries, plan, rng)
    before = open_publication(deployment.published(design.info.name))
    began = time.perf_counter(), used_cpu_seconds()
    try:
        after = publish_change(deployment, design, adds, removes, rng)
        why = ""
        count = len(adds) + len(removes)
    except DesignError as error:
        try:
            values = values_of(design, plan.parameters)
            after = publish(deployment, design, _changed(entries, adds, removes), rng, values=values)
        except DesignError as second:
            return Updated(f"{error}; {second}")
        why = f"a whole set: {error}"
        count = after.manifest.entries
    spent = time.perf_counter() - began[0], used_cpu_seconds() - began[1]
    fresh = _sizes(after)
    held = _sizes(before)
    fetched = sum(size for digest, size in fresh.items() if digest not in held)
    return Updated(why, Built(*spent, count, sum(fresh.values())), fetched)


def _change(entries: HashList, plan: Plan, rng: Randomness) -> tuple[HeldEntries, list[int]]:
    count = plan.update.adds
    ids = np.arange(count, dtype=np.uint64) + np.uint64(entries.footer.next_id)
    hashes = random_hashes(count, rng)
    salts = np.frombuffer(rng.take(SALT_BYTES * count), np.uint8).reshape(count, SALT_BYTES)
    removes = [int(one) for one in entries.ids[-plan.update.removes :]] if plan.update.removes else []
    return batches_of(hashes, ids, salts), removes


def _changed(entries: HashList, adds: HeldEntries, removes: Sequence[int]) -> HeldEntries:
    kept = ~np.isin(entries.ids, np.array(removes, np.uint64))
    (more,) = adds.batches(len(adds))
    return batches_of(
        np.concatenate([entries.hashes[kept], more.hashes]),
        np.concatenate([entries.ids[kept], more.ids]),
        np.concatenate([entries.salts[kept], more.salts]),
    )


def _sizes(publication: Publication) -> dict[str, int]:
    return {file.digest.hex(): file.size for file in publication.manifest.files}


ORIGIN: Final = "log.blindmatch.test/0123456789abcdef/epochs"
WITNESSES: Final = ("witness-1.blindmatch.test/witness_1", "witness-2.blindmatch.test/witness_2")
ORGANISATIONS: Final = ("north", "south", "west")
NEEDED: Final = 2
BATCH: Final = 1 << 16
"""Entries of a batch that is endorsed, at most."""


def proven(
    opened: OpenDesign, signed: SignedManifest, entries: EntrySource, absent: Picture | None, rng: Randomness
) -> Proven:
    """Make and verify what there is to show of an epoch; the picture `absent`, if there is one, matches none
    of its entries; `BlindmatchError` if a proof does not hold."""
    design = opened.design
    endorsed = NOT_ENDORSED
    endorsement = None
    absence = None
    if len(entries) and design.info.relation.distance is not None:
        endorsed, endorsement = _endorsed(signed, entries)
    if can_prove(design) and absent is not None:
        made = transcript(opened, signed, absent, rng)
        _expect(verify_absence(made, design, opened.setup, absent) == Passed(), "absence")
        absence = len(made.encode())
    ties = can_prove(design) or not design.info.roles
    quoted = design.info.tie is Tie.QUOTE
    return Proven(ties, _logged(signed, endorsed), endorsement, absence, quoted)


def _logged(signed: SignedManifest, endorsed: Endorsement) -> int:
    """Bytes of the epoch's leaf and of its proof, cosigned by both witnesses."""
    log = NoteSigner.from_seed(f"{ORIGIN}/{signed.manifest.design}", ED25519, bytes(32))
    witnesses = [NoteSigner.from_seed(name, COSIGNATURE, name.encode()[:32]) for name in WITNESSES]
    key = throwaway_signer().key
    now = signed.manifest.valid_from
    leaf = key.leaf(signed.manifest, endorsed)
    text = Checkpoint(log.key.name, 1, leaf_hash(leaf.encode())).text
    note = Note(text, (log.sign(text), *(one.sign(text, now) for one in witnesses)))
    pinned = EpochPolicy(
        build_policy([log.key], {one.key.name: [one.key] for one in witnesses}, len(witnesses))
    )
    proof = TlogProof(leaf.index, (), note)
    _expect(leaf.verify(key.public) == Passed(), "the leaf")
    _expect(isinstance(verify_logged(leaf, proof, pinned, now), Accepted), "the log")
    return len(leaf.encode()) + len(proof.encode())


def _endorsed(signed: SignedManifest, entries: EntrySource) -> tuple[Endorsement, int]:
    """What the epoch's leaf says of batches with all entries, and bytes of the first entry's proof."""
    keys = [SigningKey(name.encode().ljust(32)) for name in ORGANISATIONS]
    named = [Organisation(name, bytes(key.verify_key)) for name, key in zip(ORGANISATIONS, keys, strict=True)]
    terms = Terms(bytes(32), signed.manifest.design, EndorsementPolicy(NEEDED, tuple(named)))
    parts = entries.batches(BATCH)
    epoch = signed.manifest.epoch
    first = next(parts)
    label = Label(first.hashes[0].tobytes(), int(first.ids[0]), first.salts[0].tobytes())
    leaves = hash_entries(first)
    batches = [_signed(terms, keys, epoch, one) for one in chain([leaves], map(hash_entries, parts))]
    proof = build_proof(terms, leaves[0], sorted(leaves), 0, batches)
    endorsed = Endorsement(terms.compute_root(batches), terms.policy.encode())
    verdict = verify_proof(proof, terms, label, epoch, endorsed.root)
    _expect(verdict == Passed(), "endorsement")
    return endorsed, len(proof.encode())


def _signed(terms: Terms, keys: list[SigningKey], epoch: int, leaves: list[bytes]) -> Batch:
    bare = build_batch(Action.LIST, (1, epoch), leaves)
    signatures = [terms.sign(bare, key) for key in keys[:NEEDED]] + [UNSIGNED] * (len(keys) - NEEDED)
    return replace(bare, signatures=tuple(signatures))


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise BlindmatchError(f"a proof of {what} does not hold")
