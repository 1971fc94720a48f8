"""Two sliders: the distance that counts as a match, and the matches before anything is opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from blindmatch_simulations.assess.observed import PictureRow
from blindmatch_simulations.assess.results import Results
from blindmatch_simulations.report import outside
from blindmatch_simulations.report.markup import mark, paragraph, section, table, text

STEPS = (0, 8, 16, 24, 31, 40, 48, 60, 80)
MOST = 128


def histogram(rows: Sequence[PictureRow], listed: bool) -> list[int]:
    """Pictures by distance from the list: 0 to 256."""
    counts = [0] * 257
    for row in rows:
        if row.listed is listed:
            counts[row.list_distance] += 1
    return counts


def slider_data(results: Results, rows: Sequence[PictureRow]) -> dict[str, Any]:
    """What ``page.js`` needs."""
    return {
        "listed": histogram(rows, True),
        "others": histogram(rows, False),
        "pairs": [{"kind": one.kind, "histogram": list(one.histogram)} for one in results.distances],
    }


def sliders_view(results: Results, rows: Sequence[PictureRow]) -> str:
    """The view, with a table of fixed distances for print and for readers without scripts."""
    data = slider_data(results, rows)
    words = (
        "A matcher that compared every picture with every entry, with no protection at all, would find and "
        "flag this "
        "much of the same material at each distance. Designs here work at the distance they declare; the "
        "slider shows "
        "what another one would trade. Counts are of the "
        "pictures of this run: no rate smaller than one in as many can be seen in them."
    )
    kinds = [one.kind for one in results.distances]
    head = [
        "distance, bits of 256",
        "listed pictures found",
        "others flagged",
        *(f"pairs of different {kind}" for kind in kinds),
    ]
    lines = [[f"{at}", *_cells(data, at)] for at in STEPS]
    return section(
        "sliders",
        "Distance and threshold",
        paragraph(words),
        _distance_slider(),
        table("Unprotected comparison by distance", head, lines, stacked=False),
        _threshold(),
    )


def _cells(data: dict[str, Any], at: int) -> list[str]:
    groups = [data["listed"], data["others"], *(one["histogram"] for one in data["pairs"])]
    return [f"{sum(group[: at + 1])} of {sum(group)}" for group in groups]


def _distance_slider() -> str:
    return (
        '<p class="slider"><label for="distance">Distance that counts as a match: <output id="distance-out" '
        'for="distance">31</output> of 256 bits</label>'
        f'<input id="distance" type="range" min="0" max="{MOST}" value="31"></p><p id="distance-says" '
        'aria-live="polite"></p>'
    )


def _threshold() -> str:
    known = outside.volumes()
    published, claim = known["threshold_published"], known["account_error_published"]
    return (
        "<h3>Matches before anything is opened</h3>"
        + paragraph(
            "If false matches were independent, an account with so many pictures a year would reach the "
            "threshold by chance "
            "with this probability. They are not independent in life: one odd picture is sent again and "
            "again."
        )
        + '<p class="slider"><label for="threshold">Threshold: <output id="threshold-out" for="threshold">30'
        "</output> matches</label>"
        '<input id="threshold" type="range" min="1" max="60" value="30"></p>'
        '<p><label for="items">pictures an account and year</label> <input id="items" type="number" '
        'required min="0" max="1000000000" step="any" value="4000"> '
        + mark(outside.ASSUMPTION)
        + ' <label for="rate">false matches per item</label> <input id="rate" type="number" required '
        'min="0" max="1" step="any" value="0.001"> '
        + mark(known["fpr_perceptual"]["provenance"])
        + '</p><p id="threshold-says" aria-live="polite"></p><p class="soft">'
        + text(
            f"Published: {published['value']} {published['unit']} ({published['source']}), claimed "
            f"{claim['value']} {claim['unit']}."
        )
        + f" {mark(published['provenance'])}</p>"
    )
