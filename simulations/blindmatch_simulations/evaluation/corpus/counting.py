"""Counts all pairs of a set of fingerprints on all cores; an interrupted count goes on where it was kept."""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
from blindmatch_protocol.contract import Progress
from blindmatch_server.hosting.workers import TaskError, WorkerError
from blindmatch_server.storage.errors import StateError
from blindmatch_server.storage.files import replace_file

from blindmatch_simulations.evaluation.corpus.pairs import (
    Block,
    Prints,
    Tally,
    block_of,
    blocks_of,
    count_block,
)
from blindmatch_simulations.measure.cluster import Cluster, room

PRINTS: Final = "prints.npy"
KEPT: Final = "pairs.npz"
KEEP_SECONDS: Final = 20.0
_AHEAD: Final = 3
_COUNTED: Final = b"halves by both hashes"
"""What is kept of another way to count is counted again."""
_ARRAYS: Final = ("histogram", "same", "nearest", "nearest_all", "repeats")


def counted(prints: Prints, state: Path, workers: int, progress: Progress, ray: str = "") -> Tally:
    """All pairs of `prints`, uint8 (n, 64), in order and no two alike, counted by `workers` processes, of
    which 1 is this one, or on the cluster at `ray`. The folder `state` has the fingerprints, which workers
    map, and what is counted so far: it is not lost if a worker dies, which is a `StateError`."""
    digest = sha256(_COUNTED + prints.tobytes()).digest()
    blocks = blocks_of(len(prints))
    tally = _kept(state / KEPT, digest, len(prints))
    kept_at = time.monotonic()
    progress(tally.blocks, blocks)
    try:
        for block in _blocks(prints, state, range(tally.blocks, blocks), workers, ray):
            tally = tally.add(block)
            progress(tally.blocks, blocks)
            if time.monotonic() - kept_at > KEEP_SECONDS:
                _keep(state / KEPT, digest, tally)
                kept_at = time.monotonic()
    finally:
        _keep(state / KEPT, digest, tally)
    return tally


def _blocks(prints: Prints, state: Path, numbers: range, workers: int, ray: str) -> Iterator[Block]:
    if not ray and (workers == 1 or len(numbers) < 2):
        yield from (block_of(prints, number) for number in numbers)
        return
    path = state / PRINTS
    asked = deque[Future[Block]]()
    pool, most = room(workers, ray)
    try:
        file = io.BytesIO()
        np.save(file, prints, allow_pickle=False)
        replace_file(path, file.getvalue())
        held = pool.share(prints) if isinstance(pool, Cluster) else str(path)
        for number in numbers:
            asked.append(pool.submit(count_block, held, number))
            if len(asked) > _AHEAD * most:
                yield pool.result(asked.popleft())
        while asked:
            yield pool.result(asked.popleft())
    except (WorkerError, TaskError) as error:
        raise StateError(f"{error}; what was counted is kept: run it again to go on") from error
    finally:
        pool.end()
        path.unlink(missing_ok=True)


def _kept(path: Path, digest: bytes, count: int) -> Tally:
    try:
        with np.load(path, allow_pickle=False) as held:
            if held["digest"].tobytes() != digest:
                return Tally.empty(count)
            arrays: dict[str, Any] = {name: held[name] for name in _ARRAYS}
            return Tally(**arrays, blocks=int(held["blocks"]))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return Tally.empty(count)


def _keep(path: Path, digest: bytes, tally: Tally) -> None:
    made: dict[str, Any] = {name: getattr(tally, name) for name in _ARRAYS}
    file = io.BytesIO()
    np.savez(file, digest=np.frombuffer(digest, np.uint8), blocks=tally.blocks, **made)
    replace_file(path, file.getvalue())
