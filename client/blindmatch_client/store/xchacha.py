"""XChaCha20-Poly1305 of the values of a device's store, by the libsodium that PyNaCl carries.

PyNaCl's own function releases the interpreter's lock. Where other threads wait for it, that costs more than
to seal a short value, as those of texts are: such a one is sealed without. A longer one is left to PyNaCl.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

from nacl._sodium import ffi, lib  # type: ignore[import-not-found] # an extension module without a stub
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 24
TAG_BYTES: Final = 16
SHORT_BYTES: Final = 16 << 10
"""A value of up to so many bytes is sealed in some 20 microseconds."""


def encrypt(data: bytes, place: bytes, nonce: bytes, key: bytes) -> bytes:
    """`data` sealed and bound to `place`: ciphertext, then the tag of 16 bytes.

    Raises:
        ValueError: if nonce or key have another length.
    """
    if len(nonce) != NONCE_BYTES or len(key) != KEY_BYTES:
        raise ValueError(f"the nonce is {NONCE_BYTES} bytes, the key {KEY_BYTES}")
    if len(data) > SHORT_BYTES:
        return crypto_aead_xchacha20poly1305_ietf_encrypt(data, place, nonce, key)
    sealed = ctypes.create_string_buffer(len(data) + TAG_BYTES)
    _ENCRYPT(sealed, None, data, len(data), place, len(place), None, nonce, key)
    return sealed.raw


def _bound() -> Any:
    """libsodium's function, which cannot fail: ciphertext with tag, its length or None, data, length, further
    data, length, None, nonce, key."""
    address = ffi.addressof(lib, "crypto_aead_xchacha20poly1305_ietf_encrypt")
    written, read, length = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_ulonglong
    kind = ctypes.PYFUNCTYPE(
        ctypes.c_int, written, written, read, length, read, length, written, read, read
    )  # keeps the lock
    return kind(int(ffi.cast("uintptr_t", address)))


_ENCRYPT: Final = _bound()
