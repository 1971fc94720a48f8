"""Servers with a wrong, an expired or a swapped certificate: the device does not talk to them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import grpc
import pytest
from blindmatch_client.egress import Call, Egress, Endpoint, Recorder, Retry
from blindmatch_client.egress.calls import REGISTER
from blindmatch_client.errors import ServiceUnavailableError
from blindmatch_client.trace import Purpose
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_protocol.rpc import blindmatch_v1_pb2_grpc as rpc
from blindmatch_server.hosting.authority import Authority, Credentials, Identity, Kind
from support.fakes import AUTHORITY, NOW, FakeRelay, credentials_of

LONG_AGO = NOW - timedelta(days=30)
CERTIFICATES = {
    "of another authority": Authority.create(NOW).issue(Identity.of(Party.PROVIDER), NOW, timedelta(days=1)),
    "expired": AUTHORITY.issue(Identity.of(Party.PROVIDER), LONG_AGO, timedelta(days=1)),
    "not valid yet": AUTHORITY.issue(Identity.of(Party.PROVIDER), NOW + timedelta(days=2), timedelta(days=1)),
    "of another server": AUTHORITY.issue(Identity.of(Party.MATCHER), NOW, timedelta(days=1)),
    "of a device": AUTHORITY.issue(Identity(Kind.DEVICE, "mallory"), NOW, timedelta(days=1)),
}


@contextmanager
def relay_with(held: Credentials) -> Iterator[tuple[FakeRelay, int]]:
    fake = FakeRelay()
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    rpc.add_RelayServicer_to_server(fake, server)
    secured = grpc.ssl_server_credentials(
        [(held.key, held.certificate)], AUTHORITY_ROOT, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", secured)
    server.start()
    yield fake, port
    server.stop(None).wait()


AUTHORITY_ROOT = AUTHORITY.issue(Identity.of(Party.PROVIDER), NOW, timedelta(days=1)).callers


def register(port: int) -> None:
    endpoints = {Party.PROVIDER: Endpoint(f"127.0.0.1:{port}")}
    retry = Retry(attempts=1)
    egress = Egress(endpoints, credentials_of("alice"), Recorder(), lambda: 1, lambda s: None, retry)
    try:
        call = Call(Party.PROVIDER, REGISTER, Purpose.ACCOUNT, None, True, 240.0)
        egress.unary(call, pb.RegisterRequest(identity_key=b"k" * 32))
    finally:
        egress.close()


@pytest.mark.parametrize("which", CERTIFICATES)
def test_a_server_with_such_a_certificate_gets_nothing(which: str) -> None:
    with relay_with(CERTIFICATES[which]) as (fake, port):
        with pytest.raises(ServiceUnavailableError, match="both certificates are of one authority"):
            register(port)
        assert fake.calls == []


def test_a_server_with_the_right_certificate_is_talked_to() -> None:
    with relay_with(AUTHORITY.issue(Identity.of(Party.PROVIDER), NOW, timedelta(days=1))) as (fake, port):
        register(port)
        assert fake.calls == ["Register"]
