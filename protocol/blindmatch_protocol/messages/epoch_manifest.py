"""The manifest of an epoch: what it consists of, signed by the curator.

    curator                                   matcher                     device, centre
      M = manifest of the set-up's files
      S = Ed25519(curator's key, tag || M) -> M, S: hands them out -----> pinned key: S is over M?
                                                                          M fits what was adopted before?
                                                                          files are those of M, no byte more

Whoever serves an epoch does not hold the key, so it can withhold an epoch but make none: no other list, key
or parameters, and not one for a single device, since two manifests of one epoch are evidence against the
curator. A manifest names the one before it by its digest, so that epochs are a chain that has no fork unseen
by whoever holds two ends of it. Times are parameters; what a reader must hold a manifest against is in
`blindmatch_proofs.epoch`.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from itertools import pairwise
from typing import Annotated, Final

from nacl.signing import SigningKey

from blindmatch_protocol.codec import Fixed, Message, Nested, Sequence, Text, UInt, Variable
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import Info, Role

SIGNATURE_TAG: Final = b"blindmatch/epoch-manifest/signature/v1"
DIGEST_TAG: Final = b"blindmatch/epoch-manifest/digest/v1"
DIGEST_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
"""Ed25519 (RFC 8032, section 5.1)."""
NO_PREDECESSOR: Final = bytes(DIGEST_BYTES)
NAME_MOST: Final = 64
EPOCH_MOST: Final = (1 << 63) - 1
FILE_NAME_MOST: Final = 127
FILES_MOST: Final = 64
PARAMETERS_MOST: Final = 64
ROLES_MOST: Final = 16
ROLE_KEY_MOST: Final = 1024
SIGNED_MOST: Final = 64 << 10
"""Bytes of a signed manifest at most: every bound above reached at once is less."""


class ManifestFile(Message, tag=0x18, name="epoch-manifest/file"):
    """A set-up file."""

    name: Annotated[str, Text(FILE_NAME_MOST)]
    size: Annotated[int, UInt(64)]
    digest: Annotated[bytes, Fixed(DIGEST_BYTES)]
    """SHA-256 of its bytes."""


class ManifestParameter(Message, tag=0x19, name="epoch-manifest/parameter"):
    """A parameter of the design."""

    name: Annotated[str, Text(NAME_MOST)]
    value: Annotated[int, UInt(64)]
    """The default if none was given."""


class RoleKey(Message, tag=0x1A, name="epoch-manifest/role-key"):
    """The public key that a role answers under."""

    role: Annotated[str, Text(NAME_MOST)]
    key: Annotated[bytes, Variable(ROLE_KEY_MOST)]
    """In the form the set-up has it; of a VOPRF an element."""


class EpochManifest(Message, tag=0x1B, name="epoch-manifest"):
    """What an epoch consists of. Parameters, keys and files stand in the ascending order of their names."""

    design: Annotated[str, Text(NAME_MOST)]
    version: Annotated[int, UInt(32)]
    """Of the design's messages and files."""
    epoch: Annotated[int, UInt(64)]
    """From 1 on, below 2^63."""
    predecessor_epoch: Annotated[int, UInt(64)]
    """Epoch of the manifest before, below `epoch`; 0 for the first."""
    predecessor: Annotated[bytes, Fixed(DIGEST_BYTES)]
    """Digest of the manifest before; zeros for the first, and for no other."""
    valid_from: Annotated[int, UInt(64)]
    """Unix time in seconds."""
    valid_until: Annotated[int, UInt(64)]
    """Unix time in seconds, later, from which on nothing is asked with the set."""
    entries: Annotated[int, UInt(64)]
    """Of the list."""
    parameters: Annotated[tuple[ManifestParameter, ...], Sequence(Nested(ManifestParameter), PARAMETERS_MOST)]
    role_keys: Annotated[tuple[RoleKey, ...], Sequence(Nested(RoleKey), ROLES_MOST)]
    files: Annotated[tuple[ManifestFile, ...], Sequence(Nested(ManifestFile), FILES_MOST)]
    """All set-up files."""

    def check(self) -> None:
        """Epochs are counted from 1 on and ascend; there is a predecessor or there is none."""
        self._expect(self.epoch <= EPOCH_MOST, "must be below 2^63", "epoch")
        self._expect(self.predecessor_epoch < self.epoch, "must be below the epoch", "predecessor_epoch")
        first = self.predecessor_epoch == 0
        zeros = self.predecessor == NO_PREDECESSOR
        self._expect(first == zeros, "is zeros for the first epoch, and for no other", "predecessor")
        self._expect(self.valid_from < self.valid_until, "must be before the end", "valid_from")
        _ascending([one.name for one in self.parameters], "parameters")
        _ascending([one.role for one in self.role_keys], "role_keys")
        _ascending([one.name for one in self.files], "files")

    @property
    def digest(self) -> bytes:
        """What stands for this manifest: SHA-256 of a tag and its encoding, 32 bytes."""
        return sha256(DIGEST_TAG + self.encode()).digest()

    def is_of(self, info: Info) -> bool:
        """Is it of this design, in this version?"""
        return (self.design, self.version) == (info.name, info.version)

    def _expect(self, holds: bool, rule: str, field: str) -> None:
        if not holds:
            raise ProtocolError(self.NAME, rule, field)


class SignedManifest(Message, tag=0x1C, name="epoch-manifest/signed"):
    """A manifest and the curator's signature of it."""

    manifest: Annotated[EpochManifest, Nested(EpochManifest)]
    signature: Annotated[bytes, Fixed(SIGNATURE_BYTES)]
    """The curator's, Ed25519, over a tag and the manifest."""


def signed_bytes(manifest: EpochManifest) -> bytes:
    return SIGNATURE_TAG + manifest.encode()


def sign(manifest: EpochManifest, key: SigningKey) -> SignedManifest:
    """The manifest with its signature, which is the same each time (RFC 8032, section 5.1.6); `ProtocolError`
    if a field breaks its rule."""
    manifest.check()
    return SignedManifest(manifest, key.sign(signed_bytes(manifest)).signature)


def parameters_of(values: Mapping[str, int]) -> tuple[ManifestParameter, ...]:
    return tuple(ManifestParameter(name, values[name]) for name in sorted(values))


def role_keys_of(keys: Mapping[Role, bytes]) -> tuple[RoleKey, ...]:
    return tuple(RoleKey(role, keys[role]) for role in sorted(keys))


def _ascending(names: list[str], field: str) -> None:
    if any(a >= b for a, b in pairwise(names)) or "" in names:
        raise ProtocolError(EpochManifest.NAME, "names must ascend, each once and none empty", field)
