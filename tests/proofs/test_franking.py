"""Franking: a commitment has one opening, and a verdict is no boolean."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import pytest
from blindmatch_proofs.franking import verify_attachment, verify_opening
from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol.content import AttachmentRef, Content
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.franking import AttachmentDigest, CommitmentOpening, commit, opening_of

PICTURE = b"a picture"
REF = AttachmentRef(b"b" * 16, b"k" * 32, hashlib.sha256(PICTURE).digest(), 1024, "image/png")
CONTENT = Content(b"i" * 16, 5, "text", (REF,), b"f" * 32)
OPENING = opening_of(CONTENT, "alice", "bob")
COMMITMENT = commit(OPENING)
DIGEST = OPENING.statement.attachments[0]


def test_the_opening_of_a_commitment_passes() -> None:
    assert verify_opening(COMMITMENT, OPENING) == Passed()


def test_a_commitment_is_hmac_over_the_tag_and_the_statement() -> None:
    bound = b"blindmatch/franking/commitment/v1" + OPENING.statement.encode()
    assert hmac.digest(b"f" * 32, bound, "sha256") == COMMITMENT


@pytest.mark.parametrize(
    "change",
    [
        {"sender": "mallory"},
        {"recipient": "mallory"},
        {"sender": "alicebob", "recipient": ""},
        {"id": bytes(16)},
        {"sent_at": 6},
        {"text": "Text"},
        {"attachments": ()},
        {"attachments": (DIGEST, DIGEST)},
        {"attachments": (AttachmentDigest(bytes(32), "image/png"),)},
        {"attachments": (AttachmentDigest(DIGEST.digest, "image/gif"),)},
    ],
)
def test_another_statement_does_not_open_the_commitment(change: dict[str, object]) -> None:
    statement = replace(OPENING.statement, **change)  # type: ignore[arg-type]
    assert isinstance(verify_opening(COMMITMENT, replace(OPENING, statement=statement)), Failed)


def test_another_key_does_not_open_the_commitment() -> None:
    assert isinstance(verify_opening(COMMITMENT, replace(OPENING, key=b"g" * 32)), Failed)


@pytest.mark.parametrize("key", [b"f" * 31, b"f" * 32 + b"\x00", b""])
def test_a_key_that_hmac_would_fill_with_zeros_is_refused(key: bytes) -> None:
    with pytest.raises(ProtocolError, match="key"):
        commit(CommitmentOpening(OPENING.statement, key))
    verdict = verify_opening(COMMITMENT, replace(OPENING, key=key))
    assert isinstance(verdict, Failed)
    assert "malformed" in verdict.reason


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_commitment_of_another_length_fails(length: int) -> None:
    assert verify_opening(bytes(length), OPENING) == Failed("a commitment is 32 bytes")


def test_an_attachment_is_checked_against_the_opened_digests() -> None:
    assert verify_attachment(OPENING, PICTURE) == Passed()
    assert isinstance(verify_attachment(OPENING, b"another"), Failed)


def test_the_keys_of_attachments_are_not_part_of_an_opening() -> None:
    assert REF.key not in OPENING.encode()


@pytest.mark.parametrize("verdict", [Passed(), Failed("reason")])
def test_a_verdict_cannot_be_taken_for_a_boolean(verdict: Passed | Failed) -> None:
    with pytest.raises(TypeError, match="truth"):
        bool(verdict)
