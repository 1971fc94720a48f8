"""Cost per picture, with the designs that no other one beats in recall and cost together."""

from __future__ import annotations

from collections.abc import Sequence

from blindmatch_simulations.assess import severity
from blindmatch_simulations.assess.catalogue import FIGURES
from blindmatch_simulations.assess.results import Measured, Results
from blindmatch_simulations.report.markup import cell, number, paragraph, section, table, text
from blindmatch_simulations.report.summary import evidence, measured
from blindmatch_simulations.report.svg import Point, scatter, trade

COSTS = (
    "device_ms", "device_cpu_ms", "hash_ms", "send_ms", "device_peak_mib", "query_up_bytes",
    "query_down_bytes", "report_bytes", "setup_bytes", "matcher_ms", "matcher_cpu_ms",
    "server_cpu_ms", "build_s", "build_cpu_s", "update_s", "update_bytes", "harness_cpu", "harness_wall",
)  # fmt: skip
CLEARLY_LESS = 0.9
"""Times of one run that are nearer to each other than this do not tell two designs apart."""
_LEAST = 0.001


def cost_view(results: Results) -> str:
    """The view."""
    rows = measured(results)
    lines = [
        [
            text(FIGURES[name].title),
            *(cell(name, one.figures[name], evidence(results, one), titled=False) for one in rows),
        ]
        for name in COSTS
    ]
    figure = (
        f"<figure><figcaption>Recall and device CPU (ringed: frontier)</figcaption>"
        f"{frontier_chart(rows)}</figure><figure><figcaption>Bytes and device "
        f"CPU</figcaption>{chart(rows)}</figure>"
    )
    return section(
        "cost",
        "Cost per picture",
        paragraph(frontier_words(rows)),
        paragraph(_what_costs_are(rows)),
        f'<div class="charts">{figure}</div>',
        table("Cost by design", ["cost", *(one.design.name for one in rows)], lines),
        _traffic(rows),
    )


def chart(rows: Sequence[Measured]) -> str:
    """Device CPU against bytes of a query."""
    points = [
        Point(one.design.name, max(_LEAST, time), sent)
        for one in rows
        if (time := one.figures["device_cpu_ms"].value) is not None
        and (
            sent := (one.figures["query_up_bytes"].value or 0) + (one.figures["query_down_bytes"].value or 0)
        )
        > 0
    ]
    return scatter(
        "Device CPU and query bytes of a picture",
        "device CPU, ms a picture",
        "query up and down, bytes",
        points,
    )


def frontier_chart(rows: Sequence[Measured]) -> str:
    """Recall against device CPU, with the frontier."""
    points = [Point(one.design.name, max(_LEAST, time), recall) for one, recall, time in _known(rows)]
    title = "Listed pictures found, and device CPU of a picture"
    return trade(title, "device CPU, ms a picture", "listed pictures found", points, set(frontier(rows)))


def frontier(rows: Sequence[Measured], among_equals: bool = False) -> list[str]:
    """Names of designs that no other one beats (see `beaten`)."""
    off = beaten(rows, among_equals)
    return [one.design.name for one, _, _ in _known(rows) if one.design.name not in off]


def beaten(rows: Sequence[Measured], among_equals: bool = False) -> dict[str, str]:
    """Designs off the frontier, each with one that finds more for no more device CPU, or as much for a tenth
    less.

    With `among_equals` the other one tells servers nothing, outcome included, that this one does not.
    """
    known = _known(rows)
    return {
        one.design.name: other.design.name
        for one, recall, time in known
        for other, r, t in known
        if r >= recall and t <= time and (r > recall or t < CLEARLY_LESS * time)
        if not among_equals or _told(other) <= _told(one)
    }


def _told(one: Measured) -> set[str]:
    return {fact.name for fact in severity.told_to_servers(one.design)}


def _known(rows: Sequence[Measured]) -> list[tuple[Measured, float, float]]:
    """Designs that find anything, with recall and device CPU."""
    return [
        (one, recall, time)
        for one in rows
        if (recall := one.figures["recall"].value)
        and (time := one.figures["device_cpu_ms"].value) is not None
    ]


def frontier_words(rows: Sequence[Measured]) -> str:
    """Both frontiers in words, with what beats whom."""
    lines = []
    for equals in (False, True):
        off = "; ".join(f"{name} is beaten by {by}" for name, by in beaten(rows, equals).items())
        lines.append(f"{', '.join(frontier(rows, equals)) or 'none'} ({off or 'none is beaten'})")
    return (
        "A design that finds anything is on the frontier unless another finds more for no more device CPU, "
        f"or as much for a tenth less. Privacy left out, these are on it: {lines[0]}. If only a design can "
        f"beat another that tells servers nothing further, outcome included: {lines[1]}."
    )


def _what_costs_are(rows: Sequence[Measured]) -> str:
    entries = number(max((one.entries for one in rows), default=0))
    return (
        f"Costs are those of this machine and of a list of {entries} entries. Where a server compares a "
        "picture with every entry, its cost grows with the list. Designs do not share an evaluated set: each "
        "encodes the list in its own way, and pays for a build, a set-up and an update of its own."
    )


def _traffic(rows: Sequence[Measured]) -> str:
    lines = [
        [
            text(one.design.name),
            text(row.party),
            text(row.purpose),
            number(row.up_bytes),
            number(row.down_bytes),
        ]
        for one in rows
        for row in one.traffic
    ]
    caption = "Bytes between the measured device and each party, whole run"
    return table(caption, ["design", "party", "purpose", "bytes up", "bytes down"], lines, stacked=False)
