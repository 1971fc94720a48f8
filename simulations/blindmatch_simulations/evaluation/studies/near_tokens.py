"""Near matching without its cryptography: which tokens of a picture are an entry's, what pictures reveal, and
recall: of the pairs that PDQ calls a match, how many the tokens find, by edit and by distance; and of all
edited pictures, how many PDQ calls a match and how many are found.

`agreement` runs the protocol itself on a sample and compares. `tune` judges every combination of a grid of
parameters; the proposal is the cheapest point of the frontier that meets the wishes.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import comb, expm1
from typing import Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Progress, no_progress
from blindmatch_protocol.designs.token_psi import DESIGN, Tokening
from blindmatch_protocol.designs.token_psi.build import evaluations_for_all
from blindmatch_protocol.designs.token_psi.shares import candidate_count
from blindmatch_protocol.designs.token_psi.tokens import HASH_BITS, entry_tokens, plan, probe_tokens
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.evaluation.studies.near_pictures import EditedPairs, Fingerprints, hamming
from blindmatch_simulations.measure.intervals import (
    clustered_share,
    one_sided_least,
    one_sided_most_rate,
    resampled_ratio,
)
from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.measure.phases import each
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, opened, publish, run_session

NEVER: Final = 1 << 14
"""The rank of a token that is not asked for."""

Ranks = npt.NDArray[np.int16]


def probes_of(pictures: Fingerprints, k: int, bands: int, probes: int) -> npt.NDArray[np.uint32]:
    """The tokens that pictures ask for, uint32 (n, bands, probes)."""
    asked = [
        probe_tokens(pictures.hashes[row].tobytes(), pictures.coefficients[row], k, bands, probes)
        for row in range(len(pictures))
    ]
    return np.array(asked, np.uint32).reshape(len(pictures), bands, probes)


def ranks(pairs: EditedPairs, k: int, bands: int, probes: int) -> Ranks:
    """For each sent picture and band the rank of its original's token among the probes; (m, bands)."""
    listed = entry_tokens(pairs.originals.hashes, k, bands)[pairs.original]
    found = np.empty((len(pairs.edited), bands), np.int16)
    for start in range(0, len(found), 1024):
        part = np.arange(start, min(start + 1024, len(found)))
        equal = probes_of(pairs.edited.take(part), k, bands, probes) == listed[part, :, None]
        found[part] = np.where(equal.any(axis=2), equal.argmax(axis=2), NEVER)
    return found


def lost_tokens(pairs: EditedPairs, fill: Rows, k: int, bands: int) -> npt.NDArray[np.bool_]:
    """Which tokens of each original the store cannot hold, in a list of the originals among `fill`.

    The originals come last, so that equals do not favour them; (n, bands).
    """
    found = plan(np.concatenate([fill, pairs.originals.hashes]), k, bands)
    return found.lost[len(fill) :]


def uniform_list(count: int, seed: int) -> Rows:
    """`count` uniform hashes, uint8 (count, 32): what a list of unlike pictures comes close to."""
    raw = np.asarray(np.random.PCG64(seed).random_raw(count * 4)).astype(np.uint64)
    return raw.view(np.uint8).reshape(count, 32)


class Revealed(Struct, frozen=True):
    """Entries beyond the distance that pictures opened.

    Attributes:
        distances: of the pairs that agree in each number of bands, by that number, from 1 on.
        far_pairs: pairs beyond the distance, all of them.
    """

    pictures: int
    entries: int
    distances: dict[int, npt.NDArray[np.int32]]
    far_pairs: int

    def count(self, needed: int) -> int:
        """Pairs that agree in `needed` bands or more."""
        return sum(len(found) for bands, found in self.distances.items() if bands >= needed)

    def by_distance(self, needed: int) -> dict[str, int]:
        parts = [found for bands, found in self.distances.items() if bands >= needed]
        whole = np.concatenate([np.zeros(0, np.int32), *parts])
        edges = (32, 60, 90, 257)
        names = ("32 to 59", "60 to 89", "90 and more")
        counts = np.histogram(whole, edges)[0].tolist()
        return dict(zip(names, counts, strict=True))


def revealed(sent: Fingerprints, listed: Rows, tokening: Tokening) -> Revealed:
    """What `sent` pictures open in a list, uint8 (n, 32), beyond the distance.

    No token is taken for lost, which errs on the side of too many. Families are left out: an entry counts
    if itself agrees.
    """
    t = tokening
    own = entry_tokens(listed, t.k, t.bands)
    orders = [np.argsort(own[:, band], kind="stable") for band in range(t.bands)]
    met: dict[int, list[npt.NDArray[np.int32]]] = {}
    near = 0
    for start in range(0, len(sent), 256):
        part = sent.take(np.arange(start, min(start + 256, len(sent))))
        rows, entries, bands = _met(probes_of(part, t.k, t.bands, t.probes), own, orders)
        apart = hamming(part.hashes[rows], listed[entries])
        near += int((apart <= MATCH_DISTANCE).sum())
        for count in np.unique(bands).tolist():
            met.setdefault(count, []).append(apart[(bands == count) & (apart > MATCH_DISTANCE)])
    distances = {count: np.concatenate(found) for count, found in sorted(met.items())}
    return Revealed(len(sent), len(listed), distances, len(sent) * len(listed) - near)


def _met(
    asked: npt.NDArray[np.uint32], own: npt.NDArray[np.uint32], orders: list[npt.NDArray[np.intp]]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs of a picture and an entry that agree in a band, and in how many bands they do."""
    pairs = []
    for band, order in enumerate(orders):
        held, wanted = own[order, band], asked[:, band].reshape(-1)
        low, high = np.searchsorted(held, wanted, "left"), np.searchsorted(held, wanted, "right")
        many = high - low
        within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
        rows = np.repeat(np.arange(len(wanted)) // asked.shape[2], many)
        pairs.append(rows.astype(np.int64) * len(own) + order[np.repeat(low, many) + within])
    found, bands = np.unique(np.concatenate(pairs), return_counts=True)
    return found // len(own), found % len(own), bands


FAR = 24
"""Pairs beyond this distance are the hard ones; they are reported on their own."""
STEP = 4
"""Distances that a row is of."""


class Recall(Redacted, Struct, frozen=True):
    """Which matching pairs were found.

    Attributes:
        found: bool (m,), for matching pairs alone.
        distance: (m,).
        original: whose edits hang together, (m,).
        sent: all edited pictures, matching or not.
    """

    found: npt.NDArray[np.bool_]
    edit: npt.NDArray[np.intp]
    distance: npt.NDArray[np.int32]
    original: npt.NDArray[np.intp]
    names: tuple[str, ...]
    sent: int
    originals: int

    @property
    def share(self) -> float:
        """Of all pairs, in percent."""
        return 100 * float(self.found.mean()) if len(self.found) else float("nan")

    def record(self, meter: Meter, row: str, why: str, **parameters: int | str) -> None:
        """Rows over all pairs, called `row`, for far pairs, by edit and by distance; and over all "
        "pictures."""
        self._row(meter, row, np.ones(len(self.found), np.bool_), why, parameters)
        for name, which in (("found", self.found), ("pdq", np.ones(len(self.found), np.bool_))):
            hits = np.bincount(self.original[which], minlength=self.originals)
            sent = np.full(len(hits), self.sent / len(hits))
            least = resampled_ratio(hits.tolist(), sent.tolist())[0] if hits.any() else 0.0
            figures = {"share": int(hits.sum()) / self.sent, "least_share": least}
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
        asked = np.bincount(self.original[which])
        found = np.bincount(self.original[which & self.found], minlength=len(asked))
        least = clustered_share(found.tolist(), asked.tolist())[0]
        figures = {"share": hits / count, "least_share": least}
        meter.record(row, figures, None, why, pairs=count, **named)


def recall(
    pairs: EditedPairs, ranked: Ranks, tokening: Tokening, lost: npt.NDArray[np.bool_] | None = None
) -> Recall:
    """What a tokening finds, from the ranks of at least its probes in at least its bands.

    Args:
        ranked: what `token_domain.ranks` gave, (m, bands or more).
        tokening: bands, probes and needed count; k is that of `ranked`.
        lost: tokens the store does not hold, (originals, bands or more).
    """
    hit = ranked[:, : tokening.bands] < tokening.probes
    if lost is not None:
        hit &= ~lost[pairs.original, : tokening.bands]
    matching = pairs.matching()
    found, distances = hit.sum(axis=1) >= tokening.needed, pairs.distances()[matching]
    parts = pairs.edit[matching], distances, pairs.original[matching]
    return Recall(found[matching], *parts, pairs.names, len(matching), len(pairs.originals))


class Agreement(Struct, frozen=True):
    """Whole sessions, counted.

    Attributes:
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
    hashes = np.concatenate([pairs.originals.hashes, uniform_list(len(pairs.originals), seed)])
    place, chosen = built(hashes, tokening), _sample(pairs, sessions, seed)
    foretold = _foretold(pairs, hashes, tokening)
    found, oracle = np.zeros(len(chosen), np.bool_), np.zeros(len(chosen), np.bool_)
    for done, row in enumerate(each(chosen.tolist(), progress)):
        picture = pairs.edited.item(row)
        found[done] = run_session(place, picture, seeded("device")).found
        oracle[done] = DESIGN.info.relation.holds(picture, hashes).any()
    agreed = int((found == foretold[chosen]).sum())
    both, wrong = int((found & oracle).sum()), int((found & ~oracle).sum())
    return Agreement(len(chosen), int(oracle.sum()), both, wrong, agreed)


def built(hashes: Rows, tokening: Tokening) -> Deployed:
    """A list, uint8 (n, 32), published and opened."""
    return opened(publish(DESIGN, hashes, seeded("set"), 1, tokening.values()))


def _foretold(pairs: EditedPairs, hashes: npt.NDArray[np.uint8], tokening: Tokening) -> npt.NDArray[np.bool_]:
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
        recall: of pairs within the distance, in percent, at least: by the lower end of the interval.
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
    set_bytes: float
    request_bytes: int
    held_out: Figure | None = None

    def meets(self, wishes: Wishes) -> bool:
        """Whether it does all that is wished for."""
        least, cost, secrecy = self.merits
        return 100 * least >= wishes.recall and secrecy >= wishes.secrecy and -cost <= wishes.device_u

    @property
    def merits(self) -> tuple[float, float, int]:
        """Least recall, cost and secrecy; more is better."""
        return self.recall.low or 0.0, -self.device_u, self.secrecy

    def beats(self, other: Point) -> bool:
        """Whether it is no worse in recall, cost and secrecy, and better in one."""
        mine, theirs = self.merits, other.merits
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
    wanted, points = wishes or Wishes(), list[Point]()
    choosing, held_out = halves(pairs, seed)
    for k in each(KS, progress):
        points += _points(choosing, k, wanted)
    best = list[Point]()
    # whatever beats a point comes before it, and so does one of the frontier that beats it
    for one in sorted(points, key=lambda one: one.merits, reverse=True):
        if not any(other.beats(one) for other in best):
            best.append(one)
    ranked = {k: _ranks(held_out, k, wanted) for k in {one.tokening.k for one in best}}
    best = [replace(one, held_out=_recall(held_out, ranked[one.tokening.k], one.tokening)) for one in best]
    best.sort(key=lambda one: (one.device_u, -one.merits[0]))
    return Frontier(tuple(best), next((one for one in best if one.meets(wanted)), None))


def _points(pairs: EditedPairs, k: int, wishes: Wishes) -> Iterator[Point]:
    ranked = _ranks(pairs, k, wishes)
    for bands in range(3, ranked.shape[1] + 1):
        for probes in PROBES:
            for needed in NEEDED:
                tokening = _possible(k, bands, probes, needed)
                if tokening is not None:
                    yield _point(tokening, _recall(pairs, ranked, tokening, choosing=True), wishes)


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
    asked = np.bincount(made.original, minlength=made.originals)
    found = np.bincount(made.original[made.found], minlength=made.originals)
    if not len(made.found):
        return Figure(None, "no matching pair")
    low, high = clustered_share(found.tolist(), asked.tolist())
    if choosing and made.found.all():
        found[asked.argmax()] -= 1
        low = resampled_ratio(found.tolist(), asked.tolist())[0]
    words = f"{len(made.found)} pairs of {int((asked > 0).sum())} pictures, interval by picture"
    return Figure(float(made.found.mean()), words, low, high, len(made.found))


def _possible(k: int, bands: int, probes: int, needed: int) -> Tokening | None:
    try:
        return Tokening(k, bands, probes, needed)
    except DesignError:
        return None


def _point(tokening: Tokening, share: Figure, wishes: Wishes) -> Point:
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
