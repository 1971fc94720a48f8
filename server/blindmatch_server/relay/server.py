"""The relay as a process; with a design whose role the provider plays, it hosts that too.

What was kept long enough is deleted, unless the clock has just jumped: one that is set forward would make
everything that waits look old, and what was acknowledged would be lost. So wall clock and monotonic clock are
compared: if they drift apart, nothing is deleted for a day, in which the operator, who finds it in the log,
can set the clock right.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import ClassVar, Final

from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Struct, field

from blindmatch_server.hosting.endpoint import ServerContext, Service
from blindmatch_server.hosting.limits import under_way
from blindmatch_server.matching.service import MatchingConfig, MatchingService, open_matching
from blindmatch_server.relay import store
from blindmatch_server.relay.service import Relay, Scan
from blindmatch_server.relay.store import RelayLimits
from blindmatch_server.storage.blobs import Blobs
from blindmatch_server.storage.database import Database

JUMP_SECONDS: Final = 3600.0
HOLD_SECONDS: Final = 24 * 3600.0


class Steadiness(Struct):
    """Notices jumps of the wall clock.

    Attributes:
        clock: Unix time in seconds.
        monotonic: seconds since anything, never set.
    """

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
    """Deletes now and then."""

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
                await self._sweep()
            await asyncio.sleep(self.limits.sweep_seconds)

    async def _sweep(self) -> None:
        before = int((self.context.clock() - self.limits.retention_seconds) * 1000)
        try:
            gone = await self.database.run(lambda c: store.expire(c, before))
            await asyncio.to_thread(self.blobs.remove, gone)
        except Exception as error:
            self.context.log.failure("sweep", error)


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
        matching, scan = list[MatchingService](), None
        if config.matching is not None:
            matching = await stack.enter_async_context(open_matching(config.matching, context))
            scan = None if config.matching.design.info.end_to_end else matching[0].scan
        yield [*await stack.enter_async_context(open_relay(config, context, scan)), *matching]


@asynccontextmanager
async def open_relay(
    config: RelayConfig, context: ServerContext, scan: Scan | None = None
) -> AsyncIterator[list[Relay]]:
    """The relay's service over its directory, with its retention looked after; `scan` as in `Relay`.

    Messages in the clear are kept in a folder of their own, so that what was taken of the one kind is never
    handed out as one of the other.

    Raises:
        StateError: if the database cannot be opened.
    """
    directory = config.directory if scan is None else config.directory / "clear"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(directory / "relay.sqlite", store.SCHEMA, store.VERSION)
    blobs = Blobs(directory / "blobs")
    blobs.keep_only(await database.run(store.blob_ids))
    keys = (config.stamp_key, config.notices_key)
    relay = Relay(database, blobs, config.limits, context.clock, scan, *keys)
    retention = Retention(database, blobs, config.limits, context)
    try:
        async with under_way(retention.run(), relay.end_streams(context.draining)):
            yield [relay]
    finally:
        await database.close()
