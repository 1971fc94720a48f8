"""Proof that something is in a log, in a file of its own (c2sp.org/tlog-proof), and a witness's one call.

Extra data of a proof, which nothing authenticates, is not used and refused. The call ("add-checkpoint" of
c2sp.org/tlog-witness):

    log                                                      witness
     old SIZE, consistency proof, checkpoint  ------------->  the log's key? SIZE the latest here? consistent?
                                                              keep the checkpoint, on the disk
     <------------------------------------------------------  cosignature

The witness's state is a parameter: whoever calls `judge` must look it up, keep what it returns and only then
cosign, and let nobody in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from blindmatch_protocol.codec.errors import ProtocolError
from msgspec import Struct

from blindmatch_proofs.checkpoint import (
    NOTE_MOST,
    Checkpoint,
    Note,
    VerifierKey,
    decimal,
    decoded,
    encoded,
    signature_by,
)
from blindmatch_proofs.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    PATH_MOST,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from blindmatch_proofs.verdict import Failed, Verdict

REQUEST_STEP: Final = "add-checkpoint"
OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND, CONFLICT, UNPROCESSABLE = 200, 400, 403, 404, 409, 422
"""Statuses of the call, by their numbers in HTTP."""
REQUEST_MOST: Final = NOTE_MOST + 4096
_OLD: Final = "old "


class AddCheckpoint(Struct, frozen=True):
    """The request: the size that the witness is known to have, the proof from there, and the checkpoint."""

    old: int
    path: tuple[bytes, ...]
    note: Note

    def encode(self) -> bytes:
        """The body of the call."""
        lines = [f"{_OLD}{self.old}", *map(encoded, self.path), ""]
        return "".join(f"{line}\n" for line in lines).encode() + self.note.encode()

    @classmethod
    def parse(cls, raw: bytes) -> AddCheckpoint:
        """The request with this body; `ProtocolError` if there is none."""
        head, empty, note = raw[:REQUEST_MOST].partition(b"\n\n")
        if not empty or len(raw) > REQUEST_MOST:
            raise ProtocolError(
                REQUEST_STEP, f"must be a proof, an empty line, a checkpoint: {REQUEST_MOST} bytes"
            )
        old, *path = head.decode(errors="replace").split("\n")
        if not old.startswith(_OLD):
            raise ProtocolError(REQUEST_STEP, "must begin with old and a size", "old")
        return cls(
            decimal(old.removeprefix(_OLD), REQUEST_STEP, "old"),
            path_of(path, REQUEST_STEP),
            Note.parse(note),
        )


class Refused(Struct, frozen=True):
    """Why a checkpoint is not cosigned: a status, and the body that goes with it."""

    status: int
    body: str


def judge(
    request: AddCheckpoint, logs: Mapping[str, VerifierKey], latest: Checkpoint | None
) -> Checkpoint | Refused:
    """What the witness must keep before it cosigns it, or why it does not.

    Args:
        logs: the keys of the logs it watches, by origin.
        latest: the last checkpoint of this origin that it kept, if there is one.
    """
    try:
        head = Checkpoint.of(request.note)
    except ProtocolError as error:
        return Refused(BAD_REQUEST, str(error))
    key, size = logs.get(head.origin), latest.size if latest else 0
    if key is None:
        return Refused(NOT_FOUND, "the origin is none that is watched here")
    if signature_by(key, request.note) is None:
        return Refused(FORBIDDEN, "the checkpoint must be signed by the log's key")
    if request.old > head.size:
        return Refused(BAD_REQUEST, "the old size must not be above the checkpoint's")
    if request.old != size:
        return Refused(CONFLICT, f"{size}\n")
    if latest is not None and latest.size == head.size and latest.root != head.root:
        return Refused(CONFLICT, f"{size}\n")
    root = latest.root if latest else EMPTY_ROOT
    match verify_consistency(size, head.size, request.path, root, head.root):
        case Failed(reason):
            return Refused(UNPROCESSABLE, reason)
    return head


def path_of(lines: list[str], step: str) -> tuple[bytes, ...]:
    """Hashes of a proof, a line each; `ProtocolError` if they are none or too many."""
    path = tuple(decoded(line, step, "proof") for line in lines)
    if len(path) > PATH_MOST or any(len(one) != HASH_BYTES for one in path):
        raise ProtocolError(step, f"must be at most {PATH_MOST} hashes of {HASH_BYTES} bytes", "proof")
    return path


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
