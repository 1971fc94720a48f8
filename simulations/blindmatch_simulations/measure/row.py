"""A row of the results: figures, the conditions they were taken under, and the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from blindmatch_simulations.measure.runs import Conditions

FIGURES: Final[Mapping[str, str]] = {
    "cpu_us": "CPU time of all threads, microseconds",
    "wall_us": "time by the clock on the wall, microseconds",
    "cpu_u": "CPU time in u",
    "wall_u": "wall time in u",
    "p50_us": "median wall time, microseconds",
    "p95_us": "wall time that 95 % do not exceed, microseconds",
    "p99_us": "wall time that 99 % do not exceed, microseconds",
    "per_second": "rate by the clock on the wall, 1/s",
    "server_cpu_us": "CPU time of the server's process, microseconds",
    "device_cpu_us": "CPU time of the devices' processes, microseconds",
    "bytes": "bytes",
    "bits": "bits",
    "mib": "MiB",
    "start_mib": "MiB at the start",
    "end_mib": "MiB at the end",
    "share": "share, 1 is all",
    "raw_share": "share before a correction that docs/performance.md describes",
    "times": "multiple of what the row names",
    "least_share": "lower end of the 95 % interval of the share",
    "count": "number of what the row names",
    "most_count": "upper end of the 95 % interval of the number",
    "p50_times": "median as a multiple of that of the quiet texts before",
    "p95_times": "wall time that 95 % do not exceed, as a multiple of that of the quiet texts before",
    "attempts_per_second": "what hostile clients attempted and got an end of, 1/s",
}
"""Every figure that a row can have, and its unit."""


class Status(StrEnum):
    """How far a row's figures can be trusted."""

    MEASURED = "measured"
    DISTURBED = "disturbed"
    NOT_MEASURED = "not measured"


class Verdict(StrEnum):
    """What a row says of its target."""

    MET = "met"
    MISSED = "missed"
    UNSURE = "unsure"
    """It was disturbed."""
    NOT_MEASURED = "not measured"
    """It was not measured, or with other parameters than the target is for."""
    NO_TARGET = "no target"


@dataclass(frozen=True, slots=True)
class Target:
    """What a row should reach.

    Attributes:
        figure: which of its figures.
        value: the bound, in the figure's unit.
        at_least: the figure should be at least `value`; else at most.
        where: parameters that the row must have been measured with.
    """

    figure: str
    value: float
    at_least: bool = False
    where: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.value:g} {self.figure}"

    def holds(self, figures: Mapping[str, float]) -> bool:
        """Do these figures reach it?"""
        found = figures[self.figure]
        return found >= self.value if self.at_least else found <= self.value


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the results.

    Attributes:
        id: unique with the parameters, e.g. ``set/build/one-thread``.
        what: words for people.
        per: what times are for one of, e.g. ``entry``; empty if there are none.
        parameters: sizes and names it was measured with.
        figures: see `FIGURES`; empty if it was not measured.
        conditions: None if nothing was timed.
        target: what it should reach, or None.
        why: why it was not measured, or an explanation; may be empty.
    """

    id: str
    what: str
    per: str
    parameters: Mapping[str, int | str]
    figures: Mapping[str, float]
    conditions: Conditions | None = None
    target: Target | None = None
    why: str = ""

    @property
    def status(self) -> Status:
        """How far it can be trusted."""
        if not self.figures:
            return Status.NOT_MEASURED
        disturbed = self.conditions is not None and self.conditions.disturbed
        return Status.DISTURBED if disturbed else Status.MEASURED

    @property
    def verdict(self) -> Verdict:
        """What it says of its target."""
        if self.target is None:
            return Verdict.NO_TARGET
        where = self.target.where.items()
        if not self.figures or any(self.parameters.get(name) != value for name, value in where):
            return Verdict.NOT_MEASURED
        if self.status is Status.DISTURBED:
            return Verdict.UNSURE
        return Verdict.MET if self.target.holds(self.figures) else Verdict.MISSED

    def as_json(self) -> dict[str, Any]:
        """The row for a results file; numbers to six significant digits."""
        conditions = None if self.conditions is None else _rounded(asdict(self.conditions))
        return {
            "id": self.id,
            "what": self.what,
            "per": self.per,
            "parameters": dict(self.parameters),
            "status": str(self.status),
            "figures": _rounded(self.figures),
            "conditions": conditions,
            "target": None if self.target is None else _target_json(self.target),
            "verdict": str(self.verdict),
            "why": self.why,
        }


def _target_json(target: Target) -> dict[str, Any]:
    bound = "at_least" if target.at_least else "at_most"
    return {"figure": target.figure, bound: target.value, "where": dict(target.where)}


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {
        name: value if isinstance(value, int) else float(f"{value:.6g}") for name, value in figures.items()
    }
