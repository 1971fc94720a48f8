"""What is known of false matches, and what a year makes of them.

No test here shows a rate of real traffic. Three statements stand together instead: what was seen, the least
flattering rate that can be defended, and the rate at which half of all matches are wrong (`break_even`).
Nothing here can tell on which side of the last one reality lies, so that no number of false matches of a year
follows from what was measured: a year has one only for a rate that somebody assumes.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from blindmatch_simulations.evaluation.population.inputs import YEAR, Inputs
from blindmatch_simulations.evaluation.population.inputs import Figure as Assumed
from blindmatch_simulations.evaluation.studies.false_matches import at_length
from blindmatch_simulations.measure.results import Figure

BREAK_EVEN: Final = (
    "half of all matches are wrong, if every known picture is found, videos are not, and the numbers of "
    "pictures and of known files sent are those assumed; what is missed moves it further down"
)


class ListRate(Struct, frozen=True):
    """A rate of all kinds of pictures against one kind of list.

    Attributes:
        list: the kind: photographs, or mixed.
        item: of the pictures asked, against a list of `pairs` / `n`, with its interval.
        exponent: with which it was seen to grow with the list.
    """

    list: str
    item: Figure
    exponent: Figure

    def at(self, entries: float) -> Figure:
        """Return the rate at a length of the list."""
        return at_length(self.item, self.exponent, entries)


class KnownFalse(Struct, frozen=True):
    """What was measured of false matches.

    Attributes:
        seen: photographs that matched a picture of another source, in a mixed list.
        seen_by_source: the same, each source weighing alike, with the interval for other sources.
        lists: the least flattering rates that can be defended: all kinds of pictures.
    """

    seen: Figure
    lists: tuple[ListRate, ...]
    seen_by_source: Figure = Figure(None, "not in the committed evidence")


class BreakEven(Struct, frozen=True):
    """The false-match rate at which half of all matches are wrong.

    Attributes:
        rate: false matches for each picture sent.
        pictures: that are sent for one error.
        right: right matches of a year there, and as many wrong ones.
        assumes: under which assumptions, with their values.
        low, high: the rate with the assumed numbers at those ends of theirs that make it least, or most.
    """

    rate: float
    pictures: float
    right: float
    assumes: str = BREAK_EVEN
    low: float | None = None
    high: float | None = None


def break_even(inputs: Inputs) -> BreakEven:
    """Return where half of all matches are wrong.

    Of V pictures that an account sends in a year, K (1 - v) are known pictures: K known files, of which a
    share v is video, at which nobody looks. A matcher that finds every known picture has A K (1 - v) right
    matches in a year of A accounts. One that errs on a share e of all pictures has A V e wrong ones, since
    K is small beside V. These are equal at

        e = K (1 - v) / V.

    One that finds a share f of the known pictures has as many wrong as right ones at f e already. The rate
    is least where K is at its low end and v and V at their high ends, and most the other way round.
    """
    files = inputs.material.files
    video = inputs.material.video
    daily = inputs.activity.pictures_a_day
    known = files.value * (1 - video.value)
    rate = known / (YEAR * daily.value)
    low = _low_of(files) * (1 - _high_of(video)) / (YEAR * _high_of(daily))
    fewest = YEAR * _low_of(daily)
    high = _high_of(files) * (1 - _low_of(video)) / fewest if fewest else None
    assumes = (
        f"{BREAK_EVEN}. Assumed: {_assumed(files)}; {_assumed(video)}; {_assumed(daily)}. The ends take all "
        "three at the ends that move the rate furthest"
    )
    return BreakEven(
        rate,
        1 / rate if rate else float("inf"),
        known * inputs.accounts.number.value,
        assumes=assumes,
        low=low,
        high=high,
    )


def _low_of(assumed: Assumed[float]) -> float:
    return assumed.value if assumed.low is None else assumed.low


def _high_of(assumed: Assumed[float]) -> float:
    return assumed.value if assumed.high is None else assumed.high


def _assumed(assumed: Assumed[float]) -> str:
    """Write an assumed number with its ends and its unit."""
    ends = "" if assumed.low is None else f" ({assumed.low:g} to {assumed.high:g})"
    return f"{assumed.value:g}{ends} {assumed.unit}"
