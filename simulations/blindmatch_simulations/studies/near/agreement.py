"""The protocol itself against the plaintext oracle and the token domain, on a sample of edited pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.contract import Progress, no_progress
from blindmatch_protocol.designs.token_psi import DESIGN, Tokening
from blindmatch_protocol.designs.token_psi.families import plan

from blindmatch_simulations.measure.intervals import one_sided_least, one_sided_most_rate
from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.studies.near.built import build, item
from blindmatch_simulations.studies.near.sample import EditedPairs
from blindmatch_simulations.studies.near.token_domain import random_list, ranks


@dataclass(frozen=True, slots=True)
class Agreement:
    """Whole sessions, counted.

    Attributes:
        sessions: how many.
        expected: matches by the plaintext oracle.
        found: of those, matches of the protocol.
        wrong: matches of the protocol that the oracle does not have.
        predicted: sessions whose outcome the token domain foretold.
    """

    sessions: int
    expected: int
    found: int
    wrong: int
    predicted: int

    def record(self, meter: Meter) -> None:
        """As rows; the protocol's wrong reports must be none."""
        if self.expected:
            figures = {"share": self.found / self.expected}
            figures["least_share"] = one_sided_least(self.found, self.expected)
            meter.record("near/sessions/found", figures, sessions=self.expected)
        else:
            meter.missing("near/sessions/found", "no session had a near entry")
        agreed = {"share": self.predicted / self.sessions}
        meter.record("near/sessions/foretold", agreed, sessions=self.sessions)
        most = self.sessions * one_sided_most_rate(self.wrong, self.sessions)
        wrong = {"count": self.wrong, "most_count": most}
        meter.record("near/sessions/wrong", wrong, sessions=self.sessions)


def agreement(
    pairs: EditedPairs, tokening: Tokening, sessions: int, seed: int, progress: Progress = no_progress
) -> Agreement:
    """Sessions of a sample of `pairs` against a list of all originals and as many uniform hashes.

    Pairs that lie near the distance, on both sides, are half of the sample.
    """
    hashes = np.concatenate([pairs.originals.hashes, random_list(len(pairs.originals), seed)])
    place, chosen = build(hashes, tokening), _sample(pairs, sessions, seed)
    foretold = _foretold(pairs, hashes, tokening)
    found, oracle = np.zeros(len(chosen), np.bool_), np.zeros(len(chosen), np.bool_)
    for done, row in enumerate(chosen.tolist()):
        picture = item(pairs.edited, row)
        found[done] = place.matches(picture)
        oracle[done] = DESIGN.info.relation.holds(picture, hashes).any()
        progress(done + 1, len(chosen))
    agreed = int((found == foretold[chosen]).sum())
    both, wrong = int((found & oracle).sum()), int((found & ~oracle).sum())
    return Agreement(len(chosen), int(oracle.sum()), both, wrong, agreed)


def _foretold(pairs: EditedPairs, hashes: npt.NDArray[np.uint8], tokening: Tokening) -> npt.NDArray[np.bool_]:
    """Whether each picture should match its original; other originals lie far away."""
    t = tokening
    lost = plan(hashes, t.k, t.bands).lost[pairs.original]
    hit = (ranks(pairs, t.k, t.bands, t.probes) < t.probes) & ~lost
    return np.asarray((hit.sum(axis=1) >= t.needed) & pairs.matching())


def _sample(pairs: EditedPairs, count: int, seed: int) -> npt.NDArray[np.intp]:
    rng = np.random.default_rng(seed)
    distances = pairs.distances()
    hard = rng.permutation(((distances >= 20) & (distances <= 60)).nonzero()[0])[: count // 2]
    rest = rng.permutation(np.setdiff1d(np.arange(len(distances)), hard))[: count - len(hard)]
    return np.sort(np.concatenate([hard, rest]))
