"""Hex to hashes, and why a hash is refused."""

from __future__ import annotations

import numpy as np
import pytest
from blindmatch_server.curator import Reason
from blindmatch_server.curator.rejects import decode_hex, fault_of
from hypothesis import given
from hypothesis import strategies as st

GOOD = b"f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"

BAD = {
    Reason.HASH_MISSING: [b""],
    Reason.HASH_TOO_SHORT: [GOOD[:63], b"a"],
    Reason.HASH_TOO_LONG: [GOOD + b"0", GOOD + GOOD],
    Reason.HASH_NOT_HEX: [b"g" + GOOD[1:], GOOD[:-1] + b"-", GOOD[:62] + "é".encode()],
    Reason.HASH_UPPER_CASE: [GOOD.upper(), GOOD[:-1] + b"A"],
    Reason.HASH_PREFIXED: [b"0x" + GOOD, b"0X" + GOOD[2:]],
    Reason.HASH_WHITE_SPACE: [b" " + GOOD, GOOD + b"\t", GOOD[:31] + b" " + GOOD[32:], GOOD + b"\r"],
    Reason.HASH_ALL_ZERO: [b"0" * 64],
    Reason.HASH_UNBALANCED: [b"f" * 64, b"0" * 63 + b"1", b"f" * 15 + b"7" + b"0" * 48],
    Reason.NOT_UTF8: [b"\xff" + GOOD[1:], GOOD[:-1] + b"\xc3"],
}


@pytest.mark.parametrize(("reason", "raw"), [(reason, raw) for reason, raws in BAD.items() for raw in raws])
def test_each_kind_of_bad_hex_has_its_own_reason(reason: Reason, raw: bytes) -> None:
    assert fault_of(raw) is reason


def test_a_good_hash_is_taken_as_its_bytes() -> None:
    hashes, valid = decode_hex(np.frombuffer(GOOD, np.uint8).reshape(1, 64))
    assert fault_of(GOOD) is None
    assert valid.tolist() == [True]
    assert hashes.tobytes() == bytes.fromhex(GOOD.decode())


def test_sixty_four_and_one_hundred_and_ninety_two_ones_are_the_limits_of_balance() -> None:
    for raw, reason in (
        (b"f" * 16 + b"0" * 48, None),
        (b"f" * 48 + b"0" * 16, None),
        (b"f" * 48 + b"1" + b"0" * 15, Reason.HASH_UNBALANCED),
    ):
        assert fault_of(raw) is reason


@given(
    st.lists(
        st.one_of(
            st.binary(min_size=64, max_size=64),
            st.text("0123456789abcdefAg", min_size=64, max_size=64).map(str.encode),
        ),
        min_size=1,
    )
)
def test_the_matrix_takes_exactly_what_has_no_fault(raws: list[bytes]) -> None:
    _, valid = decode_hex(np.frombuffer(b"".join(raws), np.uint8).reshape(-1, 64))
    assert valid.tolist() == [fault_of(raw) is None for raw in raws]


def test_every_reason_is_put_in_words() -> None:
    assert all(reason.says for reason in Reason)
