"""What becomes of 100 known files that are sent, in one design: a declared figure of the year's model.

Each file has one fate, the first that applies: it is a video, at which no design looks; the list does not
have it yet, or servers are away; its sender's client never asks; the matching does not recognise its edit; it
is held below a threshold; or it is found. So many of 100 are the year's expected counts times 100 over the
files sent, K a year for each account,

    fate of 100 = 100 E(count) / (accounts K days / 365),

and the fates sum to 100. Shares of videos, clients that never ask and edits are assumed: of all this, the
recall of each edit alone is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from blindmatch_simulations.evaluation.population.bands import expected
from blindmatch_simulations.evaluation.population.inputs import YEAR, Inputs, with_value
from blindmatch_simulations.evaluation.population.model import Behaviour, Model, model

UNIT: Final = "of 100 known files sent"
DERIVATION: Final = (
    "100 times the expected count of a year over all known files sent; shares of videos, of clients that "
    "never ask and of edits are assumed, the recall of each edit is measured"
)
FATES: Final[Mapping[str, str]] = {
    "video": "video",
    "away": "not listed yet, or servers away",
    "modified": "client that never asks",
    "unrecognised": "edit not recognised",
    "held": "held below the threshold",
    "found": "found",
}
"""In the order in which they apply, and in words."""
MOVED: Final = (("material", "video"), ("clients", "modified"))
"""Two assumed shares that alone decide most of what is found."""


def of_hundred(its: Model) -> dict[str, float]:
    """Return how many of 100 known files sent have each fate."""
    told = expected(its)
    sent = its.known * its.days
    counts = {
        "video": told.video.sum(),
        "away": told.late.sum() + told.down.sum(),
        "modified": told.modified.sum(),
        "unrecognised": told.unrecognised.sum(),
        "held": told.held[-1],
        "found": told.true.sum(),
    }
    return {name: float(100 * counts[name] / sent) for name in FATES}


def found_between(inputs: Inputs, behaviour: Behaviour, accounts: int) -> tuple[float, float]:
    """Return `found` with the assumed shares of videos and of modified clients at their high and at their low
    ends, and all else as it is."""
    ends = []
    for end in ("high", "low"):
        moved = inputs
        for part, field in MOVED:
            figure = getattr(getattr(inputs, part), field)
            value = getattr(figure, end)
            moved = with_value(moved, part, field, figure.value if value is None else value)
        ends.append(of_hundred(model(moved, behaviour, accounts, YEAR))["found"])
    return ends[0], ends[1]


def declared(its: Model) -> dict[str, Any]:
    """Return the figure with its unit and its derivation, as the JSON has it."""
    low, high = found_between(its.inputs, its.behaviour, its.accounts)
    return {
        "unit": UNIT,
        "derivation": DERIVATION,
        "fates": of_hundred(its),
        "found_by_two_assumed_shares": [low, high],
    }
