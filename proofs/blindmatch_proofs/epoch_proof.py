"""What shows a device that everybody is given the epoch that it is given.

    pinned: policy, origin            beside the set-up: leaf, tlog-proof, consistency from what was seen last
      the curator signed the leaf; it has the manifest, and the key
      that reports are sealed to                                    -->  `verify_leaf`
      a quorum says freshly that the log ends with this leaf        -->  `verify_logged`
      the log continues every checkpoint that was seen before       -->  `verify_continues`

The log ends with the newest epoch, so that an older one whose proof was renewed is refused, too: whoever
holds a newer one back must do so with checkpoints that get old. What is left to trust: that no quorum of
witnesses cosigns two logs, which gossip finds out (split_view.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.messages.content import CHECKPOINT_MOST
from blindmatch_protocol.messages.epoch_manifest import EpochManifest
from msgspec import Struct

from blindmatch_proofs.checkpoint import Checkpoint
from blindmatch_proofs.epoch_leaf import EpochLeaf
from blindmatch_proofs.merkle import HASH_BYTES, verify_consistency
from blindmatch_proofs.signed_note import SIGNATURE_SIZES, Note, NoteSignature
from blindmatch_proofs.tlog_policy import STEP, Accepted, Policy
from blindmatch_proofs.tlog_proof import TlogProof
from blindmatch_proofs.verdict import Failed, Passed, Verdict

DAY_S: Final = 86_400


class EpochPolicy(Struct, frozen=True):
    """What a device pins.

    Attributes:
        policy: whose word a checkpoint needs; its one log is the epochs' of the device's design.
        most_age_s: how old a cosignature may be when an epoch is looked at.

    Raises:
        ProtocolError: if the policy has not one log, or its signatures are too long for a message.
    """

    policy: Policy
    most_age_s: int = DAY_S

    def __post_init__(self) -> None:
        if len(self.policy.logs) != 1:
            raise ProtocolError(STEP, "must have one log, that of the design's epochs", "log")
        head = Checkpoint(self.origin, (1 << 63) - 1, bytes(HASH_BYTES))
        keys = (*self.policy.logs.values(), *self.policy.witnesses.values())
        lines = (NoteSignature(key.name, key.id, bytes(SIGNATURE_SIZES[key.kind])) for key in keys)
        if (most := len(Note(head.text, tuple(lines)).encode())) > CHECKPOINT_MOST:
            rule = f"must sign in {CHECKPOINT_MOST} bytes, which a message bears to a peer, not in {most}"
            raise ProtocolError(STEP, rule, "witness")

    @property
    def origin(self) -> str:
        """Of the log."""
        return next(iter(self.policy.logs))

    def is_due(self, proof: TlogProof, now: int) -> bool:
        """Is a proof to be cosigned anew: at `now`, Unix seconds, has it half the age that it may have?"""
        accepted = self.policy.accept(proof.note, now + self.most_age_s // 2, self.most_age_s)
        return isinstance(accepted, Failed)


def verify_leaf(
    leaf: EpochLeaf, manifest: EpochManifest, curator: bytes, sealing_key: bytes | None
) -> Verdict:
    """Whether a leaf is the curator's of this manifest, and names the device's sealing key, if it has one."""
    if leaf.manifest != manifest:
        return Failed("the leaf must be of the epoch's manifest")
    if sealing_key is not None and leaf.sealing_key != sealing_key:
        return Failed("the leaf must name the centre's sealing key that this device has")
    return leaf.verify(curator)


def verify_origin(head: Checkpoint, design: str) -> Verdict:
    """Whether a checkpoint is of a log of this design's epochs, by the name of its origin."""
    if not head.origin.endswith(f"/epochs/{design}"):
        return Failed(f"{head.origin} is no log of the epochs of {design}")
    return Passed()


def verify_logged(leaf: EpochLeaf, proof: TlogProof, policy: EpochPolicy, now: int) -> Accepted | Failed:
    """Whether a quorum says, freshly at `now` in Unix seconds, that the log ends with `leaf`."""
    accepted = policy.policy.accept(proof.note, now, policy.most_age_s)
    if isinstance(accepted, Failed):
        return accepted
    epoch = leaf.manifest.epoch
    if proof.index != leaf.index:
        return Failed(f"epoch {epoch} must be leaf {leaf.index}, not {proof.index}")
    match proof.verify(leaf.encode()):
        case Failed() as wrong:
            return wrong
    if accepted.head.size != epoch:
        return Failed(f"epoch {accepted.head.size} is logged, and epoch {epoch} must be the newest")
    return accepted


def verify_continues(head: Checkpoint, seen: Checkpoint, path: Sequence[bytes]) -> Verdict:
    """Whether the log at `head` continues what it was when `seen` was signed."""
    if head.origin != seen.origin:
        return Failed(f"{head.origin} is another log than {seen.origin}")
    if head.size < seen.size:
        return Failed(f"the log has {head.size} leaves, and had {seen.size} before")
    return verify_consistency(seen.size, head.size, path, seen.root, head.root)
