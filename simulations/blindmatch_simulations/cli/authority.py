"""`blindmatch centre forward|acknowledge|mailbox|removal|pending|withdrawals`: what follows a decision."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.centre.references import References
from blindmatch_server.centre.store import State
from blindmatch_server.storage.files import PRIVATE

from blindmatch_simulations.cli.commands import Found
from blindmatch_simulations.cli.console import table, write_file
from blindmatch_simulations.cli.triage import ReasonOption, ReportArgument, _move, describe_report, id_of
from blindmatch_simulations.testbed.deployment.devices import now_ms
from blindmatch_simulations.testbed.deployment.evidence import evidence_of
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.mailbox import Mailbox
from blindmatch_simulations.testbed.deployment.operators import ask_centre, centre_list, centre_show

AuthorityOption = Annotated[str, typer.Option(help="Whose mailbox: a-z 0-9 _ -, 1 to 32 characters.")]
DAY_MS: Final = 86_400_000
WAITED_FOR: Final = {
    "acknowledgement": (State.FORWARDED, {"acknowledged"}),
    "removal": (State.REMOVAL_ASKED, {"removed", "removal refused"}),
}
"""What a report in a state waits for, and what answers it."""


class Answer(StrEnum):
    """What a provider says of a removal."""

    REMOVED = "removed"
    REFUSED = "refused"


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
    answer: Annotated[Answer, typer.Argument(help="What the provider says.")],
    reason: ReasonOption,
) -> Found:
    """Note what the provider answered when it was asked to remove what was reported."""
    event = "removed" if answer is Answer.REMOVED else "removal refused"
    return _noted(deployment, report, event, reason)


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
    held = [(name, (box.inbox / f"{name}.ack.json").exists()) for name in names]
    rows = [(name, "acknowledged" if done else "") for name, done in held]
    made = table(f"mailbox of {authority} (simulated)", ("report", "state"), rows)
    return Found([{"report": name, "acknowledged": done, "simulated": True} for name, done in held], (made,))


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
    rows = [tuple(one.values()) for one in waiting]
    return Found(waiting, (table("waiting for an answer", ("report", "for", "days"), rows),))


def waits(report: pb.ReportDetail) -> list[tuple[str, int]]:
    """What a report waits for, and since when."""
    found = []
    for what, (state, answers) in WAITED_FOR.items():
        moved = [line.at_ms for line in report.journal if line.state == state and _moves(line)]
        answered = [line.at_ms for line in report.journal if line.event in answers]
        if moved and not any(at >= moved[-1] for at in answered):
            found.append((what, moved[-1]))
    return found


def _moves(line: pb.JournalEntry) -> bool:
    return line.event == "decided" or line.event.startswith("to ")


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
        out.write_text(json.dumps(_records(References(deployment.references), held)) + "\n")
    rows = [(one.entry_id, one.epoch, one.report_id.hex()) for one in held]
    made = table("entries to withdraw", ("entry", "epoch", "report"), rows)
    return Found([dict(zip(("entry_id", "epoch", "report"), row, strict=True)) for row in rows], (made,))


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
