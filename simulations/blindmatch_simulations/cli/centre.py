"""`blindmatch centre`: what reached the centre."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from blindmatch_protocol.codec.errors import PictureError
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.centre.notices import not_shown
from blindmatch_server.storage.files import PRIVATE
from rich.table import Table

from blindmatch_simulations.cli.authority import acknowledge, forward, mailbox, pending, removal, withdrawals
from blindmatch_simulations.cli.commands import Commands, Found, found, people
from blindmatch_simulations.cli.complaints import complaints_app, describe_complaint
from blindmatch_simulations.cli.console import progress_bar, say, table, write_file
from blindmatch_simulations.cli.list_build import files_of
from blindmatch_simulations.cli.statistics import show_statistics
from blindmatch_simulations.cli.triage import (
    ReasonOption,
    ask_removal,
    close,
    confirm,
    describe_notice,
    describe_report,
    hold,
    id_of,
    journal_line,
    notice_line,
    notify,
    plain,
    unfound,
)
from blindmatch_simulations.cli.yearly import report
from blindmatch_simulations.testbed.deployment.curating import add_references, open_named
from blindmatch_simulations.testbed.deployment.evidence import evidence_of
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.operators import centre_list, centre_show

app = Commands(no_args_is_help=True)
app.command("confirm")(confirm)
app.command("unfound")(unfound)
app.command("forward")(forward)
app.command("acknowledge")(acknowledge)
app.command("mailbox")(mailbox)
app.command("ask-removal")(ask_removal)
app.command("removal")(removal)
app.command("pending")(pending)
app.command("withdrawals")(withdrawals)
app.command("report")(report)
app.command("close")(close)
app.command("hold")(hold)
app.command("notify")(notify)
app.command("statistics")(show_statistics)
app.add_typer(complaints_app, name="complaint")

REPORT_COLUMNS = ("report", "state", "by", "entry", "PDQ", "second")
"""The last two are distances in bits."""


@app.command("learn")
def learn(
    deployment: Deployment,
    name: Annotated[str, typer.Argument(help="The list's name in this deployment.")],
    pictures: Annotated[
        Path | None, typer.Option(help="A folder of listed pictures, for the second perceptual hash.")
    ] = None,
) -> Found:
    """Give the centre its copy of list NAME, and its second hash of the listed pictures it has."""
    held = [_picture(path) for path in files_of(pictures)] if pictures else []
    with (
        open_named(deployment, name) as entries,
        progress_bar(people(), "reference hashes", "entries") as progress,
    ):
        known = add_references(deployment, entries, held, progress)
        labels = len(entries)
    told = f"the centre knows {labels:,} labels and a second hash of {known} of them"
    return Found({"list": name, "labels": labels, "second_hashes": known}, (told,))


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
def list_(deployment: Deployment) -> Found:
    """List the reports, and how many vouchers of each account are held and opened."""
    held = centre_list(deployment)
    rows = [_row(report) for report in held.reports]
    made = table("reports at the centre", REPORT_COLUMNS, rows, whole=REPORT_COLUMNS[:1])
    shown: list[Table | str] = [made]
    if held.reports:
        shown.append("what the checks of a report do not show: blindmatch centre show REPORT")
    if held.vouchers:
        shown.append(_voucher_table(held.vouchers))
    return Found([describe_report(report) for report in held.reports], shown)


@app.command("vouchers")
def vouchers(deployment: Deployment) -> Found:
    """List how many vouchers of each account are held, and how many could be opened."""
    held = centre_list(deployment).vouchers
    return Found(list(map(plain, held)), (_voucher_table(held),))


@app.command("show")
def show(
    deployment: Deployment,
    report: Annotated[str, typer.Argument(help="A report's id, 32 hex digits.")],
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
        "checks": "\n".join(held.checks),
        "journal": "\n".join(map(journal_line, held.journal)),
        "complaints": "\n".join(f"{c.account}: {c.decision or 'open'}" for c in held.complaints),
        "notices": "\n".join(map(notice_line, held.notices)),
    }
    return found(f"report {report}", result, shown)


@app.command("export")
def export(
    deployment: Deployment,
    report: Annotated[str, typer.Argument(help="A report's id, 32 hex digits.")],
    file: Annotated[Path, typer.Argument(help="The file to write; it holds the picture.")],
    reason: ReasonOption,
) -> None:
    """Write a report as evidence for `report verify`: opened, with the sender's keys, the epoch's proofs.

    The report's journal has the reason before anything leaves.
    """
    evidence = evidence_of(deployment, id_of(report), reason)
    write_file(file, evidence.encode(), PRIVATE)
    say(f"written: {file}, which holds the picture")


def _voucher_table(rows: Sequence[pb.VoucherRow]) -> Table:
    counts = [(row.account, row.held, row.opened) for row in rows]
    return table("vouchers at the centre", ("account", "held", "opened"), counts)


def _row(report: pb.ReportRow) -> tuple[object, ...]:
    state = report.state
    if report.checks not in ("", "passed"):
        state = f"{state}; checks {report.checks}: {report.checks_reason}"
    distances = ("", "") if report.HasField("score") else (report.pdq_distance, report.second_distance)
    entry = f"flag, {report.score:.3g}" if report.HasField("score") else str(report.entry_id)
    return report.report_id.hex(), state, report.reporter, entry, *distances
