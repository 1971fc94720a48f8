"""`blindmatch log`: the log of epochs and its witnesses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from blindmatch_proofs.epoch import DAY_S
from blindmatch_proofs.tlog_proof import TlogProof

from blindmatch_simulations.cli.commands import Commands, Found, found
from blindmatch_simulations.cli.console import DeployedDesignOption
from blindmatch_simulations.testbed.deployment.deployed_design import design_of
from blindmatch_simulations.testbed.deployment.epoch_log import renew as renew_proof
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.registry import load_design
from blindmatch_simulations.testbed.deployment.transparency import (
    EPOCHS,
    NO_LOG,
    WITNESSES_MOST,
    TransparencyLog,
    make_log,
    read_log,
)

app = Commands(no_args_is_help=True)
NONE = "none: no device can tell whether others are given the same epoch"


@app.command("init")
def init(
    deployment: Deployment,
    witnesses: Annotated[int, typer.Option(min=1, max=WITNESSES_MOST, help="How many.")] = 2,
    needed: Annotated[
        int | None, typer.Option(min=1, help="Operators of witnesses that must cosign [default: all].")
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="How old a cosignature may be.")] = 7,
) -> Found:
    """Give the deployment a log and witnesses, before its first epoch is built.

    Devices that are registered from now on pin keys, quorum and age, and take no epoch that is not logged.
    """
    log = make_log(deployment, witnesses, needed or witnesses, days * DAY_S)
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
    result = {
        "log": log.name, "key": log.public.hex(), "epochs": log.origin(EPOCHS, "DESIGN"),
        "needed": log.needed, "most_age_s": log.most_age_s, "witnesses": keys,
    }  # fmt: skip
    shown = {name: value for name, value in result.items() if name != "most_age_s"}
    shown |= {"oldest cosignature": f"{log.most_age_s // DAY_S} days", "witnesses": ", ".join(keys)}
    return found("log", result, shown, *lines)
