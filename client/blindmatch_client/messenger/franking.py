"""What binds an account's messages to its key, and what it demands of others'; in which mode is configured.

The key for asymmetric franking follows from the identity key's secret, so there is nothing more to keep; its
public half is signed by the identity key, which safety numbers are of.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from secrets import token_bytes

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.messages.franking_mode import FrankingMode
from blindmatch_protocol.messages.sender_proof import (
    NONCE_LENGTH,
    PROOF_LENGTHS,
    Franking,
    FrankingKey,
    is_signed,
    proven,
    sign,
)
from x3dh.identity_key_pair import IdentityKeyPair

from blindmatch_client.messenger.designated import Designated
from blindmatch_client.messenger.errors import BundleRefusedError, NotFrankedError
from blindmatch_client.messenger.suite import KeyAgreement


class OwnFranking:
    """The franking of one account.

    Args:
        franking: the mode, and the judge.
        identity: gives the private identity key when it is first needed.
    """

    def __init__(self, franking: Franking, identity: Callable[[], bytes]) -> None:
        self._mode, self._judge, self._identity_of = franking.mode, franking.judge, identity

    def __repr__(self) -> str:
        return "<OwnFranking>"

    @cached_property
    def _identity(self) -> bytes:
        return self._identity_of()

    @cached_property
    def _designated(self) -> Designated:
        return Designated(self._identity, self._judge)

    @property
    def key(self) -> FrankingKey:
        """The account's public key, signed."""
        return self._designated.key

    @property
    def needs_keys(self) -> bool:
        """Does a message need the franking keys of both ends?"""
        return self._mode is FrankingMode.DESIGNATED

    def proof(self, commitment: bytes, recipient_key: tuple[bytes, ...]) -> bytes:
        """What goes into a message for the holder of this key.

        Raises:
            NotFrankedError: if a key is needed, and missing or none.
        """
        match self._mode:
            case FrankingMode.STAMP:
                return b""
            case FrankingMode.SIGNATURE:
                return sign(self._identity, proven(commitment), token_bytes(NONCE_LENGTH))
            case FrankingMode.DESIGNATED:
                for key in recipient_key:
                    return self._designated.frank(commitment, key)
                raise NotFrankedError

    def check(self, commitment: bytes, proof: bytes, identity: bytes, sender_key: tuple[bytes, ...]) -> None:
        """Check what a message from the holder of these public keys bears.

        Raises:
            NotFrankedError: if it is not what every message must bear in this mode.
        """
        right = len(proof) == PROOF_LENGTHS[self._mode]
        if self._mode is FrankingMode.SIGNATURE:
            right = right and is_signed(identity, proven(commitment), proof)
        elif self._mode is FrankingMode.DESIGNATED:
            right = right and any(self._designated.verifies(commitment, proof, key) for key in sender_key)
        if not right:
            raise NotFrankedError


def private_identity(keys: KeyAgreement) -> bytes:
    """The private identity key, X25519, 32 bytes."""
    return IdentityKeyPair.from_model(keys.model.identity_key).as_priv().priv


def key_of(identity: bytes, shown: tuple[FrankingKey, ...]) -> tuple[bytes, ...]:
    """The franking key of the account with this identity key, if one is shown.

    Raises:
        BundleRefusedError: if it is none, or the identity key has not signed it.
    """
    try:
        for one in shown:
            one.check_owner(identity)
    except ProtocolError:
        raise BundleRefusedError from None
    return tuple(one.key for one in shown)
