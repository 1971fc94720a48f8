"""The curator's key, which signs each epoch's manifest and leaf. Whoever builds a set reads it, no server."""

from __future__ import annotations

from typing import ClassVar, Final

from blindmatch_proofs.epoch import DAY_S, NO_SEALING_KEY, NOT_ENDORSED, Endorsement, EpochLeaf, sign_leaf
from blindmatch_protocol.messages.epoch_manifest import NO_PREDECESSOR, EpochManifest, SignedManifest, sign
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_server.storage.files import Ed25519Key

PUBLIC_KEY: Final = "curator.pub"
VALID_DAYS: Final = 365
CLOCK_SKEW_S: Final = 300
"""An epoch is valid from so long before it was built, for devices whose clock is behind."""


class CuratorKey(Ed25519Key, frozen=True):
    NAME: ClassVar[str] = "curator"

    def sign(self, manifest: EpochManifest) -> SignedManifest:
        return sign(manifest, self._key)

    def leaf(
        self,
        manifest: EpochManifest,
        endorsement: Endorsement = NOT_ENDORSED,
        sealing_key: bytes = NO_SEALING_KEY,
    ) -> EpochLeaf:
        """The epoch's leaf with its signature; raises as `epoch.sign_leaf`."""
        return sign_leaf(manifest, endorsement, sealing_key, self._key)


class Signer(Struct, frozen=True):
    """Signs an epoch that is published.

    Attributes:
        valid_seconds: how long nothing but a newer epoch ends this one.
        sealing_key: the centre's, X25519, 32 bytes, which the epoch's leaf names; zeros: it names none.
    """

    key: CuratorKey
    valid_from: int
    valid_seconds: int = VALID_DAYS * DAY_S
    sealing_key: bytes = NO_SEALING_KEY

    def signed_anew(self, signed: SignedManifest) -> SignedManifest:
        """The first epoch of a chain, signed by another key before."""
        again = replace(
            signed.manifest,
            predecessor_epoch=0,
            predecessor=NO_PREDECESSOR,
            valid_from=self.valid_from,
            valid_until=self.valid_from + self.valid_seconds,
        )
        return self.key.sign(again)

    @classmethod
    def at(
        cls, key: CuratorKey, now: float, days: int = VALID_DAYS, sealing_key: bytes = NO_SEALING_KEY
    ) -> Signer:
        """For an epoch built at `now`, Unix time in seconds."""
        return cls(key, int(now) - CLOCK_SKEW_S, days * DAY_S, sealing_key)
