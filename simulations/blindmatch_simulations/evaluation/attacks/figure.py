"""What an attack achieved, how well it tells two cases apart, and what it spent (docs/reference/results.md).

A game is fair: half of the games, as many of each case, train: each feature alone, and all together, learn
which case their values go with. The best on the training half guesses the other half.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Final, TypeAlias, TypeVar

import numpy as np
from blindmatch_protocol.picture.decode import decode
from msgspec import UNSET, Struct, UnsetType, field
from PIL import Image

from blindmatch_simulations.measure import results
from blindmatch_simulations.measure.intervals import (
    GAME_CONFIDENCE,
    Advantage,
    advantage,
    bounded_mean,
    clopper_pearson,
)
from blindmatch_simulations.measure.processes import used_cpu_seconds
from blindmatch_simulations.measure.results import Strict, significant
from blindmatch_simulations.measure.yardstick import reading

ACHIEVED: Final = "achieved"
"""Name of an attack's figure in a results file."""


class Figure(Struct, frozen=True):
    """The figure of one attack on one design.

    Attributes:
        measure: what `value` counts or estimates, in words.
        succeeded: did the attack do what the claim says it cannot, or what is declared?
        interval: Clopper and Pearson's where the figure is an estimate; Hoeffding's of a mean.
        parts: the same by case, where there are several.
        tries: trials by case, where what the attack came to follows from them and `parts`.
    """

    measure: str
    value: float
    succeeded: bool
    trials: int
    interval: tuple[float, float] | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    tries: Mapping[str, int] = field(default_factory=dict)

    def words(self) -> str:
        if self.interval is None:
            return f"{self.value:g} {self.measure} of {self.trials}"
        low, high = self.interval
        return f"{self.measure} {self.value:+.2f} [{low:+.2f}, {high:+.2f}] over {self.trials}"

    def figures(self) -> dict[str, results.Figure]:
        """The figure and its parts as those of a results file; docs/reference/results.md."""
        low, high = self.interval or (None, None)
        level = f"{100 * GAME_CONFIDENCE:.0f} % interval, of all cases together" if self.interval else ""
        whole = results.Figure(self.value, level, low, high, self.trials, unit=self.measure)
        parts = {
            f"{ACHIEVED}: {name}": results.Figure(part, n=self.tries.get(name), unit=self.measure)
            for name, part in self.parts.items()
        }
        return {ACHIEVED: whole, **parts}


def tally(attempts: Iterable[tuple[str, bool]]) -> dict[str, tuple[int, int]]:
    """(times, tries) by case, of the case of each attempt and whether it got through."""
    cases: dict[str, tuple[int, int]] = {}
    for case, through in attempts:
        times, tries = cases.get(case, (0, 0))
        cases[case] = (times + through, tries + 1)
    return cases


def counted(measure: str, cases: Mapping[str, tuple[int, int]]) -> Figure:
    """How often the attack got through, as (times, tries) by case; once is enough."""
    times, tries = (sum(case[at] for case in cases.values()) for at in (0, 1))
    parts = {name: float(case[0]) for name, case in cases.items()}
    each = {name: case[1] for name, case in cases.items()}
    return Figure(measure, float(times), times > 0, tries, None, parts, each)


def share_of(measure: str, hits: int, trials: int, parts: Mapping[str, float]) -> Figure:
    """A share of independent trials, with Clopper and Pearson's interval; success is more than none."""
    return _estimate(
        measure, hits / max(1, trials), trials, clopper_pearson(hits, trials, GAME_CONFIDENCE), parts
    )


def mean_of(measure: str, mean: float, units: int, parts: Mapping[str, float]) -> Figure:
    """The mean of independent units' shares, with Hoeffding's interval; success is more than none."""
    return _estimate(measure, mean, units, bounded_mean(mean, units, GAME_CONFIDENCE), parts)


def _estimate(
    measure: str, value: float, trials: int, bounds: tuple[float, float], parts: Mapping[str, float]
) -> Figure:
    low, high = (round(bound, 4) for bound in bounds)
    rounded = {name: round(part, 4) for name, part in parts.items()}
    return Figure(measure, round(value, 4), bounds[0] > 0, trials, (low, high), rounded)


def advantages(cases: Mapping[str, Advantage]) -> Figure:
    """The largest of the advantages measured by case; one that excludes guessing is enough."""
    worst = max(cases.values(), key=lambda one: (one.told_apart, one.value))
    runs = {name: one.runs for name, one in cases.items()}
    parts = {name: round(one.value, 4) for name, one in cases.items()}
    bounds = (round(worst.low, 4), round(worst.high, 4))
    total = sum(runs.values())
    return Figure("advantage", round(worst.value, 4), worst.told_apart, total, bounds, parts, runs)


class Played(Struct, frozen=True):
    """What was seen in one game, always as many features, and which case it was."""

    seen: tuple[Hashable, ...]
    case: bool


Look: TypeAlias = Callable[[tuple[Hashable, ...]], Hashable]


def won(played: Sequence[Played], cases: int = 1) -> Advantage:
    """The advantage of the best rule over guessing, measured on games that it did not learn from. `cases` are
    tested at once: the interval is widened so that all of them together are right with 99 %."""
    training = [*played[0::4], *played[1::4]]
    held = [*played[2::4], *played[3::4]]
    looks: list[Look] = [*map(itemgetter, range(len(played[0].seen))), tuple]
    rules = [_rule(look, training) for look in looks]
    best = max(rules, key=lambda rule: sum(rule(one) == one.case for one in training))
    right = sum(best(one) == one.case for one in held)
    return advantage(right, len(held), 1 - (1 - GAME_CONFIDENCE) / cases)


def _rule(look: Look, training: Sequence[Played]) -> Callable[[Played], bool]:
    """Guesses the case in which a value was seen more often; the second if it never was."""
    counts: dict[Hashable, Counter[bool]] = defaultdict(Counter)
    for one in training:
        counts[look(one.seen)][one.case] += 1
    sides = {value: seen[True] > seen[False] for value, seen in counts.items()}
    return lambda one: sides.get(look(one.seen), False)


T = TypeVar("T")
Pair: TypeAlias = tuple[bytes, bytes]
"""Files of a picture and of it edited."""

_BATCHES = 3


class Distortion(Strict, frozen=True):
    """How far an edit moves pictures: means over them, of values from 0 to 1.

    Attributes:
        edit: its name in the standard suite.
        l2: Euclidean norm of the difference over all values of a picture.
        linf: the largest difference of a value.
        ssim: structural similarity (Wang et al. 2004), windows of 7 x 7, mean of three channels; 1 is equal.
        values: of a picture, in the mean; l2 over the root of it is the root mean square.
        pictures: how many were edited.
    """

    edit: str
    l2: float
    linf: float
    ssim: float
    values: int
    pictures: int

    def words(self) -> str:
        return f"{self.edit}: L2 {self.l2:.1f}, Linf {self.linf:.2f}, SSIM {self.ssim:.2f}"


class Budget(Strict, frozen=True):
    """See above. What an attack does not have is left out, never 0."""

    queries: int | UnsetType = UNSET
    distortion: Distortion | UnsetType = UNSET
    compute_u: float | UnsetType = UNSET
    list_share: float | UnsetType = UNSET

    def words(self) -> str:
        said = [
            "" if self.queries is UNSET else f"{self.queries:,} queries",
            "" if self.distortion is UNSET else self.distortion.words(),
            "" if self.compute_u is UNSET else f"{self.compute_u:,.0f} u",
            "" if self.list_share is UNSET else f"{self.list_share:.3g} of the list",
        ]
        return "; ".join(filter(None, said))


class Spending(Struct):
    """Counts while an attack runs; see above.

    Attributes:
        reused_s: CPU seconds of what an earlier run made and this one needs as well.
    """

    queries: int = 0
    reused_s: float = 0.0
    distortion: Distortion | UnsetType = UNSET
    list_share: float | UnsetType = UNSET

    def measured(self, task: Callable[[], T]) -> tuple[T, Budget]:
        """What `task` gives, and what it spent."""
        u_us = reading(batches=_BATCHES).u_us
        before = used_cpu_seconds()
        made = task()
        compute = significant((used_cpu_seconds() - before + self.reused_s) * 1e6 / u_us)
        return made, Budget(self.queries or UNSET, self.distortion, compute, self.list_share)


def distortion(edit: str, pairs: Sequence[Pair]) -> Distortion:
    """How far an edit moves pictures; one of another size is first scaled to the original's."""
    rows = np.array([_apart(*pair) for pair in pairs])
    l2, linf, ssim, values = (significant(float(mean)) for mean in rows.mean(axis=0))
    return Distortion(edit, l2, linf, ssim, round(values), len(rows))


def _apart(original: bytes, edited: bytes) -> tuple[float, float, float, int]:
    from skimage.metrics import structural_similarity  # loads scipy, which nothing else here needs

    first, second = (decode(data).pixels for data in (original, edited))
    if first.shape != second.shape:
        size = first.shape[1], first.shape[0]
        second = np.asarray(Image.fromarray(second).resize(size, Image.Resampling.BICUBIC))
    one, other = (pixels.astype(np.float64) / 255 for pixels in (first, second))
    apart = np.abs(one - other)
    alike = structural_similarity(one, other, channel_axis=2, data_range=1.0)  # type: ignore[no-untyped-call]
    return float(np.sqrt((apart**2).sum())), float(apart.max()), float(alike), apart.size
