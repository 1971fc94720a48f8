"""One run of benches by a command: their table, and the file of results."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from blindmatch_simulations.bench.table import COLUMNS, cells
from blindmatch_simulations.cli.commands import Found, people
from blindmatch_simulations.cli.console import phases, table
from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.measure.results import Results, results
from blindmatch_simulations.measure.row import BenchRow

Options = Mapping[str, int | float | str]
Bench = Callable[[Meter, Path], None]


def run_benches(benches: list[Bench], runs: int, seconds: float, options: Options) -> Found:
    """Run benches, each in an empty folder; all rows, those before a failure too."""
    began, meter, broken = time.monotonic(), Meter(runs, seconds), None
    try:
        with phases(people()) as meter.stage:
            for bench in benches:
                with tempfile.TemporaryDirectory(prefix="blindmatch-bench-") as folder:
                    bench(meter, Path(folder))
    except BaseException as error:
        broken = error
    took = round(time.monotonic() - began, 1)
    sizes = {"runs": runs, "seconds": seconds, "took_s": took, **options}
    made = table("bench", COLUMNS, [cells(row) for row in meter.rows])
    return Found(results(Results[BenchRow], "blindmatch bench", sizes, meter.rows), (made,), error=broken)
