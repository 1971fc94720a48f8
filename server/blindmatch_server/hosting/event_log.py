"""Structured logs: one JSON object a line; never content, hashes, keys or the text of an exception.

Time is a parameter: services are given a clock.
"""

from __future__ import annotations

import errno
import json
import os
import select
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

from msgspec import Struct

from blindmatch_server.storage.errors import StateError

Clock: TypeAlias = Callable[[], float]
"""Unix time in seconds."""

system_clock: Clock = time.time


def milliseconds(clock: Clock) -> int:
    return int(clock() * 1000)


Sink: TypeAlias = Callable[[str], None]
"""Takes one line, without its end."""

Value: TypeAlias = str | int | float | bool | None

# `json.dumps` makes an encoder for each line
_ENCODER = json.JSONEncoder(separators=(",", ":"))


MOST_LOG_BYTES: Final = 64 << 20
"""Size at which a log's file becomes `NAME.1`, in the place of the one before."""


class _StandardError:
    def __init__(self) -> None:
        self._torn = False

    def __call__(self, line: str) -> None:
        """Write a line; `OSError` if it cannot be written, or not now: a reader that stalls must not stall
        the server."""
        writable = select.poll()
        writable.register(2, select.POLLOUT)
        data = f"{chr(10) if self._torn else ''}{line}\n".encode()
        written = 0
        try:
            # a pipe that can be written to takes so many bytes at once, and would wait with more
            while written < len(data) and writable.poll(0):
                written += os.write(2, data[written : written + select.PIPE_BUF])
        finally:
            self._torn = written < len(data) if written else self._torn
        _check_whole(written, data)


standard_error: Final[Sink] = _StandardError()


class LogFile:
    """Adds lines to a file of its own, of at most `most_bytes`; for one process at a time."""

    def __init__(self, path: Path, most_bytes: int = MOST_LOG_BYTES) -> None:
        """Raises `StateError` if the file cannot be opened."""
        self._path = path
        self._most = most_bytes
        self._lock = threading.Lock()
        try:
            self._file = self._open()
        except OSError as error:
            raise StateError(f"log: {path} cannot be written: {error.strerror}") from error

    def __call__(self, line: str) -> None:
        """Add a line; raises `OSError`, and leaves the file as it was, if it cannot be added whole."""
        data = f"{line}\n".encode()
        with self._lock:
            size = os.fstat(self._file).st_size
            if size and size + len(data) > self._most:
                self._rotate()
                size = os.fstat(self._file).st_size
            written = os.write(self._file, data)
            if written < len(data):
                os.ftruncate(self._file, size)
        _check_whole(written, data)

    def _open(self) -> int:
        # a pipe without a reader is refused, and one whose reader stalls takes no line
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(self._path, flags, 0o600)

    def _rotate(self) -> None:
        """Begin a new file; where that fails the old one goes on, and the next line tries again."""
        with suppress(OSError):
            with suppress(FileNotFoundError):
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            fresh = self._open()
            os.close(self._file)
            self._file = fresh


def _check_whole(written: int, data: bytes) -> None:
    if written < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class EventLog(Struct, frozen=True):
    """Writes events as JSON lines with the time, the service and named values; one that cannot be written is
    dropped and told of by `dropped`: nothing else may fail for it."""

    service: str
    sink: Sink = standard_error
    clock: Clock = system_clock
    dropped: Callable[[], None] = lambda: None

    def write(self, event: str, **values: Value) -> None:
        """Write one event; values are names, numbers and states, never anything a user wrote."""
        line = {"at_ms": milliseconds(self.clock), "service": self.service, "event": event, **values}
        try:
            self.sink(_ENCODER.encode(line))
        except Exception:
            self.dropped()

    def failure(self, event: str, error: BaseException, **values: Value) -> None:
        """Write an unforeseen error: its type and place; its text may quote input."""
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else ""
        self.write(event, error=type(error).__name__, place=place, **values)
