"""The clocks, and the unit u: the CPU time of one ristretto255 scalar multiplication by libsodium.

Milliseconds compare moments of one machine at best. A cost divided by u, measured in the same process just
before and just after, compares between machines and between programs that use the same kind of arithmetic.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.randomness import system_randomness

from blindmatch_simulations.measure.procfs import used_cpu_seconds

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


@dataclass(frozen=True, slots=True)
class Reading:
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
    wall, cpu = time.perf_counter(), used_cpu_seconds()
    task()
    return Cost(time.perf_counter() - wall, used_cpu_seconds() - cpu)


def reading(threads: int = 1, batches: int = BATCHES) -> Reading:
    """Measure u, which takes about 30 ms, and the load on `threads` threads, which takes some 200 ms more."""
    alone = [timed(_multiply) for _ in range(batches)]
    u_us = statistics.median(cost.cpu_s for cost in alone) / PER_BATCH * 1e6
    return Reading(u_us, _load(alone, 1) if threads == 1 else _load(_together(threads, batches), threads))


def _together(threads: int, batches: int) -> list[Cost]:
    """Batches on several threads at once, all of a thread's as one task, and one such task before.

    An idle machine takes some 5 ms to spread threads that wake over its cores: with tasks of 3 ms it looked
    as if something else had a third of it.
    """
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
    group.multiply(scalar, points)


@cache
def _operands() -> tuple[Rows, Rows]:
    """A random scalar, uint8 (1, 32), and random elements, uint8 (64, 32)."""
    rng = system_randomness()
    scalars = group.random_scalars(PER_BATCH, rng)
    return scalars[:1], group.multiply_base(scalars)
