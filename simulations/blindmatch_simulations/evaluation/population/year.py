"""The model as data (``data/year.json``): what is expected of a year at a threshold of one match.

Whoever can evaluate expressions can compute it; the report's page does, too. The centre's queue is code.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, Final

import numpy as np

from blindmatch_simulations.data import committed
from blindmatch_simulations.evaluation.population.centre import worked
from blindmatch_simulations.evaluation.population.model import Model
from blindmatch_simulations.evaluation.population.outputs import OUTPUTS, of_run

_OPERATORS: Final[Mapping[str, Callable[..., float]]] = {
    "+": lambda *of: reduce(operator.add, of), "*": lambda *of: reduce(operator.mul, of),
    "-": operator.sub, "/": operator.truediv, "min": min, "max": max, "exp": math.exp, "log": math.log,
    "mod": operator.mod, "same": lambda a, b: float(a == b),
}  # fmt: skip
CENTRE: Final = (
    "staff", "minutes", "day_minutes", "days_a_week", "passes_false", "dismisses_true", "complains",
    "complaint_minutes", "transfer_days",
)  # fmt: skip


def parameters(model: Model) -> dict[str, float]:
    """The names that expressions may use, and those of the law of cascades: one number each."""
    inputs, behaviour = model.inputs, model.behaviour
    pictures, left = inputs.activity.pictures_a_day.value, inputs.cascades.left.value
    return {
        "accounts": model.accounts, "pictures": pictures, "files": inputs.material.files.value,
        "video": inputs.material.video.value, "sharing": int(model.sharers.sum()),
        "sharers_active": float(model.sharers @ model.rates) / pictures,
        "growth": inputs.list.growth.value, "epoch_days": inputs.list.epoch_days.value,
        "others": inputs.false_matches.others.value, "series": model.series, "left": left,
        "burned": left**model.cascades.burn_in, "cascades": inputs.cascades.benign.value,
        "cascades_known": inputs.cascades.known.value, "exponent": inputs.cascades.exponent.value,
        "largest": inputs.cascades.largest.value, "outage_chance": inputs.outages.chance.value,
        "outage_part": inputs.outages.part.value, "held_over": float(model.held_over),
        "modified": model.modified, "asks": float(behaviour.asks), "recall": model.recall,
        "unnoticed": model.unnoticed, "false_rate": behaviour.false_rate.value,
        "false_other": (behaviour.false_other or behaviour.false_rate).value,
        **{name: getattr(inputs.centre, name).value for name in CENTRE},
    }  # fmt: skip


def expected_of(model: Model) -> dict[str, float]:
    """Outputs of the whole run, by the data; `ValueError` if the model needs more than one match for a
    report, of which the data says nothing."""
    if model.threshold != 1:
        raise ValueError("threshold: the model as data is of one match")
    told = committed("year")
    known: dict[str, float] = {**parameters(model), "last_day": model.days - 1}
    for name, expression in (*told["fixed"], *told["before"]):
        known[name] = _evaluate(expression, known)
    days: dict[str, list[float]] = {name: [] for name in told["told"]}
    for day in range(model.days):
        known["day"] = day
        for name, expression in told["daily"]:
            known[name] = _evaluate(expression, known)
        for name, row in days.items():
            row.append(known[name])
        known |= {before: known[name] for before, name in told["left"].items()}
    rows = {name: np.array([row]) for name, row in days.items()}
    queue = worked(rows["true_reports"], rows["false_reports"], model.inputs.centre, None)
    rows |= {"backlog": queue.backlog, "people_needed": queue.people}
    return {name: float(of_run(name, row)[0]) for name, row in rows.items() if name in OUTPUTS}


def _evaluate(expression: Any, known: Mapping[str, float]) -> float:
    if isinstance(expression, str):
        return known[expression]
    if isinstance(expression, list):
        return _OPERATORS[expression[0]](*(_evaluate(one, known) for one in expression[1:]))
    return float(expression)
