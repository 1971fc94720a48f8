"""A witness's one call, and what it does with it (c2sp.org/tlog-witness, "add-checkpoint").

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

from blindmatch_proofs.checkpoint import Checkpoint
from blindmatch_proofs.cosignature import verify_signature
from blindmatch_proofs.merkle import EMPTY_ROOT, HASH_BYTES, PATH_MOST, verify_consistency
from blindmatch_proofs.signed_note import NOTE_MOST, Note, VerifierKey, decimal, decoded, encoded
from blindmatch_proofs.verdict import Failed

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
    if all(verify_signature(key, one, request.note.text) is None for one in request.note.signatures):
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
