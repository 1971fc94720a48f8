"""Buffers and writers that stand in for files; client and server open the real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from blindmatch_protocol.codec import Buffer

Buffers: TypeAlias = Mapping[str, Buffer]
"""Named files of a set-up or of a role's state, as (memory-mapped) buffers."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (done, total) entries, often enough for a progress bar."""


def no_progress(done: int, total: int) -> None:
    """A `Progress` that shows nothing."""


class Writer(Protocol):
    """Where a file's bytes go, in order."""

    def write(self, data: Buffer, /) -> object:
        """Append `data`."""
        ...


class Workspace(Protocol):
    """Makes the files of a build; nothing it made is visible to others before the build is published."""

    def create(self, name: str) -> Writer:
        """A new, empty file in the result."""
        ...

    def scratch(self, name: str, size: int) -> memoryview:
        """A zeroed, writable buffer of `size` bytes that does not become part of the result."""
        ...
