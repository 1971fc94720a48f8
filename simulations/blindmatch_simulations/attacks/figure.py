"""What an attack achieved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from blindmatch_simulations.measure.advantage import Advantage


@dataclass(frozen=True, slots=True)
class Figure:
    """The figure of one attack on one design.

    Attributes:
        measure: what `value` counts or estimates, in words.
        value: the figure.
        succeeded: did the attack do what the claim says it cannot, or what is declared?
        trials: independent tries behind it.
        interval: Clopper and Pearson's, where the figure is an estimate.
        parts: the same by case, where there are several.
    """

    measure: str
    value: float
    succeeded: bool
    trials: int
    interval: tuple[float, float] | None = None
    parts: Mapping[str, float] = field(default_factory=dict)

    def words(self) -> str:
        """For people."""
        if self.interval is None:
            return f"{self.value:g} {self.measure} of {self.trials}"
        low, high = self.interval
        return f"{self.measure} {self.value:+.2f} [{low:+.2f}, {high:+.2f}] over {self.trials}"

    def as_json(self) -> dict[str, Any]:
        """The figure as JSON values; docs/measures.md."""
        return {
            "measure": self.measure,
            "value": self.value,
            "interval": list(self.interval) if self.interval else None,
            "parts": dict(self.parts),
        }


def counted(measure: str, cases: Mapping[str, tuple[int, int]]) -> Figure:
    """How often the attack got through, as (times, tries) by case; once is enough."""
    times, tries = (sum(case[at] for case in cases.values()) for at in (0, 1))
    parts = {name: float(case[0]) for name, case in cases.items()}
    return Figure(measure, float(times), times > 0, tries, None, parts)


def advantages(cases: Mapping[str, Advantage]) -> Figure:
    """The largest of the advantages measured by case; one that excludes guessing is enough."""
    worst = max(cases.values(), key=lambda one: (one.told_apart, one.value))
    runs = sum(one.runs for one in cases.values())
    parts = {name: round(one.value, 4) for name, one in cases.items()}
    bounds = (round(worst.low, 4), round(worst.high, 4))
    return Figure("advantage", round(worst.value, 4), worst.told_apart, runs, bounds, parts)
