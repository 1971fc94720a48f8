"""`design tune`: every combination of a grid of parameters, those that no other beats, and the proposal."""

from __future__ import annotations

from itertools import product
from math import comb, expm1
from typing import Final

import numpy as np
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract import Progress, no_progress
from blindmatch_protocol.designs.token_psi import Tokening
from blindmatch_protocol.designs.token_psi.build import evaluations_for_all
from blindmatch_protocol.designs.token_psi.shares import candidate_count
from blindmatch_protocol.designs.token_psi.tokens import HASH_BITS, entry_tokens
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.evaluation.studies.near_pictures import EditedPairs
from blindmatch_simulations.evaluation.studies.near_tokens import NEVER, Ranks, ranks, recall
from blindmatch_simulations.measure.intervals import clustered_share, resampled_ratio
from blindmatch_simulations.measure.phases import each
from blindmatch_simulations.measure.results import Figure

KS: Final = (16, 18, 20, 22, 24, 26, 28, 32)
PROBES: Final = (1, 2, 4, 8, 16, 24, 32, 48, 64)
NEEDED: Final = (2, 3)
U_A_TOKEN: Final = 5.2
"""Of the device, measured by `bench near`."""
U_A_CANDIDATE: Final = 0.0026


class Wishes(Struct, frozen=True):
    """What the parameters should do.

    Attributes:
        recall: of pairs within the distance, in percent, at least: by the lower end of the interval.
        device_u: most CPU of the device for a picture, in u.
        secrecy: least number of evaluations that reveal the whole list.
        alone: share of a uniform list that one account may open in a key's life.
        pooled: share that all accounts together may open in it.
    """

    set_size: int = 1 << 20
    recall: float = 99.0
    device_u: float = 900
    secrecy: float = 2.0**25
    alone: float = 1 / 1024
    pooled: float = 1 / 4


class Point(Struct, frozen=True):
    """One combination and what it does.

    Attributes:
        recall: share of matching pairs of the pictures it was chosen on, over all of which whole pictures are
            resampled, with as many tokens lost, at random, as on a uniform list.
        held_out: the same of pictures that no choice was made on; None off the frontier.
        secrecy: evaluations that reveal the whole list.
        revealed: non-matching entries per 10,000 pictures on a uniform list, by the formula.
        lost: percent of tokens another entry has, on a uniform list, by the formula.
        request_bytes: of a request, and nearly of a reply.
    """

    tokening: Tokening
    recall: Figure
    device_u: float
    secrecy: int
    revealed: float
    lost: float
    request_bytes: int
    held_out: Figure | None = None

    def meets(self, wishes: Wishes) -> bool:
        least, cost, secrecy = self.merits
        return 100 * least >= wishes.recall and secrecy >= wishes.secrecy and -cost <= wishes.device_u

    @property
    def merits(self) -> tuple[float, float, int]:
        """Least recall, cost and secrecy; more is better."""
        return self.recall.low or 0.0, -self.device_u, self.secrecy

    def beats(self, other: Point) -> bool:
        """Whether it is no worse in recall, cost and secrecy, and better in one."""
        mine = self.merits
        theirs = other.merits
        return all(a >= b for a, b in zip(mine, theirs, strict=True)) and mine != theirs


class Frontier(Struct, frozen=True):
    """The points no other beats, cheapest first, and the proposal, or None if none meets the wishes."""

    points: tuple[Point, ...]
    proposal: Point | None


def halves(pairs: EditedPairs, seed: int) -> tuple[EditedPairs, EditedPairs]:
    """Pairs of half of the originals, which are drawn, and those of the rest."""
    drawn = np.random.Generator(np.random.PCG64(seed)).permutation(len(pairs.originals))
    return pairs.of(drawn[: len(drawn) // 2]), pairs.of(drawn[len(drawn) // 2 :])


def tune(
    pairs: EditedPairs, wishes: Wishes | None = None, seed: int = 1, progress: Progress = no_progress
) -> Frontier:
    """The frontier over one half of the pictures of `pairs`, with what the other half says of each point;
    some 10 s for 9,000 pairs."""
    wanted = wishes or Wishes()
    points = list[Point]()
    choosing, held_out = halves(pairs, seed)
    for k in each(KS, progress):
        ranks = _ranks(choosing, k, wanted)
        for bands, probes, needed in product(range(3, ranks.shape[1] + 1), PROBES, NEEDED):
            try:
                tokening = Tokening(k, bands, probes, needed)
            except DesignError:
                continue  # not possible
            points.append(_point(tokening, _recall(choosing, ranks, tokening, choosing=True), wanted))
    best = list[Point]()
    # whatever beats a point comes before it, and so does one of the frontier that beats it
    for one in sorted(points, key=lambda one: one.merits, reverse=True):
        if not any(other.beats(one) for other in best):
            best.append(one)
    ranked = {k: _ranks(held_out, k, wanted) for k in {one.tokening.k for one in best}}
    best = [replace(one, held_out=_recall(held_out, ranked[one.tokening.k], one.tokening)) for one in best]
    best.sort(key=lambda one: (one.device_u, -one.merits[0]))
    return Frontier(tuple(best), next((one for one in best if one.meets(wanted)), None))


def _ranks(pairs: EditedPairs, k: int, wishes: Wishes) -> Ranks:
    """Those of all bands, without tokens that are lost; a copy without coefficients is asked about by its own
    tokens alone, and one that is no match about none."""
    most = min(HASH_BITS // k, 16)
    listed = entry_tokens(pairs.originals.hashes, k, most)[pairs.original]
    found = np.where(entry_tokens(pairs.edited.hashes, k, most) == listed, 0, NEVER).astype(np.int16)
    soft = pairs.edited.coefficients.any(axis=1) & pairs.matching()
    copies = pairs.edited.take(soft), pairs.original[soft], pairs.edit[soft]
    found[soft] = ranks(EditedPairs(pairs.originals, *copies, pairs.names), k, most, PROBES[-1])
    chance = np.random.default_rng(k).random((len(pairs.originals), most))
    found[(chance > _kept(wishes.set_size / 2**k))[pairs.original]] = NEVER
    return found


def _recall(pairs: EditedPairs, ranked: Ranks, tokening: Tokening, choosing: bool = False) -> Figure:
    """Its interval over pictures; where those that choose have all pairs found, the lower end is as if one
    were not, so that no combination gains by missing some."""
    made = recall(pairs, ranked, tokening)
    if not len(made.found):
        return Figure(None, "no matching pair")
    found = made.by_original(made.found)
    asked = made.by_original(np.ones_like(made.found))
    low, high = clustered_share(found, asked)
    if choosing and made.found.all():
        found[asked.index(max(asked))] -= 1
        low = resampled_ratio(found, asked)[0]
    words = f"{len(made.found)} pairs of {sum(map(bool, asked))} pictures, interval by picture"
    return Figure(float(made.found.mean()), words, low, high, len(made.found))


def _point(tokening: Tokening, share: Figure, wishes: Wishes) -> Point:
    t = tokening
    entries = wishes.set_size
    cost = t.tokens * U_A_TOKEN + U_A_CANDIDATE * candidate_count(t.bands, t.probes, t.needed)
    chance = min(1.0, t.probes / 2**t.k)
    load = entries / 2**t.k
    return Point(
        tokening=t,
        recall=share,
        device_u=cost,
        secrecy=evaluations_for_all(t.k, t.needed),
        revealed=1e4 * entries * comb(t.bands, t.needed) * chance**t.needed,
        lost=100 * (1 - _kept(load)),
        request_bytes=32 * t.tokens + 13,
    )


def _kept(load: float) -> float:
    """The share of tokens that stay with their entry when `load` entries share each on average."""
    return -expm1(-load) / load
