"""What is read out of a list: its figures without a hash, its difference to another, its export."""

from __future__ import annotations

import csv
import io
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import EntrySource, Progress, no_progress
from blindmatch_protocol.contract.publishing import batches_of
from msgspec import Struct

from blindmatch_server.curator.formats.text import COLUMNS
from blindmatch_server.curator.hashlist import Draft, HashList
from blindmatch_server.curator.rejects import count_ones
from blindmatch_server.curator.source import ListError

Indices: TypeAlias = npt.NDArray[np.int64]


def group_rows(rows: Rows) -> tuple[Indices, Indices]:
    """The group of each row of `rows`, uint8 (n, 32): int64 (n,), numbered from 0, the same for equal rows;
    and the index of each group's first row, int64 (number of groups,)."""
    words = np.ascontiguousarray(rows).view(np.uint64).reshape(-1, 4)
    order = np.argsort(words[:, 0])
    opens = np.ones(len(order), np.bool_)
    alike = np.zeros(len(order) + 1, np.bool_)
    alike[1:-1] = np.diff(words[order, 0]) == 0
    tied = np.flatnonzero(alike[:-1] | alike[1:])
    order[tied], opens[tied] = _sorted(words, order[tied])
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(opens) - 1
    return group, order[opens]


def _sorted(words: npt.NDArray[np.uint64], rows: Indices) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """These rows in order, equal ones as they came; and which of them differ from the one before."""
    found = words[rows]
    order = np.lexsort((rows, found[:, 3], found[:, 2], found[:, 1], found[:, 0]))
    opens = np.ones(len(rows), np.bool_)
    opens[1:] = (found[order[1:]] != found[order[:-1]]).any(axis=1)
    return rows[order], opens


def latest_rows(group: Indices, times: npt.NDArray[np.int64], removals: npt.NDArray[np.bool_]) -> Indices:
    """The index of each group's latest row, for the groups that occur, in order. Of rows of one time a
    removal counts, of several alike the last one."""
    order = np.lexsort((removals, times, group))
    closes = np.ones(len(order), np.bool_)
    closes[:-1] = group[order][1:] != group[order][:-1]
    return order[closes]


class Inspection(Struct, frozen=True):
    """Figures of a list.

    Attributes:
        name, source_formats, created, next_id: as in the file.
        digest: of hashes, ids and salts, SHA-256 in hex.
        not_half: entries that have not 128 ones.
        bit_least, bit_most: the rarest and the most frequent bit position's share of ones, 0 to 1; both are
            near 0.5 if the list is balanced.
        records: live records by whose ids entries can be deleted.
    """

    name: str
    source_formats: tuple[str, ...]
    created: str
    digest: str
    next_id: int
    entries: int
    size_bytes: int
    first_id: int
    last_id: int
    ones_least: int
    ones_most: int
    not_half: int
    bit_least: float
    bit_most: float
    records: int


def inspect(listed: HashList) -> Inspection:
    """Figures of an open list, read in batches; `ListFileError` if the file was cut short underneath."""
    footer = listed.footer
    least = 256
    most = 0
    not_half = 0
    bits = np.zeros(256, np.int64)
    for batch in listed.batches(1 << 15):
        ones = count_ones(batch.hashes)
        least = min(least, int(ones.min()))
        most = max(most, int(ones.max()))
        not_half += int((ones != 128).sum())
        bits += np.unpackbits(batch.hashes, axis=1).sum(axis=0, dtype=np.int64)
    return Inspection(
        name=footer.name,
        source_formats=footer.source_formats,
        created=footer.created,
        digest=footer.digest(),
        next_id=footer.next_id,
        entries=len(listed),
        size_bytes=listed.size,
        first_id=int(listed.ids[0]),
        last_id=int(listed.ids[-1]),
        ones_least=least,
        ones_most=most,
        not_half=not_half,
        bit_least=float(bits.min()) / len(listed),
        bit_most=float(bits.max()) / len(listed),
        records=len(listed.record_entries),
    )


class Difference(Redacted, Struct, frozen=True):
    """What leads from one list to another.

    Attributes:
        adds: entries of the second list whose hash the first one lacks.
        removes: ids, in the first list, of entries whose hash the second one lacks; uint64, ascending.
        consistent: whether shared hashes have one id and salt in both lists, and added ones ids that are
            new to the first, as when the second was made from it; only then can an update be built.
    """

    adds: EntrySource
    removes: npt.NDArray[np.uint64]
    shared: int
    consistent: bool


def diff(first: HashList, second: HashList) -> Difference:
    group, _ = group_rows(np.concatenate((first.hashes, second.hashes)))
    mine = group[: len(first)]
    theirs = group[len(first) :]
    adds = np.flatnonzero(~np.isin(theirs, mine))
    removes = np.flatnonzero(~np.isin(mine, theirs))
    return Difference(
        adds=batches_of(second.hashes[adds], second.ids[adds], second.salts[adds]),
        removes=first.ids[removes],
        shared=len(first) - len(removes),
        consistent=_consistent(first, second, mine, theirs, adds),
    )


def _consistent(first: HashList, second: HashList, mine: Indices, theirs: Indices, adds: Indices) -> bool:
    _, at, there = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
    if not np.array_equal(first.ids[at], second.ids[there]):
        return False
    if not np.array_equal(first.salts[at], second.salts[there]):
        return False
    return bool((second.ids[adds] >= first.footer.next_id).all())


_BATCH: Final = 1 << 14


class ExportFormat(StrEnum):
    PDQ = "pdq"
    THREATEXCHANGE = "threatexchange"


def export(
    listed: HashList, export_format: ExportFormat, out: Path | BinaryIO, progress: Progress = no_progress
) -> int:
    """Write the list's hashes in the order of their ids, without ids, salts and record ids; the number
    written; `ListError` if the file cannot be written. A file is put in place when it is whole, readable by
    its owner alone."""
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
    before = b"pdq "
    after = b"\n"
    if export_format is ExportFormat.THREATEXCHANGE:
        out.write(_row(COLUMNS))
        before, after = _row(("pdq", "*", listed.footer.name, "", "")).split(b"*")
    for batch in listed.batches(_BATCH):
        text = batch.hashes.tobytes().hex().encode()
        digits = [text[at : at + 64] for at in range(0, len(text), 64)]
        out.write(b"".join(before + one + after for one in digits))
        done += len(digits)
        progress(done, len(listed))
    return done


def _row(fields: tuple[str, ...]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue().encode()
