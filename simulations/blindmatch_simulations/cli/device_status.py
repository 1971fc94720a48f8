"""Commands of a device that is there: its state, complaints, and whom it trusts."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from blindmatch_client.device import Device
from blindmatch_client.epochs.trusted import Adopted, Doubt, Evidence
from blindmatch_client.messages.contacts import Contact, group_digits
from blindmatch_client.reports.complaints import Complaint, ComplaintState
from blindmatch_client.reports.reporting import KeptReport
from blindmatch_protocol.codec.errors import BlindmatchError
from rich.table import Table

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.commands import Found, found
from blindmatch_simulations.cli.console import details, moment, table
from blindmatch_simulations.cli.device_outcomes import described as described_outcome
from blindmatch_simulations.cli.device_outcomes import not_shown_yet
from blindmatch_simulations.testbed.deployment.devices import (
    UNLOCK_VARIABLE,
    Settings,
    open_device,
)
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.deployment.transparency import words_of, words_of_log

ReportArgument = Annotated[str, typer.Argument(help="A report's id, 32 hex digits.")]
NameArgument = Annotated[str, typer.Argument(help="The device, e.g. alice.")]


class ReportIdError(BlindmatchError):
    """A report's id is not one."""


def id_of(text: str, what: str = "report") -> bytes:
    """An id as it is printed; `ReportIdError` if it is none."""
    if not re.fullmatch(r"[0-9a-fA-F]{32}", text):
        raise ReportIdError(f"{what}: must be 32 hex digits")
    return bytes.fromhex(text)


def asked_passphrase() -> str:
    """From the environment, else asked for at the terminal; `BadParameter` if there is nobody to ask."""
    if given := os.environ.get(UNLOCK_VARIABLE):
        return given
    try:
        return str(typer.prompt("Passphrase", hide_input=True, err=True))
    except typer.Abort:
        if sys.stdin is not None and sys.stdin.isatty():
            raise KeyboardInterrupt from None
        raise typer.BadParameter(f"no passphrase: set ${UNLOCK_VARIABLE}, or use a terminal") from None


@contextmanager
def opened(deployment: Deployment, name: str) -> Iterator[Device]:
    """The device called `name`; it is closed at the end."""
    secret = asked_passphrase() if Settings.read(deployment, name).options.passphrase else None
    device = open_device(deployment, name, secret).device
    try:
        yield device
    finally:
        device.close()


def complain(
    deployment: Deployment,
    name: NameArgument,
    report: ReportArgument,
    text: Annotated[str, typer.Option(help="What is wrong with it, in one line.")],
) -> Found:
    """Complain at the centre about REPORT, whose number a notice names. The centre answers with a message.

    It leaves at once, whatever cover schedule reports are on. If the centre cannot be reached it is kept, for
    `flush`; the exit code is 7 then. The same words again are the same complaint, and show what was decided.
    """
    report_id = id_of(report)
    with opened(deployment, name) as device:
        made = device.complaints.complain(report_id, text)
    if made.stage != ComplaintState.WAITING:
        return found("complaint", described_complaint(made))
    note = f"note: The complaint waits on this device: {made.words}. blindmatch device flush {name} sends it."
    return found("complaint", described_complaint(made), None, note, code=exit_codes.UNREACHABLE)


def status(deployment: Deployment, name: NameArgument) -> Found:
    """Show what waits on the device, what came of messages and was not shown yet, the set it adopted, what it
    refused, and what became of its reports and complaints; nothing is sent."""
    with opened(deployment, name) as device:
        held = device.standing()
        ended = device.outcomes()
    settings = Settings.read(deployment, name)
    result: dict[str, Any] = {
        "waiting_messages": held.messages,
        "waiting_vouchers": held.vouchers,
        "distrust": held.distrust,
        "log_distrust": held.log_distrust,
        **described_policies(settings),
        "adopted": None if held.adopted is None else _described_epoch(held.adopted),
        "evidence": [_described_evidence(one) for one in held.evidence],
        "reports": [_described_report(one) for one in held.reports],
        "complaints": [described_complaint(one) for one in held.complaints],
        "outcomes": [described_outcome(one) for one in ended],
    }
    info = load_design(settings.design).info
    first: dict[str, Any] = {"waiting messages": held.messages}
    if info.vouching is not None:
        first["waiting vouchers"] = held.vouchers
    if info.roles:
        first["matcher"] = held.distrust or "trusted"
    first |= {key: result[key] for key in ("endorsement", "log")} | (result["adopted"] or {})
    if held.log_distrust is not None:
        first["log"] = held.log_distrust
    shown: list[Table | str] = [details(name, first)]
    shown += not_shown_yet(ended, name)
    if info.vouching is not None:
        tells = info.vouching.tells
        opens = info.vouching.opened
        shown.append(f"note: What this device hands the centre tells it {tells}. It opens {opens}.")
    if held.evidence:
        seen = [(moment(one.found_at_ms), str(one.kind), one.epoch, one.words) for one in held.evidence]
        shown.append(table("refused", ("seen", "what", "epoch", "in words"), seen))
    if held.distrust is not None:
        shown.append(f"note: blindmatch device forgive {name} lets the matcher be asked again.")
    if held.log_distrust is not None:
        shown.append(f"note: blindmatch device trust-log {name} goes on with the log.")
    if held.reports:
        rows = [tuple(one.values()) for one in result["reports"]]
        shown.append(table("reports", ("report", "made", "stage"), rows))
    if held.complaints:
        told = [(one.report_id.hex(), str(one.stage), one.text, one.words or "-") for one in held.complaints]
        shown.append(table("complaints", ("about", "stage", "text", "answer"), told, ("about",)))
    return Found(result, shown)


def forgive(deployment: Deployment, name: NameArgument) -> Found:
    """Ask a matcher that cheated again, and use a set that failed; no older set is taken for all that.

    What the device holds against the log stays: for that there is `trust-log`.
    """
    with opened(deployment, name) as device:
        was = device.distrust
        device.forgive(Doubt.ROLES)
        shown = {"matcher was": was or "trusted", "log": device.log_distrust or "trusted"}
    return found(f"{name} asks again", {"account": name, "distrust": was}, shown)


def trust_log(deployment: Deployment, name: NameArgument) -> Found:
    """Go on with a log that showed two histories, and let go of what peers told of it.

    Somebody may be shown another list than others are: show what `status` keeps to whoever oversees the list
    first. A matcher that cheated stays distrusted: for that there is `forgive`.
    """
    with opened(deployment, name) as device:
        was = device.log_distrust
        device.forgive(Doubt.LOG)
        shown = {"log was": was or "trusted", "matcher": device.distrust or "trusted"}
    return found(f"{name} goes on with the log", {"account": name, "log_distrust": was}, shown)


def described_policies(held: Settings) -> dict[str, str]:
    """The policies that a device has, in words."""
    return {"log": words_of_log(held.log), "endorsement": words_of(held.endorsement)}


def _described_epoch(one: Adopted) -> dict[str, Any]:
    manifest = one.signed.manifest
    until = moment(1000 * manifest.valid_until)
    held = {"epoch": manifest.epoch, "manifest": manifest.digest.hex(), "valid_until": until}
    return held | {"fault": one.fault}


def _described_evidence(one: Evidence) -> dict[str, Any]:
    told = {"kind": str(one.kind), "epoch": one.epoch, "words": one.words, "seen": moment(one.found_at_ms)}
    return told | {"shown": one.shown.hex(), "held": one.held.hex()}


def described_complaint(one: Complaint) -> dict[str, Any]:
    return {
        "complaint": one.complaint_id.hex(),
        "report": one.report_id.hex(),
        "made": moment(one.made_at_ms),
        "stage": str(one.stage),
        "text": one.text,
        "answer": one.words,
    }


def _described_report(one: KeptReport) -> dict[str, Any]:
    stage = "waiting"
    if one.received_at_ms:
        stage = "at the centre"
    elif one.fragments_sent:
        stage = f"{one.fragments_sent} slots sent"
    return {"report": one.report_id.hex(), "made": moment(one.made_at_ms), "stage": stage}


def fingerprint(
    deployment: Deployment,
    name: NameArgument,
    peer: Annotated[str | None, typer.Argument(help="The other account; left out: all of them.")] = None,
) -> Found:
    """Show the safety number with PEER, to compare by other means: read it out, or hold the screens together.

    The same 60 digits must stand on both sides. A PEER that is not known yet is asked for at the relay.
    """
    with opened(deployment, name) as device:
        known = device.contacts.list_all() if peer is None else [device.contacts.look_up(peer)]
    standing = {True: "compared", False: "not compared"}
    rows = [(one.peer, group_digits(one.number), standing[one.verified]) for one in known]
    rows += [(one.peer, group_digits(one.offered), "another key, refused") for one in known if one.offered]
    made = table(f"safety numbers of {name}", ("with", "number", "key"), rows)
    return Found([_described(one) for one in known], (made,))


def trust(
    deployment: Deployment,
    name: NameArgument,
    peer: Annotated[str, typer.Argument(help="The other account, e.g. bob.")],
    number: Annotated[str, typer.Option(help="The 60 digits that PEER sees; blanks do not matter.")],
) -> Found:
    """Take PEER's key as compared, if NUMBER is its safety number; from then on any other is refused.

    After PEER's key has changed, the number of the new key puts it in the old one's place. Any other number
    changes nothing.
    """
    with opened(deployment, name) as device:
        known = device.contacts.trust(peer, number)
    return found("trusted", _described(known), {"peer": known.peer, "number": group_digits(known.number)})


def _described(one: Contact) -> dict[str, Any]:
    return {
        "peer": one.peer,
        "number": one.number,
        "verified": one.verified,
        "offered": one.offered or None,
    }
