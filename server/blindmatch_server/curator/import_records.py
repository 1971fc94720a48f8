"""The records of an import: every entry that was, every record that came, and what stands in the end.

Rows are appended in order: a previous list's entries, its records, then the source's records. `settle`
decides:

* of the records of one identity the latest counts; if that is a deletion, the identity vouches for nothing;
* records without an identity are known by their hash alone, and of those of one hash the latest counts;
* an entry stands as long as at least one record vouches for its hash; of equal hashes the first is the entry.
"""

from __future__ import annotations

import mmap
import tempfile
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Struct

from blindmatch_server.curator.formats.block import NO_TIME, Block
from blindmatch_server.curator.hashlist import HashList
from blindmatch_server.curator.inspection import Indices, group_rows, latest_rows

_BATCH = 1 << 16
_Flags: TypeAlias = npt.NDArray[np.bool_]


class Kind(IntEnum):
    ANCHOR = 0  # an entry for which records with identities vouch, below
    PLAIN = 1
    PLAIN_REMOVAL = 2
    NAMED = 3
    NAMED_REMOVAL = 4


class Settled(Redacted, Struct, frozen=True):
    """What stands.

    Attributes:
        hashes: every row's hash, uint8 (rows, 32), a map.
        entries: rows that are entries, ascending, int64 (n,); those below the number of previous entries
            are previous ones.
        plain: whether a record without identity vouches for the entry, uint8 (n,).
        identities, times: of the live records with identities, uint8 (r, 32) and int64 (r,).
        vouched: the index among `entries` that each of those vouches for, int64 (r,).
        accepted: the source's accepted records that are no deletions.
        fresh: distinct hashes among those that were not in the previous list.
    """

    hashes: Rows
    entries: Indices
    plain: npt.NDArray[np.uint8]
    identities: Rows
    times: npt.NDArray[np.int64]
    vouched: Indices
    accepted: int
    fresh: int


class Spool:
    """Rows of one type that are appended, then read back as one array; in a file without a name, so that
    nothing is left if the process dies."""

    def __init__(self, folder: Path, kind: str, width: int = 1) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`
        self._kind = np.dtype(kind)
        self._width = width
        self.rows = 0

    def append(self, part: npt.NDArray[Any]) -> None:
        """Append an array of shape (k, width), or (k,) for width 1."""
        data = np.ascontiguousarray(part, self._kind)
        self._file.write(data.data)
        self.rows += data.size // self._width

    def array(self) -> npt.NDArray[Any]:
        """All rows, as a read-only map of shape (rows, width), or (rows,) for width 1."""
        self._file.flush()
        if self.rows:
            flat = np.frombuffer(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ), self._kind)
        else:
            flat = np.empty(0, self._kind)
        return flat.reshape(-1, self._width) if self._width > 1 else flat

    def close(self) -> None:
        self._file.close()


class ImportRecords:
    """Collects rows on disk (42 bytes each, 74 with an identity) in unnamed files of `folder`."""

    def __init__(self, folder: Path) -> None:
        self._hashes = Spool(folder, "|u1", 32)
        self._kinds = Spool(folder, "|u1")
        self._times = Spool(folder, "<i8")
        self._identities = Spool(folder, "|u1", 32)
        self.previous = 0
        self._old = 0
        self.removals = 0

    def start_from(self, previous: HashList) -> None:
        for at in range(0, len(previous), _BATCH):
            part = slice(at, at + _BATCH)
            kinds = np.where(previous.plain[part] == 1, Kind.PLAIN, Kind.ANCHOR)
            self._append(previous.hashes[part], kinds, None)
        self.previous = len(previous)
        rows = np.searchsorted(previous.ids, previous.record_entries)
        for at in range(0, len(rows), _BATCH):
            part = slice(at, at + _BATCH)
            kinds = np.full(len(rows[part]), Kind.NAMED)
            self._append(previous.hashes[rows[part]], kinds, previous.record_times[part])
            self._identities.append(previous.record_identities[part])
        self._old = self._hashes.rows

    def add(self, block: Block) -> None:
        named = block.identities is not None
        kinds = np.full(len(block.hashes), Kind.NAMED if named else Kind.PLAIN, np.uint8)
        if block.removals is not None:
            kinds += block.removals
            self.removals += int(block.removals.sum())
        self._append(block.hashes, kinds, block.times)
        if block.identities is not None:
            self._identities.append(block.identities)

    def _append(
        self, hashes: Rows, kinds: npt.NDArray[np.integer], times: npt.NDArray[np.int64] | None
    ) -> None:
        self._hashes.append(hashes)
        self._kinds.append(kinds)
        self._times.append(np.full(len(hashes), NO_TIME) if times is None else times)

    def settle(self) -> Settled:
        hashes = self._hashes.array()
        kinds = self._kinds.array()
        group, first = group_rows(hashes)
        named = self._live_named(kinds)
        plain = self._live_plain(kinds, group, len(first))
        stands = plain.copy()
        stands[group[named]] = True
        entries = np.sort(first[stands])
        rank = np.empty(len(first), np.int64)
        rank[group[entries]] = np.arange(len(entries))
        adds = (kinds == Kind.PLAIN) | (kinds == Kind.NAMED)
        adds[: self._old] = False
        brought = np.zeros(len(first), np.bool_)
        brought[group[adds]] = True
        numbers = np.cumsum(kinds >= Kind.NAMED) - 1  # of identities; meaningless for rows without one
        return Settled(
            hashes=hashes,
            entries=entries,
            plain=plain[group[entries]].astype(np.uint8),
            identities=self._identities.array()[numbers[named]],
            times=self._times.array()[named],
            vouched=rank[group[named]],
            accepted=int(adds.sum()),
            fresh=int((brought & (first >= self.previous)).sum()),
        )

    def _live_named(self, kinds: npt.NDArray[np.uint8]) -> Indices:
        """Rows of the identities that are not deleted, in order."""
        rows = np.flatnonzero(kinds >= Kind.NAMED)
        group, _ = group_rows(self._identities.array())
        removals = kinds[rows] == Kind.NAMED_REMOVAL
        last = latest_rows(group, self._times.array()[rows], removals)
        return np.sort(rows[last[~removals[last]]])

    def _live_plain(self, kinds: npt.NDArray[np.uint8], group: Indices, count: int) -> _Flags:
        """For each group of equal hashes: does a record without identity vouch for it?"""
        plain = np.zeros(count, np.bool_)
        removals = kinds == Kind.PLAIN_REMOVAL
        if not removals.any():
            plain[group[kinds == Kind.PLAIN]] = True
            return plain
        rows = np.flatnonzero((kinds == Kind.PLAIN) | removals)
        last = rows[latest_rows(group[rows], self._times.array()[rows], removals[rows])]
        plain[group[last]] = ~removals[last]
        return plain

    def close(self) -> None:
        for spool in (self._hashes, self._kinds, self._times, self._identities):
            spool.close()
