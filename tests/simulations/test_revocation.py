"""A stolen certificate: every server refuses it once its owner has another, and what it opened ends."""

from __future__ import annotations

import queue
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from blindmatch_client.egress.egress import Credentials
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import Party, batches_of
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_protocol.rpc import blindmatch_v1_pb2_grpc as rpc
from blindmatch_server.hosting.authority import Identity, Kind
from blindmatch_server.hosting.certificates import RevocationList
from blindmatch_simulations.testbed.deployment.devices import open_device
from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError
from blindmatch_simulations.testbed.deployment.operators import secured
from blindmatch_simulations.testbed.scenario.world import World
from cryptography import x509
from support.command import in_process
from support.memory import random_hashes

ALICE = Identity(Kind.DEVICE, "alice")
OLGA = Identity(Kind.OPERATOR, "olga")
RELAY = Identity.of(Party.PROVIDER)
REFUSED = grpc.StatusCode.UNAUTHENTICATED


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Relay, third party, centre, a log and two witnesses."""
    home = tmp_path_factory.mktemp("revoking") / "home"
    with World.create(home, "third-party", witnesses=2) as made:
        made.start(made.log_parties, threads=True)
        salts = np.ones((3, 16), np.uint8)
        source = batches_of(random_hashes(3), np.arange(1, 4, dtype=np.uint64), salts)
        made.publish(source, system_randomness())
        made.start(threads=True)
        for name in ("alice", "bob"):
            made.device(name)
        yield made


def stolen(deployment: Deployment, identity: Identity) -> Credentials:
    deployment.enrol(identity, deployment.folder_of(identity), now())
    return deployment.caller_credentials(identity, deployment.folder_of(identity))


@contextmanager
def connection(world: World, party: Party, held: Credentials) -> Iterator[grpc.Channel]:
    with secured(world.deployment.endpoints()[party].address, party, held) as channel:
        yield channel


def status(call: Any, request: Any) -> grpc.StatusCode:
    try:
        call(request, timeout=240)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


@pytest.mark.parametrize("identity", [ALICE, OLGA, RELAY], ids=lambda one: one.slug)
def test_every_server_refuses_a_stolen_certificate_once_it_is_renewed_on_open_connections_too(
    world: World, identity: Identity
) -> None:
    held = stolen(world.deployment, identity)
    asked = pb.CountersRequest()
    known = {"relay", "centre", "third_party", "log", "witness_1", "witness_2"}
    assert known <= {party.server for party in world.running}
    # devices cannot connect to the log and its witnesses at all
    parties = [one for one in world.running if identity != ALICE or one not in world.log_parties]
    with ExitStack() as stack:
        calls = {
            party: rpc.AuditStub(stack.enter_context(connection(world, party, held))).ReadCounters
            for party in parties
        }
        before = {status(call, asked) for call in calls.values()}
        assert REFUSED not in before and grpc.StatusCode.UNAVAILABLE not in before
        world.deployment.renew(identity, world.deployment.folder_of(identity), now())
        after = {party.server: status(call, asked) for party, call in calls.items()}
        assert set(after.values()) == {REFUSED}, after
    for party in parties:
        with connection(world, party, stolen(world.deployment, identity)) as channel:
            assert status(rpc.AuditStub(channel).ReadCounters, asked) is not REFUSED, "the new one serves"


def test_a_stolen_certificate_acknowledges_nothing_and_its_open_stream_gets_nothing_more(
    world: World,
) -> None:
    held = stolen(world.deployment, ALICE)
    with connection(world, Party.PROVIDER, held) as channel:
        asks = queue.SimpleQueue[pb.Ask | None]()
        line = rpc.RelayStub(channel).Connect(iter(asks.get, None))
        asks.put(pb.Ask(receive=pb.ReceiveRequest(wait_ms=200_000)))
        world.send_text("bob", "alice", "before")
        first = next(line)
        assert first.receive.sequence
        world.deployment.renew(ALICE, world.deployment.device("alice"), now())
        world.send_text("bob", "alice", "after")
        ended = next(line)
        assert ended.WhichOneof("reply") == "refused" and ended.refused.status == "UNAUTHENTICATED"
        acknowledged = pb.AcknowledgeRequest(sequences=[first.receive.sequence])
        asks.put(pb.Ask(acknowledge=acknowledged))
        assert next(line).refused.status == "UNAUTHENTICATED"
        assert status(rpc.RelayStub(channel).Acknowledge, acknowledged) is REFUSED
        asks.put(None)
    world.of("alice").watched.device.close()
    world.of("alice").watched = open_device(world.deployment, "alice")
    assert [one.text for one in world.receive("alice", 2)] == ["before", "after"]


def test_who_renews_refuses_every_certificate_that_the_name_ever_had(deployment: Deployment) -> None:
    first = stolen(deployment, ALICE)
    shutil.rmtree(deployment.device("alice"))
    second = stolen(deployment, ALICE)
    other = stolen(deployment, Identity(Kind.DEVICE, "alice-2"))
    deployment.renew(ALICE, deployment.device("alice"), now())
    third = stolen(deployment, ALICE)
    assert [is_revoked(deployment, one) for one in (first, second, other, third)] == [
        True,
        True,
        False,
        False,
    ]
    assert deployment.revoke(ALICE, now()) == 1 and is_revoked(deployment, third)
    with pytest.raises(DeploymentError, match="no certificate was issued to blindmatch://device/nobody"):
        deployment.revoke(Identity(Kind.DEVICE, "nobody"), now())


def is_revoked(deployment: Deployment, held: Credentials) -> bool:
    serial = x509.load_pem_x509_certificate(held.certificate).serial_number
    return serial in RevocationList.read(deployment.revoked, held.authority).serials


def test_a_revoked_certificate_is_named_by_doctor_and_every_server_s_pack_has_the_list(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for verb in ("issue", "revoke"):
        assert in_process(home, "certs", verb, "operator", "--name", "olga").code == 0
    said = in_process(home, "doctor").out
    assert "it is revoked: servers refuse it" in " ".join(said.replace("│", " ").split())
    for server in ("relay", "matcher", "centre"):
        assert in_process(home, "certs", "pack", server, tmp_path / server).code == 0
        assert (tmp_path / server / "revoked.crl").read_bytes() == (home / "revoked.crl").read_bytes()
    device = (tmp_path / "alice", "--name", "alice")
    assert in_process(home, "certs", "pack", "device", *device).code == 0
    assert not (tmp_path / "alice" / "revoked.crl").exists()
    (home / "relay" / "revoked.number").write_text("2")
    assert in_process(home, "serve", "relay").code == 4
    assert "number 1 is older than number 2" in capfd.readouterr().err
    (home / "revoked.crl").unlink()
    assert in_process(home, "serve", "relay").code == 4 and "revoked.crl" in capfd.readouterr().err
