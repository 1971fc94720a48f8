"""`blindmatch centre`: what reached the centre, its statistics, and the transparency report of a year."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from blindmatch_protocol.codec.errors import PictureError
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.centre.notices import IN_STATISTICS, is_device, not_shown, statute
from blindmatch_server.log.service import Month
from blindmatch_server.storage.files import PRIVATE
from rich.table import Table

from blindmatch_simulations.cli.bars import progress_bar
from blindmatch_simulations.cli.centre_decisions import (
    ReasonOption,
    acknowledge,
    ask_removal,
    close,
    complaints_app,
    confirm,
    describe_complaint,
    describe_notice,
    describe_report,
    forward,
    hold,
    journal_line,
    mailbox,
    notice_line,
    notify,
    pending,
    plain,
    removal,
    unfound,
    withdrawals,
)
from blindmatch_simulations.cli.centre_vouchers import vouchers_app
from blindmatch_simulations.cli.commands import Commands, Found, found
from blindmatch_simulations.cli.console import ERR, OUT, say, table
from blindmatch_simulations.cli.device_status import ReportArgument, id_of
from blindmatch_simulations.cli.list_build import NameArgument, files_of
from blindmatch_simulations.measure.output_file import write_file
from blindmatch_simulations.measure.results import csv_of
from blindmatch_simulations.testbed.deployment.curating import add_references, open_named
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.operators import (
    ask_centre,
    centre_list,
    centre_show,
    evidence_of,
)
from blindmatch_simulations.testbed.deployment.statistics import (
    COLUMNS,
    Counted,
    log_months,
    published,
    year_of,
)

REPORT_VERSION: Final = 1


def report(
    deployment: Deployment,
    year: Annotated[int, typer.Argument(min=2000, max=9998)],
    out: Annotated[Path, typer.Option(help="The folder for report.csv and report.json.")],
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
    write_file(out / "report.csv", as_csv(months).encode())
    write_file(out / "report.json", as_json(year, months).encode())
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
    rows = (
        (one.month, name, value, (one.logged or {}).get(name))
        for one in months
        for name, value in one.now.items()
    )
    return csv_of(("month", "count", "now", "logged"), rows)


def as_json(year: int, months: Sequence[Counted]) -> str:
    """All of it, with what must stand beside it."""
    form = statute().statistics_form
    result: dict[str, Any] = {
        "report_version": REPORT_VERSION,
        "year": year,
        "months": [
            {"month": str(one.month), "now": one.now, "logged": one.logged, "changed": changed(one)}
            for one in months
        ],
        "caution": form.caution,
        "not_shown": IN_STATISTICS,
        "source": form.source,
        "law": statute().law.words,
    }
    return json.dumps(result, indent=1) + "\n"


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
) -> Found:
    """Counts, error rates and times, with nothing about anybody; read the caution with them."""
    request = pb.StatisticsRequest(from_ms=_milliseconds(since), until_ms=_milliseconds(until))
    found = ask_centre(deployment, "ReadStatistics", request, pb.Statistics)
    result = published(found, scanned)
    rows = [tuple(one.values()) for one in result["figures"]]
    words = (
        f"{name.replace('_', ' ')}: {result[name]}" for name in ("caution", "not_shown", "source", "law")
    )
    return Found(result, (table("statistics of the centre", COLUMNS, rows), *words))


def _milliseconds(day: datetime | None) -> int:
    return 0 if day is None else int(day.replace(tzinfo=UTC).timestamp() * 1000)


app = Commands(no_args_is_help=True)
for step in (
    confirm, unfound, forward, acknowledge, mailbox, ask_removal, removal, pending, withdrawals, report,
    close, hold, notify,
):  # fmt: skip
    app.command(step.__name__.replace("_", "-"))(step)
app.command("statistics")(show_statistics)
app.add_typer(complaints_app, name="complaint")
app.add_typer(vouchers_app, name="vouchers")

REPORT_COLUMNS = ("report", "state", "by", "entry", "PDQ", "second")
"""The last two are distances in bits."""


@app.command("learn")
def learn(
    deployment: Deployment,
    name: NameArgument,
    pictures: Annotated[
        Path | None, typer.Option(help="A folder of listed pictures, for the second perceptual hash.")
    ] = None,
) -> Found:
    """Give the centre its copy of list NAME, and its second hash of the listed pictures it has.

    Do so for each epoch. Second hashes that it has of entries that stay are kept. A running centre uses the
    list at once, and repeats the checks of reports that failed because it did not know their entry; if it
    started without any list, it must be restarted after the first one.
    """
    held = [_picture(path) for path in files_of(pictures)] if pictures else []
    with (
        open_named(deployment, name) as entries,
        progress_bar(ERR, "reference hashes") as progress,
    ):
        known = add_references(deployment, entries, held, progress)
        labels = len(entries)
    told = f"the centre knows {labels:,} labels and a second hash of {known} of them"
    return Found({"list": name, "labels": labels, "second_hashes": known}, (told,))


def _picture(path: Path) -> Picture:
    try:
        picture = Picture.from_bytes(path.read_bytes())
        _ = picture.hash
    except OSError as error:
        raise PictureError(f"{path}: {error.strerror}") from error
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error
    return picture


@app.command("list")
def list_(deployment: Deployment) -> Found:
    """List the reports, and how many vouchers of each account are held and opened."""
    held = centre_list(deployment)
    rows = [_row(report) for report in held.reports]
    made = table("reports at the centre", REPORT_COLUMNS, rows, whole=REPORT_COLUMNS[:1])
    shown: list[Table | str] = [made]
    if held.reports:
        shown.append("what the checks of a report do not show: blindmatch centre show REPORT")
    if held.vouchers:
        counts = [(row.account, row.held, row.opened) for row in held.vouchers]
        shown.append(table("vouchers at the centre", ("account", "held", "opened"), counts))
    return Found([describe_report(report) for report in held.reports], shown)


@app.command("show")
def show(
    deployment: Deployment,
    report: ReportArgument,
) -> Found:
    """Show one report: its checks, its journal, complaints and notices. The picture is not shown."""
    held = centre_show(deployment, id_of(report))
    plainly = ("sender", "recipient", "sent_at_ms", "media_type", "width", "height")
    result: dict[str, Any] = describe_report(held.row) | {
        **{name: getattr(held, name) for name in plainly},
        "checks": list(held.checks),
        "not_shown": not_shown(held.row.reporter),
        "journal": list(map(plain, held.journal)),
        "complaints": [describe_complaint(one) for one in held.complaints],
        "notices": [describe_notice(one) for one in held.notices],
    }
    shown = result | {
        "recipient": held.recipient or ("none named" if is_device(held.row.reporter) else ""),
        "checks": "\n".join(held.checks),
        "journal": "\n".join(map(journal_line, held.journal)),
        "complaints": "\n".join(f"{c.account}: {c.decision or 'open'}" for c in held.complaints),
        "notices": "\n".join(map(notice_line, held.notices)),
    }
    return found(f"report {report}", result, shown)


@app.command("export")
def export(
    deployment: Deployment,
    report: ReportArgument,
    file: Annotated[Path, typer.Argument(help="The file to write; it holds the picture.")],
    reason: ReasonOption,
) -> None:
    """Write a report as evidence for `report verify`: opened, with the sender's keys, the epoch's proofs.

    The report's journal has the reason before anything leaves.
    """
    evidence = evidence_of(deployment, id_of(report), reason)
    write_file(file, evidence.encode(), PRIVATE)
    say(f"written: {file}, which holds the picture")


def _row(report: pb.ReportRow) -> tuple[object, ...]:
    state = report.state
    if report.checks not in ("", "passed"):
        state = f"{state}; checks {report.checks}: {report.checks_reason}"
    distances = ("", "") if report.HasField("score") else (report.pdq_distance, report.second_distance)
    entry = f"flag, {report.score:.3g}" if report.HasField("score") else str(report.entry_id)
    return report.report_id.hex(), state, report.reporter, entry, *distances
