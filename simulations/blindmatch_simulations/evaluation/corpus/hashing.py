"""Fingerprints of all pictures below a folder, on all cores; nothing is copied, nothing hashed twice."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from blindmatch_protocol.codec.errors import PictureError
from blindmatch_protocol.contract import Progress
from blindmatch_protocol.picture import compiled, pdq
from blindmatch_protocol.picture.decode import MOST_BYTES, thumbnail
from blindmatch_server.centre.keys import KEY_BYTES, KeyedHasher
from blindmatch_server.hosting.workers import TaskError, WorkerError, Workers
from blindmatch_server.storage.errors import StateError

from blindmatch_simulations.evaluation.corpus.cache import Cache, FileSeen, Print
from blindmatch_simulations.measure.cluster import Cluster, room

SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".gif", "")
"""Of files that are taken for pictures; those of other suffixes are passed over."""
CHUNK: Final = 64
"""Pictures that a worker gets at a time, and that are on disk together: what a kill can cost."""
_AHEAD: Final = 3
_FREED_BYTES: Final = 8 << 20


def files_below(folder: Path) -> Iterator[FileSeen]:
    """Files with a picture's suffix or none, folder by folder by name; no link is followed; `OSError` if a
    folder cannot be read."""
    waiting = [""]
    while waiting:
        below = waiting.pop()
        with os.scandir(folder / below) as found:
            entries = sorted(found, key=lambda one: one.name)
        for entry in entries:
            name = os.path.join(below, entry.name)  # noqa: PTH118
            if entry.is_dir(follow_symlinks=False):
                waiting.append(name)
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:  # noqa: PTH122
                about = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(about.st_mode):
                    yield FileSeen(name, about.st_size, about.st_mtime_ns)


def prints(
    folder: Path, kept: Cache, workers: int, progress: Progress, ray: str = ""
) -> Iterator[tuple[FileSeen, Print | None]]:
    """Every file below the folder with its fingerprint: from `kept`, or hashed now and kept there chunk by
    chunk; None if it is no picture. `workers` processes hash (1: this one), or the nodes of the cluster at
    `ray`, which see the folder at the same path. `OSError` if a folder cannot be read; `StateError` if a
    worker dies or `kept` cannot be written; what was hashed before is not lost."""
    total = sum(1 for _ in files_below(folder))
    done = 0
    for chunk, found in _hashed(folder.resolve(), kept, workers, ray):
        done += len(chunk)
        progress(done, total)
        yield from ((file, found[kept.key(file)]) for file in chunk)


def _hashed(
    folder: Path, kept: Cache, workers: int, ray: str
) -> Iterator[tuple[list[FileSeen], dict[bytes, Print | None]]]:
    """Chunk by chunk in order, a few of them under way at a time."""
    pool, most = room(workers, ray) if workers > 1 or ray else (None, 1)
    files = files_below(folder)
    asked = deque[_Chunk]()
    try:
        while chunk := list(islice(files, CHUNK)):
            known = kept.get(chunk)
            new = [one for one in chunk if kept.key(one) not in known]
            paths = [(str(folder / one.name), one.size) for one in new]
            asked.append(_Chunk(chunk, known, new, _asked(paths, pool)))
            if len(asked) > _AHEAD * most:
                yield _finished(asked.popleft(), kept, pool)
        while asked:
            yield _finished(asked.popleft(), kept, pool)
    except (WorkerError, TaskError) as error:
        sees = f"; every node must see {folder}, as it is here" if ray else ""
        raise StateError(f"worker: {error}{sees}; what was hashed is kept: run it again to go on") from error
    finally:
        if pool is not None:
            pool.end()


class _Chunk(NamedTuple):
    """Files, what is known of them, and those that are hashed now."""

    files: list[FileSeen]
    known: dict[bytes, Print | None]
    new: list[FileSeen]
    made: Future[list[Print | None]]


def _asked(paths: list[tuple[str, int]], pool: Workers | Cluster | None) -> Future[list[Print | None]]:
    if pool is not None and paths:
        return pool.submit(fingerprints, paths, isinstance(pool, Cluster))
    done = Future[list[Print | None]]()
    done.set_result(fingerprints(paths))
    return done


def _finished(
    chunk: _Chunk, kept: Cache, pool: Workers | Cluster | None
) -> tuple[list[FileSeen], dict[bytes, Print | None]]:
    made = pool.result(chunk.made) if pool else chunk.made.result()
    new = {kept.key(one): found for one, found in zip(chunk.new, made, strict=True)}
    if new:
        kept.put(new.items())
    return chunk.files, chunk.known | new


def fingerprints(paths: Sequence[tuple[str, int]], there: bool = False) -> list[Print | None]:
    """Of files with their sizes in bytes; None for one that cannot be read or is no acceptable picture. On
    another machine, `there`, raises `OSError` if it has not these files: no picture is taken for none."""
    if there and any(Path(path).stat().st_size != size for path, size in paths):
        raise FileNotFoundError("of that size")
    # glibc then keeps up to twice as much freed memory; else every picture faults all its pages in anew
    np.empty(_FREED_BYTES, np.uint8)
    return [_fingerprint(Path(path), size) for path, size in paths]


def fingerprint_of(data: bytes) -> Print:
    """Of a picture file; `PictureError` if it is none."""
    small = thumbnail(data, by=compiled.thumbnail)
    if small is None:
        return Print(bytes(pdq.HASH_BYTES), bytes(KEY_BYTES), 0)
    found, second = both_of(small)
    return Print(found.hash, second, found.quality)


def both_of(plane: pdq.Floats) -> tuple[pdq.Fingerprint, bytes]:
    """PDQ and the second hash of a plane of luminance; both take the small plane, the dear part of PDQ."""
    small = pdq.thumbnail(plane)  # as it is, if it is small already
    return pdq.fingerprint(small), _second().hash(small)


def _fingerprint(path: Path, size: int) -> Print | None:
    if size > MOST_BYTES:
        return None
    try:
        return fingerprint_of(path.read_bytes())
    except (OSError, PictureError):
        return None


@cache
def _second() -> KeyedHasher:
    """Under a key that everybody knows: it tells copies from look-alikes, and nobody aims at it."""
    return KeyedHasher(bytes(KEY_BYTES))


def named(files: Iterable[str], most: int) -> list[str]:
    """Names for a terminal: the first `most`, and how many more there are."""
    names = ["".join(letter if letter.isprintable() else "?" for letter in one) for one in files]
    return names[:most] + ([f"and {len(names) - most:,} more"] if len(names) > most else [])
