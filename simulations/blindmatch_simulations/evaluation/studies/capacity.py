"""How much of a hidden list modified phones open, how long a key lasts, and what honest users notice of its
limits.

The parameters are the design's by the contract: limits and cost of a picture (`KeyLimits`, those of an
account at whoever carries requests), and what asking opens (`Extraction`). Nothing here knows a design.

**Guesses.** m modified phones of B pictures a year pool what they ask. A picture may spend c units
(evaluations, tokens or requests). In a time T under one key a phone gets

    g = min(c B T, a)        a: the limit of an account in the key's life, or in all periods that begin in T
    E = min(m g, A)          A: the limit of all accounts together

units, and all of them guesses, since a modified phone asks for what it likes. A phone that makes further
accounts counts as further phones.

**Keys.** A key that ends after a life L is replaced, and T / L of them follow one another. If one guessed
part opens an entry, the guesses of all keys add up, for the attacker goes on where it stopped. If several
parts must be guessed under one key, the guesses of a key help nothing under the next one: the share is at
most the sum over keys.

**Uniform hashes.** The share is the design's own formula at E. Of parts of k bits of which w of b must be
guessed, an evenly spread E gives every part the chance E / (b 2^k) and the entry that of w or more
successes in b. A whole hash of 256 bits is guessed with E 2^-256; a ball of radius r around each guess
holds V(r) = sum of C(256, i) for i up to r hashes, so that the share is E V(r) 2^-256.

**Real hashes.** The share of the reference corpus' entries whose rank is at most E, by `studies.best_order`.
Where what a part reads is hidden, E is counted in pictures, and `studies.hidden_parts` has the ranks: of
guesses, and of what opens without one.

**The life of a key.** All accounts together send V pictures a day, so a key with a limit A lasts A / (c V)
days; it may end earlier by its date. A design whose key is used up within a year cannot be run at V under
that limit. Then the limits of an account remain, and the figures that count are those without A; `open_to`
is the least number of phones that open a uniform list then, at least `NEARLY` of it.

**Honest users.** Rates of accounts are log-normal with mean M and spread s of the logarithm (the inputs of
`population`), so the share of accounts that sends more than x pictures in T is
1 - Phi((ln(x / (M T)) + s^2 / 2) / s). Such an account is answered nothing further under the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, comb, log
from statistics import NormalDist
from typing import Final

import numpy as np
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import AnyDesign, Extraction, KeyLimits, Learner, ListKnowledge, Party
from blindmatch_protocol.contract.relation import HASH_BITS, Category, Near, Nothing
from msgspec import Struct

from blindmatch_simulations.data import table_of
from blindmatch_simulations.evaluation.studies import best_order
from blindmatch_simulations.evaluation.studies.best_order import BestOrder, Guessed
from blindmatch_simulations.evaluation.studies.capacity_records import (
    ANY,
    SAID,
    UNIFORM,
    AskingTime,
    Assumed,
    Capacity,
    How,
    Limit,
    ListStanding,
    OpenedShare,
)
from blindmatch_simulations.measure.intervals import clopper_pearson
from blindmatch_simulations.testbed.inprocess.deployed import OpenDesign, opened, publish

DAY_SECONDS: Final = 86_400
YEAR: Final = 365
NEARLY: Final = 0.99
ENTRIES: Final = 64
"""Uniform entries of the set that parameters are read from."""
INPUTS: Final = "population"
"""Committed inputs of the year (`population`), whose accounts and activity are assumed here."""


def eu_volume() -> float:
    """Return the pictures a day that all accounts of the committed year send together."""
    accounts = float(table_of(INPUTS)["accounts"]["number"]["value"])
    return round(_rates().mean * accounts, 3)


class Rates(Struct, frozen=True):
    """How many pictures accounts send: the mean a day, and the spread of the logarithm."""

    mean: float
    spread: float


def _rates() -> Rates:
    """Those of the committed year."""
    activity = table_of(INPUTS)["activity"]
    return Rates(float(activity["pictures_a_day"]["value"]), float(activity["spread"]["value"]))


def standing_of(design: AnyDesign) -> ListStanding:
    """Return what a device of this design has of the list, by its declaration."""
    if isinstance(design.info.relation, Nothing | Category):
        return ListStanding.NO_LIST
    known = design.list_knowledge(frozenset({Party.DEVICE}))
    if known >= ListKnowledge.HASHES:
        return ListStanding.HANDED_OUT
    if known >= ListKnowledge.TESTABLE:
        return ListStanding.TESTED_ALONE
    if Learner.DEVICE not in design.info.learns:
        return ListStanding.TOLD_NOTHING
    return ListStanding.HIDDEN


def limits_of(parties: OpenDesign) -> KeyLimits | None:
    """Return the limits of the first role's key that has some; an account's may stand at its carrier."""
    for role in parties.design.info.roles:
        key = parties.design.key_limits(role, parties.states[role])
        if key is None:
            continue
        carried = parties.design.carrier_limits(role, parties.setup)
        account = key.per_account or (carried.per_account if carried else None)
        periods = key.periods or (carried.periods if carried else ())
        return KeyLimits(key.key, key.cost, account, key.in_all, key.expires, periods)
    return None


class Asking(Struct, frozen=True):
    """By what a design's list opens: `guessed` are its measured curves, None if there are none."""

    limits: KeyLimits | None
    extraction: Extraction
    guessed: Guessed | None
    ends_days: float | None

    @property
    def cost(self) -> int:
        return self.limits.cost if self.limits else self.extraction.a_picture

    def guesses(self, phones: int, days: float, pictures: float, limits: Limit) -> float:
        """Return E, what so many phones spend under one key in so many days."""
        each = self.cost * pictures * days / YEAR
        if self.limits and self.limits.per_account is not None:
            each = min(each, self.limits.per_account)
        for period in self.limits.periods if self.limits else ():
            # as many periods as begin in that time, since what one allows may be used on its first day
            each = min(each, period.evaluations * ceil(days * DAY_SECONDS / period.seconds))
        both = phones * each
        if limits is Limit.ALL and self.limits and self.limits.in_all is not None:
            both = min(both, self.limits.in_all)
        return both


def capacity(
    parties: OpenDesign,
    assumed: Assumed,
    now: float,
    curves: BestOrder | None = None,
    more: Sequence[Guessed] = (),
) -> Capacity:
    """Return what a design keeps of its list.

    Args:
        parties: the design with an epoch of any list, in which its parameters stand.
        now: Unix time in seconds, from which a key's date is counted.
        curves: what was measured of real lists; by default the committed curves.
        more: further curves, which go before those.
    """
    standing = standing_of(parties.design)
    if standing is not ListStanding.HIDDEN:
        return Capacity(str(standing), SAID[standing], assumed, shares=tuple(_whole(standing, assumed)))
    asking = _asking(parties, now, curves or best_order.measured(), more)
    limits = asking.limits
    life = _life_days(asking, assumed)
    in_all, account = (limits.in_all, limits.per_account) if limits else (None, None)
    seconds = key_seconds(in_all, asking.cost, assumed.volume)
    rates = _rates()
    refused = [
        None if account is None else _refused(account // asking.cost, days, rates) for days in (YEAR, life)
    ]
    by_year = _by_year(asking)
    if refused[0] is None and by_year is not None:
        # an account that sends more in a year than it allows waits for the next one, every year alike
        refused = [_refused(by_year, YEAR, rates)] * 2
    to = _open_to(asking, assumed, life)
    return Capacity(
        standing=str(standing),
        says=SAID[standing],
        assumed=assumed,
        unit=asking.extraction.unit,
        cost=asking.cost,
        per_account=account,
        in_all=in_all,
        key_seconds=seconds,
        ends_seconds=None if asking.ends_days is None else asking.ends_days * DAY_SECONDS,
        open_to=to,
        refused_year=refused[0],
        refused_life=refused[1],
        notice=_notice(asking, seconds, refused, life),
        exhausted=words_of_exhaustion(seconds, to),
        shares=tuple(_shares(asking, assumed, life)),
    )


def _by_year(asking: Asking) -> int | None:
    """The pictures that an account is answered in a year by the limits of periods; None without one."""
    periods = asking.limits.periods if asking.limits else ()
    years = [one.evaluations * YEAR * DAY_SECONDS // one.seconds for one in periods]
    return min(years) // asking.cost if years else None


def _whole(standing: ListStanding, assumed: Assumed) -> Iterator[OpenedShare]:
    """The shares where a phone need not ask, or is told nothing."""
    share = {ListStanding.HANDED_OUT: 1.0, ListStanding.TOLD_NOTHING: 0.0}.get(standing)
    if standing is ListStanding.NO_LIST:
        return
    why = (
        ""
        if share is not None
        else "guesses cost a device nothing but its own time: no limit tells the share"
    )
    for phones in assumed.phones:
        for span in AskingTime:
            yield OpenedShare(Limit.ACCOUNT, span, ANY, ANY, phones, 0.0, share, How.FORMULA, why=why)


def _asking(parties: OpenDesign, now: float, curves: BestOrder, more: Sequence[Guessed]) -> Asking:
    limits = limits_of(parties)
    relation = parties.design.info.relation
    ends = None if limits is None or limits.expires is None else max(0.0, limits.expires - now) / DAY_SECONDS
    declared = parties.design.extraction(parties.setup)
    reach = relation.within if isinstance(relation, Near) else 0
    extraction = declared or Extraction(
        "guesses", lambda guesses: _ball(guesses, reach), places=best_order.WHOLE
    )
    places = extraction.places
    if places is None:
        return Asking(limits, extraction, None, ends)
    wanted = (places, extraction.needed, reach, extraction.hidden, extraction.a_picture)
    own = (one for one in more if one.is_of(*wanted))
    guessed = next(own, None) or curves.find(*wanted)
    return Asking(limits, extraction, guessed, ends)


def _ball(guesses: float, reach: int) -> float:
    """E V(r) 2^-256: whole hashes guessed, each with all within a radius of it."""
    ball = sum(comb(HASH_BITS, bits) for bits in range(reach + 1))
    return min(1.0, guesses * (ball / (1 << HASH_BITS)))


def _life_days(asking: Asking, assumed: Assumed) -> float:
    return assumed.list_years * YEAR if asking.ends_days is None else asking.ends_days


def _spans(asking: Asking, life: float) -> Iterator[tuple[AskingTime, float, float]]:
    """Each time, days of it under one key, and how many keys follow one another in it."""
    yield AskingTime.YEAR, min(YEAR, life), max(1.0, YEAR / life) if life else 1.0
    yield AskingTime.LIFE, life, 1.0


def _shares(asking: Asking, assumed: Assumed, life: float) -> Iterator[OpenedShare]:
    held = (
        (Limit.ALL, Limit.ACCOUNT) if asking.limits and asking.limits.in_all is not None else (Limit.ACCOUNT,)
    )
    for limits in held:
        for span, days, keys in _spans(asking, life):
            for phones in assumed.phones:
                guesses = asking.guesses(phones, days, assumed.phone_pictures, limits)
                # a design is not run on without its key: who uses it up asks under one, and then nobody does
                times = 1.0 if limits is Limit.ALL else keys
                yield _uniform(asking, limits, span, phones, guesses, times)
                yield from _real(asking, limits, span, phones, guesses, times)


def _uniform(
    asking: Asking, limits: Limit, span: AskingTime, phones: int, guesses: float, keys: float
) -> OpenedShare:
    share = min(1.0, keys * asking.extraction.share(int(guesses)))
    return OpenedShare(limits, span, UNIFORM, ANY, phones, guesses, share, How.FORMULA)


NOT_MEASURED: Final = "no curve of these parts of a hash: measure it with --measure"
FAR_NOT_MEASURED: Final = (
    "what an oracle opens of entries that resemble nothing the attacker has was not measured"
)


DISTANCES: Final = (best_order.FAR, best_order.FURTHER, best_order.NEAR)
WITHOUT_A_GUESS: Final = (best_order.FAR_ALONE, best_order.NEAR_ALONE)


def _real(
    asking: Asking, limits: Limit, span: AskingTime, phones: int, guesses: float, keys: float
) -> Iterator[OpenedShare]:
    extraction = asking.extraction
    at = (limits, span)
    curves = {(one.kind, one.distance): one for one in asking.guessed.curves} if asking.guessed else {}
    # what is hidden is told by pictures, each of which asks for its values and makes one guess
    of_curve = guesses / extraction.a_picture if extraction.hidden else guesses
    distances = (*DISTANCES, *(WITHOUT_A_GUESS if extraction.hidden else ()))
    for kind in (best_order.LIKE_PHOTOGRAPHS, best_order.ALL_KINDS):
        for distance in distances:
            if extraction.places is None:
                share = min(1.0, keys * extraction.share(int(guesses)))
                yield OpenedShare(*at, kind, distance, phones, guesses, share, How.FORMULA)
                continue
            curve = curves.get((kind, distance))
            if curve is None:
                why = FAR_NOT_MEASURED if asking.guessed else NOT_MEASURED
                yield OpenedShare(*at, kind, distance, phones, guesses, None, why=why)
                continue
            together = of_curve * keys if extraction.needed == 1 else of_curve
            times = 1.0 if extraction.needed == 1 else keys
            yield _counted(OpenedShare(*at, kind, distance, phones, guesses, None), curve, together, times)


def _counted(told: OpenedShare, curve: best_order.Curve, guesses: float, keys: float) -> OpenedShare:
    """A share of a curve, with its interval where entries were counted."""
    found = curve.open_after(guesses)
    n = curve.entries
    is_estimate = told.distance == best_order.FURTHER or found != int(found)
    # of an estimate there is no interval, but where nothing opened none did by any count
    low, high = (None, None) if not n or (is_estimate and found) else clopper_pearson(int(found), n)
    return OpenedShare(
        told.limits, told.span, told.kind, told.distance, told.phones, told.guesses,
        min(1.0, keys * found / n) if n else None,
        How.ESTIMATED if is_estimate else How.MEASURED,
        None if low is None else min(1.0, keys * low),
        None if high is None else min(1.0, keys * high),
        n,
    )  # fmt: skip


def _open_to(asking: Asking, assumed: Assumed, life: float) -> int | None:
    """The least number of phones, up to the most assumed, that open nearly all of a uniform list."""

    def is_open(phones: int) -> bool:
        guesses = asking.guesses(phones, life, assumed.phone_pictures, Limit.ACCOUNT)
        return asking.extraction.share(int(guesses)) >= NEARLY

    low = 1
    high = max(assumed.phones)
    if not is_open(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_open(middle) else (middle + 1, high)
    return low


def _refused(pictures: int, days: float, rates: Rates) -> float:
    """The share of accounts that send more than so many pictures in so many days."""
    mean = rates.mean * days
    spread = rates.spread
    if pictures <= 0 or not days:
        return 1.0 if days else 0.0
    if not spread:
        return float(mean > pictures)
    return 1 - NormalDist().cdf((log(pictures / mean) + spread**2 / 2) / spread)


def share_of_busiest(pictures: float) -> float:
    """Return the share of accounts that send more than so many pictures in a year."""
    return _refused(int(pictures), YEAR, _rates())


def duration(seconds: float) -> str:
    """Return a time in the largest unit of which it has at least two, to two digits."""
    units = ((YEAR * DAY_SECONDS, "years"), (DAY_SECONDS, "days"), (3600, "hours"), (60, "minutes"))
    size, name = next(((size, name) for size, name in units if seconds >= 2 * size), (1, "seconds"))
    value = seconds / size
    return f"{value:.2g} {name}" if value < 99.5 else f"{value:,.0f} {name}"


def key_seconds(in_all: int | None, cost: int, volume: float) -> float | None:
    """Return how long all accounts together take to use a key up, each of `volume` pictures a day asked about
    once for `cost` units; None without a limit."""
    return None if in_all is None else DAY_SECONDS * in_all / (cost * volume)


def words_of_exhaustion(seconds: float | None, open_to: int | None) -> str:
    """Return "13 seconds, or the list is open to N phones" of a key that a volume uses up within a year.

    Return nothing of a key that lasts longer.
    """
    if seconds is None or seconds >= YEAR * DAY_SECONDS:
        return ""
    phones = "modified phones" if open_to is None else "1 phone" if open_to == 1 else f"{open_to:,} phones"
    return f"{duration(seconds)}, or the list is open to {phones}"


def _notice(asking: Asking, seconds: float | None, refused: Sequence[float | None], life: float) -> str:
    """What honest users notice of a key's limits."""
    said = []
    if seconds is not None:
        said.append(
            f"after {duration(seconds)} no device is answered until it has a set with a new key: pictures "
            "wait or leave unmatched, as the device is set"
        )
    if asking.limits and asking.limits.per_account is not None:
        pictures = asking.limits.per_account // asking.cost
        year, whole = (f"{share:.2%}" for share in refused if share is not None)
        said.append(
            f"an account is answered {pictures:,} pictures under one key: {year} of accounts send more in a "
            f"year, {whole} in {duration(life * DAY_SECONDS)}"
        )
    by_year = _by_year(asking)
    if by_year is not None:
        more = f"{_refused(by_year, YEAR, _rates()):.2%}"
        said.append(f"an account is answered {by_year:,} pictures a year: {more} of accounts send more")
    if asking.ends_days is not None:
        said.append(f"after {duration(asking.ends_days * DAY_SECONDS)} every device fetches a whole set")
    return "; ".join(said) or "nothing: asking has no limit"


def opened_alone(design: AnyDesign, values: dict[str, int], rng: Randomness) -> OpenDesign:
    """Return the design with a small uniform list, in memory, to read its parameters from."""
    hashes = np.frombuffer(rng.take(32 * ENTRIES), np.uint8).reshape(ENTRIES, 32)
    return opened(publish(design, hashes, rng, values=values))
