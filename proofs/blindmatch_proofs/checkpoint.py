"""Checkpoints: the head of a log, in the text of a signed note (c2sp.org/tlog-checkpoint).

    origin                  which log, and here which stream of it
    size
    base64(root)

Extension lines, which no log of ours writes and no monitor can audit, are refused.
"""

from __future__ import annotations

from typing import Final

from blindmatch_protocol.codec.errors import ProtocolError
from msgspec import Struct

from blindmatch_proofs.merkle import HASH_BYTES
from blindmatch_proofs.signed_note import Note, check_name, decimal, decoded, encoded

STEP: Final = "checkpoint"
_LINES: Final = 3


class Checkpoint(Struct, frozen=True):
    """The head of a log: `size` leaves under `root`."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed ("Note text")."""
        return f"{self.origin}\n{self.size}\n{encoded(self.root)}\n"

    @classmethod
    def of(cls, note: Note) -> Checkpoint:
        """The checkpoint that a note says; signatures are not looked at.

        Raises:
            ProtocolError: if it says none, or has extension lines.
        """
        lines = note.text.split("\n")[:-1]
        if len(lines) != _LINES:
            raise ProtocolError(STEP, "must be three lines: origin, size and root")
        origin, size, root = lines
        check_name(origin, STEP)
        raw = decoded(root, STEP, "root")
        if len(raw) != HASH_BYTES:
            raise ProtocolError(STEP, f"must be {HASH_BYTES} bytes", "root")
        return cls(origin, decimal(size, STEP, "size"), raw)
