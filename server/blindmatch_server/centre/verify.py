"""What the centre checks before a person looks at a report, each check with a verdict of its own.

sealed    opens with the centre's key under its id, and is canonical
reporter  is who handed it in, and took part in the message
design    is known, in this version
label     is of the centre's own list: id, hash and salt (which only the list and the opener know)
picture   decodes
relation  the picture's PDQ hash matches the label's, as the design defines a match
franking  the commitment opens to a message that carried exactly this picture
second    the second hash, which nobody outside can compute, agrees with the entry's

any failed                 -> failed(the first one's reason)
a needed one not available -> unavailable(its reason)
else                       -> passed

That is the machine's part; what becomes of the report is for a person to decide (triage.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from blindmatch_proofs.franking import verify_opening
from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.errors import PictureError, ProtocolError
from blindmatch_protocol.franking import CommitmentOpening
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.report import Report, open_report

from blindmatch_server.authority import Identity, Kind
from blindmatch_server.centre.keys import CentreKeys
from blindmatch_server.centre.references import Reference, References
from blindmatch_server.keyed_hash import SAME_PICTURE, distance


@dataclass(frozen=True, slots=True)
class NotAvailable:
    """The check could not be made.

    Attributes:
        reason: what was missing.
        needed: whether the report cannot be confirmed without it.
    """

    reason: str
    needed: bool = True


Verdict: TypeAlias = Passed | Failed | NotAvailable


class Check(StrEnum):
    """The checks, in their order."""

    SEALED = "sealed"
    REPORTER = "reporter"
    DESIGN = "design"
    LABEL = "label"
    PICTURE = "picture"
    RELATION = "relation"
    FRANKING = "franking"
    SECOND = "second"


class Outcome(StrEnum):
    """What all checks of a report came to."""

    PASSED = "passed"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a report says, as far as it could be opened."""

    design: str = ""
    version: int = 0
    epoch: int = 0
    entry_id: int = 0
    pdq_distance: int | None = None
    second_distance: int | None = None
    sender: str = ""
    recipient: str = ""
    matched_at_ms: int = 0
    sent_at_ms: int = 0
    media_type: str = ""
    width: int = 0
    height: int = 0
    picture_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Assessment:
    """All verdicts, and what they come to."""

    verdicts: Mapping[Check, Verdict]
    facts: Facts

    @property
    def outcome(self) -> tuple[Outcome, str]:
        """What they come to and, unless all passed, the reason."""
        for check, verdict in self.verdicts.items():
            if isinstance(verdict, Failed):
                return Outcome.FAILED, f"{check}: {verdict.reason}"
        for check, verdict in self.verdicts.items():
            if isinstance(verdict, NotAvailable) and verdict.needed:
                return Outcome.UNAVAILABLE, f"{check}: {verdict.reason}"
        return Outcome.PASSED, ""


@dataclass(frozen=True, slots=True)
class Verifier:
    """What checking needs.

    Attributes:
        keys: the centre's secrets.
        designs: known designs by name.
        references: the centre's copy of the list; None if it has none.
    """

    keys: CentreKeys
    designs: Mapping[str, AnyDesign]
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
    design: AnyDesign | None = None
    reference: Reference | None = None
    picture: Picture | None = None
    opening: CommitmentOpening | None = None
    pdq_distance: int | None = None
    second_distance: int | None = None
    verdicts: dict[Check, Verdict] = field(default_factory=dict)

    def run(self) -> Assessment:
        checks: dict[Check, Callable[[], Verdict]] = {
            Check.SEALED: Passed,
            Check.REPORTER: self._reporter,
            Check.DESIGN: self._design,
            Check.LABEL: self._label,
            Check.PICTURE: self._picture,
            Check.RELATION: self._relation,
            Check.FRANKING: self._franking,
            Check.SECOND: self._second,
        }
        for name, check in checks.items():
            self.verdicts[name] = check()
        return Assessment(self.verdicts, self._facts())

    def _reporter(self) -> Verdict:
        report = self.report
        if report.reporter != self.submitter.account:
            return Failed("another party handed the report in")
        if self.submitter.kind is Kind.DEVICE and report.reporter not in (report.sender, report.recipient):
            return Failed("the reporter took no part in the message")
        return Passed()

    def _design(self) -> Verdict:
        design = self.verifier.designs.get(self.report.design)
        if design is None or design.info.version != self.report.version:
            return NotAvailable("the design is not known in this version")
        self.design = design
        return Passed()

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
        if self.design is None:
            return NotAvailable("the design is not known")
        if not self.design.info.relation.holds(self.picture, entry)[0]:
            return Failed("the picture does not match the label's hash")
        return Passed()

    def _franking(self) -> Verdict:
        report = self.report
        if not report.opening and not report.commitment and self._reads_messages():
            return NotAvailable("the reporter reads messages itself", needed=False)
        try:
            self.opening = CommitmentOpening.decode(report.opening)
        except ProtocolError as error:
            return Failed(str(error))
        verdict = verify_opening(report.commitment, self.opening)
        return self._binds_picture(self.opening) if isinstance(verdict, Passed) else verdict

    def _reads_messages(self) -> bool:
        is_device = self.submitter.kind is Kind.DEVICE
        return not is_device and self.design is not None and self.design.info.sends_content

    def _binds_picture(self, opening: CommitmentOpening) -> Verdict:
        report, statement = self.report, opening.statement
        if (statement.sender, statement.recipient) != (report.sender, report.recipient):
            return Failed("the commitment binds another sender or recipient")
        if report.attachment >= len(statement.attachments):
            return Failed("the message carried no attachment with this number")
        bound = statement.attachments[report.attachment]
        if bound.digest != hashlib.sha256(report.picture).digest() or bound.media_type != report.media_type:
            return Failed("the message carried another picture")
        return Passed()

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
            sent_at_ms=self.opening.statement.sent_at if self.opening else report.matched_at_ms,
            media_type=report.media_type,
            width=width,
            height=height,
            picture_bytes=len(report.picture),
        )


def describe(check: Check, verdict: Verdict) -> str:
    """A verdict in one line: ``label: passed``."""
    match verdict:
        case Passed():
            return f"{check}: passed"
        case Failed(reason):
            return f"{check}: failed: {reason}"
        case NotAvailable(reason):
            return f"{check}: not available: {reason}"
