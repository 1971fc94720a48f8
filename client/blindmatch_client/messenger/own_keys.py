"""An account's own keys: its identity, pre-keys (X3DH, section 3.1), and its franking.

The key for asymmetric franking follows from the identity key's secret, so there is nothing more to keep; its
public half is signed by the identity key, which safety numbers are of.
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
"""The messenger's keys draw for themselves, as its libraries do (suite.py)."""


class OwnFranking:
    """The franking of one account."""

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
        """Does a message need the franking keys of both ends?"""
        return self._mode is FrankingMode.DESIGNATED

    def proof(self, commitment: bytes, recipient_key: tuple[bytes, ...]) -> bytes:
        """What goes into a message for the holder of this key; `NotFrankedError` if a key is needed, and
        missing or none."""
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
        """Check what a message from the holder of these public keys bears; `NotFrankedError` if it is not
        what every message must bear in this mode."""
        right = len(proof) == PROOF_LENGTHS[self._mode]
        if self._mode is FrankingMode.SIGNATURE:
            right = right and is_signed(identity, proven(commitment), proof)
        elif self._mode is FrankingMode.DESIGNATED:
            keys = [amf.Keys(key, self.key.key, self._judge) for key in sender_key]
            right = right and any(amf.verify(self._secret, one, proven(commitment), proof) for one in keys)
        if not right:
            raise NotFrankedError


def private_identity(keys: KeyAgreement) -> bytes:
    """The private identity key, X25519, 32 bytes."""
    return IdentityKeyPair.from_model(keys.model.identity_key).as_priv().priv


def key_of(identity: bytes, shown: tuple[FrankingKey, ...]) -> tuple[bytes, ...]:
    """The franking key of the account with this identity key, if one is shown; `BundleRefusedError` if it is
    none, or the identity key has not signed it."""
    try:
        for one in shown:
            one.check_owner(identity)
    except ProtocolError:
        raise BundleRefusedError from None
    return tuple(one.key for one in shown)


AGREEMENT: Final = (x3dh.IdentityKeyFormat.CURVE_25519, x3dh.HashFunction.SHA_256, AGREEMENT_TAG)


class OwnKeys(Peers):
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
        # the library's bundle would compute the public key of every one-time pre-key
        own = private_identity(keys)
        self.identity = xeddsa.priv_to_curve25519_pub(own)
        self.rotated_at = rotated_at
        self._withdrawn: dict[bytes, int] = {}
        self._core_changed = True
        self._franking = OwnFranking(Franking(), own)

    @property
    def franking_key(self) -> FrankingKey:
        """The key for franking, with the identity key's signature."""
        return self._franking.key

    @property
    def one_time_left(self) -> int:
        """One-time pre-keys that are published and that no message has used yet."""
        return self.one_time_kept - len(self._withdrawn)

    @property
    def one_time_kept(self) -> int:
        """One-time pre-keys that no message has used yet, also those not published any more."""
        return self._keys.get_num_visible_pre_keys()

    def published(self) -> PreKeys:
        """Return what the relay must hold, with all one-time pre-keys neither used nor withdrawn."""
        bundle = self._keys.bundle
        return PreKeys(
            identity=bundle.identity_key,
            signed_pre_key=bundle.signed_pre_key,
            signature=bundle.signed_pre_key_sig,
            one_time=tuple(sorted(bundle.pre_keys - self._withdrawn.keys())),
            franking_key=(self._franking.key,),
        )

    def frank(self, franking: Franking) -> None:
        """Frank and demand franking in this mode from now on; an account that was just made does neither."""
        self._franking = OwnFranking(franking, private_identity(self._keys))

    def add_one_time_pre_keys(self, count: int) -> None:
        """Make `count` more one-time pre-keys; `ValueError` if the account would hold more than 1,000."""
        if not 0 <= count <= ONE_TIME_MOST - self.one_time_kept:
            raise ValueError(f"an account holds up to {ONE_TIME_MOST} one-time pre-keys")
        self._core_changed = True
        self._keys.generate_pre_keys(count)

    def withdraw_one_time_pre_keys(self) -> None:
        """Publish none of the present one-time pre-keys any more; they still serve messages under way. Which
        of them were handed out only the relay knows.
        """
        self._core_changed = True
        self._withdrawn |= dict.fromkeys(self.published().one_time, 0)

    def note_published(self, now: int) -> None:
        """The relay holds what `published` says: from now on it hands out none that are withdrawn, which are
        deleted once no message can use them any more."""
        # a clock that was set back must not keep them for ever
        known = {key: min(since, now) or now for key, since in self._withdrawn.items()}
        kept = {key: since for key, since in known.items() if now - since <= WITHDRAWN_KEPT_MS}
        self._core_changed |= kept != self._withdrawn
        if len(kept) < len(known):
            # the library would compute every public key once for each that is deleted
            model = self._keys.model
            gone = known.keys() - kept.keys()
            left = [key for key in model.pre_keys if PreKeyPair(key).pub not in gone]
            model = model.model_copy(update={"pre_keys": frozenset(left)})
            self._keys = KeyAgreement.from_model(model, *AGREEMENT)
        self._withdrawn = kept

    def rotate_signed_pre_key(self, now: int) -> None:
        """Replace the signed pre-key; the one before still serves messages that are under way. What peers
        started with older ones is forgotten: nothing can be started with them again."""
        self._core_changed = True
        self._keys.rotate_signed_pre_key()
        self.rotated_at = now
        serving = {self._keys.bundle.signed_pre_key, self._keys.old_signed_pre_key or b""}
        for name, peer in self._peers.items():
            if (left := peer.serving(serving)) is not peer:
                self._set_peer(name, left)
