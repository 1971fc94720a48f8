"""Writes a set file front to back, section by section."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from blindmatch_protocol.codec import Buffer
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.contract.files import Writer
from blindmatch_protocol.setfile import layout
from blindmatch_protocol.setfile.layout import Identity, Section, Trailer
from blindmatch_protocol.setfile.pages import PageHash


class SetFileWriter:
    """Appends sections to `out`; `finish` writes the tables, without which nothing can be read.

    Raises:
        SetFileError: if a name is not printable ASCII of at most 32 characters.
    """

    __slots__ = ("_at", "_header", "_out", "_parameters", "_parameters_count", "_sections")

    def __init__(self, out: Writer, identity: Identity) -> None:
        self._out = out
        self._header = layout.pack_header(identity)
        self._parameters = layout.pack_parameters(identity.parameters)
        self._parameters_count = len(identity.parameters)
        self._sections: list[Section] = []
        self._at = 0
        self._write(self._header)

    def section(self, kind: int, parts: Iterable[Buffer], items: int) -> Section:
        """Append a section made of `parts`; it gets the next index of its kind.

        Raises:
            SetFileError: if there are too many sections.
        """
        if len(self._sections) == layout.MOST_SECTIONS:
            raise SetFileError(f"more than {layout.MOST_SECTIONS} sections")
        index = sum(section.kind == kind for section in self._sections)
        start, digest = self._at, PageHash()
        for part in parts:
            digest.update(part)
            self._write(part)
        section = Section(kind, index, start, self._at - start, items, digest.digest())
        self._sections.append(section)
        self._write(bytes(layout.padded(self._at) - self._at))
        return section

    def finish(self, entries: int) -> bytes:
        """Append parameters, table and trailer; the overall digest, 32 bytes."""
        at, table = self._at, layout.pack_sections(self._sections)
        self._write(self._parameters)
        self._write(table)
        length = self._at + layout.TRAILER.size
        draft = Trailer(at, length, entries, len(self._sections), self._parameters_count, bytes(32))
        digest = layout.overall_digest(self._header, self._parameters + table, layout.pack_trailer(draft))
        self._write(layout.pack_trailer(replace(draft, digest=digest)))
        return digest

    def _write(self, data: Buffer) -> None:
        self._out.write(data)
        self._at += memoryview(data).nbytes
