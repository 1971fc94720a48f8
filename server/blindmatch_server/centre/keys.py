"""The centre's secrets: the key reports are sealed to, that of its second perceptual hash, and the identity
of the account its notices come from. Devices are configured with the public halves of the first and the last.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from blindmatch_server.authority import write_secret
from blindmatch_server.errors import StateError
from blindmatch_server.key_files import line_of, read_key
from blindmatch_server.keyed_hash import KEY_BYTES, KeyedHasher

SEALING_KEY: Final = "centre.key"
PUBLIC_KEY: Final = "centre.pub"
HASHING_KEY: Final = "second-hash.key"
NOTICES_KEY: Final = "notices.key"
NOTICES_PUBLIC: Final = "notices.pub"
_X25519_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class CentreKeys:
    """Both secrets, opened."""

    sealing: X25519PrivateKey = field(repr=False)
    hasher: KeyedHasher = field(repr=False)

    @property
    def public_key(self) -> bytes:
        """What reports are sealed to: X25519, 32 bytes."""
        return self.sealing.public_key().public_bytes_raw()

    @classmethod
    def create(cls, directory: Path) -> CentreKeys:
        """Make new keys: three secret files (mode 0600) and two public ones, each 64 hex digits.

        Raises:
            StateError: if `directory` holds keys already.
        """
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (directory / SEALING_KEY).exists() or (directory / HASHING_KEY).exists():
            raise StateError(f"{directory.name}: holds the centre's keys already")
        secret = ((SEALING_KEY, _X25519_BYTES), (HASHING_KEY, KEY_BYTES), (NOTICES_KEY, _X25519_BYTES))
        for name, length in secret:
            write_secret(directory / name, line_of(secrets.token_bytes(length)))
        notices = X25519PrivateKey.from_private_bytes(read_notices_key(directory)).public_key()
        (directory / NOTICES_PUBLIC).write_bytes(line_of(notices.public_bytes_raw()))
        keys = cls.read(directory)
        (directory / PUBLIC_KEY).write_bytes(line_of(keys.public_key))
        return keys

    @classmethod
    def read(cls, directory: Path) -> CentreKeys:
        """Read the secrets.

        Raises:
            StateError: if a file is missing or is not 64 hex digits.
        """
        sealing = X25519PrivateKey.from_private_bytes(read_key(directory / SEALING_KEY))
        return cls(sealing, KeyedHasher(read_key(directory / HASHING_KEY)))


def read_public_key(directory: Path) -> bytes:
    """The public key that `CentreKeys.create` wrote.

    Raises:
        StateError: if the file is missing or is not 64 hex digits.
    """
    return read_key(directory / PUBLIC_KEY)


def read_notices_key(directory: Path) -> bytes:
    """The private identity key of the notices' account, X25519, 32 bytes; `StateError` as above."""
    return read_key(directory / NOTICES_KEY)


def read_notices_public(directory: Path) -> bytes:
    """The public identity key of the notices' account, 32 bytes; `StateError` as above."""
    return read_key(directory / NOTICES_PUBLIC)
