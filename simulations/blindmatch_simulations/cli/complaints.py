"""`blindmatch centre complaint`: complaints of users, and what comes of them."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import typer
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

from blindmatch_simulations.cli.commands import Commands, Found, found
from blindmatch_simulations.cli.console import table
from blindmatch_simulations.cli.triage import ReportArgument, id_of, plain
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.operators import ask_centre

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
    return _show_complaint(ask_centre(deployment, "Complain", request, pb.Complaint))


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
    """A complaint as JSON."""
    return plain(complaint, complaint_id="complaint", report_id="report")


def _settle(deployment: Deployment, complaint: str, reason: str, upheld: bool) -> Found:
    request = pb.SettleRequest(complaint_id=id_of(complaint, "complaint"), upheld=upheld, reason=reason)
    return _show_complaint(ask_centre(deployment, "Settle", request, pb.Complaint))


def _show_complaint(complaint: pb.Complaint) -> Found:
    return found("complaint", describe_complaint(complaint))
