"""`blindmatch bench accountability`: endorsements of an epoch, each batch by k = 2 of n = 3 organisations.

The epoch that is audited is of `hash-upload`, whose set takes no time to build, so that what is measured are
the endorsements; the set that is built again is one of `oprf-psi`. Hashes and keys are random.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

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
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec.randomness import Randomness, system_randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Label, SetParameters
from blindmatch_protocol.contract.publishing import HeldEntries
from blindmatch_protocol.designs.hash_upload import DESIGN as UPLOAD
from blindmatch_protocol.designs.oprf_psi import DESIGN as PSI
from blindmatch_server.curator import random_hashes
from blindmatch_server.curator.endorsement.auditing import Audited
from blindmatch_server.curator.endorsement.batches import Batches, OrganisationKey
from blindmatch_server.curator.endorsement.proposing import Record, Span, propose, settle
from blindmatch_server.curator.hashlist import FIRST_ID
from blindmatch_server.epochs.building import Publishing, publish_epoch
from blindmatch_server.hosting.workers import WorkerPool, cores
from msgspec import Struct

from blindmatch_simulations.measure.meter import Meter, expect
from blindmatch_simulations.testbed.deployment.curating import throwaway_signer

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
    _match(meter, batches)
    _proof(meter, batches)
    _audit(meter, "signatures", _epoch(UPLOAD, folder / "signatures", entries, 1))
    few = 1 << min(log2n, REBUILT)
    _rebuild(meter, _epoch(PSI, folder / "rebuilt", few, 0))


def _epoch(design: AnyDesign, folder: Path, entries: int, batch: int) -> Endorsed:
    """An epoch whose batches have at most `batch` entries each; 0 for one batch."""
    rng = system_randomness()
    keys = {name: OrganisationKey.of(rng.take(32)) for name in ORGANISATIONS}
    named = tuple(Organisation(name, keys[name].public) for name in ORGANISATIONS)
    terms = Terms(throwaway_signer().key.public, design.info.name, EndorsementPolicy(2, named))
    own, before = random_hashes(entries, rng), Batches(0, FIRST_ID)
    proposal = propose(terms, Span(1, LAST, batch), dict.fromkeys(SIGNING, own), before, rng)
    signed = [keys[name].endorse(name, terms, proposal, own) for name in SIGNING]
    batches, seed = settle(terms, proposal, signed, before).record, rng.take(32)
    listed, made = batches.listed(1), batches.endorsement(design.info, terms)
    source, fixed = HeldEntries(listed), Randomness(lambda count: seed[:count])
    how = Publishing(design, folder, throwaway_signer(), endorsement=made)
    publication = publish_epoch(how, source, SetParameters(1, {}), fixed)
    table = EndorsedTable(publication.endorsement()[FILE], design.info, 1, len(named))
    label = Label(listed.hashes[0].tobytes(), int(listed.ids[0]), listed.salts[0].tobytes())
    return Endorsed(Audited(design, terms, publication), Record(batches, seed), table, label)


def _audit(meter: Meter, name: str, epoch: Endorsed) -> None:
    """An audit of endorsements against the list: signatures, roots, counts, and the list in the clear."""
    entries, many = epoch.table.entries, cores()
    with WorkerPool(many) as workers:

        def task() -> None:
            found = epoch.audited.endorsements(workers) | {"recorded": epoch.audited.recorded(epoch.record)}
            expect(all(one == Passed() for one in found.values()), f"the audit says {found}")

        meter.time(f"endorsement/audit/{name}", task, threads=many, repeat=False, entries=entries)
    size = len(epoch.audited.publication.endorsement()[FILE])
    meter.record(f"endorsement/size/{name}", {"bytes": size / entries}, entries=entries)


def _match(meter: Meter, epoch: Endorsed) -> None:
    """What a device does at a match."""
    terms = epoch.audited.terms

    def task() -> None:
        expect(verify_label(epoch.table, terms, epoch.label) == Passed(), "the entry is not endorsed")

    meter.time("endorsement/match", task, entries=epoch.table.entries)


def _proof(meter: Meter, epoch: Endorsed) -> None:
    """The proof for one entry, made of the table and verified without it."""
    terms, entries = epoch.audited.terms, epoch.table.entries
    root, made = terms.root(epoch.table.batches()), list[EndorsementProof]()

    def make() -> None:
        found = prove(epoch.table, terms, epoch.label)
        expect(found is not None, "there is no proof")
        made[:] = [found] if found else []

    def verify() -> None:
        expect(verify_proof(made[0], terms, epoch.label, 1, root) == Passed(), "the proof does not hold")

    meter.time("endorsement/proof/make", make, repeat=False, entries=entries)
    meter.time("endorsement/proof/verify", verify, entries=entries)
    meter.record("endorsement/proof/size", {"bytes": len(made[0].encode())}, entries=entries)


def _rebuild(meter: Meter, epoch: Endorsed) -> None:
    """The full re-evaluation: the set, built again and compared."""
    entries, many = epoch.table.entries, cores()
    with WorkerPool(many) as workers:

        def task() -> None:
            found = epoch.audited.rebuilt(epoch.record, None, throwaway_signer(), workers)
            expect(found == Passed(), f"the set is another one: {found}")

        meter.time(
            "endorsement/audit/rebuilt", task, count=entries, threads=many, repeat=False, entries=entries
        )
