"""Option 0b: end-to-end encryption, no detection. The baseline that finds nothing and leaks nothing."""

from __future__ import annotations

from typing import Final

from blindmatch_protocol import contract as bm
from blindmatch_protocol.designs.plain_scan import PlainScan


class NoDetection(PlainScan[None]):
    """Never asks anybody; every item ends undisclosed."""

    info = bm.Info(
        name="none",
        evaluation=bm.Evaluation.LOCAL,
        version=1,
        option="0b",
        summary="End-to-end encryption without detection: nothing is matched.",
        relation=bm.Nothing(),
        learns=frozenset({bm.Learner.NOBODY}),
        roles={},
    )

    def leakage(self) -> tuple[bm.Leak, ...]:
        return ()

    def start(
        self, state: bm.NoState, setup: int, item: bm.Item, binding: bm.Binding, rng: bm.Randomness
    ) -> bm.Started[bm.NoState, None]:
        return bm.Started(state, bm.Done(bm.Undisclosed()))


DESIGN: Final = NoDetection()
