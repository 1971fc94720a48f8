"""`blindmatch centre`: what reached the centre."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer
from blindmatch_protocol.errors import PictureError
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.curator import open_list

from blindmatch_simulations.cli.console import (
    OUT,
    HomeOption,
    JsonOption,
    console_for,
    details,
    progress_bar,
    table,
    write_json,
)
from blindmatch_simulations.curating import list_path, teach_centre
from blindmatch_simulations.deployment import Deployment, home_from
from blindmatch_simulations.operators import ReportIdError, centre_list, centre_show

app = typer.Typer(help="Give the centre the list, and see the reports it received.", no_args_is_help=True)

_REPORT_ID = re.compile(r"[0-9a-fA-F]{32}")
COLUMNS = ("report", "state", "by", "entry", "PDQ", "second")
"""The last two are distances in bits."""


@app.command("learn")
def learn(
    name: Annotated[str, typer.Argument(help="The list's name in this deployment.")],
    pictures: Annotated[
        Path | None, typer.Option(help="A folder of listed pictures, for the second perceptual hash.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Give the centre its copy of list NAME, and its second hash of the listed pictures it has."""
    deployment = Deployment.open(home_from(home))
    held = [_picture(path) for path in _files(pictures)] if pictures else []
    with (
        open_list(list_path(deployment, name)) as entries,
        progress_bar(OUT, "teaching the centre") as progress,
    ):
        known = teach_centre(deployment, entries, held, progress)
        OUT.print(f"the centre knows {len(entries):,} labels and a second hash of {known} of them")


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
    if found.vouchers:
        held = [(voucher.account, voucher.held, voucher.opened) for voucher in found.vouchers]
        console.print(table("vouchers at the centre", ("account", "held", "opened"), held))
    write_json([described(report) for report in found.reports], json_path)


@app.command("show")
def show(
    report: Annotated[str, typer.Argument(help="A report's id, 32 hex digits.")],
    home: HomeOption = None,
    json_path: JsonOption = None,
) -> None:
    """Show one report: its checks, each with its verdict. The picture itself is not shown."""
    if not _REPORT_ID.fullmatch(report):
        raise ReportIdError("report: must be 32 hex digits")
    found = centre_show(Deployment.open(home_from(home)), bytes.fromhex(report))
    result: dict[str, Any] = described(found.row) | {
        "sender": found.sender,
        "recipient": found.recipient,
        "sent_at_ms": found.sent_at_ms,
        "media_type": found.media_type,
        "width": found.width,
        "height": found.height,
        "checks": list(found.checks),
    }
    shown = result | {"checks": "\n".join(found.checks)}
    console_for(json_path).print(details(f"report {report}", shown))
    write_json(result, json_path)


def _row(report: pb.ReportRow) -> tuple[object, ...]:
    state = f"{report.state}: {report.reason}" if report.reason else report.state
    distances = report.pdq_distance, report.second_distance
    return report.report_id.hex(), state, report.reporter, report.entry_id, *distances


def described(report: pb.ReportRow) -> dict[str, Any]:
    """A report's row as JSON."""
    return {
        "report": report.report_id.hex(),
        "state": report.state,
        "reporter": report.reporter,
        "design": report.design,
        "entry_id": report.entry_id,
        "pdq_distance": report.pdq_distance,
        "second_distance": report.second_distance,
        "reason": report.reason,
        "received_at_ms": report.received_at_ms,
    }
