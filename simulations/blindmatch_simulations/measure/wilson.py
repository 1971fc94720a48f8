"""The 95 % intervals of what was counted."""

from __future__ import annotations


def upper_bound(count: int, trials: float) -> float:
    """The upper end of the 95 % interval of a rate of rare events: the rule of three where none was seen,
    else the Poisson bound in the Wilson-Hilferty approximation (Breslow and Day 1987, section 2.3)."""
    if trials <= 0:
        return float("inf")
    if count == 0:
        return 3 / trials
    more = count + 1
    return float(more * (1 - 1 / (9 * more) + 1.645 / (3 * more**0.5)) ** 3 / trials)


def lower_bound(hits: int, trials: int) -> float:
    """The lower end of the 95 % interval of a share that is near one (Wilson's, one-sided)."""
    if trials == 0:
        return 0.0
    z, share = 1.645, hits / trials
    middle = share + z * z / (2 * trials)
    spread = z * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    return float((middle - spread) / (1 + z * z / trials))
