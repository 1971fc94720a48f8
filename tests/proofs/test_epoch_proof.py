"""What a device must see of the log before it takes an epoch, and what two views are evidence of."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from blindmatch_proofs.checkpoint import COSIGNATURE, ED25519, ML_DSA_44, VerifierKey, verify_signature
from blindmatch_proofs.epoch import (
    EpochLeaf,
    EpochPolicy,
    SplitView,
    View,
    verify_continues,
    verify_leaf,
    verify_logged,
)
from blindmatch_proofs.tlog import Accepted, TlogProof, build_policy
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.messages.epoch_manifest import EpochManifest
from blindmatch_server.epochs.signing import CuratorKey
from blindmatch_server.storage.files import line_of
from msgspec.structs import replace
from support.logs import LOG, NOW, ORIGIN, WITNESSES, MemoryLog, policy, signer
from support.signed import CURATOR
from support.verdicts import reason

KEY = b"k" * 32
PINNED = EpochPolicy(policy(2, witnesses=WITNESSES[:3]), 60)


def leaf(epoch: int, entries: int = 1) -> EpochLeaf:
    before = (0, bytes(32)) if epoch == 1 else (epoch - 1, b"p" * 32)
    manifest = EpochManifest("dummy", 1, epoch, *before, 5, 6, entries, (), (), ())
    return CURATOR.leaf(manifest, sealing_key=KEY)


LEAVES = [leaf(epoch) for epoch in range(1, 8)]
HELD = MemoryLog([one.encode() for one in LEAVES])


def test_the_newest_epoch_with_a_fresh_quorum_is_taken() -> None:
    for epoch in range(1, 8):
        found = verify_logged(LEAVES[epoch - 1], HELD.proof(epoch - 1, size=epoch), PINNED, NOW)
        assert isinstance(found, Accepted)
        assert found.head == HELD.checkpoint(epoch)


def test_a_policy_whose_signatures_no_message_bears_to_a_peer_is_refused() -> None:
    keys = [VerifierKey(f"w{n}.example", ML_DSA_44, bytes([n]) * 1312) for n in range(10)]
    operators = {key.name: [key] for key in keys}
    EpochPolicy(build_policy([LOG.key], dict(list(operators.items())[:9]), 9))
    with pytest.raises(
        ProtocolError, match=r"witness: must sign in 32768 bytes, .* to a peer, not in 32\d{3}"
    ):
        EpochPolicy(build_policy([LOG.key], operators, 10))


def test_a_leaf_for_one_user_an_older_one_and_one_at_another_index_are_refused() -> None:
    other = leaf(7, entries=2)
    assert "inclusion proof" in reason(verify_logged(other, HELD.proof(6), PINNED, NOW))
    assert "epoch 7 is logged" in reason(verify_logged(LEAVES[5], HELD.proof(5), PINNED, NOW))
    assert "must be leaf 6" in reason(verify_logged(LEAVES[6], HELD.proof(5), PINNED, NOW))
    twice = MemoryLog([*HELD.entries, other.encode()])
    assert "must be leaf 6, not 7" in reason(verify_logged(other, twice.proof(7), PINNED, NOW))
    assert "older than 60 s" in reason(verify_logged(LEAVES[6], HELD.proof(6), PINNED, NOW + 61))
    assert "not met" in reason(verify_logged(LEAVES[6], HELD.proof(6, WITNESSES[:1]), PINNED, NOW))
    elsewhere = MemoryLog(HELD.entries, signer("elsewhere.example", ED25519))
    assert "no log of the policy" in reason(verify_logged(LEAVES[6], elsewhere.proof(6), PINNED, NOW))


def test_a_leaf_is_of_the_manifest_of_the_key_that_the_device_has_and_the_curators() -> None:
    first, second, *_ = LEAVES
    curator = CURATOR.public
    for key in (KEY, None):
        assert verify_leaf(first, first.manifest, curator, key) == Passed()
    assert "epoch's manifest" in reason(verify_leaf(first, second.manifest, curator, KEY))
    assert "sealing key" in reason(verify_leaf(first, first.manifest, curator, b"o" * 32))
    other = CuratorKey.of(b"a" * 32).public
    assert "signed by the curator" in reason(verify_leaf(first, first.manifest, other, KEY))


def test_a_log_continues_what_was_seen_of_it() -> None:
    now = HELD.checkpoint()
    for size in range(8):
        assert verify_continues(now, HELD.checkpoint(size), HELD.consistency(size)) == Passed()
    forked = MemoryLog([*HELD.entries[:3], leaf(4, 9).encode(), *HELD.entries[4:]])
    for size in range(4, 8):
        assert "does not continue" in reason(
            verify_continues(now, forked.checkpoint(size), HELD.consistency(size))
        )
    assert "had 7 before" in reason(verify_continues(HELD.checkpoint(6), now, ()))
    assert "another log" in reason(verify_continues(replace(now, origin="x"), now, ()))
    assert "does not continue" in reason(verify_continues(now, HELD.checkpoint(3), ()))


def test_a_policy_of_several_logs_or_none_is_not_pinned() -> None:
    for logs in ([], [LOG.key, signer("b.example", ED25519).key]):
        with pytest.raises(ProtocolError, match="must have one log"):
            EpochPolicy(build_policy(logs, {"a": [WITNESSES[0].key]}, 1))


# --- two views of one log ----------------------------------------------------------------------------

FORK = MemoryLog([*HELD.entries[:6], leaf(7, entries=2).encode()])
BOTH = (View(HELD.note(WITNESSES[:2]).encode()), View(FORK.note(WITNESSES[1:3]).encode()))


def test_two_roots_of_one_size_are_evidence_and_name_who_cosigned_both() -> None:
    split = SplitView(LOG.key, BOTH)
    read = SplitView.parse(split.encode())
    assert read == split
    assert read.verify(LOG.key) == Passed()
    assert read.list_cosigners(PINNED.policy.witnesses) == ["w2.example"]


def test_two_leaves_at_one_index_are_evidence_whatever_the_sizes() -> None:
    later = MemoryLog([*FORK.entries, leaf(8).encode()])
    mine = shows(HELD, 6)
    theirs = shows(later, 6)
    split = SplitView(LOG.key, (mine, theirs))
    assert split.verify(LOG.key) == Passed() and SplitView.parse(split.encode()) == split
    same = shows(later, 5)
    five = shows(HELD, 5)
    unproven = replace(theirs, leaf=b"something else")
    for pair in ((five, same), (mine, same), (mine, unproven), (mine, replace(theirs, leaf=b""))):
        assert "neither" in reason(SplitView(LOG.key, pair).verify(LOG.key))
        assert not SplitView(LOG.key, pair).has_two_leaves


def shows(log: MemoryLog, index: int) -> View:
    return View(log.proof(index).encode(), log.entries[index])


def test_two_leaves_are_the_curators_doing_only_if_it_signed_both_for_that_epoch() -> None:
    """A log can put whatever the curator signed for another epoch, or another design, into the place."""
    other_design = CURATOR.leaf(replace(LEAVES[6].manifest, design="other"), sealing_key=KEY)
    others = {
        "both signed": leaf(7, entries=2).encode(),
        "another root": replace(LEAVES[6], endorsement_root=b"r" * 32, endorsement_policy=b"p").encode(),
        "another sealing key": replace(LEAVES[6], sealing_key=b"o" * 32).encode(),
        "another epoch's": HELD.entries[2],
        "another design's": other_design.encode(),
        "no leaf": b"x",
    }
    for name, raw in others.items():
        split = SplitView(LOG.key, (shows(HELD, 6), shows(MemoryLog([*HELD.entries[:6], raw]), 6)))
        assert split.verify(LOG.key) == Passed() and split.has_two_leaves
        assert split.name_culprit(CURATOR.public).startswith("the curator's") == (name == "both signed"), name
        assert split.name_culprit(CuratorKey.of(b"a" * 32).public).startswith("the log's")


def _of_another_stream() -> list[View]:
    """A checkpoint of another stream, which the log signs with the same key, under this stream's name."""
    counts = MemoryLog([b"counts"] * 7, signer("log.example/counts", ED25519))
    counts.key = replace(counts.key, _secret=LOG._secret, key=replace(LOG.key, name="log.example/counts"))
    note = counts.note(())
    (made,) = note.signatures
    renamed = replace(made, name=LOG.key.name, key_id=LOG.key.id)
    assert verify_signature(LOG.key, renamed, note.text) == 0
    assert verify_signature(LOG.key, made, note.text) is None  # another key's, by its name
    return [View(replace(note, signatures=(renamed,)).encode()), View(note.encode())]


def test_a_signature_that_a_peer_put_into_a_view_neither_accuses_a_witness_nor_spoils_the_evidence() -> None:
    held = HELD.note(WITNESSES[:2])
    shown = FORK.note(WITNESSES[1:2])
    good = held.signatures[1].signature
    bogus = replace(held.signatures[1], signature=good[:-1] + bytes([good[-1] ^ 1]))
    views = (View(held.encode()), View(shown.add_signatures(bogus).encode()))
    split = SplitView(LOG.key, views)
    assert split.verify(LOG.key) == Passed()
    assert split.list_cosigners(PINNED.policy.witnesses) == ["w2.example"]


def test_nobody_makes_evidence_against_a_log_without_its_key() -> None:
    imitation = MemoryLog(FORK.entries, signer(ORIGIN + "/", ED25519))
    forged = replace(FORK.note(()), signatures=imitation.note(()).signatures)
    mine = View(HELD.note(()).encode())
    other = signer("o.example", ED25519)
    unsigned = [
        View(forged.encode()),
        View(FORK.note(WITNESSES).encode().replace(LOG.key.name.encode(), b"x")),
    ]
    for view in unsigned:
        assert "must be signed by the key" in reason(SplitView(LOG.key, (mine, view)).verify(LOG.key))
    assert "signed by the key" in reason(SplitView(LOG.key, BOTH).verify(other.key))
    for view in _of_another_stream():
        assert "signed by the key" in reason(SplitView(LOG.key, (mine, view)).verify(LOG.key))
    assert "neither" in reason(SplitView(LOG.key, (mine, mine)).verify(LOG.key))
    assert "neither" in reason(SplitView(LOG.key, (mine, View(HELD.note((), 5).encode()))).verify(LOG.key))


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"1", b'{"format": "blindmatch-split-view"}'])
def test_what_is_no_evidence_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        SplitView.parse(raw)
    whole = SplitView(LOG.key, BOTH).encode()
    for old, new in (
        (b'"version": 2', b'"version": 3'),
        (b"split-view", b"other"),
        (b'"leaf": ""', b'"leaf": "A"'),
        (b'"shown": "', b'"shown": "\\ud800'),
    ):
        with pytest.raises(ProtocolError):
            SplitView.parse(whole.replace(old, new))


def test_evidence_of_version_1_is_refused() -> None:
    with pytest.raises(ProtocolError, match="two views"):
        SplitView.parse(SplitView(LOG.key, BOTH).encode().replace(b'"version": 2', b'"version": 1'))


# --- the example, which has none of our packages -------------------------------------------------------

EXAMPLE = Path(__file__).parents[2] / "examples" / "verify_epoch.py"
TWO = policy(2, witnesses=WITNESSES[:3]).text
W1 = WITNESSES[0].key
TWIN = VerifierKey("twin.example", COSIGNATURE, W1.public)
TWICE = f"log {LOG.key.text}\nwitness a {W1.text}\nwitness b {TWIN.text}\ngroup g 2 a b\nquorum g\n"
IN_TWO = f"log {LOG.key.text}\nwitness a {W1.text}\ngroup g 1 a\ngroup h 1 a\ngroup i 2 g h\nquorum i\n"


def shown(raw: bytes = LEAVES[0].encode(), **changes: Any) -> TlogProof:
    """The proof of this as the first leaf, with what is changed of it."""
    return replace(MemoryLog([raw]).proof(0), **changes)


def twice() -> TlogProof:
    proof = shown()
    first = proof.note.signatures[1]
    return replace(proof, note=proof.note.add_signatures(replace(first, name=TWIN.name, key_id=TWIN.id)))


def longer() -> TlogProof:
    log, first, *others = shown().note.signatures
    spoilt = replace(first, signature=first.signature + b"\0")
    return shown(note=replace(shown().note, signatures=(log, spoilt, *others)))


BY_ANOTHER = CuratorKey.of(b"a" * 32).leaf(LEAVES[0].manifest, sealing_key=KEY).encode()
RAW = LEAVES[0].encode()
OTHER_KEY = replace(LEAVES[0], sealing_key=b"o" * 32).encode()
OLD = (Path(__file__).parents[1] / "vectors" / "epoch-leaf-v1.bin").read_bytes()
REFUSED: dict[str, tuple[str, bytes, TlogProof, str]] = {
    "another curator": (TWO, BY_ANOTHER, shown(BY_ANOTHER), "the curator signed it"),
    "another sealing key": (TWO, OTHER_KEY, shown(OTHER_KEY), "the curator signed it"),
    "a leaf of version 1": (TWO, OLD, shown(OLD), "is an epoch-leaf"),
    "one key, two names": (TWICE, RAW, twice(), "no key has two names"),
    "one witness, two groups": (IN_TWO, RAW, shown(), "nobody is in two groups"),
    "another key's id": (TWO.replace(W1.id.hex(), "00000000"), RAW, shown(), "has its own key id"),
    "a signature too long": (TWO, RAW, longer(), "is of a known kind"),
    "something left over": (TWO, RAW + b"\0", shown(RAW + b"\0"), "has nothing left over"),
    "no leaf": (TWO, b"\x1f" + RAW[1:], shown(b"\x1f" + RAW[1:]), "is an epoch-leaf"),
    "a path too long": (TWO, RAW, shown(path=(bytes(32),)), "is not too long"),
    "a second leaf of the epoch": (
        TWO,
        RAW,
        MemoryLog([b"first", RAW]).proof(1),
        "the log ends with epoch 1",
    ),
}


@pytest.mark.parametrize("name", ["as it is", *REFUSED])
def test_the_example_takes_what_a_device_takes_and_names_what_is_wrong(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, raw, proof, rule = REFUSED.get(name, (TWO, RAW, shown(), ""))
    (tmp_path / "policy.txt").write_text(text)
    (tmp_path / "curator.pub").write_bytes(line_of(CURATOR.public))
    (tmp_path / "epoch.leaf").write_bytes(raw)
    (tmp_path / "epoch.proof").write_bytes(proof.encode())
    arguments = [tmp_path / "policy.txt", tmp_path / "curator.pub", tmp_path, "--at", NOW]
    monkeypatch.setattr(sys, "argv", ["verify_epoch.py", *map(str, arguments)])
    if not rule:
        runpy.run_path(str(EXAMPLE), run_name="__main__")
        return
    with pytest.raises(SystemExit, match=rule):
        runpy.run_path(str(EXAMPLE), run_name="__main__")
