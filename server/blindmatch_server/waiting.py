"""Calls that last: how many an account may have at a time, and what ends a wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from blindmatch_server.errors import QuotaError


class Places:
    """Bounds the calls an account has at the same time; belongs to one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: dict[str, int] = {}

    @contextmanager
    def hold(self, account: str, step: str) -> Iterator[None]:
        """Hold a place while the context lasts.

        Raises:
            QuotaError: if the account holds all of its places.
        """
        taken = self._taken.get(account, 0)
        if taken >= self._most:
            raise QuotaError(step, f"an account may have {self._most} of these calls at a time")
        self._taken[account] = taken + 1
        try:
            yield
        finally:
            self._taken[account] -= 1
            if not self._taken[account]:
                del self._taken[account]


async def any_of(events: tuple[asyncio.Event, ...], seconds: float) -> None:
    """Wait until one of `events` is set, or for `seconds`."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
