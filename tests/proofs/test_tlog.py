"""Notes, checkpoints, cosignatures, proofs and policies: examples, `tlog-scales`, hostility."""

from __future__ import annotations

import dataclasses

import pytest
from blindmatch_proofs.checkpoint import (
    COSIGNATURE,
    ED25519,
    ML_DSA_44,
    Checkpoint,
    Note,
    NoteSignature,
    VerifierKey,
    verify_signature,
)
from blindmatch_proofs.merkle import leaf_hash
from blindmatch_proofs.tlog import (
    BAD_REQUEST,
    CONFLICT,
    FORBIDDEN,
    NOT_FOUND,
    SKEW_S,
    UNPROCESSABLE,
    Accepted,
    AddCheckpoint,
    Policy,
    Refused,
    TlogProof,
    build_policy,
    judge,
)
from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol.codec.errors import ProtocolError
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from msgspec.structs import replace
from support.logs import LOG, NOW, ORIGIN, WITNESSES, MemoryLog, policy, signer
from support.verdicts import reason
from tlog_scales.signing import MLDSA44CosignatureSigner, Vkey
from tlog_scales.tlog import Checkpoint as TheirCheckpoint
from tlog_scales.tlog import ConsistencyProof, InclusionProof

LEAVES = [f"leaf {n}".encode() for n in range(11)]
HELD = MemoryLog(LEAVES)
NAME = "PeterNeumann"
PETER = f"{NAME}+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
"""The verifier key of golang.org/x/mod/sumdb/note's documentation, and what it signed."""
SAID = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXg"
    "KvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
DAY = 86_400


# --- notes -----------------------------------------------------------------------------------------


def test_a_published_note_and_key_verify() -> None:
    key = VerifierKey.parse(PETER)
    note = Note.parse(SAID.encode())
    assert (key.name, key.kind, key.text) == (NAME, ED25519, PETER)
    (signature,) = note.signatures
    assert verify_signature(key, signature, note.text) == 0
    assert note.encode().decode() == SAID
    assert verify_signature(key, signature, note.text.replace("answer", "problem")) is None


@pytest.mark.parametrize(
    "raw",
    ["", "\n", "text\n", "text\n\n", "text\n\n— a\n", "text\n\n- a AAAAAAAA\n", "\n\n— a AAAAAAAA\n",
     "text\n\n— a AAAA\n", "text\n\n— a AAAAAAAA", "text\n\n— a AAAAAAAB=\n", "te\txt\n\n— a AAAAAAAA\n",
     "text\n\n— a+b AAAAAAAA\n", "text\n\n— a b AAAAAAAA\n", "text\n\n—  AAAAAAAA\n",
     "text\n\n" + "— a AAAAAAAA\n" * 65, "text" * 20_000 + "\n\n— a AAAAAAAA\n"],
)  # fmt: skip
def test_what_is_no_note_is_refused(raw: str) -> None:
    with pytest.raises(ProtocolError):
        Note.parse(raw.encode())
    assert Note.parse("text\n\n— a AAAAAAAA\n".encode())


@pytest.mark.parametrize(
    "text", ["", "a", "a+b", "a+00000000+", PETER.replace("c74f", "c74e"), PETER.replace(NAME, "Peter"),
             PETER[:-4] + "AAAA", "a+00000000+" + "A" * 44]
)  # fmt: skip
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError):
        VerifierKey.parse(text)


# --- checkpoints and cosignatures --------------------------------------------------------------------


def test_another_package_verifies_our_checkpoints_cosignatures_and_proofs() -> None:
    note = HELD.note(WITNESSES)
    theirs = TheirCheckpoint.from_text(note.encode().decode())
    assert (theirs.origin, theirs.size, theirs.root_hash) == (ORIGIN, 11, HELD.checkpoint().root)
    for key in (LOG.key, *(one.key for one in WITNESSES)):
        theirs.verify(Vkey.from_string(key.text))
    altered = dataclasses.replace(theirs, size=12)
    for key in (LOG.key, WITNESSES[0].key):
        with pytest.raises(InvalidSignature):
            altered.verify(Vkey.from_string(key.text))
    for index in range(11):
        proof = HELD.proof(index)
        InclusionProof(index, 11, list(proof.path)).check(leaf_hash(LEAVES[index]), theirs.root_hash)
        if index:
            old = HELD.checkpoint(index).root
            ConsistencyProof(index, 11, list(HELD.consistency(index))).check(old, theirs.root_hash)


def test_a_cosignature_by_ml_dsa_that_another_package_made_verifies() -> None:
    made = MLDSA44CosignatureSigner("pq.example/w1", MLDSA44PrivateKey.generate())
    head = HELD.checkpoint()
    theirs = made.sign(TheirCheckpoint(head.origin, head.size, head.root, []))
    key = VerifierKey.parse(made.vkey.serialize())
    signature = NoteSignature.parse(theirs.serialize())
    assert key.kind == ML_DSA_44
    assert (verify_signature(key, signature, head.text) or 0) > 0
    assert verify_signature(key, signature, replace(head, size=12).text) is None
    assert verify_signature(replace(key, name="pq.example/w2"), signature, head.text) is None
    late = replace(signature, signature=(1).to_bytes(8, "big") + signature.signature[8:])
    assert verify_signature(key, late, head.text) is None


def test_a_cosignature_is_for_its_time_its_text_and_its_key() -> None:
    text = HELD.checkpoint().text
    witness = WITNESSES[0]
    made = witness.sign(text, NOW)
    assert verify_signature(witness.key, made, text) == NOW
    assert verify_signature(witness.key, made, HELD.checkpoint(10).text) is None
    assert verify_signature(WITNESSES[1].key, made, text) is None
    for at in range(len(made.signature)):
        raw = made.signature[:at] + bytes([made.signature[at] ^ 1]) + made.signature[at + 1 :]
        assert verify_signature(witness.key, replace(made, signature=raw), text) is None
    for raw in (b"", made.signature[:8], made.signature[:-1], made.signature + b"\0"):
        assert verify_signature(witness.key, replace(made, signature=raw), text) is None
    late = 1 << 63  # an honest cosignature of that time has no other fault
    assert verify_signature(witness.key, witness.sign(text, late - 1), text) == late - 1
    assert verify_signature(witness.key, witness.sign(text, late), text) is None
    as_log = VerifierKey(witness.key.name, ED25519, witness.key.public)
    assert verify_signature(as_log, replace(made, key_id=as_log.id), text) is None


@pytest.mark.parametrize(
    "text", ["o\n1\n", "o\n1\nAAAA\n", "o\n01\n{root}\n", "o\n-1\n{root}\n", "o\n1\n{root}\nmore\n",
             "\n1\n{root}\n", "o\n1_0\n{root}\n", "o\n٣\n{root}\n", "o\n9223372036854775808\n{root}\n",
             "a b\n1\n{root}\n",
             "o\n99999999999999999999\n{root}\n", "o\n1\n{root}"]
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    root = HELD.checkpoint().text.split("\n")[2]
    with pytest.raises(ProtocolError):
        Checkpoint.from_note(Note(text.format(root=root)))
    assert Checkpoint.from_note(Note(f"o\n1\n{root}\n")).size == 1


# --- proofs ------------------------------------------------------------------------------------------


def test_a_proof_is_read_as_written_and_is_of_its_entry_alone() -> None:
    proof = HELD.proof(3)
    read = TlogProof.parse(proof.encode())
    assert read == proof
    assert read.encode().decode().startswith("c2sp.org/tlog-proof@v1\nindex 3\n")
    assert read.verify(LEAVES[3]) == Passed()
    assert isinstance(read.verify(LEAVES[4]), Failed)
    assert isinstance(replace(read, index=4).verify(LEAVES[3]), Failed)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"@v1", b"@v2"), (b"index 3", b"extra AAAA\nindex 3"), (b"index 3", b"index 03"), (b"index 3\n", b""),
     (b"index 3\n", b"index 3\nAAAA\n"), (b"\n\n", b"\n"),
     (b"index 3\n", b"index 3\n" + (b"A" * 43 + b"=\n") * 64)],
)  # fmt: skip
def test_what_is_no_proof_is_refused(old: bytes, new: bytes) -> None:
    with pytest.raises(ProtocolError):
        TlogProof.parse(HELD.proof(3).encode().replace(old, new))


# --- policies ----------------------------------------------------------------------------------------


def test_a_quorum_is_w_of_m_witnesses() -> None:
    held = policy(3)
    for count in range(6):
        found = held.accept(HELD.note(WITNESSES[:count]), NOW, DAY)
        assert isinstance(found, Accepted) is (count >= 3)
    accepted = held.accept(HELD.note(WITNESSES[2:]), NOW, DAY)
    assert isinstance(accepted, Accepted)
    assert accepted.head == HELD.checkpoint()
    assert accepted.witnesses == {"w3.example", "w4.example", "w5.example"}
    assert isinstance(policy(0).accept(HELD.note(()), NOW, DAY), Accepted)


def test_a_witness_counts_once_however_often_it_signs() -> None:
    text = HELD.checkpoint().text
    again = [WITNESSES[0].sign(text, NOW - at) for at in range(4)]
    note = HELD.note(WITNESSES[:1]).add_signatures(*again)
    assert "the quorum of witnesses is not met, but by w1.example" in reason(policy(2).accept(note, NOW, DAY))


def test_witnesses_of_one_operator_count_once() -> None:
    held = policy(2, per_operator=2)
    assert "not met" in reason(held.accept(HELD.note(WITNESSES[:2]), NOW, DAY))
    assert isinstance(held.accept(HELD.note(WITNESSES[1:3]), NOW, DAY), Accepted)


def test_one_key_under_two_names_makes_no_policy() -> None:
    twin = VerifierKey("twin.example", COSIGNATURE, WITNESSES[0].key.public)
    with pytest.raises(ProtocolError, match="twice"):
        build_policy([LOG.key], {"a": [WITNESSES[0].key], "b": [twin]}, 2)
    with pytest.raises(ProtocolError, match="member of one group"):
        Policy.parse(policy(2).text + "group more all w1.example\n")


def test_two_keys_of_one_name_and_id_make_no_policy() -> None:
    """An id has four bytes: of some 100,000 keys two share one, and each would spoil the other."""
    seen: dict[bytes, VerifierKey] = {}
    for number in range(1 << 20):
        key = VerifierKey("w.example", COSIGNATURE, number.to_bytes(32, "big"))
        if key.id in seen:
            break
        seen[key.id] = key
    with pytest.raises(ProtocolError, match="name or id"):
        Policy.parse(f"witness a {seen[key.id].text}\nwitness b {key.text}\nquorum a\n")


def test_old_and_future_cosignatures_do_not_count() -> None:
    held = policy(3)
    note = HELD.note()
    assert isinstance(held.accept(note, NOW + DAY, DAY), Accepted)
    assert isinstance(held.accept(note, NOW - SKEW_S, DAY), Accepted)
    assert "older than" in reason(held.accept(note, NOW + DAY + 1, DAY))
    assert "time to come" in reason(held.accept(note, NOW - SKEW_S - 1, DAY))


def test_another_log_a_log_s_missing_signature_and_a_forged_one_are_refused() -> None:
    held = policy(3)
    note = HELD.note()
    foreign = MemoryLog(LEAVES, signer("other.example", ED25519))
    assert "no log of the policy" in reason(held.accept(foreign.note(), NOW, DAY))
    imitation = MemoryLog(LEAVES, signer(ORIGIN + "x", ED25519))
    forged = Note(HELD.checkpoint().text, (imitation.key.sign(HELD.checkpoint().text), *note.signatures[1:]))
    assert "not signed by the key" in reason(held.accept(forged, NOW, DAY))
    assert "not signed by the key" in reason(
        held.accept(replace(note, signatures=note.signatures[1:]), NOW, DAY)
    )
    for at in range(4):
        raw = note.signatures[at].signature
        bad = replace(note.signatures[at], signature=raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:])
        signed = (*note.signatures[:at], bad, *note.signatures[at + 1 :])
        assert "must verify" in reason(held.accept(replace(note, signatures=signed), NOW, DAY))


def test_the_documents_grouped_policy_is_read() -> None:
    """tlog-policy, "Example policy": at least two of three X, and one of three Y."""
    x = WITNESSES[:3]
    y = (signer("y1"), signer("y2"), signer("y3"))
    lines = [f"log {LOG.key.text} https://log.example", "# comment", "", "\t"]
    lines += [f"witness X{at} {one.key.text}" for at, one in enumerate(x, 1)]
    lines += ["  group X-witnesses 2 X1 X2 X3"]
    lines += [f"witness Y{at} {one.key.text} https://y{at}" for at, one in enumerate(y, 1)]
    lines += ["group Y-witnesses any Y1 Y2 Y3", "group X-and-Y all X-witnesses Y-witnesses", "quorum X-and-Y"]
    held = Policy.parse("\n".join(lines) + "\n")
    assert held.urls == {"Y1": "https://y1", "Y2": "https://y2", "Y3": "https://y3"}
    quorums = [{"X1", "X2", "Y3"}, {"X1", "X2", "X3", "Y1", "Y2"}]
    assert all(map(held.is_quorum, quorums))
    assert not any(map(held.is_quorum, [set(), {"X1", "X2"}, {"X1", "Y1"}, {"X1", "Y1", "Y2", "Y3"}]))
    assert not held.is_quorum({"X-witnesses", "Y-witnesses", "X-and-Y", "none"})


W1 = WITNESSES[0].key.text
W2 = WITNESSES[1].key.text


@pytest.mark.parametrize(
    "text",
    ["", "quorum none\nquorum none\n", "quorum a\n", "group g 1 a\nquorum none\n", "witness\n", "log x\n",
     f"witness a {W1} https://a https://b\nquorum a\n",
     f"witness none {W1}\nquorum none\n", f"witness a {W1}\nwitness a {W2}\nquorum a\n",
     "group g any\nquorum none\n",
     f"witness a {W1}\ngroup g 2 a\nquorum g\n", f"witness a {W1}\ngroup g 0 a\nquorum g\n",
     "quorum none \x00\n",
     f"witness a {W1}\ngroup a any a\nquorum a\n", f"witness a {W1}\ngroup g 1 a a\nquorum g\n",
     f"witness a {LOG.key.text}\nquorum a\n", f"log {W1}\nquorum none\n",
     f"witness a {W1}\nwitness b {W1}\nquorum a\n",
     f"log {LOG.key.text}\nlog {LOG.key.text}\nquorum none\n", f"witness a {W1}\ngroup g -1 a\nquorum g\n",
     f"witness a {W1}\ngroup g {'9' * 5000} a\nquorum g\n"],
)  # fmt: skip
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError):
        Policy.parse(text)


# --- what a witness does -------------------------------------------------------------------------------

LOGS = {ORIGIN: LOG.key}


def asked(old: int, size: int | None = None, log: MemoryLog = HELD) -> AddCheckpoint:
    note = log.note((), size)
    return AddCheckpoint(old, log.consistency(old, size), note)


def test_a_request_is_read_as_it_was_written() -> None:
    request = asked(5)
    assert AddCheckpoint.parse(request.encode()) == request
    for raw in (b"", b"old 5", b"new 5\n\n" + HELD.note().encode(),
                request.encode().replace(b"old 5", b"old 05"),
                request.encode().replace(b"old 5", b"old 5\n" + b"AAAA"), b"old 5\n\nx\n"):  # fmt: skip
        with pytest.raises(ProtocolError):
            AddCheckpoint.parse(raw)


def test_a_witness_keeps_what_continues_what_it_has_and_nothing_else() -> None:
    other = MemoryLog([*LEAVES[:7], b"forked", *LEAVES[8:]])
    at7 = HELD.checkpoint(7)
    assert judge(asked(0), LOGS, None) == HELD.checkpoint()
    assert judge(asked(7), LOGS, at7) == HELD.checkpoint()
    assert judge(asked(7, 7), LOGS, at7) == at7
    assert judge(asked(7, log=other), LOGS, at7) == other.checkpoint()  # continues the first seven, too
    cases = {
        NOT_FOUND: judge(asked(0), {}, None),
        FORBIDDEN: judge(asked(0), {ORIGIN: signer(ORIGIN + "x", ED25519).key}, None),
        BAD_REQUEST: judge(replace(asked(7, 7), old=8), LOGS, at7),
        CONFLICT: judge(asked(0), LOGS, at7),
        UNPROCESSABLE: judge(asked(9, log=other), LOGS, HELD.checkpoint(9)),
    }
    assert {status: getattr(found, "status", None) for status, found in cases.items()} == {
        n: n for n in cases
    }
    rollback = judge(asked(7, 7), LOGS, HELD.checkpoint(9))
    fork = judge(asked(9, 9, other), LOGS, HELD.checkpoint(9))
    assert [rollback, fork] == [Refused(CONFLICT, "9\n")] * 2
    padded = judge(replace(asked(0), path=(bytes(32),)), LOGS, None)
    assert isinstance(padded, Refused)
    assert padded.status == UNPROCESSABLE
    odd = replace(HELD.checkpoint(0), root=bytes(32))
    empty = judge(AddCheckpoint(0, (), Note(odd.text, (LOG.sign(odd.text),))), LOGS, None)
    assert getattr(empty, "status", None) == UNPROCESSABLE
    assert judge(asked(0, 0), LOGS, None) == HELD.checkpoint(0)
