"""Writes a list file: sections stream into a temporary file, which then takes the place of the old one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import numpy as np
import numpy.typing as npt
from blindmatch_protocol.contract import EntryBatch
from msgspec import Struct

from blindmatch_server.curator.errors import ListError
from blindmatch_server.curator.hashlist import ALIGNMENT, LAYOUT, MAGIC, PROLOGUE, VERSION, Footer, Section
from blindmatch_server.curator.replacing import Draft

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
    """Write a list of entries that have ids and salts, in the order of their ids, in place of an older one.

    Raises:
        ListError: if the folder cannot be written.
    """
    none = np.zeros(0, np.uint64)
    columns: dict[str, npt.NDArray[Any]] = {
        "hashes": entries.hashes, "ids": entries.ids, "salts": entries.salts,
        "plain": np.ones(len(entries), np.uint8),
        "record_identities": none, "record_times": none, "record_entries": none,
    }  # fmt: skip
    with ListWriter(into) as writer:
        for name, column in columns.items():
            writer.section(name, [column])
        return writer.publish(Title(into.stem, formats=("endorsed",)), next_id, None)


class ListWriter:
    """Writes one list file; nothing is visible under its name before `publish`.

    The file is readable by its owner alone: it holds the plaintext list.
    """

    def __init__(self, into: Path) -> None:
        self._draft = Draft(into)
        self._file = self._draft.file
        self._file.write(bytes(PROLOGUE.size))
        self._sections: dict[str, Section] = {}

    def section(self, name: str, parts: Iterable[npt.NDArray[Any]]) -> None:
        """Write section `name` from arrays of its type and width, in order."""
        kind, width = LAYOUT[name]
        self._file.write(bytes(-self._file.tell() % ALIGNMENT))
        offset, rows, digest = self._file.tell(), 0, hashlib.sha256()
        for part in parts:
            data = np.ascontiguousarray(part, kind)
            digest.update(data.data)
            self._file.write(data.data)
            rows += data.size // width
        self._sections[name] = Section(offset, rows, digest.hexdigest())

    def publish(self, title: Title, next_id: int, families_to: int | None) -> Footer:
        """Finish the file and put it in place of an older one."""
        footer = Footer(
            name=title.name,
            source_formats=title.formats,
            source_digests=title.digests,
            created=(title.created or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds"),
            next_id=next_id,
            families_to=families_to,
            sections=self._sections,
        )
        raw = msgspec.json.encode(footer)
        offset = self._file.tell()
        self._file.write(raw)
        self._file.seek(0)
        self._file.write(PROLOGUE.pack(MAGIC, VERSION, offset, len(raw), hashlib.sha256(raw).digest()))
        self._draft.publish()
        return footer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._draft.close()
