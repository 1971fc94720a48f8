"""Hostile clients of `make flood` do what they say, and the server refuses it with a status."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from blindmatch_protocol.contract import Party
from blindmatch_protocol.designs.oprf_psi import DESIGN
from blindmatch_server.hosting.authority import Credentials, Identity, Kind
from blindmatch_server.matching.epochs import PublishedSource
from blindmatch_server.matching.service import MatchingConfig, open_matching
from blindmatch_server.relay.service import RelayConfig, open_relay
from blindmatch_simulations.evaluation.bench.queries import Check
from hostile import (
    HELD,
    LOST,
    MATCHER,
    NOTHING_REMOVED,
    RELAY,
    Intruder,
    Service,
    attack,
    intruder,
    intruding,
)
from hostile import relay as hostile_relay
from support.signed import CURATOR

from .deployment import ALICE, SECONDS, Deployment, run
from .test_publication import publish
from .test_relay import keys

AT_THE_RELAY = {
    "calls": {"OK", "RESOURCE_EXHAUSTED"},
    "oversize": {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", LOST},
    "slow": {HELD, LOST, "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"},
    "garbage": {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "connection dropped"},
    "forged": {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", NOTHING_REMOVED},
    "draining": {"OK", "RESOURCE_EXHAUSTED"},
}
AT_THE_MATCHER = {
    "calls": {"OK", "RESOURCE_EXHAUSTED"},
    "oversize": {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE", "RESOURCE_EXHAUSTED", LOST},
    "slow": {HELD, LOST, "INVALID_ARGUMENT", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED"},
    "garbage": {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "connection dropped"},
    "forged": {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"},
}
"""How attempts of each kind may end."""
ATTEMPTS = 60


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call ends since the machine is late."""
    for module in (intruder, hostile_relay):
        monkeypatch.setattr(module, "CALL_S", SECONDS)


async def attacked(
    service: Service, kind: str, deployment: Deployment, port: int, request: bytes = b""
) -> Mapping[str, int]:
    """How `ATTEMPTS` of one intruder ended, or those that were under way after a second."""
    root = deployment.credentials(ALICE).root
    foreign = Deployment().credentials(ALICE)
    accounts = {"mallory": deployment.credentials(Identity(Kind.DEVICE, "mallory"))}
    forged = Credentials(root, foreign.certificate, foreign.key)
    outcomes = Counter[str]()
    stop = asyncio.Event()
    address = f"127.0.0.1:{port}"

    async def counted(intruder: Intruder, number: int) -> str:
        outcome = await service.kinds[kind].move(intruder, number)
        if outcomes.total() >= ATTEMPTS or late.done():
            stop.set()
        return outcome

    async with intruding(service, accounts, address, forged, [ALICE.name], request) as intruders:
        late = asyncio.ensure_future(asyncio.sleep(1.0))
        await attack(outcomes, counted, intruders, 12, stop)
        late.cancel()
    return outcomes


@pytest.mark.parametrize("kind", sorted(RELAY.kinds))
def test_every_kind_gets_what_it_deserves_and_is_no_failure_of_the_relay(tmp_path: Path, kind: str) -> None:
    deployment = Deployment()

    async def test() -> Mapping[str, int]:
        config = RelayConfig(tmp_path)
        services = partial(open_relay, config)
        async with deployment.server(Party.PROVIDER, services) as port:
            async with deployment.client(ALICE, Party.PROVIDER, port) as alice:
                await alice.one("Relay/Register", keys(1, one_time=20))
            return await attacked(RELAY, kind, deployment, port)

    outcomes = run(test())
    assert outcomes and set(outcomes) <= AT_THE_RELAY[kind]
    assert deployment.events("failure") == []


@pytest.mark.parametrize("kind", sorted(MATCHER.kinds))
def test_every_kind_gets_what_it_deserves_and_is_no_failure_of_the_matcher(tmp_path: Path, kind: str) -> None:
    check = Check.of(publish(tmp_path / "published"))
    deployment = Deployment()

    async def test() -> Mapping[str, int]:
        config = MatchingConfig(
            DESIGN,
            PublishedSource(DESIGN, tmp_path / "published", Party.MATCHER, CURATOR.public),
            tmp_path,
            None,
        )
        services = partial(open_matching, config)
        async with deployment.server(Party.MATCHER, services) as port:
            return await attacked(MATCHER, kind, deployment, port, check.envelope())

    outcomes = run(test())
    assert outcomes and set(outcomes) <= AT_THE_MATCHER[kind]
    assert deployment.events("failure") == []
