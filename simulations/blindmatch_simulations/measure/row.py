"""A row of a bench: what is always the same about it, figures, the conditions they were taken under, the
target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from blindmatch_simulations.data import table_of
from blindmatch_simulations.measure.results import Conditions, Figure, Row, Status, Strict, significant


class Quantity(NamedTuple):
    """A kind of figure: its label in a table, its unit, and what it is in words."""

    label: str
    unit: str
    says: str


FIGURES: Final[Mapping[str, Quantity]] = {
    "cpu_us": Quantity("CPU", "us", "CPU time of all threads"),
    "wall_us": Quantity("wall", "us", "time by the clock on the wall"),
    "cpu_u": Quantity("CPU", "u", "CPU time in u"),
    "wall_u": Quantity("wall", "u", "wall time in u"),
    "p50_us": Quantity("p50", "us", "median wall time"),
    "p95_us": Quantity("p95", "us", "wall time that 95 % do not exceed"),
    "p99_us": Quantity("p99", "us", "wall time that 99 % do not exceed"),
    "per_second": Quantity("", "/s", "rate by the clock on the wall"),
    "server_cpu_us": Quantity("server CPU", "us", "CPU time of the server's process"),
    "device_cpu_us": Quantity("device CPU", "us", "CPU time of the devices' processes"),
    "bytes": Quantity("", "bytes", "bytes"),
    "bits": Quantity("", "bits", "bits"),
    "mib": Quantity("", "MiB", "MiB"),
    "start_mib": Quantity("first", "MiB", "MiB at the start"),
    "end_mib": Quantity("last", "MiB", "MiB at the end"),
    "share": Quantity("share", "share", "share, 1 is all"),
    "raw_share": Quantity("raw share", "share", "share before a correction: docs/reference/performance.md"),
    "times": Quantity("", "times", "multiple of what the row names"),
    "least_share": Quantity("at least", "share", "lower end of the 95 % interval of the share"),
    "count": Quantity("", "", "number of what the row names"),
    "most_count": Quantity("at most", "", "upper end of the 95 % interval of the number"),
    "p50_times": Quantity("p50", "times", "median as a multiple of that of the quiet texts before"),
    "p95_times": Quantity("p95", "times", "what 95 % do not exceed, as such a multiple"),
    "attempts_per_second": Quantity("attempts", "/s", "what hostile clients attempted and got an end of"),
}
"""Every figure that a bench's row can have."""


class Verdict(StrEnum):
    """What a row says of its target."""

    MET = "met"
    MISSED = "missed"
    UNSURE = "unsure"
    """It was disturbed, or its runs lie on both sides."""
    NOT_MEASURED = "not measured"
    """It was not measured, or with other parameters than the target is for."""
    NO_TARGET = "no target"


class Target(Strict, frozen=True):
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
    where: Mapping[str, int] = msgspec.field(default_factory=dict)

    def holds(self, figures: Mapping[str, float]) -> bool:
        found = figures[self.figure]
        return found >= self.value if self.at_least else found <= self.value


class BenchRow(Row, frozen=True, kw_only=True, tag="bench"):
    """One line of a bench.

    Attributes:
        per: what times are for one of, e.g. ``entry``; empty if there are none.
        target: what it should reach, or None.
        verdict: what it says of its target.
    """

    per: str = ""
    target: Target | None = None
    verdict: Verdict = Verdict.NO_TARGET

    def spread(self, each: Sequence[Mapping[str, float]]) -> BenchRow:
        """With the lowest and the highest of `each` run; if they differ about the target, it is unsure."""
        figures = dict(self.figures)
        for name, one in figures.items():
            low, high = (significant(end(run[name] for run in each)) for end in (min, max))
            figures[name] = replace(one, low=low, high=high)
        made = replace(self, figures=figures)
        target = self.target
        if target is None or self.verdict not in (Verdict.MET, Verdict.MISSED):
            return made
        return made if len(set(map(target.holds, each))) == 1 else replace(made, verdict=Verdict.UNSURE)


class Kind(Strict, frozen=True):
    """A row's words, what times are for one of, e.g. ``entry``, and the target, if it has one."""

    what: str
    per: str = ""
    target: Target | None = None


def bench_row(
    id_: str,
    kind: Kind,
    parameters: Mapping[str, int | str],
    figures: Mapping[str, float],
    conditions: Conditions | None = None,
    why: str = "",
) -> BenchRow:
    """A row with its status and its verdict; without figures it was not measured."""
    disturbed = conditions is not None and conditions.disturbed
    status = Status.DISTURBED if disturbed else Status.MEASURED
    return BenchRow(
        id=id_,
        what=kind.what,
        status=status if figures else Status.NOT_MEASURED,
        parameters=dict(parameters),
        figures={name: Figure(significant(v), unit=FIGURES[name].unit) for name, v in figures.items()},
        conditions=conditions,
        why=why,
        per=kind.per,
        target=kind.target,
        verdict=_verdict(parameters, figures, kind.target, disturbed),
    )


def _verdict(
    parameters: Mapping[str, int | str],
    figures: Mapping[str, float],
    target: Target | None,
    disturbed: bool,
) -> Verdict:
    if target is None:
        return Verdict.NO_TARGET
    elsewhere = any(parameters.get(name) != value for name, value in target.where.items())
    if not figures or elsewhere:
        return Verdict.NOT_MEASURED
    if disturbed:
        return Verdict.UNSURE
    return Verdict.MET if target.holds(figures) else Verdict.MISSED


CATALOGUE: Final[Mapping[str, Kind]] = {
    f"{part}/{name}": kind
    for part, rows in msgspec.convert(table_of("bench-rows"), dict[str, dict[str, Kind]]).items()
    for name, kind in rows.items()
}
