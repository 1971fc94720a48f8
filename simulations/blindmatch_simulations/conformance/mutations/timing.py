"""Cheats that take their time."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, ClassVar

from blindmatch_protocol.contract import Done, Item, Match, Started, Step
from blindmatch_protocol.randomness import Randomness

from blindmatch_simulations.conformance.mutations.devices import Psi

BUSY = 4_000


class SlowOnMatch(Psi):
    """Works longer after a match, and claims that it does not."""

    constant_time: ClassVar[frozenset[str]] = frozenset({"receive"})

    def receive(self, session: Any, setup: Any, replies: Any, rng: Randomness) -> Step[Any]:
        step = super().receive(session, setup, replies, rng)
        if isinstance(step, Done) and isinstance(step.outcome, Match):
            _work()
        return step


class QuickCover(Psi):
    """Works less for a poor picture, and claims that it does not."""

    constant_time: ClassVar[frozenset[str]] = frozenset({"start", "answer"})

    def start(self, state: Any, setup: Any, item: Item, rng: Randomness) -> Started[Any, Any]:
        if item.quality >= self.info.relation.minimum_quality:
            _work()
        return super().start(state, setup, item, rng)


class SlowAndSilent(SlowOnMatch):
    """Works longer after a match, and claims nothing."""

    constant_time: ClassVar[frozenset[str]] = frozenset()


def _work() -> None:
    """Several times what a session takes."""
    for _ in range(BUSY):
        sha256(b"work").digest()
