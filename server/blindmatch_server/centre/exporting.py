"""What the centre can hand on of a report: opened, beside the sender's keys and the epoch's proofs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from blindmatch_proofs.endorsement import EndorsementProof
from blindmatch_proofs.epoch_leaf import EpochLeaf
from blindmatch_proofs.report_evidence import ReportEvidence
from blindmatch_protocol.contract import Label
from blindmatch_protocol.messages.franking_mode import FrankingMode
from blindmatch_protocol.messages.report import open_report
from msgspec import Struct

from blindmatch_server.centre.keys import CentreKeys
from blindmatch_server.centre.store import Submission
from blindmatch_server.storage.blobs import Blobs


class Backing(Struct, frozen=True):
    """What an epoch shows of itself and of one entry; what there is not is None or empty."""

    leaf: EpochLeaf | None = None
    proof: bytes = b""
    endorsement: EndorsementProof | None = None


Backed: TypeAlias = Callable[[int, Label], Backing]
"""Of an epoch and a label."""


def unbacked(epoch: int, label: Label) -> Backing:
    """A `Backed` where nothing is published here."""
    return Backing()


class Exporter(Struct, frozen=True):
    """Makes evidence of reports."""

    keys: CentreKeys
    mode: FrankingMode
    blobs: Blobs
    backed: Backed = unbacked

    def export(self, submission: Submission, identity: bytes | None) -> bytes:
        """The evidence of a report, whatever its checks came to.

        Raises:
            ProtocolError: if it does not open.
            OSError: if its file cannot be read.
        """
        with self.blobs.open(submission.blob_id) as file:
            report = open_report(file.read(), submission.report_id, self.keys.sealing)
        backing = self.backed(report.epoch, report.label)
        return ReportEvidence(
            report,
            self.mode,
            () if identity is None else (identity,),
            () if backing.leaf is None else (backing.leaf,),
            backing.proof,
            () if backing.endorsement is None else (backing.endorsement,),
        ).encode()
