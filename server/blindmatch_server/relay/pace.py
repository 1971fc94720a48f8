"""When what comes on a stream waits, to be delivered together with what follows.

A device saves together what is delivered together, which is cheaper than each by itself. A message that comes
alone is delivered at once; while messages come fast, a delivery waits for a while after the one before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from blindmatch_server.relay.store import Queued

MANY: Final = 3


class Pace:
    """The pace of one stream.

    Args:
        seconds: messages come fast while `MANY` of them came within this time; for so long after a delivery
            further ones wait then.
    """

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
