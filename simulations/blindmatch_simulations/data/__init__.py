"""Committed data: the option catalogue, figures from outside, plain words, workloads."""

from __future__ import annotations

import json
import tomllib
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def committed(name: str) -> Any:
    """What ``data/NAME.json`` holds; read once, and not to be changed."""
    return json.loads(files(__package__).joinpath(f"{name}.json").read_text("utf-8"))


def volumes() -> dict[str, dict[str, Any]]:
    """Figures from outside by id, each with its title, unit, source and provenance."""
    return {row["id"]: row for row in committed("volumes")["figures"]}


def eu_photos() -> float:
    """Photos of the EU in a day, as the inputs of `population` suppose them."""
    year = tomllib.loads(files(__package__).joinpath("population.toml").read_text("utf-8"))
    accounts, sent = year["accounts"]["number"], year["activity"]["pictures_a_day"]
    return float(accounts["value"] * sent["value"])
