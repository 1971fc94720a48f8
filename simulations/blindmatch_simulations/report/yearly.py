"""A run over a population as one page: bands by design and day, what matters, counted years, inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any, Final

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from blindmatch_simulations.data import committed, volumes
from blindmatch_simulations.evaluation.assess.results import Results
from blindmatch_simulations.evaluation.population.inputs import YEAR, Figure, figures, read_inputs
from blindmatch_simulations.evaluation.population.model import LITERATURE, MEASURED, Model, literature, model
from blindmatch_simulations.evaluation.population.outputs import OUTPUTS
from blindmatch_simulations.evaluation.population.running import Subject, subjects
from blindmatch_simulations.evaluation.population.threshold import Contrast
from blindmatch_simulations.measure.results import short
from blindmatch_simulations.report.markup import band, mark, text

CENTRE: Final = (
    "staff", "minutes", "day_minutes", "days_a_week", "passes_false", "dismisses_true", "complains",
    "complaint_minutes", "transfer_days",
)  # fmt: skip
DRAWN: Final = ("true_reports", "false_reports", "backlog")
TOLD: Final = (
    "true_reports", "false_reports", "accounts_wrong", "missed_unrecognised", "missed_modified",
    "missed_video", "people_needed", "oldest_days", "server_cores", "keys_used",
)  # fmt: skip
MOST_POINTS: Final = 122
WIDEST: Final = 4
CSS: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:76rem;margin:auto;padding:1rem}"
    "table{border-collapse:collapse;font-size:.9rem}caption{text-align:left;font-weight:bold}"
    "td,th{padding:.2rem .6rem;border-bottom:1px solid #8888;text-align:left;vertical-align:top}"
    ".scroll{overflow-x:auto}.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(18rem,1fr))}"
    "figure{margin:.5rem}svg{width:100%}"
)


def yearly(made: Mapping[str, Any]) -> str:
    """The page of a result of `blindmatch population`; it needs no script and no other file."""
    measured = [one for one in made["designs"] if one["status"] == "measured"]
    title = f"{made['accounts']:,} accounts over {made['days']:,} days"
    parts = (
        f"<h1>{text(title)}</h1><p>Simulated, not observed: behaviour of designs from a results file of "
        f"{text(made['results']['made_at'])}, all else from the inputs below. Seed {made['seed']}, digest "
        f"{text(made['digest'])}. {BANDS}</p>",
        _table("The run, by design", ["design", *map(_words, TOLD)], map(_told, measured)),
        f"<p>{text(unseen(made))}</p>",
        _table(BEHAVIOUR, ["design", "what", "value", "from", "to", "source"], _behaviour(measured)),
        _table("Not measured", ["design", "why"], _unmeasured(made["designs"])),
        "<h2>By day</h2>",
        *(_charts(one) for one in measured),
        "<h2>What matters most</h2>",
        *(_tornado(one) for one in measured),
        _table(COMPARED, YEARS, _years(made["calibration"])),
        _table("Inputs", INPUTS, _inputs(made["inputs"])),
    )
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    scheme = '<meta name="color-scheme" content="light dark">'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}{scheme}<title>blindmatch: {text(title)}</title>'
        f"<style>{CSS}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


BANDS: Final = (
    "Below a value is what 95 % of runs lie in, by chance, at either end of what was measured; below that, "
    "with every input and measured figure drawn between its ends, too."
)
COMPARED: Final = "Reports a head, beside counted years; this validates no part of the model"
BEHAVIOUR: Final = "How designs behave, and where that is from"
YEARS: Final = ("year", "what", "expected", "95 % by chance", "counted", "residual", "source")
INPUTS: Final = ("figure", "value", "low", "high", "unit", "source", "provenance")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    columns = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table><caption>'
        f"{text(caption)}</caption><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _told(one: Mapping[str, Any]) -> list[str]:
    return [text(one["design"]), *(_cell(one["run"][name]) for name in TOLD)]


def _cell(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return text(found["why"] or "not measured")
    if found["low"] is None:
        return short(found["value"])
    ends = ((found["low"], found["high"]), found["joint"] or ())
    bands = (" to ".join(map(short, two)) for two in ends if two)
    return "<br>".join((found.get("verdict", short(found["value"])), *bands))


def _unmeasured(designs: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    return [[text(one["design"]), text(one["why"])] for one in designs if one["status"] != "measured"]


def unseen(made: Mapping[str, Any]) -> str:
    """What pictures without a match bound, and what that still allows."""
    one = made["unseen"]
    return (
        f"{one['pictures']:,} pictures without a match bound false matches at 1 in 1,000,000, which still is "
        f"{short(one['false_reports'])} false reports here. That a longer list matches more, in proportion, "
        "is a model."
    )


def _behaviour(measured: Iterable[Mapping[str, Any]]) -> Iterable[list[str]]:
    for one in measured:
        for name, found in one["behaviour"].items():
            if found is not None:
                ends = (short(found[end]) for end in ("value", "low", "high"))
                yield [text(one["design"]), _words(name), *ends, text(found["source"])]


def _charts(one: Mapping[str, Any]) -> str:
    figures = ""
    for name in DRAWN:
        days = one["daily"][name]
        size = -(-len(days["value"]) // MOST_POINTS)
        words = f"{_words(name)}, {OUTPUTS[name].unit}{f', {size} days a point' if size > 1 else ' a day'}"
        drawn = band(
            f"{one['design']}: {words}",
            [min(part) for part in _parts(days["low"], size)],
            [sum(part) / len(part) for part in _parts(days["value"], size)],
            [max(part) for part in _parts(days["high"], size)],
        )
        figures += f"<figure><figcaption>{text(words)}</figcaption>{drawn}</figure>"
    return f'<h3>{text(one["design"])}</h3><div class="charts">{figures}</div>'


def _parts(days: Sequence[float], size: int) -> list[Sequence[float]]:
    return [days[at : at + size] for at in range(0, len(days), size)]


def _tornado(one: Mapping[str, Any]) -> str:
    rows = []
    moved = [row for row in one["sensitivity"] if row["output"] in TOLD]
    for output, group in groupby(moved, key=lambda row: row["output"]):
        for row in list(group)[:WIDEST]:
            ends = (short(row[name]) for name in ("base", "at_low", "at_high"))
            rows.append([text(_words(output)), text(row["input"]), *ends])
    head = ("output", "figure", "expected", "at its low end", "at its high end")
    made = _table(f"{one['design']}: the widest first", head, rows)
    return f"<details><summary>{text(one['design'])}</summary>{made}</details>"


def _years(years: Iterable[Mapping[str, Any]]) -> Iterable[list[str]]:
    for one in years:
        for what in ("received", "forwarded"):
            if found := one.get(what):
                source = f"{text(one['source'])} {mark(one['provenance'])} {text(one['note'])}"
                band = f"{found['low']:,} to {found['high']:,}"
                residual = f"{found['residual']:+,} ({100 * found['residual_share']:+.1f} %)"
                numbers = (f"{found['expected']:,}", band, f"{found['counted']:,}", residual)
                yield [text(one["name"]), what, *numbers, source]


def _inputs(inputs: Mapping[str, Any]) -> Iterable[list[str]]:
    for part, held in inputs.items():
        for field, one in held.items() if isinstance(held, dict) else ():
            if isinstance(one, dict) and "value" in one:
                ends = ("" if one[name] is None else f"{one[name]:,.6g}" for name in ("value", "low", "high"))
                yield [
                    text(f"{part}.{field}"),
                    *ends,
                    *map(text, (one["unit"], one["source"])),
                    mark(one["provenance"]),
                ]
    mix = ", ".join(f"{name} {share:g}" for name, share in inputs["edits"]["mix"].items())
    rest = (text(mix), "", "", "share of sends", text(inputs["edits"]["source"]))
    yield ["edits.mix", *rest, mark(inputs["edits"]["provenance"])]


ASSUMPTION: Final = "assumption"
"""A mark of our own, for a number that has no source."""


class Input(Struct, frozen=True):
    """An input: its default, its bounds, where the default comes from; a slider's ends and its label."""

    ident: str
    label: str
    value: float
    least: float
    most: float
    source: str = "no source"
    provenance: str = ASSUMPTION
    slide: tuple[float, float] | None = None
    short: str = ""


def inputs() -> list[Input]:
    """The inputs with their defaults; of `list`, 0 is the run's own."""
    year, rate, price = read_inputs(None), volumes()["fpr_perceptual"], volumes()["data_price"]
    accounts, sent, centre = year.accounts.number, year.activity.pictures_a_day, year.centre
    files = year.material.files
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
            slide=(1e6, 1e11),
            short="photos a day",
        ),
        Input(
            "list",
            "entries of the list; 0: this run's",
            0,
            0,
            1e10,
            "the run",
            slide=(1e3, 1e8),
            short="list length",
        ),
        replace(
            _of_year(
                "files",
                "known files sent a year",
                replace(files, value=round(files.value * accounts.value)),
                0,
                1e12,
            ),
            slide=(1e4, 1e9),
            short="known files a year",
        ),
        Input(
            "errors",
            "false matches a picture; 0: as measured",
            0,
            0,
            1,
            "committed evidence, or the run",
            slide=(1e-9, 0.1),
            short="false-match rate",
        ),
        replace(
            _of_year("modified", "share of sharers whose client never asks", year.clients.modified, 0, 1),
            slide=(0, 1),
            short="modified clients",
        ),
        replace(_of_year("staff", "reviewers", centre.staff, 1, 1e6), slide=(10, 500), short="reviewers"),
        Input(
            "design",
            "design of the year, by its place; the last: the literature's rate",
            0,
            0,
            1000,
            "the page",
        ),
        _of_year("minutes", "minutes of review a report", centre.minutes, 0, 1e5),
        _of_year("day", "minutes of review a person and day", centre.day_minutes, 1, 1440),
        _of_year("devices", "devices", accounts, 0, 1e11),
        _of_year("setups", "whole set-ups a device and year", year.accounts.setups_a_year, 0, 1e5),
        Input("updates", "updates a day", 1 / year.list.epoch_days.value, 0, 1e5),
        Input("threshold", "matches before anything is opened", 30, 1, 1000, "a published design"),
        Input("items", "pictures an account and year", sent.value * YEAR, 0, 1e9, yearly),
        Input("rate", "false matches a picture", rate["high"], 0, 1, upper, rate["provenance"]),
        Input("price", "euro a gigabyte", price["value"], 0, 1e6, price["source"], price["provenance"]),
    ]


def _of_year(ident: str, label: str, figure: Figure[Any], least: float, most: float) -> Input:
    return Input(ident, label, figure.value, least, most, figure.source, figure.provenance)


RENAMED: Final = {
    "accounts.number": "accounts", "activity.pictures_a_day": "pictures", "material.sharers": "share_sharing",
    "cascades.benign": "cascades", "cascades.known": "cascades_known", "outages.chance": "outage_chance",
    "outages.part": "outage_part",
}  # fmt: skip
"""As the model's data calls them, where that is not the field's own name."""


def parameters(of: Model) -> dict[str, float]:
    """The names that expressions of ``data/year.json`` may use, and the law of cascades: one number each."""
    inputs, behaviour = of.inputs, of.behaviour
    pictures, left = inputs.activity.pictures_a_day.value, inputs.cascades.left.value
    return {
        "accounts": of.accounts, "pictures": pictures, "files": inputs.material.files.value,
        "video": inputs.material.video.value, "sharing": int(of.sharers.sum()),
        "sharers_active": float(of.sharers @ of.rates) / pictures,
        "growth": inputs.list.growth.value, "epoch_days": inputs.list.epoch_days.value,
        "others": inputs.false_matches.others.value, "series": of.series, "left": left,
        "burned": left**of.cascades.burn_in, "cascades": inputs.cascades.benign.value,
        "cascades_known": inputs.cascades.known.value, "exponent": inputs.cascades.exponent.value,
        "largest": inputs.cascades.largest.value, "outage_chance": inputs.outages.chance.value,
        "outage_part": inputs.outages.part.value, "held_over": float(of.held_over),
        "modified": of.modified, "asks": float(behaviour.asks), "recall": of.recall,
        "unnoticed": of.unnoticed, "false_rate": behaviour.false_rate.value,
        "false_other": behaviour.false_others.value,
        **{name: getattr(inputs.centre, name).value for name in CENTRE},
    }  # fmt: skip


@cache
def year_inputs() -> dict[str, Any]:
    """What the page needs to compute what `population` does: the model, parameters, inputs with ends."""
    year = read_inputs(None)
    its = model(year, literature(year), year.accounts.number.value, YEAR)
    contrast = Contrast()
    base = {**parameters(its), "share_sharing": year.material.sharers.value}
    ends = [
        {"name": name, "ends": [one.value, one.low, one.high], "whole": isinstance(one.value, int)}
        for part, field, one in figures(year)
        if (name := RENAMED.get(f"{part}.{field}", field)) in {*base, "rate"} and one.low is not None
    ]
    return {
        "model": committed("year"),
        "base": base,
        "uncertain": ends,
        "shape": year.material.shape.value,
        "staff_most": year.centre.staff.high or year.centre.staff.value,
        "load": {name: to_builtins(getattr(year.activity, name)) for name in ("peak", "retries")},
        "literature": _year_behaviour(Subject(LITERATURE, literature(year))),
        "thresholds": {**to_builtins(contrast), "needed": contrast.needed()},
    }


def year_behaviours(results: Results) -> list[dict[str, Any]]:
    """How each design of a run behaves, as `population` reads it; those that lack a figure are left out."""
    found = subjects(results, read_inputs(None), [])
    return [_year_behaviour(one) for one in found if one.behaviour is not None and one.reference]


def _year_behaviour(one: Subject) -> dict[str, Any]:
    behaviour = one.behaviour
    assert behaviour is not None
    return {
        "name": one.design, "asks": float(behaviour.asks), "assumed": behaviour.assumed,
        "source": f"found: {behaviour.recall.source}; wrongly matched: {behaviour.false_rate.source}",
        "ranges": {name: to_builtins(getattr(behaviour, name)) for name in MEASURED},
        "entries": behaviour.entries,
    }  # fmt: skip
