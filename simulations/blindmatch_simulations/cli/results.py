"""`blindmatch results`: results of many runs in one table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from blindmatch_simulations.assess import store
from blindmatch_simulations.assess.tidy import as_csv, rows_of
from blindmatch_simulations.cli.console import ERR, JsonOption, write_json

app = typer.Typer(no_args_is_help=True)


@app.callback()
def results() -> None:
    """Put results of many runs into one table."""


@app.command("to-csv")
def to_csv(
    paths: Annotated[
        list[Path], typer.Argument(help="Results files, folders of assess, or folders of a sweep.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Write the table here; - for output.")] = Path("-"),
    json_path: JsonOption = None,
) -> None:
    """Write one row a figure: design, parameters, seed, list size, workload and machine stand in every one.

    Files are checked first; what was edited is refused. A value that was not measured is an empty cell.
    """
    rows = [row for path in paths for row in rows_of(path)]
    if str(out) == "-" and json_path is None:
        sys.stdout.write(as_csv(rows))
    elif str(out) != "-":
        store.write(out, as_csv(rows).encode())
    write_json(rows, json_path)
    ERR.print(f"{len(rows):,} figures", highlight=False)
