"""A role that takes 20 ms more for a match, by clocks that are kept elsewhere, so that it leaves no state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from blindmatch_protocol import contract as bm

from planted.mutations import timing
from planted.mutations.hooks import Upload


class TakesLonger(Upload):
    """The role takes 20 ms more for a match."""

    SPENT: ClassVar[int] = 20_000_000

    def answered(self, state: Any, requests: Sequence[bm.Request], answer: bm.Answer) -> bm.Answer:
        if any(verdict is not None and verdict.label is not None for verdict in answer.verdicts):
            timing.WORKED.spend(self.SPENT)
        return answer
