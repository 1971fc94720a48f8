"""Verification of an epoch's manifest: signed, one for its epoch, never older, in time, true of its files.

Devices hold a manifest against all of these before they adopt an epoch, the centre against those it needs.
What is bound, and by whom: `blindmatch_protocol.messages.epoch_manifest`.
"""

from __future__ import annotations

from collections.abc import Mapping

from blindmatch_protocol.contract import Stated
from blindmatch_protocol.messages.epoch_manifest import EpochManifest, SignedManifest, signed_bytes
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from blindmatch_proofs.verdict import Failed, Passed, Verdict


def verify_signature(signed: SignedManifest, curator: bytes) -> Verdict:
    """Whether the key `curator`, Ed25519, 32 bytes, signed this manifest."""
    return verify_curator("the manifest", signed_bytes(signed.manifest), signed.signature, curator)


def verify_curator(what: str, signed: bytes, signature: bytes, curator: bytes) -> Verdict:
    """Whether the key `curator` signed the bytes that stand for `what` (RFC 8032, section 5.1.7)."""
    try:
        VerifyKey(curator).verify(signed, signature)
    except (BadSignatureError, ValueError):
        return Failed(f"{what} must be signed by the curator's key")
    return Passed()


def verify_not_older(manifest: EpochManifest, highest: int) -> Verdict:
    """Whether the epoch is not below the `highest` that was ever adopted."""
    if manifest.epoch < highest:
        return Failed(f"epoch {manifest.epoch} is older than epoch {highest}, which was adopted before")
    return Passed()


def verify_consistent(manifest: EpochManifest, held: Mapping[int, bytes]) -> Verdict:
    """Whether the manifest fits the digests of those `held`, by epoch: two that do not are a fork.

    A manifest whose predecessor is not held can be held against nothing: the reader was away meanwhile.
    """
    epoch, before = manifest.epoch, manifest.predecessor_epoch
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
