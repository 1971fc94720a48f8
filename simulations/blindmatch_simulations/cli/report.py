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
        list[Path] | None,
        typer.Option("--compare", help="Another results folder, to be shown beside it (repeatable)."),
    ] = None,
) -> None:
    """Draw report.html, figures and tables of a results folder again; it is checked first.

    An attacks.json in the folder (blindmatch attack run --json) is drawn with it. With --compare,
    compare.html in the first folder shows the runs side by side.

    What the file of a report of a match shows: blindmatch report verify FILE.
    """
    results, *others = map(store.check, (folder, *(compare or ())))
    paths = draw_report(folder, results)
    if others:
        paths.append(draw_comparison(folder, [results, *others]))
    for path in paths:
        OUT.print(f"written: {path}", soft_wrap=True, highlight=False)
