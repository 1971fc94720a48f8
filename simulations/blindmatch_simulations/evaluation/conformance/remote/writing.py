"""A manifest of a deployment's own counterpart, from what the curator and the authority have."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.contract.declaration import CONTRACT_VERSION
from blindmatch_protocol.crypto.oprf import PublicKey
from blindmatch_protocol.messages.parts import MOST_BODY_BYTES, MOST_SMALL_BYTES
from blindmatch_server.curator import HashList
from blindmatch_server.epochs.published import Publication
from blindmatch_server.hosting.authority import ROOT_CERTIFICATE
from blindmatch_server.storage.files import replace_file

from blindmatch_simulations.evaluation.conformance.remote.manifest import (
    FORMAT,
    VERSION,
    CredentialFiles,
    Limits,
    Listed,
    Manifest,
    SetupFile,
)
from blindmatch_simulations.testbed.deployment.addresses import ManifestError

SAMPLE: Final = 256
"""Entries named in a manifest; all of a shorter list."""
ANSWER_MS: Final = 30_000


def manifest_of(
    design: AnyDesign, publication: Publication, entries: HashList, caller: Path, folder: Path
) -> Manifest:
    """The manifest of the counterpart that serves `publication`, with paths seen from `folder`; `caller` is
    the path of a device's credentials without ``.crt`` or ``.key``, beside which the root's certificate is.

    Raises:
        ManifestError: if the epoch was not built of as many entries as the list has.
    """
    held = publication.manifest
    if held.entries != len(entries):
        raise ManifestError(f"epoch {held.epoch} has {held.entries} entries, the list has {len(entries)}")
    setup = [
        SetupFile(
            name=file.name, path=_seen(publication.folder / file.name, folder), sha256=file.digest.hex()
        )
        for file in held.files
    ]
    return Manifest(
        format=FORMAT,
        version=VERSION,
        contract=CONTRACT_VERSION,
        design=held.design,
        design_version=held.version,
        epoch=held.epoch,
        parameters=publication.parameters,
        public_key=_public_key(design, publication),
        setup=tuple(setup),
        listed=_listed(entries),
        credentials=CredentialFiles(
            root=_seen(caller.with_name(ROOT_CERTIFICATE), folder),
            certificate=_seen(caller.with_name(f"{caller.name}.crt"), folder),
            key=_seen(caller.with_name(f"{caller.name}.key"), folder),
            server_names={str(role): design.info.asked(role).dns_name for role in design.info.roles},
        ),
        limits=Limits(
            reply_bytes=MOST_BODY_BYTES if design.info.large_bodies else MOST_SMALL_BYTES, answer_ms=ANSWER_MS
        ),
    )


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write the file in one step, readable by its owner alone: it names entries of the list."""
    replace_file(path, (json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n").encode())


def _listed(entries: HashList) -> Listed:
    """All hashes, or as many as a manifest takes, spread over the whole list."""
    count = min(SAMPLE, len(entries))
    rows = (len(entries) * place // count for place in range(count))
    hashes = tuple(entries.hashes[row].tobytes().hex() for row in rows)
    return Listed(complete=len(hashes) == len(entries), hashes=hashes)


def _public_key(design: AnyDesign, publication: Publication) -> str | None:
    setup = design.open_setup(publication.setup(), publication.manifest.epoch)
    key = getattr(setup, "public_key", None)
    return key.element.hex() if isinstance(key, PublicKey) else None


def _seen(path: Path, folder: Path) -> str:
    """`path` as seen from `folder`."""
    return os.path.relpath(path.absolute(), folder.absolute())
