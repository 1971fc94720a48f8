"""The configuration of each server in a local deployment."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_server.authority import Identity
from blindmatch_server.centre.deployed import Deployed
from blindmatch_server.centre.keys import read_public_key
from blindmatch_server.centre.server import CentreConfig, serve_centre
from blindmatch_server.centre.vouchers import OpenerFiles
from blindmatch_server.matching.epochs import PublishedSource
from blindmatch_server.matching.filing import CentreAddress
from blindmatch_server.matching.forwarding import Carrying
from blindmatch_server.matching.server import MatcherConfig, MatchingConfig, serve_matcher
from blindmatch_server.published import open_publication, signed_epochs
from blindmatch_server.relay.server import RelayConfig, serve_relay
from blindmatch_server.serving import Listen, Run
from blindmatch_server.serving import serve as serve_until_signal

from blindmatch_simulations.deployment.alone import alone
from blindmatch_simulations.deployment.collusion import check_apart
from blindmatch_simulations.deployment.folder import STANDARD, Deployment, DeploymentError
from blindmatch_simulations.deployment.registry import loader_of

STATE: Final = "state"


def parties_of(design: AnyDesign) -> tuple[Party, ...]:
    """The servers that a deployment of `design` runs.

    The matcher hands out the set-up also where it plays no role. The centre comes before whoever reports.
    """
    others = sorted(set(design.info.parties).difference(STANDARD))
    return (Party.CENTRE, Party.MATCHER, *others, Party.PROVIDER)


def serve(
    deployment: Deployment,
    party: Party,
    design: AnyDesign,
    host: str,
    port: int,
    metrics_port: int | None = None,
    ends_with: int | None = None,
    allow_collusion: bool = False,
) -> int:
    """Run the server of `party` until it is told to stop; one of the server's exit codes.

    Args:
        deployment: whose server.
        party: whose server.
        design: what it serves.
        host, port: where it listens; port 0 takes a free one.
        metrics_port: see `Listen`.
        ends_with: see `Listen`.
        allow_collusion: whether one operator may have parties that must not collude.

    Raises:
        CollusionError: if one has, and may not.
        DeploymentError: if the design is not published yet, the party has no server, or it runs already.
        StateError: if the server's files cannot be used.
    """
    check_hosts(design, party)
    check_apart(deployment, design.info, allow_collusion)
    listen = listen_of(deployment, party, host, port, metrics_port, ends_with)
    with alone(deployment, party):
        return host_with(serve_until_signal, deployment, party, design, listen)


def check_hosts(design: AnyDesign, party: Party) -> None:
    """Raises `DeploymentError` if `party` runs no server in `design`."""
    parties = parties_of(design)
    if party not in parties:
        known = ", ".join(one.server for one in parties)
        raise DeploymentError(f"the {party.server} has no server in {design.info.name}, which has {known}")


def listen_of(
    deployment: Deployment,
    party: Party,
    host: str,
    port: int,
    metrics_port: int | None = None,
    ends_with: int | None = None,
) -> Listen:
    """Where and how the server of `party` listens; arguments as for `serve`."""
    deployment.admit([party], datetime.now(UTC))
    return Listen(
        credentials=deployment.server_credentials(party),
        host=host,
        port=port,
        port_file=deployment.port_file(party),
        metrics_port=metrics_port,
        metrics_port_file=deployment.metrics_port_file(party),
        ends_with=ends_with,
    )


def host_with(run: Run, deployment: Deployment, party: Party, design: AnyDesign, listen: Listen) -> int:
    """Have `run` run the server of `party`; the caller has made sure it is alone. Raises as `serve` does."""
    folder = deployment.server(party) / STATE
    match party:
        case Party.PROVIDER:
            matching = _matching(deployment, party, design, folder) if _plays(design, party) else None
            return serve_relay(RelayConfig(listen, folder, matching=matching), run)
        case Party.CENTRE:
            return serve_centre(_centre(deployment, design, listen, folder), run)
        case _:
            matching = _matching(deployment, party, design, folder)
            return serve_matcher(MatcherConfig(listen, matching, party), run)


def _plays(design: AnyDesign, party: Party) -> bool:
    return party in design.info.parties


def _matching(deployment: Deployment, party: Party, design: AnyDesign, folder: Path) -> MatchingConfig:
    published = deployment.published(design.info.name)
    if not published.is_dir():
        name = design.info.name
        raise DeploymentError(f"{name} is not published; blindmatch list build --design {name} does that")
    source = PublishedSource(design, published, party, deployment.curator_public_key())
    reports = design.info.sends_content and _plays(design, party)
    centre = _centre_address(deployment, party) if reports else None
    carries = party in design.info.forwarded.values()
    carrying = _carrying(deployment, party) if carries else None
    load = loader_of(design)
    return MatchingConfig(design, source, folder / "matching", centre, load=load, carrying=carrying)


def _carrying(deployment: Deployment, party: Party) -> Carrying:
    """How `party` reaches hosts that it forwards to; those may start later, and move."""
    directory = deployment.directory()

    def find(host: Party) -> str:
        return directory[host].address if host in directory else ""

    return Carrying(party, find, deployment.server_credentials(party))


def _centre_address(deployment: Deployment, party: Party) -> CentreAddress:
    endpoints = deployment.endpoints()
    if Party.CENTRE not in endpoints:
        raise DeploymentError("this design's provider reports by itself: start the centre before the relay")
    return CentreAddress(
        address=endpoints[Party.CENTRE].address,
        public_key=read_public_key(deployment.centre_keys),
        reporter=Identity.of(party),
        credentials=deployment.server_credentials(party),
    )


def _centre(deployment: Deployment, design: AnyDesign, listen: Listen, folder: Path) -> CentreConfig:
    name = design.info.name
    curator = deployment.curator_public_key()
    deployed = Deployed(design, partial(signed_epochs, deployment.published(name), design.info, curator))
    openers = {}
    if design.vouchers and deployment.published(name).is_dir():
        publication = open_publication(deployment.published(name), roles=(), opener=True)
        openers[name] = OpenerFiles(publication.manifest.epoch, publication.opener())
    references = deployment.references if deployment.references.exists() else None
    return CentreConfig(listen, folder, deployment.centre_keys, deployed, references, openers)
