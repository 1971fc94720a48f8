"""Parties that must not be one: as a design declares them, and as a deployment's operators run them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract import Content, Info, Party, Role

from blindmatch_simulations.testbed.deployment.folder import MARKER, Deployment, DeploymentError

HOSTLESS = frozenset({Party.DEVICE, Party.CURATOR, Party.CENTRE})
"""Parties whose servers, if they have any, host no role."""


class CollusionError(DeploymentError):
    """Parties that must not collude have one operator."""


def faults(info: Info, enrolled: Collection[Role] = ()) -> Iterator[str]:
    """What is wrong with the parties that a declaration names; devices enrol at the roles `enrolled`."""
    for role, party in (*info.roles.items(), *info.forwarded.items()):
        if party in HOSTLESS:
            yield f"role {role}: the {party} neither hosts roles nor forwards to them"
    unknown = {*frozenset[Role]().union(*info.apart), *info.forwarded} - set(info.roles)
    if unknown:
        yield f"apart and forwarded must name roles of info.roles, not {_listed(unknown)}"
        return
    for group in info.apart:
        if len({info.roles[role] for role in group}) < max(2, len(group)):
            yield f"apart: the roles {_listed(group)} must be at two parties or more, each at its own"
    for role, carrier in info.forwarded.items():
        if carrier == info.roles[role]:
            yield f"forwarded: the {carrier} hosts {role}, so it must be another that forwards to it"
    for role in set(info.forwarded) & set(enrolled):
        yield f"forwarded: {role} never learns who asks, so nobody can enrol there"
    if info.forwarded and info.sends_content is Content.CLEAR:
        yield "forwarded: a design whose servers see pictures forwards none, since reports name the account"


def operators_of(named: Sequence[str]) -> dict[Party, str]:
    """Operators by party, from ``NAME=OPERATOR`` with the name of a server.

    Raises:
        DeploymentError: if one has another form.
    """
    found = {}
    for one in named:
        name, _, operator = one.partition("=")
        try:
            party = Party.of_server(name)
        except DesignError as error:
            raise DeploymentError(f"operator {one!r}: {error}") from error
        if not operator or party in found:
            raise DeploymentError(f"operator {one!r}: must be NAME=OPERATOR, once for each server")
        found[party] = operator
    return found


def operators(deployment: Deployment) -> Mapping[Party, str]:
    """Who runs the servers of those parties that are not their own operators.

    Raises:
        DeploymentError: if the file is damaged.
    """
    try:
        named = json.loads((deployment.home / MARKER).read_text()).get("operators", {})
        return {Party.of_server(name): str(operator) for name, operator in named.items()}
    except (OSError, ValueError, AttributeError, RecursionError, DesignError) as error:
        raise DeploymentError(f"{MARKER} is damaged") from error


def collusions(info: Info, operators: Mapping[Party, str]) -> list[str]:
    """What one operator of several parties could put together; a party without an operator is its own."""
    found = []
    for why, parties in _separate(info):
        by: dict[str, list[str]] = {}
        for party in sorted(parties):
            by.setdefault(operators.get(party, f"={party}"), []).append(party.server)
        found += [
            f"{operator} operates {_listed(servers)}, and {why}"
            for operator, servers in by.items()
            if len(servers) > 1
        ]
    return found


def check_apart(deployment: Deployment, info: Info, allowed: bool) -> None:
    """Make sure that parties which must not collude have different operators, or that the same is `allowed`.

    Raises:
        CollusionError: if they have not.
        DeploymentError: if it cannot be read who operates what.
    """
    found = [] if allowed else collusions(info, operators(deployment))
    if found:
        raise CollusionError(
            f"{'; '.join(found)}; make a deployment with certs init --operator NAME=OPERATOR, or say "
            "--allow-collusion"
        )


def _separate(info: Info) -> Iterator[tuple[str, frozenset[Party]]]:
    for roles in info.apart:
        yield f"{_listed(roles)} must not collude", frozenset(info.roles[role] for role in roles)
    for role, carrier in info.forwarded.items():
        yield f"{role} must not learn who asks", frozenset({carrier, info.roles[role]})


def _listed(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))
