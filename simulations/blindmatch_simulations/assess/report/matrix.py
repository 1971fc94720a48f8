"""Options by the five criteria: every cell a number that opens its evidence, or "not measured"."""

from __future__ import annotations

from typing import Any, Final

from blindmatch_simulations.assess.catalogue import MATRIX
from blindmatch_simulations.assess.report import outside
from blindmatch_simulations.assess.report.markup import (
    cell,
    mark,
    paragraph,
    section,
    table,
    text,
    unmeasured,
)
from blindmatch_simulations.assess.report.summary import evidence, failed, measured
from blindmatch_simulations.assess.results import Measured, Results

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
        "Open a number for what it means, its interval, how many trials are behind it, its raw rows and the "
        "command. In brackets: 95 % intervals. "
        "A dashed cell was not measured: that is neither good nor bad, and it opens the reason."
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
    return [[_name(one, option), *(_cell(one, names, results) for names in MATRIX.values())] for one in found]


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


def _cell(one: Measured, names: tuple[str, ...], results: Results) -> str:
    where = evidence(results, one)
    return "".join(cell(name, one.figures[name], where) for name in names)


def _failed(results: Results) -> list[str]:
    rows = [
        (text(one.name), f"failed: {text(one.reason)}", f"{one.seconds:.0f} s") for one in failed(results)
    ]
    return [table("Designs that could not be measured", ["design", "reason", "after"], rows)] if rows else []
