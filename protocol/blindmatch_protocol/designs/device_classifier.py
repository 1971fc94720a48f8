"""Option 1d with a stand-in: a classifier on the device recognises a benign category, and asks nobody.

    device   score of the picture --> Ready --message handed over--> Flag(score) or nothing

What computes the score is given: a library and a model are files, and this room has none. The device and the
centre, which scores a reported picture again, are given the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from blindmatch_protocol import contract as bm
from blindmatch_protocol.designs.facts import leaks
from blindmatch_protocol.designs.plain_scan import PlainScan
from blindmatch_protocol.sets.plain_list import EPOCH_FILE, open_file

NAME: Final = "device-classifier"
CATEGORY: Final = "shows text"
THRESHOLD: Final = 0.002
"""Share of a picture's pixels that show text."""
PARTS: Final = 1_000_000
"""A set states the threshold in such parts."""


class DeviceClassifier(PlainScan[float]):
    """Flags the pictures whose `score`, 0 to 1, the same for the same pixels and without randomness, says
    that they show text: at least `threshold`, above 0, in whole millionths. A set and its epoch's signed
    manifest say which threshold it was made for; a design with another one does not open it. `model_bytes`
    are those of the model behind the score, which every device needs."""

    def __init__(
        self, score: Callable[[bm.Item], float], threshold: float = THRESHOLD, model_bytes: int = 0
    ) -> None:
        stated = round(threshold * PARTS)
        self.info = bm.Info(  # type: ignore[misc]
            name=NAME,
            evaluation=bm.Evaluation.LOCAL,
            version=1,
            option="1d",
            summary="Stand-in: a classifier on the device flags pictures that show text, and asks nobody.",
            relation=bm.Category(CATEGORY, stated / PARTS, score, minimum_quality=0),
            learns=frozenset({bm.Learner.DEVICE}),
            roles={},
            differs=(
                "the category is a benign one, that a picture shows text, by a public detector; it tells "
                "nothing about a classifier of abuse"
            ),
            parameters=(
                bm.Parameter(
                    "threshold", "least score that is flagged", "millionths", stated, stated, stated
                ),
            ),
            model_bytes=model_bytes,
        )

    @property
    def relation(self) -> bm.Category:
        found = self.info.relation
        assert isinstance(found, bm.Category)
        return found

    def open_setup(self, files: bm.Buffers, epoch: int | None = None) -> int:
        identity = open_file(self.info, files, EPOCH_FILE, epoch).identity
        if identity.parameters != self._parameters:
            raise bm.SetFileError(f"{EPOCH_FILE}: made for another threshold")
        return identity.epoch

    def stated(self, setup: int) -> bm.Stated:
        return bm.Stated(parameters=self._parameters)

    @property
    def _parameters(self) -> dict[str, int]:
        return {one.name: one.default for one in self.info.parameters}

    def leakage(self) -> tuple[bm.Leak, ...]:
        words = "the score of any picture and any edit it can think of, offline and without limit"
        fact = bm.Fact(
            "every_score", words, bm.Severity.LIST, lambda item, setup: self.relation.score(item),
            topic=bm.Topic.LIST, abuse="tries edits until none is flagged", noticed_by="nobody",
        )  # fmt: skip
        return leaks({bm.Party.DEVICE}, fact)

    def start(
        self, state: bm.NoState, setup: int, item: bm.Item, binding: bm.Binding, rng: bm.Randomness
    ) -> bm.Started[bm.NoState, float]:
        return bm.Started(state, bm.Ready(self.relation.score(item)))

    def conclude(self, session: float, setup: int) -> bm.Outcome:
        return bm.Flag(session) if session >= self.relation.threshold else bm.NoMatch()
