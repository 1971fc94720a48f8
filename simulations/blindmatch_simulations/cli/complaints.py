"""`blindmatch centre complaint`: complaints of users, and what comes of them."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any

import typer
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

from blindmatch_simulations.cli.console import HomeOption, JsonOption, console_for, details, table, write_json
from blindmatch_simulations.cli.triage import ReportArgument, id_of
from blindmatch_simulations.deployment.folder import Deployment, home_from
from blindmatch_simulations.deployment.operators import ask_centre

app = typer.Typer(help="Take complaints down, list them, uphold or reject them.", no_args_is_help=True)

ComplaintArgument = Annotated[str, typer.Argument(help="A complaint's id, 32 hex digits.")]
ReasonOption = Annotated[str, typer.Option(help="Why; kept in the journal and told to the complainant.")]


@app.command("file")
def file(
    report: ReportArgument,
    account: Annotated[str, typer.Option(help="Whose complaint it is, e.g. alice.")],
    text: Annotated[str, typer.Option(help="What the complaint says, in one line.")],
    home: HomeOption = None,
    json_path: JsonOption = None,
) -> None:
    """Take down a complaint about a report that came some other way than over the wire."""
    request = pb.ComplainRequest(
        complaint_id=secrets.token_bytes(16), report_id=id_of(report), account=account, text=text
    )
    _show(ask_centre(Deployment.open(home_from(home)), "Complain", request, pb.Complaint), json_path)


@app.command("list")
def list_(home: HomeOption = None, json_path: JsonOption = None) -> None:
    """List all complaints."""
    found = ask_centre(
        Deployment.open(home_from(home)), "Complaints", pb.ComplaintsRequest(), pb.ComplaintList
    ).complaints
    rows = [(c.complaint_id.hex(), c.account, c.decision or "open", c.text) for c in found]
    made = table("complaints at the centre", ("complaint", "by", "outcome", "text"), rows)
    made.columns[0].no_wrap = True
    console_for(json_path).print(made)
    write_json([described(one) for one in found], json_path)


@app.command("uphold")
def uphold(
    complaint: ComplaintArgument,
    reason: ReasonOption,
    home: HomeOption = None,
    json_path: JsonOption = None,
) -> None:
    """Uphold a complaint: a confirmed report becomes unfounded, and the user is told."""
    _settle(complaint, reason, home, json_path, upheld=True)


@app.command("reject")
def reject(
    complaint: ComplaintArgument,
    reason: ReasonOption,
    home: HomeOption = None,
    json_path: JsonOption = None,
) -> None:
    """Reject a complaint: the decision stands, and the user is told why."""
    _settle(complaint, reason, home, json_path, upheld=False)


def described(complaint: pb.Complaint) -> dict[str, Any]:
    """A complaint as JSON."""
    return {
        "complaint": complaint.complaint_id.hex(),
        "report": complaint.report_id.hex(),
        "account": complaint.account,
        "received_at_ms": complaint.received_at_ms,
        "text": complaint.text,
        "decision": complaint.decision,
        "reason": complaint.reason,
        "decided_at_ms": complaint.decided_at_ms,
    }


def _settle(complaint: str, reason: str, home: Path | None, json_path: Path | None, upheld: bool) -> None:
    request = pb.SettleRequest(complaint_id=id_of(complaint, "complaint"), upheld=upheld, reason=reason)
    _show(ask_centre(Deployment.open(home_from(home)), "Settle", request, pb.Complaint), json_path)


def _show(complaint: pb.Complaint, json_path: Path | None) -> None:
    result = described(complaint)
    console_for(json_path).print(details("complaint", result))
    write_json(result, json_path)
