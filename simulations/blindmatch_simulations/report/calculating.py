"""Absolute numbers: from prevalence, volume and error rates to reports, work, cores and bytes a day.

The table is computed here for the default inputs; ``page.js`` computes the same again when an input changes,
and refuses what `accepted` refuses, by the same bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from blindmatch_simulations.assess.results import Measured, Results
from blindmatch_simulations.report import outside
from blindmatch_simulations.report.markup import mark, number, paragraph, power, section, table, text
from blindmatch_simulations.report.summary import measured

EU_SHARE: Final = 0.06
MINUTES_PER_REPORT: Final = 10
MINUTES_PER_DAY: Final = 400
SETUPS_PER_YEAR: Final = 12
UPDATES_PER_DAY: Final = 1
DAYS: Final = 365
MS_PER_CORE_DAY: Final = 86_400_000
PERCENT: Final = "\u00a0%"
DEPLOYED: Final = "deployed"
IN_PROCESS: Final = "in process"
HEAD: Final = (
    "design",
    "true reports a day",
    "missed a day",
    "false reports a day",
    "false share of reports (B/A if all are reviewed)",
    "false matches per item",
    "people reviewing",
    "server cores, all day at full load",
    "queries up a day",
    "queries down a day",
    "set-ups and updates down a day",
)
QUOTED: Final = (
    "rates in the literature, lowest to highest with their geometric mean; all listed pictures found"
)


@dataclass(frozen=True, slots=True)
class Input:
    """An input of the calculator: its default, its bounds, and where the default comes from."""

    ident: str
    label: str
    value: float
    least: float
    most: float
    source: str = "no source"
    provenance: str = outside.ASSUMPTION


def inputs() -> list[Input]:
    """The inputs with their defaults."""
    known = outside.volumes()
    photos, reported = known["photos_world_2019"], known["eu_files_2019"]
    volume = photos["value"] * EU_SHARE
    of_photos = f"{number(photos['value'])} photos a day ({photos['provenance']}, {photos['source']})"
    of_reports = (
        f"{number(reported['value'])} reported files in 2019 ({reported['provenance']}, {reported['source']})"
    )
    share = f"{of_photos}, times an EU share of {EU_SHARE} without a source"
    return [
        Input("volume", "photos a day", volume, 0, 1e13, share),
        Input(
            "prevalence",
            "share that is listed",
            reported["value"] / DAYS / volume,
            0,
            1,
            f"{of_reports}, over that volume",
        ),
        Input("minutes", "minutes of review a report", MINUTES_PER_REPORT, 0, 1e5),
        Input("day", "minutes of review a person and day", MINUTES_PER_DAY, 1, 1440),
        Input("devices", "devices", volume, 0, 1e11, "one photo a device and day, without a source"),
        Input("setups", "whole set-ups a device and year", SETUPS_PER_YEAR, 0, 1e5),
        Input("updates", "updates a day", UPDATES_PER_DAY, 0, 1e5),
    ]


def accepted(values: Mapping[str, float]) -> dict[str, float]:
    """The inputs' values by id, the defaults where `values` has none.

    Raises:
        ValueError: if one is unknown, not finite, or outside of its bounds.
    """
    known = {one.ident: one for one in inputs()}
    if unknown := values.keys() - known.keys():
        raise ValueError(f"{', '.join(sorted(unknown))}: no such input")
    for ident, value in values.items():
        one = known[ident]
        if not isfinite(value) or not one.least <= value <= one.most:
            raise ValueError(f"{one.label}: must be {number(one.least)} to {number(one.most)}")
    return {one.ident: values.get(one.ident, one.value) for one in inputs()}


def calculator_view(results: Results) -> str:
    """The view: inputs, the table, and what the statistics form asks for."""
    form = outside.statistics_form()
    fields = "".join(
        f'<p><label for="in-{one.ident}">{text(one.label)}</label> '
        f'<input id="in-{one.ident}" type="number" required min="{_typed(one.least)}" '
        f'max="{_typed(one.most)}" step="any" value="{_typed(one.value)}"> {mark(one.provenance)}'
        f'<br><span class="soft">{text(one.source)}</span></p>'
        for one in inputs()
    )
    fpr = outside.volumes()["fpr_perceptual"]
    entries = number(max((one.entries for one in measured(results)), default=0))
    words = (
        "Each cell is the estimate with what the 95 % intervals of this run allow. Where a run saw no false "
        "match, the upper end is all that it says, and with so few pictures that end is absurdly high: "
        "compare the last row. Cores are the CPU of the servers' processes in this run, gRPC and TLS "
        "included (a provider's process also carries the messages); in process: of the answers alone, where "
        "the former was not read. Cores, queries, set-ups and updates hold for this run's list of "
        f"{entries} entries: one run has one list, so nothing here says what a longer one costs. No peaks, "
        "no spare."
    )
    caution = f"{form['error_rate']}. {form['caution']}. ({form['source']})"
    rows = [
        [text(one.design.name), *cells(design_inputs(one))] for one in measured(results) if one.design.roles
    ]
    quoted = [f"{QUOTED} {mark(fpr['provenance'])}", *cells(literature())]
    made = table("Reports, work and load a day", HEAD, [*rows, quoted]).replace(
        "<table ", '<table id="calc-table" ', 1
    )
    return section(
        "calculator", "Absolute numbers", paragraph(words),
        f'<form id="calc">{fields}<p id="calc-says" role="status"></p></form>', made,
        f"<h3>The statistics form</h3><p>{text(caution)} {mark(form['provenance'])}</p>",
    )  # fmt: skip


def _typed(value: float) -> str:
    """A number as one types it."""
    return str(int(value)) if value == int(value) else f"{value:.6g}"


def design_inputs(one: Measured) -> dict[str, Any]:
    """What the calculator takes from a design."""
    figures = one.figures
    recall, false = figures["recall"], figures["false_matches"]
    deployed = figures["server_cpu_ms"].value
    return {
        "recall": [recall.value, recall.low, recall.high],
        "false": [false.value, false.low, false.high],
        "ms": deployed or figures["matcher_cpu_ms"].value,
        "of": DEPLOYED if deployed else IN_PROCESS,
        "up": figures["query_up_bytes"].value,
        "down": figures["query_down_bytes"].value,
        "setup": figures["setup_bytes"].value,
        "update": figures["update_bytes"].value,
    }


def literature() -> dict[str, Any]:
    """The same for the range of false-match rates in the literature; a matcher that finds everything."""
    fpr = outside.volumes()["fpr_perceptual"]
    middle = (fpr["low"] * fpr["high"]) ** 0.5
    unknown = dict.fromkeys(("ms", "of", "up", "down", "setup", "update"))
    return {"recall": [1.0, 1.0, 1.0], "false": [middle, fpr["low"], fpr["high"]], **unknown}


def cells(design: Mapping[str, Any], values: Mapping[str, float] | None = None) -> list[str]:
    """The table's cells, for the default inputs or for `values`.

    Raises:
        ValueError: if an input is not `accepted`.
    """
    given = accepted(values or {})
    if design["recall"][0] is None or design["false"][0] is None:
        return ["not measured"] * (len(HEAD) - 1)
    return [*_reports(design, given), *_load(design, given)]


def _reports(design: Mapping[str, Any], given: Mapping[str, float]) -> list[str]:
    listed = given["volume"] * given["prevalence"]
    true = [listed * share for share in design["recall"]]
    missed = [listed - one for one in (true[0], true[2], true[1])]
    false = [(given["volume"] - listed) * rate for rate in design["false"]]
    parts = [_ratio(false[0], true[0]), _ratio(false[1], true[2]), _ratio(false[2], true[1])]
    people = [(a + b) * given["minutes"] / given["day"] for a, b in zip(true, false, strict=True)]
    return [
        _range(true),
        _range(missed),
        _range(false),
        _range(parts, percent=True),
        _range(design["false"]),
        _range(people),
    ]


def _load(design: Mapping[str, Any], given: Mapping[str, float]) -> list[str]:
    """Cores, queries up and down, set-ups and updates."""
    ms, volume = design["ms"], given["volume"]
    cores = "not measured"
    if ms is not None:
        cores = f'{_short(volume * ms / MS_PER_CORE_DAY)}<br><span class="soft">{design["of"]}</span>'
    fetched = None
    if design["setup"] is not None and design["update"] is not None:
        each = design["setup"] * given["setups"] / DAYS + design["update"] * given["updates"]
        fetched = given["devices"] * each
    sent = [None if design[way] is None else volume * design[way] for way in ("up", "down")]
    return [cores, *(_bytes(one) for one in (*sent, fetched))]


def _bytes(value: float | None) -> str:
    return "not measured" if value is None else f"{_short(value / 1e9)} GB"


def _ratio(false: float, true: float) -> float:
    return false / (false + true) if false + true else 0.0


def _range(values: list[float], percent: bool = False) -> str:
    value, low, high = (100 * one if percent else one for one in values)
    return (
        f'{_short(value)}{PERCENT if percent else ""}<br><span class="soft">{_short(low)} to '
        f"{_short(high)}</span>"
    )


def _short(value: float) -> str:
    if value == 0:
        return "0"
    return power(f"{value:.2e}") if value < 0.01 or value >= 1e9 else number(float(f"{value:.3g}"))
