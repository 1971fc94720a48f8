"""The relay: its service, and what it needs; with a design whose role the provider plays, it hosts that too.

What was kept long enough is deleted, unless wall clock and monotonic clock drift apart: then nothing is
deleted for a day, in which the operator, who finds it in the log, can set the clock right.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import ClassVar, Final, TypeAlias

from blindmatch_protocol.account_name import NOTICES
from blindmatch_protocol.codec import Fixed
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.messages.content import AttachmentRef, ClearMessage, Content
from blindmatch_protocol.messages.franking import MESSAGE_ID_LENGTH, Stamped
from blindmatch_protocol.messages.parts import PART, PART_BYTES, Joiner, begun, open_attachment
from blindmatch_protocol.messages.sealed_message import Curve25519Key, SealedMessage
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_server.hosting.endpoint import DEVICES, Call, Handler, Line, Method, ServerContext, Service
from blindmatch_server.hosting.event_log import Clock, milliseconds
from blindmatch_server.hosting.limits import CallLimit, Rate, TokenBuckets, TurnQueue, under_way
from blindmatch_server.matching.forwarding import REQUEST_ID_BYTES
from blindmatch_server.matching.service import MatchingConfig, MatchingService, open_matching
from blindmatch_server.relay import store
from blindmatch_server.relay.store import RelayLimits
from blindmatch_server.relay.streams import MOST_BYTES_HELD, Listener, Listeners, Pace
from blindmatch_server.storage.blobs import ID_BYTES, Blobs
from blindmatch_server.storage.database import Database
from blindmatch_server.storage.errors import ConflictError

_KEY: Final = Fixed(32)
_SIGNATURE: Final = Fixed(64)
_MOST_ACKNOWLEDGED: Final = 10_000
_AT_ONCE: Final = 32
_BYTES_AT_ONCE: Final = (4 << 20) - MOST_BYTES_HELD
"""With what is handed to it meanwhile: 4 MiB that one stream holds in memory, whether its caller reads or
not."""
_TOGETHER_SECONDS: Final = 0.06
_LONG_SECONDS: Final = 3600.0

Scan: TypeAlias = Callable[[str, bytes, bytes], Awaitable[None]]
"""Looks at a file of an account, under 16 bytes that name it; what it finds is on disk then."""


class Relay(Redacted, Struct, dict=True, eq=False):
    """Stores and forwards what it cannot read; with a `scan`, of a design without end-to-end encryption, what
    it reads and looks at: messages are in the clear."""

    descriptor = wire.DESCRIPTOR.services_by_name["Relay"]

    database: Database
    blobs: Blobs
    config: RelayConfig
    clock: Clock
    scan: Scan | None = None

    def __post_init__(self) -> None:
        self.limits = self.config.limits
        self._draining = TokenBuckets(self.limits.bundles_of_one, self.clock)
        self._listeners = Listeners(self.limits.most_streams)
        self._uploading = CallLimit(self.limits.most_streams)
        self._turns = TurnQueue(self.limits.most_at_work)

    def methods(self) -> Mapping[str, Method | Line]:
        return {
            "Register": self._short(self.register),
            "FetchBundle": self._short(self.fetch_bundle, self.limits.bundles),
            "Upload": self._long(self.upload),
            "Download": self._long(self.download),
            "Send": self._short(self.send),
            "Receive": self._long(self.receive),
            "Acknowledge": self._short(self.acknowledge),
            "FetchExpired": self._short(self.fetch_expired),
            "Connect": Line(
                ("Send", "Receive", "Acknowledge"),
                DEVICES,
                TokenBuckets(self.limits.calls, self.clock),
                CallLimit(self.limits.most_streams),
            ),
        }

    async def register(self, request: wire.RegisterRequest, call: Call) -> wire.RegisterReply:
        """Publish the caller's keys. Raises what `store.register` raises, and for wrong lengths."""
        step = "relay/register"
        Curve25519Key().write(request.identity_key, step, "identity_key")
        _KEY.write(request.signed_pre_key, step, "signed_pre_key")
        _SIGNATURE.write(request.signed_pre_key_signature, step, "signed_pre_key_signature")
        if len(request.one_time_pre_keys) > self.limits.most_one_time_pre_keys:
            most = self.limits.most_one_time_pre_keys
            raise ProtocolError(step, f"must be at most {most} keys", "one_time_pre_keys")
        for key in request.one_time_pre_keys:
            _KEY.write(key, step, "one_time_pre_keys")
        if request.franking_key or request.franking_key_signature:
            _KEY.write(request.franking_key, step, "franking_key")
            _SIGNATURE.write(request.franking_key_signature, step, "franking_key_signature")
        if call.account == NOTICES and request.identity_key != self.config.notices_key:
            raise ConflictError(step, "the name is the centre's, whose key is another one", "identity_key")
        held = await self.database.run(lambda c: store.register(c, call.account, request))
        return wire.RegisterReply(one_time_pre_keys_held=held)

    async def fetch_bundle(self, request: wire.BundleRequest, call: Call) -> wire.Bundle:
        """Another account's keys. Raises what `store.take_bundle` raises, and `RateError` before the
        caller has used up too many of that account's one-time pre-keys."""
        await self.database.run(lambda c: store.read_keys(c, request.account))
        self._draining.take(f"{call.account} {request.account}", "relay/fetch-bundle")
        return await self.database.run(lambda c: store.take_bundle(c, request.account))

    async def send(self, request: wire.SendRequest, call: Call) -> wire.SendReply:
        """Queue a message, in the clear only once it was looked at. Raises what `store.enqueue` raises, and
        for wrong lengths, or if it is not as messages are here: end-to-end encrypted or in the clear."""
        Fixed(MESSAGE_ID_LENGTH).write(request.message_id, "relay/send", "message_id")
        most = self.limits.most_sealed_bytes
        kind = "sealed" if self.scan is None else "clear"
        body: bytes = getattr(request, kind)
        if not 1 <= len(body) <= most or (request.sealed and request.clear):
            raise ProtocolError("relay/send", f"must be 1 to {most} bytes, and the other kind empty", kind)
        if self.scan is not None:
            await self._look(self.scan, ClearMessage.decode(body).content, call.account)
        handed = self._stamped(call.account, request, body)
        at, stamp, new = await self.database.run(lambda c: store.enqueue(c, handed, self.limits))
        if new is not None:
            self._listeners.hand(request.recipient, new)
        unnamed = self._stamp(replace(handed, recipient="", accepted_at_ms=at)) if stamp else b""
        return wire.SendReply(accepted_at_ms=at, stamp=stamp, group_stamp=unnamed)

    def _stamped(self, sender: str, request: wire.SendRequest, body: bytes) -> store.Handed:
        """The message with its place, and the stamp on its commitment; what has none, or names nobody's
        account, gets none.
        The stamp leaves with the reply, once the message is on disk."""
        now = milliseconds(self.clock)
        to = request.recipient
        handed = store.Handed(sender, to, request.message_id, body, now)
        if self.scan is None:
            with suppress(ProtocolError):
                message = SealedMessage.decode(body)
                handed = replace(handed, place=message.place(to), commitment=message.commitment)
                return replace(handed, stamp=self._stamp(handed))
        return handed

    def _stamp(self, of: store.Handed) -> bytes:
        about = Stamped(of.commitment, of.sender, of.recipient, of.message_id, of.accepted_at_ms)
        return b"" if self.config.stamp_key is None else about.mac(self.config.stamp_key)

    async def _look(self, scan: Scan, content: Content, account: str) -> None:
        """Have all that a message bears looked at, under the names of its attachments: one that several
        messages bear, or that is sent again, is the same; `NotFoundError` if an attachment is not here,
        `ProtocolError` if it does not open with the key in the message."""
        for ref in content.attachments:
            if await self._size(ref.blob_id) > self.limits.most_blob_bytes:
                raise ProtocolError("relay/send", "must not be larger than what is taken", "attachments")
            file = await asyncio.to_thread(self._opened, ref)
            await scan(account, sha256(ref.blob_id).digest()[:REQUEST_ID_BYTES], file)

    async def _size(self, blob_id: bytes) -> int:
        return await self.database.run(lambda c: store.blob_size(c, blob_id))

    def _opened(self, ref: AttachmentRef) -> bytes:
        with self.blobs.open(ref.blob_id) as file:
            return open_attachment(file.read(), ref)

    async def receive(self, request: wire.ReceiveRequest, call: Call) -> AsyncIterator[wire.Delivery]:
        """All that waits for the caller, then what comes, until nothing came for the time asked, or so many
        bytes as were asked for."""
        if request.wait_ms > self.limits.most_wait_ms:
            rule = f"must be at most {self.limits.most_wait_ms}"
            raise ProtocolError("relay/receive", rule, "wait_ms")
        loop = asyncio.get_running_loop()
        after = 0
        size = 0
        pace = Pace(_TOGETHER_SECONDS)
        with self._listeners.listen(call.account, "relay/receive") as listener:
            until = loop.time() + request.wait_ms / 1000
            while True:
                batch = listener.take(after)
                if batch is None:
                    batch = await self._queued(call.account, after, listener)
                for message in batch:
                    yield self._delivery(message, more=message is not batch[-1])
                    after = message.sequence
                    size = size + len(message.sealed)
                    if 0 < request.most_bytes <= size:
                        return
                if batch:
                    pace.delivered(batch, now := loop.time())
                    until = now + request.wait_ms / 1000
                elif call.draining.is_set() or loop.time() >= until:
                    return
                else:
                    await listener.wait(until - loop.time())
                    seconds = pace.wait(loop.time(), milliseconds(self.clock))
                    if seconds > 0:
                        await asyncio.sleep(seconds)

    async def end_streams(self, draining: asyncio.Event) -> None:
        """Wake the streams that wait, once the server shuts down."""
        await draining.wait()
        self._listeners.wake_all()

    async def acknowledge(self, request: wire.AcknowledgeRequest, call: Call) -> wire.AcknowledgeReply:
        sequences = list(request.sequences)
        if len(sequences) > _MOST_ACKNOWLEDGED or any(s >= 1 << 63 for s in sequences):
            rule = f"must be at most {_MOST_ACKNOWLEDGED} numbers below 2^63"
            raise ProtocolError("relay/acknowledge", rule, "sequences")
        removed = await self.database.run(lambda c: store.acknowledge(c, call.account, sequences))
        return wire.AcknowledgeReply(removed=removed)

    async def fetch_expired(self, request: wire.ExpiredRequest, call: Call) -> wire.ExpiredReply:
        """The caller's messages that expired, but for those that it has."""
        if request.after >= 1 << 63:
            raise ProtocolError("relay/fetch-expired", "must be below 2^63", "after")
        told, last = await self.database.run(lambda c: store.take_expired(c, call.account, request.after))
        return wire.ExpiredReply(expired=told, last=last)

    async def upload(self, requests: AsyncIterator[wire.Part], call: Call) -> wire.UploadReply:
        """Store an attachment. Raises what `parts.Joiner` and `store.add_blob` raise."""
        with self._uploading.hold(call.account, "relay/upload"):
            joiner = Joiner(PART, self.limits.most_blob_bytes, "relay/upload")
            _, data = await begun(joiner, requests)
            size = joiner.size
            await self.database.run(lambda c: store.check_blob_quota(c, call.account, size, self.limits))
            async with self.blobs.incoming() as incoming:
                async with aclosing(data):  # type: ignore[type-var]
                    async for piece in data:
                        await asyncio.to_thread(incoming.write, piece)
                await asyncio.to_thread(incoming.commit)
                blob = (incoming.blob_id, call.account, size, milliseconds(self.clock), self.limits)
                await self.database.run(lambda c: store.add_blob(c, *blob))
            return wire.UploadReply(blob_id=incoming.blob_id)

    async def download(self, request: wire.DownloadRequest, call: Call) -> AsyncIterator[wire.Part]:
        """An attachment, for whoever knows its id. Raises what `store.blob_size` raises."""
        Fixed(ID_BYTES).write(request.blob_id, "relay/download", "blob_id")
        size = await self._size(request.blob_id)
        with await asyncio.to_thread(self.blobs.open, request.blob_id) as file:
            for at in range(0, size, PART_BYTES):
                data = await asyncio.to_thread(file.read, PART_BYTES)
                yield PART.part(data) if at else PART.first(wire.Part(), size, data)

    def _delivery(self, message: store.Queued, more: bool) -> wire.Delivery:
        clear = self.scan is not None
        return wire.Delivery(
            sequence=message.sequence,
            sender=message.sender,
            sealed=b"" if clear else message.sealed,
            clear=message.sealed if clear else b"",
            accepted_at_ms=message.accepted_at_ms,
            message_id=message.message_id,
            stamp=message.stamp,
            more=more,
        )

    async def _queued(self, account: str, after: int, listener: Listener) -> list[store.Queued]:
        """What waits in the database; if that may not be all, the listener will look again."""
        found = await self.database.run(lambda c: store.queued(c, account, after, _AT_ONCE, _BYTES_AT_ONCE))
        if found:
            listener.look()
        return found

    def _short(self, handler: Handler, rate: Rate | None = None) -> Method:
        buckets = TokenBuckets(rate or self.limits.calls, self.clock)
        return Method(handler, DEVICES, buckets, turns=self._turns)

    def _long(self, handler: Handler) -> Method:
        return Method(handler, DEVICES, TokenBuckets(self.limits.calls, self.clock), _LONG_SECONDS)


JUMP_SECONDS: Final = 3600.0
HOLD_SECONDS: Final = 24 * 3600.0


class Steadiness(Struct):
    """Notices jumps of the wall clock; `monotonic` gives seconds since anything, and is never set."""

    clock: Callable[[], float]
    monotonic: Callable[[], float] = time.monotonic
    _apart: float | None = None
    _held_until: float = 0.0

    def look(self) -> bool:
        """Has the clock jumped since the last look?"""
        now = self.monotonic()
        apart = self.clock() - now
        jumped = self._apart is not None and abs(apart - self._apart) > JUMP_SECONDS
        if jumped:
            self._held_until = now + HOLD_SECONDS
        self._apart = apart
        return jumped

    @property
    def holds(self) -> bool:
        """Is it too early to trust the clock?"""
        return self.monotonic() < self._held_until


class Retention(Struct, frozen=True):
    database: Database
    blobs: Blobs
    limits: RelayLimits
    context: ServerContext

    async def run(self) -> None:
        """Never returns; what fails is logged and tried again next time."""
        steadiness = Steadiness(self.context.clock)
        while True:
            if steadiness.look():
                self.context.log.write("clock_jumped", nothing_deleted_for_seconds=HOLD_SECONDS)
            if not steadiness.holds:
                now = milliseconds(self.context.clock)
                try:
                    gone = await self.database.run(partial(store.expire, now_ms=now, limits=self.limits))
                    await asyncio.to_thread(self.blobs.remove, gone)
                except Exception as error:
                    self.context.log.failure("sweep", error)
            await asyncio.sleep(self.limits.sweep_seconds)


class RelayConfig(Redacted, Struct, frozen=True):
    """What a relay needs.

    Attributes:
        directory: holds its database and attachments; made if it is not there.
        matching: roles of a design that the provider plays, if it has any.
        stamp_key: what the relay and the centre have in common, 32 bytes; None: messages are not stamped.
        notices_key: the identity key of the centre's own account, 32 bytes; None: it cannot be registered.
    """

    SHOWN: ClassVar = ("directory", "limits", "matching")

    directory: Path
    limits: RelayLimits = field(default_factory=RelayLimits)
    matching: MatchingConfig | None = None
    stamp_key: bytes | None = None
    notices_key: bytes | None = None


@asynccontextmanager
async def open_services(config: RelayConfig, context: ServerContext) -> AsyncIterator[Sequence[Service]]:
    """The relay and, if it has one, the matching service. Raises what the two openers raise."""
    async with AsyncExitStack() as stack:
        matching = list[MatchingService]()
        scan = None
        if config.matching is not None:
            matching = await stack.enter_async_context(open_matching(config.matching, context))
            scan = None if config.matching.design.info.end_to_end else matching[0].scan
        yield [*await stack.enter_async_context(open_relay(config, context, scan)), *matching]


@asynccontextmanager
async def open_relay(
    config: RelayConfig, context: ServerContext, scan: Scan | None = None
) -> AsyncIterator[list[Relay]]:
    """The relay's service over its directory, with its retention looked after; `scan` as in `Relay`. Messages
    in the clear have a folder of their own, so that none is ever handed out as one of the other kind.
    `StateError` if the database cannot be opened."""
    directory = config.directory if scan is None else config.directory / "clear"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(directory / "relay.sqlite", store.SCHEMA, store.VERSION, store.UPGRADES)
    blobs = Blobs(directory / "blobs")
    blobs.keep_only(await database.run(store.blob_ids))
    relay = Relay(database, blobs, config, context.clock, scan)
    retention = Retention(database, blobs, config.limits, context)
    try:
        async with under_way(retention.run(), relay.end_streams(context.draining)):
            yield [relay]
    finally:
        await database.close()
