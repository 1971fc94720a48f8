"""Figures of what was counted or timed."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from blindmatch_simulations.measure.intervals import bounded_mean, clopper_pearson
from blindmatch_simulations.measure.results import Figure


def share(hits: int, trials: int, pairs: int | None = None, units: int | None = None) -> Figure:
    """A counted share with its interval.

    Args:
        units: how many of the trials are taken to be independent, if not all: copies of one picture hang
            together. The interval then holds for means of that many values in [0, 1], however they spread.
    """
    if not trials:
        return Figure(None, "no picture of this kind in the workload")
    if units is None or units == trials:
        low, high = clopper_pearson(hits, trials)
        return Figure(hits / trials, "", low, high, trials, pairs)
    low, high = bounded_mean(hits / trials, units)
    words = f"interval over {units} pictures, not {trials} copies: those of one hang together (Hoeffding)"
    return Figure(hits / trials, words, low, high, trials, pairs)


def timing(values: Sequence[float], middle: bool = True) -> Figure:
    """Median (or mean) of repeated timings, with the lowest and the highest."""
    if not values:
        return Figure(None, "no picture of this kind in the workload")
    value = median(values) if middle else fmean(values)
    return Figure(value, "", min(values), max(values), len(values))


def number(value: float | None, why: str = "the system does not tell", n: int | None = None) -> Figure:
    """One reading."""
    return Figure(None, why) if value is None else Figure(float(value), n=n)
