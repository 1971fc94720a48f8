"""`blindmatch proof` and `report verify`: what is checked with files alone (docs/accountability.md)."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from blindmatch_proofs.absence import AbsenceProof, open_setup, verify_absence, verify_files
from blindmatch_proofs.epoch import EpochLeaf, verify_leaf
from blindmatch_proofs.report_evidence import Known, NotShown, ReportEvidence, Shown, verify_evidence
from blindmatch_proofs.tlog_policy import Policy
from blindmatch_proofs.verdict import Failed, Passed, Verdict
from blindmatch_protocol.codec.errors import PictureError, ProtocolError
from blindmatch_protocol.picture.decode import Picture
from blindmatch_server.epochs.published import LEAF, PROOF, Publication, open_publication
from blindmatch_server.storage.key_files import read_key

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.commands import Commands, Found, found
from blindmatch_simulations.cli.console import HomeOption, table, writable
from blindmatch_simulations.cli.device_status import NameArgument, opened
from blindmatch_simulations.cli.list_build import judged
from blindmatch_simulations.cli.log import export, is_of_log, verify_newest, verify_of_log
from blindmatch_simulations.testbed.deployment.endorsement_policy import policy_at
from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError, home_from
from blindmatch_simulations.testbed.deployment.registry import load_design

app = Commands(no_args_is_help=True)

app.command("export")(export)
PictureArgument = Annotated[Path, typer.Argument(help="The picture's file.")]


@app.command("absence")
def absence(
    deployment: Deployment,
    name: NameArgument,
    picture: PictureArgument,
    out: Annotated[Path, typer.Argument(callback=writable, help="The file to write.")],
    recipient: Annotated[str, typer.Option("--to", help="Who gets the picture, in an ordinary message.")],
) -> Found:
    """Send a picture as any other, and prove that its hash is not on the list if it is not.

    A match has its ordinary consequence, and there is no proof. Else the device asks once more, for no
    message; both count against the limits of a key. The file opens the hash, and the second session's blinds.
    """
    with opened(deployment, name) as device:
        try:
            proof = device.prove_absence(recipient, picture.read_bytes())
        except PictureError as error:
            raise PictureError(f"{picture}: {error}; nothing was sent") from error
    out.write_bytes(proof.encode())
    manifest = proof.signed.manifest
    result = {
        "file": str(out),
        "bytes": len(proof.encode()),
        "design": manifest.design,
        "epoch": manifest.epoch,
    }
    return found("absent", result)


@app.command("verify")
def verify(
    file: Annotated[
        Path, typer.Argument(help="What `proof absence` or `proof export` wrote, or an epoch's epoch.proof.")
    ],
    picture: Annotated[
        Path | None, typer.Option(help="The picture that it must be of; a near design needs it.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="For what a log shows: the verifier's own tlog-policy file.")
    ] = None,
    at: Annotated[datetime | None, typer.Option(help="When cosignatures must be fresh; else now.")] = None,
    days: Annotated[int, typer.Option(min=1, help="How old a cosignature may be.")] = 7,
    curator: Annotated[
        Path | None, typer.Option(help="The curator's public key, curator.pub; else the deployment's.")
    ] = None,
    home: HomeOption = None,
) -> Found:
    """Verify a proof of absence with the set-up files of its epoch and the curator's public key. Asks nobody.

    With --policy also that the epoch is everybody's: a curator can sign another one for whoever doubts.
    Or, of files of a log: that an epoch is the newest leaf of a log, signed by the curator and cosigned by a
    quorum; or that a log showed two histories. Exit code 1 if it does not hold.
    """

    def key() -> bytes:
        return read_key(curator) if curator else Deployment.open(home_from(home)).curator_public_key()

    if is_of_log(file):
        return verify_of_log(file, policy, key, at, days)
    deployment, proof = Deployment.open(home_from(home)), _read(file)
    manifest = proof.signed.manifest
    publication = open_publication(deployment.published(manifest.design), manifest.epoch, roles=())
    item = None if picture is None else Picture.from_bytes(picture.read_bytes())
    verdicts = _verified(proof, publication, key(), item)
    if policy is not None:
        verdicts["logged"] = verify_newest(publication.folder / PROOF, policy, key, at, days)
    return judged("absence", {"design": manifest.design, "epoch": manifest.epoch}, verdicts)


def _verified(
    proof: AbsenceProof, publication: Publication, curator: bytes, item: Picture | None
) -> dict[str, Verdict]:
    manifest, files = proof.signed.manifest, publication.setup() | publication.endorsement()
    leaf = EpochLeaf.decode((publication.folder / LEAF).read_bytes())
    verdicts: dict[str, Verdict] = {
        "files": verify_files(proof.signed, curator, files),
        "leaf": verify_leaf(leaf, manifest, curator, None),
    }
    if any(one != Passed() for one in verdicts.values()):
        return verdicts
    design = load_design(manifest.design)
    try:
        setup = open_setup(design, manifest, files)
    except ProtocolError as error:
        return verdicts | {"set-up": Failed(str(error))}
    return verdicts | {"set-up": Passed(), "session": verify_absence(proof, design, setup, item)}


def _read(file: Path) -> AbsenceProof:
    try:
        return AbsenceProof.decode(file.read_bytes())
    except (OSError, ProtocolError) as error:
        raise DeploymentError(f"{file.name} is no proof of absence: {error}") from error


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
    to = f" to {one.recipient}" if one.recipient else " to none named" if one.opening else ""
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
