"""A design's set, built once for a workload and kept until the design's row is written.

    DIR/.sets/NAME/KEY/          the design's folder of epochs, as `publication` writes it
    DIR/.sets/NAME/KEY/spent     time and CPU of its build, added up over the parts of an interrupted one

KEY follows from all that the set depends on: design, version, parameters, the list, the seed, and the source
of the design. A run that was interrupted takes a finished set up as it is, and an unfinished build where it
stopped. The set is lent to a deployment by hard links, so that an update there leaves it as it is.

    DIR/.origins/NAME.json       machine and source of the row designs/NAME.json

A row of another machine, or of other code, is no row of this run.
"""

from __future__ import annotations

import inspect
import json
import shutil
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Final

import blindmatch_protocol
import msgspec
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import AnyDesign, Progress, SetParameters
from blindmatch_server.curator import HashList
from blindmatch_server.epochs.building import Publishing, list_digest, publish_epoch
from blindmatch_server.epochs.published import CURRENT, PublicationError, open_publication
from blindmatch_server.hosting.workers import WorkerPool
from msgspec import Struct

from blindmatch_simulations.evaluation.assess.plan import AssessError
from blindmatch_simulations.evaluation.assess.results import DESIGNS, write_whole
from blindmatch_simulations.measure.machine import Machine, machine
from blindmatch_simulations.measure.processes import cpu_seconds, used_cpu_seconds
from blindmatch_simulations.measure.results import Strict, decoded_or_none
from blindmatch_simulations.testbed.deployment.curating import throwaway_signer
from blindmatch_simulations.testbed.deployment.registry import is_path, load_design

ORIGINS: Final = ".origins"
SETS: Final = ".sets"


class Origin(Strict, frozen=True):
    """Where a row comes from: the machine, and SHA-256 of the source as `source_of` takes it."""

    machine: Machine
    source: str


def source_of(folder: Path) -> str:
    """SHA-256 over the modules in a design's folder and over those that designs are made from, in hex."""
    beside = sorted(folder.glob("*.py"))
    below = sorted(Path(blindmatch_protocol.__path__[0]).rglob("*.py"))
    return sha256(b"".join(sha256(file.read_bytes()).digest() for file in (*beside, *below))).hexdigest()


def folder_of(design: AnyDesign) -> Path:
    """Where the module of a design lies."""
    return Path(inspect.getfile(type(design))).parent


def origin_of(reference: str) -> Origin:
    """What a row of this design would be measured with now. A file is read and not loaded: what it does when
    it is loaded is for its own process."""
    path = Path(reference.rpartition(":")[0])
    folder = path.resolve().parent if is_path(reference) else folder_of(load_design(reference))
    return Origin(machine(), source_of(folder))


def note_origin(out: Path, name: str, reference: str) -> None:
    """Write down what the row of design `name` is measured with."""
    write_whole(_path(out, name), msgspec.json.encode(origin_of(reference)))


def is_same_origin(out: Path, name: str, reference: str) -> bool:
    """Would the row of design `name` be measured with the same code now?"""
    kept = decoded_or_none(_path(out, name), Origin)
    return kept is not None and kept.source == origin_of(reference).source


def check_machine(out: Path) -> None:
    """Refuse a folder with rows of another machine, or of other versions of what they were measured with.

    Raises:
        AssessError: naming what differs.
    """
    here = msgspec.structs.asdict(machine())
    for path in sorted((out / ORIGINS).glob("*.json")):
        kept = decoded_or_none(path, Origin)
        there = here if kept is None else msgspec.structs.asdict(kept.machine)
        differs = [key for key, value in here.items() if key != "memory_mib" and there[key] != value]
        if differs and ((out / DESIGNS / path.name).exists() or (out / SETS / path.stem).exists()):
            raise AssessError(
                f"{out} holds what was measured of {path.stem} elsewhere: other {', '.join(differs)}; "
                "choose another --out"
            )


def _path(out: Path, name: str) -> Path:
    return out / ORIGINS / f"{name}.json"


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
    for other in root.glob("*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
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
