"""Cheats that take their time."""

from __future__ import annotations

from typing import Any, ClassVar

from blindmatch_protocol.contract import Binding, Done, Item, Match, Started, Step, concluded
from blindmatch_protocol.randomness import Randomness

from blindmatch_simulations.conformance.mutations.devices import Psi

STEP, WORK = 1_000, 20_000
"""Nanoseconds between two looks at the clock, and what the work of a cheat takes."""
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
        """Work that takes this long."""
        self._now += nanoseconds


WORKED, PASSED = Ticks(), Ticks()
"""The clocks of the cheats below: what a thread has worked, and what has passed."""
TICKS = (WORKED, PASSED)


class SlowOnMatch(Psi):
    """Works longer after a match, and claims that it does not."""

    constant_time: ClassVar[frozenset[str]] = frozenset({"receive"})

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Step[Any]:
        step = concluded(self, super().receive(session, setup, replies, rng), setup)
        if isinstance(step, Done) and isinstance(step.outcome, Match):
            WORKED.spend(WORK)
        return step


class QuickCover(Psi):
    """Works less for a poor picture, and claims that it does not."""

    constant_time: ClassVar[frozenset[str]] = frozenset({"start", "answer"})

    def start(
        self, state: Any, setup: Any, item: Item, binding: Binding, rng: Randomness
    ) -> Started[Any, Any]:
        if item.quality >= self.info.relation.minimum_quality:
            WORKED.spend(WORK)
        return super().start(state, setup, item, binding, rng)


class SlowAndSilent(SlowOnMatch):
    """Works longer after a match, and claims nothing."""

    constant_time: ClassVar[frozenset[str]] = frozenset()


class SleepsOnMatch(Psi):
    """Sleeps after a match."""

    clock: ClassVar[Ticks] = PASSED

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Step[Any]:
        step = concluded(self, super().receive(session, setup, replies, rng), setup)
        if isinstance(step, Done) and isinstance(step.outcome, Match):
            self.clock.spend(LONG)
        return step


class WorksOnMatch(SleepsOnMatch):
    """Works for as long after a match."""

    clock: ClassVar[Ticks] = WORKED
