"""`blindmatch centre confirm|unfound|forward|ask-removal|close|hold|notify`: what people decide."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.console import (
    DeployedDesignOption,
    HomeOption,
    JsonOption,
    console_for,
    details,
    table,
    write_json,
)
from blindmatch_simulations.deployment.deployed_design import design_of
from blindmatch_simulations.deployment.folder import Deployment, home_from
from blindmatch_simulations.deployment.notifying import deliver
from blindmatch_simulations.deployment.operators import ReportIdError, ask_centre

_ID: Final = re.compile(r"[0-9a-fA-F]{32}")

ReportArgument = Annotated[str, typer.Argument(help="A report's id, 32 hex digits.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it is kept in the report's journal.")]


def id_of(text: str, what: str = "report") -> bytes:
    """An id as it is printed; `ReportIdError` if it is none."""
    if not _ID.fullmatch(text):
        raise ReportIdError(f"{what}: must be 32 hex digits")
    return bytes.fromhex(text)


def confirm(
    report: ReportArgument, reason: ReasonOption, home: HomeOption = None, json_path: JsonOption = None
) -> None:
    """A person looked at the report: it is what it says."""
    _move(report, home, json_path, state="confirmed", reason=reason)


def unfound(
    report: ReportArgument,
    reason: ReasonOption,
    later: Annotated[
        bool, typer.Option("--later", help="Tell the user after the statutory delay, not at once.")
    ] = False,
    home: HomeOption = None,
    json_path: JsonOption = None,
) -> None:
    """A person looked at the report: it is unfounded. The user is told."""
    _move(report, home, json_path, state="unfounded", reason=reason, delay_notice=later)


def forward(
    report: ReportArgument,
    reason: ReasonOption,
    authority: Annotated[str, typer.Option(help="Who it is forwarded to.")],
    home: HomeOption = None,
    json_path: JsonOption = None,
) -> None:
    """Note that a confirmed report was forwarded to an authority."""
    _move(report, home, json_path, state="forwarded", reason=reason, authority=authority)


def ask_removal(
    report: ReportArgument, reason: ReasonOption, home: HomeOption = None, json_path: JsonOption = None
) -> None:
    """Note that the provider was asked to remove what was reported."""
    _move(report, home, json_path, state="removal asked", reason=reason)


def close(
    report: ReportArgument, reason: ReasonOption, home: HomeOption = None, json_path: JsonOption = None
) -> None:
    """Close a report; only an upheld complaint moves it again."""
    _move(report, home, json_path, state="closed", reason=reason)


def hold(
    report: ReportArgument, reason: ReasonOption, home: HomeOption = None, json_path: JsonOption = None
) -> None:
    """An authority asks that the user is not told yet: put the notice off as long as the law allows."""
    request = pb.HoldNoticeRequest(report_id=id_of(report), reason=reason)
    held = ask_centre(Deployment.open(home_from(home)), "HoldNotice", request, pb.Notice)
    console_for(json_path).print(f"the notice is due on {_day(held.due_at_ms)}", soft_wrap=True)
    write_json(described_notice(held), json_path)


def notify(
    home: HomeOption = None, design: DeployedDesignOption = None, json_path: JsonOption = None
) -> None:
    """Send the notices that are due as encrypted messages from the centre's own account.

    The exit code is 7 if one could not be handed over; it is tried again the next time.
    """
    deployment = Deployment.open(home_from(home))
    sent = deliver(deployment, design_of(deployment, design))
    rows = [(one.notice.account, one.notice.kind, one.problem or "sent") for one in sent]
    console_for(json_path).print(table("notices", ("to", "about", "outcome"), rows))
    write_json([described_notice(one.notice) | {"problem": one.problem} for one in sent], json_path)
    if any(one.problem for one in sent):
        raise typer.Exit(exit_codes.UNREACHABLE)


def _move(report: str, home: Path | None, json_path: Path | None, **values: Any) -> None:
    request = pb.MoveRequest(report_id=id_of(report), **values)
    row = ask_centre(Deployment.open(home_from(home)), "Move", request, pb.ReportRow)
    console_for(json_path).print(details(f"report {report}", described(row)))
    write_json(described(row), json_path)


def described(report: pb.ReportRow) -> dict[str, Any]:
    """A report's row as JSON; `outcome` is what the machine checks came to."""
    return {
        "report": report.report_id.hex(),
        "state": report.state,
        "outcome": report.checks,
        "outcome_reason": report.checks_reason,
        "decision": report.decision,
        "reporter": report.reporter,
        "design": report.design,
        "entry_id": report.entry_id,
        "pdq_distance": report.pdq_distance,
        "second_distance": report.second_distance,
        "reason": report.reason,
        "received_at_ms": report.received_at_ms,
        "decided_at_ms": report.decided_at_ms,
    }


def described_notice(notice: pb.Notice) -> dict[str, Any]:
    """A notice as JSON."""
    return {
        "notice": notice.notice_id.hex(),
        "report": notice.report_id.hex(),
        "account": notice.account,
        "kind": notice.kind,
        "text": notice.text,
        "due_at_ms": notice.due_at_ms,
        "sent_at_ms": notice.sent_at_ms,
    }


def journal_entry(entry: pb.JournalEntry) -> dict[str, Any]:
    """A line of the journal as JSON."""
    return {
        "at_ms": entry.at_ms,
        "actor": entry.actor,
        "event": entry.event,
        "state": entry.state,
        "reason": entry.reason,
    }


def journal_line(entry: pb.JournalEntry) -> str:
    """A line of the journal for people."""
    at = datetime.fromtimestamp(entry.at_ms / 1000, UTC).isoformat(" ", "seconds").removesuffix("+00:00")
    reason = f": {entry.reason}" if entry.reason else ""
    return f"{at} {entry.actor or '-'}: {entry.event}, {entry.state}{reason}"


def notice_line(notice: pb.Notice) -> str:
    """A notice for people."""
    when = f"sent {_day(notice.sent_at_ms)}" if notice.sent_at_ms else f"due {_day(notice.due_at_ms)}"
    return f"{notice.account}: {notice.kind}, {when}"


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
