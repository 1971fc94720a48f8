"""Keys of 32 bytes as files: 64 hex digits and a line end; and Ed25519 keys in two such files."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final, Self

from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Struct
from nacl.signing import SigningKey

from blindmatch_server.storage.errors import StateError
from blindmatch_server.storage.files import PUBLIC, replace_file

KEY_BYTES: Final = 32


def line_of(key: bytes) -> bytes:
    """A key as its file has it."""
    return key.hex().encode() + b"\n"


def read_key(path: Path) -> bytes:
    """The key in a file; `StateError` if the file is missing or is not 64 hex digits."""
    try:
        content = path.read_bytes()
        key = bytes.fromhex(content.decode("ascii"))
    except (OSError, ValueError) as error:
        raise StateError(f"{path.name}: cannot be read as a key") from error
    if line_of(key) != content or len(key) != KEY_BYTES:
        raise StateError(f"{path.name}: must be 64 hex digits and a line end")
    return key


class Ed25519Key(Redacted, Struct, frozen=True):
    """An Ed25519 key (RFC 8032), kept as ``NAME.key``, the secret (mode 0600), and ``NAME.pub``."""

    NAME: ClassVar[str]
    _key: SigningKey

    @classmethod
    def generate(cls) -> Self:
        """A new key that is in no file."""
        return cls(SigningKey.generate())

    @classmethod
    def of(cls, seed: bytes) -> Self:
        """The key that follows from 32 secret bytes (RFC 8032, section 5.1.5)."""
        return cls(SigningKey(seed))

    @classmethod
    def create(cls, directory: Path) -> Self:
        """Make a new key in files; `StateError` if `directory` holds one already."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (directory / f"{cls.NAME}.key").exists():
            raise StateError(f"{directory.name}: holds a key of the {cls.NAME} already")
        made = cls.generate()
        replace_file(directory / f"{cls.NAME}.key", line_of(bytes(made._key)))
        replace_file(directory / f"{cls.NAME}.pub", line_of(made.public), PUBLIC)
        return made

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read what `create` wrote; raises `StateError` if the file is missing or is not 64 hex digits."""
        return cls.of(read_key(directory / f"{cls.NAME}.key"))

    @property
    def public(self) -> bytes:
        """What its signatures are verified with, 32 bytes."""
        return bytes(self._key.verify_key)
