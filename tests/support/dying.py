"""Processes that end themselves with SIGKILL where a test wants it, and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def left_by(script: str) -> list[int]:
    """Run a Python program that prints the ids of its processes and kills itself; the ids."""
    killing = f"{script}; import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run(
        [sys.executable, "-c", killing], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return [int(word) for word in done.stdout.split()]


def end_by_themselves(pids: Sequence[int]) -> bool:
    """Are none of these processes running, once they had time to notice?"""
    until = time.monotonic() + 240
    while any(map(is_running, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(is_running, pids))


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class Points:
    """Counts calls that reach the disk and dies at the chosen one."""

    def __init__(self, point: str) -> None:
        self.when, _, number = point.partition(":")
        self.number = int(number or 0)
        self.seen = 0

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
