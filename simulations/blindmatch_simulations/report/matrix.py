"""Options by the five criteria: every cell a number that opens its evidence, or "not measured"."""

from __future__ import annotations

from typing import Any, Final

from blindmatch_simulations.assess import severity
from blindmatch_simulations.assess.catalogue import MATRIX
from blindmatch_simulations.assess.results import Measured, Results
from blindmatch_simulations.report import outside
from blindmatch_simulations.report.markup import cell, mark, paragraph, section, table, text, unmeasured
from blindmatch_simulations.report.summary import evidence, failed, measured

NO_DESIGN: Final = "no design of this option was measured in this run"


def matrix_view(results: Results) -> str:
    """The view. Options without a design keep their row."""
    head = ["option and design", *(row["id"] for row in outside.criteria())]
    rows = [row for option in outside.options() for row in _rows(results, option)]
    questions = table(
        "The five criteria",
        ["criterion", "question", "provenance"],
        [(text(c["id"]), text(c["question"]), mark(c["provenance"])) for c in outside.criteria()],
    )
    words = (
        "Open a cell for its meaning, interval, trials, raw rows and command. In brackets: 95 % intervals. "
        "Dashed: neither good nor bad; it opens the reason. Facts are named most severe first "
        "(severity.json), not counted: two can be worse than four."
    )
    caption = "Options by the five criteria"
    return section(
        "matrix",
        "Options by criteria",
        paragraph(words),
        table(caption, head, rows),
        *_failed(results),
        questions,
    )


def _rows(results: Results, option: dict[str, Any]) -> list[list[str]]:
    found = [one for one in measured(results) if one.design.option == option["id"]]
    if not found:
        name = f"<b>{text(option['id'])}</b> {text(option['name'])} {mark(option['provenance'])}"
        return [[name, *[unmeasured(NO_DESIGN)] * len(MATRIX)]]
    return [[_name(one, option), *(_cell(one, criterion, results) for criterion in MATRIX)] for one in found]


def _name(one: Measured, option: dict[str, Any]) -> str:
    near = (
        f'<br><span class="soft">nearest to it: {text(one.design.differs)}</span>'
        if one.design.differs
        else ""
    )
    kind = "baseline" if option["level"] == "baseline" else option["level"]
    return (
        f"<b>{text(option['id'])}</b> {text(option['name'])} {mark(option['provenance'])}"
        f'<br><code>{text(one.design.name)}</code> <span class="soft">{text(kind)}</span>{near}'
    )


def _cell(one: Measured, criterion: str, results: Results) -> str:
    where = evidence(results, one)
    told = _told(one) if criterion == "privacy" else ""
    return told + "".join(cell(name, one.figures[name], where) for name in MATRIX[criterion])


def _told(one: Measured) -> str:
    """The facts that servers learn by name, most severe first, which open what they say."""
    facts = severity.told_to_servers(one.design)
    opened = "".join(
        f"<dt>{text(fact.name)} ({text(severity.kind_of(fact.name))})</dt><dd>{text(fact.says)}</dd>"
        for fact in facts
    )
    names = text(", ".join(fact.name for fact in facts) or "nothing")
    head = f'<span class="label">Servers learn</span> <span class="value">{names}</span>'
    return (
        f'<details class="cell"><summary>{head}</summary><dl>{opened}</dl></details>'
        if facts
        else f"<p>{head}</p>"
    )


def _failed(results: Results) -> list[str]:
    rows = [
        (text(one.name), f"failed: {text(one.reason)}", f"{one.seconds:.0f} s") for one in failed(results)
    ]
    return [table("Designs that could not be measured", ["design", "reason", "after"], rows)] if rows else []
