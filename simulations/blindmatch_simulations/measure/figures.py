"""Figures of what was counted or timed."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from blindmatch_simulations.measure.intervals import clopper_pearson
from blindmatch_simulations.measure.results import Figure


def share(hits: int, trials: int, pairs: int | None = None) -> Figure:
    """A counted share with its interval."""
    if not trials:
        return Figure(None, "no picture of this kind in the workload")
    low, high = clopper_pearson(hits, trials)
    return Figure(hits / trials, "", low, high, trials, pairs)


def timing(values: Sequence[float], middle: bool = True) -> Figure:
    """Median (or mean) of repeated timings, with the lowest and the highest."""
    if not values:
        return Figure(None, "no picture of this kind in the workload")
    value = median(values) if middle else fmean(values)
    return Figure(value, "", min(values), max(values), len(values))


def number(value: float | None, why: str = "the system does not tell", n: int | None = None) -> Figure:
    """One reading."""
    return Figure(None, why) if value is None else Figure(float(value), n=n)
