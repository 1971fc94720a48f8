"""The centre's secrets: the key reports are sealed to, that of its second perceptual hash, the one that it
shares with the relay for stamps, the one that it judges franked messages with, and the identity of the
account its notices come from. Devices are configured with the public halves of the first and the last two.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.crypto import amf
from blindmatch_protocol.messages.stamp import KEY_LENGTH
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from msgspec import Struct

from blindmatch_server.centre.keyed_hash import KEY_BYTES, KeyedHasher
from blindmatch_server.storage.errors import StateError
from blindmatch_server.storage.key_files import line_of, read_key
from blindmatch_server.storage.workspace import replace_file

SEALING_KEY: Final = "centre.key"
PUBLIC_KEY: Final = "centre.pub"
HASHING_KEY: Final = "second-hash.key"
STAMP_KEY: Final = "stamp.key"
JUDGE_KEY: Final = "judge.key"
JUDGE_PUBLIC: Final = "judge.pub"
NOTICES_KEY: Final = "notices.key"
NOTICES_PUBLIC: Final = "notices.pub"
_X25519_BYTES: Final = 32


class CentreKeys(Redacted, Struct, frozen=True):
    """The secrets that checks need, opened."""

    sealing: X25519PrivateKey
    hasher: KeyedHasher
    stamp: bytes
    judge: bytes

    @property
    def public_key(self) -> bytes:
        """What reports are sealed to: X25519, 32 bytes."""
        return self.sealing.public_key().public_bytes_raw()

    @classmethod
    def create(cls, directory: Path) -> CentreKeys:
        """Make new keys: five secret files (mode 0600) and three public ones, each 64 hex digits.

        Raises:
            StateError: if `directory` holds keys already.
        """
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (directory / SEALING_KEY).exists() or (directory / HASHING_KEY).exists():
            raise StateError(f"{directory.name}: holds the centre's keys already")
        secret = {SEALING_KEY: _X25519_BYTES, HASHING_KEY: KEY_BYTES, NOTICES_KEY: _X25519_BYTES}
        for name, length in (secret | {STAMP_KEY: KEY_LENGTH}).items():
            replace_file(directory / name, line_of(secrets.token_bytes(length)))
        judge = amf.secret_key(secrets.token_bytes(amf.KEY_LENGTH))
        replace_file(directory / JUDGE_KEY, line_of(judge))
        (directory / JUDGE_PUBLIC).write_bytes(line_of(amf.public_key(judge)))
        notices = X25519PrivateKey.from_private_bytes(read_key(directory / NOTICES_KEY)).public_key()
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
        hasher = KeyedHasher(read_key(directory / HASHING_KEY))
        return cls(sealing, hasher, read_key(directory / STAMP_KEY), read_key(directory / JUDGE_KEY))
