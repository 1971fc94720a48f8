"""Verification of message franking: was this what the committed message said?

The recipient's device checks every message it decrypts, and the centre checks a report with the same
functions. What is bound, and why one commitment has one opening: `blindmatch_protocol.franking`.
"""

from __future__ import annotations

import hashlib
import hmac

from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.franking import COMMITMENT_LENGTH, CommitmentOpening, commit

from blindmatch_proofs.verdict import Failed, Passed, Verdict


def verify_opening(commitment: bytes, opening: CommitmentOpening) -> Verdict:
    """Whether `opening` is what `commitment` binds."""
    if len(commitment) != COMMITMENT_LENGTH:
        return Failed(f"a commitment is {COMMITMENT_LENGTH} bytes")
    try:
        recomputed = commit(opening)
    except ProtocolError as error:
        return Failed(f"the opening is malformed: {error}")
    if not hmac.compare_digest(recomputed, commitment):
        return Failed("the commitment binds another sender, recipient, content or key")
    return Passed()


def verify_attachment(opening: CommitmentOpening, attachment: bytes) -> Verdict:
    """Whether `attachment`, in plain, is one of those that the opened message carried."""
    digest = hashlib.sha256(attachment).digest()
    if all(bound.digest != digest for bound in opening.statement.attachments):
        return Failed("the message carried no attachment with this digest")
    return Passed()
