"""Evidence that a log showed two histories, in a file that anyone verifies with the log's key alone.

    two checkpoints of one size with two roots, or two leaves that two checkpoints have at one index

Either is signed by the log twice, which it must not do (tlog-checkpoint, "Signatures"); witnesses that
cosigned both are named. Two leaves of one epoch that the curator signed are the curator's doing, too. Two
checkpoints of different sizes show nothing by themselves: whoever holds them asks for the proof that leads
from one to the other, which no file can show to be missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from blindmatch_protocol.codec.errors import ProtocolError
from msgspec import Struct

from blindmatch_proofs.checkpoint import Checkpoint, Note, VerifierKey, decoded, encoded, signature_by
from blindmatch_proofs.epoch import EpochLeaf, verify_origin
from blindmatch_proofs.tlog_proof import HEADER, TlogProof
from blindmatch_proofs.verdict import Failed, Passed, Verdict

STEP: Final = "split view"
FORMAT: Final = "blindmatch-split-view"
VERSION: Final = 2


class View(Struct, frozen=True):
    """What one party was shown: a checkpoint, or the proof of a leaf with the leaf."""

    shown: bytes
    leaf: bytes = b""

    @property
    def proof(self) -> TlogProof | None:
        """The proof, if it is one; `ProtocolError` if it is malformed."""
        return TlogProof.parse(self.shown) if self.shown.startswith(HEADER.encode()) else None

    @property
    def note(self) -> Note:
        """The checkpoint; `ProtocolError` if there is none."""
        proof = self.proof
        return Note.parse(self.shown) if proof is None else proof.note


class SplitView(Struct, frozen=True):
    """Two views of one log, which `log` is the key of."""

    log: VerifierKey
    views: tuple[View, View]

    def encode(self) -> bytes:
        views = [{"shown": one.shown.decode(), "leaf": encoded(one.leaf)} for one in self.views]
        held = {"format": FORMAT, "version": VERSION, "log": self.log.text, "views": views}
        return (json.dumps(held, indent=2, ensure_ascii=False) + "\n").encode()

    @classmethod
    def parse(cls, raw: bytes) -> SplitView:
        """What `encode` made; `ProtocolError` for anything else."""
        try:
            held: dict[str, Any] = json.loads(raw)
            kind = (held["format"], held["version"])
            log = str(held["log"])
            views = [(str(one["shown"]).encode(), str(one["leaf"])) for one in held["views"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ProtocolError(STEP, f"must be a JSON object of format {FORMAT}") from error
        bare = kind == (FORMAT, 1) and not any(leaf for _, leaf in views)  # else it has a hash of the leaf
        if not (bare or kind == (FORMAT, VERSION)) or len(views) != 2:
            raise ProtocolError(STEP, f"must be two views, version {VERSION}")
        first, second = (View(shown, decoded(leaf, STEP, "leaf")) for shown, leaf in views)
        return cls(VerifierKey.parse(log), (first, second))

    def verify(self, log: VerifierKey) -> Verdict:
        """Whether `log`, whose key the verifier has from elsewhere, showed two histories."""
        try:
            heads = [_signed(log, one.note) for one in self.views]
            two_leaves = self.two_leaves
        except ProtocolError as error:
            return Failed(str(error))
        if None in heads:
            return Failed(f"both views must be signed by the key of {log.name}")
        first, second = heads
        if two_leaves or (first and second and first.size == second.size and first.root != second.root):
            return Passed()
        return Failed("the two views show neither two roots of one size nor two leaves at one index")

    @property
    def two_leaves(self) -> bool:
        """Whether the views prove two leaves at one index; `ProtocolError` if one is malformed."""
        first, second = map(_leaf, self.views)
        return bool(first and second and first[0] == second[0] and first[1] != second[1])

    def blamed(self, curator: bytes) -> str:
        """Whose doing two leaves at one index are, if `log` signed the views; `curator` is a public key."""
        if all(_is_epochs(one, curator) for one in self.views):
            return "the curator's, whose key signed both leaves, and the log's"
        return "the log's: the curator's key did not sign both for that epoch"

    def cosigners(self, witnesses: Mapping[str, VerifierKey]) -> list[str]:
        """Those of `witnesses` that cosigned both histories; `ProtocolError` if a view is malformed.

        A signature that does not verify is nobody's: whoever showed a view may have put it there.
        """
        notes = [one.note for one in self.views]
        return sorted(
            name for name, key in witnesses.items() if all(signature_by(key, note) for note in notes)
        )


def _signed(log: VerifierKey, note: Note) -> Checkpoint | None:
    head = Checkpoint.of(note)
    return head if signature_by(log, note) and head.origin == log.name else None


def _leaf(view: View) -> tuple[int, bytes] | None:
    proof = view.proof
    return None if proof is None or proof.verify(view.leaf) != Passed() else (proof.index, view.leaf)


def _is_epochs(view: View, curator: bytes) -> bool:
    """Whether the key signed a view's leaf, and for the epoch and design in whose place it stands."""
    try:
        leaf, proof = EpochLeaf.decode(view.leaf), view.proof
    except ProtocolError:
        return False
    if proof is None or proof.index != leaf.index:
        return False
    return verify_origin(proof.head, leaf.manifest.design) == leaf.verify(curator) == Passed()
