"""Franking: a commitment binds every part of a message, and opens one of its attachments alone."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from blindmatch_proofs.franking import verify_content, verify_opening
from blindmatch_proofs.verdict import Failed, Passed, Verdict
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.messages.content import AttachmentRef, Content
from blindmatch_protocol.messages.franking import (
    LEAF_TAG,
    SALT_TAG,
    AttachmentDigest,
    CommitmentOpening,
    Evidence,
    Kind,
    commit,
    disclose,
)
from blindmatch_simulations.evaluation.conformance.vector_classes import CLASSES
from msgspec.structs import asdict, replace

VECTORS = json.loads((Path(__file__).parent.parent / "vectors/franking-v2.json").read_text())
MESSAGES = {case["name"]: case for case in VECTORS["messages"]}
PICTURE = b"a picture"
REF = AttachmentRef(b"b" * 16, b"k" * 32, hashlib.sha256(PICTURE).digest(), 1024, "image/png")
OTHER = replace(REF, blob_id=b"c" * 16, digest=bytes(32))
CONTENT = Content(b"i" * 16, 5, "text", (REF, OTHER), b"f" * 32)
COMMITMENT = commit(CONTENT, "alice", "bob")


def content_of(case: dict[str, Any]) -> Content:
    refs = [
        AttachmentRef(n.to_bytes(16, "big"), bytes(32), bytes.fromhex(a["digest"]), 1024, a["media_type"])
        for n, a in enumerate(case["attachments"])
    ]
    key = bytes.fromhex(case["franking_key"])
    return Content(bytes.fromhex(case["id"]), case["sent_at"], case["text"], tuple(refs), key)


@pytest.mark.parametrize("name", MESSAGES)
def test_commitments_are_those_of_the_vectors(name: str) -> None:
    case = MESSAGES[name]
    commitment = commit(content_of(case), case["sender"], case["recipient"])
    assert commitment.hex() == case["commitment"]


@pytest.mark.parametrize("case", VECTORS["openings"], ids=lambda case: case["name"])
def test_openings_are_good_or_not_as_the_vectors_say(case: dict[str, Any]) -> None:
    digest = AttachmentDigest(bytes.fromhex(case["digest"]), case["media_type"])
    told = case["sender"], case["recipient"], case["sent_at"], digest
    raw = bytes.fromhex(case["opening"])
    try:
        verdict: Verdict = verify_opening(Evidence(*told, CommitmentOpening.decode(raw)))
    except ProtocolError as error:
        verdict = Failed(str(error))
    assert isinstance(verdict, Passed if case["success"] else Failed)
    if case["success"]:
        message = MESSAGES[case["message"]]
        made = disclose(content_of(message), message["sender"], message["recipient"], case["attachment"])
        assert (made.opening.encode(), made.opening.commitment.hex()) == (raw, message["commitment"])


def test_each_failing_opening_has_a_class_that_the_vectors_explain() -> None:
    failing = [case for case in VECTORS["openings"] if not case["success"]]
    assert {case["class"] for case in failing} == set(VECTORS["classes"])
    assert all("class" not in case for case in VECTORS["openings"] if case["success"])
    told = {name: asdict(held) for name, held in CLASSES.items()}
    shared = {name: held for name, held in VECTORS["classes"].items() if name != "false-opening"}
    assert shared == {name: told[name] for name in shared}


def test_a_commitment_of_version_1_is_refused() -> None:
    case = MESSAGES["one"]
    old = bytes.fromhex(VECTORS["commitment-version-1"])
    assert isinstance(verify_content(old, content_of(case), "alice", "bob"), Failed)


def test_the_whole_content_of_a_message_is_bound() -> None:
    assert verify_content(COMMITMENT, CONTENT, "alice", "bob") == Passed()
    assert isinstance(verify_content(COMMITMENT, CONTENT, "mallory", "bob"), Failed)
    assert isinstance(verify_content(COMMITMENT, CONTENT, "alice", "mallory"), Failed)
    assert isinstance(verify_content(COMMITMENT, CONTENT, "alicebob", ""), Failed)


@pytest.mark.parametrize(
    "change",
    [
        {"id": bytes(16)},
        {"sent_at": 6},
        {"text": "Text"},
        {"attachments": ()},
        {"attachments": (REF,)},
        {"attachments": (OTHER, REF)},
        {"attachments": (REF, OTHER, OTHER)},
        {"attachments": (replace(REF, digest=b"d" * 32), OTHER)},
        {"attachments": (replace(REF, media_type="image/gif"), OTHER)},
        {"franking_key": b"g" * 32},
    ],
)
def test_another_content_does_not_have_the_commitment(change: dict[str, Any]) -> None:
    assert isinstance(verify_content(COMMITMENT, replace(CONTENT, **change), "alice", "bob"), Failed)


@pytest.mark.parametrize("key", [b"f" * 31, b"f" * 32 + b"\x00", b""])
def test_a_key_that_hmac_would_fill_with_zeros_is_refused(key: bytes) -> None:
    content = replace(CONTENT, franking_key=key)
    with pytest.raises(ProtocolError, match="key"):
        commit(content, "alice", "bob")
    verdict = verify_content(COMMITMENT, content, "alice", "bob")
    assert isinstance(verdict, Failed)
    assert "malformed" in verdict.reason


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_commitment_of_another_length_fails(length: int) -> None:
    verdict = verify_content(bytes(length), CONTENT, "alice", "bob")
    assert verdict == Failed("a commitment is 32 bytes")


def test_what_is_not_opened_is_not_in_an_opening_and_its_number_does_not_show() -> None:
    shown = disclose(CONTENT, "alice", "bob", 0)
    opening = shown.opening
    assert shown.attachment.digest == REF.digest
    raw = opening.encode()
    for closed in (b"text", CONTENT.id, OTHER.digest, CONTENT.franking_key, REF.key):
        assert closed not in raw
    alone = disclose(replace(CONTENT, attachments=(REF,)), "alice", "bob", 0).opening
    full = replace(CONTENT, text="x" * 60000, attachments=(REF, *[OTHER] * 31))
    assert len(raw) == len(alone.encode()) == len(disclose(full, "alice", "bob", 7).opening.encode()) == 1225


def test_whoever_guesses_the_text_cannot_tell_from_a_report_that_the_guess_is_right() -> None:
    """Its leaf is under a salt that no report shows and that follows from none that it does."""
    opening = disclose(CONTENT, "alice", "bob", 0).opening
    guess = LEAF_TAG + bytes([Kind.TEXT]) + len(b"text").to_bytes(4, "big") + b"text"
    salt = hmac.digest(CONTENT.franking_key, SALT_TAG + bytes([Kind.TEXT]), "sha256")
    assert hmac.digest(salt, guess, "sha256") == opening.closed[1]
    known = {*opening.salts, *opening.closed, opening.commitment}
    assert salt not in known
    assert not {hmac.digest(key, guess, "sha256") for key in known} & set(opening.closed)
    assert salt not in {hmac.digest(k, SALT_TAG + bytes([Kind.TEXT]), "sha256") for k in known}


def test_a_recipient_who_is_not_named_cannot_be_guessed_from_an_opening() -> None:
    """Its leaf is under a salt that the opening does not show; nothing else of the opening changes."""
    shown = disclose(CONTENT, "alice", "bob", 0, named=False)
    opening = shown.opening
    named = disclose(CONTENT, "alice", "bob", 0).opening
    assert shown.recipient == "" and b"bob" not in opening.encode()
    assert [a == b for a, b in zip(opening.salts, named.salts, strict=True)] == [True, False, True, True]
    assert (opening.commitment, opening.closed) == (named.commitment, named.closed)
    assert verify_opening(shown) == Passed()
    guess = LEAF_TAG + bytes([Kind.RECIPIENT]) + len(b"bob").to_bytes(4, "big") + b"bob"
    salt = hmac.digest(CONTENT.franking_key, SALT_TAG + bytes([Kind.RECIPIENT]), "sha256")
    assert hmac.digest(salt, guess, "sha256") == opening.salts[1] and salt not in opening.encode()
    known = {*opening.salts, *opening.closed, opening.commitment}
    assert opening.salts[1] not in {hmac.digest(key, guess, "sha256") for key in known}


def test_where_an_attachment_stands_in_the_message_does_not_show() -> None:
    """All places are in one order, whichever of them is opened."""
    for number in (0, 1):
        closed = disclose(CONTENT, "alice", "bob", number).opening.closed[2:]
        assert list(closed) == sorted(closed)
    with pytest.raises(ProtocolError, match="no attachment with this number"):
        disclose(CONTENT, "alice", "bob", 2)


@pytest.mark.parametrize("verdict", [Passed(), Failed("reason")])
def test_a_verdict_cannot_be_taken_for_a_boolean(verdict: Passed | Failed) -> None:
    with pytest.raises(TypeError, match="truth"):
        bool(verdict)
