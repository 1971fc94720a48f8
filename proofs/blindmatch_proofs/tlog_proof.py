"""Proof that something is in a log, in a file of its own (c2sp.org/tlog-proof): index, path and checkpoint.

Extra data, which nothing authenticates, is not used and refused.
"""

from __future__ import annotations

from typing import Final

from blindmatch_protocol.codec.errors import ProtocolError
from msgspec import Struct

from blindmatch_proofs.add_checkpoint import path_of
from blindmatch_proofs.checkpoint import Checkpoint
from blindmatch_proofs.merkle import leaf_hash, verify_inclusion
from blindmatch_proofs.signed_note import Note, decimal, encoded
from blindmatch_proofs.verdict import Verdict

STEP: Final = "tlog-proof"
HEADER: Final = "c2sp.org/tlog-proof@v1"
PROOF_MOST: Final = 1 << 16
_INDEX: Final = "index "


class TlogProof(Struct, frozen=True):
    """Where an entry is, how its hash leads to the root, and the checkpoint that says the root."""

    index: int
    path: tuple[bytes, ...]
    note: Note

    def encode(self) -> bytes:
        """The file's bytes ("Format")."""
        lines = [HEADER, f"{_INDEX}{self.index}", *map(encoded, self.path), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.note.encode()

    @classmethod
    def parse(cls, raw: bytes) -> TlogProof:
        """The proof with these bytes; `ProtocolError` if there is none."""
        head, empty, note = raw[:PROOF_MOST].partition(b"\n\n")
        first, *lines = head.decode(errors="replace").split("\n")
        if not empty or len(raw) > PROOF_MOST or first != HEADER:
            raise ProtocolError(STEP, f"must begin with {HEADER} and have at most {PROOF_MOST} bytes")
        if not lines or not lines[0].startswith(_INDEX):
            raise ProtocolError(STEP, "must have an index and no extra data", "index")
        index = decimal(lines[0].removeprefix(_INDEX), STEP, "index")
        return cls(index, path_of(lines[1:], STEP), Note.parse(note))

    @property
    def head(self) -> Checkpoint:
        """What the checkpoint says; `ProtocolError` if it says none."""
        return Checkpoint.of(self.note)

    def verify(self, entry: bytes) -> Verdict:
        """Whether `entry` is in the tree of the checkpoint, whose signatures are not looked at here."""
        head = self.head
        return verify_inclusion(leaf_hash(entry), self.index, head.size, self.path, head.root)
