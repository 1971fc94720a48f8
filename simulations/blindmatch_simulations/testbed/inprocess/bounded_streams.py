"""Streams of text and bytes that count what plug-ins print, and write it to standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TextIO

Count = Callable[[int], None]
"""Counts so many letters or bytes, and raises if there were too many."""


class BoundedText:
    """A stream of text that writes what plug-ins print to `errors`, and counts it first."""

    def __init__(self, inner: TextIO, errors: TextIO, is_calling: Callable[[], bool], count: Count) -> None:
        self._inner = inner
        self._errors = errors
        self._is_calling = is_calling
        self._count = count

    def write(self, text: str) -> int:
        if not self._is_calling():
            return self._inner.write(text)
        self._count(len(text))
        return self._errors.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> BoundedBytes:
        """The stream of bytes below it, which counts as well."""
        return BoundedBytes(self._inner.buffer, self._errors, self._is_calling, self._count)

    def detach(self) -> BoundedBytes:
        """Return the stream of bytes; the one of text stays in use, since others write to it."""
        return self.buffer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class BoundedBytes:
    """A stream of bytes, below a stream of text or below its buffer, that does the same."""

    def __init__(self, inner: Any, errors: TextIO, is_calling: Callable[[], bool], count: Count) -> None:
        self._inner = inner
        self._errors = errors
        self._is_calling = is_calling
        self._count = count

    def write(self, data: Any) -> int:
        if not self._is_calling():
            written: int = self._inner.write(data)
            return written
        raw = memoryview(data)
        self._count(raw.nbytes)
        self._errors.write(raw.tobytes().decode(errors="backslashreplace"))
        return raw.nbytes

    def writelines(self, lines: Iterable[Any]) -> None:
        for line in lines:
            self.write(line)

    @property
    def raw(self) -> BoundedBytes:
        """The unbuffered stream below it, which counts as well."""
        inner = getattr(self._inner, "raw", self._inner)
        return BoundedBytes(inner, self._errors, self._is_calling, self._count)

    def detach(self) -> BoundedBytes:
        """Return the unbuffered stream; this one stays in use."""
        return self.raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
