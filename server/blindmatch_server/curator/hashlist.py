"""The list file: a curator's plaintext list, memory-mapped, that a set can be built from again and again.

docs/reference/list-files.md has its layout. One import at a time replaces a list file, and what killed ones
left is removed:

.NAME.list.lock         held meanwhile; ends with the process
.NAME.list.xxxxxxxx     being written, readable by its owner alone; renamed to NAME.list
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import struct
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract import EntryBatch
from blindmatch_protocol.contract.publishing import check_entries
from msgspec import Struct

from blindmatch_server.curator.source import ListError, ListFileError
from blindmatch_server.storage.files import drop_pages, hold, sync_folder

MAGIC: Final = b"BMHLIST\0"
VERSION: Final = 1
PROLOGUE: Final = struct.Struct(">8sIQQ32s4x")
ALIGNMENT: Final = 64
FIRST_ID: Final = 1

LAYOUT: Final[dict[str, tuple[str, int]]] = {
    "hashes": ("|u1", 32),
    "ids": ("<u8", 1),
    "salts": ("|u1", 16),
    "plain": ("|u1", 1),
    "families": ("<u8", 1),
    "record_identities": ("|u1", 32),
    "record_times": ("<i8", 1),
    "record_entries": ("<u8", 1),
}
"""Type and width of each section's rows."""

_PER_ENTRY: Final = ("hashes", "ids", "salts", "plain")
_RECORDS: Final = ("record_identities", "record_times", "record_entries")
_WORK_BYTES: Final = 8 << 20
_RESIDENT_ENTRIES: Final = 1 << 16


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a section is: byte offset, number of rows, SHA-256 in hex."""

    offset: int
    rows: int
    digest: str


class Footer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a list file says of itself.

    Attributes:
        source_formats: what it was imported from: names of formats, `hashes` or `pictures`.
        source_digests: SHA-256 of each source, in hex.
        created: ISO 8601, UTC.
        next_id: the id that the next new entry gets.
        families_to: of files of before, which may have `families` of near entries; nothing reads them.
    """

    name: str
    source_formats: tuple[str, ...]
    source_digests: tuple[str, ...]
    created: str
    next_id: int
    families_to: int | None
    sections: dict[str, Section]

    def digest(self) -> str:
        """SHA-256, in hex, of what makes up the list: hashes, ids and salts, through their digests."""
        parts = "".join(f"{name}:{self.sections[name].digest}\n" for name in ("hashes", "ids", "salts"))
        return hashlib.sha256(parts.encode()).hexdigest()


class HashList(AbstractContextManager["HashList"]):
    """An open list file; an `EntrySource`. Close it, or use it as a context manager.

    Its arrays are read-only views of the map: hashes uint8 (n, 32), ids uint64 (n,) ascending, salts
    uint8 (n, 16), plain uint8 (n,), and the three of the records.
    """

    def __init__(self, path: Path, footer: Footer, file: int, view: mmap.mmap) -> None:
        """Use `open_list`."""
        self.path = path
        self.footer = footer
        self._file = file
        self._view = view
        self.size = len(view)
        self.hashes: Rows = self._section("hashes")
        self.ids: npt.NDArray[np.uint64] = self._section("ids")
        self.salts: Rows = self._section("salts")
        self.plain: npt.NDArray[np.uint8] = self._section("plain")
        self.record_identities: Rows = self._section("record_identities")
        self.record_times: npt.NDArray[np.int64] = self._section("record_times")
        self.record_entries: npt.NDArray[np.uint64] = self._section("record_entries")

    def _section(self, name: str) -> npt.NDArray[Any]:
        section = self.footer.sections[name]
        kind, width = LAYOUT[name]
        flat = np.frombuffer(self._view, kind, section.rows * width, section.offset)
        return flat.reshape(-1, width) if width > 1 else flat

    def __len__(self) -> int:
        return len(self.hashes)

    def batches(self, size: int, start: int = 0) -> Iterator[EntryBatch]:
        """See `EntrySource.batches`; entries are in the order of their ids, and do not stay resident.
        `ListError` if `size` or `start` cannot be served, `ListFileError` if the file was cut short."""
        if size < 1 or start < 0:
            raise ListError("batches have at least one entry and start at entry 0 or later")
        fresh = 0
        for at in range(start, len(self), size):
            self._check_whole()
            part = slice(at, at + size)
            yield EntryBatch(self.hashes[part], self.ids[part], self.salts[part])
            fresh += size
            if fresh >= _RESIDENT_ENTRIES:
                drop_pages(self._view)
                fresh = 0

    def _check_whole(self) -> None:
        """Touching a map beyond the end of its file would kill the process."""
        if os.fstat(self._file).st_size < self.size:
            raise ListFileError(f"{self.path.name} was cut short while it was open")

    def verify(self) -> None:
        """Compare every section with its digest, and the ids with each other; `ListFileError` if one differs,
        or ids are out of order or unknown."""
        for name, section in self.footer.sections.items():
            state = hashlib.sha256()
            content = self._section(name).reshape(-1).view(np.uint8)
            for at in range(0, len(content), _WORK_BYTES):
                self._check_whole()
                state.update(content[at : at + _WORK_BYTES].data)
                drop_pages(self._view)
            if state.hexdigest() != section.digest:
                raise ListFileError(f"{self.path.name}: section {name} was altered")
        ids = self.ids
        if len(ids) and not FIRST_ID <= ids[0] <= ids[-1] < self.footer.next_id:
            raise ListFileError(f"{self.path.name}: an id is outside of those given so far")
        if not (ids[1:] > ids[:-1]).all() or not np.isin(self.record_entries, ids).all():
            raise ListFileError(f"{self.path.name}: ids are out of order or unknown")
        try:
            for batch in self.batches(_RESIDENT_ENTRIES):
                check_entries(batch)
        except DesignError as error:
            raise ListFileError(f"{self.path.name}: {error}") from error

    def close(self) -> None:
        """Close the file; the map goes when the last view of it does."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<HashList {self.footer.name}, {len(self)} entries>"


def open_list(path: Path, *, verify: bool = True) -> HashList:
    """Open a list file by memory map; `verify` reads it once and compares every digest. Raises
    `ListFileError` if it cannot be read, is truncated, altered, of another version or no list file."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ListFileError(f"cannot read {path.name}: {error.strerror}") from error
    try:
        if os.fstat(file).st_size < PROLOGUE.size:
            raise ListFileError(f"{path.name} is no list file: too short")
        view = mmap.mmap(file, 0, access=mmap.ACCESS_READ)
        opened = HashList(path, _footer(path.name, view), file, view)
        if verify:
            opened.verify()
    except BaseException:
        os.close(file)
        raise
    return opened


def _footer(name: str, view: mmap.mmap) -> Footer:
    magic, version, offset, length, digest = PROLOGUE.unpack_from(view)
    if magic != MAGIC:
        raise ListFileError(f"{name} is no list file: wrong magic")
    if version != VERSION:
        raise ListFileError(f"{name}: version {version}; this program reads version {VERSION}")
    if any(view[PROLOGUE.size - 4 : PROLOGUE.size]) or offset + length != len(view):
        raise ListFileError(f"{name} is truncated or has left-over bytes")
    raw = view[offset:]
    if hashlib.sha256(raw).digest() != digest:
        raise ListFileError(f"{name}: the footer was altered")
    try:
        footer = msgspec.json.decode(raw, type=Footer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ListFileError(f"{name}: footer: {error}") from error
    _check_sections(name, footer.sections, offset)
    return footer


def _check_sections(name: str, sections: dict[str, Section], end: int) -> None:
    required = LAYOUT.keys() - {"families"}
    if not required <= sections.keys() <= LAYOUT.keys():
        raise ListFileError(f"{name}: a section is missing or unknown")
    for key, section in sections.items():
        kind, width = LAYOUT[key]
        size = section.rows * width * np.dtype(kind).itemsize
        if section.rows < 0 or section.offset < PROLOGUE.size or section.offset + size > end:
            raise ListFileError(f"{name}: section {key} lies outside the file")
    for group in ((*_PER_ENTRY, *(sections.keys() & {"families"})), _RECORDS):
        if len({sections[key].rows for key in group}) != 1:
            raise ListFileError(f"{name}: sections {', '.join(group)} differ in length")


class Draft:
    """A file that is written beside `path`, readable by its owner alone, until `publish` puts it in place;
    `ListError` if the folder cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        except OSError as error:
            raise ListError(f"cannot write {path.name}: {error.strerror}") from error
        self._temporary = Path(name)
        self.file = os.fdopen(handle, "wb")

    def publish(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())
        self._temporary.replace(self.path)
        sync_folder(self.path.parent)

    def close(self) -> None:
        self.file.close()
        self._temporary.unlink(missing_ok=True)


@contextmanager
def replacing(into: Path, onto: HashList | None, replace: bool) -> Iterator[None]:
    """Hold the lock of the list file `into` while it is written; `ListError` if another import has it, or has
    replaced `into` since `onto` was opened from it, or the folder cannot be written, or there is a list that
    is neither `onto` nor to be lost, as `replace` says."""
    busy = ListError(f"another import writes {into.name}: wait for its end, then try again")
    with hold(_lock_path(into), busy, ListError):
        for path in _temporaries(into):  # left by killed imports; with the lock held, none of them runs
            path.unlink(missing_ok=True)
        if onto is not None and into.exists() and into.samefile(onto.path):
            with open_list(into, verify=False) as newest:
                if newest.footer.digest() != onto.footer.digest():
                    raise ListError(f"another import has replaced {into.name} meanwhile: import once more")
        elif into.exists() and not replace:
            raise ListError(
                f"there is a list {into.stem} already: add to it, replace it, or use another name"
            )
        yield


def _lock_path(into: Path) -> Path:
    return into.with_name(f".{into.name}.lock")


def _temporaries(into: Path) -> list[Path]:
    temporary = re.compile(rf"\.{re.escape(into.name)}(\.rejects\.jsonl)?\.[a-z0-9_]{{8}}")
    return [path for path in into.parent.iterdir() if temporary.fullmatch(path.name)]


def traces(into: Path) -> set[Path]:
    """What imports leave beside the list file `into`: the lock's file; of killed ones also its journal, which
    SQLite takes back at the next import, and temporary files."""
    lock = _lock_path(into)
    return {lock, lock.with_name(f"{lock.name}-journal"), *_temporaries(into)}


ENDORSED: Final = ("endorsed",)
"""What a list is made from that is written as what organisations endorsed."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,63}")


class Title(Struct, frozen=True):
    """What a list file says of itself; see `Footer`. Without a time it is the one of writing."""

    name: str
    created: datetime | None = None
    formats: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ListError(
                "a list's name has 1 to 64 letters, digits, blanks, dots, dashes and underlines, "
                "and begins with a letter or digit"
            )


def write_entries(into: Path, entries: EntryBatch, next_id: int) -> Footer:
    """Write a list of entries that have ids and salts, in the order of their ids, in place of an older one;
    `ListError` if the folder cannot be written."""
    none = np.zeros(0, np.uint64)
    columns: dict[str, npt.NDArray[Any]] = {
        "hashes": entries.hashes, "ids": entries.ids, "salts": entries.salts,
        "plain": np.ones(len(entries), np.uint8),
        "record_identities": none, "record_times": none, "record_entries": none,
    }  # fmt: skip
    with ListWriter(into) as writer:
        for name, column in columns.items():
            writer.section(name, [column])
        return writer.publish(Title(into.stem, formats=ENDORSED), next_id)


class ListWriter(AbstractContextManager["ListWriter"]):
    """Writes one list file, readable by its owner alone; nothing has its name before `publish`."""

    def __init__(self, into: Path) -> None:
        self._draft = Draft(into)
        self._file = self._draft.file
        self._file.write(bytes(PROLOGUE.size))
        self._sections: dict[str, Section] = {}

    def section(self, name: str, parts: Iterable[npt.NDArray[Any]]) -> None:
        """Write section `name` from arrays of its type and width, in order."""
        kind, width = LAYOUT[name]
        self._file.write(bytes(-self._file.tell() % ALIGNMENT))
        offset = self._file.tell()
        rows = 0
        digest = hashlib.sha256()
        for part in parts:
            data = np.ascontiguousarray(part, kind)
            digest.update(data.data)
            self._file.write(data.data)
            rows += data.size // width
        self._sections[name] = Section(offset, rows, digest.hexdigest())

    def publish(self, title: Title, next_id: int) -> Footer:
        """Finish the file and put it in place of an older one."""
        footer = Footer(
            name=title.name,
            source_formats=title.formats,
            source_digests=title.digests,
            created=(title.created or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds"),
            next_id=next_id,
            families_to=None,
            sections=self._sections,
        )
        raw = msgspec.json.encode(footer)
        offset = self._file.tell()
        self._file.write(raw)
        self._file.seek(0)
        self._file.write(PROLOGUE.pack(MAGIC, VERSION, offset, len(raw), hashlib.sha256(raw).digest()))
        self._draft.publish()
        return footer

    def __exit__(self, *_: object) -> None:
        self._draft.close()
