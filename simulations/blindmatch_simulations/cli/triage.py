"""`blindmatch centre confirm|unfound|ask-removal|close|hold|notify`: what people decide."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import typer
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from google.protobuf.message import Message

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.commands import Found, found
from blindmatch_simulations.cli.console import DeployedDesignOption, day, moment, table
from blindmatch_simulations.testbed.deployment.deployed_design import design_of
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.notifying import deliver
from blindmatch_simulations.testbed.deployment.operators import ReportIdError, ask_centre

_ID: Final = re.compile(r"[0-9a-fA-F]{32}")

ReportArgument = Annotated[str, typer.Argument(help="A report's id, 32 hex digits.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it is kept in the report's journal.")]


def id_of(text: str, what: str = "report") -> bytes:
    """An id as it is printed; `ReportIdError` if it is none."""
    if not _ID.fullmatch(text):
        raise ReportIdError(f"{what}: must be 32 hex digits")
    return bytes.fromhex(text)


def confirm(deployment: Deployment, report: ReportArgument, reason: ReasonOption) -> Found:
    """A person looked at the report: it is what it says."""
    return _move(deployment, report, state="confirmed", reason=reason)


def unfound(
    deployment: Deployment,
    report: ReportArgument,
    reason: ReasonOption,
    later: Annotated[
        bool, typer.Option("--later", help="Tell the user after the statutory delay, not at once.")
    ] = False,
) -> Found:
    """A person looked at the report: it is unfounded. The user is told."""
    return _move(deployment, report, state="unfounded", reason=reason, delay_notice=later)


def ask_removal(deployment: Deployment, report: ReportArgument, reason: ReasonOption) -> Found:
    """Note that the provider was asked to remove what was reported."""
    return _move(deployment, report, state="removal asked", reason=reason)


def close(deployment: Deployment, report: ReportArgument, reason: ReasonOption) -> Found:
    """Close a report; only an upheld complaint moves it again."""
    return _move(deployment, report, state="closed", reason=reason)


def hold(deployment: Deployment, report: ReportArgument, reason: ReasonOption) -> Found:
    """An authority asks that the user is not told yet: put the notice off as long as the law allows."""
    request = pb.HoldNoticeRequest(report_id=id_of(report), reason=reason)
    held = ask_centre(deployment, "HoldNotice", request, pb.Notice)
    return Found(describe_notice(held), (f"the notice is due on {day(held.due_at_ms)}",))


def notify(deployment: Deployment, design: DeployedDesignOption = None) -> Found:
    """Send the notices that are due as encrypted messages from the centre's own account.

    The exit code is 7 if one could not be handed over; it is tried again the next time.
    """
    sent = deliver(deployment, design_of(deployment, design))
    rows = [(one.notice.account, one.notice.kind, one.problem or "sent") for one in sent]
    result = [describe_notice(one.notice) | {"problem": one.problem} for one in sent]
    code = exit_codes.UNREACHABLE if any(one.problem for one in sent) else exit_codes.OK
    return Found(result, (table("notices", ("to", "about", "outcome"), rows),), code)


def _move(deployment: Deployment, report: str, **values: Any) -> Found:
    """Have the centre move a report; its row then."""
    request = pb.MoveRequest(report_id=id_of(report), **values)
    row = ask_centre(deployment, "Move", request, pb.ReportRow)
    return found(f"report {report}", describe_report(row))


def plain(message: Message, **names: str) -> dict[str, Any]:
    """A message as JSON: its fields in their order, bytes in hex, some under other `names`."""
    held = {field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields}
    return {
        names.get(name, name): value.hex() if isinstance(value, bytes) else value
        for name, value in held.items()
    }


def describe_report(report: pb.ReportRow) -> dict[str, Any]:
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
        "score": report.score if report.HasField("score") else None,
        "pdq_distance": report.pdq_distance,
        "second_distance": report.second_distance,
        "reason": report.reason,
        "received_at_ms": report.received_at_ms,
        "decided_at_ms": report.decided_at_ms,
    }


def describe_notice(notice: pb.Notice) -> dict[str, Any]:
    """A notice as JSON."""
    return plain(notice, notice_id="notice", report_id="report")


def journal_line(entry: pb.JournalEntry) -> str:
    """A line of the journal for people."""
    reason = f": {entry.reason}" if entry.reason else ""
    return f"{moment(entry.at_ms)} {entry.actor or '-'}: {entry.event}, {entry.state}{reason}"


def notice_line(notice: pb.Notice) -> str:
    """A notice for people."""
    when = f"sent {day(notice.sent_at_ms)}" if notice.sent_at_ms else f"due {day(notice.due_at_ms)}"
    return f"{notice.account}: {notice.kind}, {when}"
