"""A scan of a folder: counts and bounds of its pictures, in a file that an organisation can hand on."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from hashlib import blake2b
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.picture.pdq import LEAST_QUALITY
from msgspec import Struct, field

from blindmatch_simulations.evaluation.corpus.bounds import Bound, Counts, bounds
from blindmatch_simulations.evaluation.corpus.cache import Cache
from blindmatch_simulations.evaluation.corpus.counting import counted
from blindmatch_simulations.evaluation.corpus.hashing import prints
from blindmatch_simulations.evaluation.corpus.pairs import NONE_NEAR, REACH, Prints, Tally, listed
from blindmatch_simulations.measure.phases import PhaseProgress
from blindmatch_simulations.measure.results import Strict, encode, sealed

FORMAT: Final = "blindmatch-corpus-scan"
VERSION: Final = 2
"""Goes up when a reader of the earlier schema would misread or refuse a file. Of 1 the tail model is gone."""
ONCE: Final = "once"
"""Below the state, what is counted of pictures that are no repeats."""


class CorpusError(BlindmatchError):
    """A folder, or a scan, cannot be used."""


class Scan(Strict, frozen=True, kw_only=True):
    """Version 2 of the file; ``scan-v2.schema.json`` is its schema.

    Attributes:
        program: version of blindmatch.
        bounds: for distances 0 to 64.
        took: pictures `hashed` in this run, `hash_s`, `pairs_s`, `workers`.
        digest: SHA-256 of this file with an empty `digest`.
    """

    format: Literal["blindmatch-corpus-scan"] = "blindmatch-corpus-scan"
    version: Literal[2] = 2
    program: str
    made_at: str
    counts: Counts
    bounds: tuple[Bound, ...]
    took: dict[str, float]
    digest: str = ""


class Taken(Redacted, Struct):
    """Fingerprints of a folder's pictures, and what else lies there; `broken` names are its owner's."""

    files: int = 0
    poor: int = 0
    good: bytearray = field(default_factory=bytearray)
    broken: list[str] = field(default_factory=list)

    def distinct(self) -> Prints:
        """(n, 64) uint8, in order, no two alike."""
        every = np.frombuffer(bytes(self.good), np.uint8).reshape(-1, 64)
        return np.unique(every, axis=0) if len(every) else every


def check_folder(folder: Path) -> None:
    """Raises `CorpusError` if it is no folder that can be read."""
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise CorpusError(f"{folder}: {error.strerror}") from error


def scanned(
    folder: Path, state: Path, workers: int, phase: PhaseProgress, ray: str = ""
) -> tuple[Scan, list[str]]:
    """Scan the pictures below a folder, or go on with an interrupted scan, which the folder `state` keeps;
    and the names of files that are no pictures. A cluster at `ray` takes the place of `workers`.
    `CorpusError` if the folder cannot be read, or has no file that could be a picture; `StateError` if the
    state is in use, of another version or cannot be written, or a worker dies; `OSError` if a folder cannot
    be read, or the disk is full."""
    check_folder(folder)
    began = time.monotonic()
    taken, fresh = _taken(folder, state, workers, phase, ray)
    hashed = time.monotonic()
    if not taken.files:
        raise CorpusError(f"{folder}: no file with a picture's suffix, or without one")
    distinct = taken.distinct()
    tally = counted(distinct, state, workers, phase("pairs compared"), ray)
    once = distinct[~tally.repeats]
    of_once = tally
    if len(once) < len(distinct):
        kept = state / ONCE
        kept.mkdir(mode=0o700, exist_ok=True)
        of_once = counted(once, kept, workers, phase("pairs of pictures, each once"), ray)
    counts = _counts(taken, (distinct, tally), (once, of_once))
    took = {
        "hashed": fresh,
        "hash_s": hashed - began,
        "pairs_s": time.monotonic() - hashed,
        "workers": workers,
    }
    return _sealed(counts, {name: round(value, 3) for name, value in took.items()}), taken.broken


def state_of(folder: Path, home: Path) -> Path:
    """Where a folder's fingerprints are kept below the user's cache, by a digest of its path."""
    name = blake2b(str(folder.resolve()).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return home / "blindmatch" / "pictures" / name


def _taken(folder: Path, state: Path, workers: int, phase: PhaseProgress, ray: str) -> tuple[Taken, int]:
    """All pictures, and how many of them were hashed now."""
    kept = Cache(state)
    taken = Taken()
    try:
        for file, found in prints(folder, kept, workers, phase("pictures hashed"), ray):
            taken.files += 1
            if found is None:
                taken.broken.append(file.name)
            elif found.quality < LEAST_QUALITY:
                taken.poor += 1
            else:
                taken.good += found.hash + found.second
        return taken, kept.added
    finally:
        kept.close()


def _counts(taken: Taken, every: tuple[Prints, Tally], each_once: tuple[Prints, Tally]) -> Counts:
    distinct, tally = every
    once, of_once = each_once
    half = int(listed(once).sum())
    good = len(taken.good) // 64
    return Counts(
        files=taken.files,
        broken=len(taken.broken),
        poor=taken.poor,
        repeated=good - len(distinct),
        pictures=len(distinct),
        histogram=tuple(map(int, tally.histogram)),
        same=tuple(map(int, tally.same)),
        listed=half,
        items=len(once) - half,
        nearest=_by_distance(of_once.nearest),
        once=tuple(map(int, of_once.histogram)),
        items_all=int((~listed(distinct)).sum()),
        nearest_all=_by_distance(tally.nearest_all),
    )


def _by_distance(nearest: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    return tuple(map(int, np.bincount(nearest[nearest != NONE_NEAR], minlength=REACH + 1)))


def _sealed(counts: Counts, took: dict[str, float]) -> Scan:
    made = Scan(
        program=installed_version("blindmatch"),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        counts=counts,
        bounds=bounds(counts),
        took=took,
    )
    # as it will be read: floats that are whole numbers come back as what they are written as
    again = msgspec.json.decode(encode(made), type=Scan)
    return sealed(again)
