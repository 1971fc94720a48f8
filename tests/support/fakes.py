"""Small stand-ins for relay, matcher and centre over real gRPC with mutual TLS, and devices to call them.

Each fake keeps what it got, and can be told to fail: `fault` is called before every call with the method's
name and raises `Fail` to end it with a status.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import numpy as np
from blindmatch_client.device import CentreIdentity, Device, DeviceConfig
from blindmatch_client.egress import Credentials, Egress, Endpoint, Recorder, Retry
from blindmatch_client.messenger.account import Account
from blindmatch_client.trace import SessionTrace, Traces
from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.contract import (
    AnyDesign,
    Party,
    Request,
    Role,
    Stated,
    answered,
)
from blindmatch_protocol.messages.epoch_manifest import EpochManifest
from blindmatch_protocol.messages.franking import Stamped
from blindmatch_protocol.messages.report import Report, open_report
from blindmatch_protocol.messages.sealed_message import SealedMessage
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_protocol.rpc import blindmatch_v1_pb2_grpc as rpc
from blindmatch_server.hosting.authority import Authority, Identity, Kind
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from PIL import Image

from support.memory import build, opened, random_hashes
from support.signed import CURATOR, manifest_of

NOW = datetime.now(UTC)
AUTHORITY = Authority.create(NOW)
NOTICES = Account.create("centre-notices", 1, 4, bytes(range(32)))
"""The centre's own account at the messenger."""
CENTRE_KEY = X25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
CENTRE = CentreIdentity(CENTRE_KEY.public_key().public_bytes_raw(), NOTICES.identity)
"""What devices are configured with."""
STAMP_KEY = bytes(range(64, 96))


class Fail(Exception):  # noqa: N818
    """Ends a call with a status."""

    def __init__(
        self, code: grpc.StatusCode, detail: str = "at will", retry_after_ms: int | None = None
    ) -> None:
        self.code = code
        self.detail = detail
        self.trailing = () if retry_after_ms is None else (("retry-after-ms", str(retry_after_ms)),)


def down() -> Fail:
    return Fail(grpc.StatusCode.UNAVAILABLE)


def account_of(context: grpc.ServicerContext) -> str:
    (uri,) = (n for n in context.auth_context()["x509_subject_alternative_name"] if b"://" in n)
    return str(uri.decode().rpartition("/")[2])


class Fake:
    """What all fakes do: count calls, and fail when told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fault: Callable[[str], None] = lambda method: None
        self.fault_after: Callable[[str], None] = lambda method: None

    def enter(self, method: str, context: grpc.ServicerContext) -> None:
        self.calls.append(method)
        self.end_if(self.fault, method, context)

    def end_if(self, fault: Callable[[str], None], method: str, context: grpc.ServicerContext) -> None:
        try:
            fault(method)
        except Fail as fail:
            context.set_trailing_metadata(fail.trailing)
            context.abort(fail.code, fail.detail)

    def fail_next(self, *fails: Fail | None, method: str = "") -> None:
        """The next calls (of `method`) fail so; None lets one pass; after them all pass."""
        left = list(fails)

        def fault(called: str) -> None:
            if left and method in ("", called):
                fail = left.pop(0)
                if fail is not None:
                    raise fail

        self.fault = fault

    def fail_always(self, fail: Fail, method: str = "") -> None:
        def fault(called: str) -> None:
            if method in ("", called):
                raise fail

        self.fault = fault

    def heal(self) -> None:
        self.fault = lambda method: None


class OnLine:
    """The context of a call that came on a line: its end becomes an answer."""

    class Aborted(Exception):  # noqa: N818
        pass

    def __init__(self, context: Any) -> None:
        self.refused = pb.Refused()
        self.auth_context = context.auth_context
        self.is_active = context.is_active

    def set_trailing_metadata(self, trailing: Any) -> None:
        self.refused.retry_after_ms = int(dict(trailing).get("retry-after-ms", 0))

    def abort(self, code: grpc.StatusCode, detail: str) -> None:
        self.refused.status = code.name
        self.refused.text = detail
        raise OnLine.Aborted


class FakeRelay(Fake, rpc.RelayServicer):
    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, pb.RegisterRequest] = {}
        self.queues: dict[str, list[pb.Delivery]] = {}
        self.ids: set[bytes] = set()
        self.places: set[bytes] = set()
        self.lock = threading.Lock()
        self.blobs: dict[bytes, bytes] = {}
        self.handed_out: set[bytes] = set()
        self.held: Callable[[], int] | None = None
        self.expired: dict[str, list[pb.Expired]] = {}
        self.deliveries: Callable[[str, Any], Iterable[pb.Delivery]] = lambda account, context: list(
            self.queues[account]
        )

    def Register(self, request: Any, context: Any) -> Any:
        self.enter("Register", context)
        with self.lock:
            fresh = [key for key in request.one_time_pre_keys if key not in self.handed_out]
            del request.one_time_pre_keys[:]
            request.one_time_pre_keys.extend(fresh)
            self.keys[account_of(context)] = request
            self.queues.setdefault(account_of(context), [])
        held = len(request.one_time_pre_keys) if self.held is None else self.held()
        return pb.RegisterReply(one_time_pre_keys_held=held)

    def FetchBundle(self, request: Any, context: Any) -> Any:
        self.enter("FetchBundle", context)
        keys = self.keys.get(request.account)
        if keys is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such account")
            raise AssertionError
        with self.lock:
            keys = self.keys[request.account]
            one_time = [keys.one_time_pre_keys.pop()] if keys.one_time_pre_keys else []
            self.handed_out.update(one_time)
        return pb.Bundle(
            identity_key=keys.identity_key,
            signed_pre_key=keys.signed_pre_key,
            signed_pre_key_signature=keys.signed_pre_key_signature,
            one_time_pre_keys=one_time,
        )

    def Upload(self, requests: Any, context: Any) -> Any:
        data = b"".join(part.data for part in requests)
        self.enter("Upload", context)
        blob_id = hashlib.sha256(data).digest()[:16]
        self.blobs[blob_id] = data
        return pb.UploadReply(blob_id=blob_id)

    def Download(self, request: Any, context: Any) -> Any:
        self.enter("Download", context)
        data = self.blobs[request.blob_id]
        for at in range(0, len(data), 1 << 18):
            yield pb.Part(size=0 if at else len(data), data=data[at : at + (1 << 18)])

    def Send(self, request: Any, context: Any) -> Any:
        self.enter("Send", context)
        with self.lock:
            if request.message_id not in self.ids:
                place = SealedMessage.decode(request.sealed).place(request.recipient)
                if place in self.places:
                    context.abort(grpc.StatusCode.ALREADY_EXISTS, "its place was used for another message")
                self.places.add(place)
                self.ids.add(request.message_id)
                self.queues[request.recipient].append(
                    pb.Delivery(
                        sequence=len(self.ids),
                        sender=account_of(context),
                        sealed=request.sealed,
                        accepted_at_ms=1,
                        message_id=request.message_id,
                        stamp=self._stamp(request, context),
                    )
                )
        self.end_if(self.fault_after, "Send", context)
        both = self._stamp(request, context), self._stamp(request, context, "")
        return pb.SendReply(accepted_at_ms=1, stamp=both[0], group_stamp=both[1])

    def _stamp(self, request: Any, context: Any, recipient: str | None = None) -> bytes:
        commitment = SealedMessage.decode(request.sealed).commitment
        to = request.recipient if recipient is None else recipient
        about = Stamped(commitment, account_of(context), to, request.message_id, 1)
        return about.mac(STAMP_KEY)

    def Receive(self, request: Any, context: Any) -> Any:
        self.enter("Receive", context)
        yield from self.deliveries(account_of(context), context)

    def Acknowledge(self, request: Any, context: Any) -> Any:
        self.enter("Acknowledge", context)
        with self.lock:
            queue = self.queues[account_of(context)]
            left = [delivery for delivery in queue if delivery.sequence not in request.sequences]
            self.queues[account_of(context)] = left
        return pb.AcknowledgeReply(removed=len(queue) - len(left))

    def FetchExpired(self, request: Any, context: Any) -> Any:
        self.enter("FetchExpired", context)
        told = self.expired.get(account_of(context), [])
        last = max((one.number for one in told), default=0)
        return pb.ExpiredReply(expired=[one for one in told if one.number > request.after], last=last)

    def Connect(self, asks: Any, context: Any) -> Any:
        answers: SimpleQueue[pb.Answer | None] = SimpleQueue()

        def answer(number: int, name: str, request: Any) -> None:
            call = OnLine(context)
            try:
                reply = getattr(self, name.capitalize())(request, call)
                for one in reply if name == "receive" else [reply]:
                    answers.put(pb.Answer(number=number, **{name: one}))
                if name == "receive":
                    answers.put(pb.Answer(number=number, ended=pb.Ended()))
            except OnLine.Aborted:
                answers.put(pb.Answer(number=number, refused=call.refused))

        def read() -> None:
            with suppress(grpc.RpcError), ThreadPoolExecutor(8) as pool:
                for number, ask in enumerate(asks):
                    name = ask.WhichOneof("call")
                    pool.submit(answer, number, name, getattr(ask, name))
            answers.put(None)

        threading.Thread(target=read, daemon=True).start()
        yield from iter(answers.get, None)


@dataclass
class Epoch:
    """A published epoch."""

    number: int
    setup: dict[str, bytes]
    states: Mapping[Role, Any]
    opener: dict[str, bytes]
    stated: Stated


def publish(design: AnyDesign, hashes: np.ndarray[Any, Any], number: int, purpose: str = "publish") -> Epoch:
    made = opened(build(design, hashes, number, purpose=f"{purpose}{number}"))
    files = made.build.files
    stated = design.stated(made.setup)
    opener = {name: files[name] for name in made.build.published.opener}
    return Epoch(number, made.build.setup_files, made.states, opener, stated)


Alter = Callable[[pb.Envelope], pb.Envelope]


class FakeMatcher(Fake, rpc.MatchingServicer):
    """Serves one design's set-up and plays all of its roles, at whatever party."""

    def __init__(self, design: AnyDesign, epoch: Epoch) -> None:
        super().__init__()
        self.design = design
        self.epoch = epoch
        self.asked: list[pb.Envelope] = []
        self.fetched: list[pb.SetupRequest] = []
        self.alter: Alter = lambda envelope: envelope
        self.alter_part: Callable[[pb.Part], pb.Part] = lambda part: part
        self.part_bytes = 1 << 18
        self.manifests: dict[int, EpochManifest] = {}
        self.alter_manifest: Callable[[EpochManifest], EpochManifest] = lambda manifest: manifest
        self.curator = CURATOR
        self.manifest: bytes | None = None
        self.enrolled: dict[tuple[str, bytes], bytes] = {}
        self.begun: dict[bytes, bytes] = {}

    def Describe(self, request: Any, context: Any) -> Any:
        self.enter("Describe", context)
        return pb.Description(manifest=self._signed() if self.manifest is None else self.manifest)

    def _signed(self) -> bytes:
        """The manifest of the epoch as it is now, which continues the last one that was described."""
        epoch = self.epoch
        before = self.manifests.get(max((one for one in self.manifests if one < epoch.number), default=0))
        made = manifest_of(self.design, epoch.setup, epoch.number, before, epoch.stated)
        self.manifests[epoch.number] = self.alter_manifest(made)
        return self.curator.sign(self.manifests[epoch.number]).encode()

    def FetchSetup(self, request: Any, context: Any) -> Any:
        self.enter("FetchSetup", context)
        self.fetched.append(request)
        data = self.epoch.setup[request.name]
        for at in range(request.offset, len(data), self.part_bytes):
            self.enter("part", context)
            size = len(data) if at == request.offset else 0
            yield self.alter_part(pb.Part(size=size, data=data[at : at + self.part_bytes]))

    def Exchange(self, request: Any, context: Any) -> Any:
        self.asked.append(request)
        self.enter("Exchange", context)
        return self.alter(self._answer(request, context))

    def ExchangeLarge(self, requests: Any, context: Any) -> Any:
        first = next(requests)
        first.body += b"".join(envelope.body for envelope in requests)
        self.asked.append(first)
        self.enter("ExchangeLarge", context)
        whole = self.alter(self._answer(first, context))
        body = whole.body
        whole.body_size = len(body)
        whole.body = body[: 1 << 19]
        yield whole
        for at in range(1 << 19, len(body), 1 << 19):
            yield pb.Envelope(body=body[at : at + (1 << 19)])

    def Enrolled(self, request: Any, context: Any) -> Any:
        self.enter("Enrolled", context)
        return self._held(request, account_of(context))

    def Enrol(self, requests: Any, context: Any) -> Any:
        first = next(requests)
        body = self.begun.get(first.head.sha256, b"")[: first.offset] + first.data
        for part in requests:
            self.begun[first.head.sha256] = body
            self.enter("enrol-part", context)
            body += part.data
        assert (len(body), hashlib.sha256(body).digest()) == (first.head.size, first.head.sha256)
        self.enrolled[account_of(context), first.head.key] = body
        return self._held(first.head, account_of(context))

    def _held(self, head: pb.EnrolmentHead, account: str) -> pb.Held:
        body = self.enrolled.get((account, head.key), b"")
        digest = hashlib.sha256(body).digest() if body else b""
        return pb.Held(size=len(body), sha256=digest, received=len(self.begun.get(head.sha256, b"")))

    def _enrolment(self, role: Role, context: Any) -> Message | None:
        """Of the caller."""
        kinds = self.design.enrolments.get(role)
        if kinds is None:
            return None
        key = self.design.enrolment_key(self.design.open_setup(self.epoch.setup, self.epoch.number))
        held = self.enrolled.get((account_of(context), key))
        if held is None:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "this account must enrol first")
        return decode_any(kinds, held, "fake")

    def _answer(self, request: pb.Envelope, context: Any) -> pb.Envelope:
        if request.epoch != self.epoch.number:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "another epoch")
        role = Role(request.role)
        try:
            body = decode_any(self.design.requests[role], request.body, "fake")
            state = self.epoch.states[role]
            rng = system_randomness()
            reply, _ = answered(self.design, role, state, Request(body, self._enrolment(role, context)), rng)
        except ProtocolError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            raise AssertionError from error
        return pb.Envelope(
            design=request.design,
            version=request.version,
            epoch=request.epoch,
            role=request.role,
            body=reply.encode(),
        )


class FakeCentre(Fake, rpc.CentreServicer):
    def __init__(self) -> None:
        super().__init__()
        self.key = CENTRE_KEY
        self.sealed: list[tuple[bytes, bytes]] = []
        self.vouchers: list[pb.Envelope] = []
        self.receipt_id: bytes | None = None
        self.now_ms = 7
        self.complaints: list[pb.ComplainRequest] = []
        self.answer_complaint = lambda request: pb.Complaint(
            complaint_id=request.complaint_id, report_id=request.report_id
        )

    @property
    def reports(self) -> list[Report]:
        """Those handed in, opened, each id once."""
        return [open_report(sealed, name, self.key) for name, sealed in dict(self.sealed).items()]

    def Key(self, request: Any, context: Any) -> Any:
        self.enter("Key", context)
        return pb.CentreKey(public_key=self.key.public_key().public_bytes_raw())

    def Submit(self, requests: Any, context: Any) -> Any:
        parts = list(requests)
        self.sealed.append((parts[0].report_id, b"".join(part.part.data for part in parts)))
        self.enter("Submit", context)
        return pb.Receipt(report_id=self.receipt_id or parts[0].report_id, received_at_ms=self.now_ms)

    def Complain(self, request: Any, context: Any) -> Any:
        self.complaints.append(request)
        self.enter("Complain", context)
        self.end_if(self.fault_after, "Complain", context)
        return self.answer_complaint(request)

    def SubmitVoucher(self, requests: Any, context: Any) -> Any:
        (envelope,) = requests
        self.enter("SubmitVoucher", context)
        self.vouchers.append(envelope)
        return pb.Receipt(report_id=bytes(16), received_at_ms=7)


def serve(party: Party, register: Callable[[grpc.Server], None]) -> tuple[grpc.Server, int]:
    """A server on a free port with mutual TLS."""
    server = grpc.server(ThreadPoolExecutor(64), options=[("grpc.so_reuseport", 0)])
    register(server)
    held = AUTHORITY.issue(Identity.of(party), NOW, timedelta(days=1))
    credentials = grpc.ssl_server_credentials(
        [(held.key, held.certificate)], held.callers, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, port


def credentials_of(name: str) -> Credentials:
    held = AUTHORITY.issue(Identity(Kind.DEVICE, name), NOW, timedelta(days=1))
    return Credentials(held.root, held.certificate, held.key)


@dataclass
class Owned:
    """A device and what it recorded of itself."""

    device: Device
    recorder: Recorder
    traced: Traces
    slept: list[float]

    @property
    def traces(self) -> list[SessionTrace]:
        return self.traced.sessions

    def methods(self, party: Party | None = None) -> list[str]:
        """Names of the methods it called, in order."""
        return [r.method.rpartition("/")[2] for r in self.recorder.records() if party in (None, r.party)]


@dataclass
class World:
    """All parties of one design."""

    folder: Path
    design: AnyDesign
    hashes: np.ndarray[Any, Any]
    relay: FakeRelay = field(default_factory=FakeRelay)
    centre: FakeCentre = field(default_factory=FakeCentre)
    servers: list[grpc.Server] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.matcher = FakeMatcher(self.design, publish(self.design, self.hashes, 1))
        self.ports = {
            Party.PROVIDER: self._serve(Party.PROVIDER, self._add_relay),
            Party.CENTRE: self._serve(
                Party.CENTRE, lambda s: rpc.add_CentreServicer_to_server(self.centre, s)
            ),
        }
        for party in {Party.MATCHER, *self.design.info.roles.values()} - {Party.PROVIDER}:
            self.ports[party] = self._serve(party, self._add_matcher)

    def egress(self, name: str, recorder: Recorder, slept: list[float]) -> Egress:
        endpoints = {party: Endpoint(f"127.0.0.1:{port}") for party, port in self.ports.items()}
        clock = iter(range(1_700_000_000_000, 1_800_000_000_000))
        return Egress(
            endpoints,
            credentials_of(name),
            recorder,
            lambda: next(clock),
            slept.append,
            Retry(attempts=3, first_wait_s=0.01),
        )

    def device(self, name: str, fresh: bool = True, beside: bool = False, **config: Any) -> Owned:
        """A registered device called `name`, or the one there was, opened again, after its process died or
        `beside` it."""
        for one in () if beside else self.devices:
            if one.account == name:
                one._base.store._unclaim()
        recorder = Recorder()
        traced = Traces()
        slept = list[float]()
        egress = self.egress(name, recorder, slept)
        clock = iter(range(1_700_000_000_000, 1_800_000_000_000))
        open_it = Device.create if fresh else Device.open
        device = open_it(
            self.folder / name,
            DeviceConfig(
                account=name,
                design=self.design,
                curator=CURATOR.public,
                **{"centre": CENTRE, **config},
            ),
            egress,
            system_randomness(),
            lambda: next(clock),
            traced.add,
        )
        self.devices.append(device)
        if fresh:
            device.register()
        return Owned(device, recorder, traced, slept)

    def close(self) -> None:
        for device in self.devices:
            device.close()
        for server in self.servers:
            server.stop(None).wait()

    def _add_relay(self, server: grpc.Server) -> None:
        rpc.add_RelayServicer_to_server(self.relay, server)
        if Party.PROVIDER in self.design.info.forwarded.values():
            self._add_matcher(server)

    def _add_matcher(self, server: grpc.Server) -> None:
        rpc.add_MatchingServicer_to_server(self.matcher, server)

    def _serve(self, party: Party, register: Callable[[grpc.Server], None]) -> int:
        server, port = serve(party, register)
        self.servers.append(server)
        return port


@cache
def picture(seed: int, size: int = 128, file_format: str = "PNG") -> bytes:
    """A picture of smooth blobs, with PDQ quality over 50."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    out = BytesIO()
    coarse.resize((size, size), Image.Resampling.BICUBIC).save(out, file_format)
    return out.getvalue()


def poor_picture() -> bytes:
    """One grey: quality 0."""
    out = BytesIO()
    Image.new("RGB", (64, 64), (90, 90, 90)).save(out, "PNG")
    return out.getvalue()


def hashes_with(*listed: bytes, others: int = 20) -> np.ndarray[Any, Any]:
    """A list of random hashes and those of some pictures."""
    mine = [np.frombuffer(Picture.from_bytes(data).hash, np.uint8) for data in listed]
    return np.vstack([random_hashes(others), *mine])
