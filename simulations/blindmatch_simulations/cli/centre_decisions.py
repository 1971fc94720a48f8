"""What people at the centre decide of reports and complaints, and what follows from it."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.centre.keys import References
from blindmatch_server.centre.store import State
from blindmatch_server.storage.files import PRIVATE
from google.protobuf.message import Message

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.commands import Commands, Found, found, listed
from blindmatch_simulations.cli.console import DeployedDesignOption, day, moment, table
from blindmatch_simulations.cli.device_status import ReportArgument, id_of
from blindmatch_simulations.measure.output_file import write_file
from blindmatch_simulations.testbed.deployment.devices import now_ms
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.operators import (
    ask_centre,
    centre_list,
    centre_show,
    evidence_of,
)
from blindmatch_simulations.testbed.deployment.registry import design_of
from blindmatch_simulations.testbed.deployment.statistics import Mailbox, deliver

ReasonOption = Annotated[str, typer.Option(help="Why; it is kept in the report's journal.")]


def confirm(deployment: Deployment, report: ReportArgument, reason: ReasonOption) -> Found:
    """A person looked at the report: it is what it says."""
    return _move(deployment, report, state="confirmed", reason=reason)


def unfound(
    deployment: Deployment,
    report: ReportArgument,
    reason: ReasonOption,
    later: Annotated[
        bool,
        typer.Option(
            "--later", help="Tell the user after the delay of COM(2022) 209, a proposal, not at once."
        ),
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
    """An authority asks that the user is not told yet: put the notice off as long as a proposal,
    COM(2022) 209, would allow."""
    request = pb.HoldNoticeRequest(report_id=id_of(report), reason=reason)
    held = ask_centre(deployment, "HoldNotice", request, pb.Notice)
    return Found(describe_notice(held), (f"the notice is due on {day(held.due_at_ms)}",))


def notify(deployment: Deployment, design: DeployedDesignOption = None) -> Found:
    """Send the notices that are due as encrypted messages from the centre's own account.

    The exit code is 7 if one could not be handed over; it is tried again the next time.
    """
    sent = deliver(deployment, design_of(deployment, design))
    rows = [(notice.account, notice.kind, problem or "sent") for notice, problem in sent]
    result = [describe_notice(notice) | {"problem": problem} for notice, problem in sent]
    code = exit_codes.UNREACHABLE if any(problem for _, problem in sent) else exit_codes.OK
    return Found(result, (table("notices", ("to", "about", "outcome"), rows),), code)


def _move(deployment: Deployment, report: str, **values: Any) -> Found:
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
    return plain(notice, notice_id="notice", report_id="report")


def journal_line(entry: pb.JournalEntry) -> str:
    reason = f": {entry.reason}" if entry.reason else ""
    return f"{moment(entry.at_ms)} {entry.actor or '-'}: {entry.event}, {entry.state}{reason}"


def notice_line(notice: pb.Notice) -> str:
    when = f"sent {day(notice.sent_at_ms)}" if notice.sent_at_ms else f"due {day(notice.due_at_ms)}"
    return f"{notice.account}: {notice.kind}, {when}"


complaints_app = Commands(
    help="Take complaints down, list them, uphold or reject them.", no_args_is_help=True
)

ComplaintArgument = Annotated[str, typer.Argument(help="A complaint's id, 32 hex digits.")]
OutcomeReasonOption = Annotated[
    str, typer.Option(help="Why; kept in the journal and told to the complainant.")
]


@complaints_app.command("file")
def file(
    deployment: Deployment,
    report: ReportArgument,
    account: Annotated[str, typer.Option(help="Whose complaint it is, e.g. alice.")],
    text: Annotated[str, typer.Option(help="What the complaint says, in one line.")],
) -> Found:
    """Take down a complaint about a report that came some other way than over the wire."""
    request = pb.ComplainRequest(
        complaint_id=secrets.token_bytes(16), report_id=id_of(report), account=account, text=text
    )
    return found("complaint", describe_complaint(ask_centre(deployment, "Complain", request, pb.Complaint)))


@complaints_app.command("list")
def list_complaints(deployment: Deployment) -> Found:
    """List all complaints."""
    held = ask_centre(deployment, "Complaints", pb.ComplaintsRequest(), pb.ComplaintList).complaints
    rows = [(c.complaint_id.hex(), c.account, c.decision or "open", c.text) for c in held]
    columns = ("complaint", "by", "outcome", "text")
    made = table("complaints at the centre", columns, rows, whole=columns[:1])
    return Found([describe_complaint(one) for one in held], (made,))


@complaints_app.command("uphold")
def uphold(deployment: Deployment, complaint: ComplaintArgument, reason: OutcomeReasonOption) -> Found:
    """Uphold a complaint: a confirmed report becomes unfounded, and the user is told."""
    return _settle(deployment, complaint, reason, upheld=True)


@complaints_app.command("reject")
def reject(deployment: Deployment, complaint: ComplaintArgument, reason: OutcomeReasonOption) -> Found:
    """Reject a complaint: the decision stands, and the user is told why."""
    return _settle(deployment, complaint, reason, upheld=False)


def describe_complaint(complaint: pb.Complaint) -> dict[str, Any]:
    return plain(complaint, complaint_id="complaint", report_id="report")


def _settle(deployment: Deployment, complaint: str, reason: str, upheld: bool) -> Found:
    request = pb.SettleRequest(complaint_id=id_of(complaint, "complaint"), upheld=upheld, reason=reason)
    return found("complaint", describe_complaint(ask_centre(deployment, "Settle", request, pb.Complaint)))


AuthorityOption = Annotated[str, typer.Option(help="Whose mailbox: a-z 0-9 _ -, 1 to 32 characters.")]
DAY_MS: Final = 86_400_000
WAITED_FOR: Final = {
    "acknowledgement": (State.FORWARDED, {"acknowledged"}),
    "removal": (State.REMOVAL_ASKED, {"removed", "removal refused"}),
}
"""What a report in a state waits for, and what answers it."""


def forward(
    deployment: Deployment, report: ReportArgument, reason: ReasonOption, authority: AuthorityOption
) -> Found:
    """Forward a confirmed report: sealed into an authority's mailbox, which is simulated, and noted.

    The journal says that it leaves, and for whom, before it does. If it was cut off after that, do it again:
    the mailbox has each report once.
    """
    report_id = id_of(report)
    held = centre_show(deployment, report_id).row.state
    if held in (State.CONFIRMED, State.REMOVAL_ASKED):
        evidence = evidence_of(deployment, report_id, f"to {authority}: {reason}")
        Mailbox.of(deployment, authority).put(evidence, datetime.now(UTC))
    return _move(deployment, report, state=State.FORWARDED, reason=reason, authority=authority)


def acknowledge(
    deployment: Deployment,
    report: ReportArgument,
    authority: AuthorityOption,
    reference: Annotated[str, typer.Option(help="The authority's own number for it.")],
) -> Found:
    """Play the authority: acknowledge a report that was forwarded to it; the centre notes that."""
    Mailbox.of(deployment, authority).acknowledge(id_of(report), reference, datetime.now(UTC))
    return _noted(deployment, report, "acknowledged", f"{authority}: {reference}")


def removal(
    deployment: Deployment,
    report: ReportArgument,
    answer: Annotated[Literal["removed", "refused"], typer.Argument(help="What the provider says.")],
    reason: ReasonOption,
) -> Found:
    """Note what the provider answered when it was asked to remove what was reported."""
    return _noted(deployment, report, answer if answer == "removed" else "removal refused", reason)


def mailbox(
    deployment: Deployment,
    authority: Annotated[str, typer.Argument(help="Whose.")],
    report: Annotated[str, typer.Option("--open", help="A report's id: open it into --out.")] = "",
    out: Annotated[Path | None, typer.Option(help="The file to write; it holds the picture.")] = None,
) -> Found:
    """Play the authority: list what came in, or open one report."""
    box = Mailbox.of(deployment, authority)
    if report and out is not None:
        write_file(out, box.open(id_of(report)).encode(), PRIVATE)
    names = sorted(path.stem for path in box.inbox.glob("*.sealed"))
    held = {name: (box.inbox / f"{name}.ack.json").exists() for name in names}
    result = [{"report": name, "acknowledged": done, "simulated": True} for name, done in held.items()]
    columns = {"report": "report", "acknowledged": "acknowledged"}
    return listed(f"mailbox of {authority} (simulated)", columns, result)


def pending(
    deployment: Deployment,
    days: Annotated[int, typer.Option(min=0, help="Only what has waited so many days or more.")] = 0,
) -> Found:
    """What waits for an answer: of an authority that a report was forwarded to, or of the provider."""
    now = now_ms()
    waiting = [
        {"report": row.report_id.hex(), "waits_for": what, "days": (now - since) // DAY_MS}
        for row in centre_list(deployment).reports
        for what, since in waits(centre_show(deployment, row.report_id))
        if now - since >= days * DAY_MS
    ]
    columns = {"report": "report", "waits_for": "for", "days": "days"}
    return listed("waiting for an answer", columns, waiting)


def waits(report: pb.ReportDetail) -> list[tuple[str, int]]:
    """What a report waits for, and since when."""
    found = []
    for what, (state, answers) in WAITED_FOR.items():
        moves = [one for one in report.journal if one.event == "decided" or one.event.startswith("to ")]
        moved = [line.at_ms for line in moves if line.state == state]
        answered = [line.at_ms for line in report.journal if line.event in answers]
        if moved and not any(at >= moved[-1] for at in answered):
            found.append((what, moved[-1]))
    return found


def withdrawals(
    deployment: Deployment,
    out: Annotated[
        Path | None,
        typer.Option(help="Also write them as StopNCII JSON: list import FILE NAME --onto NAME."),
    ] = None,
) -> Found:
    """Entries whose matches upheld complaints have reversed: the next epoch must not list them.

    Where organisations endorse entries, they withdraw them: blindmatch list withdraw ORGANISATION ENTRY NAME.
    """
    held = ask_centre(deployment, "Withdrawals", pb.WithdrawalsRequest(), pb.WithdrawalList).withdrawals
    if out is not None:
        records = json.dumps(_records(References(deployment.references), held)) + "\n"
        write_file(out, records.encode())
    result = [{"entry_id": one.entry_id, "epoch": one.epoch, "report": one.report_id.hex()} for one in held]
    columns = {"entry_id": "entry", "epoch": "epoch", "report": "report"}
    return listed("entries to withdraw", columns, result)


def _records(known: References, held: Any) -> dict[str, Any]:
    """StopNCII's form; an entry that the centre does not know any more is gone already."""
    entries = [(one, known.lookup(one.entry_id)) for one in held]
    records = [
        {
            "lastModtimestamp": one.upheld_at_ms // 1000,
            "hashValue": entry.entry_hash.hex(),
            "hashStatus": "Withdrawn",
            "signalType": "ImagePDQ",
        }
        for one, entry in entries
        if entry is not None
    ]
    return {"count": len(records), "hasMoreRecords": False, "hashRecords": records}


def _noted(deployment: Deployment, report: str, event: str, reason: str) -> Found:
    request = pb.NoteRequest(report_id=id_of(report), event=event, reason=reason)
    row = ask_centre(deployment, "Note", request, pb.ReportRow)
    return Found(describe_report(row), (f"noted: {event}: {reason}",))
