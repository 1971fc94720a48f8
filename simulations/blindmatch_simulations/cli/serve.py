"""`blindmatch serve`: the servers of a deployment."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Annotated

import typer
from blindmatch_protocol.contract import Party

from blindmatch_simulations.cli.console import OUT, DesignOption, HomeOption
from blindmatch_simulations.deployment import SERVERS, Deployment, home_from
from blindmatch_simulations.hosting import parties_of, serve
from blindmatch_simulations.processes import check_alive, running_servers
from blindmatch_simulations.registry import load_design, portable_reference

app = typer.Typer(help="Run servers; stop them with Ctrl-C or SIGTERM.", no_args_is_help=True)

HostOption = Annotated[str, typer.Option(help="Address to listen on; loopback unless you know better.")]
PortOption = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]


def _serve(party: Party, home: HomeOption, design: str, host: str, port: int) -> None:
    code = serve(Deployment.open(home_from(home)), party, load_design(design), host, port)
    raise typer.Exit(code)


@app.command("relay")
def relay(
    home: HomeOption = None,
    design: DesignOption = "oprf-psi",
    host: HostOption = "127.0.0.1",
    port: PortOption = 7401,
) -> None:
    """The provider: pre-keys, encrypted messages and attachments; it cannot read any of them."""
    _serve(Party.PROVIDER, home, design, host, port)


@app.command("matcher")
def matcher(
    home: HomeOption = None,
    design: DesignOption = "oprf-psi",
    host: HostOption = "127.0.0.1",
    port: PortOption = 7402,
) -> None:
    """The matching service: holds the key and the encrypted set of a design."""
    _serve(Party.MATCHER, home, design, host, port)


@app.command("matcher_b")
def matcher_b(
    home: HomeOption = None,
    design: DesignOption = "oprf-psi",
    host: HostOption = "127.0.0.1",
    port: PortOption = 7403,
) -> None:
    """A second matching service, for designs that share the work between two parties."""
    _serve(Party.MATCHER_B, home, design, host, port)


@app.command("centre")
def centre(
    home: HomeOption = None,
    design: DesignOption = "oprf-psi",
    host: HostOption = "127.0.0.1",
    port: PortOption = 7404,
) -> None:
    """The centre: receives sealed reports, checks them, lists them."""
    _serve(Party.CENTRE, home, design, host, port)


@app.command("all")
def all_(home: HomeOption = None, design: DesignOption = "oprf-psi") -> None:
    """Every server a design needs, each in a process of its own, on free loopback ports."""
    deployment = Deployment.open(home_from(home))
    parties = parties_of(load_design(design))
    with running_servers(deployment, parties, ("--design", portable_reference(design))) as servers:
        for server in servers:
            port = deployment.port_file(server.party).read_text().strip()
            OUT.print(f"{SERVERS[server.party]:<10} 127.0.0.1:{port}   log: {server.log}", soft_wrap=True)
        with suppress(KeyboardInterrupt):
            OUT.print("ready; Ctrl-C stops them")
            while True:
                time.sleep(0.5)
                check_alive(servers)
