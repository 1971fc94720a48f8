"""The `Receive` calls that are under way: what was just stored goes to them without being read again.

    Send --committed--> handed to whoever listens for the account --in sequence--> the stream
                                     |
                                     +-- a gap, or more than is held here --> the stream reads the database

While messages come fast, a delivery waits for a while after the one before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from blindmatch_server.hosting.limits import CallLimit, wait_at_most
from blindmatch_server.relay.store import Queued

MOST_HELD: Final = 32
MOST_BYTES_HELD: Final = 1 << 20


class Listener:
    """One stream: what was handed to it, and whether it must look into the database."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self._held: list[Queued] = []
        self._bytes = 0
        self._behind = True

    def hand(self, message: Queued) -> None:
        """A message that is on disk; it is dropped if too much is held, and read from there later."""
        self._bytes += len(message.sealed)
        if len(self._held) >= MOST_HELD or self._bytes > MOST_BYTES_HELD:
            self.look()
        else:
            self._held.append(message)
            self._woken.set()

    def look(self) -> None:
        """There is something in the database."""
        self._behind = True
        self._held = []
        self._bytes = 0
        self._woken.set()

    def take(self, after: int) -> list[Queued] | None:
        """The messages that follow sequence `after` without a gap, if any; None: look into the database,
        which has all that was handed over before this call."""
        held = self._held
        self._held = []
        self._bytes = 0
        behind = self._behind
        self._behind = False
        self._woken.clear()
        held = [message for message in held if message.sequence > after]
        complete = all(message.sequence == after + n for n, message in enumerate(held, 1))
        return None if behind or not complete else held

    async def wait(self, seconds: float) -> None:
        await wait_at_most(self._woken, seconds)


class Listeners:
    """All streams, by account; belongs to one event loop."""

    def __init__(self, most: int) -> None:
        """`most`: streams of one account."""
        self._places = CallLimit(most)
        self._by_account: dict[str, set[Listener]] = {}

    @contextmanager
    def listen(self, account: str, step: str) -> Iterator[Listener]:
        """A listener of `account`, which looks into the database first; `QuotaError` if too many listen for
        it already."""
        with self._places.hold(account, step):
            listener = Listener()
            listeners = self._by_account.setdefault(account, set())
            listeners.add(listener)
            try:
                yield listener
            finally:
                listeners.discard(listener)
                if not listeners:
                    self._by_account.pop(account, None)

    def hand(self, account: str, message: Queued) -> None:
        """Give a message that is on disk to those that listen for `account`."""
        for listener in self._by_account.get(account, ()):
            listener.hand(message)

    def wake_all(self) -> None:
        """Let every stream look around, such as when the server shuts down."""
        for listeners in self._by_account.values():
            for listener in listeners:
                listener.look()


MANY: Final = 3


class Pace:
    """The pace of one stream: messages come fast while `MANY` of them came within `seconds`; further ones
    then wait for so long after a delivery."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._came_ms: deque[int] = deque(maxlen=MANY)
        self._delivered = 0.0

    def delivered(self, messages: Sequence[Queued], now: float) -> None:
        """Messages went to the device at the time `now` of the event loop."""
        self._delivered = now
        self._came_ms.extend([message.accepted_at_ms for message in messages])

    def wait(self, now: float, now_ms: int) -> float:
        """For how many seconds what comes at this time waits for more; none, or less, if it does not."""
        fast = len(self._came_ms) == MANY and now_ms - self._came_ms[0] < self._seconds * 1000
        return self._delivered + self._seconds - now if fast else 0.0
