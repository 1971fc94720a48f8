"""A results folder: the rows of an assessment in the results file that every command writes
(`measure.results`), written, checked, and put into one tidy table with those of other files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from blindmatch_simulations.evaluation.assess.observed import (
    Audited,
    Check,
    Copies,
    Described,
    Extracted,
    KeyUse,
    Offence,
    ServerCost,
    ToGroup,
    Traffic,
    Updated,
)
from blindmatch_simulations.evaluation.attacks.run import AttackRow, NotPlayed
from blindmatch_simulations.evaluation.studies.capacity_records import Capacity
from blindmatch_simulations.evaluation.studies.targeted import Opened
from blindmatch_simulations.measure import results
from blindmatch_simulations.measure.intervals import level_of
from blindmatch_simulations.measure.machine import Machine
from blindmatch_simulations.measure.output_file import write_file
from blindmatch_simulations.measure.results import (
    Figure,
    ResultsError,
    Row,
    Status,
    Strict,
    csv_of,
    decoded,
    read,
)
from blindmatch_simulations.measure.row import BenchRow


class Recall(Strict, frozen=True):
    """Listed pictures found: of one edit, or in one range of distances."""

    name: str
    sent: int
    found: int | None
    share: Figure


class Measured(Row, frozen=True, kw_only=True, tag="design"):
    """A design's row; its parameters are `reference` and `entries`.

    Attributes:
        copies: how many pictures it was sent, and why its shares do not compare with others' if so. Unset in
            files of before it was noted.
        id: names the design's files.
        to_large_group: all but five of its people only have keys at the relay; unset where a picture is dear,
            and in files of before it was noted.
        capacity: what modified phones open of a hidden list, and how long its key lasts; unset in files of
            before it was noted.
        recall_by_kind, false_by_kind: listed pictures found, and others that led to a match, by kind of
            picture; unset where one kind was sent.
    """

    id: Annotated[str, Meta(pattern="^[A-Za-z0-9._-]+$")]
    design: Described
    recall_by_edit: tuple[Recall, ...]
    recall_by_distance: tuple[Recall, ...]
    traffic: tuple[Traffic, ...]
    servers: tuple[ServerCost, ...]
    audit: Audited
    update: Updated
    offence: Offence
    tries_until_hidden: tuple[int, ...]
    checks: tuple[Check, ...]
    checks_why: str
    stages: dict[str, float]
    peak_mib_all: float
    key: KeyUse | None = None
    extraction: Extracted | None = None
    lessened: str = ""
    copies: Copies | UnsetType = UNSET
    recall_by_kind: tuple[Recall, ...] | UnsetType = UNSET
    false_by_kind: tuple[Recall, ...] | UnsetType = UNSET
    to_group: ToGroup | UnsetType = UNSET
    to_large_group: ToGroup | UnsetType = UNSET
    capacity: Capacity | UnsetType = UNSET

    @property
    def name(self) -> str:
        """Of the design's files in the folder."""
        return self.id

    @property
    def entries(self) -> int:
        return int(self.parameters["entries"])


class Studied(Row, frozen=True, kw_only=True, tag="study"):
    """An option that is no design: measured in one process, on messages that are made up.

    Attributes:
        option: of the catalogue.
        page: that describes it.
        opened: every attempt.
    """

    option: str
    page: str
    opened: tuple[Opened, ...]


Design: TypeAlias = Measured | Studied | Row
"""A row; what could not be measured leaves a `Row` that failed, with its reference."""
Results: TypeAlias = results.Results[Measured | Studied | Row]
AnyResults: TypeAlias = results.Results[Measured | Studied | BenchRow | AttackRow | NotPlayed | Row]
"""Of any command."""


RESULTS: Final = "results.json"
ATTACKS: Final = "attacks.json"
"""What ``blindmatch attack run --json`` wrote, if it lies beside the results."""
WORKLOAD: Final = "workload.toml"
DESIGNS: Final = "designs"
ROWS: Final = "rows"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file as `write_file` does; its folder is made.

    Another thread may look for rows meanwhile: no pattern of `file_digests` fits a draft.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, data)


def write_rows(folder: Path, name: str, rows: Mapping[str, Iterable[Any]]) -> Path:
    """A design's raw rows as JSON lines, each with its kind."""
    lines = [
        msgspec.json.encode({"kind": kind, **msgspec.to_builtins(row)}, order="deterministic")
        for kind, group in rows.items()
        for row in group
    ]
    path = folder / ROWS / f"{name}.jsonl"
    write_whole(path, b"".join(line + b"\n" for line in lines))
    return path


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file the results stand on, by path below `folder`."""
    paths = [folder / WORKLOAD, *folder.glob(f"{DESIGNS}/*.json"), *folder.glob(f"{ROWS}/*.jsonl")]
    return {str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest() for p in sorted(paths)}


def read_design(path: Path) -> Design:
    """A design's finished row; raises `ResultsError` if it is none."""
    row: Design = decoded(path, Design)  # type: ignore[arg-type]
    return row


def results_in(path: Path) -> Path:
    """The results file in a folder; a file is itself."""
    return path / RESULTS if path.is_dir() else path


def check_folder(path: Path) -> Results:
    """The results in a file or folder, whole and as they were written; `ResultsError` if not; the text says
    what is wrong."""
    path = results_in(path)
    results: Results = read(path, Results)
    folder = path.parent
    for name, digest in results.files.items():
        relative = Path(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise ResultsError(f"{name}: outside of the folder")
        if not (folder / relative).is_file():
            raise ResultsError(f"{name}: missing")
        if sha256((folder / relative).read_bytes()).hexdigest() != digest:
            raise ResultsError(f"{name}: edited or truncated: its SHA-256 is not the one in {RESULTS}")
    for name in file_digests(folder).keys() - results.files.keys():
        raise ResultsError(f"{name}: not among the files that {RESULTS} names")
    return results


COLUMNS: Final = (
    *("kind", "id", "design", "version", "status", "figure", "value", "unit", "low", "high", "interval", "n"),
    *("pairs", "resolution", "why", "seed", "entries", "workload", "command", "made_at", "machine"),
)
"""In this order; parameters follow, by name. `entries` is the size of the list, `version` the design's."""
_TAKEN: Final = frozenset(COLUMNS) - {"entries", "design"}


def results_below(path: Path) -> list[Path]:
    """The file, the results file in the folder, those in folders of a sweep; `ResultsError` if none."""
    if not path.is_dir():
        return [path]
    found = [path / RESULTS] if (path / RESULTS).exists() else sorted(path.glob(f"*/{RESULTS}"))
    if not found:
        raise ResultsError(f"{path}: no {RESULTS} in it, nor in a folder of it")
    return found


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Rows of all results at `path`; raises `ResultsError` if a file is not whole and as it was written."""
    loaded: list[AnyResults] = [read(one, AnyResults) for one in results_below(path)]
    return [row for one in loaded for row in figures(one)]


def figures(results: AnyResults) -> list[dict[str, Any]]:
    """One flat row a figure; a row without figures has one with `figure` None. A figure that was disturbed
    has that status by itself; `interval` says what `low` and `high` are."""
    every = {
        "seed": results.seed,
        "workload": results.workload,
        "command": results.command,
        "made_at": results.made_at,
        "machine": machine_words(results.machine),
    }
    rows = []
    for row in results.rows:
        named = row.parameters.get("design") or row.parameters.get("reference", "")
        design = row.design.name if isinstance(row, Measured) else named
        version = row.design.version if isinstance(row, Measured) else None
        head = {"kind": type(row).__struct_config__.tag, "id": row.id, "design": design, "version": version}
        # a parameter's name, told apart from a column of every row
        plain = {f"parameter {key}" if key in _TAKEN else key: one for key, one in row.parameters.items()}
        for name, figure in row.figures.items() or [(None, None)]:
            shown = {} if figure is None else msgspec.structs.asdict(figure)
            why = shown.pop("why", "") or row.why
            status = Status.DISTURBED if why.startswith(Status.DISTURBED) else row.status
            told = {"status": str(status), "why": why, "figure": name, **shown}
            level = level_of(figure, str(head["kind"])) if figure else ""
            rows.append({**head, **told, "interval": level, **every, **plain})
    return rows


def machine_words(machine: Machine) -> str:
    """A machine in a cell: equal words are equal conditions, as far as a file tells."""
    size = f"{machine.cores} cores, {machine.memory_mib} MiB"
    return f"{machine.processor}, {size}, {machine.system}, {machine.python}"


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """All columns that a row has; an empty cell is a value that is not there."""
    held = list(rows)
    more = sorted({name for row in held for name in row} - set(COLUMNS))
    columns = [*COLUMNS, *more]
    return csv_of(columns, ([row.get(name) for name in columns] for row in held))
