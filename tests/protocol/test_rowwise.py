"""SHA-512 and ChaCha20-Poly1305 on rows against OpenSSL's, and the evaluation that is made of them."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from blindmatch_protocol import ciphersuite, oprf, rowwise
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract.entries import EntryBatch
from blindmatch_protocol.designs.oprf_psi.build import evaluated_rows
from blindmatch_protocol.designs.recipe import Recipe
from blindmatch_protocol.oprf import Mode
from blindmatch_protocol.randomness import replayed
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
    keys, plain = rows(3, 32, 1), rows(3, width, 2)
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
    key, inputs = oprf.SecretKey(mode, KEY.reveal()), rows(5, width)
    listed = [value.tobytes() for value in inputs]
    assert np.array_equal(
        ciphersuite.hash_rows_to_uniform(inputs, mode), oprf.hash_inputs_to_uniform(listed, mode)
    )
    assert np.array_equal(oprf.evaluate_rows(key, inputs), oprf.evaluate(key, listed))


@pytest.mark.parametrize("count", [0, 1, 255, 700])
def test_threads_share_a_batch_and_change_nothing(count: int) -> None:
    batch = EntryBatch(rows(count, 32, 3), np.arange(count, dtype=np.uint64), rows(count, 16, 4))
    with ThreadPoolExecutor(2) as executor:
        alone = evaluated_rows(KEY, batch, RECIPE)
        assert np.array_equal(evaluated_rows(KEY, batch, RECIPE, executor), alone)
