"""What guesses open of real lists where what a part reads is hidden: parts that read alike are a candidate.

A guessed part of a hash reads h bits (contract: `Extraction.hidden`), the same for all parts of an entry and
uniform bits for a part that is not listed. So a lone hit does not show, but parts that read alike do, and
chance makes some of them.

**Candidates.** W is a set of w parts, p their joint likelihood, N the entries of a list. Values of these
parts are an entry's N p times, expected, and read alike by chance with 2^(-h (w - 1)). So values that read
alike are an entry's with the odds

    odds = N p 2^(h (w - 1))

and a modified device takes candidates in the order of these odds. It spends its guesses of a picture, one
each, on pairs. Before a pair of likelihood p come all pairs that are as likely and read alike, which is
`rank(p) 2^(-h)`, summed over all pairs of parts: the guesses after which an entry opens. All parts are taken
as asked for, so early figures are too high.

**Without a guess.** Three parts or more that read alike need no guess where the odds are 1 or more by the
model. In a small run a quarter of those were entries, so to count them all as open is on the safe side. These
parts must have been asked for, so such an entry opens after as many values as there are, of any part, at
least as likely as the least likely one of the set. The set that takes the fewest counts. For these sets
likelihoods are the mean of the two kernels of `best_order` alone, and no pair is among them.

**Both.** A picture asks for `a_picture` values and makes one guess, so an entry opens after the lesser of
both numbers of pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Final

import numpy as np
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Extraction, Progress, no_progress
from msgspec import Struct

from blindmatch_simulations.evaluation.studies import best_order
from blindmatch_simulations.evaluation.studies.best_order import (
    SAMPLES,
    SEED,
    Bits,
    Floats,
    Guessed,
    Halves,
    HashModel,
    Places,
    bits_apart,
    count_known,
    count_opened,
    join_curves,
    kernel_densities,
    pack,
)
from blindmatch_simulations.evaluation.studies.reference import Reference

ENTRIES: Final = 1 << 20
"""Of the list that odds are of."""
LEAST_PARTS: Final = 3
"""Parts that read alike and are no guess."""
STEP: Final = 128
FIRST_ALONE: Final = {
    best_order.FAR: best_order.FAR_ALONE,
    best_order.NEAR: best_order.NEAR_ALONE,
}


class Opening(Redacted, Struct, frozen=True, eq=False):
    """When listed hashes open, (m,) each; infinite if they never do.

    Attributes:
        guesses: of pairs that read alike, in the best order.
        values: asked for in the best order, without a guess.
    """

    guesses: Floats
    values: Floats

    def pictures(self, a_picture: int) -> Floats:
        """Return the pictures after which each opens, of so many values and one guess each."""
        found: Floats = np.minimum(self.guesses, self.values / a_picture)
        return found


def opening_of(
    bits: Bits,
    split: Halves,
    places: Places,
    hidden: int,
    entries: int = ENTRIES,
    samples: int = SAMPLES,
    progress: Progress = no_progress,
) -> Opening:
    """Return when each listed hash opens.

    Args:
        bits: of all hashes, uint8 (n, 256).
        places: numbers of the bits of each part, (parts, width).
        hidden: bits that a part reads.
        entries: of the list that odds are of.
    """
    known = bits[split.known]
    listed = bits[split.listed]
    models = [
        HashModel.fit(known[:, part], np.random.default_rng((SEED, number)), samples)
        for number, part in enumerate(places)
    ]
    alone = np.array([model.likelihoods(listed[:, part]) for model, part in zip(models, places, strict=True)])
    least = _least_confirmed(known, listed, places, hidden, entries, alone)
    values = np.full(len(listed), np.inf)
    confirmed = np.isfinite(least)
    values[confirmed] = np.sum([model.ranks(least[confirmed]) for model in models], axis=0)
    return Opening(_guesses(known, listed, places, hidden, samples, progress), values)


def _guesses(
    known: Bits, listed: Bits, places: Places, hidden: int, samples: int, progress: Progress
) -> Floats:
    """The guessed pairs after which each listed hash opens, (m,)."""
    pairs = list(combinations(range(len(places)), 2))
    models = []
    best = np.full(len(listed), -np.inf)
    for number, pair in enumerate(pairs):
        progress(number, len(pairs))
        own = np.concatenate([places[part] for part in pair])
        models.append(HashModel.fit(known[:, own], np.random.default_rng((SEED, *pair)), samples))
        best = np.maximum(best, models[-1].likelihoods(listed[:, own]))
    progress(len(pairs), len(pairs))
    ranks = np.sum([model.ranks(best) for model in models], axis=0)
    found: Floats = np.maximum(1.0, ranks * 2.0**-hidden)
    return found


def _least_confirmed(
    known: Bits, listed: Bits, places: Places, hidden: int, entries: int, alone: Floats
) -> Floats:
    """The log-likelihood of the least likely part of the best set of parts that needs no guess, (m,); minus
    infinity if no set does without.

    Args:
        alone: log-likelihood of each part of each listed hash, (parts, m).
    """
    sets = [
        chosen
        for size in range(LEAST_PARTS, len(places) + 1)
        for chosen in combinations(range(len(places)), size)
    ]
    found = np.full(len(listed), -np.inf)
    for start in range(0, len(listed), STEP):
        rows = slice(start, start + STEP)
        apart = np.array([_apart(listed[rows][:, part], known[:, part]) for part in places])
        for chosen in sets:
            likely = _around(apart[list(chosen)].sum(axis=0, dtype=np.int16), len(chosen) * places.shape[1])
            odds = np.log(entries) + likely + np.log(2) * hidden * (len(chosen) - 1)
            least = np.where(odds >= 0, alone[list(chosen), rows].min(axis=0), -np.inf)
            found[rows] = np.maximum(found[rows], least)
    return found


def _apart(left: Bits, right: Bits) -> Bits:
    """Bits in which each of `left` differs from each of `right`, (n, m)."""
    return bits_apart(pack(left), pack(right)).astype(np.uint8)


def _around(apart: np.ndarray, width: int) -> Floats:
    """The log-density of each row under the mean of the kernels, by its distances from known pictures."""
    density = np.mean(kernel_densities(width), axis=0)[apart].mean(axis=1)
    found: Floats = np.log(np.maximum(density, np.finfo(float).tiny))
    return found


def guess(corpus: Reference, extraction: Extraction, reach: int, progress: Progress = no_progress) -> Guessed:
    """Measure by pictures the curves of a design whose parts read what is hidden (`Extraction.hidden`)."""
    assert extraction.places is not None
    hashes = np.ascontiguousarray(corpus.prints[:, :32])
    bits = np.unpackbits(hashes, axis=1)
    counted: dict[tuple[str, str], list[tuple[int, Floats]]] = {}
    halves = best_order.splits(hashes)
    for split in halves:
        opening = opening_of(bits, split, extraction.places, extraction.hidden, progress=progress)
        for group, entries, opened in _counted(hashes, corpus, split, opening, extraction.a_picture, reach):
            counted.setdefault(group, []).append((entries, opened))
    return Guessed(
        best_order.digest_of(extraction.places),
        extraction.needed,
        reach,
        count_known(halves),
        tuple(join_curves(counted)),
        extraction.hidden,
        extraction.a_picture,
    )


def _counted(
    hashes: Bits, corpus: Reference, split: Halves, opening: Opening, a_picture: int, reach: int
) -> Iterator[tuple[tuple[str, str], int, Floats]]:
    """As `best_order` counts, by pictures, and beside it what opens without a guess."""
    kinds = corpus.kinds
    yield from count_opened(hashes, kinds, split, opening.pictures(a_picture), reach)
    without = opening.values / a_picture
    for (kind, distance), entries, opened in count_opened(hashes, kinds, split, without, reach):
        if distance in FIRST_ALONE:
            yield (kind, FIRST_ALONE[distance]), entries, opened
