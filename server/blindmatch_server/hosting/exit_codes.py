"""Exit codes of a server process, the same for every service; apart, since commands load them first."""

from __future__ import annotations

from typing import Final

OK: Final = 0
"""Drained cleanly after SIGTERM or SIGINT."""
FAILED: Final = 1
"""Stopped by an error nobody foresaw; the log names its type and place."""
PORT_TAKEN: Final = 3
"""The address could not be bound."""
BAD_STATE: Final = 4
"""A file the service needs (set, key, database, certificate) is missing, altered or of another version."""
DRAIN_TIMED_OUT: Final = 5
"""Calls were still running when the grace period ended and were cut off."""
