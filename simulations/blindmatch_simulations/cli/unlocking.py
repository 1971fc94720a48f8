"""Opens a device for a command, and asks for its passphrase if it is locked with one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from blindmatch_client.device import Device

from blindmatch_simulations.deployment.devices import UNLOCK_VARIABLE, needs_passphrase, open_device
from blindmatch_simulations.deployment.folder import Deployment

NameArgument = Annotated[str, typer.Argument(help="The device, e.g. alice.")]


def passphrase() -> str:
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
    secret = passphrase() if needs_passphrase(deployment, name) else None
    device = open_device(deployment, name, secret).device
    try:
        yield device
    finally:
        device.close()
