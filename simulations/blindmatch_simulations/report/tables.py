"""The page's figures as files of their own: SVG for charts, CSV for tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from blindmatch_protocol.contract import Severity
from msgspec.structs import replace

from blindmatch_simulations.evaluation.assess.catalogue import FIGURES
from blindmatch_simulations.evaluation.assess.observed import FactSeen
from blindmatch_simulations.evaluation.assess.results import Measured, Recall, Results, Studied
from blindmatch_simulations.measure.results import Figure, Row, csv_of
from blindmatch_simulations.report.svg import Bar, shares


def measured(results: Results) -> list[Measured]:
    """Rows that were measured, with the catalogue's figures; one that came into it after them is absent."""
    absent = Figure(None, "not in this results file")
    rows = [one for one in results.rows if isinstance(one, Measured)]
    return [replace(one, figures={name: one.figures.get(name, absent) for name in FIGURES}) for one in rows]


def failed(results: Results) -> list[Row]:
    """Rows that were not."""
    return [one for one in results.rows if not isinstance(one, Measured | Studied)]


def figure_files(results: Results) -> dict[str, str]:
    """Contents by path below the results folder."""
    rows = measured(results)
    by_edit = {f"figures/recall-{one.name}.svg": _recall_chart(one) for one in rows}
    return {
        **by_edit,
        "figures/figures.csv": csv_of(FIGURE_HEAD, _figures(results)),
        "figures/recall-by-edit.csv": csv_of(RECALL_HEAD, _recall(results, "edit")),
        "figures/recall-by-distance.csv": csv_of(RECALL_HEAD, _recall(results, "distance")),
        "figures/facts.csv": csv_of(FACT_HEAD, _facts(results)),
    }


FIGURE_HEAD = (
    "design", "option", "criterion", "figure", "unit", "value", "low", "high", "n", "pairs",
    "why not measured",
)  # fmt: skip
RECALL_HEAD = ("design", "group", "sent", "found", "share", "low", "high")
FACT_HEAD = ("design", "parties", "adversary", "declared by", "severity", "fact", "says")


def _figures(results: Results) -> Iterator[Sequence[object]]:
    for one in measured(results):
        for name, figure in one.figures.items():
            kind = FIGURES[name]
            head = (one.design.name, one.design.option, kind.criterion, name, kind.unit)
            yield (*head, figure.value, figure.low, figure.high, figure.n, figure.pairs, figure.why)
    for row in failed(results):
        yield (row.id, *[""] * (len(FIGURE_HEAD) - 2), f"failed: {row.why}")


def _recall(results: Results, by: str) -> Iterator[Sequence[object]]:
    for one in measured(results):
        groups: tuple[Recall, ...] = one.recall_by_edit if by == "edit" else one.recall_by_distance
        for row in groups:
            share = row.share
            yield (one.design.name, row.name, row.sent, row.found, share.value, share.low, share.high)


def _facts(results: Results) -> Iterator[Sequence[object]]:
    for one in measured(results):
        for leak in one.design.declared:
            for fact in by_severity(leak.facts):
                who = (one.design.name, "+".join(leak.parties), leak.adversary, leak.source)
                yield (*who, str(fact.severity), fact.name, fact.says)


def _recall_chart(one: Measured) -> str:
    bars = []
    for row in one.recall_by_edit:
        label = f"{row.found} of {row.sent}" if row.found is not None else "not meas."
        bars.append(Bar(row.name, row.share.value, row.share.low or 0.0, row.share.high or 0.0, label))
    return shares(f"{one.design.name}: listed pictures found, by edit", bars)


_ORDER: Final = tuple(Severity)


def by_severity(facts: Iterable[FactSeen]) -> list[FactSeen]:
    """Each fact once, the most severe first."""
    once = {fact.name: fact for fact in facts}.values()
    return sorted(once, key=lambda fact: _ORDER.index(fact.severity))
