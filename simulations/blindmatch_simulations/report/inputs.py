"""The inputs of the chosen scale: defaults, bounds, and where each default comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from blindmatch_simulations.data import volumes

ASSUMPTION: Final = "assumption"
"""A mark of our own, for a number that has no source."""
EU_SHARE: Final = 0.06
DAYS: Final = 365


@dataclass(frozen=True, slots=True)
class Input:
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
    known = volumes()
    photos, reported, rate = known["photos_world_2019"], known["eu_files_2019"], known["fpr_perceptual"]
    volume = photos["value"] * EU_SHARE
    of_photos = f"{photos['value']:,} photos a day ({photos['provenance']}, {photos['source']})"
    of_reports = f"{reported['value']:,} files in 2019 ({reported['provenance']}, {reported['source']})"
    share = f"{of_photos}, times an EU share of {EU_SHARE} without a source"
    upper = f"{rate['source']}: the upper end of {rate['low']} to {rate['high']}"
    listed, over = reported["value"] / DAYS / volume, f"{of_reports}, over that volume"
    return [
        Input("volume", "photos a day (an estimate for the EU)", volume, 0, 1e13, share),
        Input("list", "entries of the list; 0: this run's", 0, 0, 1e10, "the run"),
        Input("prevalence", "share that is listed", listed, 0, 1, over),
        Input("minutes", "minutes of review a report", 10, 0, 1e5),
        Input("day", "minutes of review a person and day", 400, 1, 1440),
        Input("devices", "devices", volume, 0, 1e11, "one photo a device and day, without a source"),
        Input("setups", "whole set-ups a device and year", 12, 0, 1e5),
        Input("updates", "updates a day", 1, 0, 1e5),
        Input("threshold", "matches before anything is opened", 30, 1, 1000, "a published design"),
        Input("items", "pictures an account and year", 4000, 0, 1e9),
        Input("rate", "false matches a picture", rate["high"], 0, 1, upper, rate["provenance"]),
    ]
