"""Cheats that take their time, and a device that does not."""

from __future__ import annotations

from typing import Any, ClassVar

from blindmatch_client.device import Device
from blindmatch_client.matching.detector import Undecided
from blindmatch_client.messages.sending import Sender
from blindmatch_client.store.outbox import Outgoing
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Done, Match, concluded

from planted.mutations.hooks import About, Psi, planted, poor, variant

STEP = 1_000
"""Nanoseconds between two looks at the clock."""
WORK = 20_000
"""Nanoseconds that the work of a cheat takes."""
LONG = 150_000_000
"""What a cheat takes that any network shows, in nanoseconds."""


class Ticks:
    """A clock that goes on when it is looked at and when work is done, whatever else the machine does."""

    def __init__(self) -> None:
        self._now = 0

    def __call__(self) -> int:
        """Nanoseconds."""
        self._now += STEP
        return self._now

    def spend(self, nanoseconds: int) -> None:
        self._now += nanoseconds


WORKED = Ticks()
"""The clock of the cheats below that says what a thread has worked."""
PASSED = Ticks()
"""Their clock that says what time has passed."""
TICKS = (WORKED, PASSED)


class SpendsOnMatch(Psi):
    """Spends some nanoseconds of a clock after a match."""

    clock: ClassVar[Ticks]
    spent: ClassVar[int] = LONG

    def received(self, step: Any, session: Any, setup: Any, replies: Any, rng: Randomness) -> Any:
        end = concluded(self, step, setup)
        if isinstance(end, Done) and isinstance(end.outcome, Match):
            self.clock.spend(self.spent)
        return end


planted("150 ms of sleep on a match", "timing", "receive: a match", clocks=TICKS)(
    variant(SpendsOnMatch, clock=PASSED)
)
planted("150 ms of work on a match", "timing", "receive: a match", clocks=TICKS)(
    variant(SpendsOnMatch, clock=WORKED)
)
SlowAndSilent = variant(SpendsOnMatch, clock=WORKED, spent=WORK)
"""Works a little longer after a match, and claims nothing."""
planted("a match takes longer, and is said not to", "timing", "receive: a match", clocks=TICKS)(
    variant(SlowAndSilent, constant_time=frozenset({"receive"}))
)


@planted("cover is quicker, and is said not to be", "timing", "start: quality 0", clocks=TICKS)
class QuickCover(Psi):
    constant_time: ClassVar[frozenset[str]] = frozenset({"start", "answer"})

    def drawn(self, about: About, rng: Randomness) -> Randomness:
        WORKED.spend(0 if poor(about) else WORK)
        return rng


class HastySender(Sender, frozen=True):
    """Concludes as soon as the replies are verified."""

    def ask(self, row: Outgoing) -> Undecided | None:
        return super().ask(row) or self.conclude_session(row)


class HastyDevice(Device):
    """A device that looks at the outcome before it hands the message over; else the honest one."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._sender = HastySender(*(getattr(self._sender, name) for name in Sender.__struct_fields__))


planted("a device that looks first", "hand-over", "hand-over: match", device=HastyDevice)(Psi)
