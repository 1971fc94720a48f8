"""Pieces of a picture's hash are found in every form that is promised, and random bytes are not."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

import pytest
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_simulations.testbed.audit.dictionary import Dictionary
from blindmatch_simulations.testbed.pictures.pool import picture

ITEMS = [picture(number) for number in range(5)]
HASH = ITEMS[2].hash
DICTIONARY = Dictionary.of((item, b"file", b"") for item in ITEMS)


@pytest.mark.parametrize(
    "value",
    [
        HASH.hex(),
        "name-" + HASH[8:12].hex().upper(),
        b64encode(HASH[:4]).decode(),
        str(int.from_bytes(HASH[16:20], "little")),
        int.from_bytes(HASH[4:8], "big"),
        HASH[12:16],
        sha256(HASH).hexdigest()[:8],
    ],
    ids=["hex", "a piece in capitals", "base64", "decimal", "number", "bytes", "digest"],
)
def test_four_bytes_in_the_clear_are_found(value: object) -> None:
    assert DICTIONARY.in_clear(value)


@pytest.mark.parametrize("size", [40, 100_000], ids=["short", "long"])
@pytest.mark.parametrize(
    "piece",
    [
        HASH[4:12],
        HASH[::-1][:8],
        bytes(byte ^ 0xFF for byte in HASH[:8]),
        bytes(byte ^ 0x5A for byte in HASH[:9]),
        sha256(b"file").digest()[:8],
    ],
    ids=["plain", "reversed", "inverted", "under a constant byte", "digest of the file"],
)
def test_eight_bytes_in_opaque_fields_are_found(piece: bytes, size: int) -> None:
    around = seeded("around").take(size)
    at = size // 3
    assert DICTIONARY.in_opaque(around[:at] + piece + around[at:])
    assert not DICTIONARY.in_opaque(around)


def test_what_is_declared_is_not_looked_for() -> None:
    told = Dictionary.of([(ITEMS[2], b"", HASH[:16])])
    assert not told.in_opaque(HASH[:16]) and not told.in_clear(HASH[:4].hex())
    assert told.in_opaque(HASH[16:24]) and told.in_clear(HASH[16:20].hex())


def test_names_and_small_numbers_are_no_pieces() -> None:
    for value in ("bob", "oprf-psi", "matcher", "image/png", "set.files", 0, 255, 4096, 1 << 20, b"abc"):
        assert not DICTIONARY.in_clear(value)
