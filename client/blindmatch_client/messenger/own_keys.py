"""An account's own keys: its identity, and the pre-keys that others start sessions with (X3DH, 3.1)."""

from __future__ import annotations

from typing import Final

import x3dh
from blindmatch_protocol.messages.sender_proof import Franking
from x3dh.pre_key_pair import PreKeyPair

from blindmatch_client.messenger.franking import OwnFranking, private_identity
from blindmatch_client.messenger.peers import Peers
from blindmatch_client.messenger.pre_keys import ONE_TIME_MOST, WITHDRAWN_KEPT_MS, PreKeyPublication
from blindmatch_client.messenger.suite import AGREEMENT_TAG, KeyAgreement

AGREEMENT: Final = (x3dh.IdentityKeyFormat.CURVE_25519, x3dh.HashFunction.SHA_256, AGREEMENT_TAG)


class OwnKeys(Peers):
    """They, beside the peers' keys."""

    __slots__ = (
        "_core_changed",
        "_franking",
        "_identity",
        "_keys",
        "_name",
        "_rotated_at",
        "_withdrawn",
    )

    def __init__(self, name: str, keys: KeyAgreement, rotated_at: int) -> None:
        super().__init__()
        self._name = name
        self._keys = keys
        self._identity = keys.bundle.identity_key
        self._rotated_at = rotated_at
        self._withdrawn: dict[bytes, int] = {}
        self._core_changed = True
        self._franking = OwnFranking(Franking(), lambda: private_identity(self._keys))

    @property
    def name(self) -> str:
        """The name the account was created with."""
        return self._name

    @property
    def identity(self) -> bytes:
        """The public identity key, 32 bytes."""
        return self._identity

    @property
    def one_time_left(self) -> int:
        """One-time pre-keys that are published and that no message has used yet."""
        return self.one_time_kept - len(self._withdrawn)

    @property
    def one_time_kept(self) -> int:
        """The same with those that are not published any more."""
        return self._keys.get_num_visible_pre_keys()

    def published(self) -> PreKeyPublication:
        """What the relay must hold, with all one-time pre-keys that were neither used nor withdrawn."""
        bundle = self._keys.bundle
        return PreKeyPublication(
            identity=bundle.identity_key,
            signed_pre_key=bundle.signed_pre_key,
            signature=bundle.signed_pre_key_sig,
            one_time=tuple(sorted(bundle.pre_keys - self._withdrawn.keys())),
            franking_key=self._franking.key,
        )

    def frank(self, franking: Franking) -> None:
        """Frank and demand franking in this mode from now on; an account that was just made does neither."""
        self._franking = OwnFranking(franking, lambda: private_identity(self._keys))

    def add_one_time_pre_keys(self, count: int) -> tuple[bytes, ...]:
        """Make `count` more one-time pre-keys; their public keys, for the relay to add.

        Raises:
            ValueError: if the account would hold more than 1,000.
        """
        if not 0 <= count <= ONE_TIME_MOST - self.one_time_kept:
            raise ValueError(f"an account holds up to {ONE_TIME_MOST} one-time pre-keys")
        self._core_changed = True
        before = self._keys.bundle.pre_keys
        self._keys.generate_pre_keys(count)
        return tuple(sorted(self._keys.bundle.pre_keys - before))

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
            model, gone = self._keys.model, known.keys() - kept.keys()
            left = [key for key in model.pre_keys if PreKeyPair(key).pub not in gone]
            model = model.model_copy(update={"pre_keys": frozenset(left)})
            self._keys = KeyAgreement.from_model(model, *AGREEMENT)
        self._withdrawn = kept

    def signed_pre_key_age(self, now: int) -> int:
        """Milliseconds since the signed pre-key was made."""
        return now - self._rotated_at

    def rotate_signed_pre_key(self, now: int) -> None:
        """Replace the signed pre-key; the one before still serves messages that are under way.

        What peers started with those before is forgotten: nothing can be started with them again.
        """
        self._core_changed = True
        self._keys.rotate_signed_pre_key()
        self._rotated_at = now
        serving = {self._keys.bundle.signed_pre_key, self._keys.old_signed_pre_key or b""}
        for name, peer in self._peers.items():
            if (left := peer.serving(serving)) is not peer:
                self._set_peer(name, left)
