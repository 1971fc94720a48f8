"""Rows as a table, for the console and for documents.

python -m blindmatch_simulations.evaluation.bench.table FILE ... one table in Markdown of results files
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from blindmatch_simulations.measure.results import Figure, Results, Status, read, short
from blindmatch_simulations.measure.row import FIGURES, BenchRow, Target, Verdict

COLUMNS: Final = ("what", "with", "figures", "target", "verdict")
_UNITS: Final = ((86_400e6, 86_400e6, "days"), (600e6, 60e6, "min"), (10e6, 1e6, "s"), (1e3, 1e3, "ms"))
"""Of a duration: from how many microseconds on it is given in one, and how many that is."""


def cells(row: BenchRow) -> tuple[str, ...]:
    """A row's cells, in the order of `COLUMNS`."""
    parameters = ", ".join(f"{name} {_plain(value)}" for name, value in row.parameters.items())
    figures = ", ".join(_figure(name, figure) for name, figure in row.figures.items())
    per = f" per {row.per}" if row.per and row.figures else ""
    status = "" if row.status is Status.MEASURED else f" ({row.status})"
    why = f": {row.why}" if row.why else ""
    verdict = "" if row.verdict is Verdict.NO_TARGET else str(row.verdict)
    return row.what, parameters, f"{figures}{per}{status}{why}".strip(), target_words(row.target), verdict


def markdown(rows: Iterable[BenchRow]) -> str:
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(cells(row) for row in rows)]
    return "".join(f"| {' | '.join(cell.replace('|', ' ') for cell in line)} |\n" for line in lines)


def _figure(name: str, figure: Figure) -> str:
    value = figure.value or 0.0
    match figure.unit:
        case "us":
            shown = _duration(value)
        case "share":
            # whole numbers in the middle; near one what is missing counts
            shown = f"{value:.2%}" if 0.9 < value < 1 else f"{value:.0%}"
        case unit:
            shown = f"{short(value)} {unit}"
    return f"{FIGURES[name].label} {shown}".strip()


def _duration(us: float) -> str:
    for least, size, unit in _UNITS:
        if us >= least:
            return f"{short(us / size)} {unit}"
    return f"{short(us)} us"


def target_words(target: Target | None) -> str:
    """A target for people; empty if there is none."""
    if target is None:
        return ""
    where = ", ".join(f"{name} {_plain(value)}" for name, value in target.where.items())
    bound = _figure(target.figure, Figure(target.value, unit=FIGURES[target.figure].unit))
    return f"{'>=' if target.at_least else '<='} {bound}{f' at {where}' if where else ''}"


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,}"


if __name__ == "__main__":
    every = [read(Path(name), Results[BenchRow]) for name in sys.argv[1:]]
    print(markdown(row for one in every for row in one.rows), end="")
