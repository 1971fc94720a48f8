"""Keys that follow from proofs, and nonces that everybody can compute, are found; derived nonces pass."""

from __future__ import annotations

import hmac
from typing import Any

import pytest
from blindmatch_protocol import contract as bm
from blindmatch_protocol.crypto.oprf import Mode, SecretKey
from blindmatch_protocol.group import ORDER, sodium
from blindmatch_simulations.evaluation.conformance import Options, check_design
from blindmatch_simulations.evaluation.conformance.nonces import find_keys, respell_key
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.inprocess.verdict import Verdict
from msgspec import Struct
from planted.mutations.hooks import variant
from planted.mutations.proofs import DerivedNonce, NoticesTape
from planted.mutations.table import CHEATS

PUBLIC = "the nonce of a proof follows from public values"
SHARED = "two proofs share a nonce"
RULES = {
    "a nonce that follows from the request": PUBLIC,
    "a nonce that follows from the public key and the request": PUBLIC,
    "a nonce that follows from the evaluated elements": PUBLIC,
    "a nonce of key and elements under either kind of challenge": SHARED,
    "one nonce for all proofs": SHARED,
}
KEY = (5 * ORDER // 7).to_bytes(32, "little")


def proofs(design: bm.AnyDesign) -> Any:
    (result,) = check_design(design, Options(only=["proofs"])).results
    return result


@pytest.mark.parametrize("name", RULES)
def test_a_key_that_proofs_give_away_is_found(name: str) -> None:
    (cheat,) = (one for one in CHEATS if one.name == name)
    result = proofs(cheat.weakness())
    assert result.verdict is Verdict.FAILED
    assert result.rule.startswith(RULES[name])


def test_a_role_that_tells_of_earlier_questions_and_notices_a_tape_is_found() -> None:
    result = proofs(NoticesTape())
    assert result.verdict is Verdict.FAILED
    assert "tells of questions that others asked before" in result.rule


OfKey = variant(DerivedNonce, seed=lambda _, state, body: state.key.reveal() + body.encode())
Keyed = variant(
    DerivedNonce, seed=lambda _, state, body: hmac.digest(state.key.reveal(), body.encode(), "sha256")
)
"""RFC 6979, section 3.2, and RFC 8032, section 5.1.6, in short: a digest of secret key and message."""


@pytest.mark.parametrize("honest", [OfKey, Keyed])
def test_nonces_that_follow_from_the_secret_key_raise_no_alarm(honest: type[Any]) -> None:
    result = proofs(honest())
    assert result.verdict is Verdict.PASSED, result.rule
    assert result.figures["nonces"] == 24


@pytest.mark.parametrize("name", ["oprf-psi", "split-psi", "prefix-bucket"])
def test_nonces_of_built_in_designs_are_examined_and_pass(name: str) -> None:
    result = proofs(load_design(name))
    assert result.verdict is Verdict.PASSED, result.rule
    assert result.figures["nonces"] >= 24


class Held(Struct, frozen=True):
    """A state that has its key in other forms."""

    raw: bytes
    number: int
    parts: tuple[Any, ...]


def test_a_key_is_found_and_respelt_in_each_form_that_a_state_holds_it_in() -> None:
    key = SecretKey(Mode.VOPRF, KEY)
    number = int.from_bytes(KEY, "little")
    for state in (Held(KEY, 0, ()), Held(b"", number, ()), Held(b"", 0, (b"", KEY)), Held(b"", 0, (key,))):
        assert find_keys(state, {key.public.element}) == [number]
        assert respell_key(state, number)
        assert find_keys(state, {key.public.element}) == []
    assert not respell_key(Held(b"", 0, ()), number)


def test_a_respelt_key_multiplies_as_it_did() -> None:
    key = SecretKey(Mode.VOPRF, KEY)
    public = key.public.element
    assert respell_key(key, int.from_bytes(KEY, "little"))
    assert key.reveal() == (int.from_bytes(KEY, "little") + ORDER).to_bytes(32, "little")
    assert sodium.multiply_base(key.reveal()) == public
