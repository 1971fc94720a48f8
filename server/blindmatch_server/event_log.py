"""Structured logs: one JSON object a line; never content, hashes, keys or the text of an exception."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from blindmatch_server.clock import Clock, milliseconds, system_clock

Sink: TypeAlias = Callable[[str], None]
"""Takes one line, without its end."""

Value: TypeAlias = str | int | float | bool | None

# `json.dumps` makes an encoder for each line
_ENCODER = json.JSONEncoder(separators=(",", ":"))


def standard_error(line: str) -> None:
    """Write a line to the standard error stream at once."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class EventLog(Struct, frozen=True):
    """Writes events as JSON lines with the time, the service and named values."""

    service: str
    sink: Sink = standard_error
    clock: Clock = system_clock

    def write(self, event: str, **values: Value) -> None:
        """Write one event; values are names, numbers and states, never anything a user wrote."""
        line = {"at_ms": milliseconds(self.clock), "service": self.service, "event": event, **values}
        self.sink(_ENCODER.encode(line))

    def failure(self, event: str, error: BaseException, **values: Value) -> None:
        """Write an unforeseen error: its type and place; its text may quote input."""
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else ""
        self.write(event, error=type(error).__name__, place=place, **values)
