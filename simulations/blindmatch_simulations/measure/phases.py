"""The phases of a long run: each shows its progress, and its wall time is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

from blindmatch_protocol.contract import Progress

T = TypeVar("T")

PhaseProgress: TypeAlias = Callable[[str], Progress]
"""Begins a phase with a title; what it gives back takes (done, total)."""


Tell: TypeAlias = Callable[[str, int, int], None]
"""Called with (phase, done, total)."""


def as_heard(begin: PhaseProgress) -> Tell:
    """A `Tell` that begins each phase when it first hears of it."""
    begun: dict[str, Progress] = {}

    def tell(title: str, done: int, total: int) -> None:
        if title not in begun:
            begun[title] = begin(title)
        begun[title](done, total)

    return tell


def silent(title: str) -> Progress:
    """A `PhaseProgress` that shows nothing."""
    return lambda done, total: None


def each(items: Collection[T], progress: Progress) -> Iterator[T]:
    """The items one by one; `progress` hears of each once the work on it is done."""
    for done, item in enumerate(items, 1):
        yield item
        progress(done, len(items))


class PhaseTimes:
    """Times phases and tells of them.

    Attributes:
        seconds: wall time of each phase that has ended, by title, rounded to milliseconds.
    """

    def __init__(self, begin: PhaseProgress) -> None:
        self._begin = begin
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, title: str) -> Iterator[Progress]:
        """A phase with its `Progress`; one that never told any, or of what length, is complete at its end."""
        began = time.perf_counter()
        progress = self._begin(title)
        last = (1, 1)

        def watched(done: int, total: int) -> None:
            nonlocal last
            last = (done, total)
            progress(done, total)

        yield watched
        progress(*(last if last[1] else (1, 1)))
        self.seconds[title] = round(time.perf_counter() - began, 3)
