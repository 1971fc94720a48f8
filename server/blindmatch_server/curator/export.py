"""Exporting a list: as `pdq` lines or as threatexchange CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final

from blindmatch_protocol.contract import Progress, no_progress

from blindmatch_server.curator.errors import ListError
from blindmatch_server.curator.formats.threatexchange_csv import COLUMNS
from blindmatch_server.curator.hashlist import HashList
from blindmatch_server.curator.replacing import Draft

_BATCH: Final = 1 << 14


class ExportFormat(StrEnum):
    """Formats that can be exported."""

    PDQ = "pdq"
    THREATEXCHANGE = "threatexchange"


def export(
    listed: HashList, export_format: ExportFormat, out: Path | BinaryIO, progress: Progress = no_progress
) -> int:
    """Write the list's hashes in the order of their ids; the number written.

    A file is put in place when it is whole, readable by its owner alone. Ids and salts are not exported, nor
    are record ids: a list that is imported again has new ones.

    Raises:
        ListError: if the file cannot be written.
    """
    if not isinstance(out, Path):
        return _write(listed, export_format, out, progress)
    try:
        with closing(Draft(out)) as draft:
            written = _write(listed, export_format, draft.file, progress)
            draft.publish()
    except OSError as error:
        raise ListError(f"cannot write {out.name}: {error.strerror}") from error
    return written


def _write(listed: HashList, export_format: ExportFormat, out: BinaryIO, progress: Progress) -> int:
    done = 0
    out.write(b"" if export_format is ExportFormat.PDQ else _row(COLUMNS))
    before, after = _around(export_format, listed.footer.name)
    for digits in _digits(listed):
        out.write(b"".join(before + one + after for one in digits))
        done += len(digits)
        progress(done, len(listed))
    return done


def _digits(listed: HashList) -> Iterator[list[bytes]]:
    for batch in listed.batches(_BATCH):
        text = batch.hashes.tobytes().hex().encode()
        yield [text[at : at + 64] for at in range(0, len(text), 64)]


def _around(export_format: ExportFormat, name: str) -> tuple[bytes, bytes]:
    """What stands before and after the hash on its line."""
    if export_format is ExportFormat.PDQ:
        return b"pdq ", b"\n"
    before, after = _row(("pdq", "*", name, "", "")).split(b"*")
    return before, after


def _row(fields: tuple[str, ...]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue().encode()
