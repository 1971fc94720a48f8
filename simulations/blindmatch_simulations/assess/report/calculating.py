"""Absolute numbers: from prevalence, volume and error rates to reports, work, cores and bytes a day.

The table is computed here for the default inputs; ``page.js`` computes the same again when an input changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from blindmatch_simulations.assess.report import outside
from blindmatch_simulations.assess.report.markup import mark, number, paragraph, power, section, table, text
from blindmatch_simulations.assess.report.summary import measured
from blindmatch_simulations.assess.results import Measured, Results

EU_SHARE: Final = 0.06
MINUTES_PER_REPORT: Final = 10
MINUTES_PER_DAY: Final = 400
MS_PER_CORE_DAY: Final = 86_400_000
PERCENT: Final = "\u00a0%"
HEAD: Final = (
    "design",
    "true reports a day",
    "missed a day",
    "false reports a day",
    "false share of reports (B/A if all are reviewed)",
    "false matches per item",
    "people reviewing",
    "server cores, all day at full load",
    "query traffic a day",
)
QUOTED: Final = (
    "rates in the literature, lowest to highest with their geometric mean; all listed pictures found"
)


@dataclass(frozen=True, slots=True)
class Input:
    """An input of the calculator: its default, and where that comes from."""

    ident: str
    label: str
    value: float
    provenance: str
    source: str


def inputs() -> list[Input]:
    """The inputs with their defaults."""
    known = outside.volumes()
    photos, reported = known["photos_world_2019"], known["eu_files_2019"]
    volume = photos["value"] * EU_SHARE
    of_photos = f"{number(photos['value'])} photos a day ({photos['provenance']}, {photos['source']})"
    of_reports = (
        f"{number(reported['value'])} reported files in 2019 ({reported['provenance']}, {reported['source']})"
    )
    per_photo = reported["value"] / 365 / volume
    return [
        _assumed(
            "volume", "photos a day", volume, f"{of_photos}, times an EU share of {EU_SHARE} without a source"
        ),
        _assumed("prevalence", "share that is listed", per_photo, f"{of_reports}, over that volume"),
        _assumed("minutes", "minutes of review a report", MINUTES_PER_REPORT),
        _assumed("day", "minutes of review a person and day", MINUTES_PER_DAY),
    ]


def _assumed(ident: str, label: str, value: float, source: str = "no source") -> Input:
    return Input(ident, label, value, outside.ASSUMPTION, source)


def calculator_view(results: Results) -> str:
    """The view: inputs, the table, and what the statistics form asks for."""
    form = outside.statistics_form()
    fields = "".join(
        f'<p><label for="in-{one.ident}">{text(one.label)}</label> '
        f'<input id="in-{one.ident}" type="number" min="0" step="any" value="{_typed(one.value)}"> '
        f"{mark(one.provenance)}"
        f'<br><span class="soft">{text(one.source)}</span></p>'
        for one in inputs()
    )
    fpr = outside.volumes()["fpr_perceptual"]
    words = (
        "Each cell is the estimate with what the 95 % intervals of this run allow. Where a run saw no false "
        "match, the "
        "upper end is all that it says, and with so few pictures that end is absurdly high: see it as a "
        "measure of how "
        "little is known, and compare the last row. Cores and traffic are what this run measured with a "
        "list of "
        f"{number(max((one.entries for one in measured(results)), default=0))} entries, times the photos "
        "a day, "
        "without peaks or spare; where a server compares with every entry, a longer list needs more cores in "
        "proportion."
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
        "calculator", "Absolute numbers", paragraph(words), f'<form id="calc">{fields}</form>', made,
        f"<h3>The statistics form</h3><p>{text(caution)} {mark(form['provenance'])}</p>",
    )  # fmt: skip


def _typed(value: float) -> str:
    """A number as one types it."""
    return str(int(value)) if value == int(value) else f"{value:.6g}"


def design_inputs(one: Measured) -> dict[str, Any]:
    """What the calculator takes from a design."""
    figures = one.figures
    recall, false = figures["recall"], figures["false_matches"]
    sent = (figures["query_up_bytes"].value or 0) + (figures["query_down_bytes"].value or 0)
    return {
        "recall": [recall.value, recall.low, recall.high],
        "false": [false.value, false.low, false.high],
        "ms": figures["matcher_cpu_ms"].value,
        "bytes": sent,
    }


def literature() -> dict[str, Any]:
    """The same for the range of false-match rates in the literature; a matcher that finds everything."""
    fpr = outside.volumes()["fpr_perceptual"]
    middle = (fpr["low"] * fpr["high"]) ** 0.5
    return {"recall": [1.0, 1.0, 1.0], "false": [middle, fpr["low"], fpr["high"]], "ms": None, "bytes": None}


def cells(design: Mapping[str, Any]) -> list[str]:
    """The table's cells for the default inputs."""
    volume, prevalence, minutes, day = (one.value for one in inputs())
    if design["recall"][0] is None or design["false"][0] is None:
        return ["not measured"] * (len(HEAD) - 1)
    true = [volume * prevalence * share for share in design["recall"]]
    missed = [volume * prevalence - one for one in (true[0], true[2], true[1])]
    false = [volume * (1 - prevalence) * rate for rate in design["false"]]
    parts = [_ratio(false[0], true[0]), _ratio(false[1], true[2]), _ratio(false[2], true[1])]
    people = [(a + b) * minutes / day for a, b in zip(true, false, strict=True)]
    ms, sent = design["ms"], design["bytes"]
    return [
        _range(true),
        _range(missed),
        _range(false),
        _range(parts, percent=True),
        _range(design["false"]),
        _range(people),
        "not measured" if ms is None else number(round(volume * ms / MS_PER_CORE_DAY, 2)),
        "not measured" if sent is None else f"{_short(volume * sent / 1e9)} GB",
    ]


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
