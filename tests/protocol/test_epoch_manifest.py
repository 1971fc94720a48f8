"""The manifest of an epoch: one encoding, one signature, and what breaks a rule is refused."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.messages.epoch_manifest import (
    SIGNED_MOST,
    EpochManifest,
    ManifestFile,
    ManifestParameter,
    RoleKey,
    SignedManifest,
)
from msgspec.structs import replace
from support.signed import CURATOR, signed

FILES = (ManifestFile("a.bin", 0, bytes(32)), ManifestFile("set.bin", 1 << 40, b"d" * 32))
FIRST = EpochManifest(
    "oprf-psi", 1, 3, 0, bytes(32), 5, 6, 7,
    (ManifestParameter("evaluations", 1), ManifestParameter("filter", 0)),
    (RoleKey("matcher", b"k" * 32),), FILES,
)  # fmt: skip


def test_a_signed_manifest_decodes_to_itself_and_is_signed_the_same_each_time() -> None:
    raw = CURATOR.sign(FIRST).encode()
    assert SignedManifest.decode(raw).encode() == raw == CURATOR.sign(FIRST).encode()


def test_the_digest_is_of_the_tag_and_the_encoding_and_not_of_the_signature() -> None:
    tag = b"blindmatch/epoch-manifest/digest/v1"
    assert FIRST.digest == hashlib.sha256(tag + FIRST.encode()).digest()
    assert replace(FIRST, entries=8).digest != FIRST.digest


def test_the_largest_manifest_is_within_the_bound() -> None:
    names = [f"{n:02}".ljust(64, "x") for n in range(64)]
    largest = replace(
        FIRST,
        design="x" * 64,
        parameters=tuple(ManifestParameter(name, 1) for name in names),
        role_keys=tuple(RoleKey(name, bytes(1024)) for name in names[:16]),
        files=tuple(ManifestFile(name.ljust(127, "x"), 1, bytes(32)) for name in names),
    )
    assert len(signed(largest).encode()) <= SIGNED_MOST


BROKEN: dict[str, dict[str, Any]] = {
    "no epoch": {"epoch": 0},
    "an epoch beyond 2^63": {"epoch": 1 << 63},
    "a later predecessor": {"predecessor_epoch": 3, "predecessor": b"p" * 32},
    "a predecessor without a digest": {"predecessor_epoch": 1},
    "a digest without a predecessor": {"predecessor": b"p" * 32},
    "an end before the beginning": {"valid_until": 5},
    "files out of order": {"files": FILES[::-1]},
    "a file twice": {"files": (FILES[0], FILES[0])},
    "a file without a name": {"files": (ManifestFile("", 0, bytes(32)),)},
    "parameters out of order": {"parameters": FIRST.parameters[::-1]},
    "a role twice": {"role_keys": FIRST.role_keys * 2},
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_manifest_that_breaks_a_rule_is_neither_signed_nor_decoded(what: str) -> None:
    broken = replace(FIRST, **BROKEN[what])
    with pytest.raises(ProtocolError):
        CURATOR.sign(broken)
    with pytest.raises(ProtocolError):
        SignedManifest.decode(SignedManifest(broken, bytes(64)).encode())
