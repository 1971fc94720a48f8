"""Verification of message franking: was this what the committed message said?

The recipient's device checks every message it decrypts as a whole; the centre checks the parts that a report
opens. What is bound, and why each part has one opening: `blindmatch_protocol.franking`.
"""

from __future__ import annotations

import hmac

from blindmatch_protocol.content import Content
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.franking import (
    COMMITMENT_LENGTH,
    CommitmentOpening,
    Shown,
    commit,
    opened_commitment,
)

from blindmatch_proofs.verdict import Failed, Passed, Verdict


def verify_content(commitment: bytes, content: Content, sender: str, recipient: str) -> Verdict:
    """Whether `commitment` binds all of `content` as a message from `sender` to `recipient`."""
    if len(commitment) != COMMITMENT_LENGTH:
        return Failed(f"a commitment is {COMMITMENT_LENGTH} bytes")
    try:
        recomputed = commit(content, sender, recipient)
    except ProtocolError as error:
        return Failed(f"the message is malformed: {error}")
    if not hmac.compare_digest(recomputed, commitment):
        return Failed("the commitment binds another sender, recipient, content or key")
    return Passed()


def verify_opening(shown: Shown, opening: CommitmentOpening) -> Verdict:
    """Whether `opening` shows that its commitment binds sender, recipient, time and attachment of `shown`."""
    try:
        recomputed = opened_commitment(shown, opening)
    except ProtocolError as error:
        return Failed(f"the opening is malformed: {error}")
    if not hmac.compare_digest(recomputed, opening.commitment):
        return Failed("the commitment binds another sender, recipient, time or attachment")
    return Passed()
