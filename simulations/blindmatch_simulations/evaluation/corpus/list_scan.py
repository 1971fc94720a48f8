"""A scan of one folder's pictures against another's as a list: how many match, by kind and length of list,
in a file of counts that a holder can hand on, and that `merging` pools with those of others.

The kind of a picture is the folder below LIST or ASKED that it lies in, if that has one of the names of
`KINDS`; all others are `OTHER`, so that no name of a holder's goes into the file. A picture of which both
folders have a copy, with the same two hashes, is no accident and is left out of those asked about;
`in_both` counts it.

A list of a length m is the first m pictures in the order of a keyed digest of their hashes, which is an
order as good as drawn at random: shorter lists are parts of longer ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Progress
from blindmatch_protocol.picture.pdq import LEAST_QUALITY
from msgspec import Struct

from blindmatch_simulations.evaluation.corpus.cache import Cache
from blindmatch_simulations.evaluation.corpus.hashing import prints
from blindmatch_simulations.evaluation.corpus.pairs import Prints, apart, judged, words_of
from blindmatch_simulations.evaluation.corpus.scan import CorpusError, check_folder
from blindmatch_simulations.measure.phases import PhaseProgress
from blindmatch_simulations.measure.results import Strict, encode, sealed

FORMAT: Final = "blindmatch-list-scan"
OTHER: Final = "other"
ALL: Final = "all"
KINDS: Final = (
    "photograph",
    "drawing or icon",
    "clip art",
    "screenshot or figure",
    "document",
    "texture",
    "sky",
    "map or flag",
    "playing card",
    "stamp",
    "painting",
)
DISTANCES: Final = (0, 16, 31)
"""Bits within which a picture is counted as a match."""
PARTS: Final = (64, 32, 16, 8, 4, 2, 1)
"""The list is shortened to one in so many of its pictures."""
_ROWS: Final = 256
_COLUMNS: Final = 65_536
_NEVER: Final = np.iinfo(np.int64).max


class Cell(Strict, frozen=True):
    """Counts of a kind of picture, a kind of list, a length of list and a distance.

    Attributes:
        kind, list_kind: one of `KINDS`, `OTHER` or `ALL`.
        length: pictures of the list.
        within: bits.
        asked: pictures that were asked about.
        matched: of these, those within the distance of a listed one.
        different: of these, those that a second hash calls another picture than one of the listed ones.
    """

    kind: str
    list_kind: str
    length: int
    within: int
    asked: int
    matched: int
    different: int


class ListScan(Strict, frozen=True, kw_only=True):
    """Version 1 of the file; ``list-scan-v1.schema.json`` is its schema.

    Attributes:
        program: version of blindmatch.
        listed, asked: good pictures of either folder, each once.
        in_both: pictures of the second folder that the first has, too: left out of `asked`.
        left: files of either folder that are no acceptable pictures, or too poor ones to match.
        digest: SHA-256 of this file with an empty `digest`.
    """

    format: Literal["blindmatch-list-scan"] = "blindmatch-list-scan"
    version: Literal[1] = 1
    program: str
    made_at: str
    listed: int
    asked: int
    in_both: int
    left: int
    cells: tuple[Cell, ...]
    digest: str = ""


class Sorted(Redacted, Struct, frozen=True):
    """Good pictures of a folder, no two with the same hashes, and how many files were left.

    Attributes:
        prints: (n, 64) uint8.
        kinds: of each, (n,).
    """

    prints: Prints
    kinds: npt.NDArray[np.str_]
    left: int


def scanned_lists(listed: Path, asked: Path, state: Path, workers: int, phase: PhaseProgress) -> ListScan:
    """Return the counts of the pictures below `asked` against those below `listed`; fingerprints are kept in
    `state` between runs.

    `CorpusError` if a folder cannot be read, both are one, or either has no good picture; `StateError` if the
    state is in use, of another version or cannot be written, or a worker dies.
    """
    for folder in (listed, asked):
        check_folder(folder)
    if listed.resolve() == asked.resolve():
        raise CorpusError("--asked: must be another folder than --list: a picture is no match of itself")
    held = _sorted(listed, state / "list", workers, phase("listed pictures hashed"))
    wanted = _sorted(asked, state / "asked", workers, phase("other pictures hashed"))
    for name, folder, found in (("--list", listed, held), ("--asked", asked, wanted)):
        if not len(found.prints):
            raise CorpusError(f"{name}: {folder} has no picture of a quality that can match")
    own = {row.tobytes() for row in held.prints}
    again = np.array([row.tobytes() in own for row in wanted.prints])
    fresh = Sorted(wanted.prints[~again], wanted.kinds[~again], wanted.left)
    made = ListScan(
        program=installed_version("blindmatch"),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        listed=len(held.prints),
        asked=len(fresh.prints),
        in_both=int(again.sum()),
        left=held.left + fresh.left,
        cells=tuple(cells_of(held, fresh, phase("pairs compared"))),
    )
    return sealed(msgspec.json.decode(encode(made), type=ListScan))


def kind_of(name: str) -> str:
    """Return the kind of a picture by its path below the folder."""
    top, slash, _ = name.partition("/")
    return top if slash and top in KINDS else OTHER


def _sorted(folder: Path, state: Path, workers: int, progress: Progress) -> Sorted:
    kept = Cache(state)
    seen = dict[bytes, str]()
    left = 0
    try:
        for file, found in prints(folder, kept, workers, progress):
            if found is None or found.quality < LEAST_QUALITY:
                left += 1
            else:
                seen.setdefault(found.hash + found.second, kind_of(file.name))
    finally:
        kept.close()
    rows = np.frombuffer(b"".join(seen), np.uint8).reshape(-1, 64)
    order = np.argsort([_place(row) for row in seen], kind="stable").astype(np.intp)
    return Sorted(rows[order], np.array(list(seen.values()), np.str_)[order], left)


def _place(own: bytes) -> bytes:
    """Return what pictures are ordered by: as good as drawn at random, and the same each time."""
    return blake2b(own, digest_size=8, key=b"order of a list").digest()


def cells_of(listed: Sorted, asked: Sorted, progress: Progress) -> Iterator[Cell]:
    """Yield the counts of every kind of picture, kind of list, length and distance."""
    kinds = [ALL, *sorted(set(listed.kinds.tolist()))]
    first = {kind: _Ranks(len(asked.prints)) for kind in kinds}
    # the place of each listed picture in the list of its kind, and in that of all
    own = {kind: np.cumsum(_of(listed.kinds, kind)) - 1 for kind in kinds}
    for rows, columns, bits, same in _near(listed.prints, asked.prints, progress):
        for kind in kinds:
            counts = _of(listed.kinds, kind)[columns]
            ranks = own[kind][columns[counts]]
            first[kind].take(rows[counts], ranks, bits[counts], same[counts])
    for list_kind in kinds:
        whole = int(_of(listed.kinds, list_kind).sum())
        lengths = sorted({whole // part for part in PARTS} - {0})
        for kind in [ALL, *sorted(set(asked.kinds.tolist()))]:
            mine = _of(asked.kinds, kind)
            for length in lengths:
                for at, within in enumerate(DISTANCES):
                    every, different = first[list_kind].ranks[:, at, mine] < length
                    yield Cell(
                        kind,
                        list_kind,
                        length,
                        within,
                        int(mine.sum()),
                        int(every.sum()),
                        int(different.sum()),
                    )


def _of(kinds: npt.NDArray[np.str_], kind: str) -> npt.NDArray[np.bool_]:
    return np.asarray((kinds == kind) | (kind == ALL))


class _Ranks:
    """Of each picture that is asked about, the first listed one within each distance: `ranks` is (2,
    distances, n), of all listed ones and of those that the second hash calls different ones."""

    def __init__(self, count: int) -> None:
        self.ranks = np.full((2, len(DISTANCES), count), _NEVER, np.int64)

    def take(
        self,
        rows: npt.NDArray[np.intp],
        ranks: npt.NDArray[np.int64],
        bits: npt.NDArray[np.uint8],
        same: npt.NDArray[np.bool_],
    ) -> None:
        for at, within in enumerate(DISTANCES):
            for which, counts in enumerate((bits <= within, (bits <= within) & ~same)):
                np.minimum.at(self.ranks[which, at], rows[counts], ranks[counts])


def _near(
    listed: Prints, asked: Prints, progress: Progress
) -> Iterator[
    tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.uint8], npt.NDArray[np.bool_]]
]:
    """Yield pairs within reach: places in `asked` and in `listed`, bits, whether the second hash calls them
    the same picture."""
    rows, columns = (np.ascontiguousarray(words_of(one[:, :32]).T) for one in (asked, listed))
    progress(0, len(asked))
    for top in range(0, len(asked), _ROWS):
        for left in range(0, len(listed), _COLUMNS):
            found = apart(rows[:, top : top + _ROWS], columns[:, left : left + _COLUMNS])
            at, to = np.nonzero(found <= DISTANCES[-1])
            if not len(at):
                continue
            wrapped, same = judged(asked[at + top], listed[to + left], found[at, to])
            real = ~wrapped
            yield at[real] + top, to[real] + left, found[at, to][real], same[real]
        progress(min(top + _ROWS, len(asked)), len(asked))
