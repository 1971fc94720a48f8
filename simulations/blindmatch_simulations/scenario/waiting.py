"""Waits for what comes by itself, and shows how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from blindmatch_protocol.contract import Progress

T = TypeVar("T")

POLL_SECONDS: Final = 0.2


def until(look: Callable[[], tuple[int, int, T]], seconds: float, progress: Progress) -> T:
    """Look again until as much is done as is awaited, or the time is up; what was seen last."""
    deadline = time.monotonic() + seconds
    while True:
        done, awaited, found = look()
        progress(done, awaited)
        if done >= awaited or time.monotonic() > deadline:
            return found
        time.sleep(POLL_SECONDS)
