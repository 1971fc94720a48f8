"""One run of benches by a command: their table, and the file of results."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from blindmatch_simulations.bench.table import COLUMNS, cells
from blindmatch_simulations.cli.console import (
    console_for,
    phases,
    table,
    write_json,
)
from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.measure.results import Results, results
from blindmatch_simulations.measure.row import BenchRow

Options = Mapping[str, int | float | str]
Bench = Callable[[Meter, Path], None]


def run_benches(
    benches: list[Bench], runs: int, seconds: float, options: Options, json_path: Path | None
) -> None:
    """Run benches, each in an empty folder, and show all rows; those before a failure too."""
    console, began, meter = console_for(json_path), time.monotonic(), Meter(runs, seconds)
    try:
        with phases(console) as meter.stage:
            for bench in benches:
                with tempfile.TemporaryDirectory(prefix="blindmatch-bench-") as folder:
                    bench(meter, Path(folder))
    finally:
        took = round(time.monotonic() - began, 1)
        console.print(table("bench", COLUMNS, [cells(row) for row in meter.rows]))
        sizes = {"runs": runs, "seconds": seconds, "took_s": took, **options}
        write_json(results(Results[BenchRow], "blindmatch bench", sizes, meter.rows), json_path)
