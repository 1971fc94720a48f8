"""`blindmatch bench accountability`: proofs of absence in `oprf-psi` and `token-psi`, made and verified."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from blindmatch_proofs.absence import open_setup, verify_absence, verify_files
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import AnyDesign, Item
from blindmatch_protocol.contract.publishing import batches_of
from blindmatch_protocol.designs.oprf_psi import DESIGN as EXACT
from blindmatch_protocol.designs.token_psi import DESIGN as NEARLY
from blindmatch_server.curator import random_hashes
from blindmatch_server.epochs.published import Publication
from blindmatch_server.hosting.workers import WorkerPool

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
    _bench(meter, "absence", EXACT, own, folder / "exact", 1 << log2n)
    _bench(meter, "absence/near", NEARLY, unlisted_picture(), folder / "near", 1 << min(log2n, NEAR))


def _bench(meter: Meter, row: str, design: AnyDesign, item: Item, folder: Path, entries: int) -> None:
    """Measure the session with both sides, its verification with the set opened, and the opening."""
    rng, publication = system_randomness(), _published(design, folder, entries)
    parties, signed = open_published(design, publication), publication.signed
    proof = transcript(parties, signed, item, rng)
    files, curator = publication.setup(), throwaway_signer().key.public

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


def _published(design: AnyDesign, folder: Path, entries: int) -> Publication:
    rng = system_randomness()
    salts = np.frombuffer(rng.take(16 * entries), np.uint8).reshape(-1, 16)
    ids = np.arange(1, entries + 1, dtype=np.uint64)
    source = batches_of(random_hashes(entries, rng), ids, salts)
    with WorkerPool() as workers:
        return built(design, source, folder, {}, workers)
