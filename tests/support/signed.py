"""The curator of the tests: one key, and manifests of epochs that are in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.epoch_manifest import (
    NO_PREDECESSOR,
    EpochManifest,
    ManifestFile,
    SignedManifest,
    parameters_of,
    role_keys_of,
)
from blindmatch_server.curator.signing import CuratorKey, Signer
from nacl.signing import SigningKey

CURATOR = CuratorKey(SigningKey(bytes(range(32))))
SIGNER = Signer(CURATOR, valid_from=1, valid_seconds=4_000_000_000)


def manifest_of(
    design: AnyDesign, files: Mapping[str, bytes], epoch: int, before: EpochManifest | None = None
) -> EpochManifest:
    """The manifest of set-up files, valid for ever."""
    stated = design.stated(design.open_setup(files, epoch))
    return EpochManifest(
        design=design.info.name,
        version=design.info.version,
        epoch=epoch,
        predecessor_epoch=before.epoch if before else 0,
        predecessor=before.digest if before else NO_PREDECESSOR,
        valid_from=1,
        valid_until=4_000_000_000,
        entries=0,
        parameters=parameters_of(stated.parameters),
        role_keys=role_keys_of(stated.role_keys),
        files=tuple(
            ManifestFile(name, len(files[name]), hashlib.sha256(files[name]).digest())
            for name in sorted(files)
        ),
    )


def signed(manifest: EpochManifest, key: CuratorKey = CURATOR, **changes: Any) -> SignedManifest:
    """Signed, with other fields if any are given."""
    return key.sign(replace(manifest, **changes))
