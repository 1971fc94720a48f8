"""Reads a stream ahead of whoever works on it, so that what came meanwhile is worked on together.

    source --one by one, on a thread--> shelf of bounded size --all that is there--> worker

A worker that is quicker than the source gets one element at a time, and waits no longer for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class _Shelf(Generic[T]):
    """What was read and not taken yet."""

    def __init__(self, size: Callable[[T], int], most: int, most_bytes: int) -> None:
        self._size = size
        self._most = most
        self._most_bytes = most_bytes
        self._changed = threading.Condition()
        self._items: list[T] = []
        self._bytes = 0
        self._ended = False
        self._failure: BaseException | None = None
        self._closed = False

    def fill(self, source: Iterator[T]) -> None:
        """Put all of `source` here, until it ends, fails, or nobody wants any more."""
        failure: BaseException | None = None
        try:
            for item in source:
                if not self._put(item):
                    break
        except BaseException as error:
            failure = error
        with self._changed:
            self._ended, self._failure = True, failure
            self._changed.notify_all()

    def take(self) -> list[T]:
        """All that is here, at least one element; none at the end. Raises what the source raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended)
            items, self._items, self._bytes = self._items, [], 0
            self._changed.notify_all()
            if not items and self._failure is not None:
                raise self._failure
            return items

    def close(self) -> None:
        """Nothing is taken any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _put(self, item: T) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._has_room())
            self._items.append(item)
            self._bytes += self._size(item)
            self._changed.notify_all()
            return not self._closed

    def _has_room(self) -> bool:
        return len(self._items) < self._most and self._bytes < self._most_bytes


def batches(
    source: Iterator[T], size: Callable[[T], int], most: int = 64, most_bytes: int = 4 << 20
) -> Generator[list[T]]:
    """The elements of `source`, in order, as many together as are there when the worker asks.

    Args:
        source: iterated on a thread of its own, which ends with it. Whoever wants no more of it closes
            this generator, and makes the source end if that may wait for ever.
        size: bytes of an element.
        most: elements that are held.
        most_bytes: of these, but for the last one.

    Raises:
        Exception: what `source` raised, after all that came before.
    """
    shelf = _Shelf(size, most, most_bytes)
    threading.Thread(target=shelf.fill, args=(source,), name="read-ahead", daemon=True).start()
    try:
        while items := shelf.take():
            yield items
    finally:
        shelf.close()
