"""The year on the report's page: what its script needs to compute what `population` does, and the inputs."""

from __future__ import annotations

from functools import cache
from math import ceil
from typing import Any, Final

from blindmatch_protocol.designs.threshold_psi.shares import COORDINATES
from msgspec import Struct, to_builtins
from msgspec.structs import replace

from blindmatch_simulations.data import committed, volumes
from blindmatch_simulations.evaluation.assess.results import Results
from blindmatch_simulations.evaluation.population.fates import DERIVATION, FATES, UNIT
from blindmatch_simulations.evaluation.population.inputs import YEAR, Figure, figures, read_inputs
from blindmatch_simulations.evaluation.population.model import (
    LITERATURE,
    MEASURED,
    Model,
    literature,
    mean_entries,
    model,
)
from blindmatch_simulations.evaluation.population.running import Subject, subjects
from blindmatch_simulations.evaluation.population.threshold import Contrast, hiding

CENTRE: Final = (
    "staff", "minutes", "day_minutes", "days_a_week", "passes_false", "dismisses_true", "complains",
    "complaint_minutes", "transfer_days",
)  # fmt: skip
ASSUMPTION: Final = "assumption"
"""A mark of our own, for a number that has no source."""


class Input(Struct, frozen=True):
    """An input: its default, its bounds, where the default comes from; a slider's ends and its label."""

    ident: str
    label: str
    value: float
    least: float
    most: float
    source: str = "no source"
    provenance: str = ASSUMPTION
    slide: tuple[float, float] | None = None
    short: str = ""


def inputs() -> list[Input]:
    """The inputs with their defaults; of `list`, 0 is the run's own, and of a year that of its inputs."""
    year = read_inputs(None)
    rate = volumes()["fpr_perceptual"]
    price = volumes()["data_price"]
    accounts = year.accounts.number
    sent = year.activity.pictures_a_day
    centre = year.centre
    files = year.material.files
    modified = year.clients.modified
    known = replace(files, value=round(files.value * accounts.value))
    each = f"{sent.value} for each of {accounts.value:,} accounts: {sent.source}"
    yearly = f"{YEAR} days of {sent.value}: {sent.source}"
    upper = f"{rate['source']}: the upper end of {rate['low']} to {rate['high']}"
    return [
        Input(
            "volume",
            "photos a day (EU share of one messenger's peak day)",
            sent.value * accounts.value,
            0,
            1e13,
            each,
            slide=(1e6, 1e11),
            short="photos a day",
        ),
        Input(
            "list",
            "entries of the list; 0: this run's, and of a year its inputs'",
            0,
            0,
            1e10,
            "the run",
            slide=(1e3, 1e8),
            short="list length",
        ),
        _of_year(
            "files",
            "files reported a year, assumed to be known ones",
            known,
            0,
            1e12,
            (1e4, 1e9),
            "assumed known, a year",
        ),
        Input(
            "errors",
            "false matches a picture; 0: not known",
            0,
            0,
            1,
            "none: no test here tells",
            slide=(1e-9, 0.1),
            short="false-match rate",
        ),
        _of_year(
            "modified",
            "share of sharers whose client never asks",
            modified,
            0,
            1,
            (0, 1),
            "clients that never ask",
        ),
        _of_year("staff", "reviewers", centre.staff, 1, 1e6, (10, 500), "reviewers"),
        Input(
            "design",
            "design of the year, by its place; the last: the literature's rate",
            0,
            0,
            1000,
            "the page",
        ),
        _of_year("minutes", "minutes of review a report", centre.minutes, 0, 1e5),
        _of_year("day", "minutes of review a person and day", centre.day_minutes, 1, 1440),
        _of_year("devices", "devices", accounts, 0, 1e11),
        _of_year("setups", "whole set-ups a device and year", year.accounts.setups_a_year, 0, 1e5),
        Input("updates", "updates a day", 1 / year.list.epoch_days.value, 0, 1e5),
        Input(
            "threshold", "matches before a published design opens anything", 30, 1, 1000, "a published design"
        ),
        Input("items", "pictures an account and year", sent.value * YEAR, 0, 1e9, yearly),
        Input(
            "rate", "false matches a picture, for a threshold", rate["high"], 0, 1, upper, rate["provenance"]
        ),
        Input("price", "euro a gigabyte", price["value"], 0, 1e6, price["source"], price["provenance"]),
    ]


def _of_year(
    ident: str,
    label: str,
    figure: Figure[Any],
    least: float,
    most: float,
    slide: tuple[float, float] | None = None,
    short: str = "",
) -> Input:
    value = figure.value
    source = figure.source
    provenance = figure.provenance
    return Input(ident, label, value, least, most, source, provenance, slide, short)


RENAMED: Final = {
    "accounts.number": "accounts", "activity.pictures_a_day": "pictures", "material.sharers": "share_sharing",
    "cascades.benign": "cascades", "cascades.known": "cascades_known", "outages.chance": "outage_chance",
    "outages.part": "outage_part",
}  # fmt: skip
"""As the model's data calls them, where that is not the field's own name."""


def parameters(of: Model) -> dict[str, float]:
    """The names that expressions of ``data/year.json`` may use, and the law of cascades: one number each."""
    inputs = of.inputs
    behaviour = of.behaviour
    pictures = inputs.activity.pictures_a_day.value
    left = inputs.cascades.left.value
    return {
        "accounts": of.accounts, "pictures": pictures, "files": inputs.material.files.value,
        "video": inputs.material.video.value, "sharing": int(of.sharers.sum()),
        "sharers_active": float(of.sharers @ of.rates) / pictures,
        "growth": inputs.list.growth.value, "epoch_days": inputs.list.epoch_days.value,
        "series": of.series, "left": left,
        "burned": left**of.cascades.burn_in, "cascades": inputs.cascades.benign.value,
        "cascades_known": inputs.cascades.known.value, "exponent": inputs.cascades.exponent.value,
        "largest": inputs.cascades.largest.value, "outage_chance": inputs.outages.chance.value,
        "outage_part": inputs.outages.part.value, "held_over": float(of.held_over),
        "modified": of.modified, "asks": float(behaviour.asks), "recall": of.recall,
        "unnoticed": of.unnoticed, "threshold": of.threshold, "period": of.period,
        "life_days": inputs.keys.life_days.value,
        "shape": inputs.material.shape.value,
        "false_rate": 0.0 if behaviour.false_rate is None else behaviour.false_rate.value,
        **{name: getattr(inputs.centre, name).value for name in CENTRE},
    }  # fmt: skip


def classes(of: Model) -> list[list[float]]:
    """Of each class of activity: its rate over the mean one, its share of accounts and of sharers."""
    pictures = of.inputs.activity.pictures_a_day.value
    sharing = max(1, int(of.sharers.sum()))
    return [
        [float(rate) / pictures, int(count) / of.accounts, int(sharers) / sharing]
        for rate, count, sharers in zip(of.rates, of.counts, of.sharers, strict=True)
    ]


@cache
def year_inputs() -> dict[str, Any]:
    """What the page needs to compute what `population` does: the model, parameters, inputs with ends."""
    year = read_inputs(None)
    its = model(year, literature(year), year.accounts.number.value, YEAR)
    contrast = Contrast()
    base = {**parameters(its), "share_sharing": year.material.sharers.value}
    ends = [
        {"name": name, "ends": [one.value, one.low, one.high], "whole": isinstance(one.value, int)}
        for part, field, one in figures(year)
        if (name := RENAMED.get(f"{part}.{field}", field)) in {*base, "rate"} and one.low is not None
    ]
    return {
        "model": committed("year"),
        "base": base,
        "classes": classes(its),
        "uncertain": ends,
        "entries": mean_entries(year, YEAR),
        "list": {name: to_builtins(getattr(year.list, name)) for name in ("entries", "growth")},
        "mix": {"shares": year.edits.mix, "source": year.edits.source, "provenance": year.edits.provenance},
        "fates": FATES,
        "hundred": {"unit": UNIT, "derivation": DERIVATION},
        "ends": {"video": _ends(year.material.video), "modified": _ends(year.clients.modified)},
        "staff_most": year.centre.staff.high or year.centre.staff.value,
        "load": {name: to_builtins(getattr(year.activity, name)) for name in ("peak", "retries")},
        "literature": _year_behaviour(Subject(LITERATURE, literature(year))),
        "thresholds": {**to_builtins(contrast), "needed": contrast.needed()},
    }


def _ends(figure: Figure[Any]) -> dict[str, Any]:
    return {"low": figure.low, "high": figure.high}


def year_behaviours(results: Results) -> list[dict[str, Any]]:
    """How each design of a run behaves, as `population` reads it; those that lack a figure are left out."""
    found = subjects(results, read_inputs(None), [])
    return [_year_behaviour(one) for one in found if one.behaviour is not None and one.reference]


def _year_behaviour(one: Subject) -> dict[str, Any]:
    behaviour = one.behaviour
    year = read_inputs(None)
    assert behaviour is not None
    pictures = ceil(year.activity.pictures_a_day.value * year.keys.life_days.value)
    source = f"found, of the mix of edits below: {behaviour.recall.source}"
    if behaviour.assumed and behaviour.false_rate is not None:
        source += f"; wrongly matched: {behaviour.false_rate.source}"
    return {
        "name": one.design, "asks": float(behaviour.asks), "assumed": behaviour.assumed, "source": source,
        "ranges": {name: to_builtins(getattr(behaviour, name)) for name in MEASURED},
        "threshold": behaviour.threshold, "by_period": behaviour.by_period, "made_up": behaviour.made_up,
        "always": hiding(behaviour.threshold, pictures, behaviour.made_up, COORDINATES).utility,
        "false": to_builtins(one.known_false),
    }  # fmt: skip
