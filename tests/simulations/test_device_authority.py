"""Devices have an authority of their own, which a log and its witnesses do not trust."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from blindmatch_protocol.contract import Party
from blindmatch_server.hosting.authority import Authority, Identity, Kind
from blindmatch_server.hosting.endpoint import ServerContext, Service
from blindmatch_server.hosting.serving import Listen, running
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.transparency import make_log
from grpc_health.v1 import health_pb2
from hostile.intruder import channel_of, status
from msgspec.structs import replace

NOW = datetime.now(UTC)
ALICE = Identity(Kind.DEVICE, "alice")
OLGA = Identity(Kind.OPERATOR, "olga")


@asynccontextmanager
async def nothing(context: ServerContext) -> AsyncIterator[Sequence[Service]]:
    yield []


async def health(deployment: Deployment, party: Party, caller: Identity, port: int) -> str:
    """The status of a call of `caller` to a server of `deployment`."""
    held = Authority.read(deployment.authority).issue(caller, NOW)
    return await asked(held, party, port)


async def asked(held: object, party: Party, port: int) -> str:
    async with channel_of(held, party, f"127.0.0.1:{port}") as opened:  # type: ignore[arg-type]
        call = opened.unary_unary("/grpc.health.v1.Health/Check")
        return await status(call(health_pb2.HealthCheckRequest().SerializeToString(), timeout=240.0))


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    made = Deployment.create(tmp_path / "home", NOW)
    make_log(made, 2, 1)
    return made


@pytest.mark.parametrize("server", ["log", "witness_1", "witness_2", "relay", "matcher", "centre"])
async def test_a_device_can_connect_to_neither_log_nor_witness(deployment: Deployment, server: str) -> None:
    party = Party.of_server(server)
    lines = list[str]()
    listen = Listen(deployment.server_credentials(party), sink=lines.append)
    async with running(server, listen, nothing) as running_one:
        allowed = party in (Party.PROVIDER, Party.MATCHER, Party.CENTRE)
        assert await health(deployment, party, ALICE, running_one.port) == (
            "OK" if allowed else "UNAVAILABLE"
        )
        assert await health(deployment, party, OLGA, running_one.port) == "OK"
    calls = [line for line in map(json.loads, lines) if line["event"] == "call"]
    assert [one["account"] for one in calls] == ["alice", "operator/olga"][0 if allowed else 1 :]


@pytest.mark.parametrize(
    ("kind", "root"), [("operator", "devices"), ("device", "root"), ("relay", "devices")]
)
async def test_each_authority_vouches_for_its_own_alone(deployment: Deployment, kind: str, root: str) -> None:
    """Whoever has the devices' key makes no operator, and no server that clients take for one."""
    authority = Authority.read(deployment.authority)
    held = getattr(authority, root)
    crossed = replace(authority, root=held, devices=held)
    caller = Identity(Kind(kind), "mallory" if kind != "relay" else "")
    forged = replace(crossed.issue(caller, NOW), root=authority.issue(OLGA, NOW).root)
    listen = Listen(deployment.server_credentials(Party.MATCHER), sink=[].append)
    async with running("matcher", listen, nothing) as server:
        assert await asked(forged, Party.MATCHER, server.port) == "UNAUTHENTICATED"
    if kind == "relay":
        async with running(
            "relay", replace(listen, credentials=replace(forged, root=b"")), nothing
        ) as server:
            assert await health(deployment, Party.PROVIDER, ALICE, server.port) == "UNAVAILABLE"
