"""Rows as a table, for the console and for documents.

python -m blindmatch_simulations.bench.table FILE ...     one table in Markdown of the rows of results files
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from blindmatch_simulations.measure.row import Row

COLUMNS: Final = ("what", "with", "figures", "target", "verdict")
_UNIT_US: Final = {"days": 86_400e6, "min": 60e6, "s": 1e6, "ms": 1e3}
_UNITS: Final = {
    "cpu_u": "u",
    "wall_u": "u",
    "per_second": "/s",
    "start_mib": "MiB",
    "end_mib": "MiB",
    "mib": "MiB",
    "count": "",
    "most_count": "",
    "p50_times": "times",
    "p95_times": "times",
    "attempts_per_second": "/s",
}
_NAMES: Final = {
    "cpu_us": "CPU", "wall_us": "wall", "cpu_u": "CPU", "wall_u": "wall", "p50_us": "p50", "p95_us": "p95",
    "p99_us": "p99", "per_second": "", "server_cpu_us": "server CPU", "device_cpu_us": "device CPU",
    "start_mib": "first", "end_mib": "last", "mib": "", "bytes": "", "bits": "", "share": "share",
    "raw_share": "raw share", "times": "", "least_share": "at least", "count": "", "most_count": "at most",
    "p50_times": "p50", "p95_times": "p95", "attempts_per_second": "attempts",
}  # fmt: skip


def cells(row: Row) -> tuple[str, ...]:
    """A row's cells, in the order of `COLUMNS`."""
    return json_cells(row.as_json())


def json_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The cells of a row as it stands in a results file."""
    parameters = ", ".join(f"{name} {_plain(value)}" for name, value in row["parameters"].items())
    figures = ", ".join(_figure(name, value) for name, value in row["figures"].items())
    per = f" per {row['per']}" if row["per"] and row["figures"] else ""
    status = "" if row["status"] == "measured" else f" ({row['status']})"
    why = f": {row['why']}" if row["why"] else ""
    verdict = "" if row["verdict"] == "no target" else str(row["verdict"])
    return row["what"], parameters, f"{figures}{per}{status}{why}".strip(), _target(row["target"]), verdict


def markdown(rows: Iterable[Mapping[str, Any]]) -> str:
    """A table in Markdown of the rows of a results file."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(json_cells(row) for row in rows)]
    return "".join(f"| {' | '.join(cell.replace('|', ' ') for cell in line)} |\n" for line in lines)


def _figure(name: str, value: float) -> str:
    label = _NAMES.get(name, name)
    shown = _duration(value) if name.endswith("_us") else f"{_short(value)} {_UNITS.get(name, name)}"
    if name in ("share", "raw_share", "least_share"):
        return f"{label} {_percent(value)}"
    return f"{label} {shown}".strip()


def _duration(us: float) -> str:
    """Microseconds in a unit that is read at a glance."""
    for least, unit in ((86_400e6, "days"), (600e6, "min"), (10e6, "s"), (1e3, "ms")):
        if us >= least:
            return f"{_short(us / _UNIT_US[unit])} {unit}"
    return f"{_short(us)} us"


def _percent(share: float) -> str:
    """Whole numbers in the middle; near one what is missing counts."""
    return f"{share:.2%}" if 0.9 < share < 1 else f"{share:.0%}"


def _target(target: Mapping[str, Any] | None) -> str:
    if target is None:
        return ""
    sign, value = (">=", target["at_least"]) if "at_least" in target else ("<=", target["at_most"])
    where = ", ".join(f"{name} {_plain(value)}" for name, value in target["where"].items())
    return f"{sign} {_figure(target['figure'], value)}{f' at {where}' if where else ''}"


def _short(value: float) -> str:
    """Three significant digits, or whole numbers where those are more."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _plain(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else value


if __name__ == "__main__":
    files = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    print(markdown(row for file in files for row in file["rows"]), end="")
