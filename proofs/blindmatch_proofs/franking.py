"""Verification of message franking: was this what the committed message said, and was it sent?

The recipient's device checks every message it decrypts as a whole; the centre checks the parts that a report
opens, the relay's stamp, and what the sender's key says of it. What is bound, and why each part has one
opening: `blindmatch_protocol.messages.franking` and `amf`.
"""

from __future__ import annotations

import hmac

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.crypto import amf
from blindmatch_protocol.messages.content import Content
from blindmatch_protocol.messages.franking import (
    COMMITMENT_LENGTH,
    Evidence,
    Stamp,
    Stamped,
    commit,
    opened_commitment,
)
from blindmatch_protocol.messages.sealed_message import SenderProof, is_signed, proven

from blindmatch_proofs.verdict import Failed, Passed, Verdict


def verify_content(commitment: bytes, content: Content, sender: str, recipient: str) -> Verdict:
    """Verify that `commitment` binds all of `content` as a message from `sender` to `recipient`."""
    if len(commitment) != COMMITMENT_LENGTH:
        return Failed(f"a commitment is {COMMITMENT_LENGTH} bytes")
    try:
        recomputed = commit(content, sender, recipient)
    except ProtocolError as error:
        return Failed(f"the message is malformed: {error}")
    if not hmac.compare_digest(recomputed, commitment):
        return Failed("the commitment binds another sender, recipient, content or key")
    return Passed()


def verify_opening(evidence: Evidence) -> Verdict:
    """Verify by its opening that a commitment binds sender, recipient, time and attachment."""
    try:
        recomputed = opened_commitment(evidence)
    except ProtocolError as error:
        return Failed(f"the opening is malformed: {error}")
    if not hmac.compare_digest(recomputed, evidence.opening.commitment):
        return Failed("the commitment binds another sender, recipient, time or attachment")
    return Passed()


def verify_stamp(stamp: Stamp, commitment: bytes, sender: str, recipient: str, key: bytes) -> Verdict:
    """Verify that `stamp` was made for this commitment and these accounts.

    Args:
        key: The key of relay and centre, 32 bytes.
    """
    try:
        stamped = Stamped(commitment, sender, recipient, stamp.message_id, stamp.accepted_at_ms)
        recomputed = stamped.mac(key)
    except ProtocolError as error:
        return Failed(f"the stamp is malformed: {error}")
    if not hmac.compare_digest(recomputed, stamp.mac):
        return Failed("the stamp is of another commitment, sender, recipient, message id or time, or forged")
    return Passed()


def verify_signature(commitment: bytes, proof: bytes, identity: bytes) -> Verdict:
    """Verify that this public identity key has signed the commitment; nobody needs a secret for that."""
    if not is_signed(identity, proven(commitment), proof):
        return Failed("the sender's identity key has not signed the commitment")
    return Passed()


def verify_designated(commitment: bytes, proof: SenderProof, identity: bytes, judge: bytes) -> Verdict:
    """Verify that the holder of an identity key has franked the commitment for this judge.

    Args:
        identity: The sender's public identity key, which must have signed the franking key in `proof`.
        judge: The judge's secret key, 32 bytes.
    """
    if not (proof.recipient_key and proof.key):
        return Failed("the key of the recipient, or of the sender, is missing")
    (key,) = proof.key
    try:
        key.check_owner(identity)
    except ProtocolError as error:
        return Failed(str(error))
    keys = amf.Keys(key.key, proof.recipient_key[0], amf.public_key(judge))
    if not amf.judge(judge, keys, proven(commitment), proof.proof):
        return Failed("the sender has not franked the commitment for this centre")
    return Passed()
