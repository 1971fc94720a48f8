"""`blindmatch report`: draws a finished assessment again, without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blindmatch_simulations.assess import store
from blindmatch_simulations.cli.console import OUT
from blindmatch_simulations.report import draw_comparison, draw_report


def run_report(
    folder: Annotated[Path, typer.Argument(help="A results folder of blindmatch assess.")],
    compare: Annotated[
        Path | None, typer.Option("--compare", help="Another results folder, to be shown beside it.")
    ] = None,
) -> None:
    """Draw report.html, figures and tables of a results folder again; it is checked first.

    With --compare, compare.html in the first folder shows the two runs side by side.
    """
    results = store.check(folder)
    other = store.check(compare) if compare is not None else None
    paths = draw_report(folder, results)
    if other is not None:
        paths.append(draw_comparison(folder, results, other))
    for path in paths:
        OUT.print(f"written: {path}", soft_wrap=True, highlight=False)
