"""Opens a set file over a (memory-mapped) buffer; pages of a section are read when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest
from io import SEEK_END
from typing import BinaryIO, NoReturn

from msgspec.structs import replace

from blindmatch_protocol.codec import Buffer
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.setfile import layout
from blindmatch_protocol.setfile.layout import Section
from blindmatch_protocol.setfile.pages import leaves_of, root_of


class SetFile:
    """A set file whose header, tables, padding and overall digest have been checked.

    Args:
        data: the file.
        name: what to call it in errors.
        design: the design it must be for.
        design_version: the version of that design.
        epoch: the epoch it must be for; None accepts any.

    Attributes:
        identity: what the file is for.
        entries: entries of the list.
        digest: the overall digest, which stands for every byte of the file.
        sections: the section table.

    Raises:
        SetFileError: if it is truncated, altered, of another format, design, version or epoch.
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
            self._expect(design, design_version, epoch)
        except SetFileError as error:
            self._refuse(str(error), error)

    def count(self, kind: int) -> int:
        """How many sections of `kind` there are."""
        return sum(section.kind == kind for section in self.sections.values())

    def row(self, kind: int, index: int = 0) -> Section:
        """The table's row of a section.

        Raises:
            SetFileError: if there is none.
        """
        if (kind, index) not in self.sections:
            self._refuse(f"section {index} of kind {kind:#x} is missing")
        return self.sections[kind, index]

    def section(self, kind: int, index: int = 0) -> memoryview:
        """The bytes of a section, checked against its digest when it is first asked for.

        Raises:
            SetFileError: if there is none, or its bytes were altered.
        """
        row = self.row(kind, index)
        content = self._data[row.offset : row.end]
        if (kind, index) not in self._checked:
            if not compare_digest(root_of(leaves_of(content)), row.digest):
                self._refuse(f"altered: section {index} of kind {kind:#x} does not have its digest")
            self._checked.add((kind, index))
        return content

    @property
    def content_bytes(self) -> int:
        """Bytes of all sections."""
        return sum(section.length for section in self.sections.values())

    def verify(self, progress: Callable[[int], object] = int) -> None:
        """Check every byte of the file now, also of sections that were checked before.

        Args:
            progress: called with the length of each section that was checked.

        Raises:
            SetFileError: if one was altered.
        """
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
        parameters, table = layout.split_tables(tables, trailer)
        sections = layout.unpack_sections(table, trailer.parameters_at)
        self._check_padding(sections)
        self.identity = replace(identity, parameters=layout.unpack_parameters(parameters))
        self.entries, self.digest = trailer.entries, trailer.digest
        self.sections = {(section.kind, section.index): section for section in sections}

    def _check_padding(self, sections: list[Section]) -> None:
        for section in sections:
            if any(self._data[section.end : layout.padded(section.end)]):
                raise SetFileError("altered: padding is not zero")

    def _expect(self, design: str, design_version: int, epoch: int | None) -> None:
        mine = self.identity
        if mine.design != design:
            raise SetFileError(f"for design {mine.design}, not {design}")
        if mine.design_version != design_version:
            raise SetFileError(
                f"for version {mine.design_version} of design {design}, not version {design_version}"
            )
        if epoch is not None and mine.epoch != epoch:
            raise SetFileError(f"for epoch {mine.epoch}, not epoch {epoch}")

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
