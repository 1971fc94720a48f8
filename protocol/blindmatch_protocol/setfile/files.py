"""Writes and opens set files over (memory-mapped) buffers; a section's pages are read when it is first used.

A section's digest: the root of a hash tree over its pages, so that a proof can open one page.

    section --> pages of 4,096 bytes --> leaf = SHA-256(0x00 || page)
                                         node = SHA-256(0x01 || left || right) ... --> root

The tree is that of RFC 9162, section 2.1.1. Every page but the last has 4,096 bytes; how many there are
follows from the section's length, which the table of the file says beside the root. A section without
bytes has no page, and the digest of the empty tree: SHA-256 of nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from hmac import compare_digest
from io import SEEK_END
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn

from msgspec.structs import replace

from blindmatch_protocol.codec import Buffer
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.contract.publishing import Writer
from blindmatch_protocol.setfile import layout
from blindmatch_protocol.setfile.layout import Identity, Section, Trailer

if TYPE_CHECKING:
    from hashlib import _Hash


PAGE_BYTES: Final = 4096

_leaf: Callable[[], _Hash] = sha256(b"\0").copy
_node: Callable[[], _Hash] = sha256(b"\1").copy


def leaves_of(content: Buffer) -> list[bytes]:
    """The leaves of a section, one for each page."""
    whole = memoryview(content).cast("B")
    return [leaf_hash(whole[at : at + PAGE_BYTES]) for at in range(0, len(whole), PAGE_BYTES)]


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over these leaves (RFC 9162, section 2.1.1); a node without a neighbour goes up as it is."""
    level = [*leaves] or [sha256().digest()]
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [*(node_hash(*pair) for pair in pairs), *level[len(level) & ~1 :]]
    return level[0]


class PageHash:
    """The digest of a section whose bytes come in parts of any length."""

    __slots__ = ("_leaves", "_rest")

    def __init__(self) -> None:
        self._leaves: list[bytes] = []
        self._rest = bytearray()

    def update(self, part: Buffer) -> None:
        fresh = memoryview(part).cast("B")
        if self._rest:
            missing = PAGE_BYTES - len(self._rest)
            self._rest += fresh[:missing]
            fresh = fresh[missing:]
            if len(self._rest) < PAGE_BYTES:
                return
            self._leaves.append(leaf_hash(self._rest))
        whole = len(fresh) - len(fresh) % PAGE_BYTES
        self._leaves += leaves_of(fresh[:whole])
        self._rest = bytearray(fresh[whole:])

    def digest(self) -> bytes:
        """The root over all parts."""
        return root_of([*self._leaves, *leaves_of(self._rest)])


def leaf_hash(content: Buffer) -> bytes:
    """A leaf (RFC 9162, section 2.1.1)."""
    state = _leaf()
    state.update(content)
    return state.digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """An inner node (RFC 9162, section 2.1.1)."""
    state = _node()
    state.update(left + right)
    return state.digest()


class SetFile:
    """A set file whose header, tables, padding and overall digest have been checked.
    `SetFileError` if it is truncated, altered, or of another format, design, version or epoch.

    Args:
        name: what to call it in errors.
        epoch: the epoch it must be for; None accepts any.

    Attributes:
        digest: the overall digest, which stands for every byte of the file.
    """

    __slots__ = ("_checked", "_data", "_name", "digest", "entries", "identity", "sections")

    def __init__(
        self, data: Buffer, name: str, design: str, design_version: int, epoch: int | None = None
    ) -> None:
        self._data = memoryview(data).toreadonly().cast("B")
        self._name = name
        self._checked: set[tuple[int, int]] = set()
        try:
            self._open()
            mine = self.identity
            if mine.design != design:
                raise SetFileError(f"for design {mine.design}, not {design}")
            if mine.design_version != design_version:
                raise SetFileError(
                    f"for version {mine.design_version} of design {design}, not version {design_version}"
                )
            if epoch is not None and mine.epoch != epoch:
                raise SetFileError(f"for epoch {mine.epoch}, not epoch {epoch}")
        except SetFileError as error:
            self._refuse(str(error), error)

    @property
    def name(self) -> str:
        """The file's name, for errors."""
        return self._name

    def count(self, kind: int) -> int:
        return sum(section.kind == kind for section in self.sections.values())

    def row(self, kind: int, index: int = 0) -> Section:
        """The table's row of a section; `SetFileError` if there is none."""
        if (kind, index) not in self.sections:
            self._refuse(f"section {index} of kind {kind:#x} is missing")
        return self.sections[kind, index]

    def section(self, kind: int, index: int = 0) -> memoryview:
        """The bytes of a section, checked against its digest when it is first asked for; `SetFileError` if
        there is none, or its bytes were altered."""
        row = self.row(kind, index)
        content = self._data[row.offset : row.end]
        if (kind, index) not in self._checked:
            if not compare_digest(root_of(leaves_of(content)), row.digest):
                self._refuse(f"altered: section {index} of kind {kind:#x} does not have its digest")
            self._checked.add((kind, index))
        return content

    def verify(self, progress: Callable[[int], object] = int) -> None:
        """Check every byte of the file now, also of sections that were checked before.
        `SetFileError` if one was altered. `progress` is called with the length of each section."""
        self._checked.clear()
        for kind, index in self.sections:
            self.section(kind, index)
            progress(self.sections[kind, index].length)

    def _open(self) -> None:
        data = self._data
        if len(data) < layout.HEADER.size:
            raise SetFileError(f"truncated: {len(data)} bytes are too few for a set file")
        header = bytes(data[: layout.HEADER.size])
        identity = layout.unpack_header(header)
        if len(data) < layout.HEADER.size + layout.TRAILER.size:
            raise SetFileError(f"truncated: {len(data)} bytes are too few for a set file")
        raw = bytes(data[-layout.TRAILER.size :])
        trailer = layout.unpack_trailer(raw, len(data))
        tables = bytes(data[trailer.parameters_at : -layout.TRAILER.size])
        if not compare_digest(layout.overall_digest(header, tables, raw), trailer.digest):
            raise SetFileError("altered: header and tables do not have the overall digest")
        table_at = layout.PARAMETER.size * trailer.parameters
        sections = layout.unpack_sections(tables[table_at:], trailer.parameters_at)
        if any(any(data[section.end : layout.padded(section.end)]) for section in sections):
            raise SetFileError("altered: padding is not zero")
        self.identity = replace(identity, parameters=layout.unpack_parameters(tables[:table_at]))
        self.entries = trailer.entries
        self.digest = trailer.digest
        self.sections = {(section.kind, section.index): section for section in sections}

    def _refuse(self, reason: str, cause: Exception | None = None) -> NoReturn:
        raise SetFileError(f"{self._name}: {reason}") from cause

    def __repr__(self) -> str:
        return f"<SetFile {self._name} of {self.identity.design}, epoch {self.identity.epoch}>"


def ending(file: BinaryIO) -> bytes | None:
    """A set file's last 72 bytes, whose overall digest stands for all of it; None for any other file.

    Two set files with one ending that `SetFile` opens, and whose sections it gives, have the same bytes.
    """
    magic = file.read(len(layout.MAGIC))
    length = file.seek(0, SEEK_END)
    if magic != layout.MAGIC or length < layout.HEADER.size + layout.TRAILER.size:
        return None
    file.seek(length - layout.TRAILER.size)
    raw = file.read(layout.TRAILER.size)
    return raw if raw.endswith(layout.END_MAGIC) else None


class SetFileWriter:
    """Appends sections to `out`; `finish` writes the tables, without which nothing can be read. Raises
    `SetFileError` if a name is not printable ASCII of at most 32 characters."""

    __slots__ = ("_at", "_header", "_out", "_parameters", "_sections")

    def __init__(self, out: Writer, identity: Identity) -> None:
        self._out = out
        self._header = layout.pack_header(identity)
        self._parameters = layout.pack_parameters(identity.parameters)
        self._sections: list[Section] = []
        self._at = 0
        self._write(self._header)

    def section(self, kind: int, parts: Iterable[Buffer], items: int) -> Section:
        """Append a section made of `parts`; it gets the next index of its kind, `SetFileError` if there are
        too many sections."""
        if len(self._sections) == layout.MOST_SECTIONS:
            raise SetFileError(f"more than {layout.MOST_SECTIONS} sections")
        index = sum(section.kind == kind for section in self._sections)
        start = self._at
        digest = PageHash()
        for part in parts:
            digest.update(part)
            self._write(part)
        section = Section(kind, index, start, self._at - start, items, digest.digest())
        self._sections.append(section)
        self._write(bytes(layout.padded(self._at) - self._at))
        return section

    def finish(self, entries: int) -> bytes:
        """Append parameters, table and trailer; the overall digest, 32 bytes."""
        at = self._at
        table = layout.pack_sections(self._sections)
        self._write(self._parameters)
        self._write(table)
        length = self._at + layout.TRAILER.size
        parameters = len(self._parameters) // layout.PARAMETER.size
        draft = Trailer(at, length, entries, len(self._sections), parameters, bytes(32))
        digest = layout.overall_digest(self._header, self._parameters + table, layout.pack_trailer(draft))
        self._write(layout.pack_trailer(replace(draft, digest=digest)))
        return digest

    def _write(self, data: Buffer) -> None:
        self._out.write(data)
        self._at += memoryview(data).nbytes
