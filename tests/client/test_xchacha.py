"""The device's cipher for its store is the one that PyNaCl has."""

from __future__ import annotations

import pytest
from blindmatch_client.store.xchacha import KEY_BYTES, NONCE_BYTES, SHORT_BYTES, encrypt
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
)

KEY, NONCE = bytes(range(KEY_BYTES)), bytes(range(NONCE_BYTES))


@pytest.mark.parametrize("size", [0, 1, 64, 400, SHORT_BYTES, SHORT_BYTES + 1, 100_000])
@pytest.mark.parametrize("place", [b"", b"meta.value/\0/name"])
def test_short_and_long_values_are_sealed_as_by_pynacl(size: int, place: bytes) -> None:
    data = bytes(n % 251 for n in range(size))
    sealed = encrypt(data, place, NONCE, KEY)
    assert sealed == crypto_aead_xchacha20poly1305_ietf_encrypt(data, place, NONCE, KEY)
    assert crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, place, NONCE, KEY) == data


@pytest.mark.parametrize(("nonce", "key"), [(NONCE[1:], KEY), (NONCE, KEY[1:]), (b"", KEY), (NONCE, KEY * 2)])
def test_a_nonce_or_key_of_another_length_is_refused(nonce: bytes, key: bytes) -> None:
    with pytest.raises(ValueError, match="24 bytes, the key 32"):
        encrypt(b"value", b"place", nonce, key)
