"""The page's figures as files of their own: SVG for charts, CSV for tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from blindmatch_simulations.assess import severity
from blindmatch_simulations.assess.catalogue import FIGURES
from blindmatch_simulations.assess.results import Recall, Results
from blindmatch_simulations.report import costing, recalling
from blindmatch_simulations.report.summary import failed, measured


def files(results: Results) -> dict[str, str]:
    """Contents by path below the results folder."""
    rows = measured(results)
    charts = {f"figures/recall-{one.name}.svg": recalling.chart(one) for one in rows}
    return {
        **charts,
        "figures/cost.svg": costing.chart(rows),
        "figures/frontier.svg": costing.frontier_chart(rows),
        "figures/figures.csv": _csv(FIGURE_HEAD, _figures(results)),
        "figures/recall-by-edit.csv": _csv(RECALL_HEAD, _recall(results, "edit")),
        "figures/recall-by-distance.csv": _csv(RECALL_HEAD, _recall(results, "distance")),
        "figures/facts.csv": _csv(FACT_HEAD, _facts(results)),
    }


FIGURE_HEAD = (
    "design",
    "option",
    "criterion",
    "figure",
    "unit",
    "value",
    "low",
    "high",
    "n",
    "pairs",
    "why not measured",
)
RECALL_HEAD = ("design", "group", "sent", "found", "share", "low", "high")
FACT_HEAD = ("design", "parties", "adversary", "declared by", "kind", "fact", "says")


def _figures(results: Results) -> Iterator[Sequence[object]]:
    for one in measured(results):
        for name, figure in one.figures.items():
            kind = FIGURES[name]
            head = (one.design.name, one.design.option, kind.criterion, name, kind.unit)
            yield (*head, figure.value, figure.low, figure.high, figure.n, figure.pairs, figure.why)
    for row in failed(results):
        yield (row.name, "", "", "", "", "", "", "", "", "", f"failed: {row.reason}")


def _recall(results: Results, by: str) -> Iterator[Sequence[object]]:
    for one in measured(results):
        groups: tuple[Recall, ...] = one.recall_by_edit if by == "edit" else one.recall_by_distance
        for row in groups:
            share = row.share
            yield (one.design.name, row.name, row.sent, row.found, share.value, share.low, share.high)


def _facts(results: Results) -> Iterator[Sequence[object]]:
    for one in measured(results):
        for leak in one.design.declared:
            for fact in severity.by_severity(leak.facts, leak.parties == severity.DEVICE):
                yield (
                    one.design.name,
                    "+".join(leak.parties),
                    leak.adversary,
                    leak.source,
                    severity.kind_of(fact.name),
                    fact.name,
                    fact.says,
                )


def _csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    return out.getvalue()
