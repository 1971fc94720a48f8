"""What waits to be delivered together, and what never does."""

from __future__ import annotations

import pytest
from blindmatch_server.relay.store import Queued
from blindmatch_server.relay.streams import MANY, Pace

SECONDS = 0.0625


def came(at_ms: int) -> Queued:
    return Queued(1, "alice", b"sealed", at_ms, bytes(16), b"")


def waits(gap_ms: int, count: int) -> list[float]:
    """How long each of `count` messages would wait that come so far apart; each is delivered as it comes."""
    pace = Pace(SECONDS)
    found = []
    for at_ms in range(0, count * gap_ms, gap_ms):
        found.append(max(0.0, pace.wait(at_ms / 1000, at_ms)))
        pace.delivered([came(at_ms)], at_ms / 1000)
    return found


def test_messages_that_come_now_and_then_do_not_wait() -> None:
    assert waits(25, 20) == [0.0] * 20


def test_once_messages_came_fast_the_next_ones_wait_until_the_time_since_the_last_delivery_is_over() -> None:
    assert waits(8, MANY + 2) == [0.0] * MANY + [pytest.approx(SECONDS - 0.008)] * 2


def test_what_waited_long_at_the_relay_says_nothing_of_how_fast_messages_come() -> None:
    pace = Pace(SECONDS)
    pace.delivered([came(0), came(1), came(2)], 10.0)
    assert pace.wait(10.001, 10_001) == 0.0


def test_one_that_comes_when_the_time_is_over_goes_at_once() -> None:
    pace = Pace(SECONDS)
    pace.delivered([came(9_990), came(9_995), came(10_000)], 10.0)
    assert pace.wait(10.0, 10_000) == SECONDS and pace.wait(10.5, 10_500) <= 0.0
