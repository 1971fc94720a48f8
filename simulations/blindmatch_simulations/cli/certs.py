"""`blindmatch certs`: the deployment's certificate authority."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from blindmatch_server.authority import Identity, Kind

from blindmatch_simulations.cli.console import OUT, HomeOption
from blindmatch_simulations.deployment import Deployment, home_from

app = typer.Typer(help="Make a deployment and its certificates.", no_args_is_help=True)


@app.command("init")
def init(home: HomeOption = None) -> None:
    """Make a deployment: an authority, and a certificate for each server."""
    folder = home_from(home)
    Deployment.create(folder, datetime.now(UTC))
    OUT.print(
        f"made {folder}: an authority, certificates for every server, the centre's keys", soft_wrap=True
    )
    OUT.print("next: blindmatch list import FILE NAME, then blindmatch list build NAME")


@app.command("issue")
def issue(
    kind: Annotated[Kind, typer.Argument(help="device or operator.")],
    name: Annotated[str, typer.Argument(help="Its name: a-z 0-9 _ -, 1 to 32 characters.")],
    home: HomeOption = None,
) -> None:
    """Issue a certificate for a device or an operator (`device register` does this by itself)."""
    deployment = Deployment.open(home_from(home))
    folder = deployment.operator(name) if kind is Kind.OPERATOR else deployment.device(name)
    deployment.enrol(Identity(kind, name), folder, datetime.now(UTC))
    OUT.print(f"certificate and key in {folder}", soft_wrap=True)
