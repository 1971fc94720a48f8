"""`blindmatch device register`, `list` and `remove`: which devices are here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from blindmatch_client.errors import ServiceError, ServiceUnavailableError, StoreError, UnreachedError
from blindmatch_client.settings import Consequence, CoverSchedule, FailureMode
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.report import SLOT_SIZES
from blindmatch_server.hosting.authority import AuthorityError, Identity, Kind

from blindmatch_simulations.cli.commands import Found, found, listed
from blindmatch_simulations.cli.console import (
    ERR,
    AddressOption,
    DeployedDesignOption,
    MoreAddressesOption,
)
from blindmatch_simulations.cli.device_status import NameArgument, asked_passphrase, described_policies
from blindmatch_simulations.testbed.deployment.addresses import given
from blindmatch_simulations.testbed.deployment.device_settings import Settings
from blindmatch_simulations.testbed.deployment.devices import (
    Options,
    create_or_open_device,
    device_names,
    existing,
    remove_device,
)
from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError
from blindmatch_simulations.testbed.deployment.registry import design_of

GONE: Final = (
    "its keys, its messages, and whatever waits to be sent or reported. The relay keeps the account, with "
    "what waits for it, and gives the name to no other device"
)


ModeOption = Annotated[
    FailureMode, typer.Option(help="What is done with a picture that cannot be matched now.")
]
ConsequenceOption = Annotated[
    Consequence, typer.Option(help="What follows from a match: a report, a warning, or no delivery.")
]
TakePoliciesOption = Annotated[
    bool,
    typer.Option(
        "--take-policies",
        help="Trust the policies of endorsement and log that the deployment has now, not those that the "
        "device has; its keys and messages stay.",
    ),
]
KeyFileOption = Annotated[
    Path | None,
    typer.Option(help="Lock the store with this file, made if missing; keep it apart from the device."),
]


def register(
    deployment: Deployment,
    name: NameArgument,
    design: DeployedDesignOption = None,
    mode: ModeOption = FailureMode.HOLD,
    consequence: ConsequenceOption = Consequence.REPORT,
    key_file: KeyFileOption = None,
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Lock it with $BLINDMATCH_PASSPHRASE, or ask.")
    ] = False,
    cover_period: Annotated[
        int, typer.Option(min=0, help="Seconds between the slots in which reports leave; 0: at once.")
    ] = 0,
    cover_size: Annotated[int, typer.Option(help="Bytes of a slot.")] = SLOT_SIZES[1],
    take_policies: TakePoliciesOption = False,
    relay: AddressOption = None,
    matcher: AddressOption = None,
    centre: AddressOption = None,
    address: MoreAddressesOption = None,
) -> Found:
    """Make the device NAME, fetch the encrypted set and publish its pre-keys.

    If that fails nothing is left behind, except where the relay may have the keys already: it gives a name to
    nobody else. The same command goes on then.
    """
    standard = {Party.PROVIDER: relay, Party.MATCHER: matcher, Party.CENTRE: centre}
    addresses = given(standard, address or ())
    if passphrase and key_file is not None:
        raise typer.BadParameter("give --passphrase or --key-file, not both")
    cover = CoverSchedule(cover_period, cover_size) if cover_period else None
    options, secret = (
        Options(key_file, passphrase, cover, consequence),
        asked_passphrase() if passphrase else None,
    )
    reference = _design(deployment, name, design)
    with _leaving_nothing(deployment, name, key_file):
        made = create_or_open_device(
            deployment, name, reference, mode, addresses, options, secret, take_policies
        )
        with closing(made.device) as device:
            epoch = device.register()
    result = {"account": name, "design": reference, "epoch": epoch, "mode": str(mode)}
    taken = described_policies(Settings.read(deployment, name)) if take_policies else {}
    return found("registered", {**result, "consequence": str(consequence), **taken})


def _design(deployment: Deployment, name: str, asked: str | None) -> str:
    """A device that is there has one, and another is refused only where it is asked for."""
    if asked is None and name in device_names(deployment):
        return Settings.read(deployment, name).design
    return design_of(deployment, asked)


@contextmanager
def _leaving_nothing(deployment: Deployment, name: str, key_file: Path | None) -> Iterator[None]:
    """Remove what a new device that could not be registered has made, unless the relay may have its keys."""
    new, folder = name not in device_names(deployment), deployment.device(name)
    before = [*folder.iterdir()] if folder.is_dir() else []
    new_key = key_file if key_file is not None and not key_file.exists() else None
    try:
        yield
    except BlindmatchError as error:
        if new and _may_have_keys(error):
            words = f"device {name} is kept, since the relay may have its keys: the same command goes on"
            ERR.print(words, style="yellow", soft_wrap=True, highlight=False)
        elif new:
            with suppress(StoreError, AuthorityError):
                remove_device(deployment, name, before)
            if new_key is not None:
                new_key.unlink(missing_ok=True)
        raise


def _may_have_keys(error: BlindmatchError) -> bool:
    """May the relay have got the keys, though the call failed?"""
    lost = isinstance(error, ServiceUnavailableError) and not isinstance(error, UnreachedError)
    return lost and isinstance(error, ServiceError) and error.party == Party.PROVIDER


def list_(deployment: Deployment) -> Found:
    """List the devices of this deployment; none is opened, so no passphrase is asked for."""
    held = {name: Settings.read(deployment, name) for name in device_names(deployment)}
    locks = {False: "key file", True: "passphrase"}
    result = [
        {
            "account": name,
            "design": one.design,
            "mode": str(one.mode),
            "locked_with": locks[one.options.passphrase],
        }
        for name, one in held.items()
    ]
    deployed, notes = design_of(deployment), []
    if others := [name for name, one in held.items() if one.design != deployed]:
        words = f"note: the last set was built for {deployed}; made for another design: {', '.join(others)}"
        notes.append(words)
    columns = {"account": "device", "design": "design", "mode": "mode", "locked_with": "locked with"}
    return listed("devices", columns, result, *notes)


def remove(
    deployment: Deployment,
    name: NameArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> Found:
    """Remove the device NAME from this folder; the name cannot be used again at the same relay."""
    existing(deployment, name)
    if not yes:
        try:
            typer.confirm(f"Remove {name}, {GONE}?", abort=True, err=True)
        except typer.Abort:
            ERR.print()
            raise typer.BadParameter(f"{name} stays; --yes removes it without a question") from None
    if deployment.authority.is_dir():
        with suppress(DeploymentError):
            deployment.revoke(Identity(Kind.DEVICE, name), datetime.now(UTC))
    remove_device(deployment, name)
    return found("removed", {"account": name, "removed": True}, {"device": name, "gone": GONE})
