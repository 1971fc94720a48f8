"""What the log holds of an epoch: one encoding, at one index, never larger than an entry of a log."""

from __future__ import annotations

from pathlib import Path

import pytest
from blindmatch_proofs.epoch import NOT_ENDORSED, POLICY_MOST, Endorsement, EpochLeaf
from blindmatch_proofs.merkle import ENTRY_MOST
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.messages.epoch_manifest import (
    FILE_NAME_MOST,
    FILES_MOST,
    NAME_MOST,
    PARAMETERS_MOST,
    ROLE_KEY_MOST,
    ROLES_MOST,
    EpochManifest,
    ManifestFile,
    ManifestParameter,
    RoleKey,
)
from msgspec.structs import replace
from support.signed import CURATOR
from support.verdicts import reason

FIRST = EpochManifest("dummy", 1, 1, 0, bytes(32), 5, 6, 7, (ManifestParameter("k", 4),), (), ())
ENDORSED = Endorsement(b"r" * 32, b"2 of 3")


@pytest.mark.parametrize("endorsement", [NOT_ENDORSED, ENDORSED])
def test_a_leaf_is_read_as_it_was_written(endorsement: Endorsement) -> None:
    leaf = CURATOR.leaf(FIRST, endorsement, b"k" * 32)
    read = EpochLeaf.decode(leaf.encode())
    assert (read, read.endorsement, read.sealing_key, read.index) == (leaf, endorsement, b"k" * 32, 0)
    ninth = replace(FIRST, epoch=9, predecessor_epoch=8, predecessor=b"p" * 32)
    assert CURATOR.leaf(ninth).index == 8


@pytest.mark.parametrize(
    "endorsement", [Endorsement(b"r" * 32), Endorsement(policy=b"2"), Endorsement(b"r", b"2"),
                    Endorsement(b"r" * 32, b"p" * (POLICY_MOST + 1))]
)  # fmt: skip
def test_a_root_has_a_policy_and_each_its_length(endorsement: Endorsement) -> None:
    with pytest.raises(ProtocolError, match="endorsement"):
        CURATOR.leaf(FIRST, endorsement)


def test_every_alteration_of_a_leaf_is_another_leaf_that_the_curator_did_not_sign_or_none() -> None:
    raw = CURATOR.leaf(FIRST, ENDORSED, b"k" * 32).encode()
    for at in range(len(raw)):
        altered = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        try:
            leaf = EpochLeaf.decode(altered)
        except ProtocolError:
            continue
        assert leaf.encode() == altered
        assert "signed by the curator" in reason(leaf.verify(CURATOR.public))
    for wrong in (raw[:-1], raw + b"\0", b""):
        with pytest.raises(ProtocolError):
            EpochLeaf.decode(wrong)


def test_a_leaf_with_every_bound_reached_is_an_entry_that_a_log_takes() -> None:
    """tlog-tiles, "Log entries": a length of 16 bits."""
    manifest = replace(
        FIRST,
        design="d" * NAME_MOST,
        files=tuple(ManifestFile(f"{n:0{FILE_NAME_MOST}}", 1, bytes(32)) for n in range(FILES_MOST)),
        parameters=tuple(ManifestParameter(f"{n:0{NAME_MOST}}", 1) for n in range(PARAMETERS_MOST)),
        role_keys=tuple(RoleKey(f"{n:0{NAME_MOST}}", bytes(ROLE_KEY_MOST)) for n in range(ROLES_MOST)),
    )
    largest = CURATOR.leaf(manifest, Endorsement(b"r" * 32, bytes(POLICY_MOST)), b"k" * 32)
    assert len(largest.encode()) <= ENTRY_MOST


VECTORS = Path(__file__).parents[1] / "vectors"


def test_the_frozen_leaf_of_version_2_is_made_again_and_that_of_version_1_is_refused() -> None:
    frozen = (VECTORS / "epoch-leaf-v2.bin").read_bytes()
    assert CURATOR.leaf(FIRST, ENDORSED, b"k" * 32).encode() == frozen
    assert EpochLeaf.decode(frozen).verify(CURATOR.public) == Passed()
    with pytest.raises(ProtocolError, match="must be 0x1e, not 0x1d"):
        EpochLeaf.decode((VECTORS / "epoch-leaf-v1.bin").read_bytes())
