"""Message keys in escrow: any k of n authorities together open the messages of one account.

    device      secret --> key of the message; secret --Shamir, k of n--> shares --HPKE--> sealed shares
    provider    keeps ciphertext and sealed shares of every message of every account
    authority   by a warrant for an account: opens its share of each of that account's messages
    k of them   shares --> secret --> key --> text

Shares are sealed under account, message and period, so those of one account do not open as another's. An
authority has one key a period; with one period it has one key for good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from typing import ClassVar, Final

import numpy as np
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.crypto import hpke
from blindmatch_protocol.designs.token_psi import shares
from blindmatch_protocol.group.tagged import expand
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from msgspec import Struct, field

KEY_TAG: Final = b"blindmatch/study/targeted-access/message-key/v1"
SHARE_TAG: Final = b"blindmatch/study/targeted-access/share/v1"
_ONCE: Final = bytes(12)


class Kept(Redacted, Struct, frozen=True):
    """A message as the provider keeps it.

    Attributes:
        account, number, period: whose it is, which one, and when it was sent.
        ciphertext: of the text.
        sealed: a share for each authority.
    """

    SHOWN: ClassVar = ("account", "number", "period")

    account: int
    number: int
    period: int
    ciphertext: bytes
    sealed: tuple[bytes, ...]

    @property
    def info(self) -> bytes:
        """What its shares are bound to."""
        return SHARE_TAG + b"".join(n.to_bytes(8, "big") for n in (self.account, self.number, self.period))

    @property
    def escrow_bytes(self) -> int:
        """What escrow adds to a message."""
        return sum(map(len, self.sealed))


class Authority(Redacted, Struct):
    """One of the n.

    Attributes:
        keys: X25519 private keys, one a period; None once it is destroyed.
        warrants: accounts that a court allowed it to open.
        opened: what it saw when: account and message of each share that it opened.
    """

    SHOWN: ClassVar = ("warrants", "opened")

    keys: list[bytes | None]
    warrants: set[int] = field(default_factory=set)
    opened: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def drawn(cls, periods: int, rng: Randomness) -> Authority:
        """With fresh keys."""
        return cls([rng.take(hpke.KEY_BYTES) for _ in range(periods)])

    def public(self, period: int) -> bytes:
        """Its public key of a period that is not over."""
        key = self.keys[period]
        assert key is not None
        return hpke.public_key(key)

    def share_of(self, kept: Kept, place: int) -> bytes | None:
        """Its share of a message; None without a warrant for the account, or if it is no share of it."""
        if kept.account not in self.warrants:
            return None
        share = unsealed(self.keys[kept.period], kept, place)
        if share is not None:
            self.opened.append((kept.account, kept.number))
        return share


def unsealed(key: bytes | None, kept: Kept, place: int) -> bytes | None:
    """The share that lies at `place` of a message, by whoever has the key it is sealed to, if it is one."""
    share = None if key is None else hpke.open_sealed(key, kept.info, kept.sealed[place])
    return share if share is not None and len(share) == shares.VALUE_BYTES else None


def sent(
    account: int,
    number: int,
    period: int,
    publics: Sequence[bytes],
    needed: int,
    text: bytes,
    rng: Randomness,
) -> Kept:
    """A text under a fresh secret, in escrow with those whose public keys these are."""
    drawn = rng.take(needed * shares.SECRET_BYTES)
    coefficients = np.frombuffer(drawn, np.uint8).reshape(1, needed, shares.SECRET_BYTES)
    values = shares.values(coefficients, len(publics))[0]
    ciphertext = _cipher(shares.secrets_of(coefficients)[0].tobytes()).encrypt(_ONCE, text, None)
    empty = Kept(account, number, period, ciphertext, ())
    sealed = [
        hpke.seal(public, empty.info, value.tobytes(), rng.take(hpke.KEY_BYTES))
        for public, value in zip(publics, values, strict=True)
    ]
    return Kept(account, number, period, ciphertext, tuple(sealed))


def read(kept: Kept, found: Mapping[int, bytes], needed: int) -> bytes | None:
    """The text of a message, from shares by their place; None if fewer than `needed` of them are its own."""
    total = len(kept.sealed)
    held = np.zeros((total, 1, shares.VALUE_BYTES), np.uint8)
    for place, share in found.items():
        held[place, 0] = np.frombuffer(share, np.uint8)
    chosen = combinations(range(total), needed)
    for places, secret in zip(chosen, shares.candidates(held, needed), strict=True):
        if found.keys() >= set(places):
            with suppress(InvalidTag):
                return _cipher(secret.tobytes()).decrypt(_ONCE, kept.ciphertext, None)
    return None


def _cipher(secret: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(expand(KEY_TAG, 0, [secret], hpke.KEY_BYTES)[0].tobytes())
