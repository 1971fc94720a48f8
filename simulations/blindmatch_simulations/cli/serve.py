"""`blindmatch serve`: the servers of a deployment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from blindmatch_protocol.contract import Party
from blindmatch_server.hosting.event_log import LogFile, standard_error

from blindmatch_simulations.cli.certs import CollusionOption, party_called
from blindmatch_simulations.cli.console import OUT, DeployedDesignOption, complain, writable
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.hosting import is_of_log, serve, servers_of
from blindmatch_simulations.testbed.deployment.processes import (
    ProcessError,
    ServerProcess,
    check_alive,
    running_servers,
)
from blindmatch_simulations.testbed.deployment.registry import (
    check_apart,
    design_of,
    load_design,
    portable_reference,
)

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
        help="Prometheus metrics on this loopback port; 0 takes a free one, which the log names.",
    ),
]

EndOption = Annotated[
    bool,
    typer.Option(
        "--end-with-input",
        help="Stop, too, once standard input ends, as a pipe does when whoever holds its other end is gone.",
    ),
]
LogOption = Annotated[
    Path | None,
    typer.Option(
        callback=writable,
        help="Log to this file, of at most 64 MiB and one before it [default: standard error].",
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
    deployment: Deployment,
    design: DeployedDesignOption = None,
    host: HostOption = LOOPBACK,
    port: PortOption = None,
    metrics_port: MetricsOption = None,
    end_with_input: EndOption = False,
    log: LogOption = None,
    allow_collusion: CollusionOption = False,
) -> None:
    """Run servers; stop them with Ctrl-C or SIGTERM.

    `relay`: pre-keys, encrypted messages and attachments; it can read none of them. `matcher`: the encrypted
    set, and the roles that a design gives it. `centre`: receives sealed reports, checks them, lists them.
    `log`, `witness_1`, ...: every epoch in one log, cosigned (`blindmatch log init`).
    `all`: each in a process of its own, on free loopback ports.
    """
    if party == ALL:
        if (host, port, metrics_port, end_with_input, log) != (LOOPBACK, None, None, False, None):
            raise typer.BadParameter("all takes --home, --design and --allow-collusion alone")
        _serve_all(deployment, design_of(deployment, design), allow_collusion)
        return
    whose = party_called(party)
    of_log = is_of_log(deployment, whose)
    listens = {"host": host, "port": PORTS.get(whose, 0) if port is None else port}
    ends: dict[str, Any] = {
        "metrics_port": metrics_port,
        "ends_with": STANDARD_INPUT if end_with_input else None,
    }
    ends |= {"sink": standard_error if log is None else LogFile(log)}
    loaded = None if of_log else load_design(design_of(deployment, design))
    raise typer.Exit(serve(deployment, whose, loaded, allow_collusion, **listens, **ends))


def _serve_all(deployment: Deployment, reference: str, allow_collusion: bool) -> None:
    design = load_design(reference)
    check_apart(deployment, design.info, allow_collusion)
    parties = servers_of(deployment, design)
    options = ["--design", portable_reference(reference)]
    options += ["--allow-collusion"] if allow_collusion else []
    with running_servers(deployment, parties, options) as servers:
        for server in servers:
            port = deployment.port_file(server.party).read_text().strip()
            OUT.print(f"{server.party.server:<10} 127.0.0.1:{port}   log: {server.log}", soft_wrap=True)
        _watch(deployment, servers)


def _watch(deployment: Deployment, servers: Sequence[ServerProcess]) -> None:
    """Say that they are ready, and name each that ends while others run."""
    live = list(servers)
    ended = list[ProcessError]()
    # whoever reads "ready" may stop them at once
    with suppress(KeyboardInterrupt):
        OUT.print("ready; Ctrl-C stops them")
        while live:
            for one in list(live):
                try:
                    check_alive([one])
                except ProcessError as error:
                    live.remove(one)
                    ended.append(error)
                    again = f"blindmatch serve {one.party.server} --home {deployment.home}"
                    complain(f"{error}; the others run on; to start it again: {again}")
            time.sleep(0.5)
    if ended:
        raise ended[0]
