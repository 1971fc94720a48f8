"""Figures from outside, each with its provenance: the option catalogue, volumes, the statistics form."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, Final

ASSUMPTION: Final = "assumption"
"""A mark of our own, for a number that has no source."""


TITLES: Final = {
    "eu_reports_2010": "Reports concerning the EU, 2010",
    "eu_reports_2019": "Reports concerning the EU, 2019",
    "eu_files_2019": "Files reported concerning the EU, 2019",
    "world_reports_2019": "Reports worldwide, 2019",
    "world_files_2019": "Files reported worldwide, 2019",
    "share_one_company_2019": "Share of reports from one company, 2019",
    "loss_under_e2ee": "Share of reports that E2EE would end",
    "icse_items_2020": "Items in the ICSE database, 2020",
    "eu27_reports": "Reports concerning the EU-27, by year",
    "ncmec_reports": "Reports to NCMEC, by year",
    "ncmec_photos_unique": "Unique photos reported to NCMEC, by year",
    "iwf_list": "Entries of the IWF's list, by year",
    "iwf_list_2024": "Entries of the IWF's list, 2024",
    "ncmec_list": "Entries of NCMEC's list",
    "messages_world_2019": "Messages of one messenger, 2019",
    "photos_world_2019": "Photos of one messenger, 2019",
    "photos_world_2016": "Photos of one messenger, 2016",
    "fpr_perceptual": "False matches of perceptual hashes",
    "fpr_classifier": "False positives of classifiers",
    "threshold_published": "Threshold of a published design",
    "account_error_published": "False accusations claimed by that design",
    "swiss_reports": "Reports to Switzerland, by year",
    "irish_reports_2020": "Reports to Ireland, 2020",
    "letter_example_2024": "Example of the scientists' letter, 2024",
}


def title(ident: str) -> str:
    """A figure from outside, for people; its id where it has no title."""
    return TITLES.get(ident, ident)


def options() -> list[dict[str, Any]]:
    """The rows of the option catalogue."""
    rows: list[dict[str, Any]] = _read("options")["options"]
    return rows


def options_note() -> str:
    """What is to be known of the catalogue."""
    held = _read("options")
    return f"{held['source']} {held['note']}"


def criteria() -> list[dict[str, str]]:
    """The five criteria with their questions."""
    rows: list[dict[str, str]] = _read("options")["criteria"]
    return rows


def volumes() -> dict[str, dict[str, Any]]:
    """Volume figures by id."""
    return {row["id"]: row for row in _read("volumes")["figures"]}


def statistics_form() -> dict[str, Any]:
    """The form of yearly statistics, with its error rate and what to be careful about."""
    form: dict[str, Any] = _read("statistics_form")["statistics_form"]
    return form


def assumptions() -> list[dict[str, str]]:
    """The register of assumptions."""
    rows: list[dict[str, str]] = _read("assumptions")["assumptions"]
    return rows


@cache
def _read(name: str) -> Any:
    return json.loads(files("blindmatch_simulations").joinpath("data", f"{name}.json").read_text("utf-8"))
