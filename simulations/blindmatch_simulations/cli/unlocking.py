"""What locks a device's store: opening it for a command, and `blindmatch device relock`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from blindmatch_client.device import Device

from blindmatch_simulations.cli.commands import Found, found
from blindmatch_simulations.testbed.deployment.device_settings import PASSPHRASE
from blindmatch_simulations.testbed.deployment.devices import UNLOCK_VARIABLE, needs_passphrase, open_device
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.relocking import current_kind
from blindmatch_simulations.testbed.deployment.relocking import relock as lock_again

NEW_VARIABLE: Final = "BLINDMATCH_NEW_PASSPHRASE"

NameArgument = Annotated[str, typer.Argument(help="The device, e.g. alice.")]


def asked_passphrase() -> str:
    """From the environment, else asked for at the terminal."""
    return os.environ.get(UNLOCK_VARIABLE) or asked("Passphrase", UNLOCK_VARIABLE)


def asked(question: str, variable: str, confirm: bool = False) -> str:
    """What a person types, unseen.

    Raises:
        typer.BadParameter: if there is nobody to ask; it names the environment's `variable` instead.
        KeyboardInterrupt: if the person leaves the question.
    """
    try:
        return str(typer.prompt(question, hide_input=True, confirmation_prompt=confirm, err=True))
    except typer.Abort:
        if sys.stdin is not None and sys.stdin.isatty():
            raise KeyboardInterrupt from None
        raise typer.BadParameter(f"no passphrase was given: set ${variable}, or use a terminal") from None


@contextmanager
def opened(deployment: Deployment, name: str) -> Iterator[Device]:
    """The device called `name`; it is closed at the end. Raises what `open_device` raises."""
    secret = asked_passphrase() if needs_passphrase(deployment, name) else None
    device = open_device(deployment, name, secret).device
    try:
        yield device
    finally:
        device.close()


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
    old = asked_passphrase() if current_kind(deployment, name) == PASSPHRASE else None
    new = os.environ.get(NEW_VARIABLE) if passphrase else None
    if passphrase and not new:
        new = asked("New passphrase", NEW_VARIABLE, confirm=True)
    lock_again(deployment, name, key_file, new, old)
    what = PASSPHRASE if passphrase else str(key_file.absolute()) if key_file else "a key file beside it"
    return found("relocked", {"account": name, "locked_with": what})
