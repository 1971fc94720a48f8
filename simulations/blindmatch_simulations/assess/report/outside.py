"""Figures from outside, each with its provenance: the option catalogue, volumes, the statistics form."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, Final

ASSUMPTION: Final = "assumption"
"""A mark of our own, for a number that has no source."""


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
