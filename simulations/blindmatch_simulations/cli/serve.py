"""`blindmatch serve`: the servers of a deployment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Final

import typer
from blindmatch_protocol.contract import Party
from msgspec import Struct

from blindmatch_simulations.cli.console import OUT, DeployedDesignOption, HomeOption
from blindmatch_simulations.cli.parties import CollusionOption, party_called
from blindmatch_simulations.deployment.collusion import check_apart
from blindmatch_simulations.deployment.deployed_design import design_of
from blindmatch_simulations.deployment.folder import Deployment, home_from
from blindmatch_simulations.deployment.hosting import is_of_log, serve, servers_of
from blindmatch_simulations.deployment.processes import ServerProcess, check_alive, running_servers
from blindmatch_simulations.deployment.registry import load_design, portable_reference

HostOption = Annotated[str, typer.Option(help="Address to listen on; loopback unless you know better.")]
PortOption = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="0 takes a free one [default: 7401 for relay, 7402 matcher, 7404 centre; else a free one].",
    ),
]
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
STANDARD_INPUT: Final = 0
LOOPBACK: Final = "127.0.0.1"
ALL: Final = "all"
PORTS: Final = {Party.PROVIDER: 7401, Party.MATCHER: 7402, Party.CENTRE: 7404}


def run_serve(
    party: Annotated[
        str,
        typer.Argument(help="relay, matcher, centre or another server of the design; all: each of them."),
    ],
    home: HomeOption = None,
    design: DeployedDesignOption = None,
    host: HostOption = LOOPBACK,
    port: PortOption = None,
    metrics_port: MetricsOption = None,
    end_with_input: EndOption = False,
    allow_collusion: CollusionOption = False,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="With all: each with Prometheus metrics on a port of its own.")
    ] = False,
) -> None:
    """Run servers; stop them with Ctrl-C or SIGTERM.

    `relay`: pre-keys, encrypted messages and attachments; it can read none of them. `matcher`: the encrypted
    set, and the roles that a design gives it. `centre`: receives sealed reports, checks them, lists them.
    `log`, `witness_1`, ...: every epoch in one log, cosigned (`blindmatch log init`).
    `all`: each in a process of its own, on free loopback ports.
    """
    deployment = Deployment.open(home_from(home))
    if party == ALL:
        if (host, port, metrics_port, end_with_input) != (LOOPBACK, None, None, False):
            raise typer.BadParameter("all takes --home, --design, --metrics and --allow-collusion alone")
        _serve_all(deployment, design_of(deployment, design), metrics, allow_collusion)
        return
    whose = party_called(party)
    of_log = is_of_log(deployment, whose)
    if metrics and not of_log:
        raise typer.BadParameter("--metrics goes with all; one server takes --metrics-port")
    listens = {"host": host, "port": PORTS.get(whose, 0) if port is None else port}
    ends = {"metrics_port": metrics_port, "ends_with": STANDARD_INPUT if end_with_input else None}
    loaded = None if of_log else load_design(design_of(deployment, design))
    raise typer.Exit(serve(deployment, whose, loaded, allow_collusion, **listens, **ends))


def _serve_all(deployment: Deployment, reference: str, metrics: bool, allow_collusion: bool) -> None:
    design = load_design(reference)
    check_apart(deployment, design.info, allow_collusion)
    parties = servers_of(deployment, design)
    options = ["--design", portable_reference(reference)]
    options += ["--metrics-port", "0"] if metrics else []
    options += ["--allow-collusion"] if allow_collusion else []
    with running_servers(deployment, parties, options) as servers:
        for server in servers:
            OUT.print(_line(deployment, server, metrics), soft_wrap=True)
        # whoever reads "ready" may stop them at once
        with suppress(KeyboardInterrupt):
            OUT.print("ready; Ctrl-C stops them")
            _watch([Watched(server) for server in servers])


class Watched(Struct):
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
        return f"{self.server.party.server} {self.calls:,} calls, {self.refused:,} not OK"


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
    line = f"{server.party.server:<10} 127.0.0.1:{port}   log: {server.log}"
    if not metrics:
        return line
    scraped = deployment.metrics_port_file(server.party).read_text().strip()
    return f"{line}   metrics: http://127.0.0.1:{scraped}/metrics"
