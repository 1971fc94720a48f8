"""Outputs of a design (docs/explanation/population.md): the value of each day and of the run, a 95 % band,
and which unknown matters: every output with one figure at a time moved to its ends (a tornado)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor
from typing import Any, Final, Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict, replace

from blindmatch_simulations.evaluation.population.bands import Totals, expected, totals
from blindmatch_simulations.evaluation.population.centre import worked
from blindmatch_simulations.evaluation.population.counts import Count
from blindmatch_simulations.evaluation.population.inputs import YEAR, Inputs, figures, with_value
from blindmatch_simulations.evaluation.population.inputs import Figure as InputFigure
from blindmatch_simulations.evaluation.population.model import (
    GROWTH,
    MEASURED,
    Behaviour,
    Counts,
    Floats,
    Model,
    Range,
    in_the_list,
    mean_entries,
    model,
    stream,
)
from blindmatch_simulations.evaluation.studies.capacity import DAY_SECONDS, key_seconds, words_of_exhaustion
from blindmatch_simulations.measure.growth import lengths_of
from blindmatch_simulations.measure.results import Figure, significant

Reduce = Literal["sum", "mean", "last", "max"]
MS_PER_DAY: Final = 86_400_000
NO_LIMIT: Final = "nothing to measure: the design limits no key"
REPORTS: Final = "report_bytes"
UNKNOWN: Final = "not determinable"
QUANTILES: Final = (0.025, 0.975)
CORNERS: Final = (
    ("low", "low", "high"), ("high", "high", "low"), ("high", "low", "low"), ("low", "high", "high"),
    ("low", "low", "low"), ("high", "high", "high"),
)  # fmt: skip
"""Ends of recall, of false matches, and of what goes unnoticed: the less does, the more is reported. At the
first four the centre's work is at its ends, too: false reports delay true ones."""


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
    "peak_queries": Output("pictures a second", "mean"),
    "query_up_bytes": Output("bytes", "sum"),
    "query_down_bytes": Output("bytes", "sum"),
    "report_bytes": Output("bytes", "sum"),
    "setup_bytes": Output("bytes", "sum"),
    "update_bytes": Output("bytes", "sum"),
    "keys_used": Output("keys", "sum"),
    "accounts_over_key": Output("accounts", "mean"),
}
OUTPUTS: Final[Mapping[str, Output]] = {**COUNTED, **QUEUED, **LOADS}
BY_FALSE: Final = frozenset({"false_reports", "accounts_wrong", *QUEUED, REPORTS})
"""What nobody knows as long as the false-match rate is not known: false reports, and what waits for them."""
NOT_KNOWN: Final = "not known: the false-match rate is not, and none is assumed"


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
    return _all(dict(zip(COUNTED, (*rows, held), strict=True)), [model], rng)


def of_expected(models: Sequence[Model]) -> dict[str, Floats]:
    """The same as expected of each model, (models, days); the queue is that of a flow, without chance."""
    rows = map(np.array, zip(*map(expected, models), strict=True))
    named = dict(zip(COUNTED, rows, strict=True))
    return _all(named, models, None)


def _all(
    named: dict[str, Floats], models: Sequence[Model], rng: np.random.Generator | None
) -> dict[str, Floats]:
    """Outputs with queue and load, of a model for each run, or of one for all; without those that are not
    known as long as the false-match rate is not."""
    centres = [one.inputs.centre for one in models]
    together = {
        name: replace(figure, value=np.array([getattr(one, name).value for one in centres]))
        for name, figure in asdict(centres[0]).items()
    }
    made = worked(named["true_reports"], named["false_reports"], replace(centres[0], **together), rng)
    queued = {name: getattr(made, field) for name, field in zip(QUEUED, made.__struct_fields__, strict=True)}
    loads = _loads(models)
    if REPORTS in loads:
        loads[REPORTS] = loads[REPORTS] * (named["true_reports"] + named["false_reports"])
    return _known({**named, **queued, **loads}, models[0])


def _known(named: dict[str, Floats], model: Model) -> dict[str, Floats]:
    """Without what is not known as long as the false-match rate is not."""
    unknown = BY_FALSE if model.behaviour.false_rate is None else ()
    return {name: rows for name, rows in named.items() if name not in unknown}


def _loads(models: Sequence[Model]) -> dict[str, Floats]:
    """Of each model, (models, days); of `REPORTS` what one has. What was not measured is left out."""
    costs = [load(one) for one in models]
    return {
        name: np.array([(one[name][0].value or 0.0) * one[name][1] for one in costs])
        for name, (figure, _) in costs[0].items()
        if figure.value is not None
    }


def banded(model: Model, seed: int) -> dict[str, Any]:
    """By output, where 95 % of runs lie at either end of what was measured, of days and of the run: from the
    lowest to the highest end at all `CORNERS`. Costs have none; of `REPORTS`, for a byte a report.
    """
    made: dict[str, Any] = {}
    done: list[Behaviour] = []
    had: dict[str, dict[str, Floats]] = {end: {} for end in ("low", "high", "")}
    for at, (recall, false, unnoticed) in enumerate(CORNERS):
        its = replace(model, behaviour=model.behaviour.at(recall, false, unnoticed))
        if its.behaviour in done:
            continue
        done.append(its.behaviour)
        known = {**had[""], **had[false]}
        drawn = totals(its, seed, had=known)
        had[""] = {name: getattr(drawn, name) for name in ("video", "late", "down")}
        if its.threshold == 1:  # else sharers' depend on their true matches
            had[false] = {"false": drawn.false, "accounts": drawn.accounts}
        named = dict(zip(COUNTED, drawn, strict=True))
        if at < 4:
            named = _all(named, [its], stream(seed, "bands", "centre"))
            if its.behaviour.false_rate is not None:
                named[REPORTS] = named["true_reports"] + named["false_reports"]
        named = _known(named, its)
        seen = {name for name, field in zip(COUNTED, Totals._fields, strict=True) if field in known}
        for name in (one for one in named if one not in seen and (one not in LOADS or one == REPORTS)):
            band = made.setdefault(name, {"days": [], "run": []})
            band["days"] = _widened(band["days"], named[name])
            band["run"] = _widened(band["run"], of_run(name, named[name])[:, None])
    return {name: {of: np.array(ends).tolist() for of, ends in band.items()} for name, band in made.items()}


def _widened(band: Sequence[Floats], rows: Floats) -> Sequence[Floats]:
    """The band with what 95 % of `rows`, (runs, n), lie in: its lower ends and its upper ends."""
    low, high = np.quantile(rows, QUANTILES, axis=0)
    return (np.minimum(band[0], low), np.maximum(band[1], high)) if band else (low, high)


JOINT: Final = 500
"""Runs whose inputs are drawn, too."""


def jointly(its: Model, seed: int, costs: bool) -> dict[str, list[float]]:
    """By output, where 95 % of runs lie if each input and each measured figure is drawn on its own, besides
    chance: of loads, for what a report is multiplied with, or of all others."""
    models = [_supposed(its, seed, at) for at in range(JOINT)]
    if costs:
        found = {name: rows for name, rows in _loads(models).items() if name != REPORTS}
    else:
        drawn = (totals(one, seed, 1, f"joint {at}") for at, one in enumerate(models))
        rows = [np.concatenate(each) for each in zip(*drawn, strict=True)]
        found = _all(dict(zip(COUNTED, rows, strict=True)), models, stream(seed, "joint", "centre"))
        found = {name: one for name, one in found.items() if name not in LOADS}
        if its.behaviour.false_rate is not None:
            found[REPORTS] = found["true_reports"] + found["false_reports"]
    return {name: np.quantile(of_run(name, one), QUANTILES).tolist() for name, one in found.items()}


def _supposed(its: Model, seed: int, at: int) -> Model:
    """The model with every input that has ends and every measured figure between its ends: as often below its
    value as above, there uniform in the logarithm, or where an end is 0 in the figure itself."""
    rng = stream(seed, "joint", at)
    inputs = its.inputs

    def between(one: Any) -> float:
        part = 2 * rng.random()
        low, high = (one.low, one.value) if part < 1 else (one.value, one.high)
        part %= 1
        return float(low * (high / low) ** part if low > 0 else low + (high - low) * part)

    for part, field, figure in figures(its.inputs):
        if figure.low is not None and figure.high is not None:
            value = between(figure)
            whole = isinstance(figure.value, int)
            inputs = with_value(inputs, part, field, round(value) if whole else value)
    behaviour = in_the_list(its.behaviour, inputs, its.days)
    for name in MEASURED:
        if (one := getattr(behaviour, name)) is not None:
            behaviour = replace(behaviour, **{name: Range.exactly(between(one))})
    if behaviour.assumed:
        rate = inputs.false_matches.rate.value * (1 - behaviour.made_up)
        behaviour = replace(behaviour, false_rate=Range.exactly(rate))
    for name in ("server_cpu_ms", GROWTH):
        if (cost := behaviour.costs.get(name)) is not None and cost.low is not None:
            value = between(cost)
            drawn = replace(cost, value=value, low=value, high=value)
            behaviour = replace(behaviour, costs={**behaviour.costs, name: drawn})
    accounts = its.accounts * inputs.accounts.number.value / its.inputs.accounts.number.value
    return model(inputs, behaviour, max(1, round(accounts)), its.days)


def described(
    value: Mapping[str, Floats], told: Mapping[str, Any], model: Model
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the JSON says of a run and of its days. `value` has (1, days) for each output; `told` has `bands`
    as `banded` gives them, `joint` as `jointly` does, and what is `expected` of a run. A band is widened to
    hold the run that is shown."""
    run: dict[str, Any] = {}
    day: dict[str, Any] = {}
    costs = load(model)
    for name, output in OUTPUTS.items():
        about = {"unit": output.unit, "of_days": output.run, "value": None}
        if name not in value:
            unknown = name in BY_FALSE and model.behaviour.false_rate is None
            run[name] = {**about, "why": NOT_KNOWN if unknown else costs[name][0].why}
            continue
        band = told["bands"].get(name)
        joint = told["joint"].get(name)
        if name == REPORTS:
            joint = [costs[name][0].value * end for end in joint]
            band = {of: np.array(ends) * costs[name][0].value for of, ends in band.items()}
        elif name in costs:
            band = _of_cost(name, *costs[name])
        whole = _shown(of_run(name, value[name])[:, None], band and band["run"])
        run[name] = {**about, **{end: row and row[0] for end, row in whole.items()}}
        joint = joint and [_plain(float(f"{end:.2g}")) for end in joint]
        run[name] |= {"joint": joint, "expected": told["expected"].get(name)}
        if name == "server_cores":
            run[name]["why"] = costs[name][0].why
        day[name] = _shown(value[name], band and band["days"])
    if run["people_needed"]["value"] is not None:
        _judge(run, model.inputs.centre.staff)
    return run, day


def _of_cost(name: str, figure: Figure, number: Floats) -> dict[str, Any] | None:
    if figure.low is None or figure.high is None:
        return None
    days = np.array([figure.low * number, figure.high * number])
    return {"days": days, "run": of_run(name, days)[:, None]}


def _judge(run: dict[str, Any], staff: InputFigure[Any]) -> None:
    """Say so where no band holds within any capacity: more people are needed than the inputs allow."""
    most = staff.high or staff.value
    people = run["people_needed"]
    if people["high"] > most:
        beyond = people["low"] > most
        people["verdict"] = f"beyond any capacity ({most:g})" if beyond else UNKNOWN
        for name in () if beyond else ("backlog", "oldest_days", "delay_days"):
            if run[name]["low"] < run[name]["high"]:  # else it is known, whatever is not
                run[name]["verdict"] = UNKNOWN


def _shown(value: Floats, band: Any) -> dict[str, list[float | int] | None]:
    shown = [_plain(one) for one in value[0]]
    if band is None:
        return {"value": shown, "low": None, "high": None}
    low = np.minimum(value[0], band[0])
    high = np.maximum(value[0], band[1])
    return {"value": shown, "low": [*map(_plain, low)], "high": [*map(_plain, high)]}


def _plain(value: float) -> float | int:
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < 2**53 else significant(number)


def load(model: Model) -> dict[str, tuple[Figure, Floats]]:
    """By output: what it is for one picture, set-up, account or report, and how many of these there are on
    each day: 1 for `REPORTS`, whose number is not known here. Lowest and highest bytes are of single
    pictures, and no band of a mean."""
    volume = np.full(model.days, model.volume * (1 + model.inputs.activity.retries.value))
    costs = {name: replace(one, low=None, high=None) for name, one in model.behaviour.costs.items()}
    setups = np.full(model.days, model.accounts * model.inputs.accounts.setups_a_year.value / YEAR)
    epochs = model.accounts * (np.arange(model.days) % model.inputs.list.epoch_days.value == 0)
    peak = volume * model.inputs.activity.peak.value / MS_PER_DAY
    return {
        "server_cores": (_server(model), peak),
        "peak_queries": (Figure(1000.0), peak),
        "query_up_bytes": (costs["query_up_bytes"], volume),
        "query_down_bytes": (costs["query_down_bytes"], volume),
        REPORTS: (costs[REPORTS], np.ones(model.days)),
        "setup_bytes": (costs["setup_bytes"], setups),
        "update_bytes": (costs["update_bytes"], epochs.astype(np.float64)),
        "keys_used": (_keys(model), volume),
        "accounts_over_key": (_over(model), np.ones(model.days)),
    }


def _server(model: Model) -> Figure:
    """Servers' CPU of a picture over the inputs' list, mean of the run; over the longest list of which it was
    measured if that is shorter, since two lengths do not tell how it goes on: from 3,004 and 24,032 entries,
    a line gave 22,000 to 18 million cores at a million. Between the two lengths, at n entries, it is

        c + max(0, slope) (n - measured)

    with a slope of 0 where its interval includes 0: noise is not multiplied."""
    cpu = model.behaviour.costs["server_cpu_ms"]
    grows = model.behaviour.costs.get(GROWTH)
    if cpu.value is None:
        return cpu
    measured = model.behaviour.entries
    longest = max([measured, *(lengths_of(grows.why) if grows is not None else ())])
    wanted = mean_entries(model.inputs, model.days)
    words = f"over {longest:,} entries, the longest list measured; not known beyond"
    words = words if wanted > longest else ""
    if grows is None or grows.value is None:
        return replace(cpu, why=words or cpu.why)
    slopes = [grows.value if end is None else end for end in (grows.value, grows.low, grows.high)]
    more = min(wanted, longest) - measured
    resolved = slopes[1] > 0
    at = [
        (cpu.value if end is None else end) + (max(0.0, slope) * more if resolved else 0.0)
        for end, slope in zip((cpu.value, cpu.low, cpu.high), slopes, strict=True)
    ]
    return Figure(at[0], words or grows.why, min(at), max(at))


def _keys(model: Model) -> Figure:
    """Keys that a picture uses up; by declaration, so that the band is the value."""
    key = model.behaviour.key
    if key is None or key.in_all is None:
        return Figure(None, NO_LIMIT)
    each = key.cost / key.in_all
    return Figure(each, low=each, high=each)


def exhausted(model: Model, open_to: int | None) -> str:
    """Return how long a key lasts at this volume, each picture asked about once, or to how many phones the
    list is open without the limit that is used up; empty if a key lasts a year."""
    key = model.behaviour.key
    seconds = None if key is None else key_seconds(key.in_all, key.cost, model.volume)
    return words_of_exhaustion(seconds, open_to)


def _over(model: Model) -> Figure:
    """Accounts that send more than they are answered, and how many by chance (Poisson): in a key's life, or
    in a period by which an account is limited, whichever limit most accounts exceed; over the log-normal
    activity itself, since few classes reach so far."""
    from scipy.special import ndtr, pdtrc, pdtrik

    key = model.behaviour.key
    activity = model.inputs.activity
    if key is None:
        return Figure(None, NO_LIMIT)
    limits = [(one.seconds / DAY_SECONDS, one.evaluations) for one in key.periods or ()]
    if key.per_account is not None:
        limits.append((model.inputs.keys.life_days.value, key.per_account))
    if not limits:
        return Figure(None, NO_LIMIT)
    edges = np.linspace(-9, 9, 3601)
    spread = activity.spread.value
    each = activity.pictures_a_day.value * (1 + activity.retries.value)
    rates = each * np.exp(spread * (edges[1:] + edges[:-1]) / 2 - spread**2 / 2)
    share = np.diff(ndtr(edges))
    exceeded = [share @ pdtrc(floor(most / key.cost), rates * days) for days, most in limits]
    mean = float(model.accounts * max(exceeded))
    low, high = (float(pdtrik(q, mean)) if mean > 1e-9 else 0.0 for q in QUANTILES)
    return Figure(mean, low=float(floor(low)), high=float(ceil(high)))


ACCOUNTS: Final = ("accounts", "number")


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
        return abs(self.at_high - self.at_low)


def tornado(
    inputs: Inputs, behaviour: Behaviour, accounts: int, days: int
) -> tuple[dict[str, float], list[Moved]]:
    """What is expected of a run, by the closed form; and all outputs that move at all, the widest first for
    each output."""
    ends = _ends(inputs, behaviour, accounts, days)
    models = [
        model(*one, days) for one in ((inputs, behaviour, accounts), *(e for _, two in ends for e in two))
    ]
    found = {name: of_run(name, rows).tolist() for name, rows in of_expected(models).items()}
    moved = [
        Moved(output, name, row[2 * at + 1], row[2 * at + 2], row[0])
        for output, row in found.items()
        for at, (name, _) in enumerate(ends)
    ]
    order = list(OUTPUTS)
    kept = [one for one in moved if one.width > 0]
    kept.sort(key=lambda one: (order.index(one.output), -one.width, one.input))
    return {name: _plain(row[0]) for name, row in found.items()}, kept


def _ends(
    inputs: Inputs, behaviour: Behaviour, accounts: int, days: int
) -> list[tuple[str, list[tuple[Inputs, Behaviour, int]]]]:
    """What each figure is moved to; accounts too, in proportion if the run has others than the file."""
    made = []
    for part, field, figure in figures(inputs):
        rate = (part, field) == ("false_matches", "rate")
        if figure.low is None or figure.high is None or (rate and not behaviour.assumed):
            continue
        ends = []
        for end in (figure.low, figure.high):
            others = round(accounts * end / figure.value) if (part, field) == ACCOUNTS else accounts
            thinned = Range.exactly(end * (1 - behaviour.made_up))
            its = replace(behaviour, false_rate=thinned) if rate else behaviour
            ends.append((with_value(inputs, part, field, end), its, max(1, others)))
        made.append((f"{part}.{field}", ends))
    known = in_the_list(behaviour, inputs, days)
    for name in MEASURED:
        if getattr(known, name) is None:
            continue
        ends = []
        for end in ("low", "high"):
            moved: dict[str, Any] = {name: Range.exactly(getattr(known, name).at(end))}
            ends.append((inputs, replace(known, **moved), accounts))
        made.append((f"measured.{name}", ends))
    return made
