"""`blindmatch centre statistics`: what the centre publishes about itself, in the law's form."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TextIO

import typer
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

from blindmatch_simulations.cli.console import ERR, OUT, JsonOption, say, table, write_json
from blindmatch_simulations.measure.results import csv_of
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.operators import ask_centre
from blindmatch_simulations.testbed.deployment.statistics import (
    COLUMNS,
    NOT_MEASURED,
    Figure,
    figures,
    published,
)


def show_statistics(
    deployment: Deployment,
    scanned: Annotated[
        int | None,
        typer.Option(
            min=1, help="Items scanned in the period, as providers counted them [default: unknown]."
        ),
    ] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Reports received from this day on (UTC).")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Reports received before this day (UTC).")
    ] = None,
    json_path: JsonOption = None,
    csv_path: Annotated[
        Path | None, typer.Option("--csv", help="Also write CSV to this file; - for standard output.")
    ] = None,
) -> None:
    """Counts, error rates and times, with nothing about anybody; read the caution with them."""
    request = pb.StatisticsRequest(from_ms=_milliseconds(since), until_ms=_milliseconds(until))
    found = ask_centre(deployment, "ReadStatistics", request, pb.Statistics)
    shown, result = figures(found, scanned), published(found, scanned)
    console = ERR if "-" in (str(json_path), str(csv_path)) else OUT
    rows = [(one.name, NOT_MEASURED if one.value is None else one.value, one.unit) for one in shown]
    console.print(table("statistics of the centre", COLUMNS, rows))
    for name in ("caution", "not_shown", "source"):
        say(f"{name.replace('_', ' ')}: {result[name]}", console)
    write_json(result, json_path)
    if csv_path is not None:
        words = [Figure(name, str(result[name]), "words") for name in ("caution", "not_shown")]
        _write_csv([*shown, *words], csv_path)


def _milliseconds(day: datetime | None) -> int:
    return 0 if day is None else int(day.replace(tzinfo=UTC).timestamp() * 1000)


def _write_csv(rows: list[Figure], path: Path) -> None:
    shown = ((one.name, NOT_MEASURED if one.value is None else one.value, one.unit) for one in rows)
    with _opened(path) as file:
        file.write(csv_of(COLUMNS, shown))


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if str(path) == "-":
        yield sys.stdout
        return
    with path.open("w", newline="") as file:
        yield file
