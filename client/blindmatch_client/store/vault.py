"""The key of a device's store, and how values are sealed under it.

    passphrase --Argon2id--> locking key --opens--> data key --seals--> every secret value of the store
    key file ----------------^

A value is sealed by XChaCha20-Poly1305 (libsodium) under a random nonce of 24 bytes. The associated data
names table, column and row. Before that it is padded (ISO/IEC 7816-4) to a multiple of a block.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_bytes
from typing import Final, TypeAlias

from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Struct
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_ABYTES,
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
)
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id

from blindmatch_client.errors import StoreError, WrongKeyError

KEY_BYTES: Final = crypto_aead_xchacha20poly1305_ietf_KEYBYTES
NONCE_BYTES: Final = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
TAG_BYTES: Final = crypto_aead_xchacha20poly1305_ietf_ABYTES
SALT_BYTES: Final = argon2id.SALTBYTES
OPERATIONS: Final = 3
MEMORY: Final = 64 << 20
"""Argon2id: three passes over 64 MiB (RFC 9106, section 4, second recommended option, with one lane)."""

MOST_MEMORY: Final = 1 << 30
DATA_KEY_TAG: Final = "blindmatch/device-store/data-key/v1"
VALUE_TAG: Final = "blindmatch/device-store/value/v2"
BLOCK_BYTES: Final = 256
BLOCKS: Final[Mapping[str, int]] = {
    "attached.body": 2048,
    "peer.state": 1024,  # the centre's comes first: its notices, which follow a report, begin a session
    "meta.value/account": 4096,
    "meta.value/reports": 8192,
    "meta.value/complaints": 16384,
}
"""Places whose content depends on outcomes, or varies by chance: as much as they commonly hold."""

Value: TypeAlias = str | bytes | int | None


class Lock(Redacted, Struct, frozen=True):
    """Opens a store, stored in the clear: how the locking key is derived, and the sealed data key."""

    kind: str
    salt: bytes
    operations: int
    memory: int
    wrapped: bytes

    @property
    def place(self) -> bytes:
        """Return the associated data to which the sealed data key is bound."""
        return f"{DATA_KEY_TAG}/{self.kind}/{self.operations}/{self.memory}/{self.salt.hex()}".encode()


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file of 32 random bytes that only its owner may read. It protects a store that lies elsewhere."""

    path: Path
    kind: str = field(default="key file", init=False)

    @property
    def words(self) -> str:
        return f"the key in {self.path}"

    def make(self) -> Lock:
        """Return a lock, and create the file if it is missing; `StoreError` if it cannot be written."""
        try:
            if not self.path.exists():
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_new(self.path, [token_bytes(KEY_BYTES)])
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be made: {error.strerror}") from error
        return Lock(self.kind, b"", 0, 0, b"")

    def key(self, lock: Lock) -> bytes:
        """Read the key; `StoreError` if the file is missing, readable by others, or no key."""
        try:
            mode = self.path.stat().st_mode
            key = self.path.read_bytes()
        except OSError as error:
            raise StoreError(f"{self.path}: the key file cannot be read: {error.strerror}") from error
        if stat.S_IMODE(mode) & 0o077:
            raise StoreError(f"{self.path}: the key file must be for its owner alone: chmod 600")
        if len(key) != KEY_BYTES:
            raise StoreError(f"{self.path}: a key file is {KEY_BYTES} bytes")
        return key


@dataclass(frozen=True, slots=True, repr=False)
class Passphrase:
    """A passphrase that the user remembers, stretched by Argon2id."""

    text: str
    operations: int = OPERATIONS
    memory: int = MEMORY
    kind: str = field(default="passphrase", init=False)

    @property
    def words(self) -> str:
        return "this passphrase"

    def make(self) -> Lock:
        """Return a lock with a fresh salt; `StoreError` if the passphrase is empty."""
        if not self.text:
            raise StoreError("the passphrase must not be empty")
        return Lock(self.kind, token_bytes(SALT_BYTES), self.operations, self.memory, b"")

    def key(self, lock: Lock) -> bytes:
        """Derive the key by Argon2id; `StoreError` if the lock's costs or salt are out of range."""
        if not 0 < lock.memory <= MOST_MEMORY or len(lock.salt) != SALT_BYTES:
            raise StoreError("the device's store has a damaged lock")
        try:
            return argon2id.kdf(KEY_BYTES, self.text.encode(), lock.salt, lock.operations, lock.memory)
        except (CryptoError, ValueError, TypeError):
            raise StoreError("the device's store has a damaged lock, or memory is short") from None


KeySource: TypeAlias = KeyFile | Passphrase
"""Where the locking key comes from. `kind` stands in the lock, so that the wrong kind of key is named as
such; `words` are for errors, and show nothing of the key."""


class Vault:
    """Seals and opens values under one data key."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        """`key`: 32 secret bytes."""
        self._key = key

    @classmethod
    def create(cls, source: KeySource) -> tuple[Vault, Lock]:
        """Create a vault under a new data key, and the lock that opens it again; `StoreError` as `source`."""
        key = token_bytes(KEY_BYTES)
        lock = source.make()
        wrapped = _seal(source.key(lock), key, lock.place)
        return cls(key), Lock(lock.kind, lock.salt, lock.operations, lock.memory, wrapped)

    @classmethod
    def open(cls, lock: Lock, source: KeySource) -> Vault:
        """Open the vault behind `lock`.

        Raises:
            WrongKeyError: `source` is not what the store was locked with.
            StoreError: The key cannot be read or derived.
        """
        if lock.kind != source.kind:
            raise WrongKeyError(f"the device's store is locked with a {lock.kind}, not with {source.words}")
        try:
            return cls(_unseal(source.key(lock), lock.wrapped, lock.place))
        except CryptoError:
            raise WrongKeyError(f"the device's store does not open with {source.words}") from None

    def seal(self, value: Value, place: str, row: Value) -> bytes | None:
        """Seal a value, bound to its place and row; None stays None."""
        if value is None:
            return None
        block = BLOCKS.get(place) or BLOCKS.get(f"{place}/{row!s}", BLOCK_BYTES)
        data = _tagged(value) + b"\x80"
        return _seal(self._key, data + bytes(-len(data) % block), _place(place, row))

    def unseal(self, sealed: bytes | None, place: str, row: Value) -> Value:
        """Open a value that `seal` sealed; `CryptoError` if it was altered or stood elsewhere."""
        if sealed is None:
            return None
        data = _unseal(self._key, sealed, _place(place, row)).rstrip(b"\0")[:-1]
        kind = data[:1]
        rest = data[1:]
        if kind == b"t":
            return rest.decode()
        return rest if kind == b"b" else int(rest)


def _seal(key: bytes, data: bytes, place: bytes) -> bytes:
    nonce = token_bytes(NONCE_BYTES)
    return nonce + crypto_aead_xchacha20poly1305_ietf_encrypt(data, place, nonce, key)


def _unseal(key: bytes, sealed: bytes, place: bytes) -> bytes:
    nonce = sealed[:NONCE_BYTES]
    rest = sealed[NONCE_BYTES:]
    if len(nonce) < NONCE_BYTES or len(rest) < TAG_BYTES:
        raise CryptoError
    return crypto_aead_xchacha20poly1305_ietf_decrypt(rest, place, nonce, key)


def _place(place: str, row: Value) -> bytes:
    return f"{VALUE_TAG}/{place}/".encode() + _tagged(row)


def _tagged(value: Value) -> bytes:
    match value:
        case str():
            return b"t" + value.encode()
        case bytes():
            return b"b" + value
        case _:
            return b"i" + str(value).encode()


def write_new(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file that is not there yet, for its owner alone; its content is durable, its name not yet."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
