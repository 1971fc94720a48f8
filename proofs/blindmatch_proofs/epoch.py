"""What is verified of an epoch: its manifest, its leaf in the log, and that everybody is given the same one.

      the curator signed the leaf; it has the manifest, and the key
      that reports are sealed to                                    -->  `verify_leaf`
      a quorum says freshly that the log ends with this leaf        -->  `verify_logged`
      the log continues every checkpoint that was seen before       -->  `verify_continues`

Since the curator signs all of a leaf, nobody else can put another one at the epoch's index. The log ends with
the newest epoch, so that an older one whose proof was renewed is refused, too. What is left to trust: that no
quorum of witnesses cosigns two logs, which gossip finds out (`SplitView`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from blindmatch_protocol.codec import Fixed, Message, Nested, Variable
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import Stated
from blindmatch_protocol.crypto.ed25519 import is_signature
from blindmatch_protocol.messages.content import CHECKPOINT_MOST
from blindmatch_protocol.messages.epoch_manifest import (
    SIGNATURE_BYTES,
    EpochManifest,
    SignedManifest,
    signed_bytes,
)
from msgspec import Struct
from msgspec.structs import replace
from nacl.signing import SigningKey

from blindmatch_proofs.checkpoint import (
    SIGNATURE_SIZES,
    Checkpoint,
    Note,
    NoteSignature,
    VerifierKey,
    decoded,
    encoded,
    signature_by,
)
from blindmatch_proofs.merkle import HASH_BYTES, verify_consistency
from blindmatch_proofs.tlog import HEADER, STEP, Accepted, Policy, TlogProof
from blindmatch_proofs.verdict import Failed, Passed, Verdict


def verify_signature(signed: SignedManifest, curator: bytes) -> Verdict:
    """Whether the key `curator`, Ed25519, 32 bytes, signed this manifest."""
    return verify_curator("the manifest", signed_bytes(signed.manifest), signed.signature, curator)


def verify_curator(what: str, signed: bytes, signature: bytes, curator: bytes) -> Verdict:
    """Whether the key `curator` signed the bytes that stand for `what`."""
    if is_signature(curator, signed, signature):
        return Passed()
    return Failed(f"{what} must be signed by the curator's key")


def verify_not_older(manifest: EpochManifest, highest: int) -> Verdict:
    """Whether the epoch is not below the `highest` that was ever adopted."""
    if manifest.epoch < highest:
        return Failed(f"epoch {manifest.epoch} is older than epoch {highest}, which was adopted before")
    return Passed()


def verify_consistent(manifest: EpochManifest, held: Mapping[int, bytes]) -> Verdict:
    """Whether the manifest fits the digests of those `held`, by epoch: two that do not are a fork. One whose
    predecessor is not held can be held against nothing."""
    epoch = manifest.epoch
    before = manifest.predecessor_epoch
    if held.get(epoch, manifest.digest) != manifest.digest:
        return Failed(f"the curator's key signed two manifests of epoch {epoch}")
    if held.get(before, manifest.predecessor) != manifest.predecessor:
        return Failed(f"epoch {epoch} continues another epoch {before} than the one adopted here")
    skipped = [one for one in held if before < one < epoch]
    if skipped:
        return Failed(f"epoch {epoch} continues epoch {before}, past epoch {max(skipped)} adopted here")
    return Passed()


def verify_begun(manifest: EpochManifest, now: int) -> Verdict:
    """Whether the manifest holds already at `now`, Unix time in seconds; its end is a matter of use."""
    if now < manifest.valid_from:
        return Failed(f"epoch {manifest.epoch} is valid only from Unix time {manifest.valid_from} on")
    return Passed()


def verify_stated(manifest: EpochManifest, stated: Stated) -> Verdict:
    """Whether the files of the epoch, opened, say the same parameters, keys and entries as the manifest."""
    if stated.entries not in (None, manifest.entries):
        return Failed(f"the files hold {stated.entries} entries, and the manifest says {manifest.entries}")
    parameters = {one.name: one.value for one in manifest.parameters}
    for name, value in stated.parameters.items():
        if parameters.get(name) != value:
            return Failed(f"the files have another value of parameter {name} than the manifest")
    if {one.role: one.key for one in manifest.role_keys} != dict(stated.role_keys):
        return Failed("the files have other keys of roles than the manifest")
    return Passed()


SIGNATURE_TAG: Final = b"blindmatch/epoch-leaf/signature/v1"
ROOT_BYTES: Final = 32
SEALING_KEY_BYTES: Final = 32
"""X25519 (RFC 7748, section 5)."""
POLICY_MOST: Final = 16 << 10
"""Every bound above reached at once is less than a log entry may have (`merkle.ENTRY_MOST`)."""
NO_ROOT: Final = bytes(ROOT_BYTES)
NO_SEALING_KEY: Final = bytes(SEALING_KEY_BYTES)


@dataclass(frozen=True, slots=True)
class Endorsement:
    """What the entries of an epoch are endorsed by.

    Attributes:
        root: 32 bytes that bind the endorsements of all entries; zeros: not endorsed.
        policy: who may endorse, and how many must, encoded; empty if nothing is endorsed.
        table: the file of endorsements that stands beside the set (`endorsement.table`); no part of the leaf.
    """

    root: bytes = NO_ROOT
    policy: bytes = b""
    table: bytes = field(default=b"", repr=False, compare=False)


NOT_ENDORSED: Final = Endorsement()


class EpochLeaf(Message, tag=0x1E, name="epoch-leaf"):
    """An epoch as the log holds it, version 2, at index epoch - 1; at most 65,535 bytes."""

    manifest: Annotated[EpochManifest, Nested(EpochManifest)]
    endorsement_root: Annotated[bytes, Fixed(ROOT_BYTES)]
    """Binds the endorsements of all entries; zeros: they are not endorsed."""
    endorsement_policy: Annotated[bytes, Variable(POLICY_MOST)]
    """An encoded 0x23; empty exactly if the root is zeros."""
    sealing_key: Annotated[bytes, Fixed(SEALING_KEY_BYTES)]
    """X25519 key that reports are sealed to; zeros: the epoch names none."""
    signature: Annotated[bytes, Fixed(SIGNATURE_BYTES)]
    """The curator's, Ed25519, over a tag and all bytes before it."""

    def check(self) -> None:
        """There is a policy exactly if there is a root."""
        if (self.endorsement_root == NO_ROOT) != (not self.endorsement_policy):
            raise ProtocolError(self.NAME, "is empty exactly if the root is zeros", "endorsement_policy")

    @property
    def index(self) -> int:
        """Where the log of the design's epochs holds it."""
        return self.manifest.epoch - 1

    @property
    def endorsement(self) -> Endorsement:
        """What the entries are endorsed by."""
        return Endorsement(self.endorsement_root, self.endorsement_policy)

    @property
    def signed_bytes(self) -> bytes:
        """What the signature covers."""
        return SIGNATURE_TAG + self.encode()[:-SIGNATURE_BYTES]

    def verify(self, curator: bytes) -> Verdict:
        """Whether the key `curator`, Ed25519, 32 bytes, signed this leaf."""
        return verify_curator("the epoch's leaf", self.signed_bytes, self.signature, curator)


def leaf_of(
    manifest: EpochManifest, endorsement: Endorsement, sealing_key: bytes, key: SigningKey
) -> EpochLeaf:
    """The leaf of an epoch with its signature, which is the same each time (RFC 8032, section 5.1.6);
    `ProtocolError` if a root has no policy, a policy no root, or a field breaks its rule."""
    leaf = EpochLeaf(manifest, endorsement.root, endorsement.policy, sealing_key, bytes(SIGNATURE_BYTES))
    leaf.check()
    return replace(leaf, signature=key.sign(leaf.signed_bytes).signature)


DAY_S: Final = 86_400


class EpochPolicy(Struct, frozen=True):
    """What a device pins; `ProtocolError` if the policy has not one log, or its signatures are too long for a
    message.

    Attributes:
        policy: whose word a checkpoint needs; its one log is the epochs' of the device's design.
        most_age_s: how old a cosignature may be when an epoch is looked at.
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


_SPLIT: Final = "split view"
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
            raise ProtocolError(_SPLIT, f"must be a JSON object of format {FORMAT}") from error
        if kind != (FORMAT, VERSION) or len(views) != 2:
            raise ProtocolError(_SPLIT, f"must be two views, version {VERSION}")
        first, second = (View(shown, decoded(leaf, _SPLIT, "leaf")) for shown, leaf in views)
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
        """Those of `witnesses` that cosigned both histories; `ProtocolError` if a view is malformed. A
        signature that does not verify is nobody's: whoever showed a view may have put it there."""
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
        leaf = EpochLeaf.decode(view.leaf)
        proof = view.proof
    except ProtocolError:
        return False
    if proof is None or proof.index != leaf.index:
        return False
    return verify_origin(proof.head, leaf.manifest.design) == leaf.verify(curator) == Passed()
