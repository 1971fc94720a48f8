"""`blindmatch certs` and `doctor`: certificates, addresses, what each machine needs, and what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.franking import DEFAULT_MODE, FrankingMode
from blindmatch_server.hosting.authority import Identity, Kind
from msgspec.structs import asdict

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.commands import Commands, Found, listed
from blindmatch_simulations.cli.console import (
    DeployedDesignOption,
    HomeOption,
    say,
    table,
)
from blindmatch_simulations.testbed.deployment import addresses
from blindmatch_simulations.testbed.deployment.devices import check_not_the_centre
from blindmatch_simulations.testbed.deployment.doctor import examine
from blindmatch_simulations.testbed.deployment.folder import ADDRESSES, Deployment, DeploymentError, home_from
from blindmatch_simulations.testbed.deployment.folder_checks import Status
from blindmatch_simulations.testbed.deployment.hosting import pack_caller, pack_server
from blindmatch_simulations.testbed.deployment.registry import design_of, load_design, operators_of
from blindmatch_simulations.testbed.deployment.shares import (
    has_budget,
    parse_share,
    read_share,
    words_of,
)

FrankingOption = Annotated[
    FrankingMode,
    typer.Option(
        help="What messages bear of their sender beside the relay's stamp: nothing, what the centre alone "
        "can verify, or what anybody can."
    ),
]
CollusionOption = Annotated[
    bool,
    typer.Option("--allow-collusion", help="Also where one operator has parties that the design sets apart."),
]


def party_called(name: str) -> Party:
    """The party whose server is called `name`; `BadParameter` if none can be."""
    try:
        return Party.of_server(name)
    except DesignError as error:
        raise typer.BadParameter(str(error)) from error


app = Commands(no_args_is_help=True)
REPLACED: Final = (
    "number {number} must never be served from again. What it has granted is counted on only if you copy its "
    "{server}/state into each folder that takes its part, before the first start; if it is lost, or one "
    "folder takes the parts of several, build a set with a new key"
)
REFUSED: Final = "servers here refuse the old one from the next call on; copy revoked.crl to all others"


KindArgument = Annotated[
    str,
    typer.Argument(help="relay, matcher, centre, another server of the design, device or operator."),
]
NameOption = Annotated[
    str, typer.Option(help="Of the device or operator: 1 to 32 of a-z 0-9 _ -; a server has none.")
]


def _identity(kind: str, name: str) -> Identity:
    if kind in (Kind.DEVICE, Kind.OPERATOR):
        return Identity(Kind(kind), name)
    if name:
        raise typer.BadParameter("--name is of a device or an operator; a server has none")
    return Identity.of(party_called(kind))


@app.command("init")
def init(
    operator: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=OPERATOR",
            help="Who runs a server [default: each another operator]; may be given again.",
        ),
    ] = None,
    franking: FrankingOption = DEFAULT_MODE,
    home: HomeOption = None,
) -> None:
    """Make a deployment: an authority, a certificate for each server, the keys of centre and curator."""
    folder = home_from(home)
    Deployment.create(folder, datetime.now(UTC), operators_of(operator or ()), franking)
    say(f"made {folder}: an authority, certificates for every server, the keys of centre and curator")
    say("next, for a log of epochs: blindmatch log init")
    say("then: blindmatch list import FILE NAME, and blindmatch list build NAME")


@app.command("issue")
def issue(
    deployment: Deployment,
    kind: KindArgument,
    name: NameOption = "",
) -> None:
    """Issue a certificate if there is none (`device register` and `certs init` do this by themselves)."""
    identity = _identity(kind, name)
    check_not_the_centre(name)
    folder = deployment.folder_of(identity)
    deployment.enrol(identity, folder, datetime.now(UTC))
    say(f"certificate and key in {folder}")


@app.command("renew")
def renew(
    deployment: Deployment,
    kind: KindArgument,
    name: NameOption = "",
) -> None:
    """Issue a new key and certificate, and revoke the old; a server takes it when it is started again."""
    identity = _identity(kind, name)
    deployment.renew(identity, deployment.folder_of(identity), datetime.now(UTC))
    say(f"certificate and key in {deployment.folder_of(identity)}")
    say(REFUSED)


@app.command("revoke")
def revoke(
    deployment: Deployment,
    kind: KindArgument,
    name: NameOption = "",
) -> None:
    """Have servers refuse every certificate that was issued to KIND; `certs renew` makes a new one."""
    count = deployment.revoke(_identity(kind, name), datetime.now(UTC))
    say(f"certificates revoked: {count}")
    say(REFUSED)


@app.command("addresses")
def set_addresses(
    deployment: Deployment,
    address: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=HOST:PORT", help="Where a server is called; may be given again."),
    ] = None,
) -> Found:
    """Note where servers on other machines are called; without options, show what is noted."""
    path = deployment.home / ADDRESSES
    new = addresses.given(address or ())
    held = {**addresses.read(path), **new}
    if new:
        addresses.write(path, held)
    noted = addresses.encoded(held)
    shown = table("addresses", ("server", "address"), [*noted.items()])
    return Found(noted, (shown if noted else "no address is noted: servers are those on this machine",))


@app.command("pack")
def pack(
    deployment: Deployment,
    kind: KindArgument,
    folder: Annotated[
        Path, typer.Argument(help="A new folder, to be carried to that machine as its --home.")
    ],
    name: NameOption = "",
    design: DeployedDesignOption = None,
    allow_collusion: CollusionOption = False,
    share: Annotated[
        str | None,
        typer.Option(
            metavar="1/N",
            help="What part of its keys' limits a server with a role enforces [default: that of the one "
            "folder it replaces, else the whole].",
        ),
    ] = None,
    replaces: Annotated[
        list[int] | None,
        typer.Option(
            metavar="NUMBER",
            help="A folder packed before that is never served from again; may be given again. 0: this "
            "folder's own server.",
        ),
    ] = None,
) -> None:
    """Copy what one machine needs, and nothing else, into FOLDER.

    Servers that hold the same key count by themselves what it is asked for. So each is packed with a part of
    the key's limits, and all parts together are at most the whole: a second folder without --share is
    refused.
    """
    identity = _identity(kind, name)
    check_not_the_centre(name)
    parts = None if share is None else _parts_of(share)
    if identity.party is None:
        if parts is not None or replaces:
            raise typer.BadParameter("--share and --replaces are of a server that plays a role of the design")
        source = deployment.folder_of(identity)
        deployment.enrol(identity, source, datetime.now(UTC))
        packed = pack_caller(deployment, source, folder)
    else:
        loaded = load_design(design_of(deployment, design))
        party = identity.party
        packed = pack_server(deployment, party, loaded, folder, allow_collusion, parts, replaces or ())
    for path in packed:
        say(str(path))
    say(f"{len(packed)} files in {folder}; it holds secrets: carry it as you would a key")
    if identity.party is not None and has_budget(loaded, identity.party):
        held = read_share(Deployment.open(folder), identity.party)
        say(f"number {held.number}: it has {words_of(held.parts)} of the limits of its keys")
    for number in sorted(set(replaces or ())):
        say(REPLACED.format(number=number, server=kind))


def _parts_of(share: str) -> int:
    try:
        return parse_share(share)
    except DeploymentError as error:
        raise typer.BadParameter(str(error)) from error


def run_doctor(
    deployment: Deployment,
    design: DeployedDesignOption = None,
    allow_collusion: CollusionOption = False,
) -> Found:
    """Check a deployment, and say what is wrong and what to do.

    Layout, permissions, certificates, clock, disk, the published epoch byte by byte, and every server: its
    port, its certificate, its health, and whether the matcher serves what is published. Exit code 0 if all is
    well, 4 if something in the folder is wrong, 7 if only a server is.
    """
    loaded = load_design(design_of(deployment, design))
    findings = list(examine(deployment, loaded, datetime.now(UTC), allow_collusion))
    todo = [f"{one.status}: {one.check}: {one.what}\n  do: {one.remedy}" for one in findings if one.remedy]
    columns = {"check": "check", "status": "result", "what": "found"}
    result = [asdict(one) for one in findings]
    codes = {Status.WRONG: exit_codes.BAD_STATE, Status.UNREACHABLE: exit_codes.UNREACHABLE}
    statuses = {one.status for one in findings}
    code = next((code for status, code in codes.items() if status in statuses), exit_codes.OK)
    return listed(f"doctor: {deployment.home}", columns, result, *todo, code=code)
