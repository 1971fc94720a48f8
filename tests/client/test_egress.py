"""The seam: what is recorded is what is sent, and calls end in one of three errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import blindmatch_client
import grpc
import pytest
from blindmatch_client.egress import Call, Credentials, Egress, Endpoint, Recorder, Retry
from blindmatch_client.egress.calls import DESCRIBE, DOWNLOAD, FETCH_BUNDLE, REGISTER, UPLOAD
from blindmatch_client.errors import (
    DeviceError,
    MisbehavedError,
    RefusedError,
    ServiceUnavailableError,
    UnreachedError,
)
from blindmatch_client.trace import Purpose
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from dummy_designs import ECHO
from support.fakes import Fail, World, credentials_of, down, hashes_with, serve

STATUS = grpc.StatusCode
REGISTRATION = pb.RegisterRequest(identity_key=b"i" * 32, one_time_pre_keys=[b"o" * 32])


class Raw(grpc.GenericRpcHandler):
    """Keeps every request's bytes and answers with given ones."""

    def __init__(self, reply: bytes = b"") -> None:
        self.reply = reply
        self.got: list[bytes] = []
        self.metadata: list[dict[str, str]] = []

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        self.metadata.append(dict(details.invocation_metadata))
        if details.method.endswith("Upload"):
            return grpc.stream_unary_rpc_method_handler(lambda parts, _: self.take(*parts))
        return grpc.unary_unary_rpc_method_handler(lambda raw, _: self.take(raw))

    def take(self, *raw: bytes) -> bytes:
        self.got += raw
        return self.reply


@pytest.fixture
def raw() -> Iterator[tuple[Raw, Egress, list[float]]]:
    handler = Raw()
    slept = list[float]()
    times = iter(range(1000))
    server, port = serve(Party.PROVIDER, lambda s: s.add_generic_rpc_handlers((handler,)))
    endpoints = {Party.PROVIDER: Endpoint(f"127.0.0.1:{port}")}
    egress = Egress(endpoints, credentials_of("alice"), Recorder(), lambda: next(times), slept.append)
    yield handler, egress, slept
    egress.close()
    server.stop(None).wait()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world(ECHO, hashes_with())


def registering(**options: object) -> Call[pb.RegisterRequest, pb.RegisterReply]:
    return Call(Party.PROVIDER, REGISTER, Purpose.ACCOUNT, **options)  # type: ignore[arg-type]


def test_the_recorded_bytes_are_the_bytes_that_arrive(raw: tuple[Raw, Egress, list[float]]) -> None:
    handler, egress, _ = raw
    egress.unary(registering(item=4), REGISTRATION)
    parts = [pb.Part(size=3, data=b"abc"), pb.Part(data=b"d")]
    egress.upload(Call(Party.PROVIDER, UPLOAD, Purpose.MESSAGE), lambda: parts)
    first, second = egress.recorder.records()
    assert first.requests + second.requests == tuple(handler.got)
    assert (first.sequence, first.item, first.purpose, first.at_ms) == (0, 4, Purpose.ACCOUNT, 0)
    assert second.method == "/blindmatch.v1.Relay/Upload" and second.request_bytes == len(
        b"".join(handler.got[1:])
    )


def test_a_call_is_recorded_before_it_goes_out() -> None:
    recorder = Recorder()
    egress = Egress(
        {Party.PROVIDER: Endpoint("127.0.0.1:1")},
        credentials_of("alice"),
        recorder,
        lambda: 5,
        lambda s: None,
    )
    with pytest.raises(ServiceUnavailableError):
        egress.unary(registering(), REGISTRATION)
    (record,) = recorder.records()
    assert record.requests == (REGISTRATION.SerializeToString(deterministic=True),)
    egress.close()


def test_headers_bear_nothing_but_the_method_the_deadline_and_a_fixed_user_agent(
    raw: tuple[Raw, Egress, list[float]],
) -> None:
    handler, egress, _ = raw
    egress.unary(registering(), REGISTRATION)
    egress.unary(registering(), pb.RegisterRequest())
    first, second = handler.metadata
    assert first == second
    assert set(first) == {"user-agent"} and first["user-agent"].startswith("blindmatch ")


def test_a_reply_that_is_no_message_is_misbehaviour(raw: tuple[Raw, Egress, list[float]]) -> None:
    handler, egress, _ = raw
    handler.reply = b"\xff\xff"
    with pytest.raises(MisbehavedError, match="the relay broke the wire interface: not a RegisterReply"):
        egress.unary(registering(idempotent=True), REGISTRATION)
    assert len(handler.got) == 1


def test_an_idempotent_call_is_made_again_with_the_same_bytes_and_longer_waits(world: World) -> None:
    recorder = Recorder()
    slept = list[float]()
    egress = world.egress("alice", recorder, slept)
    world.relay.fail_next(down(), down())
    egress.unary(registering(idempotent=True), REGISTRATION)
    assert [r.requests for r in recorder.records()] == [recorder.records()[0].requests] * 3
    assert slept == [0.01, 0.02]
    egress.close()


def test_retries_end(world: World) -> None:
    egress = world.egress("alice", Recorder(), [])
    world.relay.fail_always(down())
    with pytest.raises(ServiceUnavailableError, match="the relay cannot be reached: check"):
        egress.unary(registering(idempotent=True), REGISTRATION)
    assert world.relay.calls == ["Register"] * 3
    egress.close()


def test_a_call_that_may_have_got_through_is_told_from_one_that_cannot_have(world: World) -> None:
    nowhere = {Party.PROVIDER: Endpoint("127.0.0.1:1")}
    egress = Egress(nowhere, credentials_of("alice"), Recorder(), lambda: 0, lambda s: None, Retry(2))
    with pytest.raises(UnreachedError, match="the relay cannot be reached: check"):
        egress.unary(registering(idempotent=True), REGISTRATION)
    egress.close()
    world.relay.fail_always(down())
    there = {Party.PROVIDER: Endpoint(f"127.0.0.1:{world.ports[Party.PROVIDER]}")}
    egress = Egress(
        there, credentials_of("alice"), Recorder(), lambda: 0, lambda s: there.update(nowhere), Retry(2)
    )
    with pytest.raises(ServiceUnavailableError) as caught:
        egress.unary(registering(idempotent=True), REGISTRATION)
    assert not isinstance(caught.value, UnreachedError)
    egress.close()


def test_a_call_that_is_not_idempotent_is_made_once(world: World) -> None:
    egress = world.egress("alice", Recorder(), [])
    world.relay.fail_always(down())
    with pytest.raises(ServiceUnavailableError):
        egress.unary(Call(Party.PROVIDER, FETCH_BUNDLE, Purpose.ACCOUNT), pb.BundleRequest(account="bob"))
    assert world.relay.calls == ["FetchBundle"]
    egress.close()


def test_a_server_that_names_a_time_is_asked_again_then(world: World) -> None:
    slept: list[float] = []
    egress = world.egress("alice", Recorder(), slept)
    world.relay.fail_next(Fail(STATUS.RESOURCE_EXHAUSTED, "slowly", retry_after_ms=1500))
    egress.unary(registering(idempotent=True), REGISTRATION)
    world.relay.fail_always(Fail(STATUS.RESOURCE_EXHAUSTED, "never", retry_after_ms=999_999))
    with pytest.raises(RefusedError) as caught:
        egress.unary(registering(idempotent=True), REGISTRATION)
    assert slept == [1.5] and caught.value.retry_after_ms == 999_999
    egress.close()


def test_a_refusal_names_party_status_and_printable_words(world: World) -> None:
    egress = world.egress("alice", Recorder(), [])
    world.relay.fail_always(Fail(STATUS.PERMISSION_DENIED, "no\x1b[31m" + "x" * 900))
    with pytest.raises(RefusedError) as caught:
        egress.unary(registering(), REGISTRATION)
    assert caught.value.party == Party.PROVIDER and caught.value.status == "PERMISSION_DENIED"
    assert "\x1b" not in str(caught.value) and len(caught.value.detail) == 200
    egress.close()


@pytest.mark.parametrize("code", [STATUS.INTERNAL, STATUS.UNKNOWN, STATUS.ABORTED, STATUS.DATA_LOSS])
def test_a_party_that_fails_inside_is_unavailable(world: World, code: grpc.StatusCode) -> None:
    egress = world.egress("alice", Recorder(), [])
    world.relay.fail_always(Fail(code))
    with pytest.raises(ServiceUnavailableError):
        egress.unary(registering(), REGISTRATION)
    egress.close()


def test_a_slow_party_is_given_up_on_after_the_deadline(world: World) -> None:
    egress = world.egress("alice", Recorder(), [])
    given_up = Event()
    world.relay.fault = lambda method: given_up.wait(240)
    with pytest.raises(ServiceUnavailableError, match="did not answer in time"):
        egress.unary(registering(deadline_s=0.2), REGISTRATION)
    given_up.set()
    egress.close()


def test_a_server_under_another_name_is_not_talked_to(world: World) -> None:
    recorder = Recorder()
    swapped = {Party.CENTRE: Endpoint(f"127.0.0.1:{world.ports[Party.PROVIDER]}")}
    egress = Egress(swapped, credentials_of("alice"), recorder, lambda: 0, lambda s: None, Retry(1))
    with pytest.raises(ServiceUnavailableError, match="of one authority"):
        egress.unary(Call(Party.CENTRE, DESCRIBE, Purpose.SETUP), pb.DescribeRequest())
    assert world.relay.calls == []
    egress.close()


def test_a_stream_left_unread_is_cancelled_and_its_bytes_are_counted(world: World) -> None:
    recorder = Recorder()
    egress = world.egress("alice", recorder, [])
    world.relay.blobs[b"b" * 16] = bytes(1 << 20)
    call = Call(Party.PROVIDER, DOWNLOAD, Purpose.MESSAGE)
    part = egress.stream(call, lambda: pb.DownloadRequest(blob_id=b"b" * 16), lambda replies: next(replies))
    assert part.size == 1 << 20
    (record,) = recorder.records()
    assert 1 << 18 < record.reply_bytes < 1 << 19
    egress.close()


def test_a_request_over_a_megabyte_never_leaves(raw: tuple[Raw, Egress, list[float]]) -> None:
    handler, egress, _ = raw
    with pytest.raises(DeviceError, match="at most"):
        egress.unary(registering(), pb.RegisterRequest(identity_key=bytes(1 << 20)))
    assert handler.got == [] and egress.recorder.records()[0].requests == ()


def test_an_unknown_party_and_unreadable_certificates_are_named(tmp_path: Path) -> None:
    egress = Egress({}, credentials_of("alice"), Recorder(), lambda: 0)
    with pytest.raises(ServiceUnavailableError, match="the relay cannot be reached: no address"):
        egress.unary(registering(), REGISTRATION)
    with pytest.raises(DeviceError, match=r"missing\.crt"):
        Credentials.read(tmp_path / "missing.crt", tmp_path, tmp_path)


def test_a_key_never_shows_in_a_repr() -> None:
    held = credentials_of("alice")
    assert held.key.decode() not in repr(held) and "PRIVATE" not in repr(held)


def test_older_records_are_dropped_where_few_are_kept(raw: tuple[Raw, Egress, list[float]]) -> None:
    _, egress, _ = raw
    egress.recorder = Recorder(most_records=2)
    for _ in range(5):
        egress.unary(registering(), REGISTRATION)
    assert [one.sequence for one in egress.recorder.records()] == [3, 4]


def test_only_the_egress_package_imports_grpc() -> None:
    root = Path(str(blindmatch_client.__file__)).parent
    pattern = re.compile(r"^\s*(import|from) +(grpc|socket|http|urllib|ssl)\b", re.MULTILINE)
    found = {
        path.relative_to(root).parts[0] for path in root.rglob("*.py") if pattern.search(path.read_text())
    }
    assert found == {"egress"}


def relay_at(handler: Raw) -> tuple[grpc.Server, Endpoint]:
    """A relay, and where it is."""
    server, port = serve(Party.PROVIDER, lambda s: s.add_generic_rpc_handlers((handler,)))
    return server, Endpoint(f"127.0.0.1:{port}")


def registered(handler: Raw) -> tuple[grpc.Server, dict[Party, Endpoint], Egress]:
    """A relay, the directory that names it, and a device that has called it once."""
    server, endpoint = relay_at(handler)
    directory = {Party.PROVIDER: endpoint}
    egress = Egress(directory, credentials_of("alice"), Recorder(), lambda: 0, lambda _: None)
    egress.unary(registering(), REGISTRATION)
    return server, directory, egress


def test_an_address_is_looked_up_again_after_a_call_found_nobody_there(
    raw: tuple[Raw, Egress, list[float]],
) -> None:
    handler, _, _ = raw
    first, directory, egress = registered(handler)
    second, directory[Party.PROVIDER] = relay_at(handler)
    egress.unary(registering(), REGISTRATION)
    first.stop(None).wait()
    with pytest.raises(ServiceUnavailableError):
        egress.unary(registering(), REGISTRATION)
    egress.unary(registering(), REGISTRATION)
    egress.close()
    second.stop(None).wait()
    assert len(handler.got) == 3


def test_a_server_that_is_known_not_to_run_is_not_called_and_found_when_it_runs(
    raw: tuple[Raw, Egress, list[float]],
) -> None:
    handler, _, _ = raw
    server, directory, egress = registered(handler)
    server.stop(None).wait()
    directory[Party.PROVIDER] = Endpoint("")
    for _ in range(2):
        with pytest.raises(ServiceUnavailableError):
            egress.unary(registering(), REGISTRATION)
    server, directory[Party.PROVIDER] = relay_at(handler)
    egress.unary(registering(), REGISTRATION)
    egress.close()
    server.stop(None).wait()
    assert len(handler.got) == 2
