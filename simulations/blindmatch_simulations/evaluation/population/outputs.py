"""Outputs of a design (docs/population.md): the value of each day and of the run, a 95 % band,
and which unknown matters: every output with one figure at a time moved to its ends (a tornado)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import floor
from typing import Any, Final, Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.evaluation.population.bands import expected, totals
from blindmatch_simulations.evaluation.population.centre import worked
from blindmatch_simulations.evaluation.population.counts import Count
from blindmatch_simulations.evaluation.population.inputs import Inputs, figures, with_value
from blindmatch_simulations.evaluation.population.model import (
    YEAR,
    Behaviour,
    Counts,
    Floats,
    Model,
    Range,
    model,
    stream,
)
from blindmatch_simulations.measure.results import Figure, significant

Reduce = Literal["sum", "mean", "last", "max"]
MS_PER_DAY: Final = 86_400_000
NO_LIMIT: Final = "nothing to measure: the design limits no key"
REPORTS: Final = "report_bytes"
QUANTILES: Final = (0.025, 0.975)
CORNERS: Final = (("value", "value"), ("low", "high"), ("high", "low"), ("low", "low"), ("high", "high"))
"""Ends of the rates, and of the share that goes unnoticed: the less goes unnoticed, the more is reported."""


class Output(Struct, frozen=True):
    """Attributes:
    unit: of a day's value.
    run: what the value of a run is: the sum, mean, last or largest of its days.
    """

    unit: str
    run: Reduce


COUNTED: Final[Mapping[str, Output]] = {
    "true_reports": Output("reports", "sum"),
    "false_reports": Output("reports", "sum"),
    "accounts_wrong": Output("accounts", "sum"),
    "missed_video": Output("sends", "sum"),
    "missed_unlisted": Output("sends", "sum"),
    "missed_modified": Output("sends", "sum"),
    "missed_outage": Output("sends", "sum"),
    "missed_unrecognised": Output("sends", "sum"),
    "held_by_threshold": Output("matches", "last"),
}
QUEUED: Final[Mapping[str, Output]] = {
    "backlog": Output("reports", "last"),
    "oldest_days": Output("days", "max"),
    "people_needed": Output("people", "mean"),
    "forwarded_true": Output("reports", "sum"),
    "forwarded_false": Output("reports", "sum"),
    "dismissed_true": Output("reports", "sum"),
    "complaints": Output("complaints", "sum"),
    "delay_days": Output("days", "mean"),
}
LOADS: Final[Mapping[str, Output]] = {
    "server_cores": Output("cores", "mean"),
    "query_up_bytes": Output("bytes", "sum"),
    "query_down_bytes": Output("bytes", "sum"),
    "report_bytes": Output("bytes", "sum"),
    "setup_bytes": Output("bytes", "sum"),
    "update_bytes": Output("bytes", "sum"),
    "keys_used": Output("keys", "sum"),
    "accounts_over_key": Output("accounts", "mean"),
}
OUTPUTS: Final[Mapping[str, Output]] = {**COUNTED, **QUEUED, **LOADS}


_REDUCED: Final[Mapping[Reduce, Callable[..., Any]]] = {
    "sum": np.sum, "mean": np.mean, "max": np.max, "last": lambda days, axis: days[..., -1],
}  # fmt: skip


def of_run(name: str, days: Floats) -> Floats:
    """The value of a run, of days on the last axis."""
    return np.asarray(_REDUCED[OUTPUTS[name].run](days, axis=-1))


def of_counts(counts: Counts, model: Model, rng: np.random.Generator) -> dict[str, Floats]:
    """Outputs of a day, from the sums over all blocks, (1, days) each; what was not measured is left out."""
    rows = [counts[row].astype(float)[None] for row in Count if row is not Count.MATCHED]
    held = np.cumsum(counts[Count.MATCHED] - counts[Count.TRUE]).astype(float)[None]
    return _all(dict(zip(COUNTED, (*rows, held), strict=True)), model, rng)


def of_expected(model: Model) -> dict[str, Floats]:
    """The same as expected, (1, days) each; the queue is that of a flow, without chance.

    Left out is also what has no closed form: accounts with a false report, at a threshold above 1.
    """
    found = expected(model)
    accounts = None if found.accounts is None else np.full(model.days, found.accounts / model.days)
    missed = (found.video, found.late, found.modified, found.down, found.unrecognised)
    rows = (found.true, found.false, accounts, *missed, np.cumsum(found.matched - found.true))
    named = {name: row[None] for name, row in zip(COUNTED, rows, strict=True) if row is not None}
    return _all(named, model, None)


def _all(named: dict[str, Floats], model: Model, rng: np.random.Generator | None) -> dict[str, Floats]:
    """With queue and load."""
    made = worked(named["true_reports"], named["false_reports"], model.inputs.centre, rng)
    queued = {name: getattr(made, field) for name, field in zip(QUEUED, made.__struct_fields__, strict=True)}
    loads = {
        name: figure.value * number[None]
        for name, (figure, number) in load(model).items()
        if figure.value is not None
    }
    if REPORTS in loads:
        loads[REPORTS] = loads[REPORTS] * (named["true_reports"] + named["false_reports"])
    return {**named, **queued, **loads}


def banded(model: Model, seed: int) -> dict[str, Any]:
    """By output: what is expected of a run, and where 95 % of runs lie at either end of what was measured.

    The ends are those of the design's measured rates together, and of what goes unnoticed; costs have no
    band but what reports give.
    """
    sets: list[tuple[Behaviour, dict[str, Floats]]] = []
    for ends in CORNERS:
        its = replace(model, behaviour=model.behaviour.at(*ends))
        if not any(its.behaviour == other for other, _ in sets):
            named = dict(zip(COUNTED, totals(its, seed), strict=True))
            sets.append((its.behaviour, _all(named, its, stream(seed, "bands", "centre"))))
    return {
        "expected": {name: _plain(of_run(name, rows)[0]) for name, rows in of_expected(model).items()},
        "bands": {
            name: {"days": _quantiles([found[name] for _, found in sets]),
                   "run": _quantiles([of_run(name, found[name])[:, None] for _, found in sets])}
            for name in sets[0][1]
            if name not in LOADS or name == REPORTS
        },
    }  # fmt: skip


def _quantiles(sets: Sequence[Floats]) -> list[list[float | int]]:
    """The lower and the upper ends, (runs, n) each, the widest of all sets."""
    ends = [np.quantile(rows, QUANTILES, axis=0) for rows in sets]
    return [
        [_plain(one) for one in np.min([low for low, _ in ends], axis=0)],
        [_plain(one) for one in np.max([high for _, high in ends], axis=0)],
    ]


def described(
    value: Mapping[str, Floats], found: Mapping[str, Any], model: Model
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the JSON says of a run and of its days; a band is widened to hold the run that is shown.

    Args:
        value: of the one run, (1, days) each.
        found: as `banded` gives it.
    """
    whys = {name: figure.why for name, (figure, _) in load(model).items()}
    run: dict[str, Any] = {}
    day: dict[str, Any] = {}
    for name, output in OUTPUTS.items():
        about = {"unit": output.unit, "of_days": output.run, "value": None}
        if name not in value:
            run[name] = {**about, "why": whys[name]}
            continue
        band = found["bands"].get(name, {"days": None, "run": None})
        whole = _shown(of_run(name, value[name])[:, None], band["run"])
        run[name] = {**about, **{end: row and row[0] for end, row in whole.items()}}
        run[name]["expected"] = found["expected"].get(name)
        day[name] = _shown(value[name], band["days"])
    return run, day


def _shown(value: Floats, band: Sequence[Sequence[float]] | None) -> dict[str, list[float | int] | None]:
    """A value, (1, n), with its band."""
    shown = [_plain(one) for one in value[0]]
    if band is None:
        return {"value": shown, "low": None, "high": None}
    low, high = np.minimum(value[0], band[0]), np.maximum(value[0], band[1])
    return {"value": shown, "low": [_plain(one) for one in low], "high": [_plain(one) for one in high]}


def _plain(value: float) -> float | int:
    """A number as JSON has it: whole ones whole, others to six digits that count."""
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 2**53 else significant(number)


def load(model: Model) -> dict[str, tuple[Figure, Floats]]:
    """By output: what it is for one picture, set-up, account or report, and of how many on each day.

    How many reports there are is not known here: the number of `REPORTS` is 1.
    """
    costs, volume = model.behaviour.costs, np.full(model.days, model.volume)
    setups = np.full(model.days, model.accounts * model.inputs.accounts.setups_a_year.value / YEAR)
    epochs = model.accounts * (np.arange(model.days) % model.inputs.list.epoch_days.value == 0)
    return {
        "server_cores": (costs["server_cpu_ms"], volume * model.inputs.activity.peak.value / MS_PER_DAY),
        "query_up_bytes": (costs["query_up_bytes"], volume),
        "query_down_bytes": (costs["query_down_bytes"], volume),
        REPORTS: (costs[REPORTS], np.ones(model.days)),
        "setup_bytes": (costs["setup_bytes"], setups),
        "update_bytes": (costs["update_bytes"], epochs.astype(np.float64)),
        "keys_used": (_keys(model), volume),
        "accounts_over_key": (_over(model), np.ones(model.days)),
    }


def _keys(model: Model) -> Figure:
    """Keys that a picture uses up."""
    key = model.behaviour.key
    if key is None or key.in_all is None:
        return Figure(None, NO_LIMIT)
    return Figure(key.cost / key.in_all)


def _over(model: Model) -> Figure:
    """Accounts that send more in a key's life than it answers them."""
    from scipy.special import pdtrc

    key = model.behaviour.key
    if key is None or key.per_account is None:
        return Figure(None, NO_LIMIT)
    life = model.inputs.keys.life_days.value
    return Figure(float(model.counts @ pdtrc(floor(key.per_account / key.cost), model.rates * life)))


ACCOUNTS: Final = ("accounts", "number")
PICTURES: Final = ("activity", "pictures_a_day")
MEASURED: Final = ("recall", "false_rate", "false_other", "unnoticed")


class Moved(Struct, frozen=True):
    """An output, expected, with one figure at its low and at its high end.

    Attributes:
        input: the figure, ``part.field`` of the inputs or ``measured.NAME`` of the results file.
    """

    output: str
    input: str
    at_low: float
    at_high: float
    base: float

    @property
    def width(self) -> float:
        """How far the two are apart."""
        return abs(self.at_high - self.at_low)


def tornado(inputs: Inputs, behaviour: Behaviour, accounts: int, days: int) -> list[Moved]:
    """All outputs that move at all, the widest first for each output, by the closed form."""
    base = _expected(inputs, behaviour, accounts, days)
    moved = []
    for name, ends in _ends(inputs, behaviour, accounts):
        low, high = (_expected(*end, days) for end in ends)
        for output, value in base.items():
            if output in low and output in high:
                moved.append(Moved(output, name, low[output], high[output], value))
    order = list(OUTPUTS)
    kept = [one for one in moved if one.width > 0]
    return sorted(kept, key=lambda one: (order.index(one.output), -one.width, one.input))


def _ends(
    inputs: Inputs, behaviour: Behaviour, accounts: int
) -> list[tuple[str, list[tuple[Inputs, Behaviour, int]]]]:
    """What each figure is moved to; accounts too, in proportion if the run has others than the file.

    Prevalence is files of known material over pictures: where pictures a day are moved, files stay as many.
    """
    made = []
    for part, field, figure in figures(inputs):
        rate = (part, field) == ("false_matches", "rate")
        if figure.low is None or figure.high is None or (rate and not behaviour.assumed):
            continue
        ends = []
        for end in (figure.low, figure.high):
            others = round(accounts * end / figure.value) if (part, field) == ACCOUNTS else accounts
            its = replace(behaviour, false_rate=Range.exactly(end)) if rate else behaviour
            changed = with_value(inputs, part, field, end)
            if (part, field) == PICTURES:
                as_many = inputs.material.prevalence.value * figure.value / end
                changed = with_value(changed, "material", "prevalence", min(1.0, as_many))
            ends.append((changed, its, max(1, others)))
        made.append((f"{part}.{field}", ends))
    for name in MEASURED:
        if getattr(behaviour, name) is None:
            continue
        ends = []
        for end in ("low", "high"):
            moved: dict[str, Any] = {name: Range.exactly(getattr(behaviour, name).at(end))}
            ends.append((inputs, replace(behaviour, **moved), accounts))
        made.append((f"measured.{name}", ends))
    return made


def _expected(inputs: Inputs, behaviour: Behaviour, accounts: int, days: int) -> Mapping[str, float]:
    found = of_expected(model(inputs, behaviour, accounts, days))
    return {name: float(of_run(name, rows)[0]) for name, rows in found.items()}
