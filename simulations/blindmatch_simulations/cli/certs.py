"""`blindmatch certs`: the deployment's certificate authority, addresses, and what each machine needs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from blindmatch_protocol.contract import Party
from blindmatch_server.authority import NAMED, Identity, Kind

from blindmatch_simulations import addresses
from blindmatch_simulations.cli.console import (
    OUT,
    AddressOption,
    DesignOption,
    HomeOption,
    JsonOption,
    console_for,
    details,
    write_json,
)
from blindmatch_simulations.deployment import ADDRESSES, SERVERS, Deployment, home_from
from blindmatch_simulations.packing import pack_caller, pack_server
from blindmatch_simulations.registry import load_design

app = typer.Typer(help="Make a deployment and its certificates.", no_args_is_help=True)


@app.command("init")
def init(home: HomeOption = None) -> None:
    """Make a deployment: an authority, a certificate for each server, the keys of centre and curator."""
    folder = home_from(home)
    Deployment.create(folder, datetime.now(UTC))
    OUT.print(
        f"made {folder}: an authority, certificates for every server, the keys of centre and curator",
        soft_wrap=True,
    )
    OUT.print("next: blindmatch list import FILE NAME, then blindmatch list build NAME")


@app.command("issue")
def issue(
    kind: Annotated[Kind, typer.Argument(help="device or operator.")],
    name: Annotated[str, typer.Argument(help="Its name: a-z 0-9 _ -, 1 to 32 characters.")],
    home: HomeOption = None,
) -> None:
    """Issue a certificate for a device or an operator (`device register` does this by itself)."""
    deployment, identity = Deployment.open(home_from(home)), Identity(kind, name)
    folder = deployment.folder_of(identity)
    deployment.enrol(identity, folder, datetime.now(UTC))
    OUT.print(f"certificate and key in {folder}", soft_wrap=True)


@app.command("renew")
def renew(
    kind: Annotated[Kind, typer.Argument(help="relay, matcher, matcher_b, centre, device or operator.")],
    name: Annotated[str, typer.Option(help="Of the device or operator.")] = "",
    home: HomeOption = None,
) -> None:
    """Issue a new key and certificate in place of the old; a server takes it when it is started again."""
    deployment, identity = Deployment.open(home_from(home)), Identity(kind, name)
    deployment.renew(identity, deployment.folder_of(identity), datetime.now(UTC))
    OUT.print(f"certificate and key in {deployment.folder_of(identity)}", soft_wrap=True)


@app.command("addresses")
def set_addresses(
    relay: AddressOption = None,
    matcher: AddressOption = None,
    matcher_b: AddressOption = None,
    centre: AddressOption = None,
    home: HomeOption = None,
    json_path: JsonOption = None,
) -> None:
    """Note where servers on other machines are called; without options, show what is noted."""
    path = Deployment.open(home_from(home)).home / ADDRESSES
    new = addresses.given(
        {
            Party.PROVIDER: relay,
            Party.MATCHER: matcher,
            Party.MATCHER_B: matcher_b,
            Party.CENTRE: centre,
        }
    )
    held = {**addresses.read(path), **new}
    if new:
        addresses.write(path, held)
    result = addresses.encoded(held)
    console_for(json_path).print(details("addresses", result))
    write_json(result, json_path)


@app.command("pack")
def pack(
    kind: Annotated[Kind, typer.Argument(help="Whose machine: relay, matcher, centre, device, ...")],
    folder: Annotated[
        Path, typer.Argument(help="A new folder, to be carried to that machine as its --home.")
    ],
    name: Annotated[str, typer.Option(help="Of the device or operator.")] = "",
    design: DesignOption = "oprf-psi",
    home: HomeOption = None,
) -> None:
    """Copy what one machine needs, and nothing else, into FOLDER."""
    deployment, identity = Deployment.open(home_from(home)), Identity(kind, name)
    if kind in NAMED:
        source = deployment.folder_of(identity)
        deployment.enrol(identity, source, datetime.now(UTC))
        packed = pack_caller(deployment, source, folder)
    else:
        party = next(party for party, server in SERVERS.items() if server is kind)
        packed = pack_server(deployment, party, load_design(design), folder)
    for path in packed:
        OUT.print(str(path), soft_wrap=True, highlight=False)
    OUT.print(
        f"{len(packed)} files in {folder}; it holds secrets: carry it as you would a key", soft_wrap=True
    )
