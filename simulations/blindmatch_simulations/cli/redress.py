"""`blindmatch device complain|status|forgive`: what was reported and refused, and what users say to that."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from blindmatch_client.complaints import Complaint, ComplaintStage
from blindmatch_client.evidence import Adopted, Evidence
from blindmatch_client.reporting import ReportStanding

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.console import HomeOption, JsonOption, console_for, details, table, write_json
from blindmatch_simulations.cli.triage import ReportArgument, id_of
from blindmatch_simulations.cli.unlocking import NameArgument, opened


def complain(
    name: NameArgument,
    report: ReportArgument,
    text: Annotated[str, typer.Option(help="What is wrong with it, in one line.")],
    home: HomeOption = None,
    json_path: JsonOption = None,
) -> None:
    """Complain at the centre about REPORT, whose number a notice names. The centre answers with a message.

    It leaves at once, whatever cover schedule reports are on. If the centre cannot be reached it is kept, for
    `flush`; the exit code is 7 then. The same words again are the same complaint, and show what was decided.
    """
    report_id = id_of(report)
    with opened(home, name) as device:
        made = device.complaints.complain(report_id, text)
    result = described_complaint(made)
    console = console_for(json_path)
    console.print(details("complaint", result))
    if made.stage is ComplaintStage.WAITING:
        console.print(
            f"note: The complaint waits on this device: {made.words}. "
            f"blindmatch device flush {name} sends it.",
            soft_wrap=True,
            markup=False,
        )
    write_json(result, json_path)
    if made.stage is ComplaintStage.WAITING:
        raise typer.Exit(exit_codes.UNREACHABLE)


def status(name: NameArgument, home: HomeOption = None, json_path: JsonOption = None) -> None:
    """Show what waits on the device, the set it adopted, what it refused, and what became of its reports and
    complaints; nothing is sent."""
    with opened(home, name) as device:
        found = device.standing()
    result: dict[str, Any] = {
        "waiting_messages": found.messages,
        "distrust": found.distrust,
        "adopted": None if found.adopted is None else _described_epoch(found.adopted),
        "evidence": [_described_evidence(one) for one in found.evidence],
        "reports": [_described_report(one) for one in found.reports],
        "complaints": [described_complaint(one) for one in found.complaints],
    }
    console = console_for(json_path)
    shown = {"waiting messages": found.messages, "matcher": found.distrust or "trusted"}
    console.print(details(name, shown | (result["adopted"] or {})))
    if found.evidence:
        seen = [(_time(one.found_at_ms), str(one.kind), one.epoch, one.words) for one in found.evidence]
        console.print(table("refused", ("seen", "what", "epoch", "in words"), seen))
    if found.distrust is not None:
        console.print(
            f"note: blindmatch device forgive {name} lets the matcher be asked again.", markup=False
        )
    if found.reports:
        rows = [tuple(_described_report(one).values()) for one in found.reports]
        console.print(table("reports", ("report", "made", "stage"), rows))
    if found.complaints:
        told = [(one.report_id.hex(), str(one.stage), one.text, one.words or "-") for one in found.complaints]
        console.print(table("complaints", ("about", "stage", "text", "answer"), told))
    write_json(result, json_path)


def forgive(name: NameArgument, home: HomeOption = None, json_path: JsonOption = None) -> None:
    """Ask a matcher that cheated again, and use a set that failed; no older set is taken for all that."""
    with opened(home, name) as device:
        was = device.distrust
        device.trust_again()
    console_for(json_path).print(details(f"{name} asks again", {"matcher was": was or "trusted"}))
    write_json({"account": name, "distrust": was}, json_path)


def _described_epoch(one: Adopted) -> dict[str, Any]:
    manifest = one.signed.manifest
    until = _time(1000 * manifest.valid_until)
    held = {"epoch": manifest.epoch, "manifest": manifest.digest.hex(), "valid_until": until}
    return held | {"fault": one.fault}


def _described_evidence(one: Evidence) -> dict[str, Any]:
    """Evidence as JSON, with the whole manifests for whoever examines them."""
    told = {"kind": str(one.kind), "epoch": one.epoch, "words": one.words, "seen": _time(one.found_at_ms)}
    return told | {"shown": one.shown.hex(), "held": one.held.hex()}


def described_complaint(one: Complaint) -> dict[str, Any]:
    """A complaint as JSON."""
    return {
        "complaint": one.complaint_id.hex(),
        "report": one.report_id.hex(),
        "made": _time(one.made_at_ms),
        "stage": str(one.stage),
        "text": one.text,
        "answer": one.words,
    }


def _described_report(one: ReportStanding) -> dict[str, Any]:
    stage = "waiting"
    if one.received_at_ms is not None:
        stage = "at the centre"
    elif one.fragments_sent:
        stage = f"{one.fragments_sent} slots sent"
    return {"report": one.report_id.hex(), "made": _time(one.made_at_ms), "stage": stage}


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(" ", "seconds").removesuffix("+00:00")
