"""The clocks, and the unit u: the CPU time of one ristretto255 scalar multiplication by libsodium; and from
single runs to figures: medians, ratios to u, and whether the machine was disturbed
(docs/reference/performance.md).

    reading, run, reading, run, reading ...       each run lies between two readings of the yardstick
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from statistics import median
from typing import Final, NamedTuple, Self

from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import system_randomness
from msgspec import Struct

from blindmatch_simulations.measure.processes import used_cpu_seconds
from blindmatch_simulations.measure.results import Conditions, significant

BATCHES: Final = 9
PER_BATCH: Final = 64
"""Multiplications of a batch, about 3 ms; a median over batches leaves out short disturbances."""

_LONGER: Final = 5
"""The load on several threads is taken over so many times the batches: about 150 ms."""


class Cost(NamedTuple):
    """Seconds by the clock on the wall, and of CPU time of this process, all threads, and of the processes
    it started and ended meanwhile."""

    wall_s: float
    cpu_s: float


class Reading(Struct, frozen=True):
    """The yardstick at one moment.

    Attributes:
        u_us: CPU microseconds of one multiplication, on one thread.
        load: wall time over CPU time with as many threads as the measurement uses; 1 means that the machine
            was ours alone, 2 that we got half of what we asked for.
    """

    u_us: float
    load: float


def timed(task: Callable[[], object]) -> Cost:
    """What one call of `task` costs."""
    wall = time.perf_counter()
    cpu = used_cpu_seconds()
    task()
    return Cost(time.perf_counter() - wall, used_cpu_seconds() - cpu)


def reading(threads: int = 1, batches: int = BATCHES) -> Reading:
    """Measure u, which takes about 30 ms, and the load on `threads` threads, which takes some 200 ms more."""
    alone = [timed(_multiply) for _ in range(batches)]
    u_us = statistics.median(cost.cpu_s for cost in alone) / PER_BATCH * 1e6
    return Reading(u_us, _load(alone, 1) if threads == 1 else _load(_together(threads, batches), threads))


def _together(threads: int, batches: int) -> list[Cost]:
    """Batches on several threads at once, all of a thread's as one task, after one such task that does not
    count: an idle machine takes some 5 ms to spread threads that wake over its cores, which looked like
    load."""
    with ThreadPoolExecutor(threads) as pool:

        def work(share: int) -> None:
            for _ in range(share):
                _multiply()

        def turn(share: int) -> None:
            for waiting in [pool.submit(work, share) for _ in range(threads)]:
                waiting.result()

        turn(batches)
        return [timed(lambda: turn(_LONGER * batches))]


def _load(costs: list[Cost], threads: int) -> float:
    return sum(cost.wall_s for cost in costs) * threads / sum(cost.cpu_s for cost in costs)


def _multiply() -> None:
    scalar, points = _operands()
    group.LIBSODIUM.multiply(scalar, points)


@cache
def _operands() -> tuple[Rows, Rows]:
    rng = system_randomness()
    scalars = group.random_scalars(PER_BATCH, rng)
    return scalars[:1], group.multiply_base(scalars)


class Stopwatch:
    """Adds up the time of the blocks it is entered for.

    Attributes:
        wall_ms: milliseconds by the clock.
        cpu_ms: of CPU, all threads of this process.
    """

    def __init__(self) -> None:
        self.wall_ms = self.cpu_ms = 0.0

    def __enter__(self) -> Self:
        self._began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_ms += 1000 * (time.perf_counter() - self._began[0])
        self.cpu_ms += 1000 * (time.process_time() - self._began[1])


MOST_MOVED: Final = 0.15
MOST_LOAD: Final = 1.15


class Run(Struct, frozen=True):
    """One run of what is measured, and the yardstick before and after it.

    Attributes:
        computes: it does nothing but compute, on one thread, so that its own wall time over CPU time tells
            the load too; a run that waits for a disk or another process does not.
    """

    cost: Cost
    before: Reading
    after: Reading
    computes: bool = False

    @property
    def u_us(self) -> float:
        """The unit for this run, CPU microseconds."""
        return (self.before.u_us + self.after.u_us) / 2

    @property
    def moved(self) -> float:
        """By what share of the smaller reading u differs between the two."""
        least, most = sorted((self.before.u_us, self.after.u_us))
        return most / least - 1

    @property
    def load(self) -> float:
        """The largest load of the two readings and, if it tells, of the run itself."""
        own = self.cost.wall_s / self.cost.cpu_s if self.computes and self.cost.cpu_s else 1.0
        return max(self.before.load, self.after.load, own)

    @property
    def disturbed(self) -> bool:
        """Did something else use the machine meanwhile, as far as the yardstick tells?"""
        return self.moved > MOST_MOVED or self.load > MOST_LOAD


def counting(runs: Sequence[Run]) -> list[Run]:
    """The runs that figures are taken from; `ValueError` if there are none."""
    if not runs:
        raise ValueError("a measurement has at least one run")
    clean = [run for run in runs if not run.disturbed]
    return clean if 2 * len(clean) >= len(runs) else list(runs)


def conditions(runs: Sequence[Run]) -> Conditions:
    """The conditions of a measurement. Raises what `counting` raises."""
    counted = counting(runs)
    return Conditions(
        runs=len(runs),
        clean_runs=sum(not run.disturbed for run in runs),
        u_us=significant(median(run.u_us for run in counted)),
        u_moved=significant(max(run.moved for run in counted)),
        load=significant(max(run.load for run in counted)),
    )


def cost_figures(runs: Sequence[Run], count: int) -> dict[str, float]:
    """Costs of one of the `count` things that each run did: microseconds, and multiples of u. The ratio is
    taken in each run, before the median, so that a slow drift of the clock rate cancels out."""
    counted = counting(runs)
    return {
        "cpu_us": median(run.cost.cpu_s for run in counted) / count * 1e6,
        "wall_us": median(run.cost.wall_s for run in counted) / count * 1e6,
        "cpu_u": median(run.cost.cpu_s * 1e6 / run.u_us for run in counted) / count,
        "wall_u": median(run.cost.wall_s * 1e6 / run.u_us for run in counted) / count,
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all are not above (nearest rank); `ValueError` if there are
    no values, or `share` is not above 0 and at most 1."""
    if not values or not 0 < share <= 1:
        raise ValueError("a percentile needs values, and a share above 0 and up to 1")
    rank = -(-len(values) * share // 1)
    return sorted(values)[max(0, int(rank) - 1)]
