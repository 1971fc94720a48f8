"""A matching service on gRPC's own stubs: a counterpart that shares no code with the server."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ClassVar

import grpc
from blindmatch_protocol.codec import Message, decode_any
from blindmatch_protocol.codec.errors import EpochMismatchError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, system_randomness
from blindmatch_protocol.contract import Learner, Party, Request, Role, answered
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_protocol.rpc import blindmatch_v1_pb2_grpc as stubs
from blindmatch_server.hosting.authority import Credentials
from blindmatch_simulations.testbed.inprocess.deployed import Build

from support.signed import CURATOR, manifest_of

Status = grpc.StatusCode
PART = 256 << 10
MOST_BYTES = 1 << 20


class ForeignMatcher(stubs.MatchingServicer):
    """Plays the roles of one party; what bad matchers do differently are its methods.

    Args:
        build: the epoch that is served.
        party: whose roles are played.
    """

    wants_certificates: ClassVar[bool] = True

    def __init__(self, build: Build, party: Party = Party.MATCHER) -> None:
        self.build = build
        self.design = build.design
        roles = [role for role, plays in self.design.info.roles.items() if plays == party]
        self.states: Mapping[Role, Any] = {r: self.design.open_role(r, build.role_files(r)) for r in roles}
        self.manifest = manifest_of(self.design, build.setup_files, build.epoch)
        self.lock = threading.Lock()
        self.stop = threading.Event()

    def Describe(self, request: Any, context: Any) -> pb.Description:
        info = self.design.info
        setup = [
            pb.SetupFile(name=name, size=len(raw), sha256=hashlib.sha256(raw).digest())
            for name, raw in self.build.setup_files.items()
        ]
        return pb.Description(
            design=info.name,
            version=info.version,
            epoch=self.build.epoch,
            roles=list(self.states),
            setup=setup,
            manifest=CURATOR.sign(self.manifest).encode(),
        )

    def FetchSetup(self, request: Any, context: Any) -> Iterator[pb.Part]:
        raw = self.build.setup_files.get(request.name)
        if request.epoch != self.build.epoch:
            context.abort(Status.FAILED_PRECONDITION, "another epoch")
        if raw is None:
            context.abort(Status.NOT_FOUND, "no such file")
        if request.offset > len(raw):
            context.abort(Status.OUT_OF_RANGE, "beyond the end")
        for at in range(request.offset, max(len(raw), request.offset + 1), PART):
            yield pb.Part(size=len(raw) if at == request.offset else 0, data=raw[at : at + PART])

    def Exchange(self, request: Any, context: Any) -> pb.Envelope:
        return self._exchange(request, request.body, context)

    def ExchangeLarge(self, requests: Any, context: Any) -> Iterator[pb.Envelope]:
        first, *rest = requests
        if any(one.design or one.version or one.epoch or one.role or one.body_size for one in rest):
            context.abort(Status.INVALID_ARGUMENT, "a second head")
        yield self._exchange(first, first.body + b"".join(one.body for one in rest), context)

    def _exchange(self, head: Any, body: bytes, context: Any) -> pb.Envelope:
        self.check(head, body, context)
        role = Role(head.role)
        try:
            asked = decode_any(self.design.requests[role], body, "request")
            reply = self.answer(role, asked)
        except EpochMismatchError as error:
            context.abort(Status.FAILED_PRECONDITION, str(error))
        except ProtocolError as error:
            context.abort(Status.INVALID_ARGUMENT, str(error))
        return self.sent(head, asked, reply, context)

    def check(self, head: Any, body: bytes, context: Any) -> None:
        """Refuse an envelope that breaks docs/reference/wire.md."""
        info = self.design.info
        named = 16 if Learner.SERVER in info.learns else 0
        sizes = (len(body),) if info.large_bodies else (0, len(body))
        for broken, status in (
            ((head.design, head.version) != (info.name, info.version), Status.UNIMPLEMENTED),
            (not self.accepts(head.epoch), Status.FAILED_PRECONDITION),
            (head.role not in self.states, Status.NOT_FOUND),
            (len(head.request_id) != named or head.body_size not in sizes, Status.INVALID_ARGUMENT),
        ):
            if broken:
                context.abort(status, "envelope")

    def accepts(self, epoch: int) -> bool:
        """Is a request of this epoch answered?"""
        return epoch == self.build.epoch

    def answer(self, role: Role, asked: Message) -> Message:
        """The reply; raises the `ProtocolError` to refuse with."""
        return self.reply_with(self.states[role], role, asked, system_randomness())

    def reply_with(self, state: Any, role: Role, asked: Message, rng: Randomness) -> Message:
        """The design's own answer under `state`."""
        return answered(self.design, role, state, Request(asked), rng)[0]

    def sent(self, head: Any, asked: Message, reply: Message, context: Any) -> pb.Envelope:
        """The envelope that goes back."""
        body = reply.encode()
        return pb.Envelope(
            design=head.design, version=head.version, epoch=head.epoch, role=head.role,
            body_size=len(body), body=body,
        )  # fmt: skip


@contextmanager
def serving(matcher: ForeignMatcher, credentials: Credentials) -> Iterator[str]:
    """Serve on a free loopback port; yields ``host:port``."""
    options = [("grpc.max_receive_message_length", MOST_BYTES), ("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(8), options=options)
    stubs.add_MatchingServicer_to_server(matcher, server)
    pair = [(credentials.key, credentials.certificate)]
    needs = matcher.wants_certificates
    secured = grpc.ssl_server_credentials(pair, credentials.callers if needs else None, needs)
    port = server.add_secure_port("127.0.0.1:0", secured)
    server.start()
    watch = threading.Thread(target=lambda: matcher.stop.wait() and server.stop(0), daemon=True)
    watch.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        matcher.stop.set()
        server.stop(0).wait()
