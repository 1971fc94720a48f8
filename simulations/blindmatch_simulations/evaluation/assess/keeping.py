"""A design's set, built once for a workload and kept until the design's row is written.

    DIR/.sets/NAME/KEY/          the design's folder of epochs, as `publication` writes it
    DIR/.sets/NAME/KEY/spent     time and CPU of its build, added up over the parts of an interrupted one

KEY follows from all that the set depends on: design, version, parameters, the list, the seed, and the source
of the design. A run that was interrupted takes a finished set up as it is, and an unfinished build where it
stopped. The set is lent to a deployment by hard links, so that an update there leaves it as it is.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import AnyDesign, Progress, SetParameters
from blindmatch_server.curator import HashList
from blindmatch_server.epochs.building import Publishing
from blindmatch_server.epochs.publication import list_digest, publish_epoch
from blindmatch_server.epochs.published import CURRENT, PublicationError, open_publication
from blindmatch_server.hosting.worker_pool import WorkerPool
from msgspec import Struct

from blindmatch_simulations.evaluation.assess.origin import folder_of, source_of
from blindmatch_simulations.evaluation.assess.store import write_whole
from blindmatch_simulations.measure.procfs import cpu_seconds, used_cpu_seconds
from blindmatch_simulations.measure.results import Strict, decoded_or_none
from blindmatch_simulations.testbed.deployment.curating import throwaway_signer

FIRST: Final = 1
_SPENT: Final = "spent"
_NOTE_SECONDS: Final = 1.0


class Spent(Strict, frozen=True):
    """What a build took: seconds by the clock, CPU seconds, and in how many parts it was made."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    parts: int = 0


class Kept(Struct, frozen=True):
    """A set that is built, in the folder of epochs `folder`."""

    folder: Path
    spent: Spent


def kept_set(
    design: AnyDesign,
    entries: HashList,
    seed: int,
    root: Path,
    progress: Progress,
    values: Mapping[str, int] | None = None,
) -> Kept:
    """The set of `entries` in `root`: the one that is there, or a build that is begun or taken up.

    Args:
        seed: of the workload; it decides all randomness of the build.
        root: holds the sets of this design alone; those with another key are removed.
        progress: called with (done, total) entries.
        values: parameters by name; a missing one takes its default.

    Raises:
        DesignError: if the list, or a parameter, cannot be served.
        PublicationError: if another build works there, or the file system refuses.
    """
    given = dict(values or {})
    folder = root / key_of(design, entries, seed, given)
    _remove_others(root, folder)
    if not _whole(folder):
        _build(design, entries, seed, folder, progress, given)
    return Kept(folder, _spent(folder))


def key_of(
    design: AnyDesign, entries: HashList, seed: int, given: Mapping[str, int] = MappingProxyType({})
) -> str:
    """What the set depends on, as 16 hex digits."""
    info = design.info
    values = {one.name: given.get(one.name, one.default) for one in info.parameters}
    source = source_of(folder_of(design))
    parts = [info.name, info.version, values, list_digest(entries), seed, source]
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _remove_others(root: Path, folder: Path) -> None:
    for other in root.glob("*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def _whole(folder: Path) -> bool:
    """Is there a finished set, of which every byte is what its manifest says? A damaged one is removed."""
    if not (folder / CURRENT).exists():
        return False
    try:
        open_publication(folder, FIRST).verify()
    except PublicationError:
        shutil.rmtree(folder, ignore_errors=True)
        return False
    return True


def _build(
    design: AnyDesign,
    entries: HashList,
    seed: int,
    folder: Path,
    progress: Progress,
    given: Mapping[str, int],
) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    workers = WorkerPool()
    clock = _Clock(folder / _SPENT, workers)

    def watched(done: int, total: int) -> None:
        clock.note(_NOTE_SECONDS)
        progress(done, total)

    rng = seeded(f"assess/{seed}/{design.info.name}")
    with workers:
        how = Publishing(design, folder, throwaway_signer(), workers, watched)
        publish_epoch(how, entries, SetParameters(FIRST, given), rng)
    clock.note(0.0)


class _Clock:
    """Notes beside a build what it has taken so far, what earlier parts took included."""

    def __init__(self, path: Path, workers: WorkerPool) -> None:
        self._path, self._workers = path, workers
        self._before = _spent(path.parent)
        self._began = (time.perf_counter(), used_cpu_seconds())
        self._noted = self._began[0]
        self.note(0.0)

    def note(self, every: float) -> None:
        """Write it down, unless that was done in the last `every` seconds."""
        now = time.perf_counter()
        if now - self._noted < every:
            return
        self._noted = now
        workers = sum(cpu_seconds(pid) or 0.0 for pid in self._workers.pids)
        wall, cpu = now - self._began[0], used_cpu_seconds() + workers - self._began[1]
        before = self._before
        spent = Spent(before.seconds + wall, before.cpu_s + cpu, before.parts + 1)
        write_whole(self._path, msgspec.json.encode(spent))


def _spent(folder: Path) -> Spent:
    return decoded_or_none(folder / _SPENT, Spent) or Spent()
