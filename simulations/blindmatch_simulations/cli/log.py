"""`blindmatch log`: the log of epochs and its witnesses; and what of it `blindmatch proof` verifies."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer
from blindmatch_client.epochs.transparency import evidence_file
from blindmatch_client.epochs.trusted import Kind
from blindmatch_proofs.epoch import DAY_S, EpochLeaf, EpochPolicy, verify_logged, verify_origin
from blindmatch_proofs.split_view import SplitView
from blindmatch_proofs.tlog_policy import Policy
from blindmatch_proofs.tlog_proof import HEADER, TlogProof
from blindmatch_proofs.verdict import Failed, Passed, Verdict
from blindmatch_protocol.codec.errors import BlindmatchError

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.commands import Commands, Found, found
from blindmatch_simulations.cli.console import DeployedDesignOption, say
from blindmatch_simulations.cli.device_status import opened
from blindmatch_simulations.testbed.deployment.curating import renew as renew_proof
from blindmatch_simulations.testbed.deployment.device_settings import Settings
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.registry import design_of, load_design
from blindmatch_simulations.testbed.deployment.transparency import (
    COUNTS,
    EPOCHS,
    NO_LOG,
    WITNESSES_MOST,
    TransparencyLog,
    foreign_of,
    make_log,
    read_log,
)

app = Commands(no_args_is_help=True)
NONE = "none: no device can tell whether others are given the same epoch"


@app.command("init")
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
    others = () if foreign is None else foreign_of(_policy(foreign))
    trusted = "" if roots is None else _read(roots).decode(errors="replace")
    log = make_log(deployment, witnesses, needed, days * DAY_S, others, trusted)
    return _found(log)


@app.command("show")
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
    policy.write_text(log.pinned(name).policy.text)
    return _found(log, f"written: {policy}, which devices of {name} pin")


@app.command("renew")
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
ReadKey: TypeAlias = Callable[[], bytes]
"""Gives the curator's public key, once it is needed."""


class ProofError(BlindmatchError):
    """A file is neither evidence nor a proof, or a file that belongs to it is missing."""


def is_of_log(file: Path) -> bool:
    """Whether a file is a log's proof or evidence, by its first bytes."""
    return _read(file).startswith((HEADER.encode(), b"{"))


def verify_of_log(file: Path, policy: Path | None, key: ReadKey, at: datetime | None, days: int) -> Found:
    """Verify a log's proof of `epoch.leaf` beside it, or evidence; exit code 1 if it does not hold.

    A split view: two histories that one log signed, with the witnesses that cosigned both and, of two leaves,
    whose doing they are. A proof: that an epoch is the newest leaf of a log, signed by the curator and
    cosigned by a quorum. Beside these the curator's key is read, and nobody is asked.
    """
    raw, held = _read(file), _policy(policy)
    if raw.startswith(HEADER.encode()):
        result = _proven(file, EpochPolicy(held, days * DAY_S), key(), at)
    else:
        result = _split(raw, held, key)
    return found(file.name, result, code=exit_codes.OK if result["verified"] else exit_codes.WRONG)


def verify_newest(file: Path, policy: Path, key: ReadKey, at: datetime | None, days: int) -> Verdict:
    """Whether `verify_of_log` finds that the epoch of a log's proof is the newest one."""
    result = _proven(file, EpochPolicy(_policy(policy), days * DAY_S), key(), at)
    return Passed() if result["verified"] else Failed(result["why"])


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
    for number, one in enumerate(split, 1):
        path = folder / f"split-view-{number}.json"
        path.write_bytes(evidence_file(pinned, one.shown, one.held).encode())
        say(str(path))


def _proven(file: Path, pinned: EpochPolicy, curator: bytes, at: datetime | None) -> dict[str, Any]:
    proof, epoch = TlogProof.parse(_read(file)), EpochLeaf.decode(_read(file.with_suffix(".leaf")))
    now = int((at.replace(tzinfo=UTC) if at else datetime.now(UTC)).timestamp())
    manifest = epoch.manifest
    seen = verify_logged(epoch, proof, pinned, now)
    result: dict[str, Any] = {"kind": "epoch", "design": manifest.design, "epoch": manifest.epoch}
    for one in (epoch.verify(curator), seen, verify_origin(proof.head, manifest.design)):
        if isinstance(one, Failed):
            return {**result, "verified": False, "why": one.reason}
    assert not isinstance(seen, Failed)
    return {**result, "verified": True, "witnesses": ", ".join(sorted(seen.witnesses))}


def _split(raw: bytes, held: Policy, key: ReadKey) -> dict[str, Any]:
    split = SplitView.parse(raw)
    log = held.logs.get(split.log.name)
    if log is None:
        return {"kind": "split view", "verified": False, "why": f"{split.log.name} is no log of the policy"}
    match split.verify(log):
        case Failed(reason):
            return {"kind": "split view", "verified": False, "why": reason}
    both = ", ".join(split.cosigners(held.witnesses)) or "none in these files"
    result = {"kind": "split view", "verified": True, "log": log.name, "cosigned both": both}
    return result | ({"whose doing": split.blamed(key())} if split.two_leaves else {})


def _policy(path: Path | None) -> Policy:
    if path is None:
        raise typer.BadParameter(
            "a policy is needed: blindmatch log show --design NAME --policy FILE writes it"
        )
    return Policy.parse(_read(path).decode(errors="replace"))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ProofError(f"{path}: {error.strerror}") from error
