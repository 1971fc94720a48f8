"""When a command that goes on until it is interrupted may end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_ENDING: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred_interrupts() -> Iterator[Callable[[], bool]]:
    """Note the first interrupt, so that work goes on to its end; a second one raises `KeyboardInterrupt`.

    An exception can come up anywhere, and be lost or become another one: one that comes up in a function that
    SQLite calls fails the statement. Whoever loops asks between rounds, by what is yielded, whether there was
    an interrupt. Only the main thread gets signals; in another one there is none.
    """
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, note) for number in _ENDING}
    try:
        yield lambda: bool(noted)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
