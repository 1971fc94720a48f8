"""When an interrupt ends a command: deferred to the end of a round, and never lost."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_ENDING: Final = (signal.SIGINT, signal.SIGTERM)

_AGAIN_AFTER_S: Final = 0.02
"""How long after an interrupt was lost it is raised again; longer than a finalizer or a callback takes."""


@contextmanager
def repeated_interrupts() -> Iterator[Callable[[], bool]]:
    """Raise a `KeyboardInterrupt` again that came up where Python drops exceptions.

    Python calls finalizers, weak references' callbacks and hooks of `os.fork` between any two instructions.
    It prints what they raise ("Exception ignored in") and goes on: an interrupt that comes up in one of them
    would be lost, and the command would go on to its end. The hook that is told of it is called in the same
    way and cannot raise it again, so a thread sends the signal once more a moment later.

    Yields what tells if an interrupt was lost and its repetition has not come up yet: who ends by then was
    interrupted. At the end nothing is repeated any more.
    """
    report = sys.unraisablehook
    waiting: list[threading.Timer] = []

    def repeat(unraisable: UnraisableHookArgs) -> None:
        error = unraisable.exc_value
        if not isinstance(error, KeyboardInterrupt):
            report(unraisable)
        if _is_interrupt(error):
            again = threading.Timer(_AGAIN_AFTER_S, signal.raise_signal, [signal.SIGINT])
            again.daemon = True
            waiting.append(again)
            again.start()

    sys.unraisablehook = repeat
    try:
        yield lambda: any(again.is_alive() for again in waiting)
    finally:
        sys.unraisablehook = report
        for again in waiting:
            again.cancel()


def _is_interrupt(error: BaseException | None) -> bool:
    """Is it an interrupt, or one that was raised as another error?"""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


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
