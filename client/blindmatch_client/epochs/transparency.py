"""A device's view of the log of its epochs: the checkpoints it took, and those that peers sent.

    Describe: leaf, proof, consistency --> in the log, newest, cosigned, continues all that was seen --> taken
    a message of a peer: a checkpoint that the log signed --> of a size that is known: the same root, or a
                                                split view; else, if a quorum cosigned it, it is held until
                                                the log continues it, or the user says to go on

A checkpoint that no quorum cosigned is no device's epoch, and stops none. Sans-IO: what must be kept is
returned.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Final

from blindmatch_proofs.checkpoint import Checkpoint, Note, VerifierKey, find_signature
from blindmatch_proofs.epoch import (
    EpochLeaf,
    EpochPolicy,
    SplitView,
    View,
    verify_continues,
    verify_leaf,
    verify_logged,
)
from blindmatch_proofs.tlog import TlogProof
from blindmatch_proofs.verdict import Failed, Passed, Verdict
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.messages.epoch_manifest import SignedManifest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec import Struct
from msgspec.structs import replace

TAKEN_MOST: Final = 256
"""Checkpoints that are kept of epochs that were adopted, the newest ones."""
HEARD_MOST: Final = 15
"""Checkpoints of others that are held until the log is seen to continue them; a question has 16 at most."""


class UnloggedError(BlindmatchError):
    """An offered epoch is not proved to be what everybody is offered, or contradicts what was seen.

    Attributes:
        shown: what was offered, as it came.
        held: the checkpoint that it contradicts; empty if there is none.
        longer: the one that it does not reach; empty if there is none.
    """

    def __init__(self, reason: str, shown: bytes, held: bytes = b"", longer: bytes = b"") -> None:
        super().__init__(reason)
        self.shown = shown
        self.held = held
        self.longer = longer


class Seen(Struct, frozen=True):
    """Checkpoints of one log, as they were signed, in the order they came.

    Attributes:
        taken: of epochs that were adopted.
        heard: from peers, each with the peer's name, that the log must still be seen to continue.
        dismissed: texts of those that were heard before the user said to go on.
    """

    taken: tuple[bytes, ...] = ()
    heard: tuple[tuple[str, bytes], ...] = ()
    dismissed: tuple[str, ...] = ()


class LogView(Redacted, Struct, frozen=True):
    """The log of one design's epochs, as one device sees it.

    Attributes:
        policy: what the device pins; None: nothing is checked.
        sealing_key: the centre's, if the device has one.
        seen: what was kept of it.
    """

    policy: EpochPolicy | None
    curator: bytes
    sealing_key: bytes | None
    seen: Seen = Seen()

    def is_logged(self, epoch: int) -> bool:
        """Tell if an adopted epoch was seen in the log; without a policy none needs to be."""
        return self.policy is None or (
            bool(self.seen.taken) and _parse_head(self.seen.taken[-1]).size == epoch
        )

    def list_sizes(self) -> list[int]:
        """List the sizes to ask about: the log must be seen to continue the checkpoint of each."""
        return [_parse_head(raw).size for raw in (*self.seen.taken[-1:], *self._heard)]

    def check(self, signed: SignedManifest, described: pb.Description, now: int) -> Seen:
        """Check an offered epoch against the policy and all that was seen, at `now` in Unix seconds.

        Returns:
            What to keep of the log once the epoch is adopted.

        Raises:
            UnloggedError: The epoch must not be adopted.
        """
        if self.policy is None:
            return self.seen
        try:
            leaf = EpochLeaf.decode(described.leaf)
            proof = TlogProof.parse(described.proof)
        except ProtocolError as error:
            raise UnloggedError(f"no proof that everybody is offered it: {error}", signed.encode()) from None
        _expect(verify_leaf(leaf, signed.manifest, self.curator, self.sealing_key), described.leaf)
        accepted = verify_logged(leaf, proof, self.policy, now)
        if isinstance(accepted, Failed):
            raise UnloggedError(accepted.reason, described.proof)
        paths = {consistency.tree_size: tuple(consistency.path) for consistency in described.consistency}
        keys = (self._log, *self.policy.policy.witnesses.values())
        # without lines of other keys, which a host can add to fill the device's store
        own = tuple(line for line in proof.note.signatures if any(map(line.is_by, keys)))
        note = replace(proof.note, signatures=own).encode()
        for seen in (*self.seen.taken[-1:], *self._heard):
            head = _parse_head(seen)
            verdict = _verify_continuity(accepted.head, head, paths.get(head.size, ()))
            # a longer log shows no second history: a newer epoch is held back, or its host is behind
            is_withheld = accepted.head.size < head.size
            _expect(verdict, note, *((b"", seen) if is_withheld else (seen,)))
        before = self.seen.taken
        if before and _parse_head(before[-1]).size == accepted.head.size:
            before = before[:-1]
        return replace(self.seen, taken=(*before, note)[-TAKEN_MOST:], heard=())

    def choose_checkpoint(self) -> bytes:
        """Return the newest checkpoint, with the signatures of the log and a quorum; empty: none."""
        if not self.policy or not self.seen.taken:
            return b""
        newest = self.select_signatures(Note.parse(self.seen.taken[-1]))
        return b"" if newest is None else newest.encode()

    def is_split(self, error: UnloggedError) -> bool:
        """Tell if a refusal proves two histories to anyone; checkpoints of two sizes do not by themselves."""
        if self.policy is None or not error.held:
            return False
        return build_split_view(self.policy, error.shown, error.held).verify(self._log) == Passed()

    def hear(self, peer: str, raw: bytes) -> tuple[Seen, SplitView | None]:
        """Compare a checkpoint that a message from `peer` bears with what was seen.

        A checkpoint that the log did not sign is ignored, since a peer can write anything. One that no quorum
        cosigned, or that was held when the user said to go on, is not held.

        Returns:
            What to keep of the log, and evidence if the checkpoint is of a second history.
        """
        note = self._open_signed(raw) if raw and self.policy is not None else None
        if note is None:
            return self.seen, None
        head = Checkpoint.from_note(note)
        for known in (*self.seen.taken, *self._heard):
            if _parse_head(known).size == head.size:
                is_same = _parse_head(known).root == head.root
                return self.seen, None if is_same else SplitView(self._log, (View(known), View(raw)))
        cosigned = self.select_signatures(note)
        if cosigned is None or note.text in self.seen.dismissed:
            return self.seen, None
        return replace(self.seen, heard=_bound_heard((*self.seen.heard, (peer, cosigned.encode())))), None

    def forgive(self) -> Seen:
        """Dismiss all checkpoints from peers, also if peers send them again; return what to keep."""
        dismissed = (*self.seen.dismissed, *(Note.parse(raw).text for raw in self._heard))
        return replace(self.seen, heard=(), dismissed=dismissed[-TAKEN_MOST:])

    def can_stop(self, note: Note) -> bool:
        """Tell if a checkpoint that the log signed may stop this device.

        It may if a quorum cosigned it, and it was not held when the user said to go on.
        """
        return note.text not in self.seen.dismissed and self.select_signatures(note) is not None

    def select_signatures(self, note: Note) -> Note | None:
        """Reduce a checkpoint's signatures to those of the log and a smallest quorum, of any time.

        Returns:
            The checkpoint with these signatures alone; None if the log or a quorum has not signed it.
        """
        assert self.policy is not None
        policy = self.policy.policy
        own = find_signature(self._log, note)
        lines = {name: line for name, key in policy.witnesses.items() if (line := find_signature(key, note))}
        for name in tuple(lines):
            if policy.is_quorum(lines.keys() - {name}):
                del lines[name]
        return Note(note.text, (own, *lines.values())) if own and policy.is_quorum(lines) else None

    @property
    def _heard(self) -> tuple[bytes, ...]:
        return tuple(raw for _, raw in self.seen.heard)

    @property
    def _log(self) -> VerifierKey:
        assert self.policy is not None
        return self.policy.policy.logs[self.policy.origin]

    def _open_signed(self, raw: bytes) -> Note | None:
        """Read a checkpoint; None if it is malformed, empty, or not signed by the log."""
        try:
            note = Note.parse(raw)
            head = Checkpoint.from_note(note)
        except ProtocolError:
            return None
        log = self._log
        return note if find_signature(log, note) and head.origin == log.name and head.size else None


def build_split_view(policy: EpochPolicy, shown: bytes, held: bytes) -> SplitView:
    """Build the evidence, for others to verify, of two checkpoints that contradict one another."""
    return SplitView(policy.policy.logs[policy.origin], (View(held), View(shown)))


def _bound_heard(heard: tuple[tuple[str, bytes], ...]) -> tuple[tuple[str, bytes], ...]:
    """Keep at most `HEARD_MOST`.

    The oldest of the peer that has most is dropped first, so that no peer can push out those of all others.
    """
    while len(heard) > HEARD_MOST:
        counts = Counter(peer for peer, _ in heard)
        most = max(counts.values())
        oldest = next(index for index, (peer, _) in enumerate(heard) if counts[peer] == most)
        heard = heard[:oldest] + heard[oldest + 1 :]
    return heard


def _verify_continuity(head: Checkpoint, seen: Checkpoint, path: tuple[bytes, ...]) -> Verdict:
    """Verify that the log continues `seen`; a failure may also mean that the host withheld the path."""
    verdict = verify_continues(head, seen, path)
    if isinstance(verdict, Failed) and head.size > seen.size:
        return Failed(f"it is not shown that the log of {head.size} leaves continues the one of {seen.size}")
    return verdict


@lru_cache(2 * TAKEN_MOST)
def _parse_head(raw: bytes) -> Checkpoint:
    """Read the checkpoint of a note that was verified before it was kept."""
    return Checkpoint.from_note(Note.parse(raw))


def _expect(verdict: Verdict, shown: bytes, *contradicted: bytes) -> None:
    match verdict:
        case Failed(reason):
            raise UnloggedError(reason, shown, *contradicted)
