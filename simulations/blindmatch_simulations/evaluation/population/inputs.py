"""Inputs of a run: one TOML file, a unit, a source and a provenance for every figure."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from math import isclose, isfinite
from pathlib import Path
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import msgspec
from blindmatch_protocol.codec.errors import BlindmatchError
from msgspec.structs import replace

from blindmatch_simulations.data import text_at
from blindmatch_simulations.measure.results import Strict
from blindmatch_simulations.testbed.pictures.crops import BY_NAME

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Whole = Annotated[int, msgspec.Meta(ge=1)]
Assumed = Literal["nothing", "rate", "photographs", "mixed"]
Provenance = Literal["verified", "secondary", "recalled", "assumption"]
T = TypeVar("T", int, float)


class Sourced(Strict, frozen=True):
    """Attributes:
    source: where the figure is from, or why it was assumed.
    provenance: verified at its source, secondary, recalled, or an assumption of ours.
    """

    source: str
    provenance: Provenance


class Figure(Sourced, Generic[T], frozen=True):
    """A number; `low` and `high`, both or none, are what the sensitivity moves it to."""

    value: T
    unit: str
    low: T | None = None
    high: T | None = None


Share = Figure[Fraction]
Amount = Figure[Annotated[float, msgspec.Meta(ge=0)]]
Positive = Figure[Annotated[float, msgspec.Meta(gt=0)]]
Counted = Figure[Whole]


VERSION: Final = 4
YEAR: Final = 365
COMMITTED: Final = "population.toml"

BOUNDS: Final[Mapping[tuple[str, str], tuple[float, float]]] = {
    ("activity", "pictures_a_day"): (0, 1e5),
    ("activity", "spread"): (0, 5),
    ("material", "sharers"): (1e-9, 1),
    ("material", "shape"): (1e-3, 1e3),
    ("cascades", "exponent"): (0, 20),
    ("cascades", "left"): (0, 0.99),
    ("list", "growth"): (1, 1000),
    ("centre", "threshold"): (1, 1000),
    ("centre", "days_a_week"): (1, 7),
}
"""Least and most of figures that have further bounds."""


class PopulationError(BlindmatchError):
    """Inputs, a results file or an interrupted run cannot be used."""


class Accounts(Strict, frozen=True):
    """Attributes:
    number: of accounts; `--accounts` replaces it.
    setups_a_year: whole set-ups that an account's devices fetch in a year.
    """

    number: Counted
    setups_a_year: Amount


class Activity(Strict, frozen=True):
    """Attributes:
    pictures_a_day: sent by an account, mean.
    spread: of the logarithm of an account's rate (sigma of a log-normal distribution).
    peak: pictures of the busiest hour over the mean.
    retries: queries that are asked again in whole, over pictures; servers and keys count each.
    """

    pictures_a_day: Positive
    spread: Amount
    peak: Positive
    retries: Share


class Material(Strict, frozen=True):
    """Known material.

    Attributes:
        files: sends of known material, pictures and videos, an account and year.
        sharers: share of accounts that send any of it.
        shape: of the gamma distribution of a sharer's rate; the smaller, the fewer send most of it.
        video: share of it that is video, which no design looks at.
    """

    files: Amount
    sharers: Share
    shape: Positive
    video: Share


class Edits(Sourced, frozen=True):
    """Attributes:
    mix: share of sends of known pictures by the edit of `assess` that they had on the way; sums to 1.
    """

    mix: dict[str, Fraction]


class Cascades(Strict, frozen=True):
    """Pictures that many send: all copies match, or none.

    Attributes:
        benign, known: share of sends, of all pictures and of known material, that belong to a cascade.
        exponent: cascades of twice the size are rarer by two to this power.
        largest: sends of the largest one; never more than there are accounts, or for known material sharers.
        left: share of a cascade's sends that is still to come after each of its days.
    """

    benign: Share
    known: Share
    exponent: Positive
    largest: Positive
    left: Share


class FalseMatches(Strict, frozen=True):
    """Attributes:
    assume: the rate of all designs: none, so that what depends on it is not known; `rate`; or what was
        measured of all kinds of pictures against a list of a kind, scaled to the list's length.
    rate: per picture, the mean of a year; `literature` has it anyway.
    series: like pictures of its own that an account sends on one day, all of which match or none.
    """

    assume: Assumed
    rate: Share
    series: Counted


class Listing(Strict, frozen=True):
    """Attributes:
    entries: of the list on the first day.
    growth: entries after a year over those before it.
    epoch_days: days between two published epochs.
    """

    entries: Counted
    growth: Positive
    epoch_days: Counted


class Outages(Strict, frozen=True):
    """Attributes:
    chance: that a day has an outage of what devices ask.
    part: of the day that it lasts.
    mode: hold or later: pictures are matched the next day; unmatched: they never are.
    """

    chance: Share
    part: Share
    mode: Literal["hold", "later", "unmatched"]


class Clients(Strict, frozen=True):
    """Share of sharers whose client never asks."""

    modified: Share


class Keys(Strict, frozen=True):
    """Days for which a matcher's key is used, where a design limits what it may be asked for."""

    life_days: Counted


class Centre(Strict, frozen=True):
    """Attributes:
    threshold: matches of an account before any is reported.
    staff: people who review.
    minutes: of review for a report.
    day_minutes: that a person reviews in a shift.
    days_a_week: on which there are shifts, the first ones of each seven days.
    passes_false, dismisses_true: share of false reports that are forwarded, of true ones that are not.
    complains: share of wrongly forwarded reports whose account complains.
    complaint_minutes: of work for a complaint.
    transfer_days: from a decision until the authority has the report.
    """

    threshold: Counted
    staff: Positive
    minutes: Positive
    day_minutes: Positive
    days_a_week: Counted
    passes_false: Share
    dismisses_true: Share
    complains: Share
    complaint_minutes: Amount
    transfer_days: Amount


class Calibration(Sourced, frozen=True):
    """A year of one country that is foretold from the EU's reports a head, and what was counted there.

    Attributes:
        eu_reports: concerning the EU-27 in that year, or in the year that `note` names.
        relevant: share of reports that is taken to be forwarded.
    """

    name: str
    inhabitants: Whole
    eu_reports: Whole
    eu_inhabitants: Whole
    received: Whole
    relevant: Fraction
    forwarded: Whole | None = None
    note: str = ""


class Inputs(Strict, frozen=True):
    """An inputs file, version 3."""

    version: int
    name: str
    accounts: Accounts
    activity: Activity
    material: Material
    edits: Edits
    cascades: Cascades
    false_matches: FalseMatches
    list: Listing
    outages: Outages
    clients: Clients
    keys: Keys
    centre: Centre
    calibration: tuple[Calibration, ...] = ()


def read_inputs(path: Path | None) -> Inputs:
    """The inputs in the file at `path`, by default the committed ones; `PopulationError` if it cannot be
    read, or a field breaks a rule; the text names both."""
    try:
        inputs = msgspec.convert(tomllib.loads(text_at(path, COMMITTED, PopulationError)), Inputs)
    except (ValueError, RecursionError) as error:
        raise PopulationError(f"inputs: not TOML: {error}") from error
    except msgspec.ValidationError as error:
        rule, _, field = str(error).partition(" - at `$.")
        raise PopulationError(f"inputs: {field.rstrip('`') or 'file'}: {rule}") from error
    _check(inputs)
    return inputs


def figures(inputs: Inputs) -> Iterator[tuple[str, str, Figure[Any]]]:
    """Every figure with the names of its part and of its field."""
    for part in inputs.__struct_fields__:
        held = getattr(inputs, part)
        for field in getattr(held, "__struct_fields__", ()):
            figure = getattr(held, field)
            if isinstance(figure, Figure):
                yield part, field, figure


def with_value(inputs: Inputs, part: str, field: str, value: float) -> Inputs:
    held = getattr(inputs, part)
    changed: dict[str, Any] = {field: replace(getattr(held, field), value=value)}
    return replace(inputs, **{part: replace(held, **changed)})


def with_mix(inputs: Inputs, words: str) -> Inputs:
    """Return the inputs with another mix of edits, written as ``EDIT=SHARE,EDIT=SHARE``; `PopulationError` if
    an edit is not known, a share is no number from 0 to 1, or they do not sum to 1."""
    mix: dict[str, float] = {}
    for word in words.split(","):
        name, _, share = word.strip().rpartition("=")
        try:
            value = float(share)
        except ValueError:
            value = -1.0
        if not name or name in mix or not 0 <= value <= 1:
            raise PopulationError(f"--mix: {word.strip()}: write each edit once, as EDIT=SHARE from 0 to 1")
        mix[name] = value
    changed = replace(inputs, edits=Edits("--mix", "assumption", mix))
    _check(changed)
    return changed


def with_rate(inputs: Inputs, rate: float) -> Inputs:
    """Return the inputs with a false-match rate that is assumed of all designs."""
    figure = replace(inputs.false_matches.rate, value=rate, low=None, high=None, source="--rate")
    return replace(inputs, false_matches=replace(inputs.false_matches, assume="rate", rate=figure))


def _check(inputs: Inputs) -> None:
    if inputs.version != VERSION:
        raise PopulationError(f"inputs: version: {inputs.version}; this program reads {VERSION}")
    for part, field, figure in figures(inputs):
        least, most = BOUNDS.get((part, field), (0, float("inf")))
        ends = [one for one in (figure.low, figure.value, figure.high) if one is not None]
        if not all(isfinite(one) and least <= one <= most for one in ends):
            rule = f"from {least:g} to {most:g}" if isfinite(most) else "finite"
            raise PopulationError(f"inputs: {part}.{field}: must be {rule}")
        if len(ends) == 2 or ends != sorted(ends):
            words = "needs low <= value <= high, or neither low nor high"
            raise PopulationError(f"inputs: {part}.{field}: {words}")
    if inputs.material.files.value > YEAR * inputs.activity.pictures_a_day.value:
        raise PopulationError("inputs: material.files: must not be more than the pictures of a year")
    mix = inputs.edits.mix
    unknown = [name for name in mix if name not in BY_NAME]
    if unknown:
        raise PopulationError(f"inputs: edits.mix: no edit is called {', '.join(unknown)}")
    if not isclose(sum(mix.values()), 1, abs_tol=1e-9):
        raise PopulationError(f"inputs: edits.mix: must sum to 1, not {sum(mix.values()):.6g}")
