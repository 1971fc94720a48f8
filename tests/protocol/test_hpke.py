"""What the sender with a given ephemeral key makes is HPKE: RFC 9180's values, and the library opens it."""

from __future__ import annotations

import pytest
from blindmatch_protocol.crypto import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given
from hypothesis import strategies as st

# RFC 9180, appendix A.2.1
INFO = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
RECEIVER = bytes.fromhex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb")
PUBLIC = bytes.fromhex("4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a")
EPHEMERAL = bytes.fromhex("f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600")
ENC = bytes.fromhex("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a")
SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def test_the_encapsulated_key_is_that_of_the_rfc() -> None:
    assert hpke.public_key(RECEIVER) == PUBLIC
    assert hpke.seal(PUBLIC, INFO, b"Beauty is truth", EPHEMERAL)[:32] == ENC


@given(st.binary(max_size=300), st.binary(max_size=80))
def test_the_library_opens_what_was_sealed(plaintext: bytes, info: bytes) -> None:
    sealed = hpke.seal(PUBLIC, info, plaintext, EPHEMERAL)
    assert len(sealed) == len(plaintext) + hpke.OVERHEAD
    assert SUITE.decrypt(sealed, X25519PrivateKey.from_private_bytes(RECEIVER), info) == plaintext


def test_what_the_library_sealed_is_opened() -> None:
    sealed = SUITE.encrypt(b"truth", X25519PrivateKey.from_private_bytes(RECEIVER).public_key(), INFO)
    assert hpke.open_sealed(RECEIVER, INFO, sealed) == b"truth"


@pytest.mark.parametrize("altered", ["info", "key", "bit", "short"])
def test_anything_else_is_not_opened(altered: str) -> None:
    sealed = hpke.seal(PUBLIC, INFO, b"truth", EPHEMERAL)
    key = EPHEMERAL if altered == "key" else RECEIVER
    info = INFO + b"!" if altered == "info" else INFO
    sealed = {"bit": sealed[:-1] + bytes([sealed[-1] ^ 1]), "short": sealed[:40]}.get(altered, sealed)
    assert hpke.open_sealed(key, info, sealed) is None


def test_a_key_of_small_order_is_refused() -> None:
    with pytest.raises(ValueError, match="computing"):
        hpke.seal(bytes(32), INFO, b"truth", EPHEMERAL)
