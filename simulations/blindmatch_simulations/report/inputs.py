"""The inputs of the chosen scale: defaults, bounds, and where each default comes from.

What `population` supposes of a year, too, is read from its inputs.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from blindmatch_simulations.data import volumes
from blindmatch_simulations.evaluation.population.inputs import Figure, read_inputs
from blindmatch_simulations.evaluation.population.model import YEAR

ASSUMPTION: Final = "assumption"
"""A mark of our own, for a number that has no source."""


class Input(Struct, frozen=True):
    """An input: its default, its bounds, and where the default comes from."""

    ident: str
    label: str
    value: float
    least: float
    most: float
    source: str = "no source"
    provenance: str = ASSUMPTION


def inputs() -> list[Input]:
    """The inputs with their defaults; of `list`, 0 is the run's own."""
    year, rate = read_inputs(None), volumes()["fpr_perceptual"]
    accounts, sent, centre = year.accounts.number, year.activity.pictures_a_day, year.centre
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
        ),
        Input("list", "entries of the list; 0: this run's", 0, 0, 1e10, "the run"),
        _of_year("prevalence", "share that is listed", year.material.prevalence, 0, 1),
        _of_year("minutes", "minutes of review a report", centre.minutes, 0, 1e5),
        _of_year("day", "minutes of review a person and day", centre.day_minutes, 1, 1440),
        _of_year("devices", "devices", accounts, 0, 1e11),
        _of_year("setups", "whole set-ups a device and year", year.accounts.setups_a_year, 0, 1e5),
        Input("updates", "updates a day", 1 / year.list.epoch_days.value, 0, 1e5),
        Input("threshold", "matches before anything is opened", 30, 1, 1000, "a published design"),
        Input("items", "pictures an account and year", sent.value * YEAR, 0, 1e9, yearly),
        Input("rate", "false matches a picture", rate["high"], 0, 1, upper, rate["provenance"]),
    ]


def _of_year(ident: str, label: str, figure: Figure[Any], least: float, most: float) -> Input:
    return Input(ident, label, figure.value, least, most, figure.source, figure.provenance)
