"""Files of servers: a build's folder, which is renamed as a whole; memory maps; a lock for one process."""

from __future__ import annotations

import mmap
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Annotated, BinaryIO, ClassVar, Final, Self

from blindmatch_protocol.codec import Buffer
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Meta, Struct
from nacl.signing import SigningKey

from blindmatch_server.storage.errors import StateError

_REMEDY = "copy it again, or make it anew"


def drop_pages(mapped: mmap.mmap) -> None:
    """Drop a file map's pages from this process; they stay in the system's cache and on disk."""
    if hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


class MappingError(BlindmatchError):
    """A file cannot be mapped, or is no longer what it was."""


class MappedFile:
    """A file mapped read-only; other processes that map it share its pages; `MappingError` if it cannot be
    read or has another length.

    Replacing the file by a rename leaves the map as it is. Truncating it in place takes pages away, and
    touching one of those ends the process: `check_intact` finds that out without touching any.
    """

    __slots__ = ("_file", "_name", "_stamp", "content")

    def __init__(self, path: Path, size: int) -> None:
        self._name = path.name
        try:
            self._file = path.open("rb")
            self._stamp = self._look()
            if self._stamp[0] != size:
                self._file.close()
                raise MappingError(f"{path.name}: {self._stamp[0]} bytes, {size} expected: {_REMEDY}")
            mapped = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ) if size else b""
            self.content = memoryview(mapped)
        except OSError as error:
            raise MappingError(f"{path.name}: {error.strerror or error}") from error

    def relax(self) -> None:
        """Drop its pages from this process."""
        if isinstance(self.content.obj, mmap.mmap):
            drop_pages(self.content.obj)

    def check_intact(self) -> None:
        """Make sure that the file was neither truncated nor written to since it was mapped; `MappingError` if
        it was."""
        if self._look() != self._stamp:
            raise MappingError(f"{self._name}: truncated or overwritten while in use")

    def check_digest(self, digest: str) -> None:
        """Make sure that the content has this SHA-256, in hex; `MappingError` if it has not."""
        if not compare_digest(sha256(self.content).hexdigest(), digest):
            raise MappingError(f"{self._name}: altered: it does not have its digest: {_REMEDY}")

    def _look(self) -> tuple[int, int]:
        status = os.fstat(self._file.fileno())
        return status.st_size, status.st_mtime_ns


SCRATCH_SUFFIX = ".scratch"
RESULT = "result"
PRIVATE = 0o600
PUBLIC = 0o644


class WorkspaceError(BlindmatchError):
    """A build asked for a file twice, or for a name that is none: a design's fault, not a refusal."""


class StorageError(BlindmatchError):
    """The file system refused: no space left, no permission, an input or output error."""


@contextmanager
def storage(doing: str) -> Iterator[None]:
    """Turn an `OSError` into a `StorageError` that says what was being done."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{doing}: {error.strerror or error}") from error


class FileRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """A finished file: its name, size and SHA-256 in hex."""

    name: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-][A-Za-z0-9_.-]{0,126}\Z")]
    size: Annotated[int, Meta(ge=0)]
    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class HashedWriter:
    """Writes a file front to back and hashes what it writes."""

    __slots__ = ("_digest", "_file", "_name", "_size")

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._size = 0
        self._digest = sha256()
        with storage(f"creating {path.name}"):
            self._file: BinaryIO = os.fdopen(
                os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb"
            )

    def write(self, data: Buffer, /) -> int:
        """Append `data`; its length in bytes. Raises `StorageError` if the file system refuses."""
        view = memoryview(data).cast("B") if memoryview(data).nbytes else memoryview(b"")
        self._digest.update(view)
        with storage(f"writing {self._name}"):
            self._file.write(view)
        self._size += len(view)
        return len(view)

    def finish(self) -> FileRecord:
        """Bring the file to the disk and close it."""
        with storage(f"writing {self._name}"):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        return FileRecord(self._name, self._size, self._digest.hexdigest())

    def abandon(self) -> None:
        with suppress(OSError):
            self._file.close()


class FolderWorkspace:
    """Files of one build under `folder`, which must exist and be private to it. What `create` makes lies in
    ``folder/result``, where an earlier build's unfinished result is removed; scratch buffers are mapped files
    beside it, which outlive a killed process: a `scratch` of the same name and size finds what an earlier one
    left there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, HashedWriter] = {}
        self._maps: dict[str, mmap.mmap] = {}
        self.result = folder / RESULT
        with storage(f"clearing {RESULT}"):
            if self.result.is_dir():
                shutil.rmtree(self.result)
            self.result.mkdir(mode=0o700)

    def create(self, name: str) -> HashedWriter:
        """See `Workspace.create`. Raises `WorkspaceError` if `name` is not a plain file name or was created
        before, and `StorageError` if the file system refuses."""
        _check_name(name)
        if name in self._writers:
            raise WorkspaceError(f"file {name} is created twice")
        self._writers[name] = HashedWriter(self.result / name)
        return self._writers[name]

    def scratch(self, name: str, size: int) -> memoryview:
        """See `Workspace.scratch`. The blocks are allocated at once, so that a full disk is an error here and
        not a signal later; `WorkspaceError` if `name` is not a plain file name or is in use, `StorageError`
        if the file system refuses."""
        _check_name(name)
        if name in self._maps:
            raise WorkspaceError(f"scratch {name} is asked for twice")
        with storage(f"making room for scratch {name}, {size} bytes"):
            self._maps[name] = _map_scratch(self._folder / (name + SCRATCH_SUFFIX), size)
        return memoryview(self._maps[name])

    def relax(self) -> None:
        """Drop the scratch's pages from this process; they stay in the system's cache and on disk."""
        for mapped in self._maps.values():
            drop_pages(mapped)

    def finish(self) -> dict[str, FileRecord]:
        """Bring every created file to the disk; records by name."""
        return {name: writer.finish() for name, writer in self._writers.items()}

    def abandon(self) -> None:
        """Close what is open; the scratch stays for a later build."""
        for writer in self._writers.values():
            writer.abandon()


def _map_scratch(path: Path, size: int) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE)
    try:
        if os.fstat(descriptor).st_size != size:
            os.ftruncate(descriptor, 0)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, size)
            else:
                os.ftruncate(descriptor, size)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


def _check_name(name: str) -> None:
    if not name or name != Path(name).name or name.startswith("."):
        raise WorkspaceError(f"{name!r} is not a plain file name")


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk (`fsync` of a file does not do that)."""
    with storage(f"syncing {folder.name}"):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_file(path: Path, content: bytes, mode: int = PRIVATE) -> None:
    """Write a small file in place of an older one, in one step; it is on the disk when this returns. Raises
    `StorageError` if the file system refuses."""
    new = path.with_name(f".{path.name}.new")
    with storage(f"writing {path.name}"):
        new.unlink(missing_ok=True)
        try:
            write_synced(new, content)
            new.chmod(mode)
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_synced(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def hold(
    path: Path, busy: BlindmatchError, failed: type[BlindmatchError], seconds: float = 0
) -> Iterator[None]:
    """Hold the lock while the context lasts; it is waited for `seconds` at most. Raises `busy` if another
    process, or another part of this one, holds it; one of `failed`, which names the folder, if the file
    cannot be made or written."""
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(closing(sqlite3.connect(path, seconds, isolation_level=None)))
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise busy from error
            raise failed(
                f"cannot write into {path.parent}: {error}; is it there, and this user's?"
            ) from error
        yield


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
