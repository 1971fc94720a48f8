"""What is told of a hidden list's capacity, as results keep it; how it is found stands in `capacity`.

Results and the pictures of an assessment need the records alone, and so no code of a design.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from blindmatch_simulations.measure.results import Strict

PHONES: Final = (1, 100, 1_000, 10_000, 1_000_000)
PHONE_PICTURES: Final = 20_000
"""Pictures a year that a modified phone sends: an assumption, what the busiest 0.1 % of accounts send."""
LIST_YEARS: Final = 10
"""Life of a key that no date and no limit ends: it lives as long as its list. An assumption."""
UNIFORM: Final = "uniform hashes"
ANY: Final = "any"


class ListStanding(StrEnum):
    """What a modified phone has of the list, to begin with.

    HIDDEN: nothing; it asks.
    HANDED_OUT: the list.
    TESTED_ALONE: what tests any guess, as often as it likes, without asking anybody.
    TOLD_NOTHING: nothing; a device is not told what matches.
    NO_LIST: nothing, for there is no list.
    """

    HIDDEN = "hidden"
    HANDED_OUT = "handed out"
    TESTED_ALONE = "tested alone"
    TOLD_NOTHING = "told nothing"
    NO_LIST = "no list"


SAID: Final = {
    ListStanding.HIDDEN: "the list is hidden; a device opens what it guesses",
    ListStanding.HANDED_OUT: "the list is handed out: every device has it",
    ListStanding.TESTED_ALONE: "the list is handed out under a hash: every device tests any guess, no limit",
    ListStanding.TOLD_NOTHING: "a device is not told what matches, so asking opens nothing",
    ListStanding.NO_LIST: "there is no list",
}


class AskingTime(StrEnum):
    """The time in which phones ask."""

    YEAR = "a year"
    LIFE = "the key's life"


class Limit(StrEnum):
    """Which limits of a key hold: all that it has, or those of an account alone."""

    ALL = "all limits"
    ACCOUNT = "limits by account"


class How(StrEnum):
    """How a share was found."""

    FORMULA = "formula"
    MEASURED = "measured"
    ESTIMATED = "estimate"


class Assumed(Strict, frozen=True):
    """What a capacity is told for.

    Attributes:
        volume: pictures a day of all accounts together.
        phone_pictures: pictures a year of a modified phone.
        list_years: life of a key that nothing ends.
        phones: numbers of modified phones.
    """

    volume: float
    phone_pictures: float = PHONE_PICTURES
    list_years: float = LIST_YEARS
    phones: tuple[int, ...] = PHONES


class OpenedShare(Strict, frozen=True):
    """The share of a list that modified phones open; None if nobody measured it, with the reason in `why`.

    Attributes:
        limits: which limits hold.
        kind: of pictures listed.
        distance: of the entries from pictures that the attacker has.
        guesses: under one key, all phones together.
        low, high: interval of 95 % of a counted share.
        n: entries that were counted.
    """

    limits: str
    span: str
    kind: str
    distance: str
    phones: int
    guesses: float
    share: float | None
    how: str = ""
    low: float | None = None
    high: float | None = None
    n: int | None = None
    why: str = ""


class Capacity(Strict, frozen=True):
    """What a design keeps of its list, and for how long.

    Attributes:
        standing: what a device has of the list to begin with.
        cost: units that a picture takes of a key.
        unit: that guesses are counted in.
        per_account, in_all: units under one key; None for no limit.
        key_seconds: until all accounts together have used a key up at the assumed volume; None without a
            limit.
        ends_seconds: until the key's date; None without one.
        open_to: least phones that open a uniform list within the key's life under limits by account alone;
            None if as many as were assumed do not.
        refused_year, refused_life: share of accounts that are answered nothing further, within a year and the
            key's life; None where accounts have no limit.
        notice: what honest users notice, in a sentence.
        exhausted: in a few words, that the volume uses the key up, and what the design is without that limit;
            empty if a key lasts a year.
    """

    standing: str
    says: str
    assumed: Assumed
    unit: str = "guesses"
    cost: int = 1
    per_account: int | None = None
    in_all: int | None = None
    key_seconds: float | None = None
    ends_seconds: float | None = None
    open_to: int | None = None
    refused_year: float | None = None
    refused_life: float | None = None
    notice: str = ""
    exhausted: str = ""
    shares: tuple[OpenedShare, ...] = ()

    @property
    def holding(self) -> Limit:
        """The limits that hold at the assumed volume."""
        return Limit.ALL if self.in_all is not None and not self.exhausted else Limit.ACCOUNT

    def find(
        self,
        phones: int,
        kind: str,
        distance: str,
        span: AskingTime = AskingTime.YEAR,
        limits: Limit | None = None,
    ) -> OpenedShare | None:
        """Return what so many phones open of such entries, or None if it is not told; by default under the
        limits that hold."""
        wanted = (str(limits or self.holding), str(span), kind, distance, phones)
        found = ((one.limits, one.span, one.kind, one.distance, one.phones) for one in self.shares)
        return next((one for one, held in zip(self.shares, found, strict=True) if held == wanted), None)
