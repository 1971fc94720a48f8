"""`blindmatch centre report`: the transparency report of a year, with counts by month."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from blindmatch_server.centre.notices import IN_STATISTICS, statute
from blindmatch_server.log.service import Month

from blindmatch_simulations.cli.console import OUT, table
from blindmatch_simulations.measure.results import csv_of
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.yearly import Counted, log_months, year_of

REPORT_VERSION: Final = 1


def report(
    deployment: Deployment,
    year: Annotated[int, typer.Argument(min=2000, max=9998)],
    out: Annotated[Path, typer.Option(help="The folder for report.csv, report.json and report.html.")],
    log: Annotated[
        bool,
        typer.Option("--log", help="First log the counts of all months that are over."),
    ] = False,
) -> None:
    """Write the transparency report of a year: counts by month, as they stand and as they were logged.

    Months that have not begun are left out. Counts alone: nothing in it names or numbers a person, a report
    or a picture.
    """
    now = datetime.now(UTC)
    if year > now.year:
        raise typer.BadParameter(f"YEAR: {year} has not begun")
    if log:
        log_months(deployment, Month(year, 1), now)
    months = year_of(deployment, year, now)
    out.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("csv", as_csv(months)),
        ("json", as_json(year, months)),
        ("html", as_page(year, months)),
    ):
        (out / f"report.{name}").write_text(content)
    rows = [(str(one.month), one.now["reports"], one.now["forwarded"], _logged(one)) for one in months]
    made = table(f"transparency report of {year}", ("month", "reports", "forwarded", "logged"), rows)
    OUT.print(made)


def changed(one: Counted) -> dict[str, list[int]]:
    """Counts that are no more what was logged: as logged, and now."""
    before = one.logged or {}
    return {
        name: [before[name], value] for name, value in one.now.items() if before.get(name, value) != value
    }


def _logged(one: Counted) -> str:
    if one.logged is None:
        return "no"
    return "changed since" if changed(one) else "the same"


def as_csv(months: Sequence[Counted]) -> str:
    """One line for a month and a count."""
    rows = (
        (one.month, name, value, (one.logged or {}).get(name))
        for one in months
        for name, value in one.now.items()
    )
    return csv_of(("month", "count", "now", "logged"), rows)


def as_json(year: int, months: Sequence[Counted]) -> str:
    """All of it, with what must stand beside it."""
    result: dict[str, Any] = {
        "report_version": REPORT_VERSION,
        "year": year,
        "months": [
            {"month": str(one.month), "now": one.now, "logged": one.logged, "changed": changed(one)}
            for one in months
        ],
        **_beside(),
    }
    return json.dumps(result, indent=1) + "\n"


def _beside() -> dict[str, str]:
    form = statute().statistics_form
    return {"caution": form.caution, "not_shown": IN_STATISTICS, "source": form.source}


def as_page(year: int, months: Sequence[Counted]) -> str:
    """A page without scripts: a row for a count, a column for a month."""
    heads = "".join(f"<th scope=col>{one.month}</th>" for one in months)
    rows = "".join(
        f"<tr><th scope=row>{escape(name)}</th>{''.join(_cell(one, name) for one in months)}</tr>\n"
        for name in months[0].now
    )
    notes = "".join(f"<h2>{name}</h2><p>{escape(words)}</p>\n" for name, words in _beside().items())
    style = "body{font:1rem sans-serif;margin:2rem}td,th{padding:.2rem .6rem;text-align:right}"
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>Transparency report {year}</title>"
        f"<style>{style}</style></head><body><main><h1>Transparency report {year}</h1>\n"
        "<p>Counts of reports received in each month, as they stand now; in brackets as they were logged, "
        "where that differs. A month that is not logged is marked *.</p>\n"
        "<table><caption>Counts by month</caption>"
        f"<thead><tr><th scope=col>count</th>{heads}</tr></thead><tbody>\n{rows}</tbody></table>\n"
        f"{notes}</main></body></html>\n"
    )


def _cell(one: Counted, name: str) -> str:
    value, was = one.now[name], changed(one).get(name)
    words = f"{value} ({was[0]})" if was else f"{value}{'*' if one.logged is None else ''}"
    return f"<td>{words}</td>"
