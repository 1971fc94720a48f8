"""Two runs side by side, figure by figure."""

from __future__ import annotations

from collections.abc import Iterator

from blindmatch_simulations.assess.catalogue import FIGURES
from blindmatch_simulations.assess.results import Figure, Measured, Results
from blindmatch_simulations.report.assuming import footer
from blindmatch_simulations.report.markup import (
    absent,
    beside,
    interval,
    paragraph,
    section,
    shown,
    table,
    text,
)
from blindmatch_simulations.report.summary import measured


def comparison(first: Results, second: Results) -> str:
    """The body of the page."""
    here = {one.name: one for one in measured(first)}
    there = {one.name: one for one in measured(second)}
    both = [name for name in here if name in there]
    alone = sorted(here.keys() ^ there.keys())
    words = (
        "Shares with intervals that overlap do not differ as far as these runs can tell. Timings of "
        "different machines are not "
        "comparable. Below a figure: the 95 % interval of a share, else the lowest and the highest. "
        "There is no "
        "ratio where the first run has 0 or a run did not measure. Measured in one of the two only: "
        f"{', '.join(alone) or 'none'}."
    )
    same = (
        "the same workload"
        if first.plan == second.plan
        else "different workloads: figures are not comparable one to one"
    )
    tables = [
        table(
            f"{here[name].design.name}",
            ["figure", "first run", "second run", "second of first"],
            list(_rows(here[name], there[name])),
        )
        for name in both
    ]
    runs = (
        f"First: {first.workload}, {first.made_at}, {first.machine.processor}. "
        f"Second: {second.workload}, {second.made_at}, {second.machine.processor}. They have {same}."
    )
    view = section("compare", "Two runs side by side", paragraph(runs), paragraph(words), *tables)
    return f"<main>{view}</main>{footer(first)}{footer(second)}"


def _rows(one: Measured, other: Measured) -> Iterator[list[str]]:
    for name, kind in FIGURES.items():
        left, right = one.figures.get(name), other.figures.get(name)
        if left is not None and right is not None:
            yield [text(kind.title), _cell(name, left), _cell(name, right), _ratio(left, right)]


def _cell(name: str, figure: Figure) -> str:
    if figure.value is None:
        return absent(figure.why)
    spread = beside(name, figure) or interval(figure, FIGURES[name].unit)
    return text(shown(name, figure)) + (f'<br><span class="soft">{text(spread)}</span>' if spread else "")


def _ratio(left: Figure, right: Figure) -> str:
    if not left.value or right.value is None:
        return "-"
    return f"{right.value / left.value:.3g}"
