"""`blindmatch bench accountability`: what can be shown to others, made and verified.

The epoch that is audited is of `hash-upload`, whose set takes no time to build, so that what is measured are
the endorsements.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
from blindmatch_client.epochs.transparency import LogView
from blindmatch_client.messenger.account import Account
from blindmatch_proofs.absence import open_setup, verify_absence, verify_files
from blindmatch_proofs.checkpoint import COSIGNATURE, ED25519, Checkpoint, Note, NoteSigner
from blindmatch_proofs.endorsement import (
    FILE,
    EndorsedTable,
    EndorsementProof,
    Organisation,
    Terms,
    prove,
    verify_label,
    verify_proof,
)
from blindmatch_proofs.endorsement.batch import EndorsementPolicy
from blindmatch_proofs.epoch import EpochPolicy
from blindmatch_proofs.franking import verify_designated, verify_signature, verify_stamp
from blindmatch_proofs.merkle import Tree, compute_root, leaf_hash, prove_consistency, prove_inclusion
from blindmatch_proofs.tlog import TlogProof, build_policy
from blindmatch_proofs.verdict import Passed, Verdict
from blindmatch_protocol.codec.randomness import Randomness, system_randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Item, Label, SetParameters
from blindmatch_protocol.contract.publishing import HeldEntries, batches_of
from blindmatch_protocol.crypto import amf
from blindmatch_protocol.designs.hash_upload import DESIGN as UPLOAD
from blindmatch_protocol.designs.oprf_psi import DESIGN as PSI
from blindmatch_protocol.designs.token_psi import DESIGN as NEARLY
from blindmatch_protocol.messages.content import compose
from blindmatch_protocol.messages.epoch_manifest import EpochManifest
from blindmatch_protocol.messages.franking import FrankingMode, Stamp, Stamped, commit
from blindmatch_protocol.messages.sealed_message import PROOF_LENGTHS, Franking, SealedMessage
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.curator import random_hashes
from blindmatch_server.curator.endorsement.batches import Batches, OrganisationKey
from blindmatch_server.curator.endorsement.proposing import Audited, Record, Span, propose, settle
from blindmatch_server.curator.hashlist import FIRST_ID
from blindmatch_server.epochs.building import Publishing, publish_epoch
from blindmatch_server.hosting.workers import WorkerPool, cores
from blindmatch_server.log.tree_store import TreeStore
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.evaluation.bench.messages_worker import TEXT
from blindmatch_simulations.evaluation.bench.queries import unlisted_picture
from blindmatch_simulations.measure.meter import Meter, expect
from blindmatch_simulations.testbed.deployment.building import built
from blindmatch_simulations.testbed.deployment.curating import throwaway_signer
from blindmatch_simulations.testbed.inprocess.deployed import open_published, transcript
from blindmatch_simulations.testbed.pictures.pool import HashOnly

NEAR: Final = 12
"""Log2 of the largest near set that is built here."""


def bench_absence(meter: Meter, folder: Path, log2n: int) -> None:
    """Measure proofs of absence: exact ones of a hash, near ones of a picture."""
    own = HashOnly(random_hashes(1, system_randomness())[0].tobytes())
    _bench(meter, "absence", PSI, own, folder / "exact", 1 << log2n)
    _bench(meter, "absence/near", NEARLY, unlisted_picture(), folder / "near", 1 << min(log2n, NEAR))


def _bench(meter: Meter, row: str, design: AnyDesign, item: Item, folder: Path, entries: int) -> None:
    rng = system_randomness()
    salts = np.frombuffer(rng.take(16 * entries), np.uint8).reshape(-1, 16)
    source = batches_of(random_hashes(entries, rng), np.arange(1, entries + 1, dtype=np.uint64), salts)
    with WorkerPool() as workers:
        publication = built(design, source, folder, {}, workers)
    parties = open_published(design, publication)
    signed = publication.signed
    proof = transcript(parties, signed, item, rng)
    files = publication.setup()
    curator = throwaway_signer().key.public

    def opened() -> None:
        expect(verify_files(signed, curator, files) == Passed(), "the files are not the manifest's")
        open_setup(design, signed.manifest, files)

    def verified() -> None:
        found = verify_absence(proof, design, parties.setup, item)
        expect(found == Passed(), f"what is not listed is not absent: {found}")

    meter.time(f"{row}/make", lambda: transcript(parties, signed, item, rng).encode(), entries=entries)
    meter.time(f"{row}/open", opened, repeat=False, entries=entries)
    meter.time(f"{row}/verify", verified, entries=entries)
    meter.record(f"{row}/size", {"bytes": len(proof.encode())}, entries=entries)


ORGANISATIONS: Final = ("north", "south", "west")
SIGNING: Final = ORGANISATIONS[:2]
REBUILT: Final = 14
"""Log2 of the largest set that is built again here; that is linear in its size."""
LAST: Final = 52


class Endorsed(Redacted, Struct, frozen=True):
    """An endorsed epoch of random hashes.

    Attributes:
        audited: what an audit goes by.
        record: what the curator keeps.
    """

    audited: Audited
    record: Record
    table: EndorsedTable
    label: Label


def bench_endorsements(meter: Meter, folder: Path, log2n: int) -> None:
    """Measure endorsing, audits, the check at a match, and proofs, at 2^log2n entries."""
    entries = 1 << log2n
    batches = _epoch(UPLOAD, folder / "batches", entries, 0)
    _audit(meter, "batches", batches)
    _proof(meter, batches)
    _audit(meter, "signatures", _epoch(UPLOAD, folder / "signatures", entries, 1))
    few = 1 << min(log2n, REBUILT)
    _rebuild(meter, _epoch(PSI, folder / "rebuilt", few, 0))


def _epoch(design: AnyDesign, folder: Path, entries: int, batch: int) -> Endorsed:
    rng = system_randomness()
    keys = {name: OrganisationKey.of(rng.take(32)) for name in ORGANISATIONS}
    named = tuple(Organisation(name, keys[name].public) for name in ORGANISATIONS)
    terms = Terms(throwaway_signer().key.public, design.info.name, EndorsementPolicy(2, named))
    own = random_hashes(entries, rng)
    before = Batches(0, FIRST_ID)
    proposal = propose(terms, Span(1, LAST, batch), dict.fromkeys(SIGNING, own), before, rng)
    signed = [keys[name].endorse(name, terms, proposal, own) for name in SIGNING]
    batches = settle(terms, proposal, signed, before).record
    seed = rng.take(32)
    listed = batches.listed(1)
    made = batches.endorsement(design.info, terms)
    source = HeldEntries(listed)
    fixed = Randomness(lambda count: seed[:count])
    how = Publishing(design, folder, throwaway_signer(), endorsement=made)
    publication = publish_epoch(how, source, SetParameters(1, {}), fixed)
    table = EndorsedTable(publication.endorsement()[FILE], design.info, 1, len(named))
    label = Label(listed.hashes[0].tobytes(), int(listed.ids[0]), listed.salts[0].tobytes())
    return Endorsed(Audited(design, terms, publication), Record(batches, seed), table, label)


def _audit(meter: Meter, name: str, epoch: Endorsed) -> None:
    entries = epoch.table.entries
    many = cores()
    with WorkerPool(many) as workers:

        def task() -> None:
            found = epoch.audited.endorsements(workers) | {"recorded": epoch.audited.recorded(epoch.record)}
            expect(all(one == Passed() for one in found.values()), f"the audit says {found}")

        meter.time(f"endorsement/audit/{name}", task, threads=many, repeat=False, entries=entries)
    size = len(epoch.audited.publication.endorsement()[FILE])
    meter.record(f"endorsement/size/{name}", {"bytes": size / entries}, entries=entries)


def _proof(meter: Meter, epoch: Endorsed) -> None:
    """What shows that an entry is endorsed: to a device at a match, and to others."""
    terms = epoch.audited.terms
    entries = epoch.table.entries
    root = terms.compute_root(epoch.table.read_batches())
    made = list[EndorsementProof]()
    publication = epoch.audited.publication
    info = epoch.audited.design.info

    def match() -> None:
        expect(verify_label(epoch.table, terms, epoch.label) == Passed(), "the entry is not endorsed")

    def make() -> None:
        found = prove(epoch.table, terms, epoch.label, publication.kept_trees(info, root))
        expect(found is not None, "there is no proof")
        made[:] = [found] if found else []

    def verify() -> None:
        expect(verify_proof(made[0], terms, epoch.label, 1, root) == Passed(), "the proof does not hold")

    meter.time("endorsement/match", match, entries=entries)
    meter.time("endorsement/proof/make", make, entries=entries)
    meter.time("endorsement/proof/verify", verify, entries=entries)
    meter.record("endorsement/proof/size", {"bytes": len(made[0].encode())}, entries=entries)


def _rebuild(meter: Meter, epoch: Endorsed) -> None:
    entries = epoch.table.entries
    many = cores()
    with WorkerPool(many) as workers:

        def task() -> None:
            found = epoch.audited.rebuilt(epoch.record, None, throwaway_signer(), workers)
            expect(found == Passed(), f"the set is another one: {found}")

        meter.time(
            "endorsement/audit/rebuilt", task, count=entries, threads=many, repeat=False, entries=entries
        )


ORIGIN: Final = "log.blindmatch.test/0123456789abcdef/epochs/oprf-psi"
LEAF_BYTES: Final = 300
BATCH: Final = 50_000
"""Leaves under a checkpoint."""
EPOCHS: Final = 1 << 16
NOW: Final = 1_800_000_000
NEEDED = 3
WITNESSES = 5


def bench_epoch_log(meter: Meter, folder: Path, log2n: int) -> None:
    """Measure a log of 2^(log2n + 4) leaves, and the check of the newest of 2^16 epochs."""
    leaves = 1 << (log2n + 4)
    _storage(meter, folder, leaves)
    _check(meter)


def _storage(meter: Meter, folder: Path, leaves: int) -> None:
    log = NoteSigner.from_seed(ORIGIN, ED25519, bytes(32))
    number = 0

    def append() -> None:
        nonlocal number
        number += 1
        store = TreeStore(folder / f"log-{number}", ORIGIN)
        for first in range(0, leaves, BATCH):
            many = range(first, min(first + BATCH, leaves))
            head = store.extended([at.to_bytes(LEAF_BYTES, "big") for at in many])
            store.keep(Note(head.text, (log.sign(head.text),)))

    meter.time("log/append", append, count=leaves, repeat=False, entries=leaves)
    place = folder / f"log-{number}"
    meter.time("log/open", lambda: TreeStore(place, ORIGIN), entries=leaves)

    def prove() -> None:
        store = TreeStore(place, ORIGIN)
        prove_inclusion(store.nodes, leaves // 3, leaves)

    meter.time("log/prove", prove, entries=leaves)


def _check(meter: Meter) -> None:
    witnesses = [
        NoteSigner.from_seed(f"w{n}.example", COSIGNATURE, bytes([n]) * 32) for n in range(1, WITNESSES + 1)
    ]
    log = NoteSigner.from_seed(ORIGIN, ED25519, bytes(32))
    pinned = EpochPolicy(build_policy([log.key], {one.key.name: [one.key] for one in witnesses}, NEEDED))
    key = throwaway_signer().key
    signed = key.sign(EpochManifest("oprf-psi", 2, EPOCHS, EPOCHS - 1, b"p" * 32, 0, 1, 1, (), (), ()))
    leaf = key.leaf(signed.manifest)
    before = [sha256(at.to_bytes(8, "big")).digest() for at in range(EPOCHS - 1)]
    tree = Tree.from_leaves([*before, leaf_hash(leaf.encode())])
    seen, head = (Checkpoint(ORIGIN, size, compute_root(tree.node, size)) for size in (EPOCHS - 1, EPOCHS))
    old, new = (
        Note(at.text, (log.sign(at.text), *(one.sign(at.text, NOW) for one in witnesses[:NEEDED])))
        for at in (seen, head)
    )
    proof = TlogProof(EPOCHS - 1, prove_inclusion(tree.node, EPOCHS - 1, EPOCHS), new)
    path = prove_consistency(tree.node, seen.size, EPOCHS)
    described = pb.Description(proof=proof.encode())
    described.consistency.append(pb.Consistency(tree_size=seen.size, path=path))
    meter.record("log/size", {"bytes": described.ByteSize()}, entries=EPOCHS)
    described.leaf = leaf.encode()
    device = LogView(pinned, key.public, None)
    device = replace(device, seen=device.hear("peer", old.encode())[0])

    def check() -> None:
        expect(device.list_sizes() == [seen.size], "the device has heard of another checkpoint")
        expect(bool(device.check(signed, described, NOW).taken), "the device takes no epoch")

    meter.time("log/check", check, entries=EPOCHS)


SENDER = "alice"
RECIPIENT = "bob"
MESSAGES: Final = 20
"""Texts of one repetition."""


def bench_franking(meter: Meter) -> None:
    """Measure each mode by itself, and a text sealed and opened in each."""
    _stamp(meter)
    for mode in FrankingMode:
        _mode(meter, mode)


def _stamp(meter: Meter) -> None:
    rng = system_randomness()
    key = rng.take(32)
    commitment = rng.take(32)
    name = rng.take(16)
    about = Stamped(commitment, SENDER, RECIPIENT, name, 1)
    stamp = Stamp(name, 1, about.mac(key))
    sealed = _pair(FrankingMode.STAMP)[0].encrypt(RECIPIENT, compose(TEXT, (), 1, system_randomness()))

    def made() -> bytes:
        read = SealedMessage.decode(sealed).commitment
        return Stamped(read, SENDER, RECIPIENT, name, 1).mac(key)

    meter.time("franking/relay", made)
    meter.time("franking/stamp", lambda: _passed(verify_stamp(stamp, commitment, SENDER, RECIPIENT, key)))


def _mode(meter: Meter, mode: FrankingMode) -> None:
    """A text from one end to the other; then what sender, recipient and centre do of it for the mode."""
    alice, bob = _pair(mode)

    def talk() -> None:
        for _ in range(MESSAGES):
            bob.decrypt(SENDER, alice.encrypt(RECIPIENT, compose(TEXT, (), 1, system_randomness())))

    meter.time("franking/text", talk, count=MESSAGES, mode=mode)
    sealed = alice.encrypt(RECIPIENT, compose(TEXT, (), 1, system_randomness()))
    meter.record("franking/size", {"bytes": len(sealed)}, mode=mode, proof_bytes=PROOF_LENGTHS[mode])
    if mode is FrankingMode.STAMP:
        return
    commitment = commit(compose(TEXT, (), 1, system_randomness()), SENDER, RECIPIENT)
    proof = alice.prove_sender(RECIPIENT, commitment)
    assert proof is not None
    meter.time("franking/prove", lambda: alice.prove_sender(RECIPIENT, commitment), mode=mode)

    def judged() -> None:
        if mode is FrankingMode.SIGNATURE:
            _passed(verify_signature(commitment, proof.proof, alice.identity))
        else:
            _passed(verify_designated(commitment, proof, alice.identity, _JUDGE))

    meter.time("franking/centre", judged, mode=mode)


def _passed(found: Verdict) -> None:
    expect(found == Passed(), "a right proof was refused")


def _pair(mode: FrankingMode) -> tuple[Account, Account]:
    alice, bob = (Account.create(name, 1, 1) for name in (SENDER, RECIPIENT))
    for account in (alice, bob):
        account.frank(Franking(mode, amf.public_key(_JUDGE)))
    bundle = bob.get_published_keys()
    rng = system_randomness()
    bob.decrypt(SENDER, alice.encrypt(RECIPIENT, compose(TEXT, (), 1, rng), bundle))
    alice.decrypt(RECIPIENT, bob.encrypt(SENDER, compose(TEXT, (), 1, rng)))
    return alice, bob


_JUDGE: Final = bytes([7]) + bytes(31)
"""A scalar: whose does not matter for time."""
