"""Hostile clients of `blindmatch bench flood` do what they say, and the relay refuses it with a status."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from blindmatch_server.authority import Credentials, Identity, Kind
from blindmatch_server.relay.server import RelayConfig, open_relay
from blindmatch_simulations.hostile import HELD, KINDS, NOTHING_REMOVED, Attack, intruding

from .deployment import ALICE, Deployment, fixed
from .test_relay import keys

EXPECTED = {
    "calls": {"OK", "RESOURCE_EXHAUSTED"},
    "oversize": {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"},
    "slow": {HELD, "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"},
    "garbage": {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "connection dropped"},
    "forged": {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", NOTHING_REMOVED},
    "draining": {"OK", "RESOURCE_EXHAUSTED"},
}
"""How attempts of each kind may end."""


async def attacked(directory: Path, kind: str) -> tuple[set[str], Deployment]:
    """How attempts of one intruder ended within a second and a half."""
    deployment = Deployment()
    config = RelayConfig(deployment.listen(Kind.RELAY), directory)
    services = fixed(lambda desk: open_relay(config, desk), lambda opened: [opened])
    foreign = Deployment().credentials(ALICE)
    root = deployment.credentials(ALICE).root
    accounts = {"mallory": deployment.credentials(Identity(Kind.DEVICE, "mallory"))}
    async with deployment.server(Kind.RELAY, services) as port:
        async with deployment.client(ALICE, Kind.RELAY, port) as alice:
            await alice.one("Relay/Register", keys(1, one_time=20))
        forged = Credentials(root, foreign.certificate, foreign.key)
        made, stop = Attack(), asyncio.Event()
        async with intruding(accounts, f"127.0.0.1:{port}", forged, [ALICE.name]) as intruders:
            asyncio.get_running_loop().call_later(1.5, stop.set)
            await made.run(kind, intruders, 12, stop)
    return set(made.outcomes), deployment


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_gets_what_it_deserves_and_is_no_failure_of_the_relay(tmp_path: Path, kind: str) -> None:
    outcomes, deployment = asyncio.run(asyncio.wait_for(attacked(tmp_path, kind), 100))
    assert outcomes and outcomes <= EXPECTED[kind]
    assert deployment.events("failure") == []
