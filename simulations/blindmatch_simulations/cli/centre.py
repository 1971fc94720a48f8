"""`blindmatch centre`: what reached the centre."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from blindmatch_protocol.errors import PictureError
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.centre.unproven import not_shown
from rich.table import Table

from blindmatch_simulations.cli import complaints, statistics, triage
from blindmatch_simulations.cli.console import (
    HomeOption,
    JsonOption,
    console_for,
    details,
    progress_bar,
    table,
    write_json,
)
from blindmatch_simulations.cli.triage import described, id_of
from blindmatch_simulations.deployment.curating import open_named, teach_centre
from blindmatch_simulations.deployment.folder import Deployment, home_from
from blindmatch_simulations.deployment.operators import centre_list, centre_show

app = typer.Typer(
    help="Give the centre the list, see the reports it received, decide about them, answer complaints.",
    no_args_is_help=True,
)
app.command("confirm")(triage.confirm)
app.command("unfound")(triage.unfound)
app.command("forward")(triage.forward)
app.command("ask-removal")(triage.ask_removal)
app.command("close")(triage.close)
app.command("hold")(triage.hold)
app.command("notify")(triage.notify)
app.command("statistics")(statistics.show_statistics)
app.add_typer(complaints.app, name="complaint")

COLUMNS = ("report", "state", "by", "entry", "PDQ", "second")
"""The last two are distances in bits."""


@app.command("learn")
def learn(
    name: Annotated[str, typer.Argument(help="The list's name in this deployment.")],
    pictures: Annotated[
        Path | None, typer.Option(help="A folder of listed pictures, for the second perceptual hash.")
    ] = None,
    home: HomeOption = None,
    json_path: JsonOption = None,
) -> None:
    """Give the centre its copy of list NAME, and its second hash of the listed pictures it has."""
    deployment = Deployment.open(home_from(home))
    console = console_for(json_path)
    held = [_picture(path) for path in _files(pictures)] if pictures else []
    with (
        open_named(deployment, name) as entries,
        progress_bar(console, "teaching the centre", "entries") as progress,
    ):
        known = teach_centre(deployment, entries, held, progress)
        labels = len(entries)
    result = {"list": name, "labels": labels, "second_hashes": known}
    console.print(f"the centre knows {labels:,} labels and a second hash of {known} of them")
    write_json(result, json_path)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise PictureError(f"{folder}: {error.strerror}") from error


def _picture(path: Path) -> Picture:
    """A picture that can be decoded; its hash is computed here, so that an error can name the file."""
    try:
        picture = Picture.from_bytes(path.read_bytes())
        _ = picture.hash
    except OSError as error:
        raise PictureError(f"{path}: {error.strerror}") from error
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error
    return picture


@app.command("list")
def list_(home: HomeOption = None, json_path: JsonOption = None) -> None:
    """List the reports, and how many vouchers of each account are held and opened."""
    found = centre_list(Deployment.open(home_from(home)))
    rows = [_row(report) for report in found.reports]
    console = console_for(json_path)
    made = table("reports at the centre", COLUMNS, rows)
    made.columns[0].no_wrap = True
    console.print(made)
    if found.reports:
        console.print("what the checks of a report do not show: blindmatch centre show REPORT")
    if found.vouchers:
        console.print(_voucher_table(found.vouchers))
    write_json([described(report) for report in found.reports], json_path)


@app.command("vouchers")
def vouchers(home: HomeOption = None, json_path: JsonOption = None) -> None:
    """List how many vouchers of each account are held, and how many could be opened."""
    found = centre_list(Deployment.open(home_from(home))).vouchers
    console_for(json_path).print(_voucher_table(found))
    write_json([{"account": row.account, "held": row.held, "opened": row.opened} for row in found], json_path)


@app.command("show")
def show(
    report: Annotated[str, typer.Argument(help="A report's id, 32 hex digits.")],
    home: HomeOption = None,
    json_path: JsonOption = None,
) -> None:
    """Show one report: its checks, its journal, complaints and notices. The picture is not shown."""
    found = centre_show(Deployment.open(home_from(home)), id_of(report))
    result: dict[str, Any] = described(found.row) | {
        "sender": found.sender,
        "recipient": found.recipient,
        "sent_at_ms": found.sent_at_ms,
        "media_type": found.media_type,
        "width": found.width,
        "height": found.height,
        "checks": list(found.checks),
        "not_shown": not_shown(found.row.reporter),
        "journal": [triage.journal_entry(entry) for entry in found.journal],
        "complaints": [complaints.described(one) for one in found.complaints],
        "notices": [triage.described_notice(one) for one in found.notices],
    }
    shown = result | {
        "checks": "\n".join(found.checks),
        "journal": "\n".join(map(triage.journal_line, found.journal)),
        "complaints": "\n".join(f"{c.account}: {c.decision or 'open'}" for c in found.complaints),
        "notices": "\n".join(map(triage.notice_line, found.notices)),
    }
    console_for(json_path).print(details(f"report {report}", shown))
    write_json(result, json_path)


def _voucher_table(rows: Sequence[pb.VoucherRow]) -> Table:
    counts = [(row.account, row.held, row.opened) for row in rows]
    return table("vouchers at the centre", ("account", "held", "opened"), counts)


def _row(report: pb.ReportRow) -> tuple[object, ...]:
    state = report.state
    if report.checks not in ("", "passed"):
        state = f"{state}; checks {report.checks}: {report.checks_reason}"
    distances = report.pdq_distance, report.second_distance
    return report.report_id.hex(), state, report.reporter, str(report.entry_id), *distances
