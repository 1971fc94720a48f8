"""Recall: of the pairs that PDQ calls a match, how many the tokens find; by edit and by distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.designs.token_psi import Tokening

from blindmatch_simulations.near.rows import Row, lower_bound
from blindmatch_simulations.near.sample import EditedPairs
from blindmatch_simulations.near.token_domain import Ranks

FAR = 24
"""Pairs beyond this distance are the hard ones; they are reported on their own."""


@dataclass(frozen=True, slots=True, repr=False)
class Recall:
    """Which matching pairs were found.

    Attributes:
        found: bool (m,), for matching pairs alone.
        edit: index of the edit, (m,).
        distance: (m,).
        names: of the edits.
    """

    found: npt.NDArray[np.bool_]
    edit: npt.NDArray[np.intp]
    distance: npt.NDArray[np.int32]
    names: tuple[str, ...]

    @property
    def share(self) -> float:
        """Of all pairs, in percent."""
        return 100 * float(self.found.mean()) if len(self.found) else float("nan")

    def rows(self, what: str, how: str, reach: str = "") -> list[Row]:
        """Over all, for far pairs, by edit and by distance."""
        everything = np.ones(len(self.found), np.bool_)
        rows = [
            _row(f"{what}, all edits", self.found, everything, how, reach),
            _row(f"{what}, distance over {FAR}", self.found, self.distance > FAR, how),
        ]
        rows += [
            _row(f"{what}, edit {name}", self.found, self.edit == n, how) for n, name in enumerate(self.names)
        ]
        return rows + [
            _row(f"{what}, distance {low} to {low + 3}", self.found, _between(self.distance, low), how)
            for low in range(0, 32, 4)
        ]


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
    found = hit.sum(axis=1) >= tokening.needed
    return Recall(found[matching], pairs.edit[matching], pairs.distances()[matching], pairs.names)


def _between(distance: npt.NDArray[np.int32], low: int) -> npt.NDArray[np.bool_]:
    return np.asarray((distance >= low) & (distance < low + 4))


def _row(
    what: str, found: npt.NDArray[np.bool_], which: npt.NDArray[np.bool_], how: str, reach: str = ""
) -> Row:
    hits, count = int(found[which].sum()), int(which.sum())
    least = 100 * lower_bound(hits, count)
    value = 100 * hits / count if count else None
    sample = f"{hits} of {count} pairs, at least {least:.2f} % with 95 % confidence"
    return Row("recall", what, value, "%", f"{how}; {sample}" if count else "no such pair", reach)
