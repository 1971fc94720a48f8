"""Time is a parameter: services are given a clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Unix time in seconds."""

system_clock: Clock = time.time


def milliseconds(clock: Clock) -> int:
    """Unix time in whole milliseconds."""
    return int(clock() * 1000)
