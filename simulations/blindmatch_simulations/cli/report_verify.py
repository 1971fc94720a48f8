"""`blindmatch report verify`: what the file of a report of a match shows, offline."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from blindmatch_proofs.report_evidence import Known, NotShown, ReportEvidence, Shown, verify_evidence
from blindmatch_proofs.tlog_policy import Policy
from blindmatch_proofs.verdict import Failed
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_server.storage.key_files import read_key

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.commands import Commands, Found
from blindmatch_simulations.cli.console import table
from blindmatch_simulations.testbed.deployment.endorsement_policy import policy_at
from blindmatch_simulations.testbed.deployment.folder import DeploymentError

COLUMNS = ("what", "verdict", "why")

report_app = Commands(no_args_is_help=True)


@report_app.callback()
def group() -> None:
    """What there is beside drawing a folder."""


@report_app.command("verify")
def verify_report(
    file: Annotated[Path, typer.Argument(help="Evidence that `centre export` wrote, or an authority got.")],
    identity: Annotated[
        str, typer.Option(help="The sender's identity key, 64 hex digits, as somebody you trust says it is.")
    ] = "",
    curator: Annotated[Path | None, typer.Option(help="The curator's public key: curator.pub.")] = None,
    log_policy: Annotated[Path | None, typer.Option(help="A C2SP policy of the log of epochs.")] = None,
    judge_key: Annotated[Path | None, typer.Option(help="As the centre: its judge.key.")] = None,
    stamp_key: Annotated[Path | None, typer.Option(help="As the centre or the relay: stamp.key.")] = None,
    endorsement_policy: Annotated[
        Path | None, typer.Option(help="Who must endorse entries: the deployment's endorsement.json.")
    ] = None,
) -> Found:
    """What a report's file shows, offline, to somebody with these keys; the mode of franking decides.

    The exit code is 1 if something does not hold. What cannot be looked at is not shown, whatever the rest.
    """
    evidence = _read_report(file)
    if not re.fullmatch("([0-9a-f]{64})?", identity):
        raise typer.BadParameter("--identity is 64 hex digits, in lower case")
    ours, judge, stamp = (b"" if path is None else read_key(path) for path in (curator, judge_key, stamp_key))
    log = None if log_policy is None else Policy.parse(log_policy.read_text(errors="replace"))
    policy = None if log is None else (log, int(time.time()))
    endorsers = None if endorsement_policy is None else policy_at(endorsement_policy)
    known = Known(bytes.fromhex(identity), ours, policy, judge, stamp, endorsers)
    verdicts = verify_evidence(evidence, known)
    rows = [(name, *_words(shown)) for name, shown in verdicts.items()]
    made = table(f"report {evidence.report.report_id.hex()}: {says(evidence)}", COLUMNS, rows)
    wrong = any(isinstance(shown, Failed) for shown in verdicts.values())
    return Found(described(evidence, verdicts), (made,), exit_codes.WRONG if wrong else exit_codes.OK)


def _read_report(file: Path) -> ReportEvidence:
    try:
        return ReportEvidence.decode(file.read_bytes())
    except ProtocolError as error:
        raise DeploymentError(f"{file.name} is no evidence of a report: {error}") from error


def says(evidence: ReportEvidence) -> str:
    """What the report says, in one line."""
    one = evidence.report
    to = f" to {one.recipient}" if one.recipient else ""
    return f"{one.sender}{to}, entry {one.label.entry_id} of epoch {one.epoch}, mode {evidence.mode}"


def described(evidence: ReportEvidence, found: Mapping[str, Shown]) -> dict[str, Any]:
    """The verdicts as JSON, with what they are about."""
    one = evidence.report
    return {
        "report": one.report_id.hex(),
        "mode": evidence.mode,
        "sender": one.sender,
        "recipient": one.recipient,
        "sent_at_ms": one.sent_at_ms,
        "taken_at_ms": one.stamp[0].accepted_at_ms if one.stamp else None,
        "design": one.design,
        "epoch": one.epoch,
        "entry_id": one.label.entry_id,
        "identity_key": evidence.identity[0].hex() if evidence.identity else None,
        "shown": {
            name: dict(zip(("verdict", "why"), _words(one), strict=True)) for name, one in found.items()
        },
    }


def _words(shown: Shown) -> tuple[str, str]:
    match shown:
        case Failed(reason):
            return "failed", reason
        case NotShown(reason):
            return "not shown", reason
        case _:
            return "passed", ""
