"""Verification of an epoch: its manifest, its leaf in the log, and that everybody is given the same one.

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
    decode_base64,
    encode_base64,
    find_signature,
)
from blindmatch_proofs.merkle import HASH_BYTES, verify_consistency
from blindmatch_proofs.tlog import HEADER, STEP, Accepted, Policy, TlogProof
from blindmatch_proofs.verdict import Failed, Passed, Verdict


def verify_signature(signed: SignedManifest, curator: bytes) -> Verdict:
    """Verify that the key `curator`, Ed25519, 32 bytes, signed this manifest."""
    return verify_curator("the manifest", signed_bytes(signed.manifest), signed.signature, curator)


def verify_curator(what: str, signed: bytes, signature: bytes, curator: bytes) -> Verdict:
    """Verify that the key `curator` signed the bytes that stand for `what`."""
    if is_signature(curator, signed, signature):
        return Passed()
    return Failed(f"{what} must be signed by the curator's key")


def verify_not_older(manifest: EpochManifest, highest: int) -> Verdict:
    """Verify that the epoch is not below the `highest` that was ever adopted."""
    if manifest.epoch < highest:
        return Failed(f"epoch {manifest.epoch} is older than epoch {highest}, which was adopted before")
    return Passed()


def verify_consistent(manifest: EpochManifest, held: Mapping[int, bytes]) -> Verdict:
    """Verify that the manifest fits those that the device holds; two that do not fit are a fork.

    A manifest whose predecessor is not held has nothing to be compared with, and passes.

    Args:
        held: Digests of the manifests that were adopted, by epoch.
    """
    epoch = manifest.epoch
    before = manifest.predecessor_epoch
    if held.get(epoch, manifest.digest) != manifest.digest:
        return Failed(f"the curator's key signed two manifests of epoch {epoch}")
    if held.get(before, manifest.predecessor) != manifest.predecessor:
        return Failed(f"epoch {epoch} continues another epoch {before} than the one adopted here")
    skipped = [adopted for adopted in held if before < adopted < epoch]
    if skipped:
        return Failed(f"epoch {epoch} continues epoch {before}, past epoch {max(skipped)} adopted here")
    return Passed()


def verify_begun(manifest: EpochManifest, now: int) -> Verdict:
    """Verify that the manifest is valid already at `now`, Unix seconds; users of an epoch check its end."""
    if now < manifest.valid_from:
        return Failed(f"epoch {manifest.epoch} is valid only from Unix time {manifest.valid_from} on")
    return Passed()


def verify_stated(manifest: EpochManifest, stated: Stated) -> Verdict:
    """Verify that the opened files of the epoch state the manifest's parameters, keys and entries."""
    if stated.entries not in (None, manifest.entries):
        return Failed(f"the files hold {stated.entries} entries, and the manifest says {manifest.entries}")
    parameters = {parameter.name: parameter.value for parameter in manifest.parameters}
    for name, value in stated.parameters.items():
        if parameters.get(name) != value:
            return Failed(f"the files have another value of parameter {name} than the manifest")
    if {role_key.role: role_key.key for role_key in manifest.role_keys} != dict(stated.role_keys):
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
    """The endorsement of an epoch's entries.

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
        """Check that there is a policy exactly if there is a root."""
        if (self.endorsement_root == NO_ROOT) != (not self.endorsement_policy):
            raise ProtocolError(self.NAME, "is empty exactly if the root is zeros", "endorsement_policy")

    @property
    def index(self) -> int:
        """Return the leaf's index in the log of the design's epochs."""
        return self.manifest.epoch - 1

    @property
    def endorsement(self) -> Endorsement:
        """Return the endorsement of the entries."""
        return Endorsement(self.endorsement_root, self.endorsement_policy)

    @property
    def signed_bytes(self) -> bytes:
        """Return the bytes that the signature covers."""
        return SIGNATURE_TAG + self.encode()[:-SIGNATURE_BYTES]

    def verify(self, curator: bytes) -> Verdict:
        """Verify that the key `curator`, Ed25519, 32 bytes, signed this leaf."""
        return verify_curator("the epoch's leaf", self.signed_bytes, self.signature, curator)


def sign_leaf(
    manifest: EpochManifest, endorsement: Endorsement, sealing_key: bytes, key: SigningKey
) -> EpochLeaf:
    """Build and sign the leaf of an epoch; the signature is deterministic (RFC 8032, section 5.1.6).

    Raises:
        ProtocolError: A root has no policy, a policy no root, or a field breaks its rule.
    """
    leaf = EpochLeaf(manifest, endorsement.root, endorsement.policy, sealing_key, bytes(SIGNATURE_BYTES))
    leaf.check()
    return replace(leaf, signature=key.sign(leaf.signed_bytes).signature)


DAY_S: Final = 86_400


class EpochPolicy(Struct, frozen=True):
    """The policy that a device pins; `ProtocolError` if it has not one log, or its signatures are too long
    for a message.

    Attributes:
        policy: the log and the witnesses that must sign a checkpoint; its one log is that of the epochs of
            the device's design.
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
        """Return the origin of the one log."""
        return next(iter(self.policy.logs))

    def is_due(self, proof: TlogProof, now: int) -> bool:
        """Tell if a proof must be cosigned anew: it has half its greatest age at `now`, Unix seconds."""
        accepted = self.policy.accept(proof.note, now + self.most_age_s // 2, self.most_age_s)
        return isinstance(accepted, Failed)


def verify_leaf(
    leaf: EpochLeaf, manifest: EpochManifest, curator: bytes, sealing_key: bytes | None
) -> Verdict:
    """Verify that a leaf is the curator's of this manifest, and names the sealing key that the device has."""
    if leaf.manifest != manifest:
        return Failed("the leaf must be of the epoch's manifest")
    if sealing_key is not None and leaf.sealing_key != sealing_key:
        return Failed("the leaf must name the centre's sealing key that this device has")
    return leaf.verify(curator)


def verify_origin(head: Checkpoint, design: str) -> Verdict:
    """Verify by its origin that a checkpoint is of a log of this design's epochs."""
    if not head.origin.endswith(f"/epochs/{design}"):
        return Failed(f"{head.origin} is no log of the epochs of {design}")
    return Passed()


def verify_logged(leaf: EpochLeaf, proof: TlogProof, policy: EpochPolicy, now: int) -> Accepted | Failed:
    """Verify that a quorum says, freshly at `now` in Unix seconds, that the log ends with `leaf`."""
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
    """Verify that the log at `head` continues what it was when `seen` was signed."""
    if head.origin != seen.origin:
        return Failed(f"{head.origin} is another log than {seen.origin}")
    if head.size < seen.size:
        return Failed(f"the log has {head.size} leaves, and had {seen.size} before")
    return verify_consistency(seen.size, head.size, path, seen.root, head.root)


_SPLIT: Final = "split view"
FORMAT: Final = "blindmatch-split-view"
VERSION: Final = 2


class View(Struct, frozen=True):
    """A checkpoint that one party was shown, or the proof of a leaf with the leaf."""

    shown: bytes
    leaf: bytes = b""

    @property
    def proof(self) -> TlogProof | None:
        """Return the proof, or None if a checkpoint was shown; `ProtocolError` if it is malformed."""
        return TlogProof.parse(self.shown) if self.shown.startswith(HEADER.encode()) else None

    @property
    def note(self) -> Note:
        """Return the checkpoint as a note; `ProtocolError` if there is none."""
        proof = self.proof
        return Note.parse(self.shown) if proof is None else proof.note


class SplitView(Struct, frozen=True):
    """Two views of one log, which `log` is the key of."""

    log: VerifierKey
    views: tuple[View, View]

    def encode(self) -> bytes:
        """Return the JSON file of the evidence."""
        views = [{"shown": view.shown.decode(), "leaf": encode_base64(view.leaf)} for view in self.views]
        document = {"format": FORMAT, "version": VERSION, "log": self.log.text, "views": views}
        return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()

    @classmethod
    def parse(cls, raw: bytes) -> SplitView:
        """Read the file that `encode` wrote; `ProtocolError` for anything else."""
        try:
            document: dict[str, Any] = json.loads(raw)
            kind = (document["format"], document["version"])
            log = str(document["log"])
            views = [(str(view["shown"]).encode(), str(view["leaf"])) for view in document["views"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ProtocolError(_SPLIT, f"must be a JSON object of format {FORMAT}") from error
        if kind != (FORMAT, VERSION) or len(views) != 2:
            raise ProtocolError(_SPLIT, f"must be two views, version {VERSION}")
        first, second = (View(shown, decode_base64(leaf, _SPLIT, "leaf")) for shown, leaf in views)
        return cls(VerifierKey.parse(log), (first, second))

    def verify(self, log: VerifierKey) -> Verdict:
        """Verify that `log`, whose key the verifier has from elsewhere, showed two histories."""
        try:
            heads = [_open_head(log, view.note) for view in self.views]
            has_two_leaves = self.has_two_leaves
        except ProtocolError as error:
            return Failed(str(error))
        if None in heads:
            return Failed(f"both views must be signed by the key of {log.name}")
        first, second = heads
        if has_two_leaves or (first and second and first.size == second.size and first.root != second.root):
            return Passed()
        return Failed("the two views show neither two roots of one size nor two leaves at one index")

    @property
    def has_two_leaves(self) -> bool:
        """Tell if the views prove two leaves at one index; `ProtocolError` if one is malformed."""
        first, second = map(_open_leaf, self.views)
        return bool(first and second and first[0] == second[0] and first[1] != second[1])

    def name_culprit(self, curator: bytes) -> str:
        """Name who is to blame for two leaves at one index, if `log` signed the views.

        Args:
            curator: The curator's public key, Ed25519, 32 bytes.
        """
        if all(_has_signed_leaf(view, curator) for view in self.views):
            return "the curator's, whose key signed both leaves, and the log's"
        return "the log's: the curator's key did not sign both for that epoch"

    def list_cosigners(self, witnesses: Mapping[str, VerifierKey]) -> list[str]:
        """List the `witnesses` that cosigned both histories; `ProtocolError` if a view is malformed.

        A signature that does not verify is nobody's, since the party that showed a view may have added it.
        """
        notes = [view.note for view in self.views]
        return sorted(
            name for name, key in witnesses.items() if all(find_signature(key, note) for note in notes)
        )


def _open_head(log: VerifierKey, note: Note) -> Checkpoint | None:
    """Return the checkpoint in a note, or None if `log` did not sign it."""
    head = Checkpoint.from_note(note)
    return head if find_signature(log, note) and head.origin == log.name else None


def _open_leaf(view: View) -> tuple[int, bytes] | None:
    """Return index and leaf of a view, or None if it proves no leaf."""
    proof = view.proof
    if proof is None or proof.verify(view.leaf) != Passed():
        return None
    return (proof.index, view.leaf)


def _has_signed_leaf(view: View, curator: bytes) -> bool:
    """Tell if the key signed a view's leaf, and for the epoch and design in whose place it stands."""
    try:
        leaf = EpochLeaf.decode(view.leaf)
        proof = view.proof
    except ProtocolError:
        return False
    if proof is None or proof.index != leaf.index:
        return False
    return verify_origin(proof.head, leaf.manifest.design) == leaf.verify(curator) == Passed()
