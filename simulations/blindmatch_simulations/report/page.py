"""Puts the views together into one file that needs nothing else."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Final

from blindmatch_simulations.assess import store
from blindmatch_simulations.assess.observed import PictureRow
from blindmatch_simulations.assess.results import Results
from blindmatch_simulations.report import tables
from blindmatch_simulations.report.assuming import assumptions_view, footer, sources_view
from blindmatch_simulations.report.calculating import calculator_view, design_inputs, literature
from blindmatch_simulations.report.comparing import comparison
from blindmatch_simulations.report.costing import cost_view
from blindmatch_simulations.report.learning import learning_view
from blindmatch_simulations.report.markup import text
from blindmatch_simulations.report.matrix import matrix_view
from blindmatch_simulations.report.offending import offender_view
from blindmatch_simulations.report.recalling import recall_view
from blindmatch_simulations.report.secrecy import secrecy_view
from blindmatch_simulations.report.sliding import slider_data, sliders_view
from blindmatch_simulations.report.summary import measured, summary_view

REPORT: Final = "report.html"
COMPARISON: Final = "compare.html"
NAVIGATION: Final = (
    ("summary", "Summary"), ("matrix", "Options"), ("learns", "Who learns what"), ("recall", "Recall"),
    ("cost", "Cost"), ("sliders", "Thresholds"), ("calculator", "Calculator"), ("offender", "Offender"),
    ("secrecy", "List secrecy"),
    ("assumptions", "Assumptions"), ("sources", "Sources"),
)  # fmt: skip


def draw_report(folder: Path, results: Results) -> list[Path]:
    """Write ``report.html`` and the files of `tables.files`; their paths."""
    made = {REPORT: report(folder, results), **tables.files(results)}
    for name, content in made.items():
        store.write(folder / name, content.encode())
    return [folder / REPORT, folder / "figures"]


def draw_comparison(folder: Path, first: Results, second: Results) -> Path:
    """Write ``compare.html``; its path."""
    page = _page("Two assessments", comparison(first, second), "", {}, "compare")
    store.write(folder / COMPARISON, page.encode())
    return folder / COMPARISON


def report(folder: Path, results: Results) -> str:
    """The page."""
    rows = _any_rows(folder, results)
    views = (
        summary_view(results),
        matrix_view(results),
        learning_view(results),
        recall_view(results),
        cost_view(results),
        sliders_view(results, rows),
        calculator_view(results),
        offender_view(results),
        secrecy_view(results),
        assumptions_view(),
        sources_view(),
    )
    data = {
        "sliders": slider_data(results, rows),
        "designs": [design_inputs(one) for one in measured(results) if one.design.roles],
        "literature": literature(),
    }
    links = "".join(f'<li><a href="#{ident}">{text(name)}</a></li>' for ident, name in NAVIGATION)
    navigation = f'<nav aria-label="Views"><ul>{links}</ul></nav>'
    return _page(
        "Designs on the same work", f"<main>{''.join(views)}</main>{footer(results)}", navigation, data
    )


def _any_rows(folder: Path, results: Results) -> list[PictureRow]:
    """The pictures as any design was given them: they are the same for all."""
    rows = measured(results)
    return store.read_rows(folder, rows[0].name) if rows else []


def _page(title: str, body: str, navigation: str, data: object, start: str = "summary") -> str:
    style, script = _asset("page.css"), _asset("page.js")
    held = json.dumps(data).replace("<", "\\u003c")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>blindmatch: {text(title)}</title><style>{style}</style></head><body>"
        f'<a class="skip" href="#{start}">Skip to the content</a>'
        f"<header><h1>{text(title)}</h1><p>For evaluation only: benign pictures, no real "
        f"list.</p>{navigation}</header>"
        f'{body}<script type="application/json" '
        f'id="data">{held}</script><script>{script}</script></body></html>\n'
    )


def _asset(name: str) -> str:
    return files("blindmatch_simulations.report").joinpath(name).read_text("utf-8")
