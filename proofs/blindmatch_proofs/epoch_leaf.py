"""What the log holds of an epoch: one leaf, at index epoch - 1, so that there is no second one of an epoch.

    curator: S = Ed25519(its key, tag || manifest, endorsement root and policy, the centre's sealing key)
             --> EpochLeaf --> log: signed? else the index stays free
    device:  the same leaf beside the set-up, and the proof that it is in the log (epoch_proof.py)

What a device must not be given alone is in the leaf: the list, keys and parameters through the manifest, what
entries are endorsed by, and the key that reports are sealed to. Since the curator signs all of it, nobody
else can put another one at the epoch's index, and two are its own doing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final

from blindmatch_protocol.codec import Fixed, Message, Nested, Variable
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.messages.epoch_manifest import SIGNATURE_BYTES, EpochManifest
from msgspec.structs import replace
from nacl.signing import SigningKey

from blindmatch_proofs.epoch_manifest import verify_curator
from blindmatch_proofs.verdict import Verdict

SIGNATURE_TAG: Final = b"blindmatch/epoch-leaf/signature/v1"
ROOT_BYTES: Final = 32
SEALING_KEY_BYTES: Final = 32
"""X25519 (RFC 7748, section 5)."""
POLICY_MOST: Final = 16 << 10
LEAF_MOST: Final = (1 << 16) - 1
"""Bytes of a log entry at most (tlog-tiles, "Log entries"); every bound above reached at once is less."""
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
    """The leaf of an epoch with its signature, which is the same each time (RFC 8032, section 5.1.6).

    Raises:
        ProtocolError: if a root has no policy, a policy no root, or a field breaks its rule.
    """
    leaf = EpochLeaf(manifest, endorsement.root, endorsement.policy, sealing_key, bytes(SIGNATURE_BYTES))
    leaf.check()
    return replace(leaf, signature=key.sign(leaf.signed_bytes).signature)
