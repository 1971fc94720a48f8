"""The committing cipher: what it opens, and all that it refuses."""

from __future__ import annotations

import pytest
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.crypto.symmetric import TAG_LENGTH, Opening, Sealing, seal, unseal
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA512, SHA512_256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

KEY = bytes(range(32))
DATA = b"associated"


@given(st.binary(max_size=300), st.binary(max_size=40))
def test_what_was_sealed_opens(plaintext: bytes, associated_data: bytes) -> None:
    sealed = seal(KEY, plaintext, associated_data)
    assert len(sealed) == len(plaintext) + TAG_LENGTH
    assert unseal(KEY, sealed, associated_data) == plaintext


def test_the_construction_is_hkdf_then_ctr_then_hmac_over_framed_data() -> None:
    derived = HKDF(SHA512(), 80, None, b"blindmatch/committing-aead/keys/v1").derive(KEY)
    ciphertext = Cipher(algorithms.AES(derived[:32]), modes.CTR(derived[32:48])).encryptor().update(b"plain")
    mac = HMAC(derived[48:], SHA512_256())
    mac.update(len(DATA).to_bytes(8, "big") + DATA + ciphertext)
    assert seal(KEY, b"plain", DATA) == ciphertext + mac.finalize()


@given(st.binary(max_size=60), st.data())
def test_any_flipped_bit_is_refused(plaintext: bytes, data: st.DataObject) -> None:
    sealed = bytearray(seal(KEY, plaintext, DATA))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ProtocolError):
        unseal(KEY, sealed, DATA)


@pytest.mark.parametrize("length", range(TAG_LENGTH + 5))
def test_a_truncated_value_is_refused(length: int) -> None:
    with pytest.raises(ProtocolError):
        unseal(KEY, seal(KEY, b"plain", DATA)[:length], DATA)


def test_another_key_does_not_open_even_where_ctr_would_give_some_plaintext() -> None:
    with pytest.raises(ProtocolError):
        unseal(bytes(32), seal(KEY, b"plain", DATA), DATA)


@pytest.mark.parametrize("other", [b"", b"associate", b"associated ", b"Associated"])
def test_other_associated_data_is_refused(other: bytes) -> None:
    with pytest.raises(ProtocolError):
        unseal(KEY, seal(KEY, b"plain", DATA), other)


def test_bytes_cannot_move_between_associated_data_and_ciphertext() -> None:
    sealed = seal(KEY, b"plain", DATA)
    with pytest.raises(ProtocolError):
        unseal(KEY, sealed[1:], DATA + sealed[:1])


@given(st.lists(st.binary(max_size=50), max_size=6))
def test_chunks_give_the_same_bytes_as_one_piece(chunks: list[bytes]) -> None:
    sealing = Sealing(KEY, DATA)
    opening = Opening(KEY, DATA)
    sealed = [sealing.update(chunk) for chunk in chunks]
    tag = sealing.finish()
    assert b"".join(sealed) + tag == seal(KEY, b"".join(chunks), DATA)
    assert [opening.update(chunk) for chunk in sealed] == chunks
    opening.finish(tag)


def test_the_wrong_tag_is_refused_at_the_end_of_the_chunks() -> None:
    opening = Opening(KEY, DATA)
    opening.update(seal(KEY, b"plain", DATA)[:-TAG_LENGTH])
    with pytest.raises(ProtocolError, match="tag"):
        opening.finish(bytes(TAG_LENGTH))


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_a_mistake_of_the_caller(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        seal(bytes(length), b"plain")
