"""Recall and false matches, from the fingerprints of the reference corpus alone.

`docs/reference/corpus.md` (The reference corpus, False matches) and the pages of the designs define each.
"""

from __future__ import annotations

import csv
import io
import json
import lzma
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from pathlib import Path

import numpy as np
from scipy.stats import beta

WITHIN = 31
FAR = 64
LEAST_QUALITY = 50
DRAWS = 10_000
"""Draws of an interval by drawing packages (docs/reference/corpus.md), each end of which errs by chance."""
ERRS = 5.0
"""Standard errors that a drawn quantile may lie from the true one: one in two million lies farther."""


def clopper_pearson(hits: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a binomial share (Clopper and Pearson, 1934)."""
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, trials - hits + 1))
    high = 1.0 if hits == trials else float(beta.ppf(1 - tail, hits + 1, trials - hits))
    return low, high


def quantile_bounds(values: np.ndarray, at: float, draws: int) -> tuple[float, float]:
    """Return between what the quantile `at` of so many draws lies, of a law that `values` are many draws of.

    The number of draws below the true quantile is binomial, so that a drawn quantile lies between the true
    ones of `at` less and more `ERRS` standard errors.
    """
    error = ERRS * (at * (1 - at) / draws) ** 0.5 + ERRS * (at * (1 - at) / len(values)) ** 0.5
    ends = np.quantile(values, [max(0, at - error), min(1, at + error)])
    return float(ends[0]), float(ends[1])


@dataclass(frozen=True)
class Share:
    """A share of copies or pictures: hits of trials, and between what each end of its interval lies."""

    hits: int
    trials: int
    low: tuple[float, float]
    high: tuple[float, float]

    @property
    def value(self) -> float:
        return self.hits / self.trials


class Corpus:
    """The committed reference corpus.

    Args:
        folder: of the program's data.
        pages: of the documentation, where the bands of token designs are listed.
    """

    def __init__(self, folder: Path, pages: Path) -> None:
        self._pages = pages
        with lzma.open(folder / "reference.csv.xz", "rt", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        self.package = np.array([row["package"] for row in rows])
        self.kind = np.array([row["kind"] for row in rows])
        self.path = [f"{row['package']}/{row['path']}" for row in rows]
        about = json.loads((folder / "reference.json").read_text("utf-8"))
        self.edits: list[str] = about["edits"]
        made = tomllib.loads((folder / "reference.toml").read_text("utf-8"))
        self._same_photograph = made["same_photograph"]
        arrays = np.load(io.BytesIO(lzma.decompress((folder / "reference.npz.xz").read_bytes())))
        self.hashes = arrays["prints"][:, :32]
        self.edited = arrays["edited"].astype(np.int64)
        self.sent = arrays["sent"][:, :32]
        self.change = arrays["copies"][:, :, :32]
        self.copy_quality = arrays["copy_quality"]
        self._coefficients = arrays["coefficients"]
        self.is_photograph = self.kind[self.edited] == "photograph"

    # ---- copies

    @cached_property
    def distance(self) -> np.ndarray:
        """Bits between each copy and its original, (m, edits)."""
        return np.bitwise_count(self.change).sum(axis=2, dtype=np.int64)

    @cached_property
    def coefficients(self) -> np.ndarray:
        """Sizes of the coefficients of each copy, 0 where they are not kept, (m * edits, 256)."""
        low, high = self._coefficients
        kept = (low.astype(np.uint16) | (high.astype(np.uint16) << 8)).view(np.float16).T
        found = np.zeros((self.distance.size, 256), np.float32)
        flat = self.distance.ravel()
        found[(flat >= 4) & (flat <= FAR)] = kept
        return found

    @cached_property
    def pdq(self) -> np.ndarray:
        """Copies that PDQ calls a match: within 31 bits, of quality 50 or more."""
        return (self.distance <= WITHIN) & (self.copy_quality >= LEAST_QUALITY)

    @cached_property
    def equal(self) -> np.ndarray:
        """Copies with the very hash of their original."""
        return (self.distance == 0) & (self.copy_quality >= LEAST_QUALITY)

    # ---- pieces of the hash (docs/designs/token-psi.md and threshold-near.md)

    def bands(self, design: str) -> np.ndarray:
        """The bits of each band, (bands, bits), as the page of a design lists them."""
        page = (self._pages / "designs" / f"{design}.md").read_text("utf-8")
        lines = re.findall(r"^\| band \d+ \| ([\d ]+) \|$", page, re.MULTILINE)
        if not lines:
            raise ValueError(f"docs/designs/{design}.md: no table of the bits of each band")
        return np.array([line.split() for line in lines], np.int64)

    def _tokens(self, hashes: np.ndarray, bands: np.ndarray) -> np.ndarray:
        """The token of each hash and band as one number, the band's first bit the highest, (n, bands)."""
        bits = np.unpackbits(hashes, axis=1)
        found = np.zeros((len(hashes), len(bands)), np.uint64)
        for place in range(bands.shape[1]):
            found = (found << np.uint64(1)) | bits[:, bands[:, place]].astype(np.uint64)
        return found

    def _agreeing(self, bands: np.ndarray, probes: int) -> np.ndarray:
        """Whether the token of a copy's original is among the copy's likeliest, (m, edits, bands).

        A token costs the sum of the sizes of the coefficients whose bits it flips; the `probes` cheapest
        are asked for. So the original's, which flips the bits in which the two differ, is asked for if
        fewer than `probes` sets of flips cost less; no set of m bits does where 2^m - 1 are too many, since
        so many of its own parts cost no more.
        """
        many = self.distance.size
        width = int(np.log2(probes)) + 1
        differ = np.unpackbits(self.change.reshape(many, 32), axis=1).astype(bool)
        found = np.ones((many, len(bands)), bool)
        photographs = (self.pdq & self.is_photograph[:, None]).ravel()
        for band, bits in enumerate(bands):
            flipped = differ[:, bits].sum(axis=1)
            found[:, band] = flipped == 0
            for row in np.flatnonzero((flipped > 0) & (flipped <= width) & photographs):
                found[row, band] = _is_asked(self.coefficients[row, bits], differ[row, bits], probes)
        return found.reshape(*self.distance.shape, len(bands))

    @cached_property
    def _filled(self) -> np.ndarray:
        """Hashes of originals that are not edited, none within 64 bits of one that is."""
        is_edited = np.zeros(len(self.hashes), bool)
        is_edited[self.edited] = True
        first, second, bits = self._near
        left = ~is_edited
        close = bits <= FAR
        first = first[close]
        second = second[close]
        left[first[is_edited[second]]] = False
        left[second[is_edited[first]]] = False
        return self.hashes[left]

    @cached_property
    def tokens(self) -> np.ndarray:
        """Copies that token-psi finds: PDQ's, with two of ten bands of 24 bits among 16 tokens each."""
        return self._found_by_tokens("token-psi", probes=16, needed=2)

    @cached_property
    def wide(self) -> np.ndarray:
        """Copies that wide-psi finds: PDQ's, with one of six bands of 42 bits among 40 tokens each."""
        return self._found_by_tokens("wide-psi", probes=40, needed=1)

    def _found_by_tokens(self, design: str, probes: int, needed: int) -> np.ndarray:
        """Return which copies are PDQ's and agree with their original in so many bands whose tokens the list
        has for it."""
        bands = self.bands(design)
        whole = np.concatenate([self._filled, self.sent])
        lost = _lost(whole, self._tokens(whole, bands))[len(self._filled) :]
        agreeing = self._agreeing(bands, probes) & ~lost[:, None, :]
        return self.pdq & (agreeing.sum(axis=2) >= needed)

    @cached_property
    def visible(self) -> np.ndarray:
        """Copies that threshold-near's vouchers show, made-up ones aside: one of six bands of 40 bits."""
        bands = self.bands("threshold-near")
        whole = np.concatenate([self._filled, self.sent])
        kept = _kept(whole, self._tokens(whole, bands))[len(self._filled) :]
        return self.pdq & (self._agreeing(bands, 64) & kept[:, None, :]).any(axis=2)

    # ---- recall

    def recall(self, found: np.ndarray, of: np.ndarray | None = None, edit: str = "") -> Share:
        """Return the share of photographs' copies that are found, with its interval for another package.

        Args:
            found: (m, edits) copies that a design finds.
            of: the copies that count; all without it.
            edit: the only one that counts, if given.
        """
        counts = np.ones_like(found) if of is None else of
        which = [self.edits.index(edit)] if edit else list(range(len(self.edits)))
        trials = counts[self.is_photograph][:, which].sum(axis=1)
        hits = (found & counts)[self.is_photograph][:, which].sum(axis=1)
        packages = self.package[self.edited][self.is_photograph]
        low, high = _for_another(hits, trials, packages)
        return Share(int(hits.sum()), int(trials.sum()), low, high)

    # ---- false matches

    @cached_property
    def _near(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs of originals within 64 bits, first < second, and their distance."""
        words = np.ascontiguousarray(self.hashes).view(np.uint64)
        firsts = []
        seconds = []
        bits = []
        for start in range(0, len(words), 256):
            part = words[start : start + 256]
            apart = np.zeros((len(part), len(words) - start), np.uint16)
            for word in range(4):
                apart += np.bitwise_count(part[:, None, word] ^ words[None, start:, word])
            one, other = np.nonzero(apart <= FAR)
            keep = other > one
            firsts.append(start + one[keep])
            seconds.append(start + other[keep])
            bits.append(apart[one[keep], other[keep]])
        return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(bits)

    @cached_property
    def kept(self) -> np.ndarray:
        """Originals that are asked about and listed: none within 31 bits of one before it in its package."""
        first, second, bits = self._near
        same = (bits <= WITHIN) & (self.package[first] == self.package[second])
        left = np.ones(len(self.hashes), bool)
        place = {path: at for at, path in enumerate(self.path)}
        for pair in self._same_photograph:
            left[place[pair[0]]] = False
        # photographs come before other kinds, then the corpus's order decides which one is the later
        rank = np.lexsort((np.arange(len(left)), self.kind != "photograph")).argsort()
        later = np.where(rank[first] > rank[second], first, second)
        left[later[same]] = False
        return left

    def false_matches(self, kind: str, listed: str, within: int) -> tuple[Share, float]:
        """Return the share of pictures that match one of another source, and the mean length of the list.

        Args:
            kind, listed: of the pictures and of the list; `all`, or the name of a kind.
            within: bits.
        """
        of = self.kept & ((self.kind == kind) | (kind == "all"))
        there = self.kept & ((self.kind == listed) | (listed == "all"))
        first, second, bits = self._near
        near = (bits <= within) & (self.package[first] != self.package[second])
        matched = np.zeros(len(self.hashes), bool)
        for one, other in ((first[near], second[near]), (second[near], first[near])):
            matched[one[there[other]]] = True
        names, package = np.unique(self.package, return_inverse=True)
        pictures = np.bincount(package[of], minlength=len(names))
        hits = np.bincount(package[of & matched], minlength=len(names))
        own = np.bincount(package[there], minlength=len(names))
        pairs = int((pictures * (there.sum() - own)).sum())
        low, high = _of_packages(hits[pictures > 0], pictures[pictures > 0])
        return Share(int(hits.sum()), int(pictures.sum()), low, high), pairs / int(pictures.sum())


def _top(group: list[int], at: int) -> int:
    """Return the first member of a group, by way of the members that were joined."""
    while group[at] != at:
        group[at] = group[group[at]]
        at = group[at]
    return at


def _is_asked(costs: np.ndarray, differ: np.ndarray, probes: int) -> bool:
    """Whether fewer than `probes` sets of flips come before the one that is wanted.

    Sets are tried from the cheapest on: each follows from another by the next dearer bit in the place of its
    dearest one, or in addition to it. Of equal costs fewer bits come first, then those whose dearest bit
    ranks lower, by cost and then by place (docs/designs/token-psi.md).
    """
    order = np.argsort(costs, kind="stable")
    ranked = costs[order].astype(np.float64).tolist()
    wanted = tuple(np.flatnonzero(differ[order])[::-1].tolist())
    mine = (sum(ranked[at] for at in wanted), len(wanted), wanted)
    before = 1  # the empty set, which flips nothing
    waiting: list[tuple[float, int, tuple[int, ...]]] = [(ranked[0], 1, (0,))]
    while waiting and before < probes:
        cost, size, some = heappop(waiting)
        if (cost, size, some) >= mine:
            return True
        before += 1
        top = some[0] + 1
        if top < len(ranked):
            heappush(waiting, (cost - ranked[some[0]] + ranked[top], size, (top, *some[1:])))
            heappush(waiting, (cost + ranked[top], size + 1, (top, *some)))
    return before < probes


def _families(hashes: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The family of each entry: entries that share a token, are neighbours when sorted by it, and lie within
    31 bits, at most 64 together, in the list's order."""
    root = list(range(len(hashes)))
    for own in tokens.T:
        order = np.argsort(own, kind="stable")
        left = order[:-1]
        right = order[1:]
        same = own[left] == own[right]
        left = left[same]
        right = right[same]
        near = np.bitwise_count(hashes[left] ^ hashes[right]).sum(axis=1, dtype=np.int64) <= WITHIN
        for one, other in zip(left[near].tolist(), right[near].tolist(), strict=True):
            low, high = sorted((_top(root, one), _top(root, other)))
            root[high] = low
    seen: dict[int, int] = {}
    family = np.empty(len(hashes), np.int64)
    for at in range(len(hashes)):
        mine = _top(root, at)
        rank = seen.get(mine, 0)
        seen[mine] = rank + 1
        family[at] = mine * len(hashes) + rank // 64
    return family


def _lost(hashes: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Tokens that another family got, (n, bands): a token of several families goes to the entry that has lost
    the most in the bands before, then to the first of the list."""
    family = _families(hashes, tokens)
    lost = np.zeros(tokens.shape, bool)
    losses = np.zeros(len(hashes), np.int64)
    for band in range(tokens.shape[1]):
        own = tokens[:, band]
        order = np.lexsort((np.arange(len(own)), -losses, own))
        starts = np.append(True, own[order][1:] != own[order][:-1])
        winner = order[np.maximum.accumulate(np.where(starts, np.arange(len(own)), 0))]
        lost[order, band] = family[winner] != family[order]
        losses += lost[:, band]
    return lost


def _kept(hashes: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Tokens of an entry that a table has, (n, bands): of each family and band the least of its commonest; of
    an entry with none of these its first one, too."""
    family = _families(hashes, tokens)
    kept = np.zeros(tokens.shape, bool)
    for band in range(tokens.shape[1]):
        counts: dict[int, dict[int, int]] = {}
        for mine, token in zip(family.tolist(), tokens[:, band].tolist(), strict=True):
            of = counts.setdefault(mine, {})
            of[token] = of.get(token, 0) + 1
        chosen = {min(of, key=lambda token: (-of[token], token)) for of in counts.values()}
        kept[:, band] = [token in chosen for token in tokens[:, band].tolist()]
    added = set(tokens[~kept.any(axis=1), 0].tolist())
    kept[:, 0] |= [token in added for token in tokens[:, 0].tolist()]
    return kept


def _for_another(
    hits: np.ndarray, trials: np.ndarray, packages: np.ndarray
) -> tuple[tuple[float, float], ...]:
    """Return between what the 98 % interval for another package lies, low and high end.

    A package is drawn, then ten photographs of it; of N photographs each drawn one is, with the chance
    1 / (N + 1), one of which all copies are found or none is (docs/reference/corpus.md). An end that leaves 0
    or 1 alone allows for one copy among those of ten photographs.
    """
    draws = 40 * DRAWS
    rng = np.random.default_rng(39)
    names, of = np.unique(packages, return_inverse=True)
    order = np.argsort(of, kind="stable")
    sizes = np.bincount(of)
    starts = np.cumsum(sizes) - sizes
    chosen = rng.integers(len(names), size=draws)
    found = np.zeros(draws)
    below = np.zeros(draws)
    for _ in range(10):
        drawn = order[starts[chosen] + (rng.random(draws) * sizes[chosen]).astype(np.int64)]
        other = rng.random(draws) < 1 / (len(of) + 1)
        found += np.where(other, (rng.random(draws) < 0.5) * trials[drawn], hits[drawn])
        below += trials[drawn]
    shares = found[below > 0] / below[below > 0]
    low, high = (quantile_bounds(shares, at, DRAWS) for at in (0.01, 0.99))
    one = 1 / max(1.0, 10 * float(trials.mean()))
    if low[0] == high[1] == 1:
        low = (1 - one, 1 - one)
    if low[0] == high[1] == 0:
        high = (one, one)
    return low, high


def _of_packages(hits: np.ndarray, pictures: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Return between what the 95 % interval of the mean over packages lies: packages drawn again, then the
    pictures of each; where nothing matched, Clopper and Pearson over packages (docs/reference/corpus.md)."""
    if not hits.sum():
        low, high = clopper_pearson(0, len(hits))
        return (low, low), (high, high)
    draws = DRAWS
    rng = np.random.default_rng(39)
    chosen = rng.integers(len(hits), size=(draws, len(hits)))
    again = rng.binomial(pictures[chosen], (hits / pictures)[chosen])
    shares = again.sum(axis=1) / pictures[chosen].sum(axis=1)
    return quantile_bounds(shares, 0.025, DRAWS), quantile_bounds(shares, 0.975, DRAWS)
