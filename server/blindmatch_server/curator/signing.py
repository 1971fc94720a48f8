"""The curator's key, which signs every epoch's manifest. Whoever builds a set reads it, and no server."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from blindmatch_protocol.epoch_manifest import NO_PREDECESSOR, EpochManifest, SignedManifest, sign
from nacl.signing import SigningKey

from blindmatch_server.authority import write_secret
from blindmatch_server.errors import StateError
from blindmatch_server.key_files import line_of, read_key

SIGNING_KEY: Final = "curator.key"
PUBLIC_KEY: Final = "curator.pub"
DAY_S: Final = 86_400
VALID_DAYS: Final = 365
CLOCK_SKEW_S: Final = 300
"""An epoch is valid from so long before it was built, for devices whose clock is behind."""


@dataclass(frozen=True, slots=True)
class CuratorKey:
    """An Ed25519 key (RFC 8032)."""

    _key: SigningKey = field(repr=False)

    @classmethod
    def generate(cls) -> CuratorKey:
        """A new key that is in no file."""
        return cls(SigningKey.generate())

    @classmethod
    def of(cls, seed: bytes) -> CuratorKey:
        """The key that follows from 32 secret bytes (RFC 8032, section 5.1.5)."""
        return cls(SigningKey(seed))

    @classmethod
    def create(cls, directory: Path) -> CuratorKey:
        """Make a new key: a secret file (mode 0600) and ``curator.pub``, each 64 hex digits.

        Raises:
            StateError: if `directory` holds a key already.
        """
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (directory / SIGNING_KEY).exists():
            raise StateError(f"{directory.name}: holds the curator's key already")
        made = cls.generate()
        write_secret(directory / SIGNING_KEY, line_of(bytes(made._key)))
        (directory / PUBLIC_KEY).write_bytes(line_of(made.public))
        return made

    @classmethod
    def read(cls, directory: Path) -> CuratorKey:
        """Read what `create` wrote.

        Raises:
            StateError: if the file is missing or is not 64 hex digits.
        """
        return cls.of(read_key(directory / SIGNING_KEY))

    @property
    def public(self) -> bytes:
        """What devices and servers verify with, 32 bytes."""
        return bytes(self._key.verify_key)

    def sign(self, manifest: EpochManifest) -> SignedManifest:
        """The manifest with its signature."""
        return sign(manifest, self._key)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs an epoch that is published.

    Attributes:
        key: the curator's.
        valid_from: Unix time in seconds.
        valid_seconds: how long nothing but a newer epoch ends this one.
    """

    key: CuratorKey
    valid_from: int
    valid_seconds: int = VALID_DAYS * DAY_S

    @property
    def validity(self) -> tuple[int, int]:
        """Beginning and length."""
        return self.valid_from, self.valid_seconds

    def signed_anew(self, signed: SignedManifest) -> SignedManifest:
        """The first epoch of a chain, signed by another key before."""
        begin, length = self.validity
        again = replace(
            signed.manifest,
            predecessor_epoch=0,
            predecessor=NO_PREDECESSOR,
            valid_from=begin,
            valid_until=begin + length,
        )
        return self.key.sign(again)

    @classmethod
    def at(cls, key: CuratorKey, now: float, days: int = VALID_DAYS) -> Signer:
        """For an epoch built at `now`, Unix time in seconds."""
        return cls(key, int(now) - CLOCK_SKEW_S, days * DAY_S)
