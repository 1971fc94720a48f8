"""What the centre checks before a person looks at a report, each check with a verdict of its own.

sealed    opens with the centre's key under its id, and is canonical
design    is of the design, version and epoch that are deployed
reporter  is who handed it in, and may report this in that design (deployed.py)
label     is of the centre's own list: id, hash and salt (which only the list and the opener know)
picture   decodes
relation  the picture's PDQ hash matches the label's, as the design defines a match
franking  a commitment binds sender, recipient, time and exactly this picture
second    the second hash, which nobody outside can compute, agrees with the entry's
once      is the first one about it (subjects.py); judged when the verdicts are stored

That is the machine's part; what becomes of the report is for a person to decide (triage.py). What no check
shows: unproven.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from blindmatch_proofs.franking import verify_opening
from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol.errors import PictureError, ProtocolError
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.report import Report, open_report

from blindmatch_server.authority import Identity, Kind
from blindmatch_server.centre.assessment import Assessment, Check, Facts, NotAvailable, Verdict
from blindmatch_server.centre.deployed import Deployed, check_design, check_reporter
from blindmatch_server.centre.keys import CentreKeys
from blindmatch_server.centre.references import Reference, References
from blindmatch_server.centre.subjects import subject_of
from blindmatch_server.keyed_hash import SAME_PICTURE, distance

_NOT_TOLD = NotAvailable("the centre was not told what is deployed")


@dataclass(frozen=True, slots=True)
class Verifier:
    """What checking needs.

    Attributes:
        keys: the centre's secrets.
        deployed: what reports may be about; None if the centre was not told.
        references: the centre's copy of the list; None if it has none.
    """

    keys: CentreKeys
    deployed: Deployed | None = None
    references: References | None = None

    def assess(self, sealed: bytes, report_id: bytes, submitter: Identity) -> Assessment:
        """Check a sealed report that `submitter` handed in; whatever it holds, this returns."""
        try:
            report = open_report(sealed, report_id, self.keys.sealing)
        except ProtocolError as error:
            return Assessment({Check.SEALED: Failed(str(error))}, Facts())
        return _Examination(self, report, submitter).run()


@dataclass(slots=True)
class _Examination:
    """One opened report under examination; later checks use what earlier ones found."""

    verifier: Verifier
    report: Report
    submitter: Identity
    reference: Reference | None = None
    picture: Picture | None = None
    pdq_distance: int | None = None
    second_distance: int | None = None
    verdicts: dict[Check, Verdict] = field(default_factory=dict)

    def run(self) -> Assessment:
        checks: dict[Check, Callable[[], Verdict]] = {
            Check.SEALED: Passed,
            Check.DESIGN: self._design,
            Check.REPORTER: self._reporter,
            Check.LABEL: self._label,
            Check.PICTURE: self._picture,
            Check.RELATION: self._relation,
            Check.FRANKING: self._franking,
            Check.SECOND: self._second,
        }
        for name, check in checks.items():
            self.verdicts[name] = check()
        return Assessment(self.verdicts, self._facts(), subject_of(self.report))

    def _design(self) -> Verdict:
        deployed = self.verifier.deployed
        return _NOT_TOLD if deployed is None else check_design(self.report, deployed)

    def _reporter(self) -> Verdict:
        deployed = self.verifier.deployed
        if deployed is None:
            return _NOT_TOLD
        return check_reporter(self.report, self.submitter, deployed.design.info)

    def _label(self) -> Verdict:
        if self.verifier.references is None:
            return NotAvailable("the centre has no copy of the list")
        label = self.report.label
        reference = self.verifier.references.lookup(label.entry_id)
        if reference is None or (reference.entry_hash, reference.salt) != (label.entry_hash, label.salt):
            return Failed("not a label of the list")
        self.reference = reference
        return Passed()

    def _picture(self) -> Verdict:
        picture = Picture.from_bytes(self.report.picture)
        try:
            _ = picture.fingerprint
        except PictureError as error:
            return Failed(str(error))
        self.picture = picture
        return Passed()

    def _relation(self) -> Verdict:
        if self.picture is None:
            return NotAvailable("there is no picture")
        entry = np.frombuffer(self.report.label.entry_hash, np.uint8).reshape(1, 32)
        self.pdq_distance = distance(self.picture.hash, self.report.label.entry_hash)
        if self.verifier.deployed is None:
            return _NOT_TOLD
        if not self.verifier.deployed.design.info.relation.holds(self.picture, entry)[0]:
            return Failed("the picture does not match the label's hash")
        return Passed()

    def _franking(self) -> Verdict:
        if self.report.opening:
            return verify_opening(self.report.shown, self.report.opening[0])
        may_report = isinstance(self.verdicts[Check.REPORTER], Passed)
        if may_report and self.submitter.kind is not Kind.DEVICE:
            return NotAvailable("the reporter sees pictures in the clear", needed=False)
        return Failed("no commitment is opened")

    def _second(self) -> Verdict:
        if self.picture is None:
            return NotAvailable("there is no picture")
        if self.reference is None or self.reference.second_hash is None:
            return NotAvailable("the centre has no second hash of this entry")
        mine = self.verifier.keys.hasher.hash(self.picture.luminance)
        self.second_distance = distance(mine, self.reference.second_hash)
        if self.second_distance > SAME_PICTURE:
            return Failed("the second hash says another picture")
        return Passed()

    def _facts(self) -> Facts:
        report = self.report
        height, width = self.picture.pixels.shape[:2] if self.picture else (0, 0)
        return Facts(
            design=report.design,
            version=report.version,
            epoch=report.epoch,
            entry_id=report.label.entry_id,
            pdq_distance=self.pdq_distance,
            second_distance=self.second_distance,
            sender=report.sender,
            recipient=report.recipient,
            matched_at_ms=report.matched_at_ms,
            sent_at_ms=report.sent_at_ms,
            media_type=report.media_type,
            width=width,
            height=height,
            picture_bytes=len(report.picture),
        )
