"""The briefing: eight captioned figures of one results file, each with its run and what not to conclude.

What each shows, and how it is drawn in Vega-Lite, stands in ``data/briefing.json``.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

from blindmatch_simulations.data import committed
from blindmatch_simulations.evaluation.assess.judging import told
from blindmatch_simulations.evaluation.assess.results import Measured, Results
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.report.page import measured
from blindmatch_simulations.report.printing import ReportError

BRIEFING: Final = "briefing"
SEES: Final = ("picture", "sealed picture", "hash", "none of these")
COLOURS: Final = ("#d55e00", "#cc79a7", "#e69f00", "#0072b2")
"""Also for people who are colour-blind (Okabe and Ito, 2008); each has a shape or a word besides."""
SHAPES: Final = ("square", "diamond", "triangle-up", "circle")
ACROSS: Final = 100
"""Letters of a line of the caption."""
Row = dict[str, Any]


def draw_briefing(folder: Path, results: Results) -> Path:
    """Write the figures as SVG and PNG into ``briefing``, whole: all of one run, or none; its path;
    `ReportError` if the library that draws them is not installed."""
    target = folder / BRIEFING
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{BRIEFING}-") as part:
        made = Path(part) / "new"
        old = Path(part) / "old"
        made.mkdir()
        for name, figure in briefing(results).items():
            svg = vega_lite_svg(figure)
            (made / f"{name}.svg").write_text(svg, "utf-8")
            (made / f"{name}.png").write_bytes(_vl_convert().svg_to_png(svg, scale=2))
        if target.exists():
            shutil.move(target, old)
        made.rename(target)
    return target


def vega_lite_svg(figure: Row) -> str:
    """A figure in Vega-Lite as SVG; raises `ReportError` if the library that draws it is not installed."""
    return str(_vl_convert().vegalite_to_svg(figure))


def _vl_convert() -> Any:
    try:
        import vl_convert
    except ImportError:
        raise ReportError("figures need vl-convert-python: install blindmatch[report]") from None
    return vl_convert


def briefing(results: Results) -> dict[str, Row]:
    """The figures by name, in Vega-Lite, drawn from the results alone."""
    told_ = committed("briefing")
    run = f"Run of {results.made_at}: {results.command}; digest {results.digest[:16]}."
    made = {}
    for one in told_["figures"]:
        rows = ROWS[one["rows"]](results) if "rows" in one else _of(results, one["figures"])
        by = one.get("by", "of")
        conclude = f"Do not conclude {one['conclude']}."
        kinds = list(SEES) if by == "sees" else list(dict.fromkeys(row.get(by) for row in rows))
        filled = {
            "y": "design", **one, "by": by, "kinds": kinds, "colours": COLOURS[: len(kinds)],
            "shapes": SHAPES[: len(kinds)],
        }  # fmt: skip
        made[one["name"]] = {
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            "description": f"{one['caption']} {conclude} {run}",
            "title": {
                "text": wrap(one["caption"], ACROSS), "anchor": "start",
                "subtitle": [*wrap(conclude, ACROSS), *wrap(run, ACROSS)],
            },
            "data": {"values": rows}, "width": 520, "padding": 12, "background": "white",
            **_filled(told_["templates"][one["template"]], filled),
        }  # fmt: skip
    return made


def _filled(template: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(template, dict):
        return {name: _filled(one, values) for name, one in template.items()}
    if isinstance(template, list):
        return [_filled(one, values) for one in template]
    return values[template[1:]] if str(template).startswith("$") else template


def sees(one: Measured) -> str:
    """The most that a single party beyond both ends gets of an innocent picture, by declaration."""
    shown = {
        str(thing)
        for leak in one.design.declared
        if leak.adversary == "semi-honest" and len(leak.parties) == 1 and leak.parties[0] not in ENDS
        for fact in leak.facts
        for thing in fact.shows
    }
    return SEES[["picture" in shown, one.design.content == "sealed", "hash" in shown, True].index(True)]


ENDS: Final = ("device", "centre")
"""Parties that an innocent picture is for, or does not reach."""


def _label(one: Measured) -> str:
    return f"{one.design.option} {committed('plain')['names'].get(one.id, one.id)}"


def _ends(figure: Figure) -> Row:
    low, high = (figure.value if end is None else end for end in (figure.low, figure.high))
    return {"value": figure.value, "low": low, "high": high}


def _of(results: Results, names: Mapping[str, str]) -> list[Row]:
    """A row for each design and figure that was measured; `names` gives their words."""
    return [
        {"design": _label(one), "of": words, "sees": sees(one), **_ends(figure)}
        for one in measured(results)
        for name, words in names.items()
        if (figure := one.figures[told(name, one.figures)]).value is not None
    ]


def _against_cost(results: Results) -> list[Row]:
    """Of designs of which both were measured; of the servers' CPU the larger reading, as everywhere."""
    costs = sorted(_of(results, {"server_cpu_ms": "", "matcher_cpu_ms": ""}), key=lambda row: row["value"])
    cost = {row["design"]: row for row in costs}
    return [
        {**row, **{f"cost_{end}": cost[row["design"]][end] for end in ("value", "low", "high")}}
        for row in _of(results, {"recall_pairs": ""})
        if row["design"] in cost
    ]  # fmt: skip


def _by_edit(results: Results) -> list[Row]:
    first = {one.design.relation: one for one in reversed(measured(results))}
    return [
        {"edit": edit.name, "of": _label(one), **_ends(edit.share)}
        for one in first.values()
        for edit in one.recall_by_edit
        if edit.share.value is not None
    ]


def _seen(results: Results) -> list[Row]:
    found: dict[tuple[str, str], set[str]] = {}
    for one in measured(results):
        roles = set(one.design.roles.values())
        learns = one.design.learns
        for leak in one.design.declared:
            here = leak.source == "design" or {*leak.parties} <= {*roles, *ENDS, "provider"}
            if len(leak.parties) == 1 and leak.adversary == "semi-honest" and here:
                shown = {str(thing)[0].upper() for fact in leak.facts for thing in fact.shows}
                found.setdefault((_label(one), leak.parties[0].replace("_", " ")), set()).update(shown)
        more = [("device", "O")] * ("device" in learns) + [
            (party, "O") for party in roles if "server" in learns
        ]
        more += [(party, "(P)") for party in roles if one.design.content == "sealed"]
        for party, letter in more:
            found.setdefault((_label(one), party.replace("_", " ")), set()).add(letter)
    return [{"design": of, "across": by, "says": " ".join(sorted(says))} for (of, by), says in found.items()]


def _checked(results: Results) -> list[Row]:
    counts = Counter((_label(one), check.verdict) for one in measured(results) for check in one.checks)
    return [{"design": of, "across": verdict, "says": n} for (of, verdict), n in counts.items()]


ROWS: Final[Mapping[str, Callable[[Results], list[Row]]]] = {
    "against_cost": _against_cost, "by_edit": _by_edit, "seen": _seen, "checked": _checked,
}  # fmt: skip
