"""`blindmatch serve`: the servers of a deployment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import typer
from blindmatch_protocol.contract import Party

from blindmatch_simulations.cli.console import OUT, DesignOption, HomeOption
from blindmatch_simulations.deployment import SERVERS, Deployment, home_from
from blindmatch_simulations.hosting import parties_of, serve
from blindmatch_simulations.processes import ServerProcess, check_alive, running_servers
from blindmatch_simulations.registry import load_design, portable_reference

app = typer.Typer(help="Run servers; stop them with Ctrl-C or SIGTERM.", no_args_is_help=True)

HostOption = Annotated[str, typer.Option(help="Address to listen on; loopback unless you know better.")]
PortOption = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]
MetricsOption = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        min=0,
        max=65535,
        help="Prometheus metrics on this loopback port; 0 takes a free one.",
    ),
]

EndOption = Annotated[
    bool,
    typer.Option(
        "--end-with-input",
        help="Stop, too, once standard input ends, as a pipe does when whoever holds its other end is gone.",
    ),
]
STANDARD_INPUT = 0


def _serve(
    party: Party,
    home: HomeOption,
    design: str,
    host: str,
    port: int,
    metrics_port: int | None,
    end_with_input: bool,
) -> None:
    deployment = Deployment.open(home_from(home))
    ends_with = STANDARD_INPUT if end_with_input else None
    raise typer.Exit(serve(deployment, party, load_design(design), host, port, metrics_port, ends_with))


@app.command("relay")
def relay(
    home: HomeOption = None,
    design: DesignOption = "oprf-psi",
    host: HostOption = "127.0.0.1",
    port: PortOption = 7401,
    metrics_port: MetricsOption = None,
    end_with_input: EndOption = False,
) -> None:
    """The provider: pre-keys, encrypted messages and attachments; it cannot read any of them."""
    _serve(Party.PROVIDER, home, design, host, port, metrics_port, end_with_input)


@app.command("matcher")
def matcher(
    home: HomeOption = None,
    design: DesignOption = "oprf-psi",
    host: HostOption = "127.0.0.1",
    port: PortOption = 7402,
    metrics_port: MetricsOption = None,
    end_with_input: EndOption = False,
) -> None:
    """The matching service: holds the key and the encrypted set of a design."""
    _serve(Party.MATCHER, home, design, host, port, metrics_port, end_with_input)


@app.command("matcher_b")
def matcher_b(
    home: HomeOption = None,
    design: DesignOption = "oprf-psi",
    host: HostOption = "127.0.0.1",
    port: PortOption = 7403,
    metrics_port: MetricsOption = None,
    end_with_input: EndOption = False,
) -> None:
    """A second matching service, for designs that share the work between two parties."""
    _serve(Party.MATCHER_B, home, design, host, port, metrics_port, end_with_input)


@app.command("centre")
def centre(
    home: HomeOption = None,
    design: DesignOption = "oprf-psi",
    host: HostOption = "127.0.0.1",
    port: PortOption = 7404,
    metrics_port: MetricsOption = None,
    end_with_input: EndOption = False,
) -> None:
    """The centre: receives sealed reports, checks them, lists them."""
    _serve(Party.CENTRE, home, design, host, port, metrics_port, end_with_input)


@app.command("all")
def all_(
    home: HomeOption = None,
    design: DesignOption = "oprf-psi",
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Each with Prometheus metrics on a loopback port of its own.")
    ] = False,
) -> None:
    """Every server a design needs, each in a process of its own, on free loopback ports."""
    deployment = Deployment.open(home_from(home))
    parties = parties_of(load_design(design))
    options = ["--design", portable_reference(design), *(("--metrics-port", "0") if metrics else ())]
    with running_servers(deployment, parties, options) as servers:
        for server in servers:
            OUT.print(_line(deployment, server, metrics), soft_wrap=True)
        # whoever reads "ready" may stop them at once
        with suppress(KeyboardInterrupt):
            OUT.print("ready; Ctrl-C stops them")
            _watch([Watched(server) for server in servers])


@dataclass(slots=True)
class Watched:
    """A server, and how many calls its log tells of."""

    server: ServerProcess
    read: int = 0
    calls: int = 0
    refused: int = 0

    def words(self) -> str:
        """Reads what was logged since it was last asked, and says what it came to."""
        with self.server.log.open("rb") as log:
            log.seek(self.server.begins + self.read)
            new = log.read()
        whole = new[: new.rfind(b"\n") + 1]
        self.read += len(whole)
        self.calls += whole.count(b'"event":"call"')
        self.refused += whole.count(b'"event":"call"') - whole.count(b'"status":"OK"')
        return f"{SERVERS[self.server.party]} {self.calls:,} calls, {self.refused:,} not OK"


def _watch(servers: Sequence[Watched]) -> None:
    """Show, on a terminal, that the servers live and what they do; ends when one does.

    Raises:
        ProcessError: if a server has ended.
    """
    began = time.monotonic()
    with OUT.status("") as status:
        while True:
            check_alive([one.server for one in servers])
            if OUT.is_terminal:
                up = timedelta(seconds=int(time.monotonic() - began))
                status.update(f"up {up}: " + "; ".join(one.words() for one in servers))
            time.sleep(0.5)


def _line(deployment: Deployment, server: ServerProcess, metrics: bool) -> str:
    port = deployment.port_file(server.party).read_text().strip()
    line = f"{SERVERS[server.party]:<10} 127.0.0.1:{port}   log: {server.log}"
    if not metrics:
        return line
    scraped = deployment.metrics_port_file(server.party).read_text().strip()
    return f"{line}   metrics: http://127.0.0.1:{scraped}/metrics"
