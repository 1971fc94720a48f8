"""What a service is to its server: methods, their conditions, the calls of them; and channels to other
servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

import grpc
import grpc.aio
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.parts import MOST_SMALL_BYTES
from google.protobuf.descriptor import ServiceDescriptor
from msgspec import Struct, field

from blindmatch_server.hosting.authority import Credentials, Identity, Kind
from blindmatch_server.hosting.event_log import Clock, EventLog
from blindmatch_server.hosting.limits import CallLimit, LeastPace, Patience, Places, TokenBuckets, TurnQueue

MOST_CALLS: Final = 2048
"""Calls of a server at the same time, unless it is told otherwise."""
EVERYONE: Final = frozenset(Kind)
DEVICES: Final = frozenset({Kind.DEVICE})
NOT_DEVICES: Final = EVERYONE - DEVICES
OPERATORS: Final = frozenset({Kind.OPERATOR})


class Call(Struct):
    """One call on its way through.

    Attributes:
        method: full name, ``/blindmatch.v1.Relay/Send``.
        request_id: random; stands in the log and in the trailing metadata.
        caller: from the certificate; None until it is known.
        draining: set when the server shuts down; a method that waits ends then.
        bytes_in, bytes_out: serialised messages so far.
        status: the gRPC status's name, once the call is finished.
        patience: how long its caller is still waited for.
        stuck: whether a reply was written that the caller has not taken.
    """

    method: str
    request_id: str
    draining: asyncio.Event
    caller: Identity | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    status: str = ""
    seconds: float = 0.0
    patience: Patience = field(default_factory=lambda: Patience(LeastPace()))
    stuck: bool = False

    @property
    def account(self) -> str:
        """The caller's name in tables and logs; empty before it is known."""
        return self.caller.account if self.caller else ""


Handler: TypeAlias = Callable[[Any, Call], Any]


class Method(Struct, frozen=True):
    """A method of a service and its conditions.

    Attributes:
        handler: takes (request, call) or (async iterator of requests, call); is a coroutine function, or an
            async generator function where replies are a stream.
        rate: calls an account may make.
        most_seconds: after which it is cut off, whatever deadline the caller set.
        turns: how many calls of an account are worked on at a time; others wait.
    """

    handler: Handler
    callers: frozenset[Kind]
    rate: TokenBuckets | None = None
    most_seconds: float = 60.0
    turns: TurnQueue | None = None


class Line(Struct, frozen=True):
    """A method on whose stream others are called (calls.py).

    Attributes:
        calls: names of those methods; fields of the request and of the reply have the same in lower case.
        callers, rate, most_seconds: as for `Method`.
        open: how many lines an account may have at the same time.
    """

    calls: tuple[str, ...]
    callers: frozenset[Kind]
    rate: TokenBuckets
    open: CallLimit
    most_seconds: float = 3600.0


class Service(Protocol):
    """A service of the .proto."""

    @property
    def descriptor(self) -> ServiceDescriptor: ...

    def methods(self) -> Mapping[str, Method | Line]: ...


class ServerContext(Struct, frozen=True):
    """What the handlers of one server share.

    Attributes:
        draining: set when the server shuts down.
        hangup: set by SIGHUP; whoever reloads something then clears it.
        is_revoked: is the certificate with this serial number refused now (certificates.py)?
    """

    clock: Clock
    log: EventLog
    count: Callable[[Call], None]
    places: Places = field(default_factory=lambda: Places(MOST_CALLS))
    pace: LeastPace = LeastPace()
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    hangup: asyncio.Event = field(default_factory=asyncio.Event)
    is_revoked: Callable[[int], bool] = lambda serial: False


_FRAMES: Final = 64 << 10


def channel_to(party: Party, address: str, held: Credentials, *more: tuple[str, int]) -> grpc.aio.Channel:
    """A channel to the server that `party` runs at `address`, with `more` options of gRPC; no proxy, no
    connection shared with others."""
    secured = grpc.ssl_channel_credentials(held.root, held.key, held.certificate)
    options = [
        ("grpc.ssl_target_name_override", party.dns_name),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", MOST_SMALL_BYTES + _FRAMES),
        *more,
    ]
    return grpc.aio.secure_channel(address, secured, options)
