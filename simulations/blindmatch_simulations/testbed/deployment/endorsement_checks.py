"""Whether an epoch of a local deployment holds what was endorsed: an audit, and what the centre asks."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

from blindmatch_proofs.endorsement import FILE, EndorsedTable, Terms, verify_label, verify_table
from blindmatch_proofs.verdict import Failed, Passed, Verdict
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import AnyDesign, Label, Progress, no_progress
from blindmatch_server.curator.endorsement.auditing import Audited
from blindmatch_server.epochs.published import open_publication, read_signed
from blindmatch_server.hosting.workers import WorkerPool
from blindmatch_server.storage.files import MappedFile

from blindmatch_simulations.testbed.deployment.curating import throwaway_signer
from blindmatch_simulations.testbed.deployment.endorsement_policy import read_policy, terms_of
from blindmatch_simulations.testbed.deployment.endorsing import records_of
from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError


def audit(
    deployment: Deployment,
    design: AnyDesign,
    rebuild: bool = False,
    epoch: int | None = None,
    progress: Progress = no_progress,
) -> dict[str, Verdict]:
    """What an audit of an endorsed epoch, by default the current one, comes to (see `Audited`).

    Raises:
        DeploymentError: if there is no policy.
        EndorsementError: if the curator has no record of the epoch.
        PublicationError: if there is no such epoch.
    """
    folder, records = deployment.published(design.info.name), records_of(deployment, design)
    publication = open_publication(folder, epoch)
    publication.verify()
    number = publication.signed.manifest.predecessor_epoch
    before = open_publication(folder, number) if number else None
    comparable = before if before is not None and records.has(number) else None
    audited = Audited(design, terms_of(deployment, design), publication, comparable)
    record = records.record(publication.manifest.epoch)
    with WorkerPool() as workers:
        found = audited.endorsements(workers)
        found["recorded"] = audited.recorded(record)
        if rebuild:
            earlier = records.record(record.previous) if record.previous else None
            found["rebuilt"] = audited.rebuilt(record, earlier, throwaway_signer(), workers, progress)
    return found


def endorsed_by(deployment: Deployment, design: AnyDesign) -> Callable[[int, Label], Verdict]:
    """What the centre asks of a label in a report: whether its entry is endorsed in that epoch.

    Raises:
        DeploymentError: if the policy is damaged.
    """
    if read_policy(deployment) is None:
        return lambda epoch, label: Passed()
    terms, folder = terms_of(deployment, design), deployment.published(design.info.name)
    opened = lru_cache(4)(partial(_table, folder, design, terms))

    def verify(epoch: int, label: Label) -> Verdict:
        try:
            return verify_label(opened(epoch), terms, label)
        except BlindmatchError as error:
            return Failed(f"the entry is not known to be endorsed: {error}")

    return verify


def _table(folder: Path, design: AnyDesign, terms: Terms, epoch: int) -> EndorsedTable:
    """The endorsements of an epoch, all of which were verified."""
    path = folder / str(epoch) / FILE
    if not path.exists():
        raise DeploymentError(f"epoch {epoch} bears no endorsements")
    content, keys = MappedFile(path, path.stat().st_size).content, len(terms.policy.organisations)
    table = EndorsedTable(content, design.info, epoch, keys)
    match verify_table(table, terms, read_signed(path.parent).manifest.entries):
        case Failed(reason):
            raise DeploymentError(f"epoch {epoch} is not endorsed: {reason}")
    return table
