"""A row of the near-matching tables: a figure, how it came about, and whether it reaches what it should."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

Verdict: TypeAlias = Literal["passed", "failed", "not measured", "no reach"]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        section: the table it stands in: recall, wrong reports, revealed, bytes, cost, set, extraction.
        what: the figure's name.
        value: the figure; None if it was not measured.
        unit: its unit.
        how: what was run, "tokens" (no cryptography: large samples) or "protocol" (the whole of it), and
            the sample; or why it was not measured.
        reach: what it should be, such as ``>= 99``; empty if nothing was set.
    """

    section: str
    what: str
    value: float | None
    unit: str
    how: str
    reach: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether the reach is met."""
        if self.value is None:
            return "not measured"
        if not self.reach:
            return "no reach"
        sign, number = self.reach.split(" ")
        met = self.value <= float(number) if sign == "<=" else self.value >= float(number)
        return "passed" if met else "failed"

    def as_json(self) -> dict[str, Any]:
        """The row with its verdict."""
        return {**asdict(self), "verdict": self.verdict}


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
