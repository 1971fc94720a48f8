"""The relay as a process; with a design whose role the provider plays, it hosts that too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import ClassVar

from blindmatch_protocol.codec.redacted import Redacted
from msgspec import Struct, field

from blindmatch_server.hosting.concurrency import under_way
from blindmatch_server.hosting.endpoint import ServerContext, Service
from blindmatch_server.matching.server import MatchingConfig, open_matching
from blindmatch_server.matching.service import MatchingService
from blindmatch_server.relay import store
from blindmatch_server.relay.limits import RelayLimits
from blindmatch_server.relay.retention import Retention
from blindmatch_server.relay.service import Relay, Scan
from blindmatch_server.storage.blobs import Blobs
from blindmatch_server.storage.database import Database


class RelayConfig(Redacted, Struct, frozen=True):
    """What a relay needs.

    Attributes:
        directory: holds its database and attachments; made if it is not there.
        limits: what it allows an account.
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
