"""Takes measurements: repeats a task between readings of the yardstick, within a bound on time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import Progress
from msgspec import Struct, field

from blindmatch_simulations.measure.phases import PhaseProgress, silent
from blindmatch_simulations.measure.processes import in_own_process
from blindmatch_simulations.measure.row import CATALOGUE, BenchRow, bench_row
from blindmatch_simulations.measure.yardstick import (
    Cost,
    Run,
    conditions,
    cost_figures,
    counting,
    reading,
    timed,
)

LEAST_RUN_S: Final = 0.05
"""A run repeats a shorter task until it is so long, beside which a clock's step and a call are nothing."""
MOST_LOOPS: Final = 100_000
NO_PROC: Final = "this system has no /proc"


class BenchError(BlindmatchError):
    """What was measured did not give the right result, so its speed means nothing."""


def expect(holds: bool, words: str) -> None:
    """Raise `BenchError` with these words unless the result `holds`."""
    if not holds:
        raise BenchError(words)


class Meter(Struct):
    """Collects rows.

    Attributes:
        seconds: after which no further run of a row is begun; each has at least one.
        taken: the runs that `time` took for each row last.
        marks: parameters of every row, beside its own.
    """

    runs: int = 5
    seconds: float = 60.0
    phase: PhaseProgress = silent
    rows: list[BenchRow] = field(default_factory=list)
    taken: dict[str, list[Run]] = field(default_factory=dict)
    marks: dict[str, int | str] = field(default_factory=dict)

    def time(
        self,
        row: str,
        task: Callable[[], object],
        *,
        count: int = 1,
        threads: int = 1,
        repeat: bool = True,
        **parameters: int | str,
    ) -> BenchRow:
        """Time `task`, which does `count` of what the row is per, on `threads` threads, a parameter of the
        row if more than one; the row. With `repeat` it only computes: it is called once without timing, and
        several times in a run if it is short."""
        progress = self.phase(CATALOGUE[row].what)
        loops = 1
        if repeat:
            task()  # which fills caches
            once = max(timed(task).wall_s, 1e-7)
            loops = min(MOST_LOOPS, max(1, round(LEAST_RUN_S / once)))

        def run() -> None:
            for _ in range(loops):
                task()

        runs = self.taken[row] = self._runs(run, threads, repeat, progress)
        figures = cost_figures(runs, count * loops)
        if threads > 1:
            parameters["threads"] = threads
        made = self.record(row, figures, runs, **parameters)
        self.rows[-1] = made.spread([cost_figures([run], count * loops) for run in counting(runs)])
        return self.rows[-1]

    @contextmanager
    def around(self, threads: int = 1) -> Iterator[list[Run]]:
        """Readings of the yardstick before and after a block; its one run is in the list once it is over."""
        before = reading(threads)
        runs = list[Run]()
        wall = time.perf_counter()
        cpu = time.process_time()
        yield runs
        cost = Cost(time.perf_counter() - wall, time.process_time() - cpu)
        runs.append(Run(cost, before, reading(threads)))

    def record(
        self,
        row: str,
        figures: Mapping[str, float],
        runs: list[Run] | None = None,
        why: str = "",
        /,
        **parameters: int | str,
    ) -> BenchRow:
        """Add a row whose figures were taken elsewhere; `runs` says under what conditions, `why` explains."""
        around = None if runs is None else conditions(runs)
        made = bench_row(row, CATALOGUE[row], {**parameters, **self.marks}, figures, around, why)
        self.rows.append(made)
        return made

    def missing(self, row: str, why: str, /, **parameters: int | str) -> BenchRow:
        """Add a row that was not measured."""
        return self.record(row, {}, None, why, **parameters)

    def memory(self, row: str, mib: float | None, /, **parameters: int | str) -> BenchRow:
        """Add a row of memory; None: this system does not tell."""
        if mib is None:
            return self.missing(row, NO_PROC, **parameters)
        return self.record(row, {"mib": mib}, **parameters)

    def starts(
        self, module: str, task: str, *arguments: Path | str
    ) -> tuple[list[dict[str, Any]], list[Run]]:
        """Run a task of `module` in fresh processes: what each printed, and its run. One before them, which
        does not count, warms the system's cache."""
        in_own_process(module, task, *arguments)
        found = list[dict[str, Any]]()
        runs = list[Run]()
        for _ in range(max(1, self.runs)):
            with self.around() as run:
                found.append(in_own_process(module, task, *arguments))
            runs += run
        return found, runs

    def _runs(
        self, task: Callable[[], object], threads: int, computes: bool, progress: Progress
    ) -> list[Run]:
        runs: list[Run] = []
        until = time.monotonic() + self.seconds
        before = reading(threads)
        while len(runs) < self.runs and (not runs or time.monotonic() < until):
            cost = timed(task)
            after = reading(threads)
            runs.append(Run(cost, before, after, computes and threads == 1))
            before = after
            progress(len(runs), self.runs)
        progress(len(runs), len(runs))
        return runs
