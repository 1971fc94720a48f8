"""`blindmatch device relock`: another passphrase or key file for a device's store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from blindmatch_simulations.cli.commands import Found, found
from blindmatch_simulations.cli.unlocking import NameArgument, asked
from blindmatch_simulations.cli.unlocking import passphrase as asked_for
from blindmatch_simulations.deployment.device_settings import PASSPHRASE
from blindmatch_simulations.deployment.folder import Deployment
from blindmatch_simulations.deployment.relocking import current_kind
from blindmatch_simulations.deployment.relocking import relock as lock_again

NEW_VARIABLE: Final = "BLINDMATCH_NEW_PASSPHRASE"


def relock(
    deployment: Deployment,
    name: NameArgument,
    key_file: Annotated[
        Path | None, typer.Option(help="Lock the store with this file, made if missing.")
    ] = None,
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help=f"Lock it with ${NEW_VARIABLE}, or ask.")
    ] = False,
    key_beside: Annotated[
        bool, typer.Option("--key-beside", help="Lock it with a file beside it, which protects nothing.")
    ] = False,
) -> Found:
    """Change what the device's store is locked with; if it is killed, the old key works or the new one.

    A passphrase that locks it now is read from $BLINDMATCH_PASSPHRASE, or asked for. An older copy of the
    device's folder still opens with the old key.
    """
    if (key_file is not None) + passphrase + key_beside != 1:
        raise typer.BadParameter("give one of --passphrase, --key-file and --key-beside")
    old = asked_for() if current_kind(deployment, name) == PASSPHRASE else None
    lock_again(deployment, name, key_file, _new_passphrase() if passphrase else None, old)
    what = PASSPHRASE if passphrase else str(key_file.absolute()) if key_file else "a key file beside it"
    return found("relocked", {"account": name, "locked_with": what})


def _new_passphrase() -> str:
    """From the environment, else asked for twice."""
    return os.environ.get(NEW_VARIABLE) or asked("New passphrase", NEW_VARIABLE, confirm=True)
