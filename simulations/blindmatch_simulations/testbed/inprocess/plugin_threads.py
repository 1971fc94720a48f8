"""Finds threads that a step of a plug-in leaves behind.

A step is over when it returns. A thread that it started and did not wait for works on while other steps run,
takes their time, and may keep the command from exiting. Such threads are daemons here, so that they do not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial, wraps
from typing import Final

END_SECONDS: Final = 10.0
"""How long a thread has to end by itself after its step, which also a busy machine can do."""
LATER_SECONDS: Final = 0.5
"""The same once one was left behind in a process."""


class StartedThreads(threading.local):
    """Threads that the call which is under way on this thread has started."""

    def __init__(self) -> None:
        self.started: list[threading.Thread] = []


class ThreadWatch:
    """Notes the threads that plug-ins start, while it is begun."""

    def __init__(self, is_calling: Callable[[], bool]) -> None:
        self._is_calling = is_calling
        self._here = StartedThreads()
        self._left: list[threading.Thread] = []

    def begin(self) -> Callable[[], object]:
        """Begin to note threads; return what ends it."""
        original = threading.Thread.start

        @wraps(original)
        def note_and_start(thread: threading.Thread) -> None:
            if self._is_calling():
                thread.daemon = True
                self._here.started.append(thread)
            original(thread)

        setattr(threading.Thread, "start", note_and_start)  # noqa: B010 - mypy lets no method be assigned
        self._left.clear()
        return partial(setattr, threading.Thread, "start", original)

    def forget(self) -> None:
        """Begin to note for another call on this thread."""
        self._here.started = []

    def find_left(self) -> list[threading.Thread]:
        """Return the threads that the call on this thread has started, and that do not end."""
        left = list[threading.Thread]()
        for thread in self._here.started:
            if thread is not threading.current_thread() and thread.is_alive():
                thread.join(LATER_SECONDS if self._left else END_SECONDS)
                left += [thread] if thread.is_alive() else []
        self._left += left
        return left

    def has_left(self) -> bool:
        """Does a thread go on that was left behind? A pool waits for those of its own when a process ends."""
        return any(thread.is_alive() for thread in self._left)
