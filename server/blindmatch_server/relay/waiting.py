"""Wakes the streams that wait for an account's next message, and bounds how many there are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from blindmatch_server.errors import QuotaError


class Waiting:
    """Events by account; belongs to one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._events: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def listen(self, account: str, step: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever something comes for `account`.

        Raises:
            QuotaError: if too many listen for it already.
        """
        events = self._events.setdefault(account, set())
        if len(events) >= self._most:
            raise QuotaError(step, f"an account may have {self._most} of these calls at a time")
        event = asyncio.Event()
        events.add(event)
        try:
            yield event
        finally:
            events.discard(event)
            if not events:
                self._events.pop(account, None)

    def wake(self, account: str) -> None:
        """Something came for `account`."""
        for event in self._events.get(account, ()):
            event.set()


async def any_of(events: tuple[asyncio.Event, ...], seconds: float) -> None:
    """Wait until one of `events` is set, or for `seconds`."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
