"""What an epoch's manifest is held against: the key, what was adopted before, the time, and the files."""

from __future__ import annotations

import pytest
from blindmatch_proofs.epoch import (
    verify_begun,
    verify_consistent,
    verify_not_older,
    verify_signature,
    verify_stated,
)
from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.contract import Role, Stated
from blindmatch_protocol.messages.epoch_manifest import (
    EpochManifest,
    ManifestParameter,
    RoleKey,
    SignedManifest,
)
from blindmatch_server.epochs.signing import CuratorKey
from msgspec.structs import replace
from nacl.bindings import crypto_scalarmult_ed25519_base_noclamp
from support.signed import CURATOR, signed
from support.verdicts import reason

ROLE = Role("matcher")
THIRD = EpochManifest(
    "dummy", 1, 3, 2, b"2" * 32, 50, 60, 7, (ManifestParameter("k", 4),), (RoleKey("matcher", b"key"),), ()
)


def test_only_the_curator_s_signature_of_this_very_manifest_passes() -> None:
    made = signed(THIRD)
    assert verify_signature(made, CURATOR.public) == Passed()
    other = signed(THIRD, CuratorKey.generate())
    altered = SignedManifest(replace(THIRD, entries=8), made.signature)
    untagged = SignedManifest(THIRD, CURATOR._key.sign(THIRD.encode()).signature)
    for wrong in (other, altered, untagged, SignedManifest(THIRD, bytes(64))):
        assert "signed by the curator" in reason(verify_signature(wrong, CURATOR.public))
    for key in (b"", bytes(32), b"k" * 31):
        assert "signed by the curator" in reason(verify_signature(made, key))


P = 2**255 - 19


@pytest.mark.parametrize("point", [0, 1, P - 1, P, P + 1, 1 + 2**255, P - 1 + 2**255])
def test_nothing_is_signed_under_a_key_of_small_order_or_of_another_spelling(point: int) -> None:
    """Ed25519 by libsodium, as all signatures of curators, organisations, logs and witnesses are verified."""
    key = point.to_bytes(32, "little")
    for response in (one.to_bytes(32, "little") for one in range(1, 40)):
        made = SignedManifest(THIRD, crypto_scalarmult_ed25519_base_noclamp(response) + response)
        assert verify_signature(made, key) != Passed()


@pytest.mark.parametrize("highest", [0, 2, 3])
def test_an_epoch_that_is_not_older_passes(highest: int) -> None:
    assert verify_not_older(THIRD, highest) == Passed()


def test_an_older_epoch_fails() -> None:
    assert "older than epoch 4" in reason(verify_not_older(THIRD, 4))


@pytest.mark.parametrize("held", [{}, {3: THIRD.digest}, {2: b"2" * 32}, {1: b"1" * 32}, {4: b"4" * 32}])
def test_a_manifest_that_fits_those_held_passes(held: dict[int, bytes]) -> None:
    assert verify_consistent(THIRD, held) == Passed()


def test_two_histories_fail() -> None:
    assert "two manifests of epoch 3" in reason(verify_consistent(THIRD, {3: b"x" * 32}))
    assert "another epoch 2" in reason(verify_consistent(THIRD, {2: b"x" * 32}))
    fifth = replace(THIRD, epoch=5)
    assert "past epoch 4" in reason(verify_consistent(fifth, {3: b"3" * 32, 4: b"4" * 32}))


def test_a_manifest_holds_from_its_time_on() -> None:
    assert verify_begun(THIRD, 50) == verify_begun(THIRD, 99) == Passed()
    assert "only from Unix time 50" in reason(verify_begun(THIRD, 49))


def test_the_files_must_say_what_the_manifest_says() -> None:
    keys = {ROLE: b"key"}
    assert verify_stated(THIRD, Stated({"k": 4}, keys)) == verify_stated(THIRD, Stated({}, keys)) == Passed()
    assert "parameter k" in reason(verify_stated(THIRD, Stated({"k": 5}, keys)))
    assert "parameter j" in reason(verify_stated(THIRD, Stated({"j": 5}, keys)))
    held = THIRD.entries
    assert verify_stated(THIRD, Stated({}, keys, held)) == Passed()
    assert f"hold {held + 1} entries" in reason(verify_stated(THIRD, Stated({}, keys, held + 1)))
    for other in ({}, {ROLE: b"yek"}, {**keys, Role("second"): b"key"}):
        assert "other keys of roles" in reason(verify_stated(THIRD, Stated({}, other)))
