"""What the matching service allows a device."""

from __future__ import annotations

from dataclasses import dataclass, field

from blindmatch_server.rate import Rate


@dataclass(frozen=True, slots=True)
class MatchingLimits:
    """Bounds of the matching service.

    Attributes:
        exchanges: bodies a device may send.
        fetches: set-up files and descriptions a device may fetch.
        most_body_bytes: a body that comes in parts.
        most_large: calls with bodies in parts that a device has at a time.
        most_batch: bodies that are answered together.
        most_waiting: bodies that wait for their batch; more are refused.
        poll_seconds: how often a new epoch is looked for.
    """

    exchanges: Rate = field(default=Rate(50.0, 500))
    fetches: Rate = field(default=Rate(10.0, 500))
    most_body_bytes: int = 152 << 20
    most_large: int = 2
    most_batch: int = 64
    most_waiting: int = 4096
    poll_seconds: float = 5.0
