"""What the matching service allows a device."""

from __future__ import annotations

from msgspec import Struct, field

from blindmatch_server.hosting.rate import Rate
from blindmatch_server.hosting.worker_pool import cores


class MatchingLimits(Struct, frozen=True):
    """Bounds of the matching service.

    Attributes:
        carried: bodies that another server may forward.
        most_carried, most_carried_large: of those, how many are worked on at a time; in parts.
        exchanges: bodies a device may send.
        fetches: set-up files and descriptions a device may fetch.
        enrolments: enrolments that a device may ask about or send.
        most_body_bytes: a body that comes in parts, of roles whose longest request is not shorter.
        most_coming_bytes: all bodies in parts that are on their way.
        most_enrolment_bytes: what a role holds of an account.
        most_at_work: an account's bodies that are worked on at a time; others wait their turn.
        most_large: calls with bodies in parts that a device has at a time.
        most_batch: bodies that are answered together.
        most_in_turn: the same while accounts have more bodies waiting: one a core, so that who comes next
            does not wait for many of theirs.
        most_waiting: bodies that wait for their batch; more are refused.
        poll_seconds: how often a new epoch is looked for.
    """

    carried: Rate = Rate(5000.0, 50_000)
    most_carried: int = 512
    most_carried_large: int = 16
    exchanges: Rate = Rate(50.0, 500)
    fetches: Rate = Rate(10.0, 500)
    enrolments: Rate = Rate(1.0, 50)
    most_body_bytes: int = 152 << 20
    most_coming_bytes: int = 4 << 30
    most_enrolment_bytes: int = 64 << 20
    most_at_work: int = 8
    most_large: int = 2
    most_batch: int = 64
    most_in_turn: int = field(default_factory=cores)
    most_waiting: int = 4096
    poll_seconds: float = 5.0
