"""An account's asymmetric franking: its key pair, what it franks, and what others franked for it."""

from __future__ import annotations

from secrets import token_bytes
from typing import Final

from blindmatch_protocol.codec.errors import GroupError
from blindmatch_protocol.codec.randomness import Randomness, system_randomness
from blindmatch_protocol.messages.sender_proof import NONCE_LENGTH, FrankingKey, proven

from blindmatch_client.messenger.errors import NotFrankedError

_RNG: Final[Randomness] = system_randomness()
"""The messenger's keys draw for themselves, as its libraries do (suite.py)."""


class Designated:
    """Of one account.

    Args:
        identity: the private identity key, which the franking key follows from and is signed by.

    Attributes:
        key: the account's public key, signed.
    """

    def __init__(self, identity: bytes, judge: bytes) -> None:
        from blindmatch_protocol.crypto import amf  # libsodium comes with it

        self._secret, self._judge = amf.secret_key(identity), judge
        public = amf.public_key(self._secret)
        self.key = FrankingKey.signed(public, identity, token_bytes(NONCE_LENGTH))

    def __repr__(self) -> str:
        return "<Designated>"

    def frank(self, commitment: bytes, recipient_key: bytes) -> bytes:
        """Frank a commitment for the holder of this key and the judge.

        Raises:
            NotFrankedError: if it is no key.
        """
        from blindmatch_protocol.crypto import amf

        keys = amf.Keys(self.key.key, recipient_key, self._judge)
        try:
            return amf.frank(self._secret, keys, proven(commitment), _RNG)
        except GroupError:
            raise NotFrankedError from None

    def verifies(self, commitment: bytes, proof: bytes, sender_key: bytes) -> bool:
        """Whether the holder of this key has franked the commitment for this account and the judge."""
        from blindmatch_protocol.crypto import amf

        keys = amf.Keys(sender_key, self.key.key, self._judge)
        return amf.verify(self._secret, keys, proven(commitment), proof)
