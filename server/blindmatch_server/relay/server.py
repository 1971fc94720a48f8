"""The relay as a process; with a design whose role the provider plays, it hosts that too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from blindmatch_server.blobs import Blobs
from blindmatch_server.database import Database
from blindmatch_server.endpoint import Desk, Service
from blindmatch_server.matching.server import MatchingConfig, open_matching
from blindmatch_server.relay import store
from blindmatch_server.relay.limits import RelayLimits
from blindmatch_server.relay.retention import Retention
from blindmatch_server.relay.service import Relay
from blindmatch_server.serving import Listen, Run, serve


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """What a relay needs.

    Attributes:
        listen: where it listens, with certificate and clock.
        directory: holds its database and attachments; made if it is not there.
        limits: what it allows an account.
        matching: roles of a design that the provider plays, if it has any.
    """

    listen: Listen
    directory: Path
    limits: RelayLimits = field(default_factory=RelayLimits)
    matching: MatchingConfig | None = None


def serve_relay(config: RelayConfig, run: Run = serve) -> int:
    """Run a relay, by default until SIGTERM or SIGINT; returns one of `exit_codes`."""

    return run("relay", config.listen, lambda desk: open_services(config, desk))


@asynccontextmanager
async def open_services(config: RelayConfig, desk: Desk) -> AsyncIterator[Sequence[Service]]:
    """The relay and, if it has one, the matching service. Raises what the two openers raise."""
    async with AsyncExitStack() as stack:
        opened: list[Service] = [await stack.enter_async_context(open_relay(config, desk))]
        if config.matching is not None:
            opened.append(await stack.enter_async_context(open_matching(config.matching, desk)))
        yield opened


@asynccontextmanager
async def open_relay(config: RelayConfig, desk: Desk) -> AsyncIterator[Relay]:
    """The relay's service over its directory, with its retention looked after.

    Raises:
        StateError: if the database cannot be opened.
    """
    config.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(config.directory / "relay.sqlite", store.SCHEMA, store.VERSION, store.MIGRATIONS)
    blobs = Blobs(config.directory / "blobs")
    blobs.keep_only(await database.run(store.blob_ids))
    relay = Relay(database, blobs, config.limits, desk.clock)
    tasks = [
        asyncio.create_task(Retention(database, blobs, config.limits, desk).run()),
        asyncio.create_task(relay.end_streams(desk.draining)),
    ]
    try:
        yield relay
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await database.close()
