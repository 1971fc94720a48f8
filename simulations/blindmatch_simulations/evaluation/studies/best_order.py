"""What an attacker opens of real lists that asks for guesses in the best order it knows, measured on the
reference corpus: never on anything that a user brings.

The corpus is split in two by chance. Pictures of one half are known to the attacker, those of the other are
listed; then the halves change places, so that each picture is listed once. An entry within the design's
reach of a known picture (31 bits, or 0 where hashes must be equal) is left out: whoever has that picture
finds it by an honest question. The others are *near* (the nearest known picture lies at most 64 bits away: a
look-alike) or *far*.

**Guesses.** A design looks a hash up by parts of its bits (contract: `Extraction.places`), and an entry
opens once `needed` of its parts have been asked for. The attacker asks for the values of all parts together
in falling likelihood, so an entry opens after as many guesses as there are values, of any part, at least as
likely as the entry's `needed`-th likeliest one. That number is the entry's *rank*.

**Likelihood.** The mean of three densities over the bits of a part: a sequence model, in which each bit
follows by logistic regression from all bits before it, and two kernels around known pictures, which flip
each bit with probability `FLIPS`. The mean is never less than a third of the best of the three.

**Ranks** above what can be counted out: draw values x_1 ... x_n from the model itself; the number of values
at least as likely as v is the mean of 1/p(x_i) over those with p(x_i) >= p(v), since E[1/p(X); p(X) >=
p(v)] is the sum over such values of p/p (Dell'Amico and Filippone, 2015, section 3).

**What opens leads further.** An entry that opened is a known picture from then on: entries within `WITHIN`
bits of it open by an honest question, those within `ALIKE` bits open with the chance of a look-alike at as
many guesses. That is an estimate, drawn `DRAWS` times: the guesses themselves are not made again with the
larger set.

**An oracle** ("is this hash within r bits of an entry?") opens a look-alike at d bits by a question with f
bits of the known picture flipped, if x of them are among the d and f - x are not: d - x + (f - x) <= r.
With flips drawn by chance, x is hypergeometric, and q(d) is the largest chance over f; Q questions around
each known picture open the entry with 1 - (1 - q(d))^Q. No order of flips by likelihood was tried, so it is
at least that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Progress, no_progress
from blindmatch_protocol.contract.relation import HASH_BITS
from blindmatch_protocol.picture.pdq import MATCH_DISTANCE
from msgspec import Struct, convert

from blindmatch_simulations.data import committed
from blindmatch_simulations.evaluation.studies.reference import PHOTOGRAPH, Reference

WITHIN: Final = MATCH_DISTANCE
ALIKE: Final = 64
"""Bits up to which a picture is a look-alike."""
FLIPS: Final = (0.03, 0.12)
"""Chances by which the kernels around known pictures flip a bit: of copies, and of look-alikes."""
SAMPLES: Final = 6_000
"""Values drawn from the model for the ranks of a part."""
DRAWS: Final = 4
RIDGE: Final = 2.0
ROUNDS: Final = 6
"""Steps of Newton's method in a logistic regression."""
MOST_COUNTED: Final = 16
"""Bits of a part whose values are all counted out."""
SEED: Final = 41
STEP: Final = 0.5
EXPONENTS: Final = tuple(float(at) for at in np.arange(0, 60.5, STEP))
"""Numbers of guesses that a curve is told at, as powers of 2."""
PHOTOGRAPH_LIKE: Final = (PHOTOGRAPH, "painting", "sky", "texture")
COMMITTED: Final = "best-order"
VERSION: Final = 1

Bits: TypeAlias = npt.NDArray[np.uint8]
Words: TypeAlias = npt.NDArray[np.uint64]
Floats: TypeAlias = npt.NDArray[np.float64]
Places: TypeAlias = npt.NDArray[np.int_]

ALL_KINDS: Final = "all kinds"
LIKE_PHOTOGRAPHS: Final = "photograph-like"
PHOTOGRAPHS: Final = "photographs"
FAR: Final = "far"
NEAR: Final = "near"
FURTHER: Final = "far, with what opened"
"""Distances of a curve's entries from what the attacker has, and then comes to have."""
FAR_ALONE: Final = "far, without a guess"
NEAR_ALONE: Final = "near, without a guess"
"""What opens of either by parts that read alike, of a design that makes guesses cost more than asking
(`studies.hidden_parts`)."""
WHOLE: Final[Places] = np.arange(HASH_BITS).reshape(1, HASH_BITS)
"""The one part of a design that looks for whole hashes."""


class Curve(Struct, frozen=True, forbid_unknown_fields=True):
    """What guesses in the best order open of one kind of entries.

    Attributes:
        kind: of pictures that are listed.
        distance: of the entries from pictures that the attacker has.
        entries: how many were listed.
        opened: how many of them are open after 2^e guesses, for each of `EXPONENTS`.
    """

    kind: str
    distance: str
    entries: int
    opened: tuple[float, ...]

    def open_after(self, guesses: float) -> float:
        """Return how many entries are open, at the next number of guesses on the grid."""
        if guesses < 1 or not self.entries:
            return 0.0
        at = int(np.searchsorted(EXPONENTS, np.log2(guesses)))
        return self.opened[min(at, len(self.opened) - 1)]


class Guessed(Struct, frozen=True, forbid_unknown_fields=True):
    """Curves of one way to look hashes up.

    Attributes:
        places: SHA-256 of the numbers of the bits of each part, as `digest_of` has it.
        needed: parts that must be guessed before an entry opens.
        reach: bits within which an honest question finds an entry. With whole hashes for parts, and a reach,
            every guess reaches as far.
        known: pictures that the attacker has, in each of the two halves.
        hidden: bits that a part reads (contract: `Extraction.hidden`); 0 if a guessed part shows.
        a_picture: where something is hidden, values that a picture asks for. Guesses of such curves are
            pictures.
    """

    places: str
    needed: int
    reach: int
    known: tuple[int, int]
    curves: tuple[Curve, ...]
    hidden: int = 0
    a_picture: int = 1

    def is_of(self, places: Places, needed: int, reach: int, hidden: int = 0, a_picture: int = 1) -> bool:
        """Are these the curves of a design with such parts, and such a reach?"""
        own = (self.places, self.needed, self.reach, self.hidden, self.a_picture)
        return own == (digest_of(places), needed, reach, hidden, a_picture if hidden else 1)


class BestOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """The committed curves, and what they were measured on: the digest of the corpus' arrays."""

    version: int
    corpus: str
    exponents: tuple[float, ...]
    guessed: tuple[Guessed, ...]

    def find(
        self, places: Places, needed: int, reach: int, hidden: int = 0, a_picture: int = 1
    ) -> Guessed | None:
        """Return the curves of these parts, or None if nobody measured them."""
        asked = (places, needed, reach, hidden, a_picture)
        return next((one for one in self.guessed if one.is_of(*asked)), None)


@cache
def measured() -> BestOrder:
    """Return the committed curves."""
    return convert(committed(COMMITTED), BestOrder)


def digest_of(places: Places) -> str:
    """Return what names the parts of a design: SHA-256 of their shape and bits."""
    shape = "x".join(map(str, places.shape)).encode()
    return sha256(shape + b":" + np.ascontiguousarray(places, ">u2").tobytes()).hexdigest()


class HashModel(Redacted, Struct, frozen=True, eq=False):
    """How likely the attacker takes each value of a part to be.

    Attributes:
        known: that part of known pictures, uint8 (n, width).
        weights: of each bit on a constant and on all bits before it, (1,) to (width,).
        sampled: log-likelihoods of values drawn from the model, falling, (m,).
        ranked: how many values are at least as likely as each of these, (m,).
    """

    known: Bits
    weights: tuple[Floats, ...]
    sampled: Floats
    ranked: Floats

    @classmethod
    def fit(cls, known: Bits, rng: np.random.Generator, samples: int = SAMPLES) -> HashModel:
        """Fit the model to a part of known pictures, and draw what ranks are told by."""
        weights = tuple(_regressions(known))
        drawn = [_draw(weights, samples // 3, rng)]
        for chance in FLIPS:
            pictures = known[rng.integers(len(known), size=samples // 3)]
            drawn.append(pictures ^ (rng.random(pictures.shape) < chance).astype(np.uint8))
        likelihoods = -np.sort(-_mixed(known, weights, np.concatenate(drawn)))
        ranked = np.cumsum(np.exp(-likelihoods)) / len(likelihoods)
        return cls(known, weights, likelihoods, ranked)

    def likelihoods(self, values: Bits) -> Floats:
        """Return the natural logarithm of each value's likelihood; values are uint8 (n, width)."""
        return _mixed(self.known, self.weights, values)

    def ranks(self, likelihoods: Floats) -> Floats:
        """Return how many values are at least as likely as each of these, at least 1 and at most all."""
        at = np.searchsorted(-self.sampled, -likelihoods, side="right") - 1
        found = np.where(at >= 0, self.ranked[np.maximum(at, 0)], 0.0)
        return np.clip(found, 1.0, 2.0 ** self.known.shape[1])


def _regressions(known: Bits) -> Iterator[Floats]:
    """For each bit the weights of a logistic regression on all bits before it, by Newton's method."""
    signs = np.concatenate([np.ones((len(known), 1)), 2.0 * known - 1], axis=1)
    for bit in range(known.shape[1]):
        before = signs[:, : bit + 1]
        target = known[:, bit].astype(float)
        weights = np.zeros(bit + 1)
        for _ in range(ROUNDS):
            chance = 1 / (1 + np.exp(-before @ weights))
            curvature = (before.T * (chance * (1 - chance) + 1e-6)) @ before + RIDGE * np.eye(bit + 1)
            weights += np.linalg.solve(curvature, before.T @ (target - chance) - RIDGE * weights)
        yield weights


def _draw(weights: Sequence[Floats], count: int, rng: np.random.Generator) -> Bits:
    signs = np.ones((count, len(weights) + 1))
    for bit, own in enumerate(weights):
        chance = 1 / (1 + np.exp(-signs[:, : bit + 1] @ own))
        signs[:, bit + 1] = np.where(rng.random(count) < chance, 1, -1)
    return (signs[:, 1:] > 0).astype(np.uint8)


def _mixed(known: Bits, weights: Sequence[Floats], values: Bits) -> Floats:
    """The log-likelihood of each value: the mean of the three densities."""
    parts = np.array([_in_sequence(weights, values), *_around(known, values)])
    most = parts.max(axis=0)
    found: Floats = most + np.log(np.exp(parts - most).mean(axis=0))
    return found


def _in_sequence(weights: Sequence[Floats], values: Bits) -> Floats:
    signs = np.concatenate([np.ones((len(values), 1)), 2.0 * values - 1], axis=1)
    found = np.zeros(len(values))
    for bit, own in enumerate(weights):
        found -= np.logaddexp(0, -signs[:, bit + 1] * (signs[:, : bit + 1] @ own))
    return found


def _around(known: Bits, values: Bits, step: int = 128) -> list[Floats]:
    """The log-density of each value under each kernel; a known picture at d bits adds f^d (1 - f)^(w - d)."""
    width = known.shape[1]
    unique, counts = np.unique(pack(known), axis=0, return_counts=True)
    tables = kernel_densities(width)
    wanted = pack(values)
    found = [np.empty(len(values)) for _ in FLIPS]
    for start in range(0, len(values), step):
        apart = bits_apart(wanted[start : start + step], unique)
        for densities, table in zip(found, tables, strict=True):
            # a density of 0 by underflow is that of no known picture at all
            sums = np.maximum(table[apart] @ counts, np.finfo(float).tiny)
            densities[start : start + step] = np.log(sums / len(known))
    return found


def kernel_densities(width: int) -> list[Floats]:
    """Return, for each kernel, the density at 0 to `width` bits from a known picture, (width + 1,)."""
    flipped = np.arange(width + 1)
    return [np.exp(flipped * np.log(f) + (width - flipped) * np.log1p(-f)) for f in FLIPS]


def pack(bits: Bits) -> Words:
    """Bits, (n, width), as whole words, (n, words)."""
    spare = -bits.shape[1] % 64
    filled = np.pad(bits, ((0, 0), (0, spare)))
    return np.ascontiguousarray(np.packbits(filled, axis=1)).view(np.uint64)


def bits_apart(left: Words, right: Words) -> npt.NDArray[np.int16]:
    """Bits in which each of `left` differs from each of `right`, (n, m)."""
    found = np.zeros((len(left), len(right)), np.int16)
    for word in range(left.shape[1]):
        found += np.bitwise_count(left[:, word, None] ^ right[None, :, word])
    return found


class Halves(Redacted, Struct, frozen=True, eq=False):
    """One half known, the other listed.

    Attributes:
        known, listed: which originals of the corpus, (n,) and (m,).
        nearest: bits from each listed one to the nearest known one, (m,).
    """

    known: npt.NDArray[np.intp]
    listed: npt.NDArray[np.intp]
    nearest: npt.NDArray[np.int16]


def splits(hashes: Rows, seed: int = SEED) -> list[Halves]:
    """Return both ways to have one half of the hashes, uint8 (n, 32), known and the other listed."""
    is_first = np.random.default_rng(seed).random(len(hashes)) < 0.5
    words = np.ascontiguousarray(hashes).view(np.uint64)
    found = []
    for is_known in (is_first, ~is_first):
        known = np.flatnonzero(is_known)
        listed = np.flatnonzero(~is_known)
        starts = range(0, len(listed), 256)
        nearest = [bits_apart(words[listed[at : at + 256]], words[known]).min(axis=1) for at in starts]
        found.append(Halves(known, listed, np.concatenate(nearest)))
    return found


def ranks_of(
    bits: Bits,
    split: Halves,
    places: Places,
    needed: int,
    samples: int = SAMPLES,
    progress: Progress = no_progress,
) -> Floats:
    """Return the guesses after which each listed hash opens, (m,).

    Args:
        bits: of all hashes, uint8 (n, 256).
        places: numbers of the bits of each part, (parts, width).
        needed: parts that must be guessed.
    """
    models = []
    likelihoods = []
    for number, part in enumerate(places):
        progress(number, len(places))
        models.append(
            HashModel.fit(bits[split.known][:, part], np.random.default_rng((SEED, number)), samples)
        )
        likelihoods.append(models[-1].likelihoods(bits[split.listed][:, part]))
    progress(len(places), len(places))
    last = -np.sort(-np.array(likelihoods), axis=0)[needed - 1]
    found: Floats = np.sum([model.ranks(last) for model in models], axis=0)
    return found


def likeliest(models: Sequence[HashModel], guesses: int) -> list[npt.NDArray[np.uint32]]:
    """Return which values of each part are among so many guesses in the best order, all values counted out.

    Args:
        models: of each part, at most 16 bits wide.
    """
    width = models[0].known.shape[1]
    if width > MOST_COUNTED:
        raise ValueError(f"parts of {width} bits have too many values to count out")
    numbers = np.arange(1 << width, dtype=np.uint32)
    bits = (numbers[:, None] >> np.arange(width - 1, -1, -1, dtype=np.uint32) & 1).astype(np.uint8)
    likelihoods = np.array([model.likelihoods(bits) for model in models])
    first = np.argsort(-likelihoods.ravel(), kind="stable")[:guesses]
    return [numbers[first[first // len(numbers) == part] % len(numbers)] for part in range(len(models))]


def guess(
    corpus: Reference, places: Places, needed: int, reach: int, progress: Progress = no_progress
) -> Guessed:
    """Measure the curves of a design that looks hashes up by these parts, and matches within a reach."""
    hashes = corpus.prints[:, :32]
    kinds = corpus.kinds
    bits = np.unpackbits(np.ascontiguousarray(hashes), axis=1)
    counted: dict[tuple[str, str], list[tuple[int, Floats]]] = {}
    halves = splits(hashes)
    for split in halves:
        ranks = ranks_of(bits, split, places, needed, progress=progress)
        for group, entries, opened in count_opened(hashes, kinds, split, ranks, reach):
            counted.setdefault(group, []).append((entries, opened))
    return Guessed(digest_of(places), needed, reach, count_known(halves), tuple(join_curves(counted)))


def count_known(halves: Sequence[Halves]) -> tuple[int, int]:
    """Return how many pictures the attacker has in each of the two halves."""
    first, second = halves
    return len(first.known), len(second.known)


def join_curves(counted: Mapping[tuple[str, str], list[tuple[int, Floats]]]) -> Iterator[Curve]:
    for (kind, distance), halves in counted.items():
        opened = np.sum([own for _, own in halves], axis=0)
        yield Curve(kind, distance, sum(n for n, _ in halves), tuple(round(float(one), 2) for one in opened))


def _groups(kinds: npt.NDArray[np.str_]) -> dict[str, npt.NDArray[np.bool_]]:
    return {
        ALL_KINDS: np.ones(len(kinds), np.bool_),
        LIKE_PHOTOGRAPHS: np.isin(kinds, PHOTOGRAPH_LIKE),
        PHOTOGRAPHS: kinds == PHOTOGRAPH,
    }


def count_opened(
    hashes: Rows, kinds: npt.NDArray[np.str_], split: Halves, ranks: Floats, reach: int
) -> Iterator[tuple[tuple[str, str], int, Floats]]:
    """Of each kind and distance, how many entries there are and how many open at each number of guesses."""
    is_far = split.nearest > ALIKE
    is_near = ~is_far & (split.nearest > reach)
    opened = ranks[None, :] <= 2.0 ** np.array(EXPONENTS)[:, None]
    groups = _groups(kinds[split.listed])
    chances = _of_look_alikes(opened, is_near, groups[LIKE_PHOTOGRAPHS])
    further = _followed(hashes[split.listed], opened | (split.nearest <= reach), chances, reach)
    for kind, of_kind in groups.items():
        yield (
            (kind, FAR),
            int((of_kind & is_far).sum()),
            opened[:, of_kind & is_far].sum(axis=1).astype(float),
        )
        yield (
            (kind, NEAR),
            int((of_kind & is_near).sum()),
            opened[:, of_kind & is_near].sum(axis=1).astype(float),
        )
        yield (kind, FURTHER), int((of_kind & is_far).sum()), further[:, of_kind & is_far].sum(axis=1)


def _of_look_alikes(
    opened: npt.NDArray[np.bool_], is_near: npt.NDArray[np.bool_], is_like: npt.NDArray[np.bool_]
) -> Floats:
    """By number of guesses and entry, the share of look-alikes of its sort that open, (exponents, m)."""
    found = np.zeros(opened.shape)
    for sort in (is_like, ~is_like):
        of_sort = is_near & sort
        if of_sort.any():
            found[:, sort] = opened[:, of_sort].mean(axis=1, keepdims=True)
    return found


def _followed(listed: Rows, opened: npt.NDArray[np.bool_], chances: Floats, reach: int) -> Floats:
    """The chance that each entry is open once what opened was followed to its likes, (exponents, m)."""
    near, alike = _neighbours(listed, reach)
    found = np.zeros(opened.shape)
    for draw in range(DRAWS):
        luck = np.random.default_rng((SEED, draw)).random(len(listed))
        # what is open with fewer guesses stays open: each number begins with what the one before came to
        is_open = np.zeros(len(listed), np.bool_)
        for at in range(len(opened)):
            is_open = _follow(is_open | opened[at], near, alike, luck < chances[at])
            found[at] += is_open
    return found / DRAWS


def _follow(
    is_open: npt.NDArray[np.bool_],
    near: npt.NDArray[np.intp],
    alike: npt.NDArray[np.intp],
    opens_if_alike: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    while True:
        by_question = np.zeros_like(is_open)
        by_likeness = np.zeros_like(is_open)
        by_question[near[1, is_open[near[0]]]] = True
        by_likeness[alike[1, is_open[alike[0]]]] = True
        grown = is_open | by_question | (by_likeness & opens_if_alike)
        if (grown == is_open).all():
            return grown
        is_open = grown


def _neighbours(listed: Rows, reach: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Pairs of entries within a reach, and of look-alikes, each both ways, (2, n)."""
    words = np.ascontiguousarray(listed).view(np.uint64)
    near: list[npt.NDArray[np.intp]] = []
    alike: list[npt.NDArray[np.intp]] = []
    for start in range(0, len(words), 256):
        apart = bits_apart(words[start : start + 256], words)
        for found, least, most in ((near, 0, reach), (alike, reach + 1, ALIKE)):
            left, right = np.nonzero((apart >= least) & (apart <= most))
            found.append(np.array([left + start, right]))
    return np.concatenate(near, axis=1), np.concatenate(alike, axis=1)


def ask_oracle(corpus: Reference, within: int = WITHIN) -> Guessed:
    """Measure what an oracle of this radius opens of look-alikes; of far entries nobody measured it."""
    hashes = corpus.prints[:, :32]
    kinds = corpus.kinds
    counted: dict[tuple[str, str], list[tuple[int, Floats]]] = {}
    halves = splits(hashes)
    for split in halves:
        is_near = (split.nearest > WITHIN) & (split.nearest <= ALIKE)
        each = 2.0 ** np.array(EXPONENTS) / len(split.known)
        chances = np.array([chance_of_hit(int(bits), within) for bits in range(ALIKE + 1)])
        for kind, of_kind in _groups(kinds[split.listed]).items():
            some = chances[split.nearest[of_kind & is_near]]
            opened = -np.expm1(each[:, None] * np.log1p(-np.minimum(some, 1 - 1e-12)))
            counted.setdefault((kind, NEAR), []).append((len(some), opened.sum(axis=1)))
    return Guessed(digest_of(WHOLE), 1, within, count_known(halves), tuple(join_curves(counted)))


@cache
def chance_of_hit(apart: int, within: int) -> float:
    """Return q(d): the largest chance over f that f random flips bring a hash at d bits within a radius."""
    from scipy.stats import hypergeom

    if apart <= within:
        return 1.0
    # d - x + (f - x) <= r, so x >= (d + f - r) / 2
    flips = np.arange(apart - within, apart + 1)
    least = -(-(apart + flips - within) // 2)
    return float(hypergeom.sf(least - 1, HASH_BITS, apart, flips).max())


def measure(corpus: Reference, arrays: str, progress: Progress = no_progress) -> dict[str, Any]:
    """Measure every curve that is committed, of the built-in designs at their default parameters.

    Args:
        arrays: the digest of the corpus' arrays.
    """
    from blindmatch_protocol.designs.slot_psi.design import extraction_of
    from blindmatch_protocol.designs.slot_psi.parameters import Slotting
    from blindmatch_protocol.designs.token_psi import Tokening
    from blindmatch_protocol.designs.token_psi.tokens import band_bits
    from blindmatch_protocol.designs.wide_psi import WideTokening
    from msgspec import to_builtins

    from blindmatch_simulations.evaluation.studies import hidden_parts

    tokens = (
        guess(corpus, band_bits(t.k, t.bands, t.order), t.needed, WITHIN, progress)
        for t in (Tokening(), WideTokening())
    )
    guessed = (
        *tokens,
        guess(corpus, WHOLE, 1, 0, progress),
        ask_oracle(corpus),
        hidden_parts.guess(corpus, extraction_of(Slotting()), WITHIN, progress),
    )
    found: dict[str, Any] = to_builtins(BestOrder(VERSION, arrays, EXPONENTS, guessed))
    return found


if __name__ == "__main__":
    import json
    import sys
    from pathlib import Path

    from blindmatch_simulations.evaluation.studies import reference

    made = measure(
        reference.read(), reference.about()["arrays_sha256"], lambda n, of: print(n, of, flush=True)
    )
    Path(sys.argv[1]).write_text(json.dumps(made, separators=(",", ":")) + "\n", "utf-8")
