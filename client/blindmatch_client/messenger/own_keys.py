"""Hold an account's own keys: its identity, its pre-keys (X3DH, section 3.1), and its franking key.

The key for asymmetric franking is derived from the secret identity key, so there is nothing more to store.
Its public half is signed by the identity key, which safety numbers authenticate.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from secrets import token_bytes
from typing import Final

import x3dh
import xeddsa
from blindmatch_protocol.codec.errors import GroupError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, system_randomness
from blindmatch_protocol.crypto import amf
from blindmatch_protocol.messages.franking import FrankingMode
from blindmatch_protocol.messages.sealed_message import (
    NONCE_LENGTH,
    PROOF_LENGTHS,
    Franking,
    FrankingKey,
    is_signed,
    proven,
    sign,
)
from x3dh.identity_key_pair import IdentityKeyPair
from x3dh.pre_key_pair import PreKeyPair

from blindmatch_client.errors import BundleRefusedError, NotFrankedError
from blindmatch_client.messenger.peers import Peers
from blindmatch_client.messenger.state import ONE_TIME_MOST, WITHDRAWN_KEPT_MS, PreKeys
from blindmatch_client.messenger.suite import AGREEMENT_TAG, KeyAgreement

_RNG: Final[Randomness] = system_randomness()
"""The messenger draws its own randomness, as its libraries do (suite.py)."""


class OwnFranking:
    """Proves and checks who sent a message, in one mode, for one account."""

    def __init__(self, franking: Franking, identity: bytes) -> None:
        self._mode = franking.mode
        self._judge = franking.judge
        self._identity = identity

    def __repr__(self) -> str:
        return "<OwnFranking>"

    @cached_property
    def _secret(self) -> bytes:
        return amf.secret_key(self._identity)

    @cached_property
    def key(self) -> FrankingKey:
        return FrankingKey.signed(amf.public_key(self._secret), self._identity, token_bytes(NONCE_LENGTH))

    @property
    def needs_keys(self) -> bool:
        """True if a message needs the franking keys of both ends."""
        return self._mode is FrankingMode.DESIGNATED

    def prove(self, commitment: bytes, recipient_key: tuple[bytes, ...]) -> bytes:
        """Make the proof that goes into a message for the holder of this key; empty if the mode has none.

        Raises:
            NotFrankedError: The mode needs the recipient's key, which is missing or malformed.
        """
        match self._mode:
            case FrankingMode.STAMP:
                return b""
            case FrankingMode.SIGNATURE:
                return sign(self._identity, proven(commitment), token_bytes(NONCE_LENGTH))
            case FrankingMode.DESIGNATED:
                for key in recipient_key:
                    keys = amf.Keys(self.key.key, key, self._judge)
                    with suppress(GroupError):
                        return amf.frank(self._secret, keys, proven(commitment), _RNG)
                raise NotFrankedError

    def check(self, commitment: bytes, proof: bytes, identity: bytes, sender_key: tuple[bytes, ...]) -> None:
        """Check the proof in a message from the holder of these public keys.

        Raises:
            NotFrankedError: It is not the proof that every message must have in this mode.
        """
        is_proven = len(proof) == PROOF_LENGTHS[self._mode]
        if self._mode is FrankingMode.SIGNATURE:
            is_proven = is_proven and is_signed(identity, proven(commitment), proof)
        elif self._mode is FrankingMode.DESIGNATED:
            key_sets = [amf.Keys(key, self.key.key, self._judge) for key in sender_key]
            is_proven = is_proven and any(
                amf.verify(self._secret, keys, proven(commitment), proof) for keys in key_sets
            )
        if not is_proven:
            raise NotFrankedError


def extract_identity(keys: KeyAgreement) -> bytes:
    """Extract the private identity key, X25519, 32 bytes."""
    return IdentityKeyPair.from_model(keys.model.identity_key).as_priv().priv


def verify_key(identity: bytes, shown: tuple[FrankingKey, ...]) -> tuple[bytes, ...]:
    """Verify the franking key that is shown for the account with this identity key.

    Args:
        shown: The key, or nothing.

    Returns:
        Its 32 bytes, or nothing.

    Raises:
        BundleRefusedError: It is malformed, or the identity key has not signed it.
    """
    try:
        for franking_key in shown:
            franking_key.check_owner(identity)
    except ProtocolError:
        raise BundleRefusedError from None
    return tuple(franking_key.key for franking_key in shown)


AGREEMENT: Final = (x3dh.IdentityKeyFormat.CURVE_25519, x3dh.HashFunction.SHA_256, AGREEMENT_TAG)


class OwnKeys(Peers):
    """An account's own keys, beside its peers."""

    __slots__ = (
        "_core_changed",
        "_franking",
        "_keys",
        "_withdrawn",
        "identity",
        "name",
        "rotated_at",
    )

    def __init__(self, name: str, keys: KeyAgreement, rotated_at: int) -> None:
        super().__init__()
        self.name = name
        self._keys = keys
        # not from the library's bundle, which computes the public key of every one-time pre-key
        own = extract_identity(keys)
        self.identity = xeddsa.priv_to_curve25519_pub(own)
        self.rotated_at = rotated_at
        self._withdrawn: dict[bytes, int] = {}
        self._core_changed = True
        self._franking = OwnFranking(Franking(), own)

    @property
    def franking_key(self) -> FrankingKey:
        """The public franking key, with the identity key's signature."""
        return self._franking.key

    @property
    def one_time_left(self) -> int:
        """Number of one-time pre-keys that are published and that no message has used yet."""
        return self.one_time_kept - len(self._withdrawn)

    @property
    def one_time_kept(self) -> int:
        """Number of one-time pre-keys that no message has used yet, withdrawn ones included."""
        return self._keys.get_num_visible_pre_keys()

    def get_published_keys(self) -> PreKeys:
        """Return the keys that the relay must hold, with all one-time pre-keys neither used nor withdrawn."""
        bundle = self._keys.bundle
        return PreKeys(
            identity=bundle.identity_key,
            signed_pre_key=bundle.signed_pre_key,
            signature=bundle.signed_pre_key_sig,
            one_time=tuple(sorted(bundle.pre_keys - self._withdrawn.keys())),
            franking_key=(self._franking.key,),
        )

    def frank(self, franking: Franking) -> None:
        """Frank, and demand franking, in this mode from now on; a new account does neither."""
        self._franking = OwnFranking(franking, extract_identity(self._keys))

    def add_one_time_pre_keys(self, count: int) -> None:
        """Make `count` more one-time pre-keys.

        Raises:
            ValueError: The account would hold more than 1,000.
        """
        if not 0 <= count <= ONE_TIME_MOST - self.one_time_kept:
            raise ValueError(f"an account holds up to {ONE_TIME_MOST} one-time pre-keys")
        self._core_changed = True
        self._keys.generate_pre_keys(count)

    def withdraw_one_time_pre_keys(self) -> None:
        """Publish none of the present one-time pre-keys any more.

        They still open messages under way: only the relay knows which of them it handed out.
        """
        self._core_changed = True
        self._withdrawn |= dict.fromkeys(self.get_published_keys().one_time, 0)

    def note_published(self, now: int) -> None:
        """Note that the relay holds the published keys, so that it hands out no withdrawn ones any more.

        Those are deleted once no message can use them.
        """
        # a clock that was set back must not keep them for ever
        known = {key: min(since, now) or now for key, since in self._withdrawn.items()}
        kept = {key: since for key, since in known.items() if now - since <= WITHDRAWN_KEPT_MS}
        self._core_changed |= kept != self._withdrawn
        if len(kept) < len(known):
            # all at once: for each deletion the library would compute the public keys of all the others
            model = self._keys.model
            deleted = known.keys() - kept.keys()
            left = [key for key in model.pre_keys if PreKeyPair(key).pub not in deleted]
            model = model.model_copy(update={"pre_keys": frozenset(left)})
            self._keys = KeyAgreement.from_model(model, *AGREEMENT)
        self._withdrawn = kept

    def rotate_signed_pre_key(self, now: int) -> None:
        """Replace the signed pre-key; the one before still opens messages under way.

        Which sessions peers started with older ones is forgotten: those keys can start none again.
        """
        self._core_changed = True
        self._keys.rotate_signed_pre_key()
        self.rotated_at = now
        serving = {self._keys.bundle.signed_pre_key, self._keys.old_signed_pre_key or b""}
        for name, peer in self._peers.items():
            remaining = peer.forget_accepted(serving)
            if remaining is not peer:
                self._set_peer(name, remaining)
