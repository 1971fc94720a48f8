"""Years that were counted, foretold by the model from the EU's reports a head; the rest is the residual."""

from __future__ import annotations

from typing import Any

import numpy as np

from blindmatch_simulations.evaluation.population.bands import totals
from blindmatch_simulations.evaluation.population.behaviour import Behaviour, Range
from blindmatch_simulations.evaluation.population.inputs import Calibration, Inputs, with_value
from blindmatch_simulations.evaluation.population.model import YEAR, model


def calibrated(inputs: Inputs, seed: int) -> list[dict[str, Any]]:
    """For each year: what is expected with its 95 % band, what was counted, and the difference.

    A provider that reads messages stands behind these counts, so that what the model misses elsewhere (video,
    outages, modified clients, edits) is left out; a report is a match.
    """
    return [_year(inputs, one, seed) for one in inputs.calibration]


def _year(inputs: Inputs, one: Calibration, seed: int) -> dict[str, Any]:
    a_head = one.eu_reports / one.eu_inhabitants
    prevalence = a_head / YEAR / inputs.activity.pictures_a_day.value
    for part, field, value in (
        ("material", "prevalence", prevalence), ("material", "video", 0.0), ("outages", "chance", 0.0),
        ("list", "growth", 1.0), ("clients", "modified", 0.0), ("centre", "threshold", 1),
    ):  # fmt: skip
        inputs = with_value(inputs, part, field, value)
    zero = Range.exactly(0)
    found = totals(
        model(inputs, Behaviour(Range.exactly(1), zero, zero, False), one.inhabitants, YEAR), seed,
        purpose=f"calibration {one.name}",
    )  # fmt: skip
    expected = a_head * one.inhabitants
    low, high = np.quantile(found.true.sum(axis=1), [0.025, 0.975])
    made: dict[str, Any] = {name: getattr(one, name) for name in ("name", "source", "provenance", "note")}
    made["received"] = _residual(expected, low, high, one.received)
    if one.forwarded is not None:
        share = one.relevant
        made["forwarded"] = _residual(share * expected, share * low, share * high, one.forwarded)
    return made


def _residual(expected: float, low: float, high: float, counted: int) -> dict[str, Any]:
    """The residual is counted less expected, also as a share of what was expected."""
    return {
        "expected": round(expected), "low": round(float(low)), "high": round(float(high)), "counted": counted,
        "residual": counted - round(expected), "residual_share": round(counted / expected - 1, 4),
        "within": bool(low <= counted <= high),
    }  # fmt: skip
