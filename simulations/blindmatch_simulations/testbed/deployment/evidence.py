"""Evidence of reports: what the centre adds to one from the epochs, and how operators fetch it."""

from __future__ import annotations

from blindmatch_proofs.endorsement import FILE, EndorsedTable, EndorsementProof, prove
from blindmatch_proofs.epoch import EpochLeaf
from blindmatch_proofs.report_evidence import ReportEvidence
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.contract import NO_LABEL, AnyDesign, Label
from blindmatch_server.centre.service import Backed, Backing, unbacked
from blindmatch_server.epochs.published import LEAF, PROOF, open_publication

from blindmatch_simulations.testbed.deployment.endorsement_policy import read_policy, terms_of
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.operators import centre_export


def backed_by(deployment: Deployment, design: AnyDesign) -> Backed:
    """What the published epochs of this machine show; nothing where they are elsewhere."""
    folder = deployment.published(design.info.name)

    def backing(epoch: int, label: Label) -> Backing:
        home = folder / str(epoch)
        try:
            leaf = EpochLeaf.decode((home / LEAF).read_bytes())
        except (FileNotFoundError, ProtocolError):  # version 1 shows nothing
            return Backing()
        proof = (home / PROOF).read_bytes() if (home / PROOF).exists() else b""
        return Backing(leaf, proof, _endorsed(deployment, design, epoch, label))

    return backing if folder.is_dir() else unbacked


def _endorsed(deployment: Deployment, design: AnyDesign, epoch: int, label: Label) -> EndorsementProof | None:
    policy = read_policy(deployment)
    if policy is None or label == NO_LABEL:
        return None
    try:
        held = open_publication(deployment.published(design.info.name), epoch).endorsement()
        table = EndorsedTable(held[FILE], design.info, epoch, len(policy.organisations))
    except (KeyError, BlindmatchError):
        return None
    return prove(table, terms_of(deployment, design), label)


def evidence_of(deployment: Deployment, report_id: bytes, reason: str) -> ReportEvidence:
    """A report's evidence, fetched from the centre as an operator, whose journal has the reason before.

    Raises:
        OperatorError: if the centre cannot be asked, or refuses.
        ProtocolError: if what it sends is none.
    """
    return ReportEvidence.decode(centre_export(deployment, report_id, reason))
