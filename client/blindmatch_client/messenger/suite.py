"""Choose the messenger's algorithms, in the form in which the libraries take them.

Choices follow X3DH, section 2.1, and Double Ratchet, section 5.2 ("Recommended cryptographic algorithms"),
but for the AEAD: the recommended one does not frame its associated data and compares tags with `!=`.

The libraries take randomness from `secrets` and the time from `time.time()` themselves. So their keys, and
the AEAD's salt, are the only randomness of the client that is not a parameter. The libraries only store the
time beside the signed pre-key and never use it (`Account` is given the time).
"""

from __future__ import annotations

import hmac
from secrets import token_bytes
from typing import Final

import doubleratchet
import x3dh
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.crypto.symmetric import seal, unseal
from blindmatch_protocol.messages.sealed_message import RatchetHeader
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from doubleratchet.models import (
    DiffieHellmanRatchetModel,
    DoubleRatchetModel,
    KDFChainModel,
    SkippedMessageKeyModel,
    SymmetricKeyRatchetModel,
)
from doubleratchet.recommended import HashFunction, kdf_hkdf
from doubleratchet.recommended.diffie_hellman_ratchet_curve25519 import DiffieHellmanRatchet

from blindmatch_client.messenger.state import KEPT_MOST, Chain, RatchetState, SkippedKey

AGREEMENT_TAG: Final = b"blindmatch/messenger/x3dh/v1"
ROOT_TAG: Final = b"blindmatch/messenger/root-chain/v1"
MESSAGE_KEY_TAG: Final = b"blindmatch/messenger/message-key/v1"

SALT_LENGTH: Final = 16

_SHA256: Final = SHA256()

SKIP_MOST: Final = 1000
"""Lost messages in one chain that a later message may skip (Double Ratchet, section 4.3: MAX_SKIP)."""


class KeyAgreement(x3dh.BaseState):
    """X3DH, in the library's manual variant: the automatic one draws and deletes pre-keys by itself."""

    @staticmethod
    def _encode_public_key(key_format: x3dh.IdentityKeyFormat, pub: bytes) -> bytes:
        """`Encode(PK)` of X3DH, section 2.1: one byte that names the curve, then the key."""
        return (b"\x05" if key_format is x3dh.IdentityKeyFormat.CURVE_25519 else b"\x06") + pub


class RootKdf(kdf_hkdf.KDF):
    """KDF_RK: HKDF-SHA-256."""

    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return ROOT_TAG


class ChainKdf(doubleratchet.KDF):
    """KDF_CK: HMAC-SHA-256 of one byte for the next chain key, of another for the message key."""

    @staticmethod
    async def derive(key: bytes, data: bytes, length: int) -> bytes:
        return b"".join([hmac.digest(key, bytes([constant]), "sha256") for constant in data])


class CommittingAead(doubleratchet.AEAD):
    """ENCRYPT and DECRYPT: a salt of 16 random bytes, then `symmetric.seal` under message key and salt.

    A message key is used once, so the specification needs no salt. It is a second line of defence: if a
    device sends from a state that was restored from a backup, it seals two messages under one message key,
    and the salt still keeps cipher key and counter apart.
    """

    @staticmethod
    async def encrypt(plaintext: bytes, key: bytes, associated_data: bytes) -> bytes:
        salt = token_bytes(SALT_LENGTH)
        return salt + seal(_derive_key(key, salt), plaintext, associated_data)

    @staticmethod
    async def decrypt(ciphertext: bytes, key: bytes, associated_data: bytes) -> bytes:
        salt = ciphertext[:SALT_LENGTH]
        sealed = ciphertext[SALT_LENGTH:]
        try:
            return unseal(_derive_key(key, salt), sealed, associated_data)
        except ProtocolError as error:
            raise doubleratchet.AuthenticationFailedException from error


class Ratchet(doubleratchet.DoubleRatchet):
    """The Double Ratchet with the header encoding of `sealed_message`."""

    @staticmethod
    def _build_associated_data(associated_data: bytes, header: doubleratchet.Header) -> bytes:
        """CONCAT of Double Ratchet, section 3.1; the header's encoding has one fixed length."""
        return associated_data + build_header(header).encode()


RATCHET_PARTS: Final = (
    DiffieHellmanRatchet,
    RootKdf,
    ChainKdf,
    b"\x02\x01",
    SKIP_MOST,
    KEPT_MOST,
    CommittingAead,
)
"""Arguments of the library whenever a ratchet is made or loaded."""


def dump_ratchet(ratchet: Ratchet) -> RatchetState:
    """Return the state of a ratchet in our encoding."""
    model = ratchet.model
    diffie_hellman = model.diffie_hellman_ratchet
    chains = diffie_hellman.symmetric_key_ratchet
    (root,) = _dump_chain(diffie_hellman.root_chain)
    previous = chains.previous_sending_chain_length
    return RatchetState(
        own_private=diffie_hellman.own_ratchet_priv,
        other_public=diffie_hellman.other_ratchet_pub,
        root=root,
        receiving=_dump_chain(chains.receiving_chain),
        sending=_dump_chain(chains.sending_chain),
        previous=() if previous is None else (previous,),
        skipped=tuple(
            SkippedKey(skipped.ratchet_pub, skipped.index, skipped.message_key)
            for skipped in model.skipped_message_keys
        ),
    )


def load_ratchet(state: RatchetState) -> Ratchet:
    """Restore a ratchet from its dump. Raises whatever the library raises."""
    chains = SymmetricKeyRatchetModel(
        receiving_chain=_load_chain(state.receiving),
        sending_chain=_load_chain(state.sending),
        previous_sending_chain_length=next(iter(state.previous), None),
    )
    diffie_hellman = DiffieHellmanRatchetModel(
        own_ratchet_priv=state.own_private,
        other_ratchet_pub=state.other_public,
        root_chain=KDFChainModel(length=state.root.length, key=state.root.key),
        symmetric_key_ratchet=chains,
    )
    skipped = [
        SkippedMessageKeyModel(ratchet_pub=key.ratchet_key, index=key.number, message_key=key.key)
        for key in state.skipped
    ]
    model = DoubleRatchetModel(diffie_hellman_ratchet=diffie_hellman, skipped_message_keys=skipped)
    return Ratchet.from_model(model, *RATCHET_PARTS)


def _dump_chain(chain: KDFChainModel | None) -> tuple[Chain, ...]:
    return () if chain is None else (Chain(chain.length, chain.key),)


def _load_chain(chain: tuple[Chain, ...]) -> KDFChainModel | None:
    return KDFChainModel(length=chain[0].length, key=chain[0].key) if chain else None


def build_header(header: doubleratchet.Header) -> RatchetHeader:
    """Build the header for the wire from the library's."""
    key, previous, number = header
    return RatchetHeader(ratchet_key=key, previous_chain_length=previous, number=number)


def _derive_key(key: bytes, salt: bytes) -> bytes:
    return HKDF(_SHA256, 32, salt=salt, info=MESSAGE_KEY_TAG).derive(key)  # RFC 5869
