"""Cost per picture, with the designs that no other one beats in recall and cost together."""

from __future__ import annotations

from collections.abc import Sequence

from blindmatch_simulations.assess.catalogue import FIGURES
from blindmatch_simulations.assess.report.markup import cell, number, paragraph, section, table, text
from blindmatch_simulations.assess.report.summary import measured
from blindmatch_simulations.assess.report.svg import Point, scatter
from blindmatch_simulations.assess.results import Measured, Results

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
            *(cell(name, one.figures[name], f"rows/{one.name}.jsonl", results.command) for one in rows),
        ]
        for name in COSTS
    ]
    best = ", ".join(frontier(rows)) or "none"
    words = (
        f"Frontier of recall and device CPU, among designs that find anything: {best}. A design is on it if "
        "no other finds more for at most the same device CPU, or as much for a tenth less. Privacy is not in "
        "this comparison: a design that uploads every hash is cheap."
    )
    figure = f"<figure>{chart(rows)}</figure>"
    return section(
        "cost",
        "Cost per picture",
        paragraph(words),
        figure,
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
        "Device CPU and query bytes of a picture", "device CPU, ms", "query up and down, bytes", points
    )


def frontier(rows: Sequence[Measured]) -> list[str]:
    """Names of designs that no other one beats in recall and device CPU."""
    known = [
        (one.design.name, recall, time)
        for one in rows
        if (recall := one.figures["recall"].value)
        and (time := one.figures["device_cpu_ms"].value) is not None
    ]
    return [
        name
        for name, recall, time in known
        if not any(r >= recall and t <= time and (r > recall or t < CLEARLY_LESS * time) for _, r, t in known)
    ]


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
    return table(caption, ["design", "party", "purpose", "bytes up", "bytes down"], lines)
