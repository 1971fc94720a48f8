"""The curator of the tests: one key."""

from __future__ import annotations

from typing import Any

from blindmatch_protocol.messages.epoch_manifest import EpochManifest, SignedManifest
from blindmatch_server.epochs.signing import CuratorKey, Signer
from blindmatch_simulations.testbed.inprocess.deployed import manifest_of
from msgspec.structs import replace

__all__ = ["CURATOR", "SIGNER", "manifest_of", "signed"]
CURATOR = CuratorKey.of(bytes(range(32)))
SIGNER = Signer(CURATOR, valid_from=1, valid_seconds=4_000_000_000)


def signed(manifest: EpochManifest, key: CuratorKey = CURATOR, **changes: Any) -> SignedManifest:
    """Signed, with other fields if any are given."""
    return key.sign(replace(manifest, **changes))
