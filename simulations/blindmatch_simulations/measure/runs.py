"""From single runs to figures: medians, ratios to u, and whether the machine was disturbed.

    reading, run, reading, run, reading ...       each run lies between two readings of the yardstick

A run is disturbed if u differs between its two readings by more than 15 %, or the load of one of them, or
its own, is above 1.15. Figures are medians over the undisturbed runs, if those are at least half of them;
else over all runs, and the measurement is called disturbed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from blindmatch_simulations.measure.yardstick import Cost, Reading

MOST_MOVED: Final = 0.15
MOST_LOAD: Final = 1.15


@dataclass(frozen=True, slots=True)
class Run:
    """One run of what is measured, and the yardstick before and after it.

    Attributes:
        cost: of the run.
        before, after: readings of the yardstick.
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


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under what conditions a row was measured.

    Attributes:
        runs: how many there were.
        clean_runs: how many of them were undisturbed.
        u_us: median unit of the runs that count, CPU microseconds.
        u_moved: the most that u moved over one of them, as a share.
        load: the highest load around one of them.
    """

    runs: int
    clean_runs: int
    u_us: float
    u_moved: float
    load: float

    @property
    def disturbed(self) -> bool:
        """Are fewer than half of the runs undisturbed?"""
        return 2 * self.clean_runs < self.runs


def counting(runs: Sequence[Run]) -> list[Run]:
    """The runs that figures are taken from.

    Raises:
        ValueError: if there are none.
    """
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
        u_us=median(run.u_us for run in counted),
        u_moved=max(run.moved for run in counted),
        load=max(run.load for run in counted),
    )


def cost_figures(runs: Sequence[Run], count: int) -> dict[str, float]:
    """Costs of one of the `count` things that each run did: microseconds, and multiples of u.

    The ratio is taken in each run, before the median, so that a slow drift of the clock rate cancels out.
    """
    counted = counting(runs)
    return {
        "cpu_us": median(run.cost.cpu_s for run in counted) / count * 1e6,
        "wall_us": median(run.cost.wall_s for run in counted) / count * 1e6,
        "cpu_u": median(run.cost.cpu_s * 1e6 / run.u_us for run in counted) / count,
        "wall_u": median(run.cost.wall_s * 1e6 / run.u_us for run in counted) / count,
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all are not above (nearest rank).

    Raises:
        ValueError: if there are no values, or `share` is not above 0 and at most 1.
    """
    if not values or not 0 < share <= 1:
        raise ValueError("a percentile needs values, and a share above 0 and up to 1")
    rank = -(-len(values) * share // 1)
    return sorted(values)[max(0, int(rank) - 1)]
