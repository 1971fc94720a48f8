"""Verification of a report from its file, without the centre's word.

The mode of franking decides what a report can show. A claim that cannot be verified with the keys at hand is
*not shown*, and never passed (docs/accountability.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final, TypeAlias

from blindmatch_protocol.codec import Message, Nested, Sequence, Text, Variable
from blindmatch_protocol.codec.errors import PictureError, ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.messages.franking import FrankingMode
from blindmatch_protocol.messages.report import Report
from blindmatch_protocol.messages.sealed_message import Curve25519Key
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE, distance
from msgspec import Struct

from blindmatch_proofs.endorsement import EndorsementPolicy, EndorsementProof, Terms, verify_proof
from blindmatch_proofs.epoch import NO_ROOT, EpochLeaf, verify_origin
from blindmatch_proofs.franking import (
    verify_designated,
    verify_opening,
    verify_signature,
    verify_stamp,
)
from blindmatch_proofs.tlog import PROOF_MOST, Policy, TlogProof
from blindmatch_proofs.verdict import Failed, Passed

_ANY_AGE: Final = 1 << 40
"""Seconds: of a cosignature on an epoch that is looked at later."""


class NotShown(Struct, frozen=True):
    """The check cannot be made with the keys at hand; `reason` names what is missing."""

    reason: str


Shown: TypeAlias = Passed | Failed | NotShown


class ReportEvidence(Message, tag=0xA5, name="report-evidence"):
    """A report that the centre opened, and what belongs to it: the file that `report verify` reads."""

    report: Annotated[Report, Nested(Report)]
    mode: Annotated[str, Text(16)]
    """Of franking: `stamp`, `signature` or `designated`."""
    identity: Annotated[tuple[bytes, ...], Sequence(Curve25519Key(), 1)]
    """The sender's identity key, as its device named it."""
    leaf: Annotated[tuple[EpochLeaf, ...], Sequence(Nested(EpochLeaf), 1)]
    """Of the epoch."""
    epoch_proof: Annotated[bytes, Variable(PROOF_MOST)]
    """C2SP tlog-proof of the leaf; may be empty."""
    endorsement: Annotated[tuple[EndorsementProof, ...], Sequence(Nested(EndorsementProof), 1)]
    """Of the entry, where entries are endorsed."""

    def check(self) -> None:
        """Check that the mode is known."""
        if self.mode not in set(FrankingMode):
            raise ProtocolError(self.NAME, f"must be one of {', '.join(FrankingMode)}", "mode")


class Known(Redacted, Struct, frozen=True):
    """The keys and policies that a verifier has from elsewhere; what is missing is empty or None.

    Attributes:
        policy: of the log, and the time in Unix seconds.
        judge: the centre's secret key for franking, 32 bytes.
        stamp: the key of relay and centre, 32 bytes.
    """

    identity: bytes = b""
    curator: bytes = b""
    policy: tuple[Policy, int] | None = None
    judge: bytes = b""
    stamp: bytes = b""
    endorsement: EndorsementPolicy | None = None


def verify_evidence(evidence: ReportEvidence, known: Known) -> Mapping[str, Shown]:
    """Verify a report's file.

    Returns:
        A verdict for each claim, in the order in which `report verify` prints them.
    """
    checks: dict[str, Callable[[ReportEvidence, Known], Shown]] = {
        "content": _verify_content,
        "sender": _verify_sender,
        "taken": _verify_stamped,
        "match": _verify_match,
        "endorsed": _verify_endorsed,
        "logged": _verify_logged,
    }
    return {name: check(evidence, known) for name, check in checks.items()}


def _verify_content(evidence: ReportEvidence, known: Known) -> Shown:
    report = evidence.report
    if not report.opening:
        return NotShown("no commitment is opened: a service that sees pictures reported it, on its word")
    return verify_opening(report.evidence)


def _verify_sender(evidence: ReportEvidence, known: Known) -> Shown:
    report = evidence.report
    mode = FrankingMode(evidence.mode)
    if mode is FrankingMode.STAMP or not report.opening:
        return NotShown("nothing binds the message to the sender's key here")
    if not report.sender_proof or not evidence.identity:
        return Failed("the sender's key does not vouch for the message")
    commitment = report.opening[0].commitment
    (identity,) = evidence.identity
    (proof,) = report.sender_proof
    if known.identity and known.identity != identity:
        return Failed("the file names another identity key than the sender's")
    if mode is FrankingMode.DESIGNATED and not known.judge:
        return NotShown("the centre alone can verify it, and can show it to nobody")
    if mode is FrankingMode.DESIGNATED:
        verdict = verify_designated(commitment, proof, identity, known.judge)
    else:
        verdict = verify_signature(commitment, proof.proof, identity)
    if verdict == Passed() and not known.identity:
        return NotShown("the key in the file has signed it; whose key that is, the centre alone says")
    return verdict


def _verify_stamped(evidence: ReportEvidence, known: Known) -> Shown:
    report = evidence.report
    if not report.opening:
        return NotShown("messages in the clear bear no stamp")
    if not report.stamp:
        return Failed("the relay has not stamped the message")
    if not known.stamp:
        return NotShown("relay and centre alone can verify the stamp, and could make it together")
    (opening,) = report.opening
    (stamp,) = report.stamp
    return verify_stamp(stamp, opening.commitment, report.sender, report.recipient, known.stamp)


def _verify_match(evidence: ReportEvidence, known: Known) -> Shown:
    report = evidence.report
    if report.flag is not None:
        return NotShown("a classifier's score: the design's classifier would have to be run again")
    try:
        picture_hash = Picture.from_bytes(report.picture).hash
    except PictureError as error:
        return Failed(str(error))
    if (bits := distance(picture_hash, report.label.entry_hash)) > MATCH_DISTANCE:
        return Failed(
            f"the picture is {bits} bits from the label's hash; the same one is at most {MATCH_DISTANCE}"
        )
    return Passed()


def _verify_endorsed(evidence: ReportEvidence, known: Known) -> Shown:
    report = evidence.report
    if not evidence.leaf or not known.curator:
        return NotShown("the epoch's leaf, or the curator's key, is missing")
    (leaf,) = evidence.leaf
    if (fault := _find_fault(leaf, report, known.curator)) is not None:
        return fault
    if leaf.endorsement_root == NO_ROOT:
        return NotShown("in this epoch no entry is endorsed: the curator's word is all there is")
    if not evidence.endorsement:
        return Failed("the proof that the entry is endorsed is missing")
    if known.endorsement is None and _verify_logged(evidence, known) != Passed():
        return NotShown("the leaf's policy is the curator's word: it must be given, or the leaf logged")
    try:
        policy = EndorsementPolicy.decode(leaf.endorsement_policy)
    except ProtocolError as error:
        return Failed(str(error))
    if known.endorsement not in (None, policy):
        return Failed("the leaf's policy of endorsement is another one")
    terms = Terms(known.curator, report.design, policy)
    root = leaf.endorsement_root
    return verify_proof(evidence.endorsement[0], terms, report.label, report.epoch, root)


def _verify_logged(evidence: ReportEvidence, known: Known) -> Shown:
    if not evidence.leaf or not evidence.epoch_proof or known.policy is None:
        return NotShown("the epoch's leaf, its proof, or the log's policy is missing")
    (leaf,) = evidence.leaf
    policy, now = known.policy
    if (fault := _find_fault(leaf, evidence.report, known.curator)) is not None:
        return fault
    try:
        proof = TlogProof.parse(evidence.epoch_proof)
    except ProtocolError as error:
        return Failed(str(error))
    accepted = policy.accept(proof.note, now, _ANY_AGE)
    if isinstance(accepted, Failed):
        return accepted
    origin = verify_origin(accepted.head, evidence.report.design)
    if isinstance(origin, Failed):
        return origin
    if proof.index != leaf.index:
        return Failed(f"the epoch must be leaf {leaf.index} of the log, not {proof.index}")
    return proof.verify(leaf.encode())


def _find_fault(leaf: EpochLeaf, report: Report, curator: bytes) -> Failed | None:
    """Return why a leaf is not of the report's epoch, or not signed by a known curator; None if it is."""
    manifest = leaf.manifest
    if (manifest.design, manifest.epoch) != (report.design, report.epoch):
        return Failed("the leaf is of another design or epoch than the report")
    verdict = leaf.verify(curator) if curator else Passed()
    return verdict if isinstance(verdict, Failed) else None
