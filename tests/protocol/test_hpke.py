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
    with pytest.raises(ValueError, match="no shared key"):
        hpke.seal(bytes(32), INFO, b"truth", EPHEMERAL)


# RFC 9458, appendix A
GATEWAY = bytes.fromhex("3c168975674b2fa8e465970b79c8dcf09f1c741626480bd4c6162fc5b6a98e1a")
CLIENT = bytes.fromhex("bc51d5e930bda26589890ac7032f70ad12e4ecb37abb1b65b1256c9c48999c73")
ASKED = bytes.fromhex("00034745540568747470730b6578616d706c652e636f6d012f")
HEADER = bytes.fromhex("01002000010001")
ENCAPSULATED = bytes.fromhex(
    "4b28f881333e7c164ffc499ad9796f877f4e1051ee6d31bad19dec96c208b472"
    "6374e469135906992e1268c594d2a10c695d858c40a026e7965e7d86b83dd440b2c0185204b4d63525"
)
NONCE = bytes.fromhex("c789e7151fcba46158ca84b04464910d")
ANSWER = bytes.fromhex("c789e7151fcba46158ca84b04464910d86f9013e404feea014e7be4a441f234f857fbd")
OF_REQUESTS = b"message/bhttp request\0" + HEADER
OF_ANSWERS = b"message/bhttp response"


def test_a_request_and_its_response_are_those_of_rfc_9458() -> None:
    sealed, secret = hpke.seal_answered(hpke.public_key(GATEWAY), OF_REQUESTS, ASKED, CLIENT, OF_ANSWERS)
    assert sealed == ENCAPSULATED
    assert secret[32:] == bytes.fromhex("62d87a6ba569ee81014c2641f52bea36")
    assert hpke.open_answered(GATEWAY, hpke.public_key(GATEWAY), OF_REQUESTS, sealed, OF_ANSWERS) == (
        ASKED,
        secret,
    )
    assert hpke.seal_answer(secret, NONCE, bytes.fromhex("0140c8")) == ANSWER
    assert hpke.open_answer(secret, ANSWER) == bytes.fromhex("0140c8")


@given(st.binary(max_size=300), st.binary(max_size=80))
def test_the_library_opens_what_was_sealed_for_answers(plaintext: bytes, info: bytes) -> None:
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)
    sealed, _ = hpke.seal_answered(PUBLIC, info, plaintext, EPHEMERAL, b"answers")
    assert len(sealed) == len(plaintext) + hpke.OVERHEAD
    assert suite.decrypt(sealed, X25519PrivateKey.from_private_bytes(RECEIVER), info) == plaintext


def test_two_answers_to_one_request_share_no_key_stream() -> None:
    _, secret = hpke.seal_answered(PUBLIC, INFO, b"truth", EPHEMERAL, b"answers")
    one = bytes(64)
    other = bytes(range(64))
    first, second = (hpke.seal_answer(secret, bytes([n]) * 16, text) for n, text in ((1, one), (2, other)))
    assert _xor(first[16:80], second[16:80]) != _xor(one, other)
    # what `seal_reply` is for one reply alone: the carrier of a replayed request would have the difference
    plain = hpke.seal_reply(bytes(32), one), hpke.seal_reply(bytes(32), other)
    assert _xor(plain[0][:64], plain[1][:64]) == _xor(one, other)


@pytest.mark.parametrize("altered", ["info", "label", "bit", "nonce", "short", "another request"])
def test_an_answer_that_was_altered_or_is_of_another_request_is_not_opened(altered: str) -> None:
    sealed, secret = hpke.seal_answered(PUBLIC, INFO, b"truth", EPHEMERAL, b"answers")
    info, label = {"info": (b"!", b"answers"), "label": (INFO, b"!")}.get(altered, (INFO, b"answers"))
    opened = hpke.open_answered(RECEIVER, PUBLIC, info, sealed, label)
    if opened is None:
        assert altered == "info"
        return
    answer = hpke.seal_answer(opened[1], bytes(16), b"beauty")
    places = {"bit": -1, "nonce": 3}
    if altered in places:
        answer = bytes(byte ^ (at == places[altered] % len(answer)) for at, byte in enumerate(answer))
    if altered == "another request":
        _, secret = hpke.seal_answered(PUBLIC, INFO, b"truth", RECEIVER, b"answers")
    assert hpke.open_answer(secret, answer[:20] if altered == "short" else answer) is None


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
