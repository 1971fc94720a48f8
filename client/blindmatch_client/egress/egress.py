"""Calls to other parties: recorded, bounded in time, and made again only where that does no harm."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar, cast

from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Party
from blindmatch_protocol.failpoint import armed, reach
from blindmatch_protocol.messages.parts import Joiner, W, joined
from google.protobuf.message import DecodeError
from msgspec import Struct

from blindmatch_client import errors
from blindmatch_client.egress.calls import CONNECT, Entry, Line, Method, P, Q, Recorder, Replies, translate
from blindmatch_client.trace import Purpose

if TYPE_CHECKING:
    import grpc


USER_AGENT: Final = "blindmatch"
MOST_MESSAGE_BYTES: Final = 1 << 20
"""Every message of the wire interface is at most so long; larger things travel in parts."""
STREAM_WINDOW_BYTES: Final = 256 << 10
"""What a server may send ahead of what was read."""


class Credentials(Redacted, Struct, frozen=True):
    """PEM bytes: the certificate authority, the device's certificate and its key."""

    SHOWN: ClassVar = ("authority", "certificate")

    authority: bytes
    certificate: bytes
    key: bytes

    @classmethod
    def read(cls, authority: Path, certificate: Path, key: Path) -> Credentials:
        """Read the three from files; `DeviceError` if one cannot be read."""
        try:
            return cls(authority.read_bytes(), certificate.read_bytes(), key.read_bytes())
        except OSError as error:
            raise errors.DeviceError(f"certificates: {error.filename}: {error.strerror}") from error


class Endpoint(Struct, frozen=True):
    """Where a party's server listens (empty: it is known not to run), and the name its certificate bears
    (None: the usual one)."""

    address: str
    name: str | None = None


class _Opened(Struct):
    endpoint: Endpoint
    channel: grpc.Channel
    line: Line | None = None

    def close(self) -> None:
        if self.line is not None:
            self.line.close()
        self.channel.close()


class Channels:
    """Opens and keeps one channel for each party; where it is is looked up when that is first needed, and
    again after a call found nobody there, since a server may come back at another address."""

    def __init__(self, endpoints: Mapping[Party, Endpoint], credentials: Credentials) -> None:
        self.endpoints = endpoints
        self._credentials = credentials
        self._lock = threading.Lock()
        self._open: dict[Party, _Opened] = {}
        self._doubted: set[Party] = set()

    def to(self, party: Party) -> grpc.Channel:
        """The channel to `party`; `UnreachedError` if the device was given no address for it, or knows that
        it does not run."""
        with self._lock:
            return self._opened(party).channel

    def line(self, party: Party, path: str) -> Line:
        """The line to `party`, which the method at `path` opens; a new one if the last has ended. Raises as
        `to`."""
        with self._lock:
            opened = self._opened(party)
            if opened.line is None or opened.line.ended:
                opened.line = Line(party, opened.channel, path)
            return opened.line

    def doubt(self, party: Party) -> None:
        """A call found nobody there: look its address up before the next one."""
        with self._lock:
            self._doubted.add(party)

    def close(self) -> None:
        with self._lock:
            for opened in self._open.values():
                opened.close()
            self._open.clear()

    def _opened(self, party: Party) -> _Opened:
        if party not in self.endpoints:
            raise errors.UnreachedError(party, "cannot be reached: no address for it is known here")
        if party not in self._open or party in self._doubted:
            endpoint = self.endpoints[party]
            before = self._open.get(party)
            # at another address the old channel is closed: calls on it have no server any more
            if before is None or before.endpoint != endpoint:
                self._open[party] = _Opened(endpoint, self._connect(party, endpoint))
                if before is not None:
                    before.close()
            self._doubted.discard(party)
        return self._open[party]

    def _connect(self, party: Party, endpoint: Endpoint) -> grpc.Channel:
        if not endpoint.address:
            raise errors.UnreachedError(party, "cannot be reached: it is not running; start it and try again")
        import grpc  # with the first call: a device that makes none need not load it

        options = _options(endpoint.name or party.dns_name)
        held = self._credentials
        secured = grpc.ssl_channel_credentials(held.authority, held.key, held.certificate)
        return grpc.secure_channel(endpoint.address, secured, options)


def _options(name: str) -> list[tuple[str, Any]]:
    return [
        ("grpc.ssl_target_name_override", name),
        ("grpc.primary_user_agent", USER_AGENT),
        # no proxy, no DNS look-up of a service configuration: nothing leaves but the call itself
        ("grpc.enable_http_proxy", 0),
        ("grpc.service_config_disable_resolution", 1),
        # the library would send a call again on its own, unrecorded
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", MOST_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MOST_MESSAGE_BYTES),
        # a stream is read as fast as it is kept: no window that grows with the speed of the link
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", STREAM_WINDOW_BYTES),
        ("grpc.initial_reconnect_backoff_ms", 100),
        # despite its name: how long an attempt to connect may take at least, TLS handshake included
        ("grpc.min_reconnect_backoff_ms", 5000),
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]


T = TypeVar("T")

DEADLINE_S: Final = 20.0


class Call(Struct, Generic[Q, P], frozen=True):
    """Whom to call, and why.

    Attributes:
        item: number of the picture the call is for, or None.
        idempotent: True if a second call with the same bytes does no harm; only then is it made again.
        deadline_s: how long one attempt may take. It travels in a header, so it must not depend on content.
    """

    party: Party
    method: Method[Q, P]
    purpose: Purpose
    item: int | None = None
    idempotent: bool = False
    deadline_s: float = DEADLINE_S


class Retry(Struct, frozen=True):
    """How often an idempotent call is made; the waits between double from `first_wait_s`, whatever is
    sent."""

    attempts: int = 3
    first_wait_s: float = 0.2
    most_wait_s: float = 5.0
    """A party that wants to be asked again later than this is given up on."""

    def waits(self) -> Iterator[float]:
        return (self.first_wait_s * 2**n for n in range(self.attempts - 1))


PATIENT: Final = Retry()


class Egress:
    """The device's only way out, on which every call is recorded before it goes out.

    Every call raises `ServiceUnavailableError` (also if no address of the party is known), `RefusedError` or
    `MisbehavedError` of the party.
    """

    def __init__(
        self,
        endpoints: Mapping[Party, Endpoint],
        credentials: Credentials,
        recorder: Recorder,
        clock_ms: Callable[[], int],
        sleep: Callable[[float], None] = time.sleep,
        retry: Retry = PATIENT,
    ) -> None:
        self._channels = Channels(endpoints, credentials)
        self._clock_ms = clock_ms
        self._sleep = sleep
        self._retry = retry
        self.recorder = recorder

    def knows(self, party: Party) -> bool:
        return party in self._channels.endpoints

    def close(self) -> None:
        self._channels.close()

    def unary(self, call: Call[Q, P], request: Q) -> P:
        """One request, one reply."""
        if call.method.line:
            return cast("P", self._attempts(call, partial(self._on_line, call, request, Replies.one)))
        return self._attempts(call, partial(self._alone, call, request))

    def upload(self, call: Call[Q, P], requests: Callable[[], Iterable[Q]]) -> P:
        """Many requests, one reply; `requests` is called once for each attempt."""
        return self.converse(call, requests, partial(_only, call))

    def stream(self, call: Call[Q, P], request: Callable[[], Q], consume: Callable[[Iterator[P]], T]) -> T:
        """One request, many replies: what `consume` makes of them. Both are called for each attempt."""
        return self.converse(call, lambda: (request(),), consume)

    def converse(
        self,
        call: Call[Q, P],
        requests: Callable[[], Iterable[Q]],
        consume: Callable[[Iterator[P]], T],
    ) -> T:
        """Many requests, many replies: what `consume` makes of them. Both are called for each attempt."""

        def attempt() -> T:
            channel = self._channels.to(call.party)
            entry = self._entry(call)
            rpc: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(call.method.path)
            parts = (_sent(call, entry, request) for request in requests())
            replies = rpc(parts, timeout=call.deadline_s)
            try:
                return consume(_replies(call, entry, replies))
            except BaseException:
                entry.failed = True
                raise
            finally:
                replies.cancel()  # whatever `consume` has left unread

        return self._attempts(call, attempt)

    def listen(self, call: Call[Q, P], request: Q, consume: Callable[[Iterator[list[P]]], T]) -> T:
        """One request on the party's line, many replies, as many together as came: what `consume` makes of
        them, for each attempt."""

        def take(replies: Replies, seconds: float) -> T:
            with closing(replies.batches(seconds)) as batches:
                return consume(cast("Iterator[list[P]]", batches))

        return self._attempts(call, partial(self._on_line, call, request, take))

    def _alone(self, call: Call[Q, P], request: Q) -> P:
        import grpc

        channel = self._channels.to(call.party)
        entry = self._entry(call)
        rpc: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(call.method.path)
        body = _sent(call, entry, request)
        try:
            raw = rpc(body, timeout=call.deadline_s)
        except grpc.RpcError as error:
            entry.failed = True
            raise translate(call.party, error) from None
        return _reply(call, entry, raw)

    def _on_line(self, call: Call[Q, P], request: Q, take: Callable[[Replies, float], T]) -> T:
        line = self._channels.line(call.party, CONNECT)
        entry = self._entry(call)
        body = _sent(call, entry, request)
        try:
            return take(line.call(call.method.line, body, entry), call.deadline_s)
        except BaseException:
            entry.failed = True
            raise

    def _entry(self, call: Call[Q, P]) -> Entry:
        now = self._clock_ms()
        return self.recorder.open(call.party, call.method.path, call.purpose, call.item, now)

    def _attempts(self, call: Call[Q, P], attempt: Callable[[], T]) -> T:
        if not armed:
            return self._retry_call(call, attempt)
        name = call.method.path.rpartition("/")[2]
        reach(f"device.call.{name}.before")
        result = self._retry_call(call, attempt)
        reach(f"device.call.{name}.after")
        return result

    def _retry_call(self, call: Call[Q, P], attempt: Callable[[], T]) -> T:
        """Make a call with its retries; after an attempt that nobody answered the address is looked up."""
        left = self._retry.waits() if call.idempotent else iter(())
        reached = False
        while True:
            try:
                return attempt()
            except errors.ServiceUnavailableError as error:
                self._channels.doubt(call.party)
                unreached = isinstance(error, errors.UnreachedError)
                wait = next(left, None)
                if wait is None and unreached and reached:
                    words = "broke the call off, and cannot be reached"
                    raise errors.ServiceUnavailableError(call.party, words) from None
                if wait is None:
                    raise
                reached = reached or not unreached
            except errors.RefusedError as refusal:
                wait = next(left, None)
                if wait is None:
                    raise
                if refusal.retry_after_ms is None or refusal.retry_after_ms > self._retry.most_wait_s * 1000:
                    raise refusal
                wait = max(wait, refusal.retry_after_ms / 1000)
            self._sleep(wait)


def received(party: Party, joiner: Joiner[W], parts: Iterator[W]) -> Iterator[bytes]:
    """The data of `parts`; `MisbehavedError` of `party` if they are not what `joiner` is told to expect."""
    try:
        yield from joined(joiner, parts)
    except ProtocolError as error:
        raise errors.MisbehavedError(party, str(error)) from None


def _sent(call: Call[Q, P], entry: Entry, request: Q) -> bytes:
    body = request.SerializeToString(deterministic=True)
    if len(body) > MOST_MESSAGE_BYTES:
        raise errors.DeviceError(f"{call.method.path}: a request must be at most {MOST_MESSAGE_BYTES} bytes")
    entry.sending(body)
    return body


def _reply(call: Call[Q, P], entry: Entry, raw: bytes) -> P:
    entry.reply_bytes += len(raw)
    try:
        return call.method.reply.FromString(raw)
    except DecodeError:
        entry.failed = True
        raise errors.MisbehavedError(call.party, f"not a {call.method.reply.DESCRIPTOR.name}") from None


def _only(call: Call[Q, P], replies: Iterator[P]) -> P:
    found = list(replies)
    if len(found) != 1:
        raise errors.MisbehavedError(call.party, "there is one reply")
    return found[0]


def _replies(call: Call[Q, P], entry: Entry, rpc: Any) -> Iterator[P]:
    import grpc

    try:
        for raw in rpc:
            yield _reply(call, entry, raw)
    except grpc.RpcError as error:
        raise translate(call.party, error) from None
