"""A second, small implementation of docs/reference/wire.md opens what the messenger seals."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from blindmatch_client.messenger.account import Account
from blindmatch_client.messenger.state import AccountState
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.messages.content import compose
from blindmatch_protocol.messages.sealed_message import Franked, MessageBinding, SealedMessage
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from msgspec.structs import replace
from support.reference import seal_attachment


def hkdf(name: str, salt: bytes, material: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869."""
    key = hmac.digest(salt or bytes(hashlib.new(name).digest_size), material, name)
    block = out = b""
    for counter in range(1, 256):
        if len(out) >= length:
            break
        block = hmac.digest(key, block + info + bytes([counter]), name)
        out += block
    return out[:length]


def open_committed(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    """The committing AEAD."""
    keys = hkdf("sha512", b"", key, b"blindmatch/committing-aead/keys/v1", 80)
    body = sealed[:-32]
    tag = sealed[-32:]
    covered = len(associated).to_bytes(8, "big") + associated + body
    assert hmac.digest(keys[48:], covered, "sha512_256") == tag
    return Cipher(algorithms.AES(keys[:32]), modes.CTR(keys[32:48])).encryptor().update(body)


def public(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agreed(private: bytes, other: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(other))


def framed(name: str) -> bytes:
    return len(name.encode()).to_bytes(4, "big") + name.encode()


def private_keys(account: Account) -> dict[str, Any]:
    """Private keys from an account's dump, in which the library writes bytes as Latin-1.

    The identity key is kept as the seed of an Ed25519 key, whose scalar is the X25519 key.
    """
    kept = json.loads(AccountState.decode(account.dump()).keys)
    assert kept["identity_key"]["secret_type"] == "SEED"
    seed = kept["identity_key"]["secret"].encode("latin-1")
    return {
        "identity": hashlib.sha512(seed).digest()[:32],
        "signed": kept["signed_pre_key"]["priv"].encode("latin-1"),
        "one_time": [key.encode("latin-1") for key in kept["pre_keys"]],
    }


def x3dh_secret(keys: dict[str, Any], message: SealedMessage) -> bytes:
    """X3DH as the responder."""
    (initial,) = message.initial
    shared = [
        agreed(keys["signed"], initial.identity),
        agreed(keys["identity"], initial.ephemeral),
        agreed(keys["signed"], initial.ephemeral),
        *(agreed(key, initial.ephemeral) for key in keys["one_time"] if public(key) in initial.one_time),
    ]
    material = b"\xff" * 32 + b"".join(shared)
    return hkdf("sha256", bytes(32), material, b"blindmatch/messenger/x3dh/v1", 32)


@pytest.mark.parametrize("one_time", [0, 1], ids=["without a one-time pre-key", "with one"])
def test_a_first_message_opens_by_the_page_alone(one_time: int) -> None:
    alice = Account.create("alice", 0)
    bob = Account.create("bob", 0)
    keys = private_keys(bob)
    shown = bob.get_published_keys()
    bundle = replace(shown, one_time=shown.one_time[:one_time])
    content = compose("from the trip", (), 1, system_randomness())
    message = SealedMessage.decode(alice.encrypt("bob", content, bundle))
    (initial,) = message.initial

    name = hashlib.sha256(b"blindmatch/messenger/session/v1" + initial.encode()).digest()[:16]
    assert message.session == name
    root = hkdf(
        "sha256",
        x3dh_secret(keys, message),
        agreed(keys["signed"], message.header.ratchet_key),
        b"blindmatch/messenger/root-chain/v1",
        64,
    )
    message_key = hmac.digest(root[32:], b"\x01", "sha256")
    agreement = b"\x05" + initial.identity + b"\x05" + shown.identity + framed("alice") + framed("bob")
    binding = MessageBinding(agreement, 5, name, message.initial, message.commitment)
    salt = message.ciphertext[:16]
    sealed = message.ciphertext[16:]
    key = hkdf("sha256", salt, message_key, b"blindmatch/messenger/message-key/v1", 32)
    padded = open_committed(key, sealed, binding.encode() + message.header.encode())

    assert len(padded) % 256 == 0
    assert padded.rstrip(b"\0")[-1:] == b"\x80"
    assert Franked.decode(padded.rstrip(b"\0")[:-1]) == Franked(content, b"", ())


def test_an_attachment_opens_by_the_page_alone() -> None:
    data = b"a picture's bytes" * 200
    blob, ref = seal_attachment(data, "image/png", system_randomness())
    padded = open_committed(ref.key, blob, b"blindmatch/messenger/attachment/v1")
    assert padded.rstrip(b"\0") == data + b"\x80"
    assert ref.digest == hashlib.sha256(data).digest()
