"""What holds for every server: identity, statuses, counters, logs, ports and drain."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from blindmatch_protocol.codec.errors import DesignError, EpochMismatchError, ProtocolError
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.hosting import exit_codes
from blindmatch_server.hosting.authority import Authority, AuthorityError, Credentials, Identity, Kind
from blindmatch_server.hosting.certificates import RevocationList
from blindmatch_server.hosting.endpoint import DEVICES, OPERATORS, Call, Method, ServerContext, Service
from blindmatch_server.hosting.serving import handlers_of, running, serve
from blindmatch_server.storage.errors import PortTakenError
from blindmatch_server.storage.files import replace_file
from cryptography import x509
from grpc_health.v1 import health_pb2
from msgspec.structs import replace

from .deployment import ALICE, BOB, NOW, OPERATOR, SECONDS, Client, Deployment, channel, refused

STATUS = grpc.StatusCode
SECRET = "a hash that must not be told"


class Scripted:
    """The `Centre` service, whose `Key` does what a test wants."""

    descriptor = wire.DESCRIPTOR.services_by_name["Centre"]

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.seconds = 0.0
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.callers: list[Identity | None] = []
        self.called = asyncio.Event()

    def methods(self) -> Mapping[str, Method]:
        devices = {"Submit": Method(self.key, DEVICES), "SubmitVoucher": Method(self.key, DEVICES)}
        others = {method.name: Method(self.key, OPERATORS) for method in self.descriptor.methods}
        return {**others, **devices, "Key": Method(self.key, DEVICES, most_seconds=SECONDS)}

    async def key(self, request: wire.CentreKeyRequest, call: Call) -> wire.CentreKey:
        self.callers.append(call.caller)
        self.called.set()
        await asyncio.sleep(self.seconds)
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        return wire.CentreKey(public_key=b"k" * 32)


@asynccontextmanager
async def scripted(
    deployment: Deployment, service: Scripted | None = None, **options: object
) -> AsyncIterator[tuple[Scripted, int]]:
    service = service or Scripted()

    @asynccontextmanager
    async def services(desk: ServerContext) -> AsyncIterator[Sequence[Service]]:
        yield [service]

    async with deployment.server(Party.CENTRE, services, **options) as port:
        yield service, port


async def ask(credentials: Credentials, port: int, party: Party = Party.CENTRE) -> wire.CentreKey:
    async with channel(credentials, party, port) as opened:
        reply: wire.CentreKey = await Client(opened).one("Centre/Key", wire.CentreKeyRequest())
        return reply


async def test_the_identity_is_the_certificate_s() -> None:
    deployment = Deployment()
    async with scripted(deployment) as (service, port):
        await ask(deployment.credentials(ALICE), port)
        await ask(deployment.credentials(BOB), port)
        assert service.callers == [ALICE, BOB]


async def test_no_certificate_a_foreign_one_and_one_that_has_run_out_are_refused() -> None:
    deployment = Deployment()
    mine = deployment.credentials(ALICE)
    stranger = Authority.create(NOW).issue(ALICE, NOW)
    old = deployment.authority.issue(ALICE, NOW - timedelta(days=2), timedelta(days=1))
    async with scripted(deployment) as (service, port):
        for bad in (stranger, old):
            mixed = Credentials(mine.root, bad.certificate, bad.key)
            code, _, _ = await refused(ask(mixed, port))
            assert code is STATUS.UNAVAILABLE
        bare = grpc.ssl_channel_credentials(mine.root)
        options = [("grpc.ssl_target_name_override", "centre.blindmatch.test")]
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", bare, options) as opened:
            call = Client(opened).one("Centre/Key", wire.CentreKeyRequest())
            assert (await refused(call))[0] is STATUS.UNAVAILABLE
        assert service.callers == []


async def test_a_connection_does_not_outlive_its_certificate() -> None:
    now = time.time()
    deployment = Deployment(clock=lambda: now)
    async with (
        scripted(deployment) as (_, port),
        deployment.client(ALICE, Party.CENTRE, port) as alice,
    ):
        await alice.one("Centre/Key", wire.CentreKeyRequest())
        now += 2 * 24 * 3600
        code, _, _ = await refused(alice.one("Centre/Key", wire.CentreKeyRequest()))
        assert code is STATUS.UNAUTHENTICATED


async def test_a_server_does_not_pass_for_another_and_a_device_for_none() -> None:
    deployment = Deployment()
    async with scripted(deployment) as (service, port):
        code, _, _ = await refused(ask(deployment.credentials(ALICE), port, Party.MATCHER))
        assert code is STATUS.UNAVAILABLE
        assert service.callers == []


async def test_a_certificate_that_names_no_party_is_unauthenticated(monkeypatch: pytest.MonkeyPatch) -> None:
    deployment = Deployment()
    with monkeypatch.context() as patch:
        patch.setattr(Identity, "uri", "blindmatch://device/relay")
        odd = deployment.authority.issue(Identity(Kind.DEVICE, "x"), NOW)
    async with scripted(deployment) as (service, port):
        code, _, _ = await refused(ask(odd, port))
        assert code is STATUS.UNAUTHENTICATED
        assert service.callers == []


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ProtocolError("x/request", "must be 3 bytes", "y"), STATUS.INVALID_ARGUMENT, "field y: must be 3"),
        (EpochMismatchError("x/request", "must be 2", "epoch"), STATUS.FAILED_PRECONDITION, "must be 2"),
        (DesignError("cannot"), STATUS.FAILED_PRECONDITION, "cannot"),
        (ValueError(SECRET), STATUS.INTERNAL, "internal error"),
        (KeyError(SECRET), STATUS.INTERNAL, "internal error"),
        (sqlite3.OperationalError(SECRET), STATUS.UNAVAILABLE, "storage failed"),
        (OSError(28, SECRET), STATUS.UNAVAILABLE, "storage failed"),
        (TimeoutError(SECRET), STATUS.DEADLINE_EXCEEDED, "too long"),
    ],
)
async def test_an_exception_becomes_a_status_and_leaks_no_text(
    error: Exception, code: STATUS, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    deployment = Deployment()
    async with scripted(deployment) as (service, port):
        service.error = error
        got, details, trailing = await refused(ask(deployment.credentials(ALICE), port))
        assert got is code
        assert text in details
        (call,) = deployment.events("call")
        assert call["request_id"] == trailing["request-id"]
        assert call["status"] == code.name
        if code is STATUS.INTERNAL:
            (failure,) = deployment.events("failure")
            assert failure["error"] == type(error).__name__
            assert trailing["request-id"] in details
        assert SECRET not in "".join(deployment.lines) + details + str(trailing)
    assert caplog.records == []


async def test_bytes_that_are_no_message_are_an_invalid_argument() -> None:
    deployment = Deployment()
    async with (
        scripted(deployment) as (_, port),
        channel(deployment.credentials(ALICE), Party.CENTRE, port) as opened,
    ):
        code, text, _ = await refused(Client(opened).one("Centre/Key", b"\xff\xff"))
        assert (code, "CentreKeyRequest" in text) == (STATUS.INVALID_ARGUMENT, True)
        code, _, _ = await refused(Client(opened).one("Centre/Key", bytes(2 << 20)))
        assert code is STATUS.RESOURCE_EXHAUSTED


async def test_operators_read_what_was_counted_and_devices_do_not() -> None:
    deployment = Deployment()
    async with (
        scripted(deployment) as (_, port),
        deployment.client(ALICE, Party.CENTRE, port) as alice,
        deployment.client(OPERATOR, Party.CENTRE, port) as operator,
    ):
        for _ in range(3):
            await alice.one("Centre/Key", wire.CentreKeyRequest())
        code, _, _ = await refused(alice.one("Audit/ReadCounters", wire.CountersRequest()))
        assert code is STATUS.PERMISSION_DENIED
        counters = (await operator.one("Audit/ReadCounters", wire.CountersRequest())).counters
        key = wire.CentreKey(public_key=b"k" * 32).ByteSize()
        expected = wire.Counter(
            method="/blindmatch.v1.Centre/Key", account="alice", calls=3, bytes_in=0, bytes_out=3 * key
        )
        assert expected in counters


async def test_health_says_serving_and_reflection_names_the_services() -> None:
    deployment = Deployment()
    async with (
        scripted(deployment) as (_, port),
        channel(deployment.credentials(OPERATOR), Party.CENTRE, port) as opened,
    ):
        check = opened.unary_unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        for name in ("", "blindmatch.v1.Centre", "blindmatch.v1.Audit"):
            reply = await check(health_pb2.HealthCheckRequest(service=name))
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
        reflect: Any = opened.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        # list_services, field 7 of the request
        replies = [bytes(reply) async for reply in reflect(iter([b"\x3a\x00"]))]
        assert b"blindmatch.v1.Centre" in replies[0]


async def test_a_deadline_ends_a_call() -> None:
    deployment = Deployment()
    async with scripted(deployment) as (service, port):
        service.may_end.clear()
        async with channel(deployment.credentials(ALICE), Party.CENTRE, port) as opened:
            while not deployment.events("call"):  # one may end before it has reached the server
                call = Client(opened).one("Centre/Key", wire.CentreKeyRequest(), 0.3)
                assert (await refused(call))[0] is STATUS.DEADLINE_EXCEEDED
                await asyncio.sleep(0.05)
        ends = {one["status"] for one in deployment.events("call")}
        assert ends <= {"DEADLINE_EXCEEDED", "CANCELLED"}


async def test_drain_finishes_the_calls_that_run() -> None:
    deployment = Deployment()
    async with scripted(deployment) as (service, port):
        service.seconds = 0.5
        call = asyncio.ensure_future(ask(deployment.credentials(ALICE), port))
        await service.called.wait()
    assert (await call).public_key == b"k" * 32
    assert [line["event"] for line in map(json.loads, deployment.lines)][-2:] == ["call", "drained"]


async def test_drain_cuts_off_what_outlasts_the_grace_period() -> None:
    deployment = Deployment()
    async with scripted(deployment, grace_seconds=0.2) as (service, port):
        service.may_end.clear()
        call = asyncio.ensure_future(ask(deployment.credentials(ALICE), port))
        await service.called.wait()
    assert (await refused(call))[0] in {STATUS.UNAVAILABLE, STATUS.CANCELLED}


async def test_a_taken_port_is_an_error_with_an_exit_code_of_its_own() -> None:
    deployment = Deployment()

    @asynccontextmanager
    async def services(desk: ServerContext) -> AsyncIterator[Sequence[Service]]:
        yield [Scripted()]

    async with scripted(deployment) as (_, port):
        listen = deployment.listen(Party.CENTRE, port=port)
        with pytest.raises(PortTakenError, match=f"127.0.0.1:{port} cannot be bound: it is in use"):
            async with running("centre", listen, services):
                pass
        foreign = replace(deployment.listen(Party.CENTRE), host="192.0.2.1")
        with pytest.raises(PortTakenError, match="not an address of this machine"):
            async with running("centre", foreign, services):
                pass
        code = await asyncio.to_thread(_serve_in_thread, deployment, port)
        assert code == exit_codes.PORT_TAKEN


def _serve_in_thread(deployment: Deployment, port: int) -> int:
    async def services(desk: ServerContext) -> AsyncIterator[Sequence[Service]]:
        yield [Scripted()]

    with pytest.MonkeyPatch.context() as patch:
        # signal handlers can be set in the main thread only
        patch.setattr("asyncio.unix_events._UnixSelectorEventLoop.add_signal_handler", lambda *_: None)
        return serve("centre", deployment.listen(Party.CENTRE, port=port), asynccontextmanager(services))


@pytest.mark.parametrize("swap", ["key", "root", "junk"])
def test_credentials_that_do_not_belong_together_stop_the_server(swap: str) -> None:
    deployment = Deployment()
    mine = deployment.credentials(Identity.of(Party.CENTRE))
    other = deployment.credentials(ALICE)
    bad = {
        "key": Credentials(mine.root, mine.certificate, other.key),
        "root": Credentials(Deployment().credentials(ALICE).root, mine.certificate, mine.key),
        "junk": Credentials(mine.root, b"junk", mine.key),
    }[swap]

    @asynccontextmanager
    async def services(desk: ServerContext) -> AsyncIterator[Sequence[Service]]:
        yield [Scripted()]

    listen = replace(deployment.listen(Party.CENTRE), credentials=bad)
    assert serve("centre", listen, services) == exit_codes.BAD_STATE
    assert "certificates" in deployment.events("stopped")[0]["reason"]


async def test_the_port_file_holds_the_bound_port_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "centre.port"
    async with scripted(Deployment(), port_file=path) as (_, port):
        assert path.read_text() == f"{port}\n"
    assert list(tmp_path.iterdir()) == []


async def test_a_port_file_that_another_server_has_replaced_stays(tmp_path: Path) -> None:
    path = tmp_path / "centre.port"
    async with scripted(Deployment(), port_file=path):
        path.write_text("1\n")
    assert path.read_text() == "1\n"


def test_a_server_ends_when_the_pipe_it_was_given_has_no_writer(tmp_path: Path) -> None:
    deployment = Deployment()
    reader, writer = os.pipe()

    @asynccontextmanager
    async def services(desk: ServerContext) -> AsyncIterator[list[Scripted]]:
        os.write(writer, b"said meanwhile")
        asyncio.get_running_loop().call_later(0.3, os.close, writer)
        yield [Scripted()]

    listen = replace(deployment.listen(Party.CENTRE), ends_with=reader, port_file=tmp_path / "port")
    try:
        assert serve("centre", listen, services) == exit_codes.OK
    finally:
        os.close(reader)
    assert deployment.events("drained") and list(tmp_path.iterdir()) == []


def test_what_has_no_end_to_wait_for_is_refused_as_such(tmp_path: Path) -> None:
    deployment = Deployment()

    @asynccontextmanager
    async def services(desk: ServerContext) -> AsyncIterator[list[Scripted]]:
        yield [Scripted()]

    with (tmp_path / "file").open("w+b") as file:
        listen = replace(deployment.listen(Party.CENTRE), ends_with=file.fileno())
        assert serve("centre", listen, services) == exit_codes.BAD_STATE
    assert "must be a pipe" in deployment.events("stopped")[0]["reason"]


def test_a_method_that_the_proto_does_not_have_is_noticed_at_the_start() -> None:
    class Short(Scripted):
        def methods(self) -> Mapping[str, Method]:
            return {name: method for name, method in super().methods().items() if name != "Show"}

    with pytest.raises(TypeError, match="Show"):
        handlers_of(Short(), None)  # type: ignore[arg-type]


def revoking(deployment: Deployment, number: int, *identities: Identity) -> bytes:
    held = [x509.load_pem_x509_certificate(deployment.credentials(one).certificate) for one in identities]
    serials = frozenset(one.serial_number for one in held)
    return RevocationList(number, serials).signed(deployment.authority, NOW)


async def test_a_new_list_counts_at_once_and_a_worse_one_changes_nothing(tmp_path: Path) -> None:
    deployment = Deployment()
    path = tmp_path / "revoked.crl"
    path.write_bytes(revoking(deployment, 0))
    async with (
        scripted(deployment, revoked=(path, tmp_path / "number")) as (_, port),
        deployment.client(ALICE, Party.CENTRE, port) as alice,
        deployment.client(BOB, Party.CENTRE, port) as bob,
    ):
        await alice.one("Centre/Key", wire.CentreKeyRequest())
        replace_file(path, revoking(deployment, 1, ALICE))
        stranger = Deployment()
        older = revoking(deployment, 0)
        foreign = revoking(stranger, 9)
        for content in (revoking(deployment, 1, ALICE), older, foreign, b"damaged", b""):
            replace_file(path, content)
            code, text, _ = await refused(alice.one("Centre/Key", wire.CentreKeyRequest()))
            assert (code, "revoked" in text) == (STATUS.UNAUTHENTICATED, True)
            await bob.one("Centre/Key", wire.CentreKeyRequest())
        path.unlink()
        assert (await refused(alice.one("Centre/Key", wire.CentreKeyRequest())))[0] is STATUS.UNAUTHENTICATED
        assert len(deployment.events("revocations-kept")) == 5
        path.write_bytes(revoking(deployment, 2, BOB))
        await alice.one("Centre/Key", wire.CentreKeyRequest())
        assert (await refused(bob.one("Centre/Key", wire.CentreKeyRequest())))[0] is STATUS.UNAUTHENTICATED


@pytest.mark.parametrize("content", [None, b"", b"damaged", b"foreign"])
async def test_a_server_without_a_good_list_does_not_start(content: bytes | None, tmp_path: Path) -> None:
    deployment = Deployment()
    path = tmp_path / "revoked.crl"
    if content is not None:
        path.write_bytes(revoking(Deployment(), 1) if content == b"foreign" else content)
    with pytest.raises(AuthorityError, match=r"revoked\.crl"):
        async with scripted(deployment, revoked=(path, tmp_path / "number")):
            pass


async def test_a_list_older_than_one_that_was_read_is_refused_after_a_restart_too(tmp_path: Path) -> None:
    deployment = Deployment()
    path = tmp_path / "revoked.crl"
    number = tmp_path / "number"
    held = {"revoked": (path, number)}
    for known in (2, 3, 3):
        path.write_bytes(revoking(deployment, known, ALICE))
        async with scripted(deployment, **held) as (_, port):
            code, _, _ = await refused(ask(deployment.credentials(ALICE), port))
            assert code is STATUS.UNAUTHENTICATED
            replace_file(path, revoking(deployment, 1))
            code, _, _ = await refused(ask(deployment.credentials(ALICE), port))
            assert code is STATUS.UNAUTHENTICATED
    for content in (b"", b"three", b"-"):
        number.write_bytes(content)
        with pytest.raises(AuthorityError, match="must hold the highest number read"):
            async with scripted(deployment, **held):
                pass
    number.write_bytes(b"3")
    for older in (0, 2):
        path.write_bytes(revoking(deployment, older))
        with pytest.raises(AuthorityError, match=f"number {older} is older than number 3, which was read"):
            async with scripted(deployment, **held):
                pass
