"""What follows from the list and from what a set-up shows of its randomness is found; a keyed one passes."""

from __future__ import annotations

import hmac
from typing import Any

import pytest
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import AnyDesign
from blindmatch_simulations.evaluation.conformance import Options, check_design
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.inprocess.verdict import Verdict
from planted.mutations.lists import Salted, SaltedLoad, SaltedSum


def checked(design: AnyDesign) -> Any:
    (result,) = check_design(design, Options(only=["list"])).results
    return result


@pytest.mark.parametrize("cheat", [SaltedSum, SaltedLoad])
def test_what_follows_from_the_list_and_a_salt_in_the_set_up_is_found(cheat: type[Salted]) -> None:
    result = checked(cheat())
    assert result.verdict is Verdict.FAILED
    assert "told.bin follows from the list" in result.rule


class Keyed(Salted):
    """A sum of the list under a salt that stands beside it, and under a key that does not."""

    def told(self, hashes: Rows, salt: bytes, key: bytes) -> bytes:
        return hmac.digest(key, salt + hashes.tobytes(), "sha256")


class Filler(Salted):
    """Rows for entries under a key, filled up with rows that stand as they were drawn, in order of bytes."""

    def told(self, hashes: Rows, salt: bytes, key: bytes) -> bytes:
        rows = [hmac.digest(key, own.tobytes(), "sha256") for own in hashes]
        filler = [hmac.digest(key, bytes([number]), "sha256") for number in range(64)]
        return b"".join(sorted([*rows, *filler, salt * 2]))


@pytest.mark.parametrize("honest", [Keyed, Filler])
def test_a_set_up_under_a_key_that_it_does_not_show_raises_no_alarm(honest: type[Salted]) -> None:
    result = checked(honest())
    assert result.verdict is Verdict.PASSED, result.rule
    assert "3 pairs of lists compared" in result.reason
    assert "(up to 16 bytes drawn)" in result.reason


@pytest.mark.parametrize("name", ["oprf-psi", "prefix-bucket", "threshold-psi"])
def test_built_in_set_ups_do_not_tell_agreeing_lists_apart(name: str) -> None:
    result = checked(load_design(name))
    assert result.verdict is Verdict.PASSED, result.rule
    assert "3 pairs of lists compared" in result.reason
