"""What the file of a report shows, to whom, in each mode; and that nothing that was altered passes."""

from __future__ import annotations

import hashlib
import json
import runpy
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_proofs.checkpoint import ED25519
from blindmatch_proofs.endorsement import Action, EndorsementPolicy, Terms, hash_entries
from blindmatch_proofs.endorsement.batch import build_endorsement_policy
from blindmatch_proofs.endorsement.verify import build_proof
from blindmatch_proofs.epoch import Endorsement
from blindmatch_proofs.report_evidence import Known, NotShown, ReportEvidence, verify_evidence
from blindmatch_proofs.tlog import Policy
from blindmatch_proofs.tlog import build_policy as log_policy
from blindmatch_proofs.verdict import Failed
from blindmatch_protocol.codec.errors import PictureError, ProtocolError
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import EntryBatch, Flag, Label
from blindmatch_protocol.contract.steps import NO_LABEL
from blindmatch_protocol.crypto import amf
from blindmatch_protocol.crypto.hpke import public_key
from blindmatch_protocol.messages.content import AttachmentRef, compose
from blindmatch_protocol.messages.epoch_manifest import EpochManifest
from blindmatch_protocol.messages.franking import FrankingMode, Stamp, Stamped, disclose
from blindmatch_protocol.messages.report import Report
from blindmatch_protocol.messages.sealed_message import SMALL_ORDER, FrankingKey, SenderProof, proven, sign
from blindmatch_protocol.picture.decode import Picture, Pixels
from blindmatch_server.storage.files import line_of
from msgspec.structs import replace
from nacl.bindings import crypto_scalarmult_ed25519_base_noclamp
from nacl.signing import SigningKey, VerifyKey
from PIL import Image
from support.command import in_process
from support.endorsing import KEYS as ORGANISATIONS
from support.endorsing import NAMES, POLICY, signed_batch
from support.fakes import picture
from support.logs import NOW, WITNESSES, MemoryLog, signer
from support.signed import CURATOR

RNG = system_randomness()
ALICE = b"\1" * 32
JUDGE = amf.secret_key(b"j" * 32)
STAMP = b"s" * 32
IDENTITY = public_key(ALICE)
FRANKING = FrankingKey.signed(amf.public_key(amf.secret_key(ALICE)), ALICE, b"n" * 64)
HASH = Picture.from_bytes(picture(1)).hash
BOB = amf.public_key(amf.secret_key(b"b" * 32))


def evidence(mode: FrankingMode, data: bytes = picture(1)) -> ReportEvidence:
    ref = AttachmentRef(b"b" * 16, b"k" * 32, hashlib.sha256(data).digest(), 1024, "image/png")
    shown = disclose(compose("", (ref,), 17, RNG), "alice", "bob", 0)
    opening = shown.opening
    about = proven(opening.commitment)
    name = b"i" * 16
    proofs: dict[FrankingMode, tuple[SenderProof, ...]] = {
        FrankingMode.STAMP: (),
        FrankingMode.SIGNATURE: (SenderProof(sign(ALICE, about, RNG.take(64)), ()),),
        FrankingMode.DESIGNATED: (
            SenderProof(
                amf.frank(
                    amf.secret_key(ALICE), amf.Keys(FRANKING.key, BOB, amf.public_key(JUDGE)), about, RNG
                ),
                (BOB,),
                (FRANKING,),
            ),
        ),
    }
    report = Report(
        report_id=b"r" * 16,
        design="oprf-psi",
        version=2,
        epoch=1,
        label=Label(HASH, 7, b"s" * 16),
        reporter="alice",
        sender="alice",
        recipient="bob",
        sent_at_ms=shown.sent_at,
        matched_at_ms=18,
        media_type="image/png",
        opening=(opening,),
        picture=data,
        stamp=(Stamp(name, 18, Stamped(opening.commitment, "alice", "bob", name, 18).mac(STAMP)),),
        sender_proof=proofs[mode],
    )
    return ReportEvidence(report, mode, (IDENTITY,), (), b"", ())


def words(made: ReportEvidence, known: Known) -> dict[str, str]:
    """Passed, failed or not shown, by claim; the encoding is what is verified, as out of a file."""
    found = verify_evidence(ReportEvidence.decode(made.encode()), known)
    return {name: type(one).__name__ for name, one in found.items()}


OUTSIDER = Known(identity=IDENTITY)
CENTRE = Known(identity=IDENTITY, judge=JUDGE, stamp=STAMP)
NOTHING_ELSE = {"match": "Passed", "endorsed": "NotShown", "logged": "NotShown"}


@pytest.mark.parametrize(
    ("mode", "outsider", "centre"),
    [
        (FrankingMode.STAMP, "NotShown", "NotShown"),
        (FrankingMode.DESIGNATED, "NotShown", "Passed"),
        (FrankingMode.SIGNATURE, "Passed", "Passed"),
    ],
)
def test_who_can_verify_the_sender_is_the_modes_to_say(
    mode: FrankingMode, outsider: str, centre: str
) -> None:
    made = evidence(mode)
    everybody = {"content": "Passed", **NOTHING_ELSE}
    assert words(made, OUTSIDER) == everybody | {"sender": outsider, "taken": "NotShown"}
    assert words(made, CENTRE) == everybody | {"sender": centre, "taken": "Passed"}


def test_whose_key_it_is_is_not_for_the_file_to_say() -> None:
    made = evidence(FrankingMode.SIGNATURE)
    assert isinstance(verify_evidence(made, Known())["sender"], NotShown)
    mallory = replace(made, identity=(public_key(b"\2" * 32),))
    assert isinstance(verify_evidence(mallory, OUTSIDER)["sender"], Failed)
    assert isinstance(verify_evidence(mallory, Known())["sender"], Failed)


def test_a_file_has_no_other_spelling_of_an_identity_key() -> None:
    made = evidence(FrankingMode.SIGNATURE)
    (identity,) = made.identity
    raw = made.encode()
    at = raw.rindex(identity) + 31
    top = bytes([identity[31] | 0x80])
    with pytest.raises(ProtocolError, match="identity"):
        ReportEvidence.decode(raw[:at] + top + raw[at + 1 :])


def test_the_example_takes_no_other_spelling_and_no_key_that_anybody_signs_under(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    by_identity = runpy.run_path(str(EXAMPLES / "verify_report.py"))["by_identity"]
    secret = b"i" * 32
    identity = public_key(secret)
    signature = sign(secret, b"blindmatch/franking/of", bytes(64))
    assert by_identity(identity, signature, b"of")
    assert not by_identity(identity[:31] + bytes([identity[31] | 0x80]), signature, b"of")
    responses = [one.to_bytes(32, "little") for one in range(1, 60)]
    forged = [crypto_scalarmult_ed25519_base_noclamp(one) + one for one in responses]
    assert not any(by_identity(key, made, b"of") for key in SMALL_ORDER for made in forged)


@pytest.mark.parametrize("mode", [FrankingMode.DESIGNATED, FrankingMode.SIGNATURE])
def test_without_the_identity_key_nobody_is_shown_whose_message_it_is(mode: FrankingMode) -> None:
    assert words(evidence(mode), Known(judge=JUDGE))["sender"] == "NotShown"


@pytest.mark.parametrize(
    "signature", [FRANKING.signature, bytes(64), None], ids=["another key's", "none", "another identity's"]
)
def test_a_franking_key_beside_the_senders_identity_key_is_not_the_senders(signature: bytes | None) -> None:
    made = evidence(FrankingMode.DESIGNATED)
    secret = amf.secret_key(b"m" * 32)
    forged = FrankingKey.signed(amf.public_key(secret), b"m" * 32, b"n" * 64)
    about = proven(made.report.opening[0].commitment)
    proof = amf.frank(secret, amf.Keys(forged.key, BOB, amf.public_key(JUDGE)), about, RNG)
    key = forged if signature is None else replace(forged, signature=signature)
    report = replace(made.report, sender_proof=(SenderProof(proof, (BOB,), (key,)),))
    for known in (CENTRE, Known(judge=JUDGE)):
        assert words(replace(made, report=report), known)["sender"] == "Failed"
    own = replace(made, report=report, identity=(public_key(b"m" * 32),))
    own = replace(own, report=replace(report, sender_proof=(SenderProof(proof, (BOB,), (forged,)),)))
    assert words(own, CENTRE)["sender"] == "Failed"
    assert words(own, Known(judge=JUDGE))["sender"] == "NotShown"


CHANGED: dict[str, tuple[str, Callable[[Report, Report], Report]]] = {
    "another picture": ("content", lambda one, other: replace(one, picture=picture(2))),
    "another sender": ("content", lambda one, other: replace(one, sender="carol")),
    "another recipient": ("content", lambda one, other: replace(one, recipient="carol")),
    "another time": ("content", lambda one, other: replace(one, sent_at_ms=16)),
    "another label": ("match", lambda one, other: replace(one, label=Label(bytes(32), 7, b"s" * 16))),
    "another message's proof": ("sender", lambda one, other: replace(one, sender_proof=other.sender_proof)),
    "no proof": ("sender", lambda one, other: replace(one, sender_proof=())),
    "another message's stamp": ("taken", lambda one, other: replace(one, stamp=other.stamp)),
    "no stamp": ("taken", lambda one, other: replace(one, stamp=())),
    "another time of taking": (
        "taken", lambda one, other: replace(one, stamp=(replace(one.stamp[0], accepted_at_ms=17),))
    ),
}  # fmt: skip
"""The claim that must fail, and the altered report; from it, and another's of the same."""


@pytest.mark.parametrize("mode", [FrankingMode.DESIGNATED, FrankingMode.SIGNATURE])
@pytest.mark.parametrize("how", CHANGED)
def test_what_was_altered_fails_where_it_was(how: str, mode: FrankingMode) -> None:
    made = evidence(mode)
    (claim, altered) = CHANGED[how]
    wrong = replace(made, report=altered(made.report, evidence(mode).report))
    assert words(wrong, CENTRE)[claim] == "Failed"


def test_a_mode_that_is_none_and_what_is_left_over_are_refused() -> None:
    made = evidence(FrankingMode.STAMP)
    with pytest.raises(ProtocolError):
        ReportEvidence.decode(replace(made, mode="none").encode())
    with pytest.raises(ProtocolError):
        ReportEvidence.decode(made.encode() + b"\0")


CURATOR_KEY = CURATOR.public
ORIGIN = "log.example/epochs/oprf-psi"
WITNESSED = {f"operator-{number}": [one.key] for number, one in enumerate(WITNESSES[:3])}
FORGER = SigningKey(b"m" * 32)
FORGED = build_endorsement_policy(1, [("north", bytes(FORGER.verify_key))])


def manifest(design: str = "oprf-psi", epoch: int = 1) -> EpochManifest:
    before = (0, bytes(32)) if epoch == 1 else (epoch - 1, b"p" * 32)
    return EpochManifest(design, 1, epoch, *before, 5, 6, 1, (), (), ())


def endorsed(
    policy: EndorsementPolicy,
    *keys: SigningKey,
    terms: Terms | None = None,
    action: Action = Action.LIST,
    epochs: tuple[int, int] = (1, 9),
) -> ReportEvidence:
    """Evidence whose entry organisations with these keys endorsed, under a manifest of the curator's."""
    made = evidence(FrankingMode.SIGNATURE)
    terms = terms or Terms(CURATOR_KEY, "oprf-psi", policy)
    label = made.report.label
    hashed, salt = (np.frombuffer(one, np.uint8)[None].copy() for one in (label.entry_hash, label.salt))
    entries = EntryBatch(hashed, np.array([label.entry_id], np.uint64), salt)
    held = {bytes(one.verify_key): one for one in keys}
    batch = signed_batch(entries, NAMES, action, epochs, terms, held)
    (own,) = hash_entries(entries)
    proof = build_proof(terms, own, [own], 0, [batch])
    leaf = CURATOR.leaf(manifest(), Endorsement(terms.compute_root([batch]), policy.encode()))
    return replace(made, leaf=(leaf,), endorsement=(proof,))


def logged(
    made: ReportEvidence, origin: str = ORIGIN, at: int = NOW
) -> tuple[ReportEvidence, tuple[Policy, int]]:
    """The evidence with a log's proof of its leaf, and what accepts that log."""
    held = MemoryLog([made.leaf[0].encode()], signer(origin, ED25519), at)
    return replace(made, epoch_proof=held.proof(0).encode()), (log_policy([held.key.key], WITNESSED, 3), NOW)


def test_an_entry_is_endorsed_by_a_policy_that_is_known_or_that_the_log_shows() -> None:
    made, pinned = logged(endorsed(POLICY, *ORGANISATIONS.values()))
    known = Known(identity=IDENTITY, curator=CURATOR_KEY)
    assert words(made, replace(known, endorsement=POLICY))["endorsed"] == "Passed"
    assert words(made, replace(known, policy=pinned))["endorsed"] == "Passed"
    assert words(made, known)["endorsed"] == "NotShown"
    for other in (replace(made, epoch_proof=b""), endorsed(FORGED, FORGER)):
        assert words(other, replace(known, policy=pinned))["endorsed"] == "NotShown"


def test_no_policy_that_the_file_brings_along_endorses() -> None:
    forged = endorsed(FORGED, FORGER)
    known = Known(identity=IDENTITY, curator=CURATOR_KEY)
    assert words(forged, known)["endorsed"] == "NotShown"
    assert words(forged, replace(known, endorsement=POLICY))["endorsed"] == "Failed"
    assert words(forged, replace(known, endorsement=FORGED))["endorsed"] == "Passed"
    genuine, pinned = logged(endorsed(POLICY, *ORGANISATIONS.values()))
    found = words(replace(forged, epoch_proof=genuine.epoch_proof), replace(known, policy=pinned))
    assert (found["endorsed"], found["logged"]) == ("NotShown", "Failed")


def test_an_epoch_is_logged_with_the_curators_key_and_without() -> None:
    made, pinned = logged(endorsed(POLICY, *ORGANISATIONS.values()))
    for curator in (b"", CURATOR_KEY):
        assert words(made, Known(curator=curator, policy=pinned))["logged"] == "Passed"
        few = (log_policy([signer(ORIGIN, ED25519).key], {**WITNESSED, "x": [WITNESSES[3].key]}, 4), NOW)
        assert words(made, Known(curator=curator, policy=few))["logged"] == "Failed"
    assert words(made, Known(curator=b"c" * 32, policy=pinned))["logged"] == "Failed"


@pytest.mark.parametrize("field", ["endorsement_root", "sealing_key"])
def test_a_logged_leaf_that_the_curator_did_not_sign_shows_nothing_to_who_has_its_key(field: str) -> None:
    made = endorsed(POLICY, *ORGANISATIONS.values())
    made, pinned = logged(replace(made, leaf=(replace(made.leaf[0], **{field: b"o" * 32}),)))
    found = words(made, Known(identity=IDENTITY, curator=CURATOR_KEY, policy=pinned, endorsement=POLICY))
    assert (found["endorsed"], found["logged"]) == ("Failed", "Failed")


@pytest.mark.parametrize(("design", "epoch"), [("other", 1), ("oprf-psi", 2)])
@pytest.mark.parametrize("curator", [b"", CURATOR_KEY])
def test_the_leaf_of_another_design_or_epoch_is_not_the_reports(
    design: str, epoch: int, curator: bytes
) -> None:
    leaf = CURATOR.leaf(manifest(design, epoch))
    made = replace(evidence(FrankingMode.SIGNATURE), leaf=(leaf,))
    held = MemoryLog([b"before"] * (epoch - 1) + [leaf.encode()], signer(ORIGIN, ED25519))
    made = replace(made, epoch_proof=held.proof(epoch - 1).encode())
    known = Known(curator=curator, policy=(log_policy([held.key.key], WITNESSED, 3), NOW))
    assert words(made, known)["logged"] == "Failed"


@pytest.mark.parametrize("leaves", [[b"before", b""], [b"", b"after"]])
def test_a_second_leaf_of_the_epoch_in_its_log_is_not_the_epochs(leaves: list[bytes]) -> None:
    """It stands at another index than its epoch's; the one that does is taken, whatever comes after it."""
    made = endorsed(POLICY, *ORGANISATIONS.values())
    held = MemoryLog([one or made.leaf[0].encode() for one in leaves], signer(ORIGIN, ED25519))
    made = replace(made, epoch_proof=held.proof(leaves.index(b"")).encode())
    known = Known(curator=CURATOR_KEY, policy=(log_policy([held.key.key], WITNESSED, 3), NOW))
    assert words(made, known)["logged"] == ("Passed" if leaves[0] == b"" else "Failed")


@pytest.mark.parametrize("origin", ["log.example/epochs/other", "log.example/counts", "oprf-psi"])
def test_the_log_of_something_else_does_not_show_the_epoch(origin: str) -> None:
    made, pinned = logged(endorsed(POLICY, *ORGANISATIONS.values()), origin)
    assert words(made, Known(policy=pinned))["logged"] == "Failed"


@pytest.mark.parametrize(
    ("key", "verdict"), [(ORGANISATIONS["north"].verify_key, "passed"), (FORGER.verify_key, "failed")]
)
def test_the_command_takes_the_deployments_policy(tmp_path: Path, key: VerifyKey, verdict: str) -> None:
    file, curator, policy, result = (tmp_path / name for name in ("report", "curator.pub", "policy", "out"))
    file.write_bytes(endorsed(POLICY, *ORGANISATIONS.values()).encode())
    curator.write_bytes(line_of(CURATOR_KEY))
    keys = {one.name: one.key.hex() for one in POLICY.organisations} | {"north": bytes(key).hex()}
    policy.write_text(json.dumps({"needed": 2, "organisations": keys}))
    options = ("--curator", curator, "--endorsement-policy", policy, "--json", result)
    assert in_process(tmp_path, "report", "verify", file, *options).code == (verdict == "failed")
    assert json.loads(result.read_text())["shown"]["endorsed"]["verdict"] == verdict
    policy.unlink()
    assert in_process(tmp_path, "report", "verify", file, *options).code != 0


EXAMPLES = Path(__file__).parents[2] / "examples"
OPTIONS = (
    *("--identity", IDENTITY.hex(), "--curator", "curator.pub"),
    *("--endorsement-policy", "endorsement.json", "--log-policy", "policy.txt"),
)


@pytest.fixture
def outsider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The example as an outsider runs it, on a file with this content: what it says; and its options."""
    made, pinned = logged(endorsed(POLICY, *ORGANISATIONS.values()), at=NOW >> 1)
    (tmp_path / "curator.pub").write_bytes(line_of(CURATOR_KEY))
    keys: dict[str, object] = {one.name: one.key.hex() for one in POLICY.organisations}
    keys["north"] = [keys["north"]]
    (tmp_path / "endorsement.json").write_text(json.dumps({"needed": 2, "organisations": keys}))
    (tmp_path / "policy.txt").write_text(pinned[0].text)
    (tmp_path / "whole").write_bytes(made.encode())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)

    def ran(content: bytes, options: Sequence[str] = OPTIONS) -> str:
        (tmp_path / "report").write_bytes(content)
        monkeypatch.setattr(sys, "argv", ["verify_report.py", "report", *options])
        try:
            runpy.run_path(str(EXAMPLES / "verify_report.py"), run_name="__main__")
        except SystemExit as refused:
            return str(refused)
        return "passed"

    return ran


def test_the_example_verifies_a_report_without_our_packages(
    outsider: Callable[..., str], tmp_path: Path
) -> None:
    for name in ("verify_report.py", "verify_epoch.py", "pdq.py"):
        text = (EXAMPLES / name).read_text()
        assert "blindmatch_" not in text
    command = [sys.executable, "-s", "-E", EXAMPLES / "verify_report.py", tmp_path / "whole"]
    ran = subprocess.run([*command, *OPTIONS], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [
        word for claim in ("content", "sender", "match", "endorsed", "logged") for word in (claim, "passed")
    ]
    few = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert few.stdout.count("not shown without") == 3


def example_cases(made: ReportEvidence) -> dict[str, tuple[ReportEvidence, str]]:
    """Altered files, and the claim in whose name each must be refused."""
    report = made.report
    (leaf,) = made.leaf
    (proof,) = made.endorsement
    label = report.label
    (opening,) = report.opening
    log = made.epoch_proof
    later = CURATOR.leaf(manifest(epoch=2), leaf.endorsement)

    def with_report(**changes: Any) -> ReportEvidence:
        return replace(made, report=replace(report, **changes))

    def with_leaf(**changes: Any) -> ReportEvidence:
        return replace(made, leaf=(replace(leaf, **changes),))

    def signed_leaf(**changes: Any) -> ReportEvidence:
        new = replace(leaf, **changes)
        return replace(made, leaf=(CURATOR.leaf(new.manifest, new.endorsement, new.sealing_key),))

    def with_signatures(*signatures: bytes) -> ReportEvidence:
        return replace(made, endorsement=(replace(proof, signatures=signatures),))

    return {
        "picture": (with_report(picture=picture(2)), "content"),
        "sender": (with_report(sender="carol"), "content"),
        "recipient": (with_report(recipient="carol"), "content"),
        "time": (with_report(sent_at_ms=16), "content"),
        "media type": (with_report(media_type="image/gif"), "content"),
        "salt": (with_report(opening=(replace(opening, salts=(bytes(32),) * 4),)), "content"),
        "proof": (with_report(sender_proof=(SenderProof(bytes(64), ()),)), "sender"),
        "no proof": (with_report(sender_proof=()), "file"),
        "identity": (replace(made, identity=(public_key(b"\2" * 32),)), "sender"),
        "mode": (replace(made, mode=FrankingMode.STAMP), "sender"),
        "hash": (with_report(label=Label(bytes(32), 7, label.salt)), "match"),
        "entry": (with_report(label=replace(label, entry_id=8)), "endorsed"),
        "salt of the entry": (with_report(label=replace(label, salt=b"t" * 16)), "endorsed"),
        "policy": (signed_leaf(endorsement_policy=FORGED.encode()), "endorsed"),
        "root": (signed_leaf(endorsement_root=b"r" * 32), "endorsed"),
        "curator": (with_leaf(signature=bytes(64)), "file"),
        "policy, unsigned": (with_leaf(endorsement_policy=FORGED.encode()), "file"),
        "root, unsigned": (with_leaf(endorsement_root=b"r" * 32), "file"),
        "sealing key, unsigned": (with_leaf(sealing_key=b"k" * 32), "file"),
        "signature": (with_signatures(b"x" * 64, *proof.signatures[1:]), "endorsed"),
        "too few": (with_signatures(bytes(64), bytes(64), proof.signatures[2]), "endorsed"),
        "epoch": (replace(made, leaf=(later,)), "file"),
        "sealing key": (signed_leaf(sealing_key=b"k" * 32), "the leaf is under"),
        "index": (replace(made, epoch_proof=log.replace(b"index 0", b"index 1")), "the path"),
        "cosigner": (
            replace(made, epoch_proof=log.replace(WITNESSES[0].key.name.encode(), b"w9.example")),
            "a quorum",
        ),
        "size": (replace(made, epoch_proof=log.replace(b"\n1\n", b"\n2\n")), "log.example"),
        "another log": (logged(made, "log.example/epochs/other")[0], "the log signed"),
    }


def test_the_example_refuses_what_was_altered_by_name(outsider: Callable[..., str], tmp_path: Path) -> None:
    whole = (tmp_path / "whole").read_bytes()
    assert outsider(whole) == "passed"
    for how, (made, rule) in example_cases(ReportEvidence.decode(whole)).items():
        assert outsider(made.encode()).startswith(f"does not hold: {rule}"), how
    for broken in (b"", whole[:-1], whole + b"\0", b"\xa4" + whole[1:], whole[:40]):
        assert outsider(broken).startswith("does not hold: file")


ELSEWHERE: dict[str, dict[str, Any]] = {
    "deployment": {"terms": Terms(b"d" * 32, "oprf-psi", POLICY)},
    "design": {"terms": Terms(CURATOR_KEY, "token-psi", POLICY)},
    "policy": {"terms": Terms(CURATOR_KEY, "oprf-psi", replace(POLICY, needed=1))},
    "action": {"action": Action.REMOVE},
    "over": {"epochs": (2, 9)},
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_organisations_signed_for_something_else_is_no_endorsement(
    outsider: Callable[..., str], name: str
) -> None:
    """Every signature is good, and every path leads to the root in the leaf that is logged."""
    made, pinned = logged(endorsed(POLICY, *ORGANISATIONS.values(), **ELSEWHERE[name]), at=NOW >> 1)
    known = Known(identity=IDENTITY, curator=CURATOR_KEY, policy=pinned, endorsement=POLICY)
    assert words(made, known)["endorsed"] == "Failed"
    assert outsider(made.encode()).startswith("does not hold: endorsed: for this deployment, design, policy")


def test_the_example_takes_a_leaf_at_its_epochs_index_alone(outsider: Callable[..., str]) -> None:
    made = endorsed(POLICY, *ORGANISATIONS.values())
    held = MemoryLog([b"before", made.leaf[0].encode()], signer(ORIGIN, ED25519), NOW >> 1)
    made = replace(made, epoch_proof=held.proof(1).encode())
    assert outsider(made.encode()) == "does not hold: logged: the leaf is at the epoch's index"


def test_the_example_refuses_what_the_form_forbids(outsider: Callable[..., str], tmp_path: Path) -> None:
    made = ReportEvidence.decode((tmp_path / "whole").read_bytes())
    whole = made.encode()
    report = made.report.encode()
    (leaf,) = made.leaf
    scored = Report.decode(replace(made.report, label=NO_LABEL, score=Flag(0.5).encode()).encode())
    score = b"\0\0\0\x08" + scored.score
    label = made.report.label.encode()
    flagged = replace(made, report=scored).encode()
    both = flagged.replace(NO_LABEL.encode(), label)
    one, two = (number.to_bytes(4, "big") + leaf.encode() * number for number in (1, 2))
    doubled = whole.replace(one, two)
    for broken in (both, flagged.replace(score, b"\0\0\0\x04" + scored.score[:4])):
        assert broken not in (whole, flagged)
        with pytest.raises(ProtocolError):
            ReportEvidence.decode(broken)
        assert outsider(broken).startswith("does not hold: file: a score")
    assert len(doubled) == len(whole) + len(leaf.encode()) and report in doubled
    with pytest.raises(ProtocolError):
        ReportEvidence.decode(doubled)
    assert outsider(doubled).startswith("does not hold: file: of @1e there is one or none, not 2")


def test_the_example_shows_no_match_of_a_flag(
    outsider: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = ReportEvidence.decode((tmp_path / "whole").read_bytes())
    flag = replace(made.report, label=NO_LABEL, score=Flag(0.5).encode())
    assert outsider(replace(made, report=flag).encode(), ()) == "passed"
    assert "match    not shown" in capsys.readouterr().out


@pytest.mark.parametrize("policy", [(), ("--log-policy", "policy.txt")])
def test_the_example_holds_the_leaf_against_the_curators_key(
    outsider: Callable[..., str], tmp_path: Path, policy: tuple[str, ...]
) -> None:
    whole = (tmp_path / "whole").read_bytes()
    (tmp_path / "other.pub").write_bytes(line_of(bytes(FORGER.verify_key)))
    assert outsider(whole, policy) == outsider(whole, ("--curator", "curator.pub", *policy)) == "passed"
    found = outsider(whole, ("--curator", "other.pub", *policy))
    assert found == "does not hold: file: the curator signed the leaf"


def file_of(pixels: object, kind: str = "PNG", **options: object) -> bytes:
    out = BytesIO()
    Image.fromarray(np.asarray(pixels)).save(out, kind, **options)
    return out.getvalue()


SMOOTH = np.asarray(Image.open(BytesIO(picture(5))).convert("L"))
DEEP = SMOOTH.astype(np.uint16) * 257
TALL = np.rot90(SMOOTH)[:90]
TURNED = Image.Exif()
TURNED[0x0112] = 6
WHOLE_PNG = file_of(SMOOTH)
ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def grey_png(passes: Sequence[Pixels], interlaced: bool, cut: int = 0) -> bytes:
    """A PNG of SMOOTH's size that ends properly, its image data `cut` bytes too short."""
    rows = b"".join(b"\0" + row.tobytes() for one in passes for row in one)
    head = struct.pack(">IIBBBBB", *SMOOTH.shape, 8, 0, 0, 0, interlaced)
    body = zlib.compress(rows[: len(rows) - cut])
    chunks = ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(one)) + kind + one + struct.pack(">I", zlib.crc32(kind + one))
        for kind, one in chunks
    )


WOVEN = [SMOOTH[y::down, x::across] for y, x, down, across in ADAM7]
PICTURES = {
    "16 bits": file_of(DEEP),
    "16 bits, black to the eye": file_of(DEEP >> 8),
    "16 bits, a clear grey": file_of(DEEP, transparency=int(DEEP[0, 0])),
    "16 bits, turned": file_of(DEEP, exif=TURNED),
    "turned": file_of(TALL, exif=TURNED),
    "turned by XMP alone": file_of(TALL, "JPEG", xmp=b'<x tiff:Orientation="6"/>'),
    "JPEG": picture(6, file_format="JPEG"), "GIF": picture(6, file_format="GIF"),
    "WebP": picture(6, file_format="WEBP"), "narrow": file_of(SMOOTH[:, :4]),
    "BMP": picture(6, file_format="BMP"), "TIFF": picture(6, file_format="TIFF"), "empty": b"",
    "JPEG, cut": picture(6, file_format="JPEG")[:-300], "PNG, cut": WHOLE_PNG[:-12],
    "PNG": grey_png([SMOOTH], False), "PNG, short": grey_png([SMOOTH], False, 4096),
    "interlaced": grey_png(WOVEN, True), "interlaced, short": grey_png(WOVEN, True, 1),
    "WebP, cut": picture(6, file_format="WEBP")[:-9], "GIF, cut": picture(6, file_format="GIF")[:-99],
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_the_examples_pdq_takes_and_sees_the_pictures_that_the_library_does(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    pdq = runpy.run_path(str(EXAMPLES / "pdq.py"))["pdq"]
    try:
        expected = Picture.from_bytes(PICTURES[name]).hash
    except PictureError:
        with pytest.raises(ValueError, match="not a whole JPEG, PNG, WebP or GIF"):
            pdq(PICTURES[name])
    else:
        apart = int.from_bytes(pdq(PICTURES[name]), "big") ^ int.from_bytes(expected, "big")
        assert apart.bit_count() <= 2  # the example adds in float64


def test_the_example_matches_no_picture_of_a_kind_that_is_not_hashed(
    outsider: Callable[..., str], tmp_path: Path
) -> None:
    made = evidence(FrankingMode.STAMP, picture(1, file_format="BMP"))
    found = outsider(made.encode(), ())
    assert found.startswith("does not hold: file: has its form: not a whole JPEG")
