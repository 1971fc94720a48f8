"""SHA-512 and ChaCha20-Poly1305 on rows against OpenSSL's, and the evaluation that is made of them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import replayed
from blindmatch_protocol.crypto import dleq, oprf
from blindmatch_protocol.crypto.oprf import Mode
from blindmatch_protocol.designs.deltas import Recipe
from blindmatch_protocol.group import rowwise
from blindmatch_protocol.group.rows import cut, expand
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305


def rows(count: int, width: int, salt: int = 0) -> Rows:
    raw = hashlib.shake_256(bytes([salt])).digest(count * width)
    return np.frombuffer(raw, np.uint8).reshape(count, width)


RECIPE = Recipe(1)
KEY = oprf.generate_key_pair(Mode.VOPRF, replayed(hashlib.shake_256(b"key").digest(64)))


@pytest.mark.parametrize("width", [0, 1, 111, 112, 127, 128, 240])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_every_row_is_hashed_as_openssl_does(count: int, width: int) -> None:
    messages = rows(count, width)
    expected = [hashlib.sha512(message.tobytes()).digest() for message in messages]
    assert [digest.tobytes() for digest in rowwise.sha512(messages)] == expected


def test_rows_that_do_not_lie_together_are_hashed_too() -> None:
    wide = rows(6, 64)
    assert np.array_equal(rowwise.sha512(wide[::-2, 8:40]), rowwise.sha512(wide[::-2, 8:40].copy()))


@pytest.mark.parametrize("width", [0, 1, 56, 120])
def test_every_row_is_sealed_as_openssl_does(width: int) -> None:
    keys = rows(3, 32, 1)
    plain = rows(3, width, 2)
    expected = [
        ChaCha20Poly1305(key.tobytes()).encrypt(bytes(12), value.tobytes(), None)
        for key, value in zip(keys, plain, strict=True)
    ]
    assert [sealed.tobytes() for sealed in rowwise.seal(keys, plain)] == expected


def test_too_few_or_too_short_keys_are_refused() -> None:
    for keys in (rows(2, 32), rows(3, 31)):
        with pytest.raises(ValueError, match="3 keys of 32 bytes"):
            rowwise.seal(keys, rows(3, 8))


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("width", [0, 32, 57])
def test_inputs_of_one_length_are_evaluated_as_any_others(mode: Mode, width: int) -> None:
    key = oprf.SecretKey(mode, KEY.reveal())
    inputs = rows(5, width)
    listed = [value.tobytes() for value in inputs]
    assert np.array_equal(dleq.hash_rows_to_uniform(inputs, mode), oprf.hash_inputs_to_uniform(listed, mode))
    assert np.array_equal(oprf.evaluate_rows(key, inputs), oprf.evaluate(key, listed))


@pytest.mark.parametrize("count", [0, 1, 4, 9])
def test_keys_of_rows_are_those_of_their_bytes(count: int) -> None:
    inputs = rows(count, 40)
    assert np.array_equal(rowwise.expand(b"tag", 7, inputs, 48), expand(b"tag", 7, cut(inputs), 48))


def test_byte_strings_of_several_lengths_or_a_few_are_no_rows() -> None:
    assert rowwise.of_one_length([b"abc"] * 3) is None
    assert rowwise.of_one_length([b"abc"] * 4 + [b"ab"]) is None
    assert np.array_equal(rowwise.of_one_length([b"ab"] * 4), rowwise.joined(4, b"ab"))
