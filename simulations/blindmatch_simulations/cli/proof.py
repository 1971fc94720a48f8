"""`blindmatch log`, `proof` and `report verify`: the log, and what is checked with files alone."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import typer
from blindmatch_client.epochs.transparency import build_split_view
from blindmatch_client.epochs.trusted import Kind
from blindmatch_proofs.absence import AbsenceProof, open_setup, verify_absence, verify_files
from blindmatch_proofs.epoch import (
    DAY_S,
    EpochLeaf,
    EpochPolicy,
    SplitView,
    verify_leaf,
    verify_logged,
    verify_origin,
)
from blindmatch_proofs.report_evidence import Known, NotShown, ReportEvidence, Shown, verify_evidence
from blindmatch_proofs.tlog import HEADER, Policy, TlogProof
from blindmatch_proofs.verdict import Failed, Passed, Verdict
from blindmatch_protocol.codec.errors import BlindmatchError, PictureError, ProtocolError
from blindmatch_protocol.picture.decode import Picture
from blindmatch_server.epochs.published import LEAF, PROOF, Publication, open_publication
from blindmatch_server.storage.files import read_key

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.commands import Commands, Found, found
from blindmatch_simulations.cli.console import DeployedDesignOption, HomeOption, say, table, writable
from blindmatch_simulations.cli.device_status import NameArgument, opened
from blindmatch_simulations.cli.list_build import judged
from blindmatch_simulations.measure.output_file import write_file
from blindmatch_simulations.testbed.deployment.curating import renew as renew_proof
from blindmatch_simulations.testbed.deployment.devices import Settings
from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError, home_from
from blindmatch_simulations.testbed.deployment.registry import design_of, load_design
from blindmatch_simulations.testbed.deployment.transparency import (
    COUNTS,
    EPOCHS,
    NO_LOG,
    WITNESSES_MOST,
    TransparencyLog,
    foreign_of,
    make_log,
    policy_at,
    read_log,
)

log_app = Commands(no_args_is_help=True)
app = Commands(no_args_is_help=True)
NONE = "none: no device can tell whether others are given the same epoch"


@log_app.command("init")
def init(
    deployment: Deployment,
    witnesses: Annotated[int, typer.Option(min=0, max=WITNESSES_MOST, help="How many.")] = 2,
    needed: Annotated[
        int | None, typer.Option(min=1, help="Operators of witnesses that must cosign [default: all].")
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="How old a cosignature may be.")] = 7,
    foreign: Annotated[
        Path | None,
        typer.Option(help="A tlog-policy of more witnesses, which others run, each with an https URL."),
    ] = None,
    roots: Annotated[
        Path | None, typer.Option(help="PEM certificates that those chain to [default: the system's].")
    ] = None,
) -> Found:
    """Give the deployment a log and witnesses, before its first epoch is built.

    Devices that are registered from now on pin keys, quorum and age, and take no epoch that is not logged.
    """
    others = () if foreign is None else foreign_of(_read_policy(foreign))
    trusted = "" if roots is None else _read_bytes(roots).decode(errors="replace")
    log = make_log(deployment, witnesses, needed, days * DAY_S, others, trusted)
    return _found(log)


@log_app.command("show")
def show(
    deployment: Deployment,
    design: DeployedDesignOption = None,
    policy: Annotated[
        Path | None, typer.Option(help="Write what devices of the design pin into this file (tlog-policy).")
    ] = None,
) -> Found:
    """Show the log: name, key, witnesses; and write the policy that devices of a design pin."""
    log = read_log(deployment)
    if policy is None:
        return _found(log)
    if log is None:
        raise typer.BadParameter("--policy needs a log, which this deployment has none of (log init)")
    name = load_design(design_of(deployment, design)).info.name
    write_file(policy, log.pinned(name).policy.text.encode())
    return _found(log, f"written: {policy}, which devices of {name} pin")


@log_app.command("renew")
def renew(deployment: Deployment, design: DeployedDesignOption = None) -> Found:
    """Have the served epoch's proof cosigned anew; do it well before a cosignature is too old for devices."""
    logged = renew_proof(deployment, load_design(design_of(deployment, design)))
    proof = TlogProof.parse(logged.proof)
    return found("log", {"epoch": proof.index + 1, "cosignatures": len(proof.note.signatures) - 1})


def _found(log: TransparencyLog | None, *lines: str) -> Found:
    if log is None:
        return found("log", {"log": NO_LOG}, {"log": NONE})
    keys = {party.server: key.text for party, key in log.witnesses.items()}
    keys |= {one.key.name: one.key.text for one in log.foreign}
    result = {
        "log": log.name, "key": log.public.hex(), "epochs": log.origin(EPOCHS, "DESIGN"),
        "needed": log.needed, "most_age_s": log.most_age_s, "witnesses": keys,
    }  # fmt: skip
    shown = {name: value for name, value in result.items() if name != "most_age_s"}
    shown["counts"] = log.key(log.origin(COUNTS)).text
    shown |= {"oldest cosignature": f"{log.most_age_s // DAY_S} days", "witnesses": ", ".join(keys)}
    return found("log", result, shown, *lines)


_TWO_VIEWS: Final = frozenset({Kind.SPLIT, Kind.UNCONTINUED})
"""Evidence of two checkpoints; of two sizes they show nothing until somebody asks the log for a proof."""
T = TypeVar("T")
ReadKey: TypeAlias = Callable[[], bytes]
"""Returns the curator's public key; called only when the key is needed."""


class ProofError(BlindmatchError):
    """A file is neither evidence nor a proof, or a file that belongs to it is missing."""


def verify_of_log(file: Path, policy: Path | None, key: ReadKey, at: datetime | None, days: int) -> Found:
    """Verify a log's proof of the `epoch.leaf` beside it, or evidence of a split view.

    Evidence shows two histories that the log signed, and the witnesses that cosigned both. If it has two
    leaves, it also shows which party caused the split.
    """
    raw = _read_bytes(file)
    own_policy = _read_policy(policy)
    if raw.startswith(HEADER.encode()):
        result = _verify_epoch(file, EpochPolicy(own_policy, days * DAY_S), key(), at)
    else:
        result = _verify_split(raw, own_policy, key)
    return found(file.name, result, code=exit_codes.OK if result["verified"] else exit_codes.WRONG)


@app.command("export")
def export(
    deployment: Deployment,
    device: Annotated[str, typer.Argument(help="The device's name.")],
    folder: Annotated[Path, typer.Argument(help="A new folder for the files.")],
) -> None:
    """Write a device's evidence of split views into files that anyone can verify."""
    pinned = Settings.read(deployment, device).log
    with opened(deployment, device) as of_device:
        split = [one for one in of_device.standing().evidence if one.kind in _TWO_VIEWS]
    if pinned is None or not split:
        raise ProofError(f"{device} has no evidence of a split view")
    folder.mkdir(parents=True)
    for number, evidence in enumerate(split, 1):
        path = folder / f"split-view-{number}.json"
        write_file(path, build_split_view(pinned, evidence.shown, evidence.held).encode())
        say(str(path))


def _verify_epoch(file: Path, pinned: EpochPolicy, curator: bytes, at: datetime | None) -> dict[str, Any]:
    proof = TlogProof.parse(_read_bytes(file))
    epoch = EpochLeaf.decode(_read_bytes(file.with_suffix(".leaf")))
    now = int((at.replace(tzinfo=UTC) if at else datetime.now(UTC)).timestamp())
    manifest = epoch.manifest
    seen = verify_logged(epoch, proof, pinned, now)
    result: dict[str, Any] = {"kind": "epoch", "design": manifest.design, "epoch": manifest.epoch}
    for verdict in (epoch.verify(curator), seen, verify_origin(proof.head, manifest.design)):
        if isinstance(verdict, Failed):
            return {**result, "verified": False, "why": verdict.reason}
    assert not isinstance(seen, Failed)
    return {**result, "verified": True, "witnesses": ", ".join(sorted(seen.witnesses))}


def _verify_split(raw: bytes, held: Policy, key: ReadKey) -> dict[str, Any]:
    split = SplitView.parse(raw)
    log = held.logs.get(split.log.name)
    if log is None:
        return {"kind": "split view", "verified": False, "why": f"{split.log.name} is no log of the policy"}
    match split.verify(log):
        case Failed(reason):
            return {"kind": "split view", "verified": False, "why": reason}
    both = ", ".join(split.list_cosigners(held.witnesses)) or "none in these files"
    result = {"kind": "split view", "verified": True, "log": log.name, "cosigned both": both}
    return result | ({"whose doing": split.name_culprit(key())} if split.has_two_leaves else {})


def _read_policy(path: Path | None) -> Policy:
    if path is None:
        raise typer.BadParameter(
            "a policy is needed: blindmatch log show --design NAME --policy FILE writes it"
        )
    return Policy.parse(_read_bytes(path).decode(errors="replace"))


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProofError(f"{path}: {error.strerror}") from error


@app.command("absence")
def absence(
    deployment: Deployment,
    name: NameArgument,
    picture: Annotated[Path, typer.Argument(help="The picture's file.")],
    out: Annotated[Path, typer.Argument(callback=writable, help="The file to write.")],
    recipient: Annotated[str, typer.Option("--to", help="Who gets the picture, in an ordinary message.")],
) -> Iterator[Found]:
    """Send a picture as any other, and prove that its hash is not on the list if it is not.

    A match has its ordinary consequence, and there is no proof. Else the device asks once more, for no
    message; both count against the limits of a key. The file opens the hash, and the second session's blinds.
    """
    with opened(deployment, name) as device:
        earlier = {one.number for one in device.outcomes()}
        try:
            proof = device.prove_absence(recipient, picture.read_bytes())
        except PictureError as error:
            raise PictureError(f"{picture}: {error}; nothing was sent") from error
        write_file(out, proof.encode())
        manifest = proof.signed.manifest
        about = {"design": manifest.design, "epoch": manifest.epoch}
        yield found("absent", {"file": str(out), "bytes": len(proof.encode()), **about})
        device.mark_shown(one for one in device.outcomes() if one.number not in earlier)


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

    if _read_bytes(file).startswith((HEADER.encode(), b"{")):  # a log's proof, or its evidence
        return verify_of_log(file, policy, key, at, days)
    deployment = Deployment.open(home_from(home))
    proof = _decode_file(file, AbsenceProof.decode, "proof of absence")
    manifest = proof.signed.manifest
    publication = open_publication(deployment.published(manifest.design), manifest.epoch, roles=())
    item = None if picture is None else Picture.from_bytes(picture.read_bytes())
    verdicts = _verify_absence(proof, publication, key(), item)
    if policy is not None:
        pinned = EpochPolicy(_read_policy(policy), days * DAY_S)
        logged = _verify_epoch(publication.folder / PROOF, pinned, key(), at)
        verdicts["logged"] = Passed() if logged["verified"] else Failed(logged["why"])
    return judged("absence", {"design": manifest.design, "epoch": manifest.epoch}, verdicts)


def _verify_absence(
    proof: AbsenceProof, publication: Publication, curator: bytes, item: Picture | None
) -> dict[str, Verdict]:
    manifest = proof.signed.manifest
    files = publication.setup() | publication.endorsement()
    leaf = EpochLeaf.decode((publication.folder / LEAF).read_bytes())
    verdicts: dict[str, Verdict] = {
        "files": verify_files(proof.signed, curator, files),
        "leaf": verify_leaf(leaf, manifest, curator, None),
    }
    if any(verdict != Passed() for verdict in verdicts.values()):
        return verdicts
    design = load_design(manifest.design)
    try:
        setup = open_setup(design, manifest, files)
    except ProtocolError as error:
        return verdicts | {"set-up": Failed(str(error))}
    return verdicts | {"set-up": Passed(), "session": verify_absence(proof, design, setup, item)}


def _decode_file(file: Path, decode: Callable[[bytes], T], what: str) -> T:
    try:
        return decode(_read_bytes(file))
    except ProtocolError as error:
        raise DeploymentError(f"{file.name} is no {what}: {error}") from error


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
    evidence = _decode_file(file, ReportEvidence.decode, "evidence of a report")
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


def says(evidence: ReportEvidence) -> str:
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
