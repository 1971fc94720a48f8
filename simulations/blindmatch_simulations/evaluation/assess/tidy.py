"""Figures of many results files as one tidy table: a row a figure, with all that it was measured with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from blindmatch_simulations.evaluation.assess.results import AnyResults, Measured
from blindmatch_simulations.evaluation.assess.store import RESULTS
from blindmatch_simulations.measure.machine import Machine
from blindmatch_simulations.measure.results import ResultsError, csv_of, read

COLUMNS: Final = (
    *("kind", "id", "design", "status", "figure", "value", "unit", "low", "high", "n", "pairs", "resolution"),
    *("why", "seed", "entries", "workload", "command", "made_at", "machine"),
)
"""In this order; parameters follow, by name. `entries` is the size of the list."""


def results_below(path: Path) -> list[Path]:
    """The file, the results file in the folder, or those in the folders of a sweep.

    Raises:
        ResultsError: if there is none.
    """
    if not path.is_dir():
        return [path]
    found = [path / RESULTS] if (path / RESULTS).exists() else sorted(path.glob(f"*/{RESULTS}"))
    if not found:
        raise ResultsError(f"{path}: no {RESULTS} in it, nor in a folder of it")
    return found


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Rows of all results at `path`, each file whole and as it was written.

    Raises:
        ResultsError: if one is not.
    """
    rows = []
    for one in results_below(path):
        loaded: AnyResults = read(one, AnyResults)
        rows += figures(loaded)
    return rows


def figures(results: AnyResults) -> list[dict[str, Any]]:
    """One flat row a figure; a row without figures has one with `figure` None."""
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
        head = {"kind": type(row).__struct_config__.tag, "id": row.id, "design": design}
        plain = {_column(name): value for name, value in row.parameters.items()}
        for name, figure in row.figures.items() or [(None, None)]:
            shown = {} if figure is None else msgspec.structs.asdict(figure)
            why = shown.pop("why", "") or row.why
            told = {"status": str(row.status), "why": why, "figure": name, **shown}
            rows.append({**head, **told, **every, **plain})
    return rows


def _column(parameter: str) -> str:
    """A parameter's name, told apart from a column of every row."""
    return f"parameter {parameter}" if parameter in _TAKEN else parameter


_TAKEN: Final = frozenset(COLUMNS) - {"entries", "design"}


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
