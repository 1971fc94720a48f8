"""A session that comes to no match proves absence; one of a listed hash does not, whatever is altered."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
from blindmatch_proofs.absence import (
    AbsenceProof,
    Hashed,
    can_prove,
    open_setup,
    verify_absence,
    verify_files,
)
from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol.codec import decode_any
from blindmatch_protocol.codec.errors import ProtocolError, SetFileError
from blindmatch_protocol.codec.randomness import replayed, seeded
from blindmatch_protocol.contract import AnyDesign, Role
from blindmatch_protocol.designs import hash_upload, oprf_psi, split_psi, third_party, token_psi
from blindmatch_protocol.designs.he_hamming import DESIGN as HE_HAMMING
from blindmatch_protocol.designs.prefix_bucket import DESIGN as PREFIX_BUCKET
from blindmatch_protocol.designs.voprf.round import CertifiedReply
from blindmatch_protocol.messages.epoch_manifest import SignedManifest
from blindmatch_protocol.picture.decode import Picture
from blindmatch_server.epochs.signing import CuratorKey
from blindmatch_simulations.testbed.inprocess.deployed import (
    Deployed,
    manifest_of,
    run_session,
    transcript,
    update,
)
from blindmatch_simulations.testbed.pictures.pool import HashOnly
from msgspec.structs import replace
from support.fakes import picture
from support.memory import build, opened, random_hashes
from support.verdicts import reason

CURATOR = CuratorKey.of(b"c" * 32)
LISTED = random_hashes(12)
ABSENT = random_hashes(3, seed=9)
EXACT = {one.info.name: one for one in (oprf_psi.DESIGN, split_psi.DESIGN, PREFIX_BUCKET)}


def parties(design: AnyDesign, values: Mapping[str, int] | None = None) -> tuple[Deployed, SignedManifest]:
    made = opened(build(design, LISTED, values=dict(values or {})))
    return made, CURATOR.sign(manifest_of(design, made.build.setup_files, 1))


def proof_of(made: Deployed, signed: SignedManifest, row: Any) -> AbsenceProof:
    return AbsenceProof.decode(transcript(made, signed, HashOnly(row.tobytes()), seeded("session")).encode())


def verified(made: Deployed, proof: AbsenceProof) -> Any:
    """What a verifier with the curator's key and the epoch's files says."""
    files = made.build.setup_files
    found = verify_files(proof.signed, CURATOR.public, files)
    if found != Passed():
        return found
    try:
        setup = open_setup(made.design, proof.signed.manifest, files)
    except (ProtocolError, SetFileError) as error:
        return Failed(str(error))
    return verify_absence(proof, made.design, setup)


@pytest.mark.parametrize("name", EXACT)
def test_what_is_not_listed_is_shown_to_be_absent_and_what_is_listed_is_not(name: str) -> None:
    made, signed = parties(EXACT[name])
    for row in ABSENT:
        assert verified(made, proof_of(made, signed, row)) == Passed()
    for row in LISTED[:3]:
        assert verified(made, proof_of(made, signed, row)) == Failed("it is on the list")


def test_absence_is_over_every_delta() -> None:
    first, _ = parties(oprf_psi.DESIGN)
    second = opened(update(first.build, ABSENT[:1], [], seeded("update")))
    files = second.build.setup_files
    signed = CURATOR.sign(manifest_of(second.design, files, 2))
    assert verified(second, proof_of(second, signed, ABSENT[0])) == Failed("it is on the list")
    assert verified(second, proof_of(second, signed, ABSENT[1])) == Passed()
    less = {name: data for name, data in files.items() if "delta" not in name}
    assert len(less) < len(files)
    assert verify_files(signed, CURATOR.public, less) == Failed(
        "the files are not those that the manifest names"
    )
    with pytest.raises(SetFileError):
        open_setup(second.design, signed.manifest, less)


def test_no_byte_of_a_proof_can_be_altered_so_that_it_shows_a_listed_hash_to_be_absent() -> None:
    made, signed = parties(oprf_psi.DESIGN)
    setup = open_setup(made.design, signed.manifest, made.build.setup_files)
    listed = proof_of(made, signed, LISTED[0])
    raw = listed.encode()
    begin = raw.index(listed.hash)
    taken = 0
    for at in range(begin, len(raw), 3):
        try:
            altered = AbsenceProof.decode(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        except ProtocolError:
            continue
        taken += verify_absence(altered, made.design, setup) == Passed()
    assert taken == 0


def test_a_true_proof_is_of_its_hash_alone() -> None:
    made, signed = parties(oprf_psi.DESIGN)
    proof = proof_of(made, signed, ABSENT[0])
    for other in (LISTED[0], ABSENT[1]):
        found = verified(made, replace(proof, hash=other.tobytes()))
        assert isinstance(found, Failed) and "does not come to an end" in found.reason
    for wrong in (
        replace(proof, replies=()),
        replace(proof, replies=proof.replies * 2),
        replace(proof, tape=proof.tape[:-1]),
        replace(proof, state=b""),
        replace(proof, replies=(replace(proof.replies[0], role="centre"),)),
    ):
        assert isinstance(verified(made, wrong), Failed)


def test_proofs_are_of_the_epoch_that_the_curator_signed() -> None:
    made, signed = parties(oprf_psi.DESIGN)
    proof = proof_of(made, signed, ABSENT[0])
    files = made.build.setup_files
    stranger = CuratorKey.of(b"x" * 32).sign(signed.manifest)
    assert isinstance(verify_files(stranger, CURATOR.public, files), Failed)
    altered = {name: data[:-1] + bytes([data[-1] ^ 1]) for name, data in files.items()}
    assert isinstance(verify_files(signed, CURATOR.public, altered), Failed)
    other = opened(build(oprf_psi.DESIGN, LISTED, 2, purpose="other"))
    assert verify_absence(proof, oprf_psi.DESIGN, other.setup) == Failed("the set-up is of another epoch")
    foreign = opened(build(oprf_psi.DESIGN, ABSENT, 1, purpose="foreign"))
    assert isinstance(verify_absence(proof, oprf_psi.DESIGN, foreign.setup), Failed)


def test_files_that_the_manifest_names_must_say_what_it_says_and_be_sound() -> None:
    made, signed = parties(oprf_psi.DESIGN)
    files = made.build.setup_files
    manifest = signed.manifest
    (own,) = manifest.role_keys
    for said in (
        replace(manifest, role_keys=(replace(own, key=own.key[::-1]),)),
        replace(manifest, design="split-psi"),
        replace(manifest, version=manifest.version + 1),
    ):
        with pytest.raises(ProtocolError):
            open_setup(made.design, said, files)
    (name,) = files
    for at in range(0, len(files[name]), 67):  # in its head, and in every section
        altered = bytearray(files[name])
        altered[at] ^= 1
        with pytest.raises(SetFileError):
            open_setup(made.design, manifest, {name: bytes(altered)})


@pytest.mark.parametrize("name", EXACT)
def test_the_proof_of_an_online_reply_proves_no_absence(name: str) -> None:
    """It is of RFC 9497: whoever has time finds wrong rows that pass. Version 1 of a proof took it."""
    made, signed = parties(EXACT[name])
    proof = proof_of(made, signed, ABSENT[0])
    item = HashOnly(ABSENT[0].tobytes())
    rng = seeded("roles")
    online = run_session(made, item, replayed(proof.tape), answering=partial(made.answer, rng=rng))
    both = zip(proof.replies, online.asked, strict=True)
    replies = tuple(replace(one, body=asked.reply.encode()) for one, asked in both)
    found = verified(made, replace(proof, replies=replies))
    assert "does not take" in reason(found)
    for at, one in enumerate(proof.replies):
        kind = decode_any(made.design.replies[Role(one.role)], one.body, "test")
        if isinstance(kind, CertifiedReply):
            online_proof: Any = online.asked[at].reply
            forged = replace(kind, proof=online_proof.proof).encode()
            mixed = (*proof.replies[:at], replace(one, body=forged), *proof.replies[at + 1 :])
            assert "does not hold" in reason(verified(made, replace(proof, replies=mixed)))


def test_a_proof_of_version_1_is_refused() -> None:
    made, signed = parties(oprf_psi.DESIGN)
    raw = proof_of(made, signed, ABSENT[0]).encode()
    with pytest.raises(ProtocolError, match="must be 0x2a, not 0x27"):
        AbsenceProof.decode(b"\x27" + raw[1:])


def test_a_design_whose_roles_are_taken_at_their_word_proves_nothing() -> None:
    for design in (hash_upload.DESIGN, third_party.DESIGN, HE_HAMMING):
        assert not can_prove(design)
    made = opened(build(hash_upload.DESIGN, LISTED))
    signed = CURATOR.sign(manifest_of(made.design, made.build.setup_files, 1))
    proof = transcript(made, signed, HashOnly(ABSENT[0].tobytes()), seeded("session"))
    assert verify_absence(proof, made.design, made.setup) == Failed(
        "a session of hash-upload proves no absence"
    )


def test_a_proof_is_small() -> None:
    made, signed = parties(oprf_psi.DESIGN)
    assert len(proof_of(made, signed, ABSENT[0]).encode()) < 2500


SMALL = {"k": 16, "bands": 4, "probes": 4}


def test_a_near_design_shows_absence_of_a_picture_and_the_verifier_needs_it() -> None:
    shown, other = (Picture.from_bytes(picture(number)) for number in (7, 8))
    listed = np.frombuffer(other.hash, np.uint8).reshape(1, 32)
    made = opened(build(token_psi.DESIGN, np.concatenate([LISTED, listed]), values=SMALL))
    signed = CURATOR.sign(manifest_of(made.design, made.build.setup_files, 1))
    proof = AbsenceProof.decode(transcript(made, signed, shown, seeded("session")).encode())
    assert verify_absence(proof, made.design, made.setup, shown) == Passed()
    bare = verify_absence(proof, made.design, made.setup)
    assert isinstance(bare, Failed) and "depends on the picture" in bare.reason
    assert isinstance(verify_absence(proof, made.design, made.setup, other), Failed)
    on_it = transcript(made, signed, other, seeded("session"))
    assert verify_absence(on_it, made.design, made.setup, other) == Failed("it is on the list")
    assert verify_absence(replace(on_it, hash=shown.hash), made.design, made.setup, shown) != Passed()
    assert "another picture" in reason(
        verify_absence(replace(proof, hash=other.hash), made.design, made.setup, shown)
    )


def test_a_session_of_a_picture_that_is_never_matched_proves_nothing() -> None:
    """What is asked about in its place is drawn at random, whatever its hash."""
    made, signed = parties(oprf_psi.DESIGN)
    poor = Hashed(LISTED[0].tobytes(), made.design.info.relation.minimum_quality - 1)
    proof = transcript(made, signed, poor, seeded("session"))
    assert verified(made, proof) != Passed()
    assert "never matched" in reason(verify_absence(proof, made.design, made.setup, poor))
