"""The centre's secrets: the key reports are sealed to, that of its second perceptual hash, the one that it
shares with the relay for stamps, the one that it judges franked messages with, and the identity of the
account its notices come from. Devices are configured with the public halves of the first and the last two.
And what the centre knows of the list: labels and second hashes.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.crypto import amf
from blindmatch_protocol.messages.franking import KEY_LENGTH
from blindmatch_protocol.messages.report import Report
from blindmatch_protocol.picture import pdq
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct

from blindmatch_server.centre.assessment import NotAvailable, Verdict
from blindmatch_server.hosting.authority import Identity, Kind
from blindmatch_server.storage.database import signed
from blindmatch_server.storage.errors import StateError
from blindmatch_server.storage.files import line_of, read_key, replace_file, sync_folder

Floats: TypeAlias = npt.NDArray[np.float64]

KEY_BYTES: Final = 32
HASH_BYTES: Final = 32
SAME_PICTURE: Final = 56
"""Largest distance at which two pictures count as the same; chosen by measurement, see the decision."""

_INFO: Final = b"blindmatch/centre/keyed-picture-hash/v1"
_SIDE: Final = 32
_REACH: Final = 4
_LEAST_PATCH = 2
_MOST_PATCH = 4
# some candidates compare a patch with itself and are passed over
_CANDIDATES: Final = 400
_NUMBERS: Final = 8


class KeyedHasher:
    """The centre's second perceptual hash under one key, 32 secret bytes, uniformly random;
    `ValueError` if the key has another length. Why it is keyed, and how well it tells: decision record 3.

    Luminance (h, w) -> area mean on 32 x 32 -> binomial blur -> 256 comparisons of two nearby patches (sides
    2 to 4 cells, at most 4 cells apart), drawn from the key with HKDF. A bit says which patch is brighter.
    """

    __slots__ = ("_patterns",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"key: must have {KEY_BYTES} bytes")
        self._patterns = _patterns(key)

    def hash(self, luminance: npt.NDArray[np.float32]) -> bytes:
        """The hash, 32 bytes, of a luminance plane (h, w), 0..255, of any size; `ValueError` if it is empty
        or not two-dimensional."""
        if luminance.ndim != 2 or 0 in luminance.shape:
            raise ValueError("luminance must have shape (h, w) and not be empty")
        height, width = luminance.shape
        grid = _reduction(height) @ luminance.astype(np.float64) @ _reduction(width).T
        return np.packbits(self._patterns @ grid.ravel() > 0).tobytes()

    def __repr__(self) -> str:
        return "<KeyedHasher>"


def distance(left: bytes, right: bytes) -> int:
    """Bits in which two hashes under one key differ, 0 to 256; `ValueError` if one is not 32 bytes long."""
    if len(left) != HASH_BYTES or len(right) != HASH_BYTES:
        raise ValueError(f"hash: must have {HASH_BYTES} bytes")
    return pdq.distance(left, right)


def _patterns(key: bytes) -> Floats:
    """256 rows of weights on the flattened grid: plus on one patch, minus on the other."""
    material = HKDF(SHA256(), _CANDIDATES * _NUMBERS * 2, salt=None, info=_INFO).derive(key)
    numbers = np.frombuffer(material, ">u2").reshape(_CANDIDATES, _NUMBERS).tolist()
    patterns = [pattern for row in numbers if (pattern := _pattern(row)).any()]
    return np.array(patterns[: 8 * HASH_BYTES]).reshape(8 * HASH_BYTES, _SIDE * _SIDE)


def _pattern(numbers: list[int]) -> Floats:
    """One comparison from eight 16-bit numbers; their bias modulo small ranges does not matter here."""
    tall, wide, tall2, wide2 = (_LEAST_PATCH + n % (_MOST_PATCH - _LEAST_PATCH + 1) for n in numbers[:4])
    top = numbers[4] % (_SIDE + 1 - tall)
    left = numbers[5] % (_SIDE + 1 - wide)
    top2 = _near(top, numbers[6], _SIDE - tall2)
    left2 = _near(left, numbers[7], _SIDE - wide2)
    weights = np.zeros((_SIDE, _SIDE))
    weights[top : top + tall, left : left + wide] += 1 / (tall * wide)
    weights[top2 : top2 + tall2, left2 : left2 + wide2] -= 1 / (tall2 * wide2)
    return weights


def _near(place: int, number: int, last: int) -> int:
    """A place at most `_REACH` away from `place`, within 0 to `last`."""
    return min(max(place + number % (2 * _REACH + 1) - _REACH, 0), last)


@lru_cache(maxsize=64)
def _reduction(count: int) -> Floats:
    """(32, count): area means of `count` samples in 32 equal cells, then the blur 1-2-1."""
    edges = np.linspace(0, count, _SIDE + 1)[:, None]
    samples = np.arange(count)[None, :]
    overlap = np.minimum(edges[1:], samples + 1) - np.maximum(edges[:-1], samples)
    means = np.clip(overlap, 0, None) * (_SIDE / count)
    padded = np.concatenate([means[:1], means, means[-1:]])
    blurred: Floats = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return blurred


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
        """Make new keys: five secret files (mode 0600) and three public ones, each 64 hex digits;
        `StateError` if `directory` holds keys already."""
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
        """Read the secrets; `StateError` if a file is missing or is not 64 hex digits."""
        sealing = X25519PrivateKey.from_private_bytes(read_key(directory / SEALING_KEY))
        hasher = KeyedHasher(read_key(directory / HASHING_KEY))
        return cls(sealing, hasher, read_key(directory / STAMP_KEY), read_key(directory / JUDGE_KEY))


VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE entries (
    entry_id INTEGER PRIMARY KEY,
    entry_hash BLOB NOT NULL,
    salt BLOB NOT NULL,
    second_hash BLOB
) STRICT
"""
_AT_ONCE: Final = 10_000


class Reference(Redacted, Struct, frozen=True):
    """An entry as the centre knows it; `second_hash` is None if the centre has no picture of it."""

    entry_hash: bytes
    salt: bytes
    second_hash: bytes | None


class References:
    """Looks entries up; each look-up opens the file that is in place then. Good for any thread."""

    def __init__(self, path: Path) -> None:
        """Use the file at `path`; `StateError` if it is missing or of another version."""
        self._path = path
        with closing(self._open()) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            raise StateError(f"{path.name}: version {version}, {VERSION} expected")

    def stamp(self) -> tuple[int, int, int] | None:
        """Return what changes when the file is replaced; None if it is gone."""
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def counts(self) -> tuple[int, int]:
        """Return how many entries there are, and how many have a second hash. Raises `StateError` if the file
        is gone or damaged."""
        entries, second = self._first_of("SELECT COUNT(*), COUNT(second_hash) FROM entries") or (0, 0)
        return int(entries), int(second)

    def lookup(self, entry_id: int) -> Reference | None:
        """The entry with this id, if the list has it. Raises `StateError` if the file is gone or damaged."""
        row = self._first_of(
            "SELECT entry_hash, salt, second_hash FROM entries WHERE entry_id = ?", signed(entry_id)
        )
        return None if row is None else Reference(*row)

    def _first_of(self, query: str, *values: int) -> Any:
        with closing(self._open()) as connection:
            try:
                return connection.execute(query, values).fetchone()
            except sqlite3.Error as error:
                raise StateError(f"{self._path.name}: cannot be read: {error}") from error

    def _open(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)
            connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
        except sqlite3.Error as error:
            raise StateError(f"{self._path.name}: cannot be opened as the centre's references") from error
        return connection


def write_references(
    path: Path,
    entries: bm.EntrySource,
    second_hashes: Mapping[int, bytes] | None = None,
    progress: bm.Progress = bm.no_progress,
) -> None:
    """Write the references of a list to `path`, in place of older ones, with the second hashes, by entry id,
    of those entries whose picture the centre has.

    An entry without one gets that which the older references have of the same hash, whatever its id is now:
    list updates keep ids, but a list that is imported anew gives others.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = f"{temporary.absolute().as_uri()}?mode=rwc"  # as a URI, so that ATTACH takes one that is read-only
    with closing(sqlite3.connect(made, uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(f"{_SCHEMA}; PRAGMA user_version = {VERSION}; BEGIN;")
        done = 0
        second = second_hashes or {}
        for batch in entries.batches(_AT_ONCE):
            columns = zip(batch.ids.tolist(), batch.hashes, batch.salts, strict=True)
            connection.executemany(
                "INSERT INTO entries VALUES (?, ?, ?, ?)",
                [(signed(one), own.tobytes(), salt.tobytes(), second.get(one)) for one, own, salt in columns],
            )
            done += len(batch)
            progress(done, len(entries))
        connection.execute("COMMIT")
        if path.exists():
            _keep_second_hashes(connection, path)
    temporary.chmod(0o600)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())  # SQLite left that out: the file did not count before
    temporary.replace(path)
    sync_folder(path.parent)


def _keep_second_hashes(connection: sqlite3.Connection, older: Path) -> None:
    """Fill second hashes in from older references; those of a damaged file are lost, and not counted.

    Raises:
        StateError: they are of another version, or cannot be read now: what they have must not be lost.
    """
    try:
        connection.execute("ATTACH ? AS older", (f"{older.absolute().as_uri()}?mode=ro",))
        (version,) = connection.execute("PRAGMA older.user_version").fetchone()
        if version != VERSION:
            raise StateError(f"{older.name}: version {version}, {VERSION} expected")
        connection.execute(
            "CREATE TEMP TABLE known AS SELECT entry_hash, MIN(second_hash) AS second_hash "
            "FROM older.entries WHERE second_hash IS NOT NULL GROUP BY entry_hash"
        )
        connection.execute("CREATE UNIQUE INDEX temp.known_by_hash ON known (entry_hash)")
        connection.execute(
            "UPDATE main.entries SET second_hash = known.second_hash FROM temp.known "
            "WHERE main.entries.second_hash IS NULL AND known.entry_hash = main.entries.entry_hash"
        )
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode not in _DAMAGED:
            raise StateError(f"{older.name}: its second hashes cannot be kept: {error}; try again") from error


_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""What is in such a file is lost, and the pictures must be given again."""


class Deployed(Struct, frozen=True):
    """What a deployment runs.

    Attributes:
        epochs: what the curator's key has signed (`published.signed_epochs`), as they are when it is called.
        endorsed: whether the entry of a label is endorsed in an epoch; all are, where there is no policy.
    """

    design: bm.AnyDesign
    epochs: Callable[[], Collection[int]]
    endorsed: Callable[[int, bm.Label], Passed | Failed] = lambda epoch, label: Passed()


def check_design(report: Report, deployed: Deployed) -> Verdict:
    """Whether the report is of the design, version and an epoch that are deployed."""
    info = deployed.design.info
    if (report.design, report.version) != (info.name, info.version):
        return Failed(f"what is deployed here is {info.name}, version {info.version}")
    epochs = deployed.epochs()
    if not epochs:
        return NotAvailable("the centre knows no published epoch")
    if report.epoch not in epochs:
        return Failed("no such epoch was published here")
    return Passed()


def check_reporter(report: Report, submitter: Identity, info: bm.Info) -> Verdict:
    """Whether the party that handed the report in may report this, in the design that is deployed."""
    if report.reporter != submitter.account:
        return Failed("another party handed the report in")
    if submitter.kind is Kind.DEVICE:
        if bm.Learner.DEVICE not in info.learns:
            return Failed(f"in {info.name} devices do not learn of matches, and report none")
        if report.sender != report.reporter:
            return Failed("a device reports what it sent itself, nothing else")
        return Passed()
    sees = submitter.party is not None and info.sees_content(submitter.party)
    if not sees or bm.Learner.SERVER not in info.learns:
        return Failed(f"in {info.name} the {submitter.words} sees no picture, and reports none")
    if report.opening or report.recipient:
        return Failed("a service opens no commitment, and names no recipient")
    return Passed()
