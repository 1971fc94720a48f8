"""The executor is a parameter of the core; this is what it must offer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Executor(Protocol):
    """The part of `concurrent.futures.Executor` that the core uses (threads: libsodium frees the lock)."""

    def map(self, fn: Callable[..., T], /, *iterables: Iterable[Any]) -> Iterator[T]:
        """Results of `fn` in the order of the arguments."""
        ...
