"""Recall: of the pairs that PDQ calls a match, how many the tokens find, by edit and by distance; and of all
edited pictures, how many PDQ calls a match and how many are found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.designs.token_psi import Tokening

from blindmatch_simulations.measure.intervals import one_sided_least
from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.studies.near.sample import EditedPairs
from blindmatch_simulations.studies.near.token_domain import Ranks

FAR = 24
"""Pairs beyond this distance are the hard ones; they are reported on their own."""
STEP = 4
"""Distances that a row is of."""


@dataclass(frozen=True, slots=True, repr=False)
class Recall:
    """Which matching pairs were found.

    Attributes:
        found: bool (m,), for matching pairs alone.
        edit: index of the edit, (m,).
        distance: (m,).
        names: of the edits.
        sent: all edited pictures, matching or not.
    """

    found: npt.NDArray[np.bool_]
    edit: npt.NDArray[np.intp]
    distance: npt.NDArray[np.int32]
    names: tuple[str, ...]
    sent: int

    @property
    def share(self) -> float:
        """Of all pairs, in percent."""
        return 100 * float(self.found.mean()) if len(self.found) else float("nan")

    def record(self, meter: Meter, row: str, why: str, **parameters: int | str) -> None:
        """Rows over all pairs, called `row`, for far pairs, by edit and by distance; and over all "
        "pictures."""
        self._row(meter, row, np.ones(len(self.found), np.bool_), why, parameters)
        for name, hits in (("found", int(self.found.sum())), ("pdq", len(self.found))):
            figures = {"share": hits / self.sent, "least_share": one_sided_least(hits, self.sent)}
            meter.record(f"near/recall/sent-{name}", figures, None, why, pictures=self.sent, **parameters)
        self._row(meter, "near/recall/far", self.distance > FAR, why, parameters | {"beyond": FAR})
        for number, name in enumerate(self.names):
            self._row(meter, "near/recall/edit", self.edit == number, why, parameters | {"edit": name})
        for low in range(0, 32, STEP):
            which = (self.distance >= low) & (self.distance < low + STEP)
            named = parameters | {"distance": f"{low} to {low + STEP - 1}"}
            self._row(meter, "near/recall/distance", which, why, named)

    def _row(
        self, meter: Meter, row: str, which: npt.NDArray[np.bool_], why: str, named: dict[str, int | str]
    ) -> None:
        hits, count = int(self.found[which].sum()), int(which.sum())
        if not count:
            meter.missing(row, "no such pair in the sample", **named)
            return
        figures = {"share": hits / count, "least_share": one_sided_least(hits, count)}
        meter.record(row, figures, None, why, pairs=count, **named)


def recall(
    pairs: EditedPairs, ranked: Ranks, tokening: Tokening, lost: npt.NDArray[np.bool_] | None = None
) -> Recall:
    """What a tokening finds, from the ranks of at least its probes in at least its bands.

    Args:
        pairs: the pictures.
        ranked: what `token_domain.ranks` gave, (m, bands or more).
        tokening: bands, probes and needed count; k is that of `ranked`.
        lost: tokens the store does not hold, (originals, bands or more).
    """
    hit = ranked[:, : tokening.bands] < tokening.probes
    if lost is not None:
        hit &= ~lost[pairs.original, : tokening.bands]
    matching = pairs.matching()
    found, distances = hit.sum(axis=1) >= tokening.needed, pairs.distances()[matching]
    return Recall(found[matching], pairs.edit[matching], distances, pairs.names, len(matching))
