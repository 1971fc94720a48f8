"""Near matching without its cryptography: which tokens of a picture are an entry's, what pictures reveal, and
recall: of the pairs that PDQ calls a match, how many the tokens find, by edit and by distance; and of all
edited pictures, how many PDQ calls a match and how many are found.

`agreement` runs the protocol itself on a sample and compares.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Progress, no_progress
from blindmatch_protocol.designs.slot_psi.parameters import Slotting
from blindmatch_protocol.designs.threshold_near import Sizes
from blindmatch_protocol.designs.token_psi import DESIGN, Tokening
from blindmatch_protocol.designs.token_psi.tokens import (
    PERMUTATION,
    Order,
    Tokens,
    entry_tokens,
    plan,
    probe_tokens,
)
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE
from msgspec import Struct

from blindmatch_simulations.evaluation.studies.near_pictures import EditedPairs, Fingerprints, hamming
from blindmatch_simulations.measure.intervals import (
    clustered_share,
    one_sided_least,
    one_sided_most_rate,
    resampled_ratio,
)
from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.measure.phases import each
from blindmatch_simulations.testbed.inprocess.deployed import Deployed, opened, publish, run_session

NEVER: Final = 1 << 14
"""The rank of a token that is not asked for."""

Ranks = npt.NDArray[np.int16]


def probes_of(pictures: Fingerprints, k: int, bands: int, probes: int, order: Order = PERMUTATION) -> Tokens:
    """The tokens that pictures ask for, (n, bands, probes)."""
    asked = [
        probe_tokens(pictures.hashes[row].tobytes(), pictures.coefficients[row], k, bands, probes, order)
        for row in range(len(pictures))
    ]
    found: Tokens = np.array(asked, np.uint32 if k <= 32 else np.uint64)
    return found.reshape(len(pictures), bands, probes)


def ranks(pairs: EditedPairs, k: int, bands: int, probes: int, order: Order = PERMUTATION) -> Ranks:
    """For each sent picture and band the rank of its original's token among the probes; (m, bands)."""
    listed = entry_tokens(pairs.originals.hashes, k, bands, order)[pairs.original]
    found = np.empty((len(pairs.edited), bands), np.int16)
    for start in range(0, len(found), 1024):
        part = np.arange(start, min(start + 1024, len(found)))
        equal = probes_of(pairs.edited.take(part), k, bands, probes, order) == listed[part, :, None]
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


def revealed(sent: Fingerprints, listed: Rows, tokening: Tokening | Sizes | Slotting) -> Revealed:
    """What `sent` pictures open in a list, uint8 (n, 32), beyond the distance.

    No token is taken for lost, which errs on the side of too many. Families are left out: an entry counts
    if itself agrees. Of hidden slots every entry counts whose tokens agree, although the one question opens
    only what lies in one slot.
    """
    t = tokening
    own = entry_tokens(listed, t.k, t.bands, t.order)
    orders = [np.argsort(own[:, band], kind="stable") for band in range(t.bands)]
    met: dict[int, list[npt.NDArray[np.int32]]] = {}
    near = 0
    for start in range(0, len(sent), 256):
        part = sent.take(np.arange(start, min(start + 256, len(sent))))
        rows, entries, bands = _met(probes_of(part, t.k, t.bands, t.probes, t.order), own, orders)
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
        held = own[order, band]
        wanted = asked[:, band].reshape(-1)
        low = np.searchsorted(held, wanted, "left")
        high = np.searchsorted(held, wanted, "right")
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

    def by_original(self, which: npt.NDArray[np.bool_]) -> list[int]:
        """How many of these pairs each original has."""
        counts: list[int] = np.bincount(self.original[which], minlength=self.originals).tolist()
        return counts

    def record(self, meter: Meter, row: str, why: str, **parameters: int | str) -> None:
        """Rows over all pairs, called `row`; for far pairs, by edit and by distance; over all pictures."""
        self._row(meter, row, np.ones(len(self.found), np.bool_), why, parameters)
        for name, which in (("found", self.found), ("pdq", np.ones(len(self.found), np.bool_))):
            hits = self.by_original(which)
            least = resampled_ratio(hits, [self.sent / len(hits)] * len(hits))[0] if any(hits) else 0.0
            figures = {"share": sum(hits) / self.sent, "least_share": least}
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
        hits = int(self.found[which].sum())
        count = int(which.sum())
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
    found = hit.sum(axis=1) >= tokening.needed
    distances = pairs.distances()[matching]
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
    rng = np.random.default_rng(seed)
    distances = pairs.distances()
    hard = rng.permutation(((distances >= 20) & (distances <= 60)).nonzero()[0])[: sessions // 2]
    rest = rng.permutation(np.setdiff1d(np.arange(len(distances)), hard))[: sessions - len(hard)]
    place = built(hashes, tokening)
    chosen = np.sort(np.concatenate([hard, rest]))
    t = tokening
    lost = plan(hashes, t.k, t.bands).lost[pairs.original]
    hit = (ranks(pairs, t.k, t.bands, t.probes) < t.probes) & ~lost
    foretold = np.asarray((hit.sum(axis=1) >= t.needed) & pairs.matching())
    found = np.zeros(len(chosen), np.bool_)
    oracle = np.zeros(len(chosen), np.bool_)
    for done, row in enumerate(each(chosen.tolist(), progress)):
        picture = pairs.edited.item(row)
        found[done] = run_session(place, picture, seeded("device")).found
        oracle[done] = DESIGN.info.relation.holds(picture, hashes).any()
    agreed = int((found == foretold[chosen]).sum())
    both = int((found & oracle).sum())
    wrong = int((found & ~oracle).sum())
    return Agreement(len(chosen), int(oracle.sum()), both, wrong, agreed)


def built(hashes: Rows, tokening: Tokening) -> Deployed:
    """A list, uint8 (n, 32), published and opened."""
    return opened(publish(DESIGN, hashes, seeded("set"), 1, tokening.values()))
