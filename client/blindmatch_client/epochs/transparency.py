"""What a device knows of the log of its epochs: the checkpoints it took, and those that others told it of.

    Describe: leaf, proof, consistency --> in the log, newest, cosigned, continues all that was seen --> taken
    a message of a peer: a checkpoint that the log signed --> of a size that is known: the same root, or a
                                                split view; else, if a quorum cosigned it, it is held until
                                                the log continues it, or the user says to go on

What no quorum cosigned is no device's epoch, and stops none. Sans-IO: what is to be kept is returned.
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
    """What is offered is not shown to be what everybody is offered, or contradicts what was seen.

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
    """Checkpoints of one log, as they were signed, in the order they came; those heard with the peer; and the
    texts of those that were heard before the user said to go on."""

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

    def took(self, epoch: int) -> bool:
        """Whether an adopted epoch was seen in the log; without a policy nothing needs to be."""
        return self.policy is None or (bool(self.seen.taken) and _head(self.seen.taken[-1]).size == epoch)

    def sizes(self) -> list[int]:
        """What to ask about: the log must be seen to continue each."""
        return [_head(one).size for one in (*self.seen.taken[-1:], *self._heard)]

    def check(self, signed: SignedManifest, described: pb.Description, now: int) -> Seen:
        """Hold what is offered against the policy and all that was seen, at `now` in Unix seconds; what is to
        be kept once the epoch is adopted; `UnloggedError` if it must not be."""
        if self.policy is None:
            return self.seen
        try:
            leaf = EpochLeaf.decode(described.leaf)
            proof = TlogProof.parse(described.proof)
        except ProtocolError as error:
            raise UnloggedError(f"no proof that everybody is offered it: {error}", signed.encode()) from None
        _expect(verify_leaf(leaf, signed.manifest, self.curator, self.sealing_key), described.leaf)
        found = verify_logged(leaf, proof, self.policy, now)
        if isinstance(found, Failed):
            raise UnloggedError(found.reason, described.proof)
        paths = {one.tree_size: tuple(one.path) for one in described.consistency}
        keys = (self._log, *self.policy.policy.witnesses.values())
        # without lines of other keys, which a host can add to fill the device's store
        own = tuple(one for one in proof.note.signatures if any(map(one.is_by, keys)))
        note = replace(proof.note, signatures=own).encode()
        for seen in (*self.seen.taken[-1:], *self._heard):
            path = paths.get(_head(seen).size, ())
            withheld = found.head.size < _head(seen).size
            # a longer log shows no second history: a newer epoch is held back, or its host is behind
            _expect(_continues(found.head, _head(seen), path), note, *((b"", seen) if withheld else (seen,)))
        before = self.seen.taken
        if before and _head(before[-1]).size == found.head.size:
            before = before[:-1]
        return replace(self.seen, taken=(*before, note)[-TAKEN_MOST:], heard=())

    def choose_checkpoint(self) -> bytes:
        """The newest checkpoint, under the signatures of the log and a quorum; empty: none."""
        told = self.cosigned(Note.parse(self.seen.taken[-1])) if self.policy and self.seen.taken else None
        return b"" if told is None else told.encode()

    def is_split(self, error: UnloggedError) -> bool:
        """Whether what was refused shows two histories to anyone; of two sizes it does not by itself."""
        if self.policy is None or not error.held:
            return False
        return evidence_file(self.policy, error.shown, error.held).verify(self._log) == Passed()

    def hear(self, peer: str, raw: bytes) -> tuple[Seen, SplitView | None]:
        """Take note of a checkpoint that a message of `peer` bears: what is to be kept then, and evidence, if
        it is of a second history. What the log did not sign is passed over, since a peer can write whatever
        it likes; what no quorum cosigned, or was held when the user said to go on, is not held."""
        note = self._signed(raw) if raw and self.policy is not None else None
        if note is None:
            return self.seen, None
        head = Checkpoint.from_note(note)
        for known in (*self.seen.taken, *self._heard):
            if _head(known).size == head.size:
                same = _head(known).root == head.root
                return self.seen, None if same else SplitView(self._log, (View(known), View(raw)))
        told = self.cosigned(note)
        if told is None or note.text in self.seen.dismissed:
            return self.seen, None
        return replace(self.seen, heard=_bounded((*self.seen.heard, (peer, told.encode())))), None

    def forgive(self) -> Seen:
        """What is to be kept so that the log is held against nothing more that peers told of, nor when they
        tell of it again."""
        dismissed = (*self.seen.dismissed, *(Note.parse(one).text for one in self._heard))
        return replace(self.seen, heard=(), dismissed=dismissed[-TAKEN_MOST:])

    def stops(self, note: Note) -> bool:
        """Whether a checkpoint that the log signed may stop this device: a quorum cosigned it, and it was not
        held when the user said to go on."""
        return note.text not in self.seen.dismissed and self.cosigned(note) is not None

    def cosigned(self, note: Note) -> Note | None:
        """A checkpoint under the signatures of the log and a quorum, of whatever time, without another line;
        None if it has none."""
        assert self.policy is not None
        policy = self.policy.policy
        own = find_signature(self._log, note)
        made = {name: line for name, key in policy.witnesses.items() if (line := find_signature(key, note))}
        for name in tuple(made):
            if policy.is_quorum(made.keys() - {name}):
                del made[name]
        return Note(note.text, (own, *made.values())) if own and policy.is_quorum(made) else None

    @property
    def _heard(self) -> tuple[bytes, ...]:
        return tuple(raw for _, raw in self.seen.heard)

    @property
    def _log(self) -> VerifierKey:
        assert self.policy is not None
        return self.policy.policy.logs[self.policy.origin]

    def _signed(self, raw: bytes) -> Note | None:
        try:
            note = Note.parse(raw)
            head = Checkpoint.from_note(note)
        except ProtocolError:
            return None
        log = self._log
        return note if find_signature(log, note) and head.origin == log.name and head.size else None


def evidence_file(policy: EpochPolicy, shown: bytes, held: bytes) -> SplitView:
    """Two checkpoints that contradict one another, for others to verify."""
    return SplitView(policy.policy.logs[policy.origin], (View(held), View(shown)))


def _bounded(heard: tuple[tuple[str, bytes], ...]) -> tuple[tuple[str, bytes], ...]:
    """At most `HEARD_MOST`: the oldest of the peer that has most goes first, so that none pushes out all."""
    while len(heard) > HEARD_MOST:
        counts = Counter(peer for peer, _ in heard)
        at = next(at for at, (peer, _) in enumerate(heard) if counts[peer] == max(counts.values()))
        heard = heard[:at] + heard[at + 1 :]
    return heard


def _continues(head: Checkpoint, seen: Checkpoint, path: tuple[bytes, ...]) -> Verdict:
    """Whether continuity is shown; where it is not, the host may only have withheld the path."""
    found = verify_continues(head, seen, path)
    if isinstance(found, Failed) and head.size > seen.size:
        return Failed(f"it is not shown that the log of {head.size} leaves continues the one of {seen.size}")
    return found


@lru_cache(2 * TAKEN_MOST)
def _head(raw: bytes) -> Checkpoint:
    """The checkpoint of a note that was checked before it was kept."""
    return Checkpoint.from_note(Note.parse(raw))


def _expect(verdict: Verdict, shown: bytes, *contradicted: bytes) -> None:
    match verdict:
        case Failed(reason):
            raise UnloggedError(reason, shown, *contradicted)
