"""Deletes what the relay has kept long enough, unless the clock has just jumped.

A clock that is set forward would make everything that waits look old, and what was acknowledged would be
lost. So wall clock and monotonic clock are compared: if they drift apart, nothing is deleted for a day, in
which the operator, who finds it in the log, can set the clock right.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from blindmatch_server.hosting.endpoint import ServerContext
from blindmatch_server.relay import store
from blindmatch_server.relay.limits import RelayLimits
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
