"""Processes that end themselves with SIGKILL where a test wants it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Points:
    """Counts calls that reach the disk and dies at the chosen one."""

    def __init__(self, point: str) -> None:
        self.when, _, number = point.partition(":")
        self.number, self.seen = int(number or 0), 0

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **named: Any) -> Any:
            self.seen += 1
            chosen = self.seen == self.number
            if chosen and self.when == "before":
                die()
            result = call(*args, **named)
            if chosen and self.when == "after":
                die()
            return result

        return wrapped
