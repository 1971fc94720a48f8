"""`blindmatch results` and `blindmatch report`: finished results in one table, and drawn again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from blindmatch_simulations.cli.console import ERR, OUT, JsonOption, target, write_file, write_json
from blindmatch_simulations.evaluation.assess.results import as_csv, check_folder, rows_of
from blindmatch_simulations.report import draw_comparison, draw_report

app = typer.Typer(no_args_is_help=True)


@app.callback()
def results() -> None:
    """Put results of many runs into one table."""


@app.command("to-csv")
def to_csv(
    paths: Annotated[
        list[Path], typer.Argument(help="Results files, folders of assess, or folders of a sweep.")
    ],
    out: Annotated[
        Path, typer.Option("--out", callback=target, help="Write the table here; - for output.")
    ] = Path("-"),
    json_path: JsonOption = None,
) -> None:
    """Write one row a figure: design, parameters, seed, list size, workload and machine stand in every one.

    Files are checked first; what was edited is refused. A value that was not measured is an empty cell.
    """
    rows = [row for path in paths for row in rows_of(path)]
    if str(out) == "-" and json_path is None:
        sys.stdout.write(as_csv(rows))
    elif str(out) != "-":
        write_file(out, as_csv(rows).encode())
    write_json(rows, json_path)
    ERR.print(f"{len(rows):,} figures", highlight=False)


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
    results, *others = map(check_folder, (folder, *(compare or ())))
    paths = draw_report(folder, results)
    if others:
        paths.append(draw_comparison(folder, [results, *others]))
    for path in paths:
        OUT.print(f"written: {path}", soft_wrap=True, highlight=False)
