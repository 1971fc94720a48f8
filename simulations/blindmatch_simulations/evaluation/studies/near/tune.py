"""`blindmatch design tune token-psi`: parameters for a list, a device and a wish for secrecy.

Every combination of a grid is judged on the same edited pictures: recall in the token domain, cost by the
number of tokens and pairs, secrecy by the evaluations that reveal the whole list. What no other combination
beats in all three is the frontier; the proposal is its cheapest point that meets the wishes.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import comb, expm1
from typing import Final

import numpy as np
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract import Progress, no_progress
from blindmatch_protocol.designs.token_psi import Tokening
from blindmatch_protocol.designs.token_psi.extraction import evaluations_for_all
from blindmatch_protocol.designs.token_psi.shares import candidate_count
from blindmatch_protocol.designs.token_psi.tokens import HASH_BITS
from msgspec import Struct

from blindmatch_simulations.evaluation.studies.near.sample import EditedPairs
from blindmatch_simulations.evaluation.studies.near.token_domain import ranks, recall
from blindmatch_simulations.measure.phases import each

KS: Final = (16, 18, 20, 22, 24, 26, 28, 32)
PROBES: Final = (1, 2, 4, 8, 16, 24, 32, 48, 64)
NEEDED: Final = (2, 3)
U_A_TOKEN: Final = {True: 5.2, False: 2.5}
"""Of the device, with proofs and without, measured by `bench near`."""
U_A_CANDIDATE: Final = 0.0026
TOKEN_BYTES: Final = 18.1
LABEL_BYTES: Final = 93.5


class Wishes(Struct, frozen=True):
    """What the parameters should do.

    Attributes:
        set_size: entries of the list.
        recall: least recall of pairs within the distance, in percent.
        device_u: most CPU of the device for a picture, in u.
        secrecy: least number of evaluations that reveal the whole list.
        proofs: whether the device verifies.
        alone: share of a uniform list that one account may open in a key's life.
        pooled: share that all accounts together may open in it.
    """

    set_size: int = 1 << 20
    recall: float = 99.0
    device_u: float = 900
    secrecy: float = 2.0**25
    proofs: bool = True
    alone: float = 1 / 1024
    pooled: float = 1 / 4


class Point(Struct, frozen=True):
    """One combination and what it does.

    Attributes:
        tokening: the parameters.
        recall: percent of matching pairs, with as many tokens lost, at random, as on a uniform list.
        device_u: of the device for a picture.
        secrecy: evaluations that reveal the whole list.
        revealed: non-matching entries per 10,000 pictures on a uniform list, by the formula.
        lost: percent of tokens another entry has, on a uniform list, by the formula.
        set_bytes: of the published set.
        request_bytes: of a request, and nearly of a reply.
    """

    tokening: Tokening
    recall: float
    device_u: float
    secrecy: int
    revealed: float
    lost: float
    set_bytes: float
    request_bytes: int

    def meets(self, wishes: Wishes) -> bool:
        """Whether it does all that is wished for."""
        enough = self.recall >= wishes.recall and self.secrecy >= wishes.secrecy
        return enough and self.device_u <= wishes.device_u

    @property
    def merits(self) -> tuple[float, float, int]:
        """Recall, cost and secrecy; more is better."""
        return self.recall, -self.device_u, self.secrecy

    def beats(self, other: Point) -> bool:
        """Whether it is no worse in recall, cost and secrecy, and better in one."""
        mine, theirs = self.merits, other.merits
        return all(a >= b for a, b in zip(mine, theirs, strict=True)) and mine != theirs


class Frontier(Struct, frozen=True):
    """The points no other beats, cheapest first, and the proposal, or None if none meets the wishes."""

    points: tuple[Point, ...]
    proposal: Point | None


def tune(pairs: EditedPairs, wishes: Wishes | None = None, progress: Progress = no_progress) -> Frontier:
    """The frontier over `pairs`, made with `sample.edited_crops`; about a second for 1,000 pairs."""
    wanted, points = wishes or Wishes(), list[Point]()
    for k in each(KS, progress):
        points += _points(pairs, k, wanted)
    best = list[Point]()
    # whatever beats a point comes before it, and so does one of the frontier that beats it
    for one in sorted(points, key=lambda one: one.merits, reverse=True):
        if not any(other.beats(one) for other in best):
            best.append(one)
    best.sort(key=lambda one: (one.device_u, -one.recall))
    return Frontier(tuple(best), next((one for one in best if one.meets(wanted)), None))


def _points(pairs: EditedPairs, k: int, wishes: Wishes) -> Iterator[Point]:
    most = min(HASH_BITS // k, 16)
    ranked = ranks(pairs, k, most, PROBES[-1])
    chance = np.random.default_rng(k).random((len(pairs.originals), most))
    lost = chance > _kept(wishes.set_size / 2**k)
    for bands in range(3, most + 1):
        for probes in PROBES:
            for needed in NEEDED:
                tokening = _possible(k, bands, probes, needed)
                if tokening is not None:
                    yield _point(tokening, recall(pairs, ranked, tokening, lost).share, wishes)


def _possible(k: int, bands: int, probes: int, needed: int) -> Tokening | None:
    """The tokening, if its values go together."""
    try:
        return Tokening(k, bands, probes, needed)
    except DesignError:
        return None


def _point(tokening: Tokening, share: float, wishes: Wishes) -> Point:
    t, entries = tokening, wishes.set_size
    cost = t.tokens * U_A_TOKEN[wishes.proofs] + U_A_CANDIDATE * candidate_count(t.bands, t.probes, t.needed)
    chance = min(1.0, t.probes / 2**t.k)
    load = entries / 2**t.k
    return Point(
        tokening=t,
        recall=share,
        device_u=cost,
        secrecy=evaluations_for_all(t.k, t.needed),
        revealed=1e4 * entries * comb(t.bands, t.needed) * chance**t.needed,
        lost=100 * (1 - _kept(load)),
        set_bytes=entries * (TOKEN_BYTES * t.bands + LABEL_BYTES),
        request_bytes=32 * t.tokens + 13,
    )


def _kept(load: float) -> float:
    """The share of tokens that stay with their entry when `load` entries share each on average."""
    return -expm1(-load) / load
