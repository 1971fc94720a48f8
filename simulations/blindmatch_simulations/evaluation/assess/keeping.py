"""A design's set, built once for a workload and kept until the design's row is written.

    DIR/.sets/NAME/KEY/          the design's folder of epochs; KEY follows from all that the set depends on
    DIR/.sets/NAME/KEY/spent     time and CPU of its build, added up over the parts of an interrupted one
    DIR/.origins/NAME.json       machine and source of the row designs/NAME.json
    DIR/.sets/NAME-checks.json   checks that came to their end, each with its key
    data/checks.json             the same, committed: written by ``blindmatch conformance --keep``

A check's key follows from design, version, seed, parameters, runs, and the code of design and check with what
they import, words left out; not from other packages, data, and what checks alone use of client, proofs,
server and PDQ.
"""

from __future__ import annotations

import ast
import inspect
import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import blindmatch_protocol
import msgspec
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import AnyDesign, Progress, SetParameters
from blindmatch_server.curator import HashList
from blindmatch_server.epochs.building import Publishing, list_digest, publish_epoch
from blindmatch_server.epochs.published import CURRENT, PublicationError, open_publication
from blindmatch_server.hosting.workers import WorkerPool
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.data import text_of
from blindmatch_simulations.evaluation.assess.observed import COMMITTED, Check
from blindmatch_simulations.evaluation.assess.plan import AssessError
from blindmatch_simulations.evaluation.assess.results import DESIGNS, write_whole
from blindmatch_simulations.evaluation.conformance import run
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.measure.machine import Machine, machine
from blindmatch_simulations.measure.processes import cpu_seconds, used_cpu_seconds
from blindmatch_simulations.measure.results import Strict, decoded, decoded_or_none
from blindmatch_simulations.measure.yardstick import reading
from blindmatch_simulations.testbed.deployment.curating import throwaway_signer
from blindmatch_simulations.testbed.deployment.registry import is_path, load_design, path_of
from blindmatch_simulations.testbed.inprocess.verdict import Verdict

ORIGINS: Final = ".origins"
SETS: Final = ".sets"


class Origin(Strict, frozen=True):
    """Where a row comes from: the machine, and SHA-256 of the source as `source_of` takes it."""

    machine: Machine
    source: str


def source_of(folder: Path) -> str:
    """SHA-256 over the modules in a design's folder and over those that designs are made from, in hex."""
    return sha256(_digests(folder.glob("*.py")) + protocol_digest()).hexdigest()


@cache
def protocol_digest() -> bytes:
    """Of what designs are made from, kept: a run takes it anew, and then loads that once."""
    return _digests(Path(blindmatch_protocol.__path__[0]).rglob("*.py"))


def _digests(files: Iterable[Path]) -> bytes:
    return b"".join(sha256(file.read_bytes()).digest() for file in sorted(files))


def folder_of(design: AnyDesign) -> Path:
    """Where the module of a design lies."""
    return Path(inspect.getfile(type(design))).parent


def origin_of(reference: str) -> Origin:
    """What a row of this design would be measured with now. A file is read and not loaded: what it does when
    it is loaded is for its own process."""
    folder = path_of(reference).resolve().parent if is_path(reference) else folder_of(load_design(reference))
    return Origin(machine(), source_of(folder))


def note_origin(out: Path, name: str, reference: str) -> None:
    """Write down what the row of design `name` is measured with."""
    write_whole(_path(out, name), msgspec.json.encode(origin_of(reference)))


def is_same_origin(out: Path, name: str, reference: str) -> bool:
    """Would the row of design `name` be measured with the same code now?"""
    kept = decoded_or_none(_path(out, name), Origin)
    return kept is not None and kept.source == origin_of(reference).source


def check_machine(out: Path) -> None:
    """Refuse a folder with rows of another machine, or of other versions of what they were measured with;
    `AssessError` naming what differs."""
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
    """The set of `entries` in `root`, which holds this design's alone: the one that is there, or one that is
    built now, or whose build goes on; those with another key are removed. The workload's `seed` decides all
    randomness. `DesignError` if the list or a parameter in `values` cannot be served; `PublicationError` if
    another build works there, or the file system refuses."""
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
    """Is there a finished set whose every byte is what its manifest says? A damaged one is removed."""
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
        self._path = path
        self._workers = workers
        self._before = _spent(path.parent)
        self._began = (time.perf_counter(), used_cpu_seconds())
        self._noted = self._began[0]
        self.note(0.0)

    def note(self, every: float) -> None:
        now = time.perf_counter()
        if now - self._noted < every:
            return
        self._noted = now
        workers = sum(cpu_seconds(pid) or 0.0 for pid in self._workers.pids)
        wall = now - self._began[0]
        cpu = used_cpu_seconds() + workers - self._began[1]
        before = self._before
        spent = Spent(before.seconds + wall, before.cpu_s + cpu, before.parts + 1)
        write_whole(self._path, msgspec.json.encode(spent))


def _spent(folder: Path) -> Spent:
    return decoded_or_none(folder / _SPENT, Spent) or Spent()


UNFINISHED: Final = str(Verdict.NOT_CHECKED)
CHECKS_FILE: Final = "checks.json"
PLAYED: Final = ("simulator", "games", "malicious games", "list games")
"""Checks that have more runs in large games; those count for quick ones, too."""
HERE: Final = ("timing", "hand-over")
"""Checks of this machine, and of the client, which run here, unless they are dear."""
DEAR_U: Final = 20_000
_OF_DESIGNS: Final = ("blindmatch_protocol", "blindmatch_client")
_TESTBED: Final = "blindmatch_simulations.testbed"
_OF_CHECKS: Final = (
    "blindmatch_simulations.evaluation.conformance", "blindmatch_simulations.measure.intervals",
    "blindmatch_client.matching", f"{_TESTBED}.inprocess", f"{_TESTBED}.audit", f"{_TESTBED}.pictures",
)  # fmt: skip


class KeptCheck(Strict, frozen=True):
    """A check that came to its end, and the work it took in u; 0 of committed ones."""

    check: Check
    key: str
    work_u: int


class KeptChecks(Strict, frozen=True):
    version: Literal[1]
    designs: dict[str, tuple[KeptCheck, ...]]


def committed_checks(design: str) -> list[KeptCheck]:
    """Committed checks of a built-in design, which say that they are, and which are of another machine."""
    told = []
    for kept in msgspec.json.decode(text_of(CHECKS_FILE), type=KeptChecks).designs.get(design, ()):
        of = f" of another machine, {kept.work_u:,} u" if kept.check.check in HERE else ""
        reason = f"committed evidence{of}; {kept.check.reason}"
        check = replace(kept.check, reason=reason, figures={**kept.check.figures, COMMITTED: True})
        told += [KeptCheck(check, kept.key, 0)] if not of or kept.work_u > DEAR_U else []
    return told


def kept_checks(path: Path) -> dict[str, tuple[KeptCheck, ...]]:
    """Checks that were kept in a file, by design; none if there is no file; `ResultsError` if it is not such
    a file."""
    return decoded(path, KeptChecks).designs if path.exists() else {}


def keep_checks(
    path: Path,
    fixtures: Fixtures,
    budget_u: int,
    tell: Callable[[Check], object],
    committed: Sequence[KeptCheck] = (),
) -> bool:
    """Check a design, keep each check in a file as soon as it came to its end, and say if all did and none
    failed. What has its key is not run again; no check begins once the budget is used up."""
    design = (fixtures.whole or fixtures.design).info.name
    held = kept_checks(path)
    keys = {
        one.name: [key_of_check(fixtures, one, runs) for runs in (run.GAMES[1], fixtures.held_out)]
        for one in run.CHECKS
    }
    known = {one.key: one for one in (*committed, *held.get(design, ())) if one.check.verdict != UNFINISHED}
    made = {name: known[key] for name, both in keys.items() for key in both[::-1] if key in known}
    u_us = reading().u_us
    spent = sum(one.work_u for one in made.values())
    for check in run.CHECKS:
        if check.name not in made:
            if spent > budget_u:
                continue
            before = used_cpu_seconds()
            began = time.perf_counter()
            result = run.judged(check.name, partial(check.run, fixtures), fixtures.design)
            work = round(1e6 * (used_cpu_seconds() - before) / u_us)
            told = str(result.verdict), result.reason, dict(result.figures)
            seconds = round(time.perf_counter() - began, 2)
            key = keys[check.name][1]
            made[check.name] = KeptCheck(Check(check.name, check.says, *told, seconds), key, work)
            spent += work
        tell(made[check.name].check)
        held = kept_checks(path)  # another process may keep other designs there
        held[design] = tuple(made[one.name] for one in run.CHECKS if one.name in made)
        write_whole(path, msgspec.json.format(msgspec.json.encode(KeptChecks(1, held)), indent=1))
    bad = UNFINISHED, Verdict.FAILED
    return len(made) == len(run.CHECKS) and not any(one.check.verdict in bad for one in made.values())


def key_of_check(fixtures: Fixtures, check: run.Check, held_out: int) -> str:
    """What the verdict of a check follows from, with so many held-out runs of a large game or 0, as 16 hex
    digits."""
    design = fixtures.whole or fixtures.design
    code = code_of(type(design).__module__, _OF_DESIGNS), code_of(check.run.__module__, _OF_CHECKS)
    runs = fixtures.runs, held_out if check.name in PLAYED else 0, fixtures.seed, fixtures.values
    parts = [design.info.name, design.info.version, check.name, *runs, *code]
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def read_code(designs: Iterable[AnyDesign]) -> None:
    """Read what keys of checks of `designs` follow from, for this process and those forked off it."""
    for one in run.CHECKS:
        code_of(one.run.__module__, _OF_CHECKS)
    for design in designs:
        code_of(type(design).__module__, _OF_DESIGNS)


@cache
def code_of(module: str, within: tuple[str, ...]) -> str:
    """SHA-256 of a module and of all that it imports of packages whose names begin with `within`, without
    comments and what docstrings say, in hex."""
    found = dict[str, str]()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found and (path := _file_of(name)) is not None:
            found[name], imported = _read(path)
            waiting += [one for one in imported if one.startswith(within)]
    return sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


@cache
def _read(path: Path) -> tuple[str, tuple[str, ...]]:
    """The code of a module, as `code_of` takes it, and what it imports."""
    tree = ast.parse(path.read_bytes())
    imported = list[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(None)
        elif isinstance(node, ast.Import):
            imported += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported += [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
    return ast.dump(tree), tuple(imported)


@cache
def _file_of(module: str) -> Path | None:
    with suppress(ImportError, ValueError):
        spec = find_spec(module)
        if spec is not None and spec.has_location and spec.origin is not None:
            return Path(spec.origin)
    return None
